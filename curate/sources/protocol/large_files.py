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
    transfers = [Transfer(fetcher, file, folder, LARGEST) for file in files]
    lacking = [transfer for transfer in transfers if not transfer.path.is_file()]
    try:
        sizes = [await transfer.announced() for transfer in lacking]
        if lacking:
            say(_announcement(source, lacking, sizes, folder))
            _require_room(lacking, sizes, folder)
        for transfer in lacking:
            await transfer.run(progress)
    except FetchFailed as failed:
        again = "; the same command goes on where it broke off" if failed.passing else ""
        raise SourceFailed(source, f"a file that it needs could not be brought ({failed.reason}){again}") from failed
    return [transfer.path for transfer in transfers]


def of_address(folder: Path, url: str) -> Path:
    """The place below a folder for what comes from an address: its files may be called like those of another."""
    return folder / hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]


def in_bytes(size: int) -> str:
    """As people read it: `38.2 GB`, `700 kB`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size} bytes"


def _announcement(source: str, lacking: Sequence[Transfer], sizes: Sequence[int | None], folder: Path) -> str:
    names = ", ".join(
        f"{transfer.path.name} ({in_bytes(size) if size is not None else 'of unknown size'})"
        for transfer, size in zip(lacking, sizes, strict=True)
    )
    known = [size for size in sizes if size is not None]
    whole = f", {in_bytes(sum(known))} in all" if len(known) > 1 else ""
    here = sum(transfer.here() for transfer in lacking)
    begun = f"; {in_bytes(here)} of it are there already" if here else ""
    return f"{source}: brings {names}{whole}{begun}. They stay in {folder}, which may be removed afterwards."


def _require_room(lacking: Sequence[Transfer], sizes: Sequence[int | None], folder: Path) -> None:
    needed = sum(max((size or 0) - transfer.here(), 0) for transfer, size in zip(lacking, sizes, strict=True))
    free = shutil.disk_usage(folder).free
    if needed and needed + ROOM_LEFT > free:
        raise UserError(
            f"The disk of {folder} has {in_bytes(free)} free, and {in_bytes(needed)} are still to come: free some "
            "space, or give the files in a folder on another disk."
        )
