"""A model of the distributed join at sizes that no benchmark here has room for: by the keys of resampled hashes.

How many hashes lie under each key is counted on a sample, and grows with the number of hashes; how many of them are
compared, and how many strangers lie within the radius, grows with its square. What the pieces of the join cost is
measured on this machine, in time of one thread, and what Ray costs for each task and each of its arguments.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from curate.engine.ray_engine import RayEngine
from curate.engine.ray_join import block_for, class_bits_for
from curate.lookalikes.band_join import LONGEST_TILE, JoinPlan, deal, plan_join, verified
from curate.lookalikes.bands import band_count
from curate.phash import Hashes, pairs_within

Counts = NDArray[np.float64]

LONG_RUN = 8_192  # hashes under one key, from which on they are searched and not compared each with each
HOT = 4_096  # hashes of one value, from which on it is hot
SURE = 8  # of them in the sample
BYTES = 8  # of a hash


@dataclass(frozen=True)
class Machine:
    """What one thread takes, in seconds: to deal a hash, make and sort a row, compare two hashes, search a hash among
    2**17 of them; and on the driver to tell the different hashes, for each, to look up a pair, to begin a task, and for
    each of its arguments.
    """

    deal: float
    row: float
    comparison: float
    searched: float
    unique: float
    lookup: float
    task: float
    argument: float


@dataclass(frozen=True)
class Cluster:
    """So many machines, of so many processors, that send and receive so many bytes a second each."""

    machines: int = 100
    processors: int = 16
    bytes_a_second: float = 1.25e9
    busy: float = 0.7  # the share of the time that processors work

    @property
    def threads(self) -> float:
        return self.machines * self.processors * self.busy


@dataclass(frozen=True)
class Forecast:
    """One join of so many hashes: counts, bytes, and seconds."""

    hashes: float
    class_bits: int
    tasks: int
    rows: float
    hottest_value: float
    hottest_key: float
    hot_values: int
    comparisons: float
    pairs: float
    held: float
    fetched: float
    largest_task: float
    processor_seconds: float
    tasks_wall: float
    fetch_wall: float
    driver_wall: float

    @property
    def wall(self) -> float:
        """Seconds in all: what the driver does alone, and the rest, in which fetching and work overlap."""
        return self.driver_wall + max(self.tasks_wall, self.fetch_wall)


def measured(hashes: Hashes, radius: int, engine: RayEngine) -> Machine:
    """Time the pieces of the join on so many hashes, and on an eighth of them."""
    whole = np.unique(hashes)
    plan = plan_join(whole, radius, 2, hot_from=len(whole) + 1)
    times, amounts = [], []
    for some in (whole[::8].copy(), whole):
        parts = deal(some, plan).parts
        times.append(seconds_of(partial(verify_all, plan, parts)))
        amounts.append(np.sum([rows_and_comparisons(keys) for keys, _ in key_counts(some, plan)], axis=0))
    row, comparison = np.linalg.solve(np.array(amounts, float), np.array(times))
    tile = whole[:: max(1, len(whole) // LONGEST_TILE)][:LONGEST_TILE].copy()
    asked = np.random.default_rng(0).choice(whole, 1 << 20)
    return Machine(
        seconds_of(lambda: deal(whole, plan)) / len(whole),
        float(row),
        float(comparison),
        seconds_of(lambda: pairs_within(tile, radius, workers=1)) / len(tile),
        seconds_of(lambda: np.unique(hashes, return_inverse=True)) / len(hashes),
        seconds_of(lambda: np.searchsorted(whole, asked)) / len(asked),
        *task_and_argument(engine),
    )


def seconds_of(work: Callable[[], object]) -> float:
    """Of this thread's own time, the least of two runs: others on the machine take theirs."""
    found = []
    for _ in range(2):
        begun = time.thread_time()
        work()
        found.append(time.thread_time() - begun)
    return min(found)


def verify_all(plan: JoinPlan, parts: list[Hashes]) -> None:
    for band, number in plan.pieces:
        needed = [parts[band * plan.classes + other] for other in plan.needed(number)]
        for _ in verified(plan, band, needed):
            pass


def task_and_argument(engine: RayEngine, tasks: int = 40, arguments: int = 1_000) -> tuple[float, float]:
    """Seconds from a task's beginning to its end, where many are under way, and those that one more argument adds."""
    ray = engine.ray()
    task = ray.remote(len_of).options(num_cpus=1)
    some = [ray.put(np.zeros(1)) for _ in range(arguments)]
    found = []
    for given in ([], some):
        ray.get(task.remote(*given))
        begun = time.perf_counter()
        ray.get([task.remote(*given) for _ in range(tasks)])
        found.append((time.perf_counter() - begun) / tasks)
    return found[0], max(0.0, found[1] - found[0]) / arguments


def len_of(*arguments: object) -> int:
    return len(arguments)


def key_counts(hashes: Hashes, plan: JoinPlan) -> list[tuple[Counts, Counts]]:
    """Of each band: how many hashes lie under each key, and how many have each value, float64[2 to the power of width].

    Hashes of hot values lie under no key.
    """
    arranged = plan.bands.arranged(hashes)
    found = []
    for band, width in enumerate(plan.bands.widths):
        values = np.bincount(plan.bands.values(arranged, band), minlength=1 << width).astype(np.float64)
        cold = values.copy()
        cold[plan.hot[band]] = 0
        found.append((with_neighbours(cold, width), values))
    return found


def with_neighbours(counts: Counts, width: int) -> Counts:
    """Of each number the counts of all numbers that differ from it in at most one bit."""
    total = counts.copy()
    for bit in range(width):
        total += counts.reshape(-1, 2, 1 << bit)[:, ::-1].ravel()
    return total


def rows_and_comparisons(keys: Counts) -> tuple[float, float]:
    return float(keys.sum()), float((keys * (keys - 1)).sum() / 2)


def forecast(sample: Hashes, pairs: float, hashes: float, radius: int, machine: Machine, cluster: Cluster) -> Forecast:
    """What a join of so many hashes takes that are like the sample, and in which so many pairs are found."""
    scale = hashes / len(sample)
    bits = class_bits_for(int(hashes), cluster.machines * cluster.processors, band_count(radius))
    plan = replace(
        plan_join(sample, radius, bits, hot_from=max(SURE if scale > 1 else 1, math.ceil(HOT / scale))), class_bits=bits
    )
    pieces = len(plan.pieces)
    blocks = math.ceil(hashes / block_for(int(hashes), cluster.machines * cluster.processors, pieces))
    rows = comparisons = searched = held = fetched = hottest_value = hottest_key = 0.0
    tasks, seconds, largest = blocks, 0.0, 0.0
    for band, (keys, values) in enumerate(key_counts(sample, plan)):
        hot = values[plan.hot[band]] * scale
        runs = keys * scale
        compared = np.where(runs > LONG_RUN, 0, keys * (keys - 1) / 2 * scale**2)
        of_key = (
            runs * machine.row + compared * machine.comparison + np.where(runs > LONG_RUN, runs, 0) * machine.searched
        )
        of_class = np.bincount(plan.class_of(np.arange(len(keys), dtype=np.uint32), band), of_key)
        rows, comparisons = rows + runs.sum(), comparisons + compared.sum()
        hottest_value, hottest_key = max(hottest_value, values.max() * scale), max(hottest_key, runs.max())
        cold = hashes - hot.sum()
        near = visitors(plan, band, values) * scale
        tiles = hot * (hot / 2 + near) / LONGEST_TILE**2  # on average, of whole tiles
        tile = 2 * LONGEST_TILE * machine.searched
        searched += float(tiles.sum()) * tile
        held += BYTES * (hashes + near.sum())
        fetched += BYTES * (cold * (1 + bits) + 2 * LONGEST_TILE * float(tiles.sum()))
        tasks += len(of_class) + int(np.ceil(tiles).sum())
        seconds += float(of_key.sum())
        largest = max(largest, float(of_class.max()), tile if len(hot) else 0.0)
    seconds += searched + hashes * 3 * machine.deal
    driver = hashes * machine.unique + pairs * machine.lookup * 2
    driver += tasks * machine.task + len(plan.pieces) * (1 + bits) * blocks * machine.argument
    return Forecast(
        hashes, bits, tasks, rows, hottest_value, hottest_key, sum(map(len, plan.hot)), comparisons, pairs, held,
        fetched, largest, seconds, max(seconds / cluster.threads, largest),
        fetched / (cluster.machines * cluster.bytes_a_second), driver,
    )  # fmt: skip


def visitors(plan: JoinPlan, band: int, values: Counts) -> Counts:
    """Of each hot value how many hashes of the sample visit it: float64[h]."""
    found = []
    for value in plan.hot[band]:
        near = np.bitwise_count(np.arange(len(values), dtype=np.uint32) ^ value) <= 2
        near[plan.hot[band][plan.hot[band] <= value]] = False
        found.append(values[near].sum())
    return np.array(found, np.float64)
