"""The files that are on their way into a dataset, in a work folder of the scrape's own."""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from curate.catalog.candidate_store import CandidateStore, StoredCandidate
from curate.errors import UserError
from curate.file_names import numbered
from curate.files.group_commit import GroupCommit
from curate.files.inside import inside
from curate.files.moving import Outcome, move
from curate.files.ours import MARK, WorkFolder
from curate.files.reading import open_file, sha256_of
from curate.web.fetch import SNIFFED, Fetched, sniff
from curate.web.retries import FetchFailed

FOLDER = "scrape.florilegium"

_WHOLE = re.compile(r"(\d{1,18})\.([0-9a-f]{64})\.[a-z]{3,4}")
_MOST_NAMES = 1000


class Incoming:
    """A folder of whole files `<candidate id>.<sha256>.<extension>`, and of parts that are no such thing yet.

    A file that bears its sha256 in its name is whole, because the rename to that name comes after the last byte is on
    the disk; so a process killed at any instant leaves nothing that has to be guessed at, and nothing to fetch twice.
    The folder bears our mark: one that does not is somebody else's, and is refused.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._work = WorkFolder(self.folder)

    def open(self) -> None:
        """Make the folder, or take the one that a stopped run left. Raises UserError where it is not ours."""
        self._work.make()

    def close(self) -> None:
        """Remove the folder, once nothing is on its way any more."""
        if all(path.name == MARK for path in self.folder.iterdir()):
            self._work.remove()

    def recover(self, root: Path, store: CandidateStore) -> None:
        """Finish what a stopped run left: moves that were decided, files that were whole, parts that were not."""
        for path in sorted(self.folder.iterdir()):
            if path.name == MARK:
                continue
            named = _WHOLE.fullmatch(path.name) if path.is_file() and not path.is_symlink() else None
            stored = store.by_id(int(named[1])) if named is not None else None
            if named is None or stored is None:
                _remove(path)
            elif stored.status == "kept":
                self.deliver(path, root, stored, store)
            elif stored.status in ("found", "refused", "retry", "fetched"):
                store.mark_fetched(stored.id, named[2])
            else:
                _remove(path)

    def whole(self, stored: StoredCandidate) -> Path | None:
        """The whole file of a candidate that was fetched, if it lies here."""
        names = [path for path in self.folder.glob(f"{stored.id}.*") if _WHOLE.fullmatch(path.name)]
        return next((path for path in names if path.name.split(".")[1] == stored.sha256), None)

    def deliver(self, path: Path, root: Path, stored: StoredCandidate, store: CandidateStore) -> str:
        """Move a file to the place in the dataset that the store has for it; give its path then, relative to `root`.

        Where another file has taken that place, it gets another name in the same folder, which the store records
        before the move. Raises UserError where the recorded place lies outside the dataset.
        """
        place = stored.path
        while move(path, inside(root, place)) is Outcome.OCCUPIED:
            place = free_place(root, stored.path)
            store.relocate(stored, place)
        return place

    async def copy(self, source: Path, stem: str, largest: int, commits: GroupCommit) -> Fetched:
        """Bring in a local file as the fetcher brings in a URL. Raises FetchFailed, and OSError for a full disk."""
        return await self._made(stem, commits, lambda part: _copy(source, part, largest))

    async def put(self, content: bytes, url: str, stem: str, largest: int, commits: GroupCommit) -> Fetched:
        """Bring in a picture whose bytes are at hand, and which has no URL to fetch. Raises as `copy` does."""
        return await self._made(stem, commits, lambda part: _write(content, url, part, largest))

    async def _made(self, stem: str, commits: GroupCommit, make: Callable[[Path], Fetched]) -> Fetched:
        part = self.folder / f"{stem}.part"
        try:
            fetched = await asyncio.to_thread(make, part)
            await commits.name(part, fetched.path)
        finally:
            part.unlink(missing_ok=True)
        return fetched


def _copy(source: Path, part: Path, largest: int) -> Fetched:
    """Copy a local picture to `part`, as what it is to be."""
    try:
        file = open_file(source)
    except OSError as error:
        raise FetchFailed("unreadable", f"{source} cannot be read ({error.strerror})") from error
    with file:
        extension = sniff(file.read(SNIFFED))
        if extension is None:
            raise FetchFailed("not a picture", f"{source.name} is no picture")
        if source.stat().st_size > largest:
            raise FetchFailed("too large", f"larger than {largest / 2**20:g} MiB")
        file.seek(0)
        with part.open("wb") as target:
            shutil.copyfileobj(file, target)
    sha256 = sha256_of(part)
    whole = part.with_name(f"{part.stem}.{sha256}.{extension}")
    return Fetched(whole, sha256, part.stat().st_size, extension, source.as_uri())


def _write(content: bytes, url: str, part: Path, largest: int) -> Fetched:
    """Write a picture's bytes to `part`, as what it is to be."""
    extension = sniff(content[:SNIFFED])
    if extension is None:
        raise FetchFailed("not a picture", f"{url} holds {len(content):,} bytes that are no picture")
    if len(content) > largest:
        raise FetchFailed("too large", f"larger than {largest / 2**20:g} MiB")
    part.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Fetched(part.with_name(f"{part.stem}.{sha256}.{extension}"), sha256, len(content), extension, url)


def free_place(root: Path, wanted: str) -> str:
    """A place in the dataset where nothing lies: the one that is wanted, or one like it in the same folder.

    Raises UserError where all names like it are taken, and where the place lies outside the dataset.
    """
    for number in range(1, _MOST_NAMES):
        place = numbered(wanted, number)
        if not os.path.lexists(inside(root, place)):
            return place
    raise UserError(f"{root / wanted} is taken, and so are all names like it: look what has filled its folder.")


def _remove(path: Path) -> None:
    """Remove what is no longer needed from the work folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
