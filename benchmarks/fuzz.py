"""Damages files of every format that is decoded, and counts what comes of it: pixels, BrokenImage, or a fault of ours.

    uv run python benchmarks/fuzz.py                        20,000 cases
    uv run python benchmarks/fuzz.py --only 12345           one case again, in this process

A case is made from its number alone, so that any of them can be looked at again. They run in processes that may
reserve no more than 3 GiB and may think for 20 seconds about one case: whatever crashes or hangs does so in a
process of its own, and is put down to the case it was at.
"""

import argparse
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.damage import case, seeds
from benchmarks.peak import peak_rss
from curate.image import BrokenImage
from curate.inspect import inspect

MEMORY = 3 << 30
SECONDS = 20.0


@dataclass
class Tally:
    """What came of the cases: how often each, by whom faults were made, and the worst of time and memory."""

    outcomes: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)


def outcome(data: bytes) -> str:
    """What `inspect` makes of it: "pixels", "broken", or an exception, which there must not be."""
    try:
        return "broken" if inspect(data).broken else "pixels"
    except BrokenImage:
        return "BrokenImage out of inspect"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def work(numbers: Iterator[int]) -> None:
    """In a process of its own: say each case's number before it is looked at, and what came of it after."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libjpeg write what they think of each
    for number in numbers:
        name, data = case(number)
        print("case", number, name, sep="\t", flush=True)
        started = time.perf_counter()
        found = outcome(data)
        seconds = time.perf_counter() - started
        memory = peak_rss() >> 20
        print("done", seconds, memory, found.replace("\n", " "), sep="\t", flush=True)


def watch(start: int, stop: int, step: int, tally: Tally, lock: threading.Lock) -> None:
    """Have every step-th case looked at, in one process after another as they crash or hang."""
    seeds()  # what is wrong with these is no fault of the decoder
    while start < stop:
        command = [sys.executable, __file__, "--work", str(start), str(stop), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            start = follow(process, start, step, tally, lock)


def follow(process: subprocess.Popen[str], start: int, step: int, tally: Tally, lock: threading.Lock) -> int:
    """Count what one process says; the number from which the next has to go on."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    number, name, patience = start, "start", 60.0
    while True:
        try:
            what, *rest = lines.get(timeout=patience).rstrip("\n").split("\t")
        except queue.Empty:
            process.kill()
            what, rest = "", [f"hang: no answer within {patience:.0f} s"]
        with lock:
            if what == "case":
                number, name, patience = int(rest[0]), rest[1], SECONDS
            elif what == "done":
                count(tally, number, name, float(rest[0]), int(rest[1]), rest[2])
                start, patience = number + step, 60.0
            elif start > number and not rest:
                return start if process.wait() else sys.maxsize
            else:
                problem = rest[0] if rest else f"crash: the process ended with {process.wait()}"
                count(tally, number, name, 0.0, 0, problem)
                return number + step


def read_lines(stream: IO[str], lines: "queue.Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def count(tally: Tally, number: int, name: str, seconds: float, memory: int, found: str) -> None:
    tally.made[name] += 1
    tally.slowest = max(tally.slowest, (seconds, number))
    tally.largest = max(tally.largest, (memory, -number))
    if found in {"pixels", "broken"}:
        tally.outcomes[found] += 1
    else:
        tally.outcomes["fault"] += 1
        tally.faults.append(f"case {number} ({name}): {found}")
        print(tally.faults[-1], file=sys.stderr)


def fuzz(cases: int, first: int = 0) -> Tally:
    """Look at that many cases, in as many processes as there are processors."""
    tally, lock, crowd = Tally(), threading.Lock(), os.cpu_count() or 1
    threads = [
        threading.Thread(target=watch, args=(first + offset, first + cases, crowd, tally, lock))
        for offset in range(crowd)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", type=int, help="look at one case, in this process")
    parser.add_argument("--save", type=Path, help="with --only: write the case's bytes to this file")
    parser.add_argument("--work", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(iter(range(*options.work)))
        return 0
    if options.only is not None:
        name, data = case(options.only)
        if options.save:
            options.save.write_bytes(data)
        print(f"case {options.only} ({name}, {len(data):,} bytes): {inspect(data)}")
        return 0
    started = time.perf_counter()
    tally = fuzz(options.cases, options.first)
    seconds = time.perf_counter() - started
    total = sum(tally.outcomes.values())
    print(f"{total:,} cases of {len(tally.made)} kinds in {seconds:.0f} s")
    for found in ("pixels", "broken", "fault"):
        print(f"  {found:8}{tally.outcomes[found]:8,}")
    print(f"  slowest {tally.slowest[0]:.2f} s (case {tally.slowest[1]}); most memory {tally.largest[0]:,} MiB")
    return 1 if tally.faults or total != options.cases else 0


if __name__ == "__main__":
    sys.exit(main())
