"""`clean` killed by SIGKILL at random instants, and repeated to its end: what is lost, double or not as planned.

    uv run benchmarks/kills.py --flowers ../shared/flowers

Each row is a fresh copy of the photographs with planted faults. The command, a process of its own, is killed at an
instant drawn from the length of an undisturbed run, and started again, to its end. Most of a run is reading, so that
a random instant seldom meets the moves: as many rows again are killed before or after a call, drawn at random, that
moves a file. The last row is one copy on which the command is killed again and again before it may finish.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cleaning import copy_writable
from commands.console import say, table
from curate.clean import clean
from demo.faults import plant_faults
from testing.killing import kill_at_deed, list_deeds

COMMAND = (sys.executable, str(Path(__file__).resolve().parent.parent / "cli.py"), "clean", "--yes")

Records = list[tuple[str, ...]]


@dataclass(frozen=True)
class State:
    """Every picture by its path, and what the catalog says was decided, in order of path."""

    files: dict[str, str]
    plan: Records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--flowers", type=Path, required=True, help="a dataset with train/: it is copied, not touched")
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1337)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        start = Path(place) / "start" / "data"
        copy_writable(arguments.flowers, start)
        faults = plant_faults(start / "train", arguments.seed)
        measure(start, len(faults), arguments.instants, random.Random(arguments.seed))


def measure(start: Path, faults: int, instants: int, draw: random.Random) -> None:
    before = state(start)
    whole = fresh(start, "whole")
    seconds = run(whole)
    goal = state(whole)
    say(f"{len(before.files):,} files, {faults} planted faults; an undisturbed run takes {seconds:.2f} s and moves "
        f"{len(goal.plan)}.")  # fmt: skip
    rows: list[tuple[object, ...]] = []
    while len(rows) < instants:
        data = fresh(start, f"time {len(rows)}")
        after = draw.uniform(0, seconds)
        if run(data, after) < 0:  # else it had ended before: draw again
            rows.append(judge(f"after {after:.2f} s", data, before, goal))
        shutil.rmtree(data.parent)
    names = list_deeds(partial(clean, fresh(start, "counted"), yes=True))
    moves = [instant for instant, name in enumerate(names) if name == "rename_exclusively"]
    for number in range(instants):
        data = fresh(start, f"call {number}")
        chosen = draw.randrange(len(moves))
        if not kill_at_deed(partial(clean, data, yes=True), moves[chosen]):
            raise RuntimeError("clean made fewer calls than in its undisturbed run")
        when = f"{'after' if chosen % 2 else 'before'} call {chosen // 2 + 1} of {len(moves) // 2}"
        rows.append(judge(when, data, before, goal))
        shutil.rmtree(data.parent)
    data = fresh(start, "again and again")
    kills = sum(run(data, draw.uniform(0, seconds)) < 0 for _ in range(instants))
    rows.append(judge(f"{kills} times in a row", data, before, goal))
    columns = ("killed", "moved then", "lost", "double", "same end", "same plan", "2nd run moves")
    table("SIGKILL, and the same command again", columns, rows)
    good = sum(row[2:] == (0, 0, "yes", "yes", 0) for row in rows)
    say(f"{good} of {len(rows)} killed runs ended as the undisturbed one.")


def judge(when: str, data: Path, before: State, goal: State) -> tuple[object, ...]:
    """One row of the table, of a dataset on which the command was killed."""
    moved = sum(1 for file in (data / "quarantine").rglob("*") if file.is_file())
    run(data)
    after = state(data)
    contents = list(after.files.values())
    lost = len(set(before.files.values()) - set(contents))
    double = len(contents) - len(before.files)
    run(data)
    again = state(data)
    changes = sum(path not in after.files for path in again.files)
    return (when, moved, lost, double, yes(after.files == goal.files), yes(after.plan == goal.plan), changes)


def yes(true: bool) -> str:
    return "yes" if true else "NO"


def fresh(start: Path, name: str) -> Path:
    """The dataset once more, its files as hard links: none is written to, all may be moved."""
    data = start.parent.parent / name / "data"
    shutil.copytree(start, data, copy_function=os.link)
    return data


def run(data: Path, after: float | None = None) -> float:
    """Run the command: returns its seconds, or -1 where it was killed so many seconds after its start."""
    began = time.perf_counter()
    with subprocess.Popen([*COMMAND, str(data)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            code = process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"clean ended with exit code {code}")
    return time.perf_counter() - began if code == 0 else -1.0


def state(data: Path) -> State:
    ours = ("catalog.sqlite", "plan.jsonl", ".florilegium.")
    found = sorted(file for file in data.rglob("*") if file.is_file() and not file.name.startswith(ours))
    files = {file.relative_to(data).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}
    if not (data / "catalog.sqlite").exists():
        return State(files, [])
    with sqlite3.connect(data / "catalog.sqlite") as db:
        query = "SELECT path, stored, sha256, reason, detail, keeper, distance, state FROM quarantine ORDER BY path"
        return State(files, db.execute(query).fetchall())


if __name__ == "__main__":
    main()
