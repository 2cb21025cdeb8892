"""Brings many small files to the disk in groups, as a database commits its transactions (group commit).

A call for each file costs more than the file: it waits for the disk's own cache to be flushed, and for a thread to be
woken. So while one group is on its way, the files that are written meanwhile gather for the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from curate.files.atomic import fsync_files, fsync_folder
from curate.files.spool import Spool

_Named = tuple[Path, Callable[[], Path]]
"""A file, and what finishes it: it writes what is still to be written, and tells the name that the file is for."""


class GroupCommit:
    """`await GroupCommit().name(part, whole)`, by many tasks of one event loop at once; `close` it at the end."""

    def __init__(self) -> None:
        self._waiting: list[tuple[_Named, asyncio.Future[Path]]] = []
        self._under_way = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="to-disk")

    def close(self) -> None:
        """End the thread, once what is under way is done."""
        self._thread.shutdown()

    async def name(self, part: Path, whole: Path) -> None:
        """Bring a written file to the disk, then give it the name `whole`, then bring that to the disk too.

        `whole` lies in the same file system. A kill before the end leaves the file under one of the two names. Raises
        `OSError`, with the file under the first one.
        """
        await self._brought(part, lambda: whole)

    async def store(self, spool: Spool, called: Callable[[str], Path]) -> Path:
        """The same of a closed spool, under the name that `called` gives to the SHA-256 of its bytes: that name.

        What it holds in memory is written and digested in the group's thread: the loop waits neither for the processor
        nor for the disk.
        """

        def finish() -> Path:
            spool.finish()
            return called(spool.sha256)

        return await self._brought(spool.path, finish)

    async def _brought(self, part: Path, finish: Callable[[], Path]) -> Path:
        done: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self._waiting.append(((part, finish), done))
        if not self._under_way:
            self._begin()
        return await done

    def _begin(self) -> None:
        """Send all that wait on their way, in a thread."""
        group, self._waiting = self._waiting, []
        self._under_way = bool(group)
        if group:
            files = [named for named, _ in group]
            sent = asyncio.get_running_loop().run_in_executor(self._thread, _commit, files)
            sent.add_done_callback(partial(self._end, [done for _, done in group]))

    def _end(self, waiting: Sequence["asyncio.Future[Path]"], sent: "asyncio.Future[list[Path | OSError]]") -> None:
        """Tell those who wait what came of their files, and send the next group on its way."""
        failed = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        outcomes = sent.result() if failed is None else [failed] * len(waiting)
        for done, outcome in zip(waiting, outcomes, strict=True):
            if done.done():  # nobody waits for it any more
                continue
            if isinstance(outcome, Path):
                done.set_result(outcome)
            else:
                done.set_exception(outcome)
        self._begin()


def _commit(files: Sequence[_Named]) -> list[Path | OSError]:
    """Name each file once all are on the disk. For each: its name, or why it has not got it."""
    outcomes = [_finished(finish) for _, finish in files]
    there = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Path)]
    for at, error in zip(there, fsync_files([files[at][0] for at in there]), strict=True):
        outcomes[at] = error or outcomes[at]
    folders = set()
    for at in there:
        whole = outcomes[at]
        if isinstance(whole, Path):
            folders.add(whole.parent)
            try:
                files[at][0].replace(whole)
            except OSError as error:
                outcomes[at] = error
    for folder in folders:
        fsync_folder(folder)
    return outcomes


def _finished(finish: Callable[[], Path]) -> Path | OSError:
    try:
        return finish()
    except OSError as error:
        return error
