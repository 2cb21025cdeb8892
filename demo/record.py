"""What a demo has written into its folder, on record, so that the next one removes that and nothing else.

Pictures are known by their content, noted before they are written: wherever `scrape`, `clean` and `split` have carried
them, they are ours. What the stages make besides, figures and checkpoints, is noted by place and content at the end;
of a demo that was killed before, it is known by its place and kind. Every other file is the user's.
"""

import hashlib
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.files.atomic import is_partial
from curate.files.lock import LOCK
from curate.files.ours import WorkFolder
from curate.files.reading import read_file, sha256_of
from curate.splitting.unfinished import MARK as SPLIT_MARK

MARK: Final = ".drawn-by-florilegium"

_ENDED = "ended"
_EMPTY = hashlib.sha256(b"").hexdigest()
_ALWAYS = {MARK, LOCK, SPLIT_MARK, *(f"catalog.sqlite{part}" for part in ("", "-wal", "-shm", "-journal"))}
_MADE = ("CREDITS.md", "raw/metadata.csv", "incoming/*", "models/*")
_KINDS = {"", ".md", ".csv", ".json", ".pth", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal", ".part"}
"""Suffixes of what the stages make, pictures not among them."""
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what systems leave in every folder that somebody looks at


class DemoRecord:
    """The record of one demo, in a hidden file of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / MARK

    def begin(self) -> None:
        """Make the folder with an empty record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(b"")

    def note(self, picture: bytes) -> None:
        """Put on record a picture that is about to be written."""
        self._write(hashlib.sha256(picture).hexdigest())

    def end(self) -> None:
        """Put on record what the stages have made besides pictures, and that nothing more comes."""
        for path, place in _files(self.folder):
            if _may_be_made(place) and not path.is_symlink():
                self._write(f"{sha256_of(path)} {place}")
        self._write(_ENDED)

    def require_nothing_else(self) -> list[Path]:
        """The files of this demo. Raises `UserError` where the folder holds any that is not."""
        try:
            lines = set(read_file(self._file).decode().splitlines())
        except FileNotFoundError:
            lines = None
        own = []
        for path, place in _files(self.folder):
            if not self._is_own(path, place, lines):
                raise UserError(
                    f"{self.folder} holds files that no demo has written, such as {path}: move them away, or give "
                    "--folder another place."
                )
            own.append(path)
        return own

    def clear(self) -> None:
        """Remove the files of this demo, the record last. Raises `UserError`, before that, where there are others."""
        for path in self.require_nothing_else():
            if path.name not in (MARK, LOCK):
                path.unlink()
        for below, _, _ in os.walk(self.folder, topdown=False):
            if Path(below) != self.folder and not os.listdir(below):  # noqa: PTH208
                Path(below).rmdir()
        self._file.unlink(missing_ok=True)

    def _is_own(self, path: Path, place: str, lines: set[str] | None) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        if lines is None:  # no demo was ever here
            return place == LOCK
        if place in _ALWAYS or path.name in _LITTER or is_partial(path.name):
            return True
        if any(WorkFolder(self.folder / above).is_ours() for above in Path(place).parents if above != Path()):
            return True
        if path.stat().st_size == 0 and path.suffix != ".jpg":  # the planted one is on record for its content
            return f"{_EMPTY} {place}" in lines or (_ENDED not in lines and _may_be_made(place))
        digest = sha256_of(path)
        return digest in lines or f"{digest} {place}" in lines or (_ENDED not in lines and _may_be_made(place))

    def _write(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Everything in a folder that is no folder, links to folders too, and its place in it."""
    if not os.path.lexists(folder):
        return
    for below, folders, names in os.walk(folder, onerror=_raise):
        for name in sorted(names) + [name for name in folders if (Path(below) / name).is_symlink()]:
            path = Path(below) / name
            yield path, path.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _may_be_made(place: str) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in _MADE) and Path(place).suffix in _KINDS
