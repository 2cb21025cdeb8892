"""Tables that people keep beside their pictures: commas, semicolons or tabs, with or without a head."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from curate.errors import UserError
from curate.files.reading import read_file

_DELIMITERS = ",;\t"

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """The rows of a table, its first one among them, which may name the columns."""

    file: Path
    rows: list[list[str]]


def read_table(file: Path, flag: str) -> Table:
    """Read a table; a file without any delimiter has two columns, parted by the first space in each line.

    Raises `UserError`, which names the flag it was given with, where the file cannot be read or is no table.
    """
    try:
        text = read_file(file).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The table {file} cannot be read ({error.strerror}): give {flag} another.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The table {file} is no text in UTF-8 ({error.reason}): save it as CSV in UTF-8.") from error
    opening = text.split("\n", 1)[0]
    if not any(delimiter in opening for delimiter in _DELIMITERS):
        return Table(file, [line.strip().split(None, 1) for line in text.splitlines() if line.strip()])
    try:
        lines = text.splitlines(keepends=True)
        rows = csv.reader(lines, delimiter=max(_DELIMITERS, key=opening.count), strict=True)
        return Table(file, [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)])
    except csv.Error as error:
        raise UserError(f"The table {file} is no CSV ({error}): save it anew.") from error


def ends_of_paths(paths: Iterable[str]) -> dict[str, list[int]]:
    """Every end of each path (`b.jpg`, `a/b.jpg`, …) → the places of the paths that have it."""
    meant: dict[str, list[int]] = {}
    for at, path in enumerate(paths):
        parts = path.split("/")
        for start in range(len(parts)):
            meant.setdefault("/".join(parts[start:]), []).append(at)
    return meant


def known_end(name: str, known: dict[str, T]) -> str:
    """The longest end of a table's path that a picture has: the table may start further out, at another root.

    A path is not cut down to the file's name alone, which other classes may have too; "" where there is none.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(max(1, len(parts) - 1)):
        end = "/".join(parts[start:])
        if end in known:
            return end
    return ""
