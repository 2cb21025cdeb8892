"""One picture under several labels: which pictures are in dispute, and with which others."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from curate.catalog import Picture
from curate.dataset import natural_key
from curate.duplicates import NearDuplicates

_MOST_PARTNERS = 3
_ONE_OF = 10  # of so many pictures of a class more than one lies in the other, where the two may be one


@dataclass(frozen=True)
class Conflict:
    """One picture under two labels: the paths of two copies, and the Hamming distance of their pHashes."""

    first: str
    first_label: str
    second: str
    second_label: str
    distance: int


@dataclass(frozen=True)
class ClassPair:
    """Two classes that share pictures: how many, and how many pictures each has."""

    first: str
    second: str
    shared: int
    of_first: int
    of_second: int

    @property
    def may_be_one(self) -> bool:
        """Whether more than a tenth of the smaller lies in the other too."""
        return self.shared * _ONE_OF > min(self.of_first, self.of_second)

    @property
    def merge(self) -> str:
        """How `clean --merge` is told that they are one class: the smaller becomes the larger."""
        smaller, larger = (self.first, self.second) if self.of_first <= self.of_second else (self.second, self.first)
        return f"{smaller}={larger}"


def class_pairs(conflicts: Sequence[Conflict], pictures: Sequence[Picture]) -> list[ClassPair]:
    """The pairs of classes that share pictures, those that share most first."""
    members = defaultdict[tuple[str, str], tuple[set[str], set[str]]](lambda: (set(), set()))
    for found in conflicts:
        sides = sorted([(found.first_label, found.first), (found.second_label, found.second)])
        for (_, path), side in zip(sides, members[sides[0][0], sides[1][0]], strict=True):
            side.add(path)
    total = Counter(picture.label for picture in pictures)
    pairs = [
        ClassPair(first, second, min(map(len, sides)), total[first], total[second])
        for (first, second), sides in members.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.shared, natural_key(pair.first), natural_key(pair.second)))


def find_conflicts(found: NearDuplicates, pictures: Sequence[Picture]) -> list[Conflict]:
    """Near-duplicates under different labels, each picture paired with three others at most."""
    pairs = {
        (min(a, b), max(a, b)): distance
        for a, b, distance in counterparts(found, lambda at: pictures[at].label or None)
    }  # fmt: skip
    return [
        Conflict(pictures[a].path, pictures[a].label, pictures[b].path, pictures[b].label, distance)
        for (a, b), distance in sorted(pairs.items())
    ]


def counterparts(
    found: NearDuplicates, kind: Callable[[int], Hashable], most: int = _MOST_PARTNERS
) -> Iterator[tuple[int, int, int]]:
    """(picture, a near-duplicate of another kind, distance): positions; pictures whose kind is None are passed over.

    Each picture is paired with one picture of each of at most `most` other kinds, so that ten thousand copies of a
    "not available" notice do not make a hundred million pairs.
    """
    for positions in found.contents:
        if len(positions) > 1:
            yield from _across(positions, _first_of_kinds(positions, kind), 0, kind, most)
    for first, second, distance in found.copies():
        some, others = found.contents[first], found.contents[second]
        yield from _across(some, _first_of_kinds(others, kind), distance, kind, most)
        yield from _across(others, _first_of_kinds(some, kind), distance, kind, most)


def within_labels(found: NearDuplicates, pictures: Sequence[Picture]) -> NearDuplicates:
    """The same near-duplicates without the pairs that join two labels."""
    contents: list[list[int]] = []
    split_of: list[dict[str, int]] = []
    for positions in found.contents:
        by_label = defaultdict(list)
        for at in positions:
            by_label[pictures[at].label].append(at)
        split_of.append({label: len(contents) + number for number, label in enumerate(by_label)})
        contents += by_label.values()
    pairs = [
        (pair, split_of[first][label], split_of[second][label])
        for pair, first, second in zip(
            range(len(found.first)), found.first.tolist(), found.second.tolist(), strict=True
        )
        for label in split_of[first].keys() & split_of[second].keys()
    ]
    chosen, first, second = np.array(pairs, dtype=np.int64).reshape(len(pairs), 3).T
    return NearDuplicates(
        contents, first.astype(np.int32), second.astype(np.int32), found.distance[chosen], found.verdict[chosen],
        found.variant[chosen] if len(found.variant) else found.variant,
        found.placement[chosen] if len(found.placement) else found.placement,
    )  # fmt: skip


def _first_of_kinds(positions: Sequence[int], kind: Callable[[int], Hashable]) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for at in positions:
        if kind(at) is not None:
            found.setdefault(kind(at), at)
    return found


def _across(
    positions: Sequence[int], others: dict[Hashable, int], distance: int, kind: Callable[[int], Hashable], most: int
) -> Iterator[tuple[int, int, int]]:
    for at in positions:
        mine = kind(at)
        if mine is not None:
            for other in islice((other for theirs, other in others.items() if theirs != mine), most):
                yield at, other, distance
