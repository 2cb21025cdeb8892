"""A catalog that came with a dataset is not believed: what it says of pictures is read, and searched for, anew."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.catalog.known_files import known_files
from curate.clean import clean
from curate.dataset import open_dataset
from curate.defaults import DEFAULT_RADIUS
from curate.duplicates import find_same_bytes
from curate.lookalikes import method
from curate.lookalikes.cached_search import keep
from curate.lookalikes.neighbours import Neighbours
from curate.lookalikes.second_look import COPY, NEAR
from curate.scan import scan
from curate.split import split
from tests.pictures import dataset, placed

PICTURES, COPIES = 12, 6


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A dataset with half of its pictures in two sizes, and the catalog of whoever has published it."""
    root = tmp_path / "published"
    dataset(root / "raw", {"1": PICTURES, "2": PICTURES})
    for label in "12":
        for picture in sorted((root / "raw" / label).iterdir())[:COPIES]:
            with Image.open(picture) as image:
                image.resize((80, 80)).save(picture.with_name(f"small {picture.name}"))
    split(root, dry_run=True)
    return root


def tell(root: Path, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        db.executemany(statement, rows)
        db.commit()


def say_of_pairs(root: Path, verdict: int | None) -> None:
    """Have the catalog remember that no two pictures are alike, or that each is a copy of the next, or near it."""
    with Catalog.open(root / "catalog.sqlite") as catalog:
        sha256 = np.unique(np.array([picture.sha256 for picture in catalog.intact()], "S64"))
        count = 0 if verdict is None else len(sha256) - 1
        at = np.arange(count, dtype=np.int32)
        told = Neighbours.of_pairs(sha256, at, at + 1, np.zeros(count, np.uint8), np.full(count, verdict or 0, np.int8))
        keep(catalog, told, DEFAULT_RADIUS)
    if verdict is None:
        assert not clean(root, dry_run=True).plan.decisions, "and so that nothing is left to clean"


def say_other_hashes(root: Path) -> None:
    chance = random.Random(7)
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        known = db.execute("SELECT path, length(fingerprint) FROM pictures").fetchall()
    rows = [(chance.getrandbits(63), chance.randbytes(length), path) for path, length in known]
    tell(root, "UPDATE pictures SET phash = ?, fingerprint = ? WHERE path = ?", rows)
    tell(root, "DELETE FROM searches", [()])


def say_one_content(root: Path) -> None:
    tell(root, "UPDATE pictures SET sha256 = ?", [("ab" * 32,)])


LIES: dict[str, Callable[[Path], None]] = {
    "nothing is alike": lambda root: say_of_pairs(root, None),
    "each is near the next": lambda root: say_of_pairs(root, NEAR),
    "each is a copy of the next": lambda root: say_of_pairs(root, COPY),
    "other hashes": say_other_hashes,
    "one content": say_one_content,
}


@pytest.mark.thorough
@pytest.mark.parametrize("lie", LIES)
def test_a_doctored_catalog_makes_no_picture_leave_and_none_leak(published: Path, lie: str) -> None:
    honest = shutil.copytree(published, published.with_name("honest"))
    (honest / "catalog.sqlite").unlink()
    LIES[lie](published)
    arrived = shutil.copytree(published, published.with_name("arrived"))
    leaving = {decision.path: decision.keeper for decision in clean(honest, dry_run=True).plan.decisions}
    assert len(leaving) == 2 * COPIES
    assert {one.path: one.keeper for one in clean(arrived, dry_run=True).plan.decisions} == leaving
    (honest / "catalog.sqlite").unlink()
    shutil.copy2(published / "catalog.sqlite", arrived / "catalog.sqlite")
    assert split(arrived).proof.near_duplicates == split(honest).proof.near_duplicates == 0
    assert placed(arrived) == placed(honest)


def test_a_foreign_catalog_tells_training_nothing_of_files(published: Path) -> None:
    assert len(known_files(published / "catalog.sqlite")) == 2 * (PICTURES + COPIES)
    arrived = shutil.copytree(published, published.with_name("arrived"))
    assert known_files(arrived / "catalog.sqlite") == {}


def test_ones_own_catalog_is_believed_also_where_its_dataset_gets_another_name(published: Path) -> None:
    moved = published.rename(published.with_name("renamed"))
    found = open_dataset(moved)
    with Catalog.open(found.catalog_path) as catalog:
        assert scan(found, catalog).read == 0
        assert catalog.has_table("searches")


def test_facts_of_another_version_of_a_method_are_read_anew(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that a catalog holds from before versions were written down; the pictures are read once."""
    found = open_dataset(published)
    for versions in ({**method.SEARCH_VERSIONS, "hash": 99}, {**method.SEARCH_VERSIONS, "windows": 99}):
        monkeypatch.setattr(method, "SEARCH_VERSIONS", versions)
        with Catalog.open(found.catalog_path) as catalog:
            before = catalog.intact()
            assert [scan(found, catalog).read for _ in range(2)] == [len(before), 0]
            assert find_same_bytes(catalog.intact()).contents == find_same_bytes(before).contents
    monkeypatch.setattr(method, "PLAN_VERSIONS", {**method.PLAN_VERSIONS, "quality": 99})
    with Catalog.open(found.catalog_path) as catalog:
        assert [scan(found, catalog).read for _ in range(2)] == [2 * (PICTURES + COPIES), 0]
    tell(published, "DELETE FROM about WHERE name = ?", [("facts",)])
    with Catalog.open(found.catalog_path) as catalog:
        assert [scan(found, catalog).read for _ in range(2)] == [2 * (PICTURES + COPIES), 0]
