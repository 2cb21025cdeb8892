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
from curate.files.reading import read_file
from curate.lookalikes.alignment import Alignment, turn_of
from curate.lookalikes.candidates import CandidatePairs, find_candidates
from curate.lookalikes.comparison import SMALL
from curate.lookalikes.fingerprint import is_flat
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import COPY, DIFFERENT, Verdicts, compared, look_again
from curate.progress import Progress, silent

_MOST_FLAT = 32  # flat pictures of one colour that are told from a leader, until none is looked at any more
_FLAT_COLOUR = 3  # levels by which the mean colours of two flat pictures may differ
_FLAT_ASPECT = 0.02  # and the relative difference of their aspect ratios


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
    contents = _by_bytes(pictures)
    looks = looks_at(root, pictures, contents)
    contents = _by_colour(contents, pictures, looks)
    looks = looks_at(root, pictures, contents)
    leaders = [pictures[positions[0]] for positions in contents]
    structured = np.array([at for at, picture in enumerate(leaders) if not is_flat(picture.fingerprint)], np.int32)
    hashes = np.array([leaders[at].phash for at in structured.tolist()], dtype=np.uint64)
    candidates = find_candidates(
        hashes,
        [_windows_of(leaders[at]) for at in structured.tolist()],
        radius,
        framed=framed,
        geometry=geometry,
        small=np.array([_is_small(leaders[at]) for at in structured.tolist()], np.bool_),
        luma=lambda at: look.luma if (look := looks.coarse(int(structured[at]))) else None,
        progress=progress,
    ).of(structured)
    return _decided(contents, candidates, look_again(candidates, looks, progress))


def find_same_bytes(pictures: Sequence[Picture]) -> NearDuplicates:
    """The pictures that have the same bytes, and no pairs: none is looked at."""
    none = np.empty(0, np.int32)
    return NearDuplicates(_by_bytes(pictures), none, none, np.empty(0, np.uint8), np.empty(0, np.int8))


def looks_at(root: Path, pictures: Sequence[Picture], contents: Sequence[Sequence[int]]) -> Looks:
    """Looks at the first picture of each content."""
    return Looks(lambda content: read_file(root / pictures[contents[content][0]].path))


def _windows_of(picture: Picture) -> bytes:
    """The hashes of a picture's windows; none of a picture so small that a part of it is another picture."""
    return b"" if _is_small(picture) else picture.fingerprint


def _is_small(picture: Picture) -> bool:
    return min(picture.width, picture.height) < SMALL


def _by_bytes(pictures: Sequence[Picture]) -> list[list[int]]:
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for position, picture in enumerate(pictures):
        by_sha256[picture.sha256].append(position)
    return list(by_sha256.values())


def _by_colour(contents: list[list[int]], pictures: Sequence[Picture], looks: Looks) -> list[list[int]]:
    """Join the contents of flat pictures that agree in colour and shape, and in what a close look sees.

    Their hashes are noise. What is flat in its luma may have colours that differ, and what is flat over white may be a
    drawing in white on nothing.
    """
    flat = [at for at, positions in enumerate(contents) if is_flat(pictures[positions[0]].fingerprint)]
    if len(flat) < 2:
        return contents
    leaders = [pictures[contents[at][0]] for at in flat]
    colour = np.array([list(picture.fingerprint) for picture in leaders], dtype=np.int16)
    aspect = np.log([picture.width / picture.height for picture in leaders])

    def alike(leader: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        near: NDArray[np.bool_] = np.abs(colour[others] - colour[leader]).max(axis=1) <= _FLAT_COLOUR
        near &= np.abs(aspect[others] - aspect[leader]) <= _FLAT_ASPECT
        tried = 0
        for place in np.flatnonzero(near).tolist():
            if tried < _MOST_FLAT:
                near[place] = _is_flat_copy(flat[leader], flat[int(others[place])], looks)
                tried += not near[place]
            else:
                near[place] = False
        return near

    return _joined(contents, [[flat[at] for at in group] for group in _groups(len(flat), alike)])


def _is_flat_copy(first: int, second: int, looks: Looks) -> bool:
    if looks.is_plain(first) and looks.is_plain(second):
        return True
    found = compared(first, second, Alignment(), looks)
    return found is not None and found.difference < 1


def _groups(n: int, alike: Callable[[int, NDArray[np.intp]], NDArray[np.bool_]]) -> list[list[int]]:
    """Group 0…n − 1 round leaders: the first that is left leads, and takes those that are like it. No chains."""
    left = np.arange(n)
    groups = []
    while len(left):
        leader, left = int(left[0]), left[1:]
        taken = alike(leader, left)
        groups.append([leader, *left[taken].tolist()])
        left = left[~taken]
    return groups


def _joined(contents: list[list[int]], groups: list[list[int]]) -> list[list[int]]:
    """Join the contents of each group into the group's first."""
    joined = list(contents)
    gone = set()
    for leader, *others in groups:
        joined[leader] = [*contents[leader], *(position for at in others for position in contents[at])]
        gone.update(others)
    return [positions for at, positions in enumerate(joined) if at not in gone]


def _decided(contents: list[list[int]], candidates: CandidatePairs, found: Verdicts) -> NearDuplicates:
    """One row a pair that is no two different pictures: the guess with the best verdict, else the nearest."""
    listed = np.flatnonzero(found.verdict != DIFFERENT)
    pair = candidates.pair()[listed]
    order = np.lexsort((-found.verdict[listed], pair))
    chosen = listed[order[np.unique(pair[order], return_index=True)[1]]]
    best = candidates.take(chosen)
    return NearDuplicates(
        contents, best.first, best.second, best.distance, found.verdict[chosen], best.variant, found.placement[chosen]
    )


def _box(placement: NDArray[np.float32]) -> tuple[float, float, float, float]:
    left, right, top, bottom = placement.tolist()
    return left, right, top, bottom
