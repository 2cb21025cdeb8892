"""The user's own groups: which patient, slide, product or session each picture belongs to, by folder, name or table."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.reading import read_file
from curate.splitting.grouping import NO_PAIRS
from curate.splitting.picture_table import PictureTable, outside_name

PARENT = "parent"

_TABLE = re.compile(r"(.*\.csv)(?::([^:/\\]*))?", re.IGNORECASE | re.DOTALL)
_FILE_COLUMNS = ("path", "file", "filename")
_DELIMITERS = ",;\t"


@dataclass(frozen=True, eq=False)
class UserGroups:
    """Each picture's group by its name, "" for none; one name is one group under every label."""

    names: list[str]

    def links(self, table: PictureTable) -> NDArray[np.int32]:
        """Pairs of a content and the number of its group, as in `Links.groups`: int32[q, 2]."""
        grouped = [at for at, name in enumerate(self.names) if name]
        if not grouped:
            return NO_PAIRS
        number = np.unique(np.array([self.names[at] for at in grouped], dtype=object), return_inverse=True)[1]
        return np.unique(np.column_stack([table.content[grouped], number]).astype(np.int32), axis=0)

    def digests(self, table: PictureTable) -> dict[str, list[str]]:
        """Name of each group → the sha256 of its contents, both in order."""
        found: dict[str, set[str]] = {}
        for at, name in enumerate(self.names):
            if name:
                found.setdefault(name, set()).add(table.digest(at))
        return {name: sorted(found[name]) for name in sorted(found)}

    def without(self, table: PictureTable) -> list[str]:
        """The paths of the pictures that are in no group, where there are groups."""
        if not any(self.names):
            return []
        return [path for path, name in zip(table.paths, self.names, strict=True) if not name]


def scheme_of(setting: str) -> str:
    """The setting as a split is remembered by it: a table by its name, for it may be moved, and grow."""
    table = _TABLE.fullmatch(setting)
    return setting if table is None else f"{Path(table[1]).name}:{table[2] or ''}"


def group_pictures(setting: str | None, dataset: Dataset, table: PictureTable) -> UserGroups:
    """Group pictures by `setting`: "parent", a regular expression, a table "FILE.csv" or "FILE.csv:COLUMN", or nothing.

    "parent" is the folder below the class folder, the outermost where several are nested. An expression is searched
    in each path below its class folder; its first group is the name or, where it has none, all that it matched.
    Raises `UserError` for a setting that cannot be used, and for one that puts no picture into any group.
    """
    if setting is None:
        return UserGroups([""] * len(table))
    groups = UserGroups(_named(setting, dataset, table))
    if not any(groups.names):
        raise UserError(
            f"--group-by {setting} puts none of the {len(table):,} pictures of {dataset.root} into a group, such as "
            f"{table.paths[0]}: {_ADVICE}."
        )
    return groups


_ADVICE = (
    "give `parent` for subfolders of the class folders, an expression that matches in the paths below them, or a table "
    "that names them"
)


def _named(setting: str, dataset: Dataset, table: PictureTable) -> list[str]:
    if given := _TABLE.fullmatch(setting):
        return _looked_up(table.paths, _rows(Path(given[1]), given[2]), Path(given[1]))
    if setting == PARENT:
        return subfolders_of(dataset, table)
    try:
        expression = re.compile(setting)
    except re.error as error:
        raise UserError(f"--group-by {setting!r} is no regular expression ({error}): {_ADVICE}.") from None
    return [_matched(expression, outside_name(dataset, path)) for path in table.paths]


def subfolders_of(dataset: Dataset, table: PictureTable) -> list[str]:
    """The outermost folder of each picture below its class folder; "" for none."""
    below = (outside_name(dataset, path) for path in table.paths)
    return [path.split("/")[0] if "/" in path else "" for path in below]


def _matched(expression: re.Pattern[str], path: str) -> str:
    match = expression.search(path)
    if match is None:
        return ""
    return (match[1] or "") if expression.groups else match[0]


def _rows(file: Path, column: str | None) -> Iterator[tuple[str, str]]:
    """(path or file name, group) of each row of a table that names a group."""
    try:
        text = read_file(file).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The table {file} cannot be read ({error.strerror}): give --group-by another.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The table {file} is no text in UTF-8 ({error.reason}): save it as CSV in UTF-8.") from error
    try:
        opening = text.split("\n", 1)[0]
        rows = csv.reader(text.splitlines(keepends=True), delimiter=max(_DELIMITERS, key=opening.count), strict=True)
        columns = [name.strip() for name in next(rows, [])]
        of_file, of_group = _columns(file, columns, column)
        for row in rows:
            if len(row) > max(of_file, of_group) and row[of_file].strip() and row[of_group].strip():
                yield row[of_file].strip(), row[of_group].strip()
    except csv.Error as error:
        raise UserError(f"The table {file} is no CSV ({error}): save it anew.") from error


def _columns(file: Path, columns: list[str], wanted: str | None) -> tuple[int, int]:
    """The places of the column of files and of the column of groups."""
    lower = [name.lower() for name in columns]
    of_file = next((lower.index(name) for name in _FILE_COLUMNS if name in lower), None)
    if of_file is None:
        raise UserError(
            f"The table {file} has no column `path`, `file` or `filename` among {', '.join(columns) or 'none'}: name "
            "the one of the pictures so."
        )
    others = [at for at in range(len(columns)) if at != of_file]
    if wanted is None and others:
        return of_file, others[0]
    if wanted not in columns or columns.index(wanted) == of_file:
        named = f"no column {wanted!r} of groups" if wanted is not None else "no column of groups"
        raise UserError(
            f"The table {file} has {named}; its others are: {', '.join(columns[at] for at in others) or 'none'}."
        )
    return of_file, columns.index(wanted)


def _looked_up(paths: Sequence[str], rows: Iterable[tuple[str, str]], file: Path) -> list[str]:
    """The group of each picture by a table that names it by any end of its path that is its own.

    Raises `UserError` where the table means several pictures by one name, or gives one picture two groups.
    """
    meant: dict[str, list[int]] = {}
    for at, path in enumerate(paths):
        parts = path.split("/")
        for start in range(len(parts)):
            meant.setdefault("/".join(parts[start:]), []).append(at)
    names = [""] * len(paths)
    for name, group in rows:
        found = meant.get(_known_end(name, meant), [])
        if len(found) > 1:
            raise UserError(
                f"The table {file} names {name!a}, which {len(found)} pictures are called, such as {paths[found[0]]} "
                f"and {paths[found[1]]}: give so much of their paths as tells them apart."
            )
        for at in found:
            if names[at] not in ("", group):
                raise UserError(
                    f"The table {file} puts {paths[at]} into two groups, {names[at]!a} and {group!a}: leave one."
                )
            names[at] = group
    return names


def _known_end(name: str, known: dict[str, list[int]]) -> str:
    """The longest end of a table's path that a picture has: the table may start further out, at another root.

    A path is not cut down to the file's name alone, which other classes may have too.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(max(1, len(parts) - 1)):
        end = "/".join(parts[start:])
        if end in known:
            return end
    return ""
