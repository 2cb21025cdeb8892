"""What this program has written, and so may replace or remove; all else is the user's."""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.files.atomic import is_partial, write_whole
from curate.files.reading import open_file, read_file, sha256_of

MARK: Final = ".florilegium"
"""The file in a folder that says that the folder is ours, with whatever is in it."""

SPLIT_MARK: Final = ".florilegium.split"
"""The file in a folder that `split` fills, which says whose split it is."""

CATALOG: Final = "catalog.sqlite"
"""The file in which all that is learnt of a dataset is kept."""

LABELS_MARK: Final = ".florilegium.labels"
"""The file in a folder in which pictures were laid out by label, which says whose they are."""

_MARK_TEXT = "Florilegium made this folder for work under way, and removes it with all that it holds.\n"
_SIGNATURE = re.compile(rb"<!-- florilegium sha256:([0-9a-f]{64}) -->\n\Z")
_LARGEST_TEXT = 1 << 30


class WorkFolder:
    """A folder for work under way. It is ours by the mark that it bears, not by its name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> Path:
        """Make the folder with its mark, or take the one that bears the mark. Its path.

        An empty folder is taken too. Raises `UserError` for a folder with files and without the mark, and for one
        that cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.is_ours():
                if not self._holds_nothing():
                    raise UserError(
                        f"The folder {self.path} holds files that this program did not write, and is needed for work "
                        "under way: move it away."
                    )
                write_whole(self.path / MARK, _MARK_TEXT)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"{self.path} is a file where a folder is needed: move it away.") from error
        except OSError as error:
            raise UserError(
                f"The folder {self.path} cannot be written ({error.strerror}): check the disk's free space and your "
                "rights."
            ) from error
        return self.path

    def is_ours(self) -> bool:
        """Whether there is such a folder and it bears the mark. A link to one does not."""
        try:
            return not self.path.is_symlink() and read_file(self.path / MARK, 4096) == _MARK_TEXT.encode()
        except OSError:
            return False

    def _holds_nothing(self) -> bool:
        """Whether there is such a folder, and nothing in it but what a mark that was cut short has left."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        return all(is_partial(entry.name) and not entry.is_dir() for entry in self.path.iterdir())

    def remove(self) -> None:
        """Remove the folder with all that is in it, if it is ours. The mark goes last: a kill leaves it ours.

        A folder that holds nothing goes too: making or removing it was cut short.
        """
        if not (self.is_ours() or self._holds_nothing()):
            return
        for entry in self.path.iterdir():
            if entry.name == MARK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        (self.path / MARK).unlink(missing_ok=True)
        self.path.rmdir()


def is_made_by_us(folder: Path) -> bool:
    """Whether a folder bears a mark of ours: it is work under way, or was filled by `split` or by label.

    A dataset that was split in its own folder bears one too, and has its catalog.
    """
    if os.path.lexists(folder / LABELS_MARK) or WorkFolder(folder).is_ours():
        return True
    return os.path.lexists(folder / SPLIT_MARK) and not os.path.lexists(folder / CATALOG)


def write_ours(file: Path, data: str | bytes, *, known: str | None, force: bool = False) -> str:
    """Write a file whole, but never over one that is not ours; the sha256 of what was written, to be recorded.

    `known` is the sha256 that was recorded when the file was last written, None where there is no record. Raises
    `UserError` where a file is there that has another digest, unless `force`, and where it cannot be written.
    """
    require_ours(file, known=known, force=force)
    content = data.encode("utf-8") if isinstance(data, str) else data
    try:
        write_whole(file, content)
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror}): check the disk's free space and your rights, or give "
            "another place."
        ) from error
    return hashlib.sha256(content).hexdigest()


def require_ours(file: Path, *, known: str | None, force: bool = False) -> None:
    """Raise `UserError` where `write_ours` would: before the work is done whose result is to be written."""
    try:
        if file.is_dir():
            raise UserError(f"{file} is a folder, and a file is to be written there: give another name.")
        if not force and (file.exists() or file.is_symlink()) and (known is None or sha256_of(file) != known):
            raise UserError(
                f"{file} is there already, and is not as this program wrote it: move it away, give another name, or "
                "replace it with --force."
            )
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): move it away, or give another name.") from error


def signed(text: str) -> str:
    """Markdown with a last line, not shown, that tells whether the text before it is still as it was written."""
    body = text if text.endswith("\n") else f"{text}\n"
    return f"{body}<!-- florilegium sha256:{hashlib.sha256(body.encode('utf-8')).hexdigest()} -->\n"


def is_signed(file: Path) -> bool:
    """Whether a file is, byte for byte, what `signed` made. Raises `OSError`."""
    with open_file(file) as opened:
        data = opened.read(_LARGEST_TEXT)
    found = _SIGNATURE.search(data)
    return found is not None and hashlib.sha256(data[: found.start()]).hexdigest().encode() == found[1]
