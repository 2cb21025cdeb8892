"""Perceptual hashes, and all pairs of them within a radius."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.defaults import MAX_RADIUS
from curate.parallel import ordered_map, processors

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]
T = TypeVar("T", bound=np.generic)

# What one step of the search costs in nanoseconds, for choosing between plans; only the proportions matter.
_SORT_NS, _COMPARE_NS, _TABLE_NS = 9.0, 0.8, 300_000.0
_MOST_TABLES = 5_000
_SAMPLE = 4_096
_CELLS = 1 << 16  # distances in flight at once: they stay in the second-level cache
_CHUNK = 1 << 15  # hashes rearranged at once, for the same reason
_WIDE_RUN = 256  # runs up to this length are compared many at once, longer ones one by one
_SPLIT_RUN = 8_192  # a run beyond this length is searched like a set of its own
_GATHER = 1 << 18  # so many pairs found go through the last steps at once
_THREADED = 5_000  # so many hashes are worth threads
_LOOKUP_NS, _MEET_NS = 10.0, 60.0  # of a search between two sets: a key looked up, and two hashes of one key
_KEY_BITS = 18  # of a table's key that are looked up: the index of all their values is a few megabytes
_FEW_CELLS = 1 << 26  # so many pairs of two sets are compared at once, without a plan


def coefficients(pixels: Image.Image) -> NDArray[np.float64]:
    """Give the 8×8 lowest frequencies of a picture's grey 32×32 reduction: float64, unscaled DCT-II.

    The transform is the one that imagehash calls, to the last bit: of a flat picture every coefficient
    but the first is rounding noise, and that noise decides the hash.
    """
    from scipy.fftpack import dct  # takes a quarter of a second to import

    grey = pixels if pixels.mode == "L" else pixels.convert("L")
    small = np.asarray(grey.resize((32, 32), Image.Resampling.LANCZOS))
    low: NDArray[np.float64] = dct(dct(small, axis=0), axis=1)[:8, :8]
    return low


def from_coefficients(low: NDArray[np.float64]) -> int:
    """Hash coefficients, float64[8, 8]: one bit each, row by row from the highest bit, set where above the median.

    Negating the odd columns first gives the hash of the mirrored picture, but for rounding.
    """
    ranked = np.sort(low, axis=None)
    return int.from_bytes(np.packbits(low > (ranked[31] + ranked[32]) / 2).tobytes(), "big")


def phash(pixels: Image.Image) -> int:
    """Give the 64-bit pHash of a picture, in [0, 2⁶⁴): bit for bit `imagehash.phash` of the same RGB pixels.

    Source: N. Krawetz, "Looks Like It", hackerfactor.com, 2011, as imagehash 4.3 carries it out.
    """
    return from_coefficients(coefficients(pixels))


def phashes(reduced: NDArray[np.uint8]) -> list[int]:
    """Hash many pictures that are grey and 32 × 32 already, uint8[n, 32, 32], each as `phash` does, at less cost."""
    from scipy.fftpack import dct

    low = dct(dct(reduced, axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)
    ranked = np.sort(low, axis=1)
    bits = np.packbits(low > ((ranked[:, 31] + ranked[:, 32]) / 2)[:, None], axis=1)
    hashes: list[int] = bits.view(">u8").ravel().tolist()
    return hashes


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of n hashes within a radius, kept small: pictures with equal hashes are one unique hash.

    `unique` uint64[u] holds the different hashes in ascending order, `inverse` intp[n] the place in it of each
    input. `first`, `second` int32[p] are places in `unique`, first < second, in ascending order of
    (first, second); `distance` uint8[p] is between 1 and the radius. The pairs at distance 0 are not listed:
    they are those of one `members` group.
    """

    unique: Hashes
    inverse: Indices
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]

    @cached_property
    def counts(self) -> Indices:
        """How many inputs have each unique hash: intp[u]."""
        return np.bincount(self.inverse, minlength=len(self.unique))

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """The inputs grouped by unique hash, ascending in each group: int32[n]."""
        return np.argsort(self.inverse, kind="stable").astype(np.int32)

    @cached_property
    def offsets(self) -> Indices:
        """Where each group starts in `order`, and the end of the last: intp[u + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def members(self, place: int) -> NDArray[np.int32]:
        """Give the inputs whose hash is `unique[place]`, ascending."""
        return self.order[self.offsets[place] : self.offsets[place + 1]]

    @cached_property
    def total(self) -> int:
        """How many pairs of inputs `expand` would give, those with equal hashes included."""
        equal = self.counts * (self.counts - 1) // 2
        return int(equal.sum() + (self.counts[self.first] * self.counts[self.second]).sum())

    def expand(self, batch: int = 1 << 20) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]:
        """Give every pair of inputs, at most `batch` at once: i and j int32, i < j, and their distance uint8.

        The order is not defined. Memory is bounded by `batch`, however large the groups are.
        """
        rank = np.arange(len(self.order))
        groups = self.offsets[self.inverse[self.order]]
        # Equal hashes: each member of a group meets those that follow it in `order`.
        rest = groups + self.counts[self.inverse[self.order]] - rank - 1
        for row, step in _flat_ranges(rest, batch):
            i, j = self.order[row], self.order[row + 1 + step]
            yield i, j, np.zeros(len(i), np.uint8)
        for pair, step in _flat_ranges(self.counts[self.first] * self.counts[self.second], batch):
            u, v = self.first[pair], self.second[pair]
            across, down = divmod(step, self.counts[v])
            i, j = self.order[self.offsets[u] + across], self.order[self.offsets[v] + down]
            yield np.minimum(i, j), np.maximum(i, j), self.distance[pair]


def _flat_ranges(lengths: Indices, batch: int) -> Iterator[tuple[Indices, Indices]]:
    """Give (row, step) for every step in [0, lengths[row]) of every row, `batch` at once."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, batch):
        flat = np.arange(begin, min(begin + batch, total))
        row = np.searchsorted(ends, flat, side="right")
        yield row, flat - (ends[row] - lengths[row])


def pairs_within(hashes: Hashes, radius: int, *, workers: int | None = None) -> Pairs:
    """Find every pair of 64-bit hashes, uint64[n], at a Hamming distance of at most `radius`, 0 to 12.

    Exact. Time grows about linearly on hashes of real pictures, and memory is O(n) besides the result, which
    takes 9 bytes for a pair of *different* hashes; a hash borne by many pictures costs no more than one.

    Method: the pigeonhole of multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012) in the form of block
    permuted tables (Manku, Jain, Das Sarma, WWW 2007). Cut the bits into radius + k blocks: two hashes within
    the radius agree in at least k of them. So for each choice of k blocks: bring these to the top, sort, and
    compare within each run of equal tops. A pair counts only in the first choice that finds it, so no set of
    found pairs is needed. k is chosen by what it would cost on a sample of these very hashes. `workers` are the threads
    that search, as many as there are processors where it is None.

    Raises ValueError for another radius, dtype or number of dimensions.
    """
    require_search(hashes, radius)
    unique, inverse = np.unique(hashes, return_inverse=True)
    return pairs_of(unique, inverse, _search(unique, radius, workers=workers or processors()))


def pairs_of(unique: Hashes, inverse: Indices, packed: NDArray[np.uint64]) -> Pairs:
    """The result of a search, from what it found: first · 2³² + second of each pair of places in `unique`, each once.

    `packed` is sorted in place.
    """
    packed.sort()  # the promised order, whatever threads or tasks did
    first, second = _unpack(packed)
    distance = np.empty(len(packed), np.uint8)
    for c in range(0, len(packed), _CHUNK):
        part = slice(c, c + _CHUNK)
        np.bitwise_count(unique[first[part]] ^ unique[second[part]], out=distance[part])
    return Pairs(unique, inverse, first, second, distance)


def pairs_between(
    few: Hashes, many: Hashes, radius: int, batch: int = 1 << 20
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]:
    """Give every pair of one of a few hashes, uint64[k], with one of many, uint64[n], within a radius of 0 to 12.

    i and j int32, places in `few` and in `many`, and their distance uint8; at most `batch` pairs at once, in no defined
    order. Exact. A single hash costs one look at each of the many; of more of them, those are compared that agree in
    some blocks of their bits, as in `pairs_within`, where no two of the many meet.

    Raises ValueError as `pairs_within` does.
    """
    require_search(few, radius)
    require_search(many, radius)
    if len(few) * len(many) <= _FEW_CELLS:
        yield from _compare_all(few, many, radius)
        return
    some, some_of = np.unique(few, return_inverse=True)
    others, others_of = np.unique(many, return_inverse=True)
    counts = np.bincount(some_of), np.bincount(others_of)
    orders = tuple(np.argsort(inverse, kind="stable").astype(np.int32) for inverse in (some_of, others_of))
    starts = tuple(np.cumsum(count) - count for count in counts)
    for first, second, distance in _search_between(some, others, radius):
        for pair, step in _flat_ranges(counts[0][first] * counts[1][second], batch):
            u, v = first[pair], second[pair]
            across, down = divmod(step, counts[1][v])
            yield orders[0][starts[0][u] + across], orders[1][starts[1][v] + down], distance[pair]


def require_search(hashes: Hashes, radius: int) -> None:
    """Raise ValueError for a radius, dtype or number of dimensions that no search takes."""
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius}, but must lie between 0 and {MAX_RADIUS}")
    if hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise ValueError(f"hashes must be uint64[n], not {hashes.dtype}{list(hashes.shape)}")


def _compare_all(
    few: Hashes, many: Hashes, radius: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]:
    for left in range(0, len(many), _CELLS):
        column = many[left : left + _CELLS]
        rows = max(1, _CELLS // len(column))
        for top in range(0, len(few), rows):
            distances = np.bitwise_count(few[top : top + rows, None] ^ column).ravel()
            near = np.flatnonzero(distances <= radius)
            i, j = divmod(near, len(column))
            yield (i + top).astype(np.int32), (j + left).astype(np.int32), distances[near]


def _search_between(
    few: Hashes, many: Hashes, radius: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]:
    """The same of hashes that are different within each of the two sets."""
    arranged, free = _arrange(np.concatenate([few, many]))
    tables = _plan_between(arranged, len(few), free, radius)
    if not tables:
        yield from _compare_all(few, many, radius)
        return
    some, others = arranged[: len(few)], arranged[len(few) :]
    keys = _Keys(some), _Keys(others)
    packed = []
    for blocks in tables:
        for i, j in _met(keys[0].of(blocks), keys[1].of(blocks)):
            near = np.bitwise_count(some[i] ^ others[j]) <= radius
            packed.append(i[near].astype(np.uint64) << np.uint64(32) | j[near].astype(np.uint64))
    first, second = _unpack(np.unique(np.concatenate([np.empty(0, np.uint64), *packed])))
    yield first, second, np.bitwise_count(few[first] ^ many[second])


def _plan_between(arranged: Hashes, few: int, free: int, radius: int) -> list[list[tuple[int, int]]]:
    """The cheapest tables to look few hashes up in, each its blocks as (lowest bit, width); [] to compare all."""
    n = len(arranged)
    pairs = few * (n - few)
    sample = np.random.default_rng(n).choice(arranged, min(n, _SAMPLE), replace=False)
    best, plan = pairs * _COMPARE_NS, list[list[tuple[int, int]]]()
    for k in range(1, free - radius + 1):
        count = math.comb(radius + k, k)
        if count * (n * _LOOKUP_NS + _TABLE_NS) > best:
            break
        cuts = [free * b // (radius + k) for b in range(radius + k + 1)]
        blocks = [(low, high - low) for low, high in pairwise(cuts)]
        tables = [list(chosen) for chosen in combinations(blocks, k)]
        # No more bits of a key are looked up than the index has room for.
        shorter = [_shortened(table) for table in (tables[t * count // 5] for t in range(5))]
        meet = np.mean([_collisions(sample, table) for table in shorter])
        cost = count * (n * _LOOKUP_NS + _TABLE_NS + float(meet) * pairs * _MEET_NS)
        if cost < best:
            best, plan = cost, tables
    return [_shortened(table) for table in plan]


def _shortened(blocks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """As many of the blocks' bits as a key may have."""
    left, kept = _KEY_BITS, []
    for low, width in blocks:
        if taken := min(width, left):
            kept.append((low, taken))
            left -= taken
    return kept


class _Keys:
    """The bits of some blocks of each hash, as one number; what a block holds is cut out once."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._cut: dict[tuple[int, int], NDArray[np.int32]] = {}

    def of(self, blocks: list[tuple[int, int]]) -> NDArray[np.int32]:
        """int32[n]."""
        keys = self._block(blocks[0])
        for block in blocks[1:]:
            keys = keys << block[1] | self._block(block)
        return keys

    def _block(self, block: tuple[int, int]) -> NDArray[np.int32]:
        if block not in self._cut:
            low, width = block
            self._cut[block] = (self._hashes >> np.uint64(low) & np.uint64((1 << width) - 1)).astype(np.int32)
        return self._cut[block]


def _met(some: NDArray[np.int32], others: NDArray[np.int32]) -> Iterator[tuple[Indices, Indices]]:
    """The pairs of places whose keys are equal, so many at once as go through the last steps together."""
    there = np.zeros(1 << _KEY_BITS, np.bool_)
    there[some] = True
    meeting = np.flatnonzero(there[others])
    packed = some.astype(np.uint64) << np.uint64(32) | np.arange(len(some), dtype=np.uint64)
    packed.sort()  # faster than to sort the places by key
    order = packed.astype(np.uint32).astype(np.intp)
    counts = np.bincount(some, minlength=1 << _KEY_BITS)
    keys = others[meeting]
    begin = np.cumsum(counts)[keys] - counts[keys]
    for row, step in _flat_ranges(counts[keys], _GATHER):
        yield order[begin[row] + step], meeting[row]


def _unpack(packed: Hashes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return (packed >> 32).astype(np.int32), packed.astype(np.uint32).view(np.int32)


def _search(hashes: Hashes, radius: int, workers: int = 1) -> Hashes:
    """Give the indices i < j of every pair of the different `hashes` within the radius, each once, as i·2³² + j."""
    if radius == 0 or len(hashes) < 2:
        return np.empty(0, np.uint64)
    arranged, free = _arrange(hashes)
    tables, blocks = _plan(arranged, free, radius)
    order = np.argsort(arranged).astype(np.uint64)
    ranked = arranged[order]

    def look(prefix: tuple[int, ...]) -> list[Hashes]:
        begun = _lift(ranked, [blocks[b] for b in prefix])
        return [look_in(begun, table) for table in tables if table[:-1] == prefix]

    def look_in(begun: Hashes, table: tuple[int, ...]) -> Hashes:
        chosen = [blocks[b] for b in table]
        left_out = [blocks[b] for b in range(max(table, default=0)) if b not in table]
        lifted = _lift(begun, chosen[-1:])
        lifted.sort()
        packed = [np.empty(0, np.uint64)]
        for a, b in gathered(_scan(lifted, sum(width for _, width in chosen), radius)):
            a, b = _lower(a, chosen), _lower(b, chosen)
            # The blocks left out before the table's last must differ: else an earlier table has this pair.
            new = np.ones(len(a), bool)
            for low, width in left_out:
                new &= (a ^ b) >> low & ((1 << width) - 1) != 0
            i, j = order[np.searchsorted(ranked, a[new])], order[np.searchsorted(ranked, b[new])]
            packed.append(np.minimum(i, j) << np.uint64(32) | np.maximum(i, j))
        return np.concatenate(packed)

    prefixes = sorted({table[:-1] for table in tables})
    threads = workers > 1 and len(prefixes) > 1 and len(hashes) > _THREADED
    found = ordered_map(look, prefixes, workers=workers) if threads else map(look, prefixes)
    return np.concatenate([packed for several in found for packed in several])


def _arrange(hashes: Hashes) -> tuple[Hashes, int]:
    """Permute the bits of all hashes alike, so that any way of cutting them gives blocks that tell much.

    Bits that are the same in all hashes go to the top, above the `free` others. These lie so that the uneven
    ones (a natural picture's lowest frequencies) are far from one another: in van der Corput order.
    """
    varying = int(np.bitwise_or.reduce(hashes ^ hashes[0]))
    few = hashes[:: max(1, len(hashes) // _SAMPLE)].astype("<u8").view(np.uint8).reshape(-1, 8)
    uneven = np.abs(np.unpackbits(few, axis=1, bitorder="little").mean(axis=0) - 0.5)
    moving = sorted((b for b in range(64) if varying >> b & 1), key=lambda b: uneven[b])
    spread = sorted(range(len(moving)), key=lambda q: int(f"{q:06b}"[::-1], 2))
    place = np.zeros(64, np.uint64)
    for position, q in enumerate(spread):
        place[moving[q]] = position
    place[[b for b in range(64) if not varying >> b & 1]] = np.arange(len(moving), 64)

    tables = np.zeros((8, 256), np.uint64)  # what each value of each byte contributes
    for b in range(8):
        tables |= (np.arange(256, dtype=np.uint64) >> b & 1) << place.reshape(8, 8)[:, b, None]
    arranged = np.empty_like(hashes)
    for c in range(0, len(hashes), _CHUNK):
        part = hashes[c : c + _CHUNK].astype("<u8").view(np.uint8).reshape(-1, 8)
        arranged[c : c + _CHUNK] = np.bitwise_or.reduce([tables[b][part[:, b]] for b in range(8)])
    return arranged, len(moving)


def _plan(arranged: Hashes, free: int, radius: int) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """Choose the cheapest plan: the tables, each a choice of blocks, and the blocks as (lowest bit, width).

    No table but the empty one means: compare all with all.
    """
    n = len(arranged)
    sample = np.random.default_rng(n).choice(arranged, min(n, _SAMPLE), replace=False)
    best = all_with_all = n * (n - 1) / 2 * _COMPARE_NS
    plan: tuple[list[tuple[int, ...]], list[tuple[int, int]]] = ([()], [])
    for k in range(1, free - radius + 1):
        count = math.comb(radius + k, k)
        if count > _MOST_TABLES or count * (n * _SORT_NS + _TABLE_NS) > best:
            break
        cuts = [free * b // (radius + k) for b in range(radius + k + 1)]
        blocks = [(low, high - low) for low, high in pairwise(cuts)][::-1]
        tables = list(combinations(range(radius + k), k))
        equal = np.mean([_collisions(sample, [blocks[b] for b in tables[t * count // 5]]) for t in range(5)])
        cost = count * (n * _SORT_NS + _TABLE_NS + float(equal) * all_with_all)
        if cost < best:
            best, plan = cost, (tables, blocks)
    return plan


def _collisions(sample: Hashes, blocks: list[tuple[int, int]]) -> float:
    """Estimate the chance that two hashes agree in all these blocks."""
    keys = np.sort(sample & sum(((1 << width) - 1) << low for low, width in blocks))
    runs = np.diff(np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1], [True]])))
    seen = float((runs * (runs - 1)).sum() / (len(keys) * (len(keys) - 1)))
    return max(seen, 2.0 ** -sum(width for _, width in blocks))


def _lift(hashes: Hashes, blocks: list[tuple[int, int]]) -> Hashes:
    """Bring the blocks, given from high to low, to the top bits: a copy."""
    lifted = np.empty_like(hashes)
    for c in range(0, len(hashes), _CHUNK):
        part = hashes[c : c + _CHUNK]
        for low, width in blocks:
            below, top = np.uint64((1 << low) - 1), np.uint64(((1 << width) - 1) << (64 - width))
            part = part & below | part >> np.uint64(width) & ~below | part << np.uint64(64 - width - low) & top
        lifted[c : c + _CHUNK] = part
    return lifted


def _lower(lifted: Hashes, blocks: list[tuple[int, int]]) -> Hashes:
    """Put the lifted blocks back into their places."""
    for low, width in reversed(blocks):
        below, block = np.uint64((1 << low) - 1), np.uint64(((1 << width) - 1) << low)
        place = lifted >> np.uint64(64 - width - low) & block
        lifted = lifted & below | lifted << np.uint64(width) & ~(below | block) | place
    return lifted


def _scan(lifted: Hashes, key_bits: int, radius: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Find the pairs within the radius among sorted hashes that agree in the top `key_bits`."""
    if key_bits:
        changes = np.flatnonzero((lifted[1:] ^ lifted[:-1]) >= 1 << (64 - key_bits)) + 1
        bounds = np.concatenate([[0], changes, [len(lifted)]])
    else:
        bounds = np.array([0, len(lifted)])
    split_run = _SPLIT_RUN if key_bits else len(lifted)
    for i, j in pairs_in_runs(lifted, bounds[:-1], np.diff(bounds), radius, split_run=split_run):
        yield lifted[i], lifted[j]


def pairs_in_runs(
    hashes: Hashes, starts: Indices, sizes: Indices, radius: int, *, split_run: int | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Give the pairs within the radius of each run of hashes, uint64[n], which are different within a run.

    Run r is the `sizes[r]` hashes from `starts[r]` on. i and j intp are places in `hashes`, a few thousand at once, in
    no defined order. A run beyond `split_run` is searched as a set of its own, whose pairs are all held at once.
    """
    several = np.flatnonzero(sizes > 1)
    # By length; and runs of one length stay in the order they lie in memory. 16 bits are sorted by radix.
    several = several[np.argsort(np.minimum(sizes[several], 0xFFFF).astype(np.uint16), kind="stable")]
    starts, sizes = starts[several], sizes[several]

    end = len(sizes)
    while end and sizes[end - 1] > _WIDE_RUN:
        end -= 1
        start = starts[end]
        run = hashes[start : start + sizes[end]]
        if split_run is not None and len(run) > split_run:
            packed = _search(run, radius)
            for c in range(0, len(packed), _GATHER):
                i, j = _unpack(packed[c : c + _GATHER])
                yield start + i, start + j
        else:
            for row, column in _compare_run(run, radius):
                yield start + row, start + column
    while end:
        longest = int(sizes[end - 1])
        # Runs of about the same length go together: those much shorter would be padded in vain.
        begin = max(end - max(1, _CELLS // longest), int(np.searchsorted(sizes, longest * 4 // 5)))
        yield from _compare_runs(hashes, starts[begin:end], sizes[begin:end], radius)
        end = begin


def gathered(parts: Iterator[tuple[NDArray[T], NDArray[T]]]) -> Iterator[tuple[NDArray[T], NDArray[T]]]:
    """Join small parts into few, none so large that what is made of it would not fit in memory."""
    held, size = [], 0
    for first, second in parts:
        held.append((first, second))
        size += len(first)
        if size >= _GATHER:
            yield np.concatenate([a for a, _ in held]), np.concatenate([b for _, b in held])
            held, size = [], 0
    if held:
        yield np.concatenate([a for a, _ in held]), np.concatenate([b for _, b in held])


def _compare_run(run: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Compare all hashes of one run, in tiles: places in it."""
    rows = 64
    columns = _CELLS // rows
    for top in range(0, len(run), rows):
        row = run[top : top + rows]
        for left in range(top, len(run), columns):
            column = run[left : left + columns]
            i, j = divmod(np.flatnonzero(np.bitwise_count(row[:, None] ^ column) <= radius), len(column))
            once = i + top < j + left
            yield i[once] + top, j[once] + left


@cache
def _triangle(size: int) -> tuple[Indices, Indices]:
    return np.triu_indices(size, 1)


def _compare_runs(lifted: Hashes, starts: Indices, sizes: Indices, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Compare the hashes within each of several runs, all runs at once: places in `lifted`. `sizes` is ascending."""
    longest = int(sizes[-1])
    # Column r holds run r; below its end lie hashes of its neighbours, whose pairs are dropped.
    runs = np.empty((longest, len(starts)), np.uint64)
    for i in range(longest):
        lifted[i:].take(starts, out=runs[i], mode="clip")
    differences = np.empty_like(runs)
    # Row by row, the distances of hash i to those after it; looked through when many rows have come together.
    distances = np.empty((max(longest, 4 * _CELLS // len(starts)), len(starts)), np.uint8)
    done = filled = 0
    for i in range(longest - 1):
        rest = longest - 1 - i
        np.bitwise_xor(runs[i + 1 :], runs[i], out=differences[:rest])
        np.bitwise_count(differences[:rest], out=distances[filled : filled + rest])
        filled += rest
        if rest == 1 or filled + rest > len(distances):
            near = np.flatnonzero(distances[:filled] <= radius)
            if len(near):
                row, run = divmod(near, len(sizes))
                first, second = (side[done:][row] for side in _triangle(longest))
                inside = second < sizes[run]
                first, second, run = first[inside], second[inside], run[inside]
                yield starts[run] + first, starts[run] + second
            done, filled = done + filled, 0
