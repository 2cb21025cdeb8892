"""The user's own groups: which patient, slide, product or session each picture belongs to, by folder, name or table."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.dataset import Dataset
from curate.errors import UserError
from curate.splitting.grouping import NO_PAIRS
from curate.splitting.picture_table import PictureTable
from curate.tables import ends_of_paths, known_end, read_table

PARENT = "parent"

_TABLE = re.compile(r"(.*\.csv)(?::([^:/\\]*))?", re.IGNORECASE | re.DOTALL)
_FILE_COLUMNS = ("path", "file", "filename")


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
    return [_matched(expression, dataset.below_class(path)) for path in table.paths]


def subfolders_of(dataset: Dataset, table: PictureTable) -> list[str]:
    """The outermost folder of each picture below its class folder; "" for none."""
    below = (dataset.below_class(path) for path in table.paths)
    return [path.split("/")[0] if "/" in path else "" for path in below]


def _matched(expression: re.Pattern[str], path: str) -> str:
    match = expression.search(path)
    if match is None:
        return ""
    return (match[1] or "") if expression.groups else match[0]


def _rows(file: Path, column: str | None) -> Iterator[tuple[str, str]]:
    """(path or file name, group) of each row of a table that names a group."""
    rows = read_table(file, "--group-by").rows
    of_file, of_group = _columns(file, rows[0] if rows else [], column)
    for row in rows[1:]:
        if len(row) > max(of_file, of_group) and row[of_file] and row[of_group]:
            yield row[of_file], row[of_group]


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
    meant = ends_of_paths(paths)
    names = [""] * len(paths)
    for name, group in rows:
        found = meant.get(known_end(name, meant), [])
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
