"""What an export is made of: the pictures of each split, with their labels and where they come from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.catalog import Catalog
from curate.credits import FIELDS
from curate.dataset import SPLITS, Dataset
from curate.errors import UserError

SPLIT_NAMES = {"train": "train", "valid": "validation", "test": "test"}
"""What the tools that people use next call our splits."""


@dataclass(frozen=True, slots=True)
class Example:
    """One picture. `credit` are the values of `curate.credits.FIELDS`, "" each where nothing is known."""

    file: Path
    name: str
    label: int
    sha256: str
    format: str
    size: int
    credit: tuple[str, ...]

    def read(self) -> bytes:
        """The picture's bytes. Raises `UserError` where they are no longer those of the catalog's size."""
        try:
            data = self.file.read_bytes()
        except OSError as error:
            raise UserError(f"{self.file} cannot be read ({error.strerror}): run the same command again.") from error
        if len(data) != self.size:
            raise UserError(f"{self.file} changed while it was exported: run the same command again.")
        return data


@dataclass(frozen=True)
class Examples:
    """`splits` are in the order of `SPLITS`, those without pictures left out, and named for other tools. Examples
    are in order of their sha256: shuffled for good, for who reads a shard from its start sees all classes.

    `labels` are the class folders in natural order, which `Example.label` counts; `names` are theirs for people.
    """

    labels: list[str]
    names: list[str]
    splits: dict[str, list[Example]]

    def row(self, example: Example) -> dict[str, str]:
        """What is known of an example, in words: label, name, digest and credit."""
        known = {"label": self.labels[example.label], "name": self.names[example.label], "sha256": example.sha256}
        return known | dict(zip(FIELDS, example.credit, strict=True))


Writer = Callable[[Examples, Path, Callable[[int], None]], None]
"""Writes all examples into an empty folder, and says how many were done."""


def read_examples(dataset: Dataset, catalog: Catalog, labels: Sequence[str], names: Sequence[str]) -> Examples:
    """The intact pictures of the splits in the dataset or, where it has none, of the one that `split` placed
    elsewhere; where there is no split at all, everything is train. Raises `UserError` where several were placed.
    """
    number = {label: at for at, label in enumerate(labels)}
    credit_of = _credits(catalog)
    found: dict[str, list[Example]] = {SPLIT_NAMES[split]: [] for split in SPLITS}
    for split, path, label, name, sha256, file_format, size in _rows(catalog):
        credit = credit_of.get(sha256, ("",) * len(FIELDS))
        example = Example(dataset.root / path, name, number[label], sha256, file_format, size, credit)
        found[SPLIT_NAMES[split]].append(example)
    for examples in found.values():
        examples.sort(key=lambda example: (example.sha256, example.label, example.name))
    return Examples(list(labels), list(names), {split: examples for split, examples in found.items() if examples})


_Row = tuple[str, str, str, str, str, str, int]
"""split, path relative to the dataset, label, name below the class folder, sha256, format, size in bytes"""


def _rows(catalog: Catalog) -> Iterator[_Row]:
    query = (
        "SELECT split, path, folder, label, sha256, format, size FROM pictures WHERE state = 'present' AND broken = ''"
    )
    there = catalog.db.execute(f"{query} AND split != ''").fetchall()
    there = there or _placed(catalog) or catalog.db.execute(query).fetchall()
    for split, path, folder, label, sha256, file_format, size in there:
        yield split or "train", path, label, path.removeprefix(f"{folder}/"), sha256, file_format, size


def _placed(catalog: Catalog) -> list[tuple[str, str, str, str, str, str, int]]:
    """The files of the one split that lies elsewhere, in the columns of `_rows`."""
    outs = [out for (out,) in catalog.db.execute("SELECT DISTINCT out FROM placements WHERE out != '.'")]
    if len(outs) > 1:
        raise UserError(f"This dataset was split into {len(outs)} folders, {', '.join(outs)}: export one of those.")
    facts = {
        sha256: (file_format, size)
        for sha256, file_format, size in catalog.db.execute(
            "SELECT sha256, format, size FROM pictures WHERE state = 'present' AND broken = ''"
        )
    }
    rows = []
    for out, path, sha256 in catalog.db.execute("SELECT out, path, sha256 FROM placements WHERE out != '.'"):
        split, label, _ = path.split("/", 2)
        if sha256 in facts:
            rows.append((split, f"{out}/{path}", f"{out}/{split}/{label}", label, sha256, *facts[sha256]))
    return rows


def _credits(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """The first credit of each content, by its digest."""
    query = f"SELECT sha256, {', '.join(FIELDS)} FROM credits ORDER BY fetched_at DESC, url DESC"
    return {sha256: tuple(credit) for sha256, *credit in catalog.db.execute(query)}
