"""What a table says of pictures: their labels, in one column or in one for each class, and their splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from curate.errors import UserError
from curate.labelling.split_column import columns_of_splits, truth
from curate.tables import Table, ends_of_paths, known_end

FLAG: Final = "--label-from"

_LABEL_COLUMNS = ("label", "labels", "class", "classid", "class_id", "classname", "class_name", "breed", "species",
                  "category", "articletype", "dx", "diagnosis", "target", "name", "y")  # fmt: skip
_FEWEST_ONE_HOT = 0.5  # of the rows of a table with a column for each class


@dataclass(frozen=True)
class SaidOfPictures:
    """The label of each picture, "" for none, and its split, None for none; `notes` are what else there is to say."""

    labels: list[str]
    splits: list[str | None]
    notes: list[str] = field(default_factory=list)


def read_off(table: Table, wanted: str | None, paths: Sequence[str], splits: Sequence[str | None]) -> SaidOfPictures:
    """What a table says of the pictures at `paths`, which lie in `splits`; `wanted` names the column of labels.

    Where a name in it means a picture of train and others, as numbers do, it means the one of train. Raises
    `UserError` for a table that cannot be used.
    """
    meant = ends_of_paths(paths)
    without_suffix = {end.rpartition(".")[0]: places for end, places in meant.items()}

    def places_of(name: str) -> list[int]:
        return meant.get(known_end(name, meant)) or without_suffix.get(known_end(name, without_suffix), [])

    of_file = _file_column(table, places_of)
    head = [] if places_of(table.rows[0][of_file]) else table.rows[0]
    rows = [row for row in table.rows[bool(head) :] if of_file < len(row)]
    columns = _Columns(table, head, rows, of_file, wanted)
    found = SaidOfPictures([""] * len(paths), [None] * len(paths))
    for row in rows:
        label = columns.label(row)
        if not label:
            continue
        for at in _one_place(table, row[of_file], places_of(row[of_file]), paths, splits):
            if found.labels[at] not in ("", label):
                raise UserError(
                    f"The table {table.file} gives {paths[at]} two labels, {found.labels[at]!a} and {label!a}: "
                    "leave one."
                )
            found.labels[at] = label
            found.splits[at] = columns.splits.of(row)
    found.labels[:] = [label.replace("/", "_").strip().strip(".") for label in found.labels]
    found.notes.extend(f"Of the table {table.file}: {note}." for note in columns.notes())
    return found


class _Columns:
    """Which columns of a table say what; and the rows that were passed over, by why."""

    def __init__(
        self, table: Table, head: Sequence[str], rows: Sequence[Sequence[str]], of_file: int, wanted: str | None
    ) -> None:
        others = [at for at in range(max(map(len, table.rows))) if at != of_file]
        self._of_file = of_file
        self._head = head
        self._several: list[str] = []
        self._none: list[str] = []
        self._at, self._one_hot = -1, list[int]()
        kept = [at for at in others if at >= len(head) or head[at] != wanted]
        self.splits = columns_of_splits(head, rows, kept)
        others = [at for at in others if at not in self.splits.columns]
        if wanted is None and _named_column(head, others) is None:
            self._one_hot = _one_hot_columns(table, head, rows, others)
        if not self._one_hot:
            self._at = _label_column(table, head, of_file, others, wanted)

    def label(self, row: Sequence[str]) -> str:
        """The label that a row says, "" for none."""
        if not self._one_hot:
            return row[self._at] if self._at < len(row) else ""
        true = [at for at in self._one_hot if at < len(row) and truth(row[at])]
        if len(true) == 1:
            return self._head[true[0]]
        (self._several if true else self._none).append(row[self._of_file])
        return ""

    def notes(self) -> list[str]:
        """What there is to say of the columns, and of the rows that were passed over."""
        said = []
        if self._one_hot:
            said.append(f"a column for each class ({', '.join(self._head[at] for at in self._one_hot[:5])}" + (
                ", …)" if len(self._one_hot) > 5 else ")"
            ))  # fmt: skip
        if self.splits.columns:
            names = " and ".join(self._head[at] for at in sorted(self.splits.columns))
            said.append(f"the splits are those of its column {names}")
        if self.splits.note and self.splits.unread != self._at:
            said.append(self.splits.note)
        for passed, how in ((self._several, "several classes"), (self._none, "no class")):
            if passed:
                rows = "1 row" if len(passed) == 1 else f"{len(passed):,} rows"
                said.append(f"passed over, {rows} of {how}, such as {passed[0]}")
        return said


def _one_place(
    table: Table, name: str, places: list[int], paths: Sequence[str], splits: Sequence[str | None]
) -> list[int]:
    """The picture that a cell means, as a list; [] for none. Raises `UserError` where it may mean several."""
    if len(places) > 1:
        places = [at for at in places if splits[at] == "train"] or places
    if len(places) > 1:
        raise UserError(
            f"The table {table.file} names {name!a}, which {len(places)} pictures are called, such as "
            f"{paths[places[0]]} and {paths[places[1]]}: give so much of their paths as tells them apart."
        )
    return places


def _file_column(table: Table, places_of: Callable[[str], list[int]]) -> int:
    """The column whose cells name pictures. Raises `UserError` where there is none."""
    sample = table.rows[1:201] or table.rows
    said = [
        sum(bool(places_of(row[at])) for row in sample if at < len(row))
        for at in range(max(map(len, table.rows), default=0))
    ]
    if not said or max(said) < 1:
        raise UserError(
            f"The table {table.file} names none of the pictures in any column: give one with their file names, or "
            "their paths from any folder on."
        )
    return said.index(max(said))


def _named_column(head: Sequence[str], others: Sequence[int]) -> int | None:
    lower = [name.lower().replace(" ", "_") for name in head]
    return next((lower.index(name) for name in _LABEL_COLUMNS if name in lower and lower.index(name) in others), None)


def _one_hot_columns(
    table: Table, head: Sequence[str], rows: Sequence[Sequence[str]], others: Sequence[int]
) -> list[int]:
    """The columns of yes and no, one for each class; [] where there are none.

    Raises `UserError` where most rows say several classes, or none.
    """
    columns = [
        at for at in others
        if at < len(head) and head[at] and all(truth(row[at]) is not None for row in rows if at < len(row))
        and any(at < len(row) and row[at] for row in rows)
    ]  # fmt: skip
    if len(columns) < 2:
        return []
    true = [sum(bool(truth(row[at])) for at in columns if at < len(row)) for row in rows]
    if true.count(1) < _FEWEST_ONE_HOT * len(rows):
        several = sum(count > 1 for count in true)
        raise UserError(
            f"The table {table.file} has a column of 0 and 1 for each of {', '.join(head[at] for at in columns[:5])}"
            f"{', …' if len(columns) > 5 else ''}, and only {true.count(1):,} of its {len(rows):,} rows say one class "
            f"({several:,} say several): a picture has one label here, so give a table that says one."
        )
    return columns


def _label_column(table: Table, head: Sequence[str], of_file: int, others: Sequence[int], wanted: str | None) -> int:
    if wanted is not None:
        if wanted not in head or head.index(wanted) == of_file:
            listed = ", ".join(head[at] for at in others if at < len(head)) or "none"
            raise UserError(f"The table {table.file} has no column {wanted!r} of labels; its others are: {listed}.")
        return list(head).index(wanted)
    if (named := _named_column(head, others)) is not None:
        return named
    if not others:
        raise UserError(f"The table {table.file} has no column of labels beside that of the pictures.")
    if head and len(others) > 1:
        raise UserError(
            f"The table {table.file} has several columns that may be the labels, "
            f"{', '.join(head[at] for at in others if at < len(head))}: name one, {FLAG} {table.file}:COLUMN."
        )
    return others[0]
