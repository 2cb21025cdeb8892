"""All pairs of hashes within a radius, found by Ray tasks: the pairs that one machine finds.

The pieces are those of `curate.lookalikes.band_join`. A task a block of hashes cuts it into parts, which stay in Ray's
object store; a task a class of a band fetches the parts that it needs and finds their pairs; and so does a task a tile
of a hot value. What is fetched is hashes alone, 8 bytes each: the rows of 64 + c keys a hash are made, sorted and
dropped within a task. Pairs come back some at once. The driver holds the different hashes and the pairs, as the search
on one machine does, and nothing that grows faster.

A task whose process or machine is killed runs again, and parts that are lost with it are cut anew: each piece is a
function of its arguments alone, so the answer is the same.

Ray Data's `Dataset.join` would do it too, with every row a record that is written, sent and read; it needs polars in
the workers and is called experimental.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from curate.engine.ray_engine import DEATHS, ray_in_words
from curate.engine.streams import streaming, yielded
from curate.lookalikes.band_join import LONGEST_TILE, deal, plan_join, tile_pairs, verified, verified_tile
from curate.lookalikes.bands import band_count
from curate.phash import gathered, pairs_of, require_search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from curate.engine.ray_engine import RayEngine
    from curate.lookalikes.band_join import JoinPlan
    from curate.lookalikes.pair_search import FoundPairs
    from curate.phash import Hashes, Pairs

BYTES: Final = 8
"""Of a hash, where it is held and sent."""

_LEAST_BLOCK: Final = 1 << 18  # hashes of a block: with fewer, a task is over before another begins
_LARGEST_BLOCK: Final = 1 << 24  # of which a task makes parts in less than a gigabyte
_MOST_ROWS: Final = 1 << 25  # rows of a class on average, of hashes that it fetches: 120 MB
_MOST_PARTS: Final = 1 << 18  # objects that Ray is to look after at once
_MOST_CLASS_BITS: Final = 12
_TASKS_EACH: Final = 2  # classes for each processor, where none is too large


class _Slice(NamedTuple):
    """Some hashes of a part: its block, its column among the parts of each block, and which of its hashes."""

    block: int
    column: int
    begin: int
    end: int


@dataclass(frozen=True)
class JoinCost:
    """What a join took: `hashes` that are different, `rows` of keys, `tasks`, the bytes of the parts that the object
    store held at most, the bytes that tasks fetched of them, and the pairs that were found.
    """

    hashes: int
    rows: int
    tasks: int
    held_bytes: int
    fetched_bytes: int
    pairs: int


def join_on_ray(
    engine: RayEngine, hashes: Hashes, radius: int, *, hot_from: int | None = None
) -> tuple[Pairs, JoinCost]:
    """Find what `curate.phash.pairs_within` finds of hashes, uint64[n], and tell what it took.

    `hot_from` is how many hashes of one value of a band are too many for a task. Raises ValueError as that does.
    """
    require_search(hashes, radius)
    unique, inverse = np.unique(hashes, return_inverse=True)
    if len(unique) < 2 or radius == 0:
        return pairs_of(unique, inverse, np.empty(0, np.uint64)), JoinCost(len(unique), 0, 0, 0, 0, 0)
    join = _Join(engine, unique, radius, hot_from)
    found = [np.empty(0, np.uint64)]
    for pairs in join.pairs():
        places = np.sort(np.searchsorted(unique, pairs), axis=1).astype(np.uint64)
        found.append(places[:, 0] << np.uint64(32) | places[:, 1])
    packed = np.concatenate(found)
    return pairs_of(unique, inverse, packed), join.cost(len(packed))


def joined_between(engine: RayEngine, few: Hashes, many: Hashes, radius: int) -> FoundPairs:
    """Find what `curate.phash.pairs_between` finds: all pairs of one of a few hashes, uint64[k], and one of many.

    Each tile of the few is sent to each block of the many.
    """
    require_search(few, radius)
    require_search(many, radius)
    if not len(few) or not len(many):
        return
    ray, task = engine.ray(), streaming(engine, _between)
    tiles, blocks = (
        [(start, ray.put(side[start : start + size])) for start in range(0, len(side), size)]
        for side, size in ((few, LONGEST_TILE), (many, _LEAST_BLOCK))
    )
    yield from yielded(engine, (task.remote(*tile, *block, radius) for block in blocks for tile in tiles))


def class_bits_for(hashes: int, processors: int, bands: int) -> int:
    """The bits of a class: so many that no class has more rows than a task should, and each processor has several."""
    rows = hashes * (64 / bands + 1)
    wanted = max(rows / _MOST_ROWS, _TASKS_EACH * processors / bands, 1)
    return min(_MOST_CLASS_BITS, math.ceil(math.log2(wanted)))


def block_for(hashes: int, processors: int, pieces: int) -> int:
    """The hashes of a block: two blocks a processor, unless these are too small or large, or make too many parts."""
    wanted = min(-(-hashes // (_TASKS_EACH * processors)), _LARGEST_BLOCK)
    return max(wanted, _LEAST_BLOCK, -(-hashes * pieces // _MOST_PARTS))


class _Join:
    """One search: what its tasks share, and the references to what they have cut."""

    def __init__(self, engine: RayEngine, unique: Hashes, radius: int, hot_from: int | None) -> None:
        self._engine, self._ray = engine, engine.ray()
        processors = max(1, engine.count("CPU"))
        options = {} if hot_from is None else {"hot_from": hot_from}
        class_bits = class_bits_for(len(unique), processors, band_count(radius))
        self._plan = plan_join(unique, radius, class_bits, **options)
        self._shared = self._ray.put(self._plan)
        block = block_for(len(unique), processors, len(self._plan.pieces))
        self._blocks = [unique[start : start + block] for start in range(0, len(unique), block)]
        self._parts: list[list[Any]] = []  # references, of each block
        self._sizes = np.empty((0, 0), np.int64)  # of the same
        self._tasks, self._fetched = 0, 0

    def pairs(self) -> Iterator[Hashes]:
        """The pairs of hashes within the radius, each once: uint64[p, 2], some at once."""
        self._deal()
        yield from yielded(self._engine, self._begun_tasks())

    def cost(self, pairs: int) -> JoinCost:
        """What it took, once all pairs were given."""
        plan = self._plan
        of_band = self._sizes[:, : len(plan.pieces)].reshape(-1, len(plan.hot), plan.classes).sum(axis=(0, 2))
        rows = sum(int(size) * (width + 1) for size, width in zip(of_band, plan.bands.widths, strict=True))
        hashes, held = sum(map(len, self._blocks)), int(self._sizes.sum())
        return JoinCost(hashes, rows, self._tasks, BYTES * held, BYTES * self._fetched, pairs)

    def _deal(self) -> None:
        """Have all blocks cut; wait until it is known how large the parts are."""
        count = 1 + len(self._plan.pieces) + 2 * len(self._plan.hot_values)
        task = self._ray.remote(_cut).options(num_cpus=1, num_returns=count, max_retries=DEATHS)
        cut = [task.remote(self._shared, self._ray.put(block)) for block in self._blocks]
        self._tasks += len(cut)
        self._parts = [parts for _, *parts in cut]
        with ray_in_words(self._ray):
            self._sizes = np.array(self._ray.get([sizes for sizes, *_ in cut]), np.int64)

    def _begun_tasks(self) -> Iterator[Any]:
        """The tasks that find pairs, each begun when it is asked for."""
        task = streaming(self._engine, _verify)
        for band, number in self._plan.pieces:
            columns = [band * self._plan.classes + other for other in self._plan.needed(number)]
            needed = [[_Slice(block, column, 0, size) for block, size in self._full(column)] for column in columns]
            if any(needed):
                yield self._begun(task, band, needed)
        task = streaming(self._engine, _verify_tile)
        for at, (band, _) in enumerate(self._plan.hot_values):
            column = len(self._plan.pieces) + 2 * at
            tiles, visitors = self._tiles(column), self._tiles(column + 1)
            for place, members in enumerate(tiles):
                yield self._begun(task, band, [members])
                for others in [*tiles[place + 1 :], *visitors]:
                    yield self._begun(task, band, [members, others])

    def _begun(self, task: Any, band: int, sides: list[list[_Slice]]) -> Any:
        self._tasks += 1
        self._fetched += sum(one.end - one.begin for side in sides for one in side)
        cuts = [[(one.begin, one.end) for one in side] for side in sides]
        return task.remote(
            self._shared, band, cuts, *(self._parts[one.block][one.column] for side in sides for one in side)
        )

    def _full(self, column: int) -> list[tuple[int, int]]:
        """(block, size) of the parts in a column that are not empty."""
        sizes = self._sizes[:, column]
        return [(block, int(sizes[block])) for block in np.flatnonzero(sizes).tolist()]

    def _tiles(self, column: int) -> list[list[_Slice]]:
        """The parts in a column, in tiles no longer than they should be."""
        tiles: list[list[_Slice]] = []
        room = 0
        for block, size in self._full(column):
            begin = 0
            while begin < size:
                if not room:
                    tiles.append([])
                    room = LONGEST_TILE
                end = min(size, begin + room)
                tiles[-1].append(_Slice(block, column, begin, end))
                room -= end - begin
                begin = end
        return tiles


def _cut(plan: JoinPlan, block: Hashes) -> tuple[NDArray[np.generic], ...]:
    """How large the parts of a block are, int64[parts], and the parts: for hot values their members, then visitors."""
    dealt = deal(block, plan)
    apart = [part for pair in zip(dealt.members, dealt.visitors, strict=True) for part in pair]
    parts = [*dealt.parts, *apart]
    return np.array([len(part) for part in parts], np.int64), *parts


def _verify(plan: JoinPlan, band: int, cuts: Sequence[Sequence[tuple[int, int]]], *parts: Hashes) -> Iterator[Hashes]:
    yield from verified(plan, band, _sides(cuts, parts))


def _verify_tile(
    plan: JoinPlan, band: int, cuts: Sequence[Sequence[tuple[int, int]]], *parts: Hashes
) -> Iterator[Hashes]:
    yield from verified_tile(plan, band, *_sides(cuts, parts))


def _between(
    top: int, few: Hashes, left: int, many: Hashes, radius: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]:
    for i, j in gathered(tile_pairs(few, many, radius)):
        yield (i + top).astype(np.int32), (j + left).astype(np.int32), np.bitwise_count(few[i] ^ many[j])


def _sides(cuts: Sequence[Sequence[tuple[int, int]]], parts: Sequence[Hashes]) -> list[Hashes]:
    """The parts of each side, cut and joined."""
    left = iter(parts)
    none = np.empty(0, np.uint64)
    return [np.concatenate([none, *(next(left)[begin:end] for begin, end in side)]) for side in cuts]
