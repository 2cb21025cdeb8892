"""What a picture's label is where no class folder says it: by its name, by the folder around it, or by a table."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from curate.errors import UserError
from curate.labelling.label_table import FLAG, SaidOfPictures, read_off
from curate.tables import read_table

NAME, PARENT = "name", "parent"

_TABLE = re.compile(r"(.*\.(?:csv|tsv|txt))(?::([^:/\\]*))?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[\W_]*\d+\W*\Z")
_NUMBER_APART = re.compile(r"[\W_]+\d+\W*\Z")
_LEADING_NUMBER = re.compile(r"\A\d+[\W_]+")
_EDGES = re.compile(r"\A[\W_]+|[\W_]+\Z")


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


def label_pictures(source: str, root: Path, paths: Sequence[str], splits: Sequence[str | None]) -> SaidOfPictures:
    """The label of each picture, by paths relative to `root`, as `source` says it, and the split where a table does.

    Labels that differ in case or in their Unicode form alone become one, but for single letters.
    `source` is "name", "parent", or a table "FILE.csv" or "FILE.csv:COLUMN", which is looked for in `root` as well.
    Raises `UserError` for another source, for a table that cannot be used, and where nothing comes of it.
    """
    if source == NAME:
        labels = [label_by_name(path) for path in paths]
        _require_classes(labels, paths)
        return _spelt_alike(SaidOfPictures(labels, [None] * len(paths)))
    if source == PARENT:
        return _spelt_alike(SaidOfPictures([label_by_parent(path) for path in paths], [None] * len(paths)))
    if (given := _TABLE.fullmatch(source)) is None:
        raise UserError(f"{FLAG} {source!r} is no source of labels: give name, parent, or a table FILE.csv[:COLUMN].")
    file = Path(given[1])
    table = read_table(file if file.is_file() or not (root / file).is_file() else root / file, FLAG)
    return _spelt_alike(read_off(table, given[2], paths, splits))


def _spelt_alike(said: SaidOfPictures) -> SaidOfPictures:
    """The same with one spelling, the most frequent one, of each label that is spelt in several ways."""
    spelt: dict[str, Counter[str]] = {}
    for label in filter(None, said.labels):
        composed = unicodedata.normalize("NFC", label)
        spelt.setdefault(composed.casefold() if len(composed) > 1 else composed, Counter())[label] += 1
    one: dict[str, str] = {}
    notes = []
    for ways in spelt.values():
        (kept, _), *others = ways.most_common()
        if others:
            one |= {other: kept for other, _ in others}
            counts = ", ".join(f"{way} ({count:,})" for way, count in ways.most_common())
            notes.append(f"Taken for one class, {kept}: {counts}.")
    return replace(said, labels=[one.get(label, label) for label in said.labels], notes=[*said.notes, *notes])


def _require_classes(labels: Sequence[str], paths: Sequence[str]) -> None:
    """Raise `UserError` where names say nothing: hardly two pictures share a label."""
    counts = Counter(filter(None, labels))
    if not counts or len(counts) * 2 > counts.total():
        example = paths[0] if paths else "none"
        raise UserError(
            f"The names of the pictures, such as {example}, say no classes: they give {len(counts):,} labels for "
            f"{counts.total():,} pictures. Give a table, {FLAG} labels.csv."
        )
