"""Pairs → clusters → which copy to keep, and why.

Two pictures are near-duplicates when a pHash of one, whole or of a window into it, lies within a Hamming radius of the
other's and a second look at their pixels, laid over each other, agrees. Clusters are stars round the copy that is
kept, so a chain of near pairs never grows into one heap.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Picture
from curate.defaults import DEFAULT_RADIUS
from curate.image import BrokenImage, read
from curate.lookalikes.candidates import WHOLE, CandidatePairs, find_candidates, variant_name
from curate.lookalikes.colour import coloured_alike
from curate.lookalikes.fingerprint import is_flat
from curate.lookalikes.registration import IDENTITY, register
from curate.lookalikes.second_look import LOOK_AT_LEAST, Look, look_again, look_at
from curate.parallel import ordered_map
from curate.progress import Progress, silent

_CROWD = 32  # different files of one hash, beyond which they are compared with one of them instead of each other
_FLAT_COLOUR = 3  # levels by which the mean colours of two flat pictures may differ
_FLAT_ASPECT = 0.02  # and the relative difference of their aspect ratios


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """All near-duplicates among a sequence of pictures.

    `contents` holds, for each different content, the positions of the pictures that have it: the same bytes; flat
    pictures of one colour and shape; or, of a crowd that shares one pHash, those that a second look takes for the
    same. `first`, `second` (int32[p]) are indices into `contents`, `distance` (uint8[p]) is the Hamming distance of
    the two hashes that met, `variant` (int8[p]) says whose these were (as in `curate.lookalikes.candidates`; empty
    where unknown), and `same` (bool[p]) what the second look said: pairs of wholes that it told apart are kept, marked
    False.
    """

    contents: list[list[int]]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    same: NDArray[np.bool_]
    variant: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))

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

    def relations(self) -> dict[tuple[int, int], str]:
        """What each copy found by more than its whole is to its original: (first, second) → "crop", "mirrored" …"""
        if not len(self.variant):
            return {}
        framed = np.flatnonzero(self.same & (self.variant != WHOLE)).tolist()
        return {
            (int(self.first[pair]), int(self.second[pair])): variant_name(int(self.variant[pair])) for pair in framed
        }


@dataclass(frozen=True)
class Cluster:
    """A picture that is kept and its near-duplicates, as positions; `distances[i]` is from `duplicates[i]` to it."""

    keeper: int
    duplicates: tuple[int, ...]
    distances: tuple[int, ...]


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

    def look(content: int) -> Look | None:
        return _look(root / pictures[contents[content][0]].path)

    contents = _by_bytes(pictures)
    contents = _by_colour(contents, pictures)
    contents = _by_crowd(contents, pictures, look)
    leaders = [pictures[positions[0]] for positions in contents]
    hashes = np.array([picture.phash for picture in leaders], dtype=np.uint64)
    structured = np.array([at for at, picture in enumerate(leaders) if not is_flat(picture.fingerprint)], np.int32)
    candidates = find_candidates(
        hashes[structured],
        [leaders[at].fingerprint for at in structured.tolist()],
        radius,
        framed=framed,
        geometry=geometry,
        progress=progress,
    ).of(structured)
    return _decided(contents, candidates, look_again(candidates, look, progress).same)


def _by_bytes(pictures: Sequence[Picture]) -> list[list[int]]:
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for position, picture in enumerate(pictures):
        by_sha256[picture.sha256].append(position)
    return list(by_sha256.values())


def _by_colour(contents: list[list[int]], pictures: Sequence[Picture]) -> list[list[int]]:
    """Join the contents of flat pictures that agree in colour and shape: their hashes are noise."""
    flat = [at for at, positions in enumerate(contents) if is_flat(pictures[positions[0]].fingerprint)]
    if len(flat) < 2:
        return contents
    leaders = [pictures[contents[at][0]] for at in flat]
    colour = np.array([list(picture.fingerprint) for picture in leaders], dtype=np.int16)
    aspect = np.log([picture.width / picture.height for picture in leaders])

    def alike(leader: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        near: NDArray[np.bool_] = np.abs(colour[others] - colour[leader]).max(axis=1) <= _FLAT_COLOUR
        near &= np.abs(aspect[others] - aspect[leader]) <= _FLAT_ASPECT
        return near

    return _joined(contents, [[flat[at] for at in group] for group in _groups(len(flat), alike)])


def _by_crowd(
    contents: list[list[int]], pictures: Sequence[Picture], look: Callable[[int], Look | None]
) -> list[list[int]]:
    """Join the contents that share one hash with very many others and are the same picture to a second look.

    Of n such contents there are n² / 2 pairs, which nobody needs: each is compared with the first of its kind.
    """
    by_hash: dict[int, list[int]] = defaultdict(list)
    for at, positions in enumerate(contents):
        if not is_flat(pictures[positions[0]].fingerprint):
            by_hash[pictures[positions[0]].phash].append(at)
    groups = []
    for crowd in by_hash.values():
        if len(crowd) > _CROWD:
            seen = [(at, found) for at, found in zip(crowd, ordered_map(look, crowd), strict=True) if found]
            looks = [found for _, found in seen]
            if looks:
                groups += [[seen[at][0] for at in group] for group in _groups(len(seen), _same_as(looks))]
    return _joined(contents, groups)


def _same_as(looks: list[Look]) -> Callable[[int, NDArray[np.intp]], NDArray[np.bool_]]:
    lumas, chromas = np.stack([look.luma for look in looks]), np.stack([look.chroma for look in looks])

    def same(leader: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        n = len(others)
        frame = np.tile(np.array(IDENTITY, np.float32), (n, 1))
        found = register(np.repeat(lumas[leader][None], n, axis=0), lumas[others], frame, frame)
        alike = coloured_alike(np.repeat(chromas[leader][None], n, axis=0), chromas[others], found.placement, frame)
        return found.same & alike

    return same


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


def _decided(contents: list[list[int]], candidates: CandidatePairs, same: NDArray[np.bool_]) -> NearDuplicates:
    """One row a pair: the guess that proved right, else the nearest; of pairs told apart only those of wholes."""
    listed = np.flatnonzero(same | (candidates.variant == WHOLE))
    pair = candidates.pair()[listed]
    order = np.lexsort((~same[listed], pair))
    first_of_pair = np.unique(pair[order], return_index=True)[1]
    chosen = listed[order[first_of_pair]]
    best = candidates.take(chosen)
    return NearDuplicates(contents, best.first, best.second, best.distance, same[chosen], best.variant)


def clusters(found: NearDuplicates, rank: Callable[[int], Any]) -> list[Cluster]:
    """Star clusters: the best-ranked picture is kept, and takes those of its near-duplicates that are still free.

    `rank` is a sort key for positions, best first. Every member is within the radius of its keeper, and no two
    keepers are near-duplicates of each other.
    """
    neighbours: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for first, second, distance in found.verified():
        neighbours[first].append((second, distance))
        neighbours[second].append((first, distance))
    crowded = {content for content, positions in enumerate(found.contents) if len(positions) > 1}
    # Only of what is double: to rank a picture may mean to decode it.
    members = {content: sorted(found.contents[content], key=rank) for content in crowded | neighbours.keys()}
    taken: set[int] = set()
    result = []
    for content in sorted(members, key=lambda content: rank(members[content][0])):
        if content in taken:
            continue
        star = [(content, 0)] + [near for near in neighbours[content] if near[0] not in taken]
        taken.update(near for near, _ in star)
        keeper, *copies = [(position, distance) for near, distance in star for position in members[near]]
        if copies:
            copies.sort(key=lambda copy: rank(copy[0]))
            result.append(Cluster(keeper[0], tuple(p for p, _ in copies), tuple(d for _, d in copies)))
    return result


def _look(path: Path) -> Look | None:
    try:
        return look_at(read(path, at_least=LOOK_AT_LEAST))
    except BrokenImage:
        return None
