"""The search for all pairs of hashes within a radius, in pieces that know nothing of each other.

`deal` cuts a block of the hashes into parts, one for each class of each band; `verified` finds the pairs of one class,
from the parts of all blocks. A class holds a share of a band's keys (`curate.lookalikes.bands`), and the hashes that
are put under them: those of its own values, and those of values one bit away. Its bits are parities of bits of the key,
each bit of the key in one of them, so that to change a bit of the key changes a bit of the class: the hashes that a
class needs are its own and those of the `class_bits` classes one bit away. A hash lies in one part for each band, and
is read so often.

A value of a band that very many hashes have, as those of pictures with next to nothing on them, is *hot*. Its hashes go
apart, and are put under no key. What lies near it visits it: the hashes whose values in the band differ in at most 2
bits, of other hot values those that are greater. Members are held against members and visitors against members, tile by
tile (`verified_tile`), and their pairs count there. Which values are hot is a guess from a sample, on which the answer
does not depend.

All pairs are found, each once. The hashes are to be different, as `curate.phash.pairs_within` sees to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.bands import Bands, Values, counted_at
from curate.phash import Hashes, gathered, pairs_between, pairs_in_runs, pairs_within

LONGEST_TILE: Final = 1 << 17
"""Hashes of one side of a tile."""

_MOST_CLASS_BITS: Final = 16
_SAMPLE: Final = 1 << 20  # hashes that hot values are sought among
_HOT: Final = 4_096  # hashes of one value, from which on it is hot
_SURE: Final = 8  # of them in the sample
_MOST_HOT: Final = 64  # hot values of a band
_ROWS: Final = 1 << 22  # keys with their hashes that are sorted at once: 100 MB
_LONG_RUN: Final = 8_192  # hashes under one key that are compared as a tile
_CELLS: Final = 1 << 26  # pairs of a tile that are compared one by one, whatever they are
_PROBED: Final = 1 << 16  # pairs by which a larger tile is judged
_HELD: Final = 1 << 22  # pairs within the radius that a search may hold at once

Places = Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Pairs of places, i and j, some at once."""


@dataclass(frozen=True, eq=False)
class JoinPlan:
    """What all pieces of one search have in common.

    Each band has 2 to the power of `class_bits` classes, and `hot`[band] uint32[h] are its hot values, ascending.
    """

    bands: Bands
    radius: int
    class_bits: int
    hot: tuple[Values, ...]

    @property
    def classes(self) -> int:
        """How many classes each band has."""
        return 1 << self.class_bits

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """(band, class) of all that is to be verified."""
        return [(band, number) for band in range(len(self.bands.widths)) for number in range(self.classes)]

    @property
    def hot_values(self) -> list[tuple[int, int]]:
        """(band, place among its hot values) of all hot values."""
        return [(band, place) for band, values in enumerate(self.hot) for place in range(len(values))]

    def needed(self, number: int) -> list[int]:
        """The classes whose hashes a class holds against each other: itself, then those one bit away."""
        return [number, *(number ^ 1 << bit for bit in range(self.class_bits))]

    def group(self, band: int, bit: int) -> list[int]:
        """The bits of a key whose parity is this bit of its class."""
        return list(range(bit, self.bands.widths[band], self.class_bits))

    def class_of(self, values: Values, band: int) -> NDArray[np.uint16]:
        """The class of each of a band's values, uint32[n]: uint16[n]."""
        found = np.zeros(len(values), np.uint16)
        for bit in range(self.class_bits):
            parity = np.bitwise_count(values & np.uint32(sum(1 << at for at in self.group(band, bit)))) & 1
            found |= parity.astype(np.uint16) << np.uint16(bit)
        return found

    @cached_property
    def near_hot(self) -> tuple[NDArray[np.bool_], ...]:
        """Of each band: whether a value differs from a hot one in at most 2 bits, bool[2 to the power of its width]."""
        return tuple(_near(hot, width) for hot, width in zip(self.hot, self.bands.widths, strict=True))


@dataclass(frozen=True, eq=False)
class Dealt:
    """A block of hashes, arranged, in parts: `parts`[piece] in the order of the plan's pieces, and `members` and
    `visitors`[hot value] in that of its hot values.
    """

    parts: list[Hashes]
    members: list[Hashes]
    visitors: list[Hashes]


def plan_join(hashes: Hashes, radius: int, class_bits: int, *, hot_from: int = _HOT) -> JoinPlan:
    """Plan the search for all pairs within a radius, 0 to 12, of different hashes, uint64[n].

    `hot_from` is how many hashes of one value make it hot. Raises ValueError for more classes than there are keys.
    """
    bands = Bands.of(hashes, radius)
    if not 0 <= class_bits <= min(_MOST_CLASS_BITS, *bands.widths):
        raise ValueError(f"{class_bits} bits cannot name the classes of bands of {min(bands.widths)} bits")
    step = max(1, len(hashes) // _SAMPLE)
    sample = bands.arranged(hashes[::step])
    least = max(-(-hot_from // step), _SURE if step > 1 else 1)
    hot = []
    for band in range(len(bands.widths)):
        values, counts = np.unique(bands.values(sample, band), return_counts=True)
        order = np.lexsort((values, -counts))[:_MOST_HOT]
        hot.append(np.sort(values[order[counts[order] >= least]]))
    return JoinPlan(bands, radius, class_bits, tuple(hot))


def deal(hashes: Hashes, plan: JoinPlan) -> Dealt:
    """Cut a block of hashes, uint64[n], into its parts: each hash goes into one for each band."""
    arranged = plan.bands.arranged(hashes)
    dealt = Dealt([], [], [])
    for band, hot in enumerate(plan.hot):
        values = plan.bands.values(arranged, band)
        near = plan.near_hot[band][values] if len(hot) else np.zeros(len(values), np.bool_)
        close, close_values = arranged[near], values[near]
        for value in hot:
            apart = np.bitwise_count(close_values ^ value)
            visits = (apart > 0) & (apart <= 2) & ((close_values > value) | ~np.isin(close_values, hot))
            dealt.members.append(close[apart == 0])
            dealt.visitors.append(close[visits])
        near[near] = np.isin(close_values, hot)
        cold = arranged[~near]
        numbers = plan.class_of(values[~near], band)
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=plan.classes))[:-1]
        dealt.parts.extend(np.split(cold[order], ends))
    return dealt


def verified(plan: JoinPlan, band: int, needed: Sequence[Hashes]) -> Iterator[NDArray[np.uint64]]:
    """Give the pairs of hashes within the radius that count in one class of a band: uint64[p, 2], as `deal` got them.

    `needed` are the parts of the classes that `JoinPlan.needed` names, in its order, each from all blocks. Memory holds
    these, some million rows, and the pairs of one key or as many as a search may hold.
    """
    everything = np.concatenate(needed)
    values = plan.bands.values(everything, band)
    changes = _changes(plan, band)
    rows = sum(len(part) * len(masks) for part, masks in zip(needed, changes, strict=True))
    slices = 1 << max(0, -(-rows // _ROWS) - 1).bit_length()
    ends = np.cumsum([0, *map(len, needed)]).tolist()
    parts = [_Sliced.of(values, begin, end, slices) for begin, end in pairwise(ends)]
    for at in range(slices):
        keys, places = _rows(parts, changes, at)
        if not len(keys):
            continue
        ranked = everything[places]
        for i, j in gathered(_met(ranked, keys, plan.radius)):
            counts = counted_at(values[places[i]], values[places[j]]) == keys[i]
            yield from _given(plan, band, ranked[i[counts]], ranked[j[counts]])


def verified_tile(
    plan: JoinPlan, band: int, members: Hashes, others: Hashes | None = None
) -> Iterator[NDArray[np.uint64]]:
    """Give the pairs within the radius that count in a band, of members of a hot value: as `verified` does.

    Each of them is held against each of the `others`, which are other members of it or its visitors; None: against each
    other.
    """
    against = members if others is None else others
    for i, j in gathered(tile_pairs(members, others, plan.radius)):
        yield from _given(plan, band, members[i], against[j])


def _given(plan: JoinPlan, band: int, first: Hashes, second: Hashes) -> Iterator[NDArray[np.uint64]]:
    """Those pairs that do not count in an earlier band, as they were before they were arranged."""
    counts = plan.bands.count_in(first, second, band)
    if counts.any():
        yield np.column_stack([plan.bands.restored(side[counts]) for side in (first, second)])


@dataclass(frozen=True)
class _Sliced:
    """Values of a part, uint32[n], and their places among all hashes, in order of the slice of their lowest bits, whose
    ends are `bounds`. These bits differ most (`curate.lookalikes.bands`), so slices are of about one size.
    """

    values: Values
    places: NDArray[np.uint64]
    bounds: list[int]

    @classmethod
    def of(cls, values: Values, begin: int, end: int, slices: int) -> "_Sliced":
        some = values[begin:end]
        number = (some & np.uint32(slices - 1)).astype(np.uint16)
        order = np.argsort(number, kind="stable")
        bounds = np.cumsum([0, *np.bincount(number, minlength=slices)])
        return cls(some[order], (order + begin).astype(np.uint64), bounds.tolist())


def _changes(plan: JoinPlan, band: int) -> list[list[int]]:
    """For each part that a class needs, what is changed in its values for each key that its hashes are put under."""
    if not plan.class_bits:
        return [[0, *(1 << bit for bit in range(plan.bands.widths[band]))]]
    return [[0], *([1 << bit for bit in plan.group(band, number)] for number in range(plan.class_bits))]


def _rows(parts: Sequence[_Sliced], changes: Sequence[list[int]], at: int) -> tuple[Values, NDArray[np.uint32]]:
    """The keys of one slice of a class, ascending, uint32[r], and for each the place of a hash put under it."""
    packed = []
    for part, masks in zip(parts, changes, strict=True):
        for mask in masks:
            number = at ^ mask & (len(part.bounds) - 2)
            begin, end = part.bounds[number], part.bounds[number + 1]
            keys = (part.values[begin:end] ^ np.uint32(mask)).astype(np.uint64)
            packed.append(keys << np.uint64(32) | part.places[begin:end])
    everything = np.concatenate(packed)
    everything.sort()
    return (everything >> np.uint64(32)).astype(np.uint32), everything.astype(np.uint32)


def _met(ranked: Hashes, keys: Values, radius: int) -> Places:
    """The pairs of places within the radius, of hashes that lie under one key."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    sizes = np.diff(np.append(starts, len(keys)))
    long = sizes > _LONG_RUN
    yield from pairs_in_runs(ranked, starts[~long], sizes[~long], radius)
    for start, size in zip(starts[long].tolist(), sizes[long].tolist(), strict=True):
        for i, j in tile_pairs(ranked[start : start + size], None, radius):
            yield start + i, start + j


def tile_pairs(left: Hashes, right: Hashes | None, radius: int) -> Places:
    """Give the pairs within the radius of two sets of hashes, or of one of different hashes: places in each, intp[p].

    By a search where that finds few. Else all are compared, so many at once that what is found fits in memory.
    """
    others = left if right is None else right
    if len(left) * len(others) > _CELLS and _are_few(left, others, radius):
        if right is None:
            found = pairs_within(left, radius, workers=1)
            order = np.argsort(found.inverse)
            yield order[found.first], order[found.second]
        else:
            for i, j, _ in pairs_between(left, right, radius):
                yield i.astype(np.intp), j.astype(np.intp)
        return
    side = int(_CELLS**0.5)
    for top in range(0, len(left), side):
        for begin in range(top if right is None else 0, len(others), side):
            for i, j, _ in pairs_between(left[top : top + side], others[begin : begin + side], radius):
                row, column = i.astype(np.intp) + top, j.astype(np.intp) + begin
                once = (row < column) | (right is not None)
                yield row[once], column[once]


def _are_few(left: Hashes, right: Hashes, radius: int) -> bool:
    """Whether so few pairs lie within the radius, by a sample of all, that they can be held at once."""
    side = int(_PROBED**0.5)
    some, others = left[:: -(-len(left) // side)], right[:: -(-len(right) // side)]
    near = np.count_nonzero(np.bitwise_count(some[:, None] ^ others) <= radius)
    itself = len(some) if left is right else 0
    share = float(near - itself) / (len(some) * len(others))
    return share * len(left) * len(right) <= _HELD


def _near(hot: Values, width: int) -> NDArray[np.bool_]:
    bits = [1 << bit for bit in range(width)]
    apart = np.array([0, *bits, *(one | other for one, other in combinations(bits, 2))], np.uint32)
    near = np.zeros(1 << width, np.bool_)
    for value in hot:
        near[apart ^ value] = True
    return near
