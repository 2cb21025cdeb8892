"""The near-duplicates of a whole dataset, searched for once and remembered.

Looking at a million hashes takes half a minute, and at the pixels of all that look alike much longer; whether two
contents are one picture never changes, though. So the catalog keeps the last search at each radius, which serves as
long as nothing was added: pictures that left take their pairs with them.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.searches import enter_search, recall_search
from curate.dataset import Dataset
from curate.duplicates import NearDuplicates, find_near_duplicates
from curate.lookalikes.method import search_method
from curate.progress import Progress, silent
from curate.splitting.picture_table import PictureTable


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What a search found among different contents, which are numbered in order of their `sha256`, S64[c].

    `first`, `second` int32[p] are pairs within the radius, `distance` uint8[p] is in bits, and `same` bool[p] says
    whether the pixels agree that it is one picture. `crowd` int32[q, 2] is (number of a crowd, content): contents of
    one crowd are one picture too, too many of them to list each pair.
    """

    sha256: NDArray[np.bytes_]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    same: NDArray[np.bool_]
    crowd: NDArray[np.int32]

    def is_sound(self) -> bool:
        """Whether the columns fit together, and name no content that is not there."""
        pairs, contents = len(self.first), len(self.sha256)
        shapes = (
            (self.sha256, "S64", (contents,)), (self.first, "i4", (pairs,)), (self.second, "i4", (pairs,)),
            (self.distance, "u1", (pairs,)), (self.same, "?", (pairs,)), (self.crowd, "i4", (len(self.crowd), 2)),
        )  # fmt: skip
        if any(column.dtype != kind or column.shape != shape for column, kind, shape in shapes):
            return False
        numbers = np.concatenate([self.first, self.second, self.crowd[:, 1]])
        in_range = bool(np.all((numbers >= 0) & (numbers < contents)))
        return in_range and bool(np.all(self.sha256[:-1] < self.sha256[1:]))

    def among(self, sha256: NDArray[np.bytes_]) -> "Neighbours | None":
        """What was found among some of the contents, S64[d] ascending; None where some were not searched."""
        place = np.minimum(np.searchsorted(self.sha256, sha256), max(0, len(self.sha256) - 1))
        if len(sha256) > len(self.sha256) or not np.array_equal(self.sha256[place], sha256):
            return None
        number = np.full(len(self.sha256), -1, dtype=np.int32)
        number[place] = np.arange(len(sha256), dtype=np.int32)
        first, second = number[self.first], number[self.second]
        left = (first >= 0) & (second >= 0)
        crowd = np.column_stack([self.crowd[:, 0], number[self.crowd[:, 1]]])
        return Neighbours(
            sha256, first[left], second[left], self.distance[left], self.same[left], crowd[crowd[:, 1] >= 0]
        )


def find_neighbours(
    dataset: Dataset, catalog: Catalog, table: PictureTable, radius: int, progress: Progress = silent
) -> Neighbours:
    """Recall what a search at this radius found among the table or, where there was none, search and remember."""
    known = _recall(catalog, radius)
    among = known.among(table.sha256) if known else None
    del known
    if among is None:
        paths = set(table.paths)
        pictures = [picture for picture in catalog.pictures() if picture.path in paths]
        found = find_near_duplicates(dataset.root, pictures, radius, progress)
        among = remember_search(catalog, [picture.sha256 for picture in pictures], found, radius)
    return among


def remember_search(catalog: Catalog, sha256: Sequence[str], found: NearDuplicates, radius: int) -> Neighbours:
    """Keep what `find_near_duplicates`, left to its own options, found among pictures of these digests."""
    neighbours = _by_content(found, np.array(sha256, dtype="S64"))
    keep(catalog, neighbours, radius)
    return neighbours


def keep(catalog: Catalog, neighbours: Neighbours, radius: int) -> None:
    """Write a search down in place of the last one at this radius."""
    stream = io.BytesIO()
    np.savez(stream, **vars(neighbours))
    enter_search(catalog, radius, search_method(), stream.getbuffer())


def _recall(catalog: Catalog, radius: int) -> Neighbours | None:
    result = recall_search(catalog, radius, search_method())
    if result is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(result)) as stored:
            if any(member.compress_type != zipfile.ZIP_STORED for member in stored.infolist()):
                return None  # not ours, and it might unpack to more than the memory holds
        with np.load(io.BytesIO(result), allow_pickle=False) as arrays:
            known = Neighbours(**{name: arrays[name] for name in arrays.files})
            return known if known.is_sound() else None
    except Exception:  # what is in the catalog may be a stranger's: numpy raises whatever the bytes provoke
        return None


def _by_content(found: NearDuplicates, sha256: NDArray[np.bytes_]) -> Neighbours:
    """The same in terms of contents by their digests, where the search counts in pictures, S64[n]."""
    contents, number = np.unique(sha256, return_inverse=True)
    number = number.astype(np.int32)
    leader = np.array([number[positions[0]] for positions in found.contents], dtype=np.int32)
    crowds = [(at, other) for at, positions in enumerate(found.contents) if len(positions) > 1 for other in positions]
    crowd = np.array(crowds, dtype=np.int32).reshape(-1, 2)
    crowd[:, 1] = number[crowd[:, 1]]
    crowd = np.unique(crowd, axis=0)
    several = np.bincount(crowd[:, 0], minlength=1)[crowd[:, 0]] > 1  # copies of one content are no crowd
    return Neighbours(contents, leader[found.first], leader[found.second], found.distance, found.same, crowd[several])
