"""A real SIGKILL at any instant of a split: nothing is lost, and the same command then finishes the same split."""

import random
import shutil
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from curate.defaults import Mode
from curate.split import split
from curate.verify import verify
from testing.killing import count_deeds, kill_after, kill_at_deed, list_deeds
from tests.commanding import command
from tests.pictures import dataset, placed, tree

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

CASES = pytest.mark.parametrize(("mode", "inside"), [("link", True), ("copy", False), ("symlink", True)])


def prepared(root: Path, mode: Mode, inside: bool, counts: dict[str, int]) -> Path:
    """A dataset that was split with one seed, and is to be with another: files go as well as come."""
    out = root if inside else root.with_name(f"{root.name} out")
    dataset(root / "raw", counts)
    split(root, out=out, mode=mode, seed=1)
    return out


@pytest.mark.thorough
@CASES
def test_killed_at_each_of_its_deeds(tmp_path: Path, mode: Mode, inside: bool) -> None:
    """Each change of the disk or the catalog, from the same start: just before it, or just after."""
    start = tmp_path / "start" / "data"
    counts = {"1": 6, "2": 5}
    out = prepared(start, mode, inside, counts)
    whole = tmp_path / "whole"
    shutil.copytree(start.parent, whole, symlinks=True)
    work = partial(split, whole / "data", out=whole / out.relative_to(start.parent), mode=mode, seed=2)
    deeds = count_deeds(work)
    originals = tree(start / "raw")
    for instant in random.Random(f"{mode} {inside}").sample(range(deeds), min(deeds, 14)):
        killed = tmp_path / f"killed {instant}"
        shutil.copytree(start.parent, killed, symlinks=True)
        again = partial(split, killed / "data", out=killed / out.relative_to(start.parent), mode=mode, seed=2)
        assert kill_at_deed(again, instant)
        assert tree(killed / "data" / "raw") == originals
        again()
        assert tree(killed) == tree(whole)


@pytest.mark.thorough
@CASES
def test_killed_at_random_instants_one_after_the_other(tmp_path: Path, mode: Mode, inside: bool) -> None:
    counts = {"1": 60, "2": 40}
    out = prepared(tmp_path / "killed", mode, inside, counts)
    reference = prepared(tmp_path / "whole", mode, inside, counts)
    started = time.monotonic()
    split(tmp_path / "whole", out=reference, mode=mode, seed=2)
    took = time.monotonic() - started
    originals = tree(tmp_path / "killed" / "raw")
    rng = random.Random(f"{mode} {inside}")
    work = partial(split, tmp_path / "killed", out=out, mode=mode, seed=2)
    for _ in range(6):
        kill_after(work, rng.uniform(0, 1.5 * took))
        assert tree(tmp_path / "killed" / "raw") == originals
    work()
    assert placed(out) == placed(reference)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert tree(out) == tree(reference)


@pytest.mark.thorough
def test_killed_during_the_very_first_split(tmp_path: Path) -> None:
    for name in ("killed", "whole"):
        dataset(tmp_path / name / "raw", {"1": 60, "2": 40})
    started = time.monotonic()
    split(tmp_path / "whole")
    took = time.monotonic() - started
    rng = random.Random(2)
    work = partial(split, tmp_path / "killed")
    for _ in range(6):
        kill_after(work, rng.uniform(0, 1.5 * took))
    work()
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_verify_names_the_command_that_finishes_it(tmp_path: Path) -> None:
    """`clean` would finish nothing."""
    dataset(tmp_path / "data" / "raw", {"1": 6, "2": 5})
    split(tmp_path / "data", seed=1)
    whole, killed = (shutil.copytree(tmp_path / "data", tmp_path / name) for name in ("whole", "killed"))
    deeds = list_deeds(partial(split, whole, seed=2))
    instant = len(deeds) - 1 - deeds[::-1].index("unlink")  # in the midst of placing
    assert kill_at_deed(partial(split, killed, seed=2), instant)
    report = verify(killed)
    assert not report.in_order
    (said,) = report.unfinished
    assert f"split {killed} --seed 2" in said
    done = command("verify", killed)
    assert done.code == 1
    assert said in " ".join(done.out.split())
    assert "clean" not in done.out
    split(killed, seed=2)
    assert not verify(killed).unfinished
