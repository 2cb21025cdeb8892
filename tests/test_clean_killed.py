"""A SIGKILL at any instant of `clean` or `restore`, and the same command finishes as if nothing had been."""

import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.cleaning.plan import read_plan
from curate.dataset import open_dataset
from curate.quarantine import RestoreReport, restore_files
from tests.pictures import contents, paint, save

if sys.platform == "win32":
    pytest.skip("SIGKILL is POSIX's", allow_module_level=True)

from testing.killing import kill_after, kill_at_deed, list_deeds

POINTS = 24
"""Instants at which each command is killed: spread evenly over all there are, the first and the last included."""


def give_back(root: Path) -> RestoreReport:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return restore_files(dataset, catalog)


def cleaned_up(root: Path) -> None:
    clean(root, yes=True)


def carry_out(root: Path) -> None:
    clean(root, plan=root.parent / "plan.jsonl")


Records = list[tuple[object, ...]]


def records(root: Path) -> Records:
    """What the catalog says of the quarantine, without the names of runs."""
    with sqlite3.connect(root / "catalog.sqlite") as db:
        query = "SELECT path, stored, sha256, reason, detail, keeper, distance, state FROM quarantine ORDER BY path, id"
        return db.execute(query).fetchall()


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with raw/ and its placed copies, in which eleven files have to leave for three reasons."""
    root = tmp_path_factory.mktemp("dirty") / "data"
    for number in range(6):
        file = save(paint(number), root / "raw" / ("rose" if number < 3 else "tulip") / f"{number}.jpg")
        placed = root / "train" / file.parent.name / file.name
        placed.parent.mkdir(parents=True, exist_ok=True)
        placed.hardlink_to(file)
    for number in range(3):
        (root / "raw" / "rose" / f"broken {number}.jpg").write_bytes(b"no picture" * number)
        save(paint(3), root / "raw" / "tulip" / f"copy {number}.jpg", quality=80 - 10 * number)
    (root / "train" / "rose" / "copy.jpg").hardlink_to(save(paint(0), root / "raw" / "rose" / "copy.jpg", quality=50))
    shutil.copy2(root / "raw" / "rose" / "2.jpg", root / "raw" / "tulip" / "also.jpg")
    return root


@pytest.fixture(scope="module")
def cleaned(dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, after a run that nobody disturbed."""
    root = shutil.copytree(dirty, tmp_path_factory.mktemp("cleaned") / "data")
    assert clean(root, yes=True).moved == 11
    return root


def spread(total: int) -> Iterator[int]:
    yield from sorted({round(step * (total - 1) / (POINTS - 1)) for step in range(POINTS)})


def killed_everywhere(
    start: Path, work: Callable[[Path], object], tmp_path: Path, check: Callable[[Path, Path], None]
) -> None:
    """Kill `work` on copies of `start` at many instants; check each copy as it was left, and after a second try."""
    undisturbed = shutil.copytree(start, tmp_path / "undisturbed" / "data")
    for extra in start.parent.glob("*.jsonl"):
        shutil.copy(extra, undisturbed.parent)
    total = len(list_deeds(partial(work, undisturbed)))
    assert total > POINTS
    before = set(contents(start).values())
    for instant in spread(total):
        root = shutil.copytree(start, tmp_path / str(instant) / "data")
        for extra in start.parent.glob("*.jsonl"):
            shutil.copy(extra, root.parent)
        # What is written once a second is written once less by a faster run: its very last deeds may never come.
        assert kill_at_deed(partial(work, root), instant) or instant > 0.9 * total
        assert set(contents(root).values()) == before, "no content is lost, and none is half there"
        work(root)
        assert contents(root) == contents(undisturbed)
        check(root, undisturbed)
        after = contents(root)
        work(root)
        assert contents(root) == after, "a second run changes nothing"
        shutil.rmtree(root.parent)


def same_records(root: Path, undisturbed: Path) -> None:
    assert records(root) == records(undisturbed)


@pytest.mark.thorough
def test_clean_killed_at_chosen_instants(dirty: Path, tmp_path: Path) -> None:
    killed_everywhere(dirty, cleaned_up, tmp_path, same_records)


@pytest.mark.thorough
def test_restore_killed_at_chosen_instants(cleaned: Path, dirty: Path, tmp_path: Path) -> None:
    def check(root: Path, _: Path) -> None:
        assert contents(root) == contents(dirty)
        assert {record[-1] for record in records(root)} == {"restored"}

    killed_everywhere(cleaned, give_back, tmp_path, check)


@pytest.mark.thorough
def test_a_plan_from_a_file_killed_at_chosen_instants(dirty: Path, tmp_path: Path) -> None:
    start = shutil.copytree(dirty, tmp_path / "start" / "data")
    clean(start, dry_run=True, save_plan=tmp_path / "start" / "plan.jsonl")
    lines = read_plan(tmp_path / "start" / "plan.jsonl")
    assert len(lines) == 11
    killed_everywhere(start, carry_out, tmp_path, same_records)


@pytest.mark.thorough
def test_clean_and_restore_killed_at_random_instants(dirty: Path, cleaned: Path, tmp_path: Path) -> None:
    draw = random.Random(5)
    root = shutil.copytree(dirty, tmp_path / "data")
    killed = 0
    for work, goal in ((cleaned_up, cleaned), (give_back, dirty)) * 2:
        for _ in range(6):
            killed += kill_after(partial(work, root), draw.uniform(0, 0.15))
            assert set(contents(root).values()) == set(contents(dirty).values())
        work(root)
        assert contents(root) == contents(goal)
    assert killed > 0
