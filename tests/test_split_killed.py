"""A real SIGKILL at random instants of a split: the same command then finishes the same split."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from drawn import dataset, placed, tree

from curate.placing import Mode
from curate.split import split

REPOSITORY = Path(__file__).resolve().parent.parent

PROGRAM = """
import sys
from pathlib import Path
from curate.split import split
print("ready", flush=True)
split(Path(sys.argv[1]), out=Path(sys.argv[2]), mode=sys.argv[3], seed=int(sys.argv[4]))
"""


def run(arguments: Sequence[object], kill_after: float | None = None) -> float:
    """Split in a process of its own; kills it after so many seconds of work, or returns how long it worked."""
    command = [sys.executable, "-c", PROGRAM, *(str(argument) for argument in arguments)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
            assert process.wait() in (0, -signal.SIGKILL)
        else:
            assert process.wait() == 0
        return time.monotonic() - started


@pytest.mark.parametrize(("mode", "inside"), [("link", True), ("copy", False)])
def test_killed_at_random_instants_it_finishes_the_same_split(tmp_path: Path, mode: Mode, inside: bool) -> None:
    """From one split to that of another seed, so that files are removed as well as made."""
    roots = [tmp_path / name for name in ("killed", "whole")]
    outs = [root if inside else tmp_path / f"{root.name} out" for root in roots]
    for root, out in zip(roots, outs, strict=True):
        dataset(root / "raw", {"1": 150, "2": 100})
        split(root, out=out, mode=mode, seed=1)
    originals = tree(roots[0] / "raw")
    took = run([roots[1], outs[1], mode, 2])
    rng = random.Random(f"{mode} {inside}")
    for _ in range(4):
        run([roots[0], outs[0], mode, 2], kill_after=rng.uniform(0, took))
        assert tree(roots[0] / "raw") == originals
    run([roots[0], outs[0], mode, 2])
    assert placed(outs[0]) == placed(outs[1])
    assert tree(roots[0]) == tree(roots[1])
    assert tree(outs[0]) == tree(outs[1])


def test_killed_during_the_very_first_split(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("killed", "whole")]
    for root in roots:
        dataset(root / "raw", {"1": 150, "2": 100})
    took = run([roots[1], roots[1], "link", 1])
    rng = random.Random(2)
    for _ in range(4):
        run([roots[0], roots[0], "link", 1], kill_after=rng.uniform(0, took))
    run([roots[0], roots[0], "link", 1])
    assert tree(roots[0]) == tree(roots[1])
