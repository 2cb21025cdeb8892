"""What a dataset holds, as columns: the intact pictures proper, told from the copies that `split` has placed.

Columns, not objects: a million pictures are a few hundred megabytes of paths and a few dozen of numbers.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.placements import present_and_placed
from curate.catalog.quarantine_moves import stored_digests
from curate.dataset import SPLITS, UNLABELLED, Dataset, natural_key
from curate.decoding.formats import is_not_readable

NOWHERE = -1
"""In a column of splits: the picture is in none of them."""


@dataclass(frozen=True, eq=False)
class PictureTable:
    """n pictures of c different contents under l labels, in order of path.

    `label` int32[n] is a place in `labels`, which are in natural order. `content` int32[n] is a place in `sha256`,
    S64[c], ascending. `split` int8[n] is a place in `SPLITS` for a picture that lies in a split folder by itself,
    `NOWHERE` for one to be assigned; `arrived` bool[n] tells the first apart from a placed copy whose original is
    gone. `orphaned` are the paths of those, `broken` the paths of files that give no pixels, `unreadable` of those that
    may be whole, and that nothing here reads.
    """

    paths: list[str]
    labels: list[str]
    label: NDArray[np.int32]
    sha256: NDArray[np.bytes_]
    content: NDArray[np.int32]
    split: NDArray[np.int8]
    arrived: NDArray[np.bool_]
    orphaned: list[str]
    broken: list[str]
    unreadable: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self, position: int) -> str:
        """The sha256 of one picture, in hexadecimal."""
        return bytes(self.sha256[self.content[position]]).decode()

    def is_unlabelled(self, position: int) -> bool:
        """Whether one picture has no label: it lies in a split's folder itself."""
        return bool(self.labels[self.label[position]] == UNLABELLED)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """bool[n], whether each picture has a label."""
        has_label = np.array([label != UNLABELLED for label in self.labels], dtype=np.bool_)
        labelled: NDArray[np.bool_] = has_label[self.label]
        return labelled

    def find(self, sha256: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Of digests `sha256` S64[n]: (the place of each in `self.sha256`, int64[n]; whether it is there, bool[n])."""
        place = np.minimum(np.searchsorted(self.sha256, sha256), len(self.sha256) - 1)
        return place, self.sha256[place] == sha256

    def keys(self) -> NDArray[np.int64]:
        """One number for each picture's (content, label): int64[n]."""
        return self.content.astype(np.int64) * len(self.labels) + self.label


def place_name(dataset: Dataset, out: Path) -> str:
    """What the catalog calls an output folder: relative to the dataset, so that the two may be moved together."""
    return Path(os.path.relpath(out.resolve(), dataset.root.resolve())).as_posix()


def read_picture_table(dataset: Dataset, catalog: Catalog) -> PictureTable:
    """Read the present pictures from the catalog, without those that a move on record is about to take away.

    A file in a split folder that has the bytes and the label of one below `raw/` is that picture once more. One
    that `split` placed is left out; one that it did not place arrived there, and then the raw one is left out.
    A placed copy whose original is gone altogether counts as a picture, for its bytes are nowhere else.
    """
    rows = _Rows(dataset, catalog)
    order = sorted(range(len(rows.labels)), key=lambda code: natural_key(rows.labels[code]))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    label = rank[rows.label]
    sha256, content = np.unique(rows.sha256, return_inverse=True)
    content = content.astype(np.int32)

    raw = rows.split == NOWHERE
    keys = content.astype(np.int64) * max(1, len(order)) + label
    placed_here = rows.placed & ~raw
    twin = np.zeros(len(raw), dtype=np.bool_)
    twin[~raw] = np.isin(keys[~raw], keys[raw])
    elsewhere = np.isin(content, content[raw]) | np.isin(rows.sha256, np.array(stored_digests(catalog), dtype="S64"))
    copies = placed_here & elsewhere
    stands_in = ~raw & ~placed_here & twin  # arrived in a split, and lies below raw/ as well
    doubled = np.zeros(len(raw), dtype=np.bool_)
    doubled[raw] = np.isin(keys[raw], keys[stands_in])
    kept = np.flatnonzero(~copies & ~doubled)

    used, content = np.unique(content[kept], return_inverse=True)
    return PictureTable(
        paths=[rows.paths[at] for at in kept.tolist()],
        labels=[rows.labels[code] for code in order],
        label=label[kept],
        sha256=sha256[used],
        content=content.astype(np.int32),
        split=rows.split[kept],
        arrived=(~raw & ~placed_here)[kept],
        orphaned=[rows.paths[at] for at in np.flatnonzero(placed_here & ~copies).tolist()],
        broken=rows.broken,
        unreadable=rows.unreadable,
    )


class _Rows:
    """The present rows of `pictures`, intact ones as columns; `placed` are those that `split` put there."""

    def __init__(self, dataset: Dataset, catalog: Catalog) -> None:
        self.paths: list[str] = []
        self.labels: list[str] = []
        self.broken: list[str] = []
        self.unreadable: list[str] = []
        codes: dict[str, int] = {}
        label, sha256, split, placed = [], [], [], []
        for chunk in present_and_placed(catalog, place_name(dataset, dataset.root)):
            intact = [row for row in chunk if not row[4]]
            # A symbolic link of ours that leads nowhere is a stale placement, not a broken picture.
            for path, _, _, _, broken, record in chunk:
                if broken and record is None:
                    (self.unreadable if is_not_readable(broken) else self.broken).append(path)
            self.paths += [row[0] for row in intact]
            label.append(np.array([codes.setdefault(row[1], len(codes)) for row in intact], dtype=np.int32))
            split.append(np.array([SPLITS.index(row[2]) if row[2] else NOWHERE for row in intact], dtype=np.int8))
            sha256.append(np.array([row[3] for row in intact], dtype="S64"))
            placed.append(np.array([row[3] == row[5] for row in intact], dtype=np.bool_))
        self.labels += codes
        self.label = np.concatenate([np.empty(0, np.int32), *label])
        self.split = np.concatenate([np.empty(0, np.int8), *split])
        self.sha256 = np.concatenate([np.empty(0, "S64"), *sha256])
        self.placed = np.concatenate([np.empty(0, np.bool_), *placed])
