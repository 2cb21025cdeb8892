"""Which files a prediction is wanted of: files, whole folders, and paths that arrive a line at a time."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from PIL import Image

from curate.dataset import natural_key
from curate.errors import UserError
from curate.image import FORMATS

STANDARD_INPUT: Final = "-"


def expand(inputs: Iterable[Path | str], lines: Iterable[str] | None = None) -> Iterator[Path]:
    """Files as they are, folders with every picture below them, and for "-" the paths that `lines` gives, one a line.

    `lines` is standard input by default, and is read as the paths are asked for, so a list of any length streams.
    From a folder only files named as pictures are taken, hidden ones left out, in natural order. Raises UserError
    where a folder holds none.
    """
    for one in inputs:
        if str(one) == STANDARD_INPUT:
            for line in lines or sys.stdin:
                if name := line.rstrip("\r\n"):
                    yield from _files(Path(name))
        else:
            yield from _files(Path(one))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path  # one that is missing becomes an answer in its place, which says so
        return
    found = False
    for file in _below(path):
        found = True
        yield file
    if not found:
        raise UserError(f"The folder {path} holds no picture: name another, or the files themselves.")


def _below(folder: Path) -> Iterator[Path]:
    """Files first, then folders, each in natural order; links to folders are not followed, so nothing goes in rings."""
    endings = {ending for ending, format_ in Image.registered_extensions().items() if format_ in FORMATS}
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=_order)
    except OSError as error:
        raise UserError(f"The folder {folder} can't be read ({error.strerror}): give yourself the right to.") from error
    for entry in entries:
        if not entry.is_dir() and Path(entry.name).suffix.lower() in endings:
            yield folder / entry.name
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(folder / entry.name)


def _order(entry: os.DirEntry[str]) -> tuple[tuple[int, int, str], ...]:
    return natural_key(entry.name)
