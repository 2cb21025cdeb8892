"""What a picture's label is where no class folder says it: by its name, by the folder around it, or by a table."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.tables import Table, ends_of_paths, known_end, read_table

NAME, PARENT = "name", "parent"
FLAG: Final = "--label-from"

_TABLE = re.compile(r"(.*\.(?:csv|tsv|txt))(?::([^:/\\]*))?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[\W_]*\d+\W*\Z")
_NUMBER_APART = re.compile(r"[\W_]+\d+\W*\Z")
_LEADING_NUMBER = re.compile(r"\A\d+[\W_]+")
_EDGES = re.compile(r"\A[\W_]+|[\W_]+\Z")
_LABEL_COLUMNS = ("label", "labels", "class", "classid", "class_id", "classname", "class_name", "breed", "species",
                  "category", "articletype", "dx", "diagnosis", "target", "name", "y")  # fmt: skip
_FEWEST_SAID = 0.5  # of the rows of a table, as names of pictures


def label_by_name(path: str) -> str:
    """The words of a file's name without the numbers around them: `cat.0.jpg` is a cat, `12_frog.png` a frog.

    "" where the name is a number alone.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0]
    label = _NUMBER.sub("", stem)
    while (shorter := _NUMBER_APART.sub("", label)) != label:
        label = shorter
    return _EDGES.sub("", _LEADING_NUMBER.sub("", label)).replace("/", "_")


def label_by_parent(path: str) -> str:
    """The name of the folder in which a picture lies; "" for one in the dataset's folder itself."""
    return path.rpartition("/")[0].rpartition("/")[2]


def label_pictures(source: str, root: Path, paths: Sequence[str], splits: Sequence[str | None]) -> list[str]:
    """The label of each picture, by paths relative to `root`, as `source` says it; "" for those of which it says none.

    Where a table's name means a picture of train and others, as numbers do, it means the one of train.

    `source` is "name", "parent", or a table "FILE.csv" or "FILE.csv:COLUMN", which is looked for in `root` as well.
    Raises `UserError` for another source, for a table that cannot be used, and where nothing comes of it.
    """
    if source == NAME:
        labels = [label_by_name(path) for path in paths]
        _require_classes(labels, paths)
        return labels
    if source == PARENT:
        return [label_by_parent(path) for path in paths]
    if (given := _TABLE.fullmatch(source)) is None:
        raise UserError(f"{FLAG} {source!r} is no source of labels: give name, parent, or a table FILE.csv[:COLUMN].")
    file = Path(given[1])
    table = read_table(file if file.is_file() or not (root / file).is_file() else root / file, FLAG)
    return _by_table(table, given[2], paths, splits)


def _require_classes(labels: Sequence[str], paths: Sequence[str]) -> None:
    """Raise `UserError` where names say nothing: hardly two pictures share a label."""
    counts = Counter(filter(None, labels))
    if not counts or len(counts) * 2 > counts.total():
        example = paths[0] if paths else "none"
        raise UserError(
            f"The names of the pictures, such as {example}, say no classes: they give {len(counts):,} labels for "
            f"{counts.total():,} pictures. Give a table, {FLAG} labels.csv."
        )


def _by_table(table: Table, wanted: str | None, paths: Sequence[str], splits: Sequence[str | None]) -> list[str]:
    meant = ends_of_paths(paths)
    without_suffix = {end.rpartition(".")[0]: places for end, places in meant.items()}
    of_file = _file_column(table, meant, without_suffix)
    head = table.rows[0]
    has_head = not _places(head[of_file], meant, without_suffix)
    of_label = _label_column(table, head if has_head else [], of_file, wanted)
    labels = [""] * len(paths)
    for row in table.rows[has_head:]:
        if len(row) <= max(of_file, of_label) or not row[of_label]:
            continue
        places = _places(row[of_file], meant, without_suffix)
        if len(places) > 1:
            places = [at for at in places if splits[at] == "train"] or places
        if len(places) > 1:
            raise UserError(
                f"The table {table.file} names {row[of_file]!a}, which {len(places)} pictures are called, such as "
                f"{paths[places[0]]} and {paths[places[1]]}: give so much of their paths as tells them apart."
            )
        for at in places:
            if labels[at] not in ("", row[of_label]):
                raise UserError(
                    f"The table {table.file} gives {paths[at]} two labels, {labels[at]!a} and {row[of_label]!a}: "
                    "leave one."
                )
            labels[at] = row[of_label]
    return [label.replace("/", "_").strip().strip(".") for label in labels]


def _places(name: str, meant: dict[str, list[int]], without_suffix: dict[str, list[int]]) -> list[int]:
    """The pictures that a cell means, by their path or any end of it, with or without its suffix."""
    return meant.get(known_end(name, meant)) or without_suffix.get(known_end(name, without_suffix), [])


def _file_column(table: Table, meant: dict[str, list[int]], without_suffix: dict[str, list[int]]) -> int:
    """The column whose cells name pictures. Raises `UserError` where there is none."""
    sample = table.rows[1:201] or table.rows
    said = [
        sum(bool(_places(row[at], meant, without_suffix)) for row in sample if at < len(row))
        for at in range(max(map(len, table.rows), default=0))
    ]
    if not said or max(said) < 1:
        raise UserError(
            f"The table {table.file} names none of the pictures in any column: give one with their file names, or "
            "their paths from any folder on."
        )
    return said.index(max(said))


def _label_column(table: Table, head: Sequence[str], of_file: int, wanted: str | None) -> int:
    others = [at for at in range(max(map(len, table.rows))) if at != of_file]
    if wanted is not None:
        if wanted not in head or head.index(wanted) == of_file:
            listed = ", ".join(head[at] for at in others if at < len(head)) or "none"
            raise UserError(f"The table {table.file} has no column {wanted!r} of labels; its others are: {listed}.")
        return list(head).index(wanted)
    lower = [name.lower().replace(" ", "_") for name in head]
    named = next((lower.index(name) for name in _LABEL_COLUMNS if name in lower and lower.index(name) in others), None)
    if named is not None:
        return named
    if not others:
        raise UserError(f"The table {table.file} has no column of labels beside that of the pictures.")
    if head and len(others) > 1:
        raise UserError(
            f"The table {table.file} has several columns that may be the labels, "
            f"{', '.join(head[at] for at in others if at < len(head))}: name one, {FLAG} {table.file}:COLUMN."
        )
    return others[0]
