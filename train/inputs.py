"""Which files a prediction is wanted of: files, whole folders, and paths that arrive a line at a time."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from curate.dataset import natural_key
from curate.decoding.formats import is_named_as_picture
from curate.errors import UserError
from curate.files.addresses import is_remote, refusal_as_path
from curate.image import BrokenImage

STANDARD_INPUT: Final = "-"


def expand(inputs: Iterable[Path | str], lines: Iterable[str] | None = None) -> Iterator[Path | BrokenImage]:
    """Files as they are, folders with every picture below them, and for "-" the paths that `lines` gives, one a line.

    `lines` is standard input by default, and is read as the paths are asked for, so a list of any length streams.
    From a folder only files named as pictures are taken, hidden ones left out, in natural order; a folder in it that
    can't be read stands in its place as a `BrokenImage`. Raises UserError where a folder that was asked for can't be
    read or holds no picture, and where no path is listed.
    """
    for one in inputs:
        if str(one) == STANDARD_INPUT:
            named = False
            for line in _standard_input() if lines is None else lines:
                if name := line.rstrip("\r\n"):
                    named = True
                    yield from _files(Path(name))
            if not named:
                raise UserError("Standard input is closed or empty, so - names no file: name the files themselves.")
        else:
            yield from _files(Path(one))


def _standard_input() -> Iterator[str]:
    """Its lines as names of files: bytes that are no text stay what they are."""
    if sys.stdin is not None and not sys.stdin.closed:
        raw = getattr(sys.stdin, "buffer", None)
        yield from sys.stdin if raw is None else map(os.fsdecode, raw)


def _files(path: Path) -> Iterator[Path | BrokenImage]:
    if refusal_as_path(path) or is_remote(path):
        yield BrokenImage(str(path).replace(":/", "://", 1), "an address, where only files of this disk are read")
        return
    if not os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for a name that is too long
        yield path  # one that is missing becomes an answer in its place, which says so
        return
    found = False
    for file in _below(path):
        found = True
        yield file
    if not found:
        raise UserError(f"The folder {path} holds no picture: name another, or the files themselves.")


def _below(top: Path) -> Iterator[Path | BrokenImage]:
    """Files first, then folders, each in natural order; links to folders are not followed, so nothing goes in rings."""
    waiting = [top]  # the next one last: folders may be nested deeper than calls may
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=_order)
        except OSError as error:
            if folder == top:
                raise UserError(
                    f"The folder {folder} can't be read ({error.strerror}): give yourself the right to."
                ) from error
            yield BrokenImage(str(folder), f"the folder cannot be read ({error.strerror})")
            continue
        for entry in entries:
            if is_named_as_picture(entry.name) and not _is_folder(entry, follow=True):
                yield folder / entry.name
        waiting += [folder / entry.name for entry in reversed(entries) if _is_folder(entry, follow=False)]


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link that leads round in a circle
        return False


def _order(entry: os.DirEntry[str]) -> tuple[tuple[int, int, str], ...]:
    return natural_key(entry.name)
