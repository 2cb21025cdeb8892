"""The distributed join against the search of one machine: the same pairs, and what they cost; and a model of both.

    uv run benchmarks/ray_join.py --flowers PATH [--sizes 100000,1000000] [--model 100000000,1000000000] [--machines 100]

The hashes are resampled from the real pictures under PATH (see pairs.py): with planted neighbours alone, as `clean`
searches them, which takes flat pictures by their colour; and with flat ones among them, whose keys are hot. Both
searches run on this machine, and Ray's start is not counted. Rows are keys with a hash each, made and dropped within
tasks; *held* are the bytes of hashes in Ray's object store, *fetched* those that tasks read of them.

The model counts keys on a sample and measures one thread of this machine (see join_model.py). It is of one search; a
`clean` makes 16, of the wholes, and of the wholes with each of 15 kinds of windows.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks import million, pairs
from benchmarks.join_model import Cluster, Forecast, Machine, forecast, growth, measured
from benchmarks.pairs import Floats, Hashes, real_coefficients
from benchmarks.peak import forget_peak_rss, peak_rss
from curate.defaults import parse_engine
from curate.engine.connecting import connected
from curate.engine.ray_join import join_on_ray
from curate.phash import Pairs, pairs_within

KINDS = {"structured": million.make_hashes, "with 2% flat": pairs.make_hashes}
SEEN = 1_000_000  # hashes of the sample that the model counts


def same(one: Pairs, other: Pairs) -> bool:
    names = ("unique", "inverse", "first", "second", "distance")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def local(hashes: Hashes, radius: int, repeats: int = 3) -> tuple[float, Pairs, float]:
    """(seconds, what was found, megabytes that were added to the peak)."""
    before = forget_peak_rss()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = pairs_within(hashes, radius)
        seconds.append(time.perf_counter() - begun)
    return min(seconds), found, (peak_rss() - before) / 1e6


def compare(real: Floats, sizes: list[int], radius: int) -> dict[tuple[str, int], tuple[float, int]]:
    """Print what both searches take, and that they find the same; (seconds, pairs) of the local one."""
    print(
        "| hashes | | pairs | local, s | join, s | the same pairs | rows | tasks | held, MB | fetched, MB | MB of a million |"
    )
    print("|---:|:---|---:|---:|---:|:---|---:|---:|---:|---:|---:|")
    taken = {}
    for kind, make in KINDS.items():
        for n in sizes:
            hashes = make(real, n)
            here, wanted, peak = local(hashes, radius)
            begun = time.perf_counter()
            found, cost = join_on_ray(hashes, radius)
            seconds = time.perf_counter() - begun
            taken[kind, n] = here, len(wanted.first)
            agrees = "yes, to the last" if same(found, wanted) else "**NO**"
            print(
                f"| {n:,} | {kind} | {cost.pairs:,} | {here:.2f} | {seconds:.1f} | {agrees} | {cost.rows:,} "
                f"| {cost.tasks} | {cost.held_bytes / 1e6:,.0f} | {cost.fetched_bytes / 1e6:,.0f} "
                f"| {peak / n * 1e6:,.0f} |",
                flush=True,
            )
    return taken


def print_model(machine: Machine, rows: list[tuple[str, Forecast]], cluster: Cluster) -> None:
    print(
        f"\n{cluster.machines} machines of {cluster.processors} processors, {cluster.busy:.0%} of the time at work, and"
    )
    print(
        f"{8 * cluster.bytes_a_second / 1e9:.0f} Gbit/s each. One thread here: {machine.deal * 3e9:.0f} ns to deal a hash,"
    )
    print(
        f"{machine.row * 1e9:.1f} ns a row, {machine.comparison * 1e9:.2f} ns a comparison, {machine.searched * 1e6:.1f} µs to"
    )
    print(
        f"search a hash in a tile; on the driver {machine.unique * 1e9:.0f} ns a hash and {machine.lookup * 1e9:.0f} ns a look-up.\n"
    )
    print(
        "| hashes | | rows | hottest key | hot values | comparisons | pairs | held, GB | fetched, GB | tasks | largest task, s "
        "| processor hours | tasks, s | fetching, s | driver, s | **in all, s** |"
    )
    print("|---:|:---" + "|---:" * 14 + "|")
    for kind, it in rows:
        print(
            f"| {it.hashes:.0e} | {kind} | {it.rows:.1e} | {it.hottest_key:,.0f} | {it.hot_values} "
            f"| {it.comparisons:.1e} | {it.pairs:.1e} | {it.held / 1e9:,.1f} | {it.fetched / 1e9:,.0f} | {it.tasks:,} "
            f"| {it.largest_task:,.1f} | {it.processor_seconds / 3600:,.1f} | {it.tasks_wall:,.1f} "
            f"| {it.fetch_wall:,.1f} | {it.driver_wall:,.0f} | **{it.wall:,.0f}** |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder of real pictures, JPEG")
    parser.add_argument("--sizes", default="100000,1000000")
    parser.add_argument("--radius", type=int, default=8)
    parser.add_argument("--model", default="100000000,1000000000", help="so many hashes; '' for none")
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--engine", default="ray", help="ray, or ray:HOST:PORT for a cluster")
    args = parser.parse_args()
    real = real_coefficients(args.flowers)
    sizes = [int(size) for size in args.sizes.split(",")]
    print(f"Radius {args.radius}. Hashes resampled from {len(real):,} pictures.\n", flush=True)
    with connected(parse_engine(args.engine)[1]):
        taken = compare(real, sizes, args.radius)
    targets = [int(size) for size in args.model.split(",") if size]
    if not targets:
        return
    cluster = Cluster(args.machines)
    rows = []
    machine = None
    for kind, make in KINDS.items():
        sample = make(real, SEEN)
        machine = machine or measured(sample, args.radius)
        found = taken[kind, SEEN][1] if (kind, SEEN) in taken else len(pairs_within(sample, args.radius).first)
        rows += [(kind, forecast(sample, found, n, args.radius, machine, cluster)) for n in targets]
        power = growth(sizes, [taken[kind, n][0] for n in sizes])
        alone = [taken[kind, sizes[-1]][0] * (n / sizes[-1]) ** power for n in targets]
        print(
            f"\nOne machine, {kind}: seconds grow with the hashes to the power of {power:.2f}; so "
            + ", ".join(f"{n:.0e} in {seconds / 3600:,.1f} h" for n, seconds in zip(targets, alone, strict=True))
        )
    assert machine is not None
    print_model(machine, rows, cluster)


if __name__ == "__main__":
    main()
