"""All pairs of copies, and of pictures that are near, among the pictures of a dataset.

Two pictures are held against each other when a pHash of one, whole or of a window into it, lies within a Hamming radius
of the other's; a second look at their pixels, laid over each other, gives the verdict.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Picture
from curate.defaults import DEFAULT_RADIUS
from curate.lookalikes.alignment import Alignment, turn_of
from curate.lookalikes.contents import Contents
from curate.lookalikes.looks import Looks
from curate.lookalikes.neighbours import Neighbours, pair_of
from curate.lookalikes.search import search
from curate.lookalikes.second_look import COPY
from curate.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """All copies and near pictures among a sequence of pictures.

    `contents` holds, for each different content, the positions of the pictures that have it: the same bytes, or flat
    pictures of one colour and shape. `first`, `second` (int32[p]) are indices into `contents`, `distance` (uint8[p]) is
    the Hamming distance of the two hashes that met, `variant` (int8[p]) says whose these were (as in
    `curate.lookalikes.candidates`), `verdict` (int8[p]) is `NEAR` or `COPY`, and `placement` (float32[p, 4]) says where
    the first lies in the second, turned as the variant says. Both are empty where they are unknown.
    """

    contents: list[list[int]]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    verdict: NDArray[np.int8]
    variant: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    placement: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which pairs are copies: bool[p]."""
        copies: NDArray[np.bool_] = self.verdict == COPY
        return copies

    def copies(self) -> Iterator[tuple[int, int, int]]:
        """(first, second, distance) of the pairs that are copies."""
        chosen = np.flatnonzero(self.same)
        yield from zip(
            self.first[chosen].tolist(), self.second[chosen].tolist(), self.distance[chosen].tolist(), strict=True
        )

    def near(self) -> Iterator[tuple[int, int]]:
        """(first, second) of the pairs that are near, and no copies."""
        chosen = np.flatnonzero(~self.same)
        yield from zip(self.first[chosen].tolist(), self.second[chosen].tolist(), strict=True)

    def placements(self) -> dict[tuple[int, int], tuple[Alignment, int]]:
        """(first, second) → where the first lies in the second, and the distance of their hashes, of the copies."""
        if not len(self.placement):
            return {}
        return {
            (int(self.first[pair]), int(self.second[pair])): (
                Alignment(turn_of(int(self.variant[pair])), _box(self.placement[pair])),
                int(self.distance[pair]),
            )
            for pair in np.flatnonzero(self.same).tolist()
        }


def find_near_duplicates(
    root: Path,
    pictures: Sequence[Picture],
    radius: int = DEFAULT_RADIUS,
    progress: Progress = silent,
    *,
    framed: bool = True,
    geometry: bool = False,
) -> NearDuplicates:
    """Find all pairs of intact pictures that may be one picture, and look at each a second time.

    `framed` also finds small crops, borders and captions, `geometry` turned and mirrored copies, both for pictures
    whose fingerprint is known. A file that can no longer be decoded matches nothing but its own bytes.
    """
    contents = hashed_contents(pictures)
    path = path_of_contents(pictures, contents)
    looks = Looks.at_files(lambda content: root / path(content))
    found = search(contents, looks, radius, framed=framed, geometry=geometry, progress=progress)
    return in_pictures(found, pictures)


def hashed_contents(pictures: Sequence[Picture]) -> Contents:
    """What a search knows of the contents of intact pictures."""
    return Contents.of([[(it.sha256, it.phash, it.width, it.height, it.fingerprint) for it in pictures]])


def path_of_contents(pictures: Sequence[Picture], contents: Contents) -> Callable[[int], str]:
    """Gives the path of the first picture of each of these contents, by their numbers."""
    digests, first = np.unique(np.array([it.sha256 for it in pictures], "S64"), return_index=True)
    places = first[np.searchsorted(digests, contents.sha256)]
    return lambda content: pictures[int(places[content])].path


def in_pictures(found: Neighbours, pictures: Sequence[Picture]) -> NearDuplicates:
    """What a search found among contents, in terms of pictures that have them all."""
    number = np.searchsorted(found.sha256, np.array([it.sha256 for it in pictures], "S64"))
    stands_for = found.first_of_group()
    place: dict[int, int] = {}
    contents: list[list[int]] = []
    for position, content in enumerate(stands_for[number].tolist()):
        if content not in place:
            place[content] = len(contents)
            contents.append([])
        contents[place[content]].append(position)
    at = np.array([place.get(content, -1) for content in range(len(found.sha256))], np.int32)
    first, second = at[stands_for[found.first]], at[stands_for[found.second]]
    order = np.argsort(pair_of(first, second), kind="stable")
    return NearDuplicates(
        contents, first[order], second[order], found.distance[order], found.verdict[order], found.variant[order],
        found.placement[order],
    )  # fmt: skip


def find_same_bytes(pictures: Sequence[Picture]) -> NearDuplicates:
    """The pictures that have the same bytes, and no pairs: none is looked at."""
    none = np.empty(0, np.int32)
    return NearDuplicates(_by_bytes(pictures), none, none, np.empty(0, np.uint8), np.empty(0, np.int8))


def looks_at(root: Path, pictures: Sequence[Picture], contents: Sequence[Sequence[int]]) -> Looks:
    """Looks at the first picture of each content."""
    return Looks.at_files(lambda content: root / pictures[contents[content][0]].path)


def _by_bytes(pictures: Sequence[Picture]) -> list[list[int]]:
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for position, picture in enumerate(pictures):
        by_sha256[picture.sha256].append(position)
    return list(by_sha256.values())


def _box(placement: NDArray[np.float32]) -> tuple[float, float, float, float]:
    left, right, top, bottom = placement.tolist()
    return left, right, top, bottom
