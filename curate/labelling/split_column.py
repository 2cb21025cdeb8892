"""The columns of a table that say a picture's split: words, the numbers of CelebA, or `is_valid` and its like."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from curate.split_names import split_said

_NAMES = ("split", "splits", "set", "subset", "partition", "phase", "usage", "data_split", "split_set", "dataset_split")
_NUMBERS = {"0": "train", "1": "valid", "2": "test"}  # as in CelebA's list_eval_partition
_FLAGS = {
    **dict.fromkeys(("is_train", "is_training", "is_training_image"), ("train", "test")),
    **dict.fromkeys(("is_valid", "is_val", "is_validation"), ("valid", "train")),
    **dict.fromkeys(("is_test", "is_testing"), ("test", "train")),
}
"""Column → the split of a row where it is true, and of one where no such column is."""

_TRUE, _FALSE = {"1", "1.0", "1.", "true", "t", "yes"}, {"0", "0.0", "0.", "false", "f", "no", ""}
_MOST_SHOWN = 3


@dataclass(frozen=True)
class SplitColumns:
    """What says the split in each row: `words` maps the cells of the column `at`; else the true one of the `flags`
    does. `note` is what there is to say of the column `unread`, which cannot be read.
    """

    at: int = -1
    words: dict[str, str] = field(default_factory=dict)
    flags: dict[int, tuple[str, str]] = field(default_factory=dict)
    note: str = ""
    unread: int = -1

    @property
    def columns(self) -> set[int]:
        """Those that say splits, and so no labels."""
        return {*self.flags, *([self.at] if self.at >= 0 else [])}

    def of(self, row: Sequence[str]) -> str | None:
        """The split of a row; None where it says none."""
        if self.at >= 0:
            return self.words.get(row[self.at]) if self.at < len(row) else None
        said = [(truth(row[at]), splits) for at, splits in self.flags.items() if at < len(row)]
        return next((splits[0] for holds, splits in said if holds), None) or next(
            (splits[1] for _, splits in said), None
        )


def truth(cell: str) -> bool | None:
    """What a cell of a column of yes and no says, an empty one no; None where it is of no such column."""
    lower = cell.lower()
    return True if lower in _TRUE else False if lower in _FALSE else None


def columns_of_splits(head: Sequence[str], rows: Sequence[Sequence[str]], others: Sequence[int]) -> SplitColumns:
    """Find them among the columns `others` of a table; none, where it has no head, or its words are no splits'."""
    named = {at: head[at].lower().replace(" ", "_").replace("-", "_") for at in others if at < len(head)}
    for at in sorted(named, key=lambda at: named[at] not in _NAMES):
        cells = {row[at] for row in rows if at < len(row) and row[at]}
        words = {cell: split for cell in cells if (split := split_said(cell)) is not None}
        if named[at] in _NAMES and cells == _NUMBERS.keys():
            words = dict(_NUMBERS)
        is_whole = "train" in words.values() and len(set(words.values())) > 1
        if is_whole and (words.keys() == cells or named[at] in _NAMES):
            return SplitColumns(at, words, note=_unread(head[at], cells - words.keys()), unread=at)
        if named[at] in _NAMES and len(cells) > 1:
            return SplitColumns(note=_unread(head[at], cells), unread=at)
    flags = {
        at: _FLAGS[name]
        for at, name in named.items()
        if name in _FLAGS and all(truth(row[at]) is not None for row in rows if at < len(row))
    }
    return SplitColumns(flags=flags)


def _unread(name: str, cells: set[str]) -> str:
    if not cells:
        return ""
    shown = ", ".join(sorted(cells)[:_MOST_SHOWN]) + (", …" if len(cells) > _MOST_SHOWN else "")
    return f"its column {name} says {shown}, which is no split: write train, valid or test for that to count"
