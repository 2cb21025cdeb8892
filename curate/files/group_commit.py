"""Brings many small files to the disk in groups, as a database commits its transactions (group commit).

A call for each file costs more than the file: it waits for the disk's own cache to be flushed, and for a thread to be
woken. So while one group is on its way, the files that are written meanwhile gather for the next one.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from curate.files.atomic import fsync_files, fsync_folder

_Named = tuple[Path, Path, bytes | None]
"""A file, the name in the same file system that it is for, and what is still to be written into it, if anything."""


class GroupCommit:
    """`await GroupCommit().name(part, whole)`, by many tasks of one event loop at once; `close` it at the end."""

    def __init__(self) -> None:
        self._waiting: list[tuple[_Named, asyncio.Future[None]]] = []
        self._under_way = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="to-disk")

    def close(self) -> None:
        """End the thread, once what is under way is done."""
        self._thread.shutdown()

    async def name(self, part: Path, whole: Path, content: bytes | None = None) -> None:
        """Bring a file to the disk, then give it the name `whole`, then bring that to the disk too.

        The file is written already, unless there is a `content` to write: to make a file waits for the disk as well. A
        kill before the end leaves the file under one of the two names. Raises `OSError`, with the file under the first
        one.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(((part, whole, content), done))
        if not self._under_way:
            self._begin()
        await done

    def _begin(self) -> None:
        """Send all that wait on their way, in a thread."""
        group, self._waiting = self._waiting, []
        self._under_way = bool(group)
        if group:
            files = [named for named, _ in group]
            sent = asyncio.get_running_loop().run_in_executor(self._thread, _commit, files)
            sent.add_done_callback(partial(self._end, [done for _, done in group]))

    def _end(self, waiting: Sequence["asyncio.Future[None]"], sent: "asyncio.Future[list[OSError | None]]") -> None:
        """Tell those who wait what came of their files, and send the next group on its way."""
        failed = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        outcomes = sent.result() if failed is None else [failed] * len(waiting)
        for done, error in zip(waiting, outcomes, strict=True):
            if done.done():  # nobody waits for it any more
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        self._begin()


def _commit(files: Sequence[_Named]) -> list[OSError | None]:
    """Name each file once all are on the disk. For each: why it has not got its name, or None."""
    outcomes = [_written(part, content) for part, _, content in files]
    there = [at for at, error in enumerate(outcomes) if error is None]
    for at, error in zip(there, fsync_files([files[at][0] for at in there]), strict=True):
        outcomes[at] = error
    for at in there:
        part, whole, _ = files[at]
        if outcomes[at] is None:
            try:
                part.replace(whole)
            except OSError as error:
                outcomes[at] = error
    for folder in {whole.parent for _, whole, _ in files}:
        fsync_folder(folder)
    return outcomes


def _written(part: Path, content: bytes | None) -> OSError | None:
    """Write a file that is still to be written. Why it could not be, or None."""
    if content is not None:
        try:
            part.write_bytes(content)
        except OSError as error:
            return error
    return None
