"""A model of the distributed join at sizes that no benchmark here has room for: by the keys of resampled hashes.

How many hashes lie under each key is counted on a sample, and grows with the number of hashes; how many pairs of them
are compared grows with its square. What a row and a comparison cost is measured on this machine, one thread of it.
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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
    """What one thread does, in seconds: to deal a hash, sort a row, compare two hashes, search a hash among 2**17 of
    them, and on the driver to find out the different hashes, for each, and to look up a pair.
    """

    deal: float
    row: float
    comparison: float
    searched: float
    unique: float
    lookup: float


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


def measured(hashes: Hashes, radius: int) -> Machine:
    """Time the pieces of the join on a million hashes or so, and on a quarter of them."""
    whole = np.unique(hashes)
    times, amounts = [], []
    dealt_in = 0.0
    for some in (whole[::4].copy(), whole):
        plan = plan_join(some, radius, 2, hot_from=len(some) + 1)
        begun = time.perf_counter()
        parts = deal(some, plan).parts
        dealt_in = (time.perf_counter() - begun) / len(some)
        begun = time.perf_counter()
        for band, number in plan.pieces:
            needed = [parts[band * plan.classes + other] for other in plan.needed(number)]
            for _ in verified(plan, band, needed):
                pass
        times.append(time.perf_counter() - begun)
        amounts.append(np.sum([rows_and_comparisons(keys) for keys, _ in key_counts(some, plan)], axis=0))
    row, comparison = np.linalg.solve(np.array(amounts, float), np.array(times))
    begun = time.perf_counter()
    pairs_within(whole[:: max(1, len(whole) // LONGEST_TILE)][:LONGEST_TILE], radius, workers=1)
    searched = (time.perf_counter() - begun) / min(len(whole), LONGEST_TILE)
    begun = time.perf_counter()
    np.unique(hashes, return_inverse=True)
    unique = (time.perf_counter() - begun) / len(hashes)
    asked = np.random.default_rng(0).choice(whole, 1 << 20)
    begun = time.perf_counter()
    np.searchsorted(whole, asked)
    return Machine(dealt_in, row, comparison, searched, unique, (time.perf_counter() - begun) / len(asked))


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


def forecast(sample: Hashes, hashes: float, radius: int, machine: Machine, cluster: Cluster) -> Forecast:
    """What a join of so many hashes takes that are like the sample."""
    found = len(pairs_within(sample, radius).first)
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
    pairs = found * scale**2
    driver = hashes * machine.unique + 2 * pairs * machine.lookup
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
