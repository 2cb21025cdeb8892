"""The distributed join against the search of one machine: the same pairs, and what they cost; and a model of both.

    uv run benchmarks/ray_join.py --flowers PATH [--sizes 100000,1000000] [--model 100000000,1000000000]

The hashes are resampled from the real pictures under PATH (see pairs.py): *structured* with planted neighbours alone,
as `clean` searches them, which takes flat pictures by their colour; *2% flat* with such among them, whose keys are hot.
Both searches run on this machine, and Ray's start is not counted. Rows are keys with a hash each, made and dropped
within tasks; *held* are the bytes of hashes in Ray's object store, *fetched* those that tasks read of them.

The model counts keys on a sample and measures one thread of this machine (see join_model.py). It is of one search; a
`clean` makes 16, of the wholes, and of the wholes with each of 15 kinds of windows.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks import million, pairs
from benchmarks.join_model import Cluster, Forecast, Machine, forecast, measured
from benchmarks.pairs import PLANTED, Floats, Hashes, real_coefficients
from benchmarks.peak import forget_peak_rss, peak_rss
from curate.defaults import parse_engine
from curate.engine.process_tree import children_of, with_descendants
from curate.engine.ray_engine import RayEngine
from curate.engine.ray_join import join_on_ray
from curate.phash import Pairs, pairs_within

KINDS = {"structured": million.make_hashes, "2% flat": pairs.make_hashes}
SAMPLE = 1_000_000  # hashes that the model counts
COLUMNS = ("unique", "inverse", "first", "second", "distance")


def same(one: Pairs, other: Pairs) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def local(hashes: Hashes, radius: int, repeats: int = 3) -> tuple[float, Pairs]:
    """(seconds, what was found)."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = pairs_within(hashes, radius)
        seconds.append(time.perf_counter() - begun)
    return min(seconds), found


def largest_worker() -> int:
    """Bytes that the largest of Ray's workers on this machine has held at its peak."""
    held = [0]
    for process in with_descendants(children_of(os.getpid())):
        status = Path(f"/proc/{process.pid}/status").read_text()
        if status.startswith("Name:\tray::"):
            held += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(held)


def print_comparison(engine: RayEngine, real: Floats, sizes: list[int], radius: int) -> dict[tuple[str, int], float]:
    """Print what both searches take, and that they find the same; the seconds of the local one."""
    names = "hashes | | pairs | local, s | join, s | the same pairs | rows | tasks | held, MB | fetched, MB"
    print(f"| {names} | driver's peak, MB | largest worker, MB |\n|---:|:---|---:|---:|---:|:---{'|---:' * 6}|")
    taken = {}
    for kind, make in KINDS.items():
        for n in sizes:
            hashes = make(real, n)
            taken[kind, n], wanted = local(hashes, radius)
            forget_peak_rss()
            begun = time.perf_counter()
            found, cost = join_on_ray(engine, hashes, radius)
            seconds = time.perf_counter() - begun
            print(
                f"| {n:,} | {kind} | {cost.pairs:,} | {taken[kind, n]:.2f} | {seconds:.1f} "
                f"| {'yes, to the last' if same(found, wanted) else '**NO**'} | {cost.rows:,} | {cost.tasks} "
                f"| {cost.held_bytes / 1e6:,.1f} | {cost.fetched_bytes / 1e6:,.1f} | {peak_rss() / 1e6:,.0f} "
                f"| {largest_worker() / 1e6:,.0f} |",
                flush=True,
            )
    return taken


def print_one_machine(taken: dict[tuple[str, int], float], sizes: list[int], targets: list[int]) -> None:
    """The local search, as it grew from the smallest size to the largest."""
    for kind in KINDS:
        seconds = [taken[kind, n] for n in sizes]
        power = math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else 1.0
        hours = [f"{n:.0e} in {seconds[-1] * (n / sizes[-1]) ** power / 3600:,.1f} h" for n in targets]
        print(f"\nThis machine alone, {kind}: as the hashes to the power of {power:.2f}; {', '.join(hours)}.")


def pairs_among(n: int, found: int, radius: int) -> float:
    """The pairs within the radius of so many hashes, of which so many were found in the sample: those that are planted
    (at 0 to 12 bits) grow with the hashes, and those that meet by chance with their square.
    """
    planted = PLANTED * (radius + 1) / 13
    return planted * n + max(0.0, found - planted * SAMPLE) * (n / SAMPLE) ** 2


def print_model(machine: Machine, rows: list[tuple[str, Forecast]], cluster: Cluster) -> None:
    print(
        f"\n{cluster.machines} machines of {cluster.processors} processors, {cluster.busy:.0%} of the time at work, "
        f"and {8 * cluster.bytes_a_second / 1e9:.0f} Gbit/s.\nOne thread here: {machine.deal * 1e9:.0f} ns to deal "
        f"a hash, {machine.row * 1e9:.1f} ns a row, {machine.comparison * 1e9:.2f} ns a comparison, "
        f"{machine.searched * 1e6:.1f} µs to search\na hash in a tile; on the driver {machine.unique * 1e9:.0f} ns a "
        f"hash, {machine.lookup * 1e9:.0f} ns a look-up, {machine.task * 1e3:.1f} ms a task and "
        f"{machine.argument * 1e6:.0f} µs an argument.\n"
    )
    names = "hashes | | rows | hottest value | hottest key | hot values | comparisons | pairs | held, GB"
    times = (
        "fetched, GB | tasks | largest task, s | processor hours | tasks, s | fetching, s | driver, s | **in all, s**"
    )
    print(f"| {names} | {times} |\n|---:|:---{'|---:' * 15}|")
    for kind, it in rows:
        print(
            f"| {it.hashes:.0e} | {kind} | {it.rows:.1e} | {it.hottest_value:,.0f} | {it.hottest_key:,.0f} "
            f"| {it.hot_values} | {it.comparisons:.1e} | {it.pairs:.1e} | {it.held / 1e9:,.1f} "
            f"| {it.fetched / 1e9:,.0f} | {it.tasks:,} | {it.largest_task:,.1f} "
            f"| {it.processor_seconds / 3600:,.1f} | {it.tasks_wall:,.1f} "
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
    targets = [int(size) for size in args.model.split(",") if size]
    print(f"Radius {args.radius}. Hashes resampled from {len(real):,} pictures.\n", flush=True)
    with RayEngine(parse_engine(args.engine)[1]) as engine:
        engine.ray()
        taken = print_comparison(engine, real, sizes, args.radius)
        if not targets:
            return
        print_one_machine(taken, sizes, targets)
        machine = measured(million.make_hashes(real, SAMPLE), args.radius, engine)
    rows, cluster = [], Cluster(args.machines)
    for kind, make in KINDS.items():
        sample = make(real, SAMPLE)
        found = len(pairs_within(sample, args.radius).first)
        rows += [
            (kind, forecast(sample, pairs_among(n, found, args.radius), n, args.radius, machine, cluster))
            for n in targets
        ]
    print_model(machine, rows, cluster)


if __name__ == "__main__":
    main()
