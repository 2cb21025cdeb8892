"""What is written for others appears under its name when it is whole, over nothing that is there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.addresses import is_remote
from curate.files.atomic import abandoned_in, fsync_below, fsync_folder, temporary_name
from curate.files.disk import disk_in_words
from curate.files.moving import move_folder
from curate.files.ours import WorkFolder
from curate.files.remote import require_writable, upload

_PARTIAL = "partial"


class Publication:
    """A folder that is being written, and its place to come, here or beyond the disk."""

    def __init__(self, out: Path, aside: Path) -> None:
        self.out = out
        beside = aside / "export" if is_remote(out) else out
        beside.parent.mkdir(parents=True, exist_ok=True)
        self._work = WorkFolder(temporary_name(beside))  # of our own: another may be on its way to the same place
        self.folder = self._work.make() / _PARTIAL
        self.folder.mkdir()
        self.sent = 0

    def aside(self, name: str) -> Path:
        """A place beside the folder, for files that it is made of; it goes with the work."""
        return self._work.make() / name

    def send(self, file: Path) -> None:
        """A file of the folder is whole: beyond the disk it is brought to its place, and leaves the folder.

        Raises `OSError` where it cannot be brought there.
        """
        if is_remote(self.out):
            upload(file, self.out / file.relative_to(self.folder).as_posix())
            file.unlink()
            self.sent += 1

    def appear(self, last: str = "") -> int:
        """Give the folder its name, with all in it on the disk; how many files are there.

        Beyond the disk what is left is brought there, and the file of the name `last` after all others. Raises
        `UserError` where another has taken the place meanwhile, and `OSError` as `send` does.
        """
        files = sorted(
            (file for file in self.folder.rglob("*") if file.is_file()), key=lambda one: (one.name == last, one)
        )
        if is_remote(self.out):
            for file in files:
                self.send(file)
            return self.sent
        fsync_below(self.folder)
        with suppress(OSError):
            self.out.rmdir()  # only an empty folder goes
        try:
            move_folder(self.folder, self.out)
        except FileExistsError as error:
            raise _taken(self.out) from error
        fsync_folder(self.out.parent)
        return len(files)

    def end(self) -> None:
        """Remove what is left of the work."""
        self._work.remove()


@contextmanager
def published(out: Path, aside: Path) -> Iterator[Publication]:
    """A folder to write into, inside a `with`; it appears as `out` when its `appear` is called.

    A run that is stopped leaves a hidden folder beside `out`, which bears our mark and which the next one removes.
    Where `out` lies beyond the disk, that folder is in `aside`, and what was brought there before stays.
    """
    with disk_in_words(out):
        for left in abandoned_in(aside if is_remote(out) else out.parent):
            WorkFolder(left).remove()
        publication = Publication(out, aside)
        try:
            yield publication
        finally:
            publication.end()


def require_free(dataset: Dataset, out: Path) -> None:
    """Raise `UserError` where `out` is taken, or overlaps with the dataset."""
    for folder in (dataset.root.resolve(), dataset.home.resolve()):
        if out == folder or folder in out.parents or out in folder.parents:
            raise UserError(f"The output folder {out} and the dataset {folder} overlap: give another folder.")
    with disk_in_words(out):
        if is_remote(out):
            require_writable(out)
            if out.is_dir():
                raise _taken(out)
            return
        empty = out.is_dir() and not any(out.iterdir())
        if os.path.lexists(out) and not empty:
            raise _taken(out)


def _taken(out: Path) -> UserError:
    return UserError(f"{out} is there already: remove it, or give a folder that is not there yet.")
