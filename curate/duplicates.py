"""Pairs → clusters → which copy to keep, and why.

Two pictures are near-duplicates when their pHashes lie within a Hamming radius and a second look at their pixels
agrees. Clusters are stars round the copy that is kept, so a chain of near pairs never grows into one heap.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.catalog import Picture
from curate.image import BrokenImage, load
from curate.inspect import AT_LEAST
from curate.parallel import ordered_map
from curate.phash import pairs_within
from curate.progress import Progress, silent

DEFAULT_RADIUS = 8
"""Bits out of 64. Among 1.3 million pairs of real photographs of different scenes one lies within 8 bits and three
within 10, while 99.9% of edited copies lie within 8; benchmarks/README.md has the table.
"""

MIN_CORRELATION = 0.90
"""Of luma at 32 × 32 pixels. On the same photographs, strangers within 14 bits reach 0.865 and copies, the most
heavily edited ones included, stay above 0.927.
"""

_LOOK = 32
_FLAT = 4.0  # standard deviation of luma, in levels of 0…255: with less there is no structure to correlate
_FLAT_COLOUR = 3.0  # levels by which the mean colours of two flat pictures may differ
_FLAT_ASPECT = 0.02  # and the relative difference of their aspect ratios


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """All near-duplicates among a sequence of pictures.

    `contents` holds, for each different content (sha256), the positions of the pictures that have it. `first`,
    `second` (int32[p]) are indices into `contents`, `distance` (uint8[p]) is the Hamming distance of the pHashes,
    and `same` (bool[p]) what the second look said: pairs that it told apart are kept, marked False.
    """

    contents: list[list[int]]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    same: NDArray[np.bool_]

    def verified(self) -> Iterator[tuple[int, int, int]]:
        """(first, second, distance) of the pairs that are the same picture."""
        chosen = np.flatnonzero(self.same)
        yield from zip(
            self.first[chosen].tolist(), self.second[chosen].tolist(), self.distance[chosen].tolist(), strict=True
        )

    def told_apart(self) -> Iterator[tuple[int, int]]:
        """(first, second) of the pairs within the radius whose pixels differ."""
        chosen = np.flatnonzero(~self.same)
        yield from zip(self.first[chosen].tolist(), self.second[chosen].tolist(), strict=True)


@dataclass(frozen=True)
class Cluster:
    """A picture that is kept and its near-duplicates, as positions; `distances[i]` is from `duplicates[i]` to it."""

    keeper: int
    duplicates: tuple[int, ...]
    distances: tuple[int, ...]


def find_near_duplicates(
    root: Path, pictures: Sequence[Picture], radius: int = DEFAULT_RADIUS, progress: Progress = silent
) -> NearDuplicates:
    """Find all pairs of intact pictures within the radius and look at each a second time, at 32 × 32 pixels.

    A file that can no longer be decoded matches nothing but its own bytes.
    """
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for position, picture in enumerate(pictures):
        by_sha256[picture.sha256].append(position)
    contents = list(by_sha256.values())
    hashes = np.array([pictures[positions[0]].phash for positions in contents], dtype=np.uint64)
    batches = list(pairs_within(hashes, radius).expand())
    first = np.concatenate([np.empty(0, np.int32), *(batch[0] for batch in batches)])
    second = np.concatenate([np.empty(0, np.int32), *(batch[1] for batch in batches)])
    distance = np.concatenate([np.empty(0, np.uint8), *(batch[2] for batch in batches)])
    looks = _Looks(root, [pictures[positions[0]] for positions in contents])
    looks.take(np.unique(np.concatenate([first, second])), progress)
    return NearDuplicates(contents, first, second, distance, looks.agree(first, second))


def clusters(found: NearDuplicates, rank: Callable[[int], Any]) -> list[Cluster]:
    """Star clusters: the best-ranked picture is kept, and takes those of its near-duplicates that are still free.

    `rank` is a sort key for positions, best first. Every member is within the radius of its keeper, and no two
    keepers are near-duplicates of each other.
    """
    neighbours: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for first, second, distance in found.verified():
        neighbours[first].append((second, distance))
        neighbours[second].append((first, distance))
    members = [sorted(positions, key=rank) for positions in found.contents]
    crowded = {content for content, positions in enumerate(members) if len(positions) > 1}
    taken: set[int] = set()
    result = []
    for content in sorted(crowded | neighbours.keys(), key=lambda content: rank(members[content][0])):
        if content in taken:
            continue
        star = [(content, 0)] + [near for near in neighbours[content] if near[0] not in taken]
        taken.update(near for near, _ in star)
        keeper, *copies = [(position, distance) for near, distance in star for position in members[near]]
        if copies:
            copies.sort(key=lambda copy: rank(copy[0]))
            result.append(Cluster(keeper[0], tuple(p for p, _ in copies), tuple(d for _, d in copies)))
    return result


class _Looks:
    """The second look: luma at 32 × 32, and what a picture without structure can be told by."""

    def __init__(self, root: Path, pictures: Sequence[Picture]) -> None:
        self.root = root
        self.pictures = pictures
        self.row = np.full(len(pictures), -1, dtype=np.int64)
        self.luma = np.empty((0, _LOOK * _LOOK), dtype=np.uint8)
        self.colour = np.empty((0, 3), dtype=np.float32)
        self.aspect = np.empty(0, dtype=np.float32)

    def take(self, wanted: NDArray[np.int32], progress: Progress) -> None:
        """Decode the wanted pictures (positions, ascending, once each)."""
        self.row[wanted] = np.arange(len(wanted))
        self.luma = np.zeros((len(wanted), _LOOK * _LOOK), dtype=np.uint8)
        self.colour = np.full((len(wanted), 3), np.nan, dtype=np.float32)
        self.aspect = np.ones(len(wanted), dtype=np.float32)
        paths = (self.root / self.pictures[position].path for position in wanted.tolist())
        with progress("Comparing look-alikes", len(wanted)) as advance:
            for row, look in enumerate(ordered_map(_look, paths)):
                if look is not None:
                    self.luma[row], self.colour[row], self.aspect[row] = look
                advance(1)

    def agree(self, first: NDArray[np.int32], second: NDArray[np.int32], batch: int = 8192) -> NDArray[np.bool_]:
        """Whether the pixels of each pair say that it is one picture: bool[p]."""
        verdict = np.empty(len(first), dtype=np.bool_)
        for start in range(0, len(first), batch):
            chosen = slice(start, start + batch)
            verdict[chosen] = self._agree(self.row[first[chosen]], self.row[second[chosen]])
        return verdict

    def _agree(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        luma_a, luma_b = self.luma[a].astype(np.float32), self.luma[b].astype(np.float32)
        luma_a -= luma_a.mean(axis=1, keepdims=True)
        luma_b -= luma_b.mean(axis=1, keepdims=True)
        std_a, std_b = luma_a.std(axis=1), luma_b.std(axis=1)
        covariance = np.einsum("ij,ij->i", luma_a, luma_b) / (_LOOK * _LOOK)
        structured = (std_a >= _FLAT) & (std_b >= _FLAT)
        alike = covariance >= MIN_CORRELATION * std_a * std_b
        # Two flat pictures are the same only where their colour and their shape are; a flat one and one with
        # structure never are. A picture that did not decode has NaN for its colour, and equals nothing.
        colour = np.abs(self.colour[a] - self.colour[b]).max(axis=1)
        shape = np.abs(np.log(self.aspect[a] / self.aspect[b]))
        flat_alike = (std_a < _FLAT) & (std_b < _FLAT) & (colour <= _FLAT_COLOUR) & (shape <= _FLAT_ASPECT)
        verdict: NDArray[np.bool_] = np.where(structured, alike & ~np.isnan(colour), flat_alike)
        return verdict


def _look(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32], float] | None:
    try:
        pixels = load(path, at_least=AT_LEAST)
    except BrokenImage:
        return None
    small = np.asarray(pixels.convert("L").resize((_LOOK, _LOOK), Image.Resampling.LANCZOS)).reshape(-1)
    colour = np.asarray(pixels.resize((1, 1), Image.Resampling.BOX), dtype=np.float32).reshape(3)
    return small, colour, pixels.width / pixels.height
