"""A dataset that is removed or renamed while a command is at work in it: one sentence of ours, at whatever instant."""

import random
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_to_write
from curate.errors import UserError
from curate.split import split
from tests.pictures import dataset

WORKS: dict[str, Callable[[Path], object]] = {
    "clean": lambda root: clean(root, yes=True),
    "clean --dry-run": lambda root: clean(root, dry_run=True),
    "split": lambda root: split(root, seed=2),
    "split --dry-run": lambda root: split(root, dry_run=True),
}
REMOVALS: dict[str, Callable[[Path], object]] = {
    "removed": lambda root: shutil.rmtree(root, ignore_errors=True),
    "renamed": lambda root: root.rename(root.with_name("renamed")),
    "half removed": lambda root: shutil.rmtree(root / "raw", ignore_errors=True),
}
INSTANTS = 8
LOOKS = {"link", "unlink", "rename", "replace", "mkdir", "open", "execute", "executemany", "scandir", "listdir", "stat"}
"""Calls to the disk or the catalog: at one of them the folder goes."""


def work_without(root: Path, work: Callable[[Path], object], instant: int, remove: Callable[[Path], object]) -> int:
    """Let the work run, and remove its folder before the nth look at it. How often it looked."""
    looks = 0

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal looks
        if event == "c_call" and getattr(argument, "__name__", "") in LOOKS:
            looks += 1
            if looks == instant:
                sys.setprofile(None)
                remove(root)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work(root)
    finally:
        sys.setprofile(before)
    return looks


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that was split with another seed, and has a copy and a broken file."""
    root = tmp_path_factory.mktemp("start") / "data"
    dataset(root / "raw", {"1": 5, "2": 4})
    shutil.copy(root / "raw" / "1" / "picture 0.jpg", root / "raw" / "1" / "copy.jpg")
    (root / "raw" / "2" / "broken.jpg").write_bytes(b"no picture")
    split(root, seed=1)
    return root


@pytest.mark.thorough
@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("work", WORKS)
def test_it_is_one_sentence(work: str, removal: str, start: Path, tmp_path: Path) -> None:
    for name in ("imports", "count"):
        looks = work_without(shutil.copytree(start, tmp_path / name / "data"), WORKS[work], 0, REMOVALS[removal])
    said = []
    for instant in random.Random(f"{work} {removal}").sample(range(1, looks), INSTANTS):
        root = shutil.copytree(start, tmp_path / str(instant) / "data")
        try:
            work_without(root, WORKS[work], instant, REMOVALS[removal])
        except UserError as error:
            said.append(str(error))
    assert all("\n" not in sentence and sentence.endswith(".") for sentence in said)
    if removal != "half removed":
        assert any("is no longer there: it was removed or renamed meanwhile" in sentence for sentence in said)


def opened(root: Path) -> None:
    """What each command that writes does first."""
    with open_to_write(root, "clean") as dataset, Catalog.open(dataset.catalog_path):
        pass


@pytest.mark.thorough
@pytest.mark.parametrize("removal", ["removed", "renamed"])
def test_a_folder_that_goes_while_it_is_opened_is_not_made_again(removal: str, tmp_path: Path) -> None:
    start = tmp_path / "start"
    dataset(start / "raw", {"1": 1, "2": 1})
    for name in ("imports", "count"):
        looks = work_without(shutil.copytree(start, tmp_path / name / "data"), opened, 0, REMOVALS[removal])
    for instant in range(1, looks):
        root = shutil.copytree(start, tmp_path / str(instant) / "data")
        with suppress(UserError):
            work_without(root, opened, instant, REMOVALS[removal])
        assert not root.exists(), instant
