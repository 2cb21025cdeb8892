"""The folders in a folder: which count, in which order, and whether pictures lie below them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from curate.companions import is_picture, leads_to_folder
from curate.decoding.formats import is_named_as_picture
from curate.errors import UserError
from curate.files.inside import is_text

OUR_ENDING: Final = ".florilegium"
"""How the folders end that we make: work under way, and what we keep about a dataset."""

_NOT_CLASSES = {"__macosx", "@eadir"}  # what archives and file servers leave beside the class folders
_MOST_LOOKED_INTO = 100
_MOST_ENTRIES = 5_000  # of a folder that is looked through for a picture, and of which nothing else is wanted


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts 2 before 10 and leaves words in alphabetical order."""
    parts = re.findall(r"[0-9]+|[^0-9]+", label)
    return tuple((0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts)


def subfolders(folder: Path, among: set[str] | None = None) -> list[str]:
    """The names of a folder's folders in natural order, or of those that are `among` some; none that is not text.

    Raises `UserError` for a link to a folder among them.
    """
    try:
        with os.scandir(folder) as entries:
            wanted = (entry for entry in entries if among is None or entry.name in among)
            names = [entry.name for entry in wanted if is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):  # it was removed or replaced while we read
        return []
    return sorted(names, key=natural_key)


def folder_names(folder: Path) -> list[str]:
    """The names of all folders and links to folders in a folder, in natural order; hidden ones left out.

    Nothing is refused: what of them is of use is to be found out by these names.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not is_hidden_folder(entry.name) and leads_to_folder(entry) and is_text(entry.name)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(names, key=natural_key)


def is_hidden_folder(name: str) -> bool:
    """Whether a folder, or a file, is passed over by its name."""
    return name.startswith(".") or name.lower() in _NOT_CLASSES or name.endswith(OUR_ENDING)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder whose name is text. Raises `UserError` for a link to one."""
    if is_hidden_folder(entry.name) or not leads_to_folder(entry) or not is_text(entry.name):
        return False
    if entry.is_symlink():
        # Files behind it are not ours to move, and a link to a folder above has no end.
        raise UserError(
            f"{entry.path} is a link to another folder: put the folder itself there, or give the folder it leads to."
        )
    return True


def pictures_in(folder: Path) -> Iterator[str]:
    """The names of the files directly in a folder that are pictures, or pose as such; in no order.

    Of files that are not named as pictures the first are looked into.
    """
    looked_into = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden_folder(entry.name) or leads_to_folder(entry) or not is_text(entry.name):
                    continue
                if is_named_as_picture(entry.name):
                    yield entry.name
                elif looked_into < _MOST_LOOKED_INTO:
                    looked_into += 1
                    if is_picture(Path(entry.path)):
                        yield entry.name
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return


def has_pictures_in(folder: Path) -> bool:
    """Whether a picture lies directly in a folder."""
    return next(pictures_in(folder), None) is not None


def has_pictures_below(folder: Path) -> bool:
    """Whether a file named as a picture lies in a folder or below it.

    Links are not followed, and a folder with thousands of other files is given up.
    """
    open_folders, seen = [folder], 0
    while open_folders:
        try:
            with os.scandir(open_folders.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MOST_ENTRIES:
                        return False
                    if is_hidden_folder(entry.name) or not is_text(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                    elif is_named_as_picture(entry.name):
                        return True
        except OSError:
            continue
    return False
