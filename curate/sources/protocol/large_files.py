"""Large files that a source needs before it can be asked: brought once, resumed where they broke off, and kept."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from curate.downloading.transfer import RemoteFile, Transfer
from curate.errors import UserError
from curate.files.ours import WorkFolder
from curate.progress import Progress
from curate.web.answers import SourceFailed
from curate.web.fetch import Fetcher
from curate.web.retries import FetchFailed

FOLDER = "tables.florilegium"
"""Of a dataset, beside its catalog: what its sources have brought, and what they have found in it."""
_COMING = "coming"
"""Of such a folder: what takes the place of changed files once all of it is there."""
LARGEST = 200 * 2**30
ROOM_LEFT = 2 * 2**30
"""Bytes of the disk that stay free for the pictures."""


async def bring_files(
    source: str,
    fetcher: Fetcher,
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    progress: Progress,
    say: Callable[[str], None],
) -> list[Path]:
    """The files in `folder`, where those that are there already stay as they are; `say` tells first how large they are.

    Raises SourceFailed where one cannot be brought: what has come of it stays, and the next run goes on from there.
    Raises UserError where the disk has no room for them.
    """
    WorkFolder(folder).make()
    transfers = [Transfer(fetcher, file, folder, LARGEST, keep_version=True) for file in files]
    lacking = [transfer for transfer in transfers if not transfer.path.is_file()]
    try:
        await _bring(lacking, folder, progress, lambda words: say(f"{source}: brings {words}."))
    except FetchFailed as failed:
        raise SourceFailed(source, f"a file that it needs could not be brought ({_why(failed)})") from failed
    return [transfer.path for transfer in transfers]


async def renew_files(
    source: str,
    fetcher: Fetcher,
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    progress: Progress,
    say: Callable[[str], None],
    check: Callable[[Path], None],
) -> None:
    """Bring anew those of the files in `folder` that have changed where they come from, all of them or none.

    Where that cannot be found out, or they cannot be brought, or `check` raises UserError for one, those that are here
    stay; `say` tells which. What has come of them is gone on with by the next run. Where one is lacking here, nothing
    is asked.
    """
    old = [Transfer(fetcher, file, folder, LARGEST, keep_version=True) for file in files]
    if not all(transfer.path.is_file() for transfer in old):
        return
    coming = folder / _COMING
    try:
        changed = [
            (transfer, Transfer(fetcher, file, coming, LARGEST, keep_version=True))
            for transfer, file in zip(old, files, strict=True)
            if await transfer.has_changed()
        ]
        for _, new in changed:
            if new.path.is_file() and await new.has_changed():
                new.path.unlink()
    except FetchFailed as failed:
        say(f"{source}: whether {_named(old)} changed could not be asked ({failed.reason}): what is here is used.")
        return
    if not changed:
        shutil.rmtree(coming, ignore_errors=True)
        return
    names = _named([transfer for transfer, _ in changed])
    coming.mkdir(exist_ok=True)
    try:
        lacking = [new for _, new in changed if not new.path.is_file()]
        await _bring(lacking, folder, progress, lambda words: say(f"{source}: brings anew what has changed, {words}."))
        for _, new in changed:
            _require_usable(new.path, check)
    except (FetchFailed, UserError) as failed:
        why = _why(failed) if isinstance(failed, FetchFailed) else str(failed).rstrip(".")
        say(f"{source}: {names} changed and could not be brought anew ({why}): what is here is used.")
        return
    for transfer, new in changed:
        new.move_to(transfer)
    shutil.rmtree(coming, ignore_errors=True)


def _require_usable(file: Path, check: Callable[[Path], None]) -> None:
    try:
        check(file)
    except UserError:
        file.unlink()  # the next run brings it again
        raise


async def _bring(
    lacking: Sequence[Transfer], folder: Path, progress: Progress, announce: Callable[[str], None]
) -> None:
    """Run the transfers, once it was told how much comes. Raises FetchFailed, and UserError for a full disk."""
    sizes = [await transfer.announced() for transfer in lacking]
    if lacking:
        announce(_announcement(lacking, sizes, folder))
        _require_room(lacking, sizes, folder)
    for transfer in lacking:
        await transfer.run(progress)


def _why(failed: FetchFailed) -> str:
    return f"{failed.reason}; the same command goes on where it broke off" if failed.passing else failed.reason


def _named(transfers: Sequence[Transfer]) -> str:
    """`taxa.csv.gz has`, `photos.csv.gz and taxa.csv.gz have`."""
    *most, last = [transfer.path.name for transfer in transfers]
    return f"{', '.join(most)} and {last} have" if most else f"{last} has"


def of_address(folder: Path, url: str) -> Path:
    """The place below a folder for what comes from an address: its files may be called like those of another."""
    return folder / hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]


def in_bytes(size: int) -> str:
    """As people read it: `38.2 GB`, `700 kB`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size} bytes"


def _announcement(lacking: Sequence[Transfer], sizes: Sequence[int | None], folder: Path) -> str:
    names = ", ".join(
        f"{transfer.path.name} ({in_bytes(size) if size is not None else 'of unknown size'})"
        for transfer, size in zip(lacking, sizes, strict=True)
    )
    known = [size for size in sizes if size is not None]
    whole = f", {in_bytes(sum(known))} in all" if len(known) > 1 else ""
    here = sum(transfer.here() for transfer in lacking)
    begun = f"; {in_bytes(here)} of it are there already" if here else ""
    return f"{names}{whole}{begun}. They stay in {folder}, which may be removed afterwards"


def _require_room(lacking: Sequence[Transfer], sizes: Sequence[int | None], folder: Path) -> None:
    needed = sum(max((size or 0) - transfer.here(), 0) for transfer, size in zip(lacking, sizes, strict=True))
    free = shutil.disk_usage(folder).free
    if needed and needed + ROOM_LEFT > free:
        raise UserError(
            f"The disk of {folder} has {in_bytes(free)} free, and {in_bytes(needed)} are still to come: free some "
            "space, or give the files in a folder on another disk."
        )
