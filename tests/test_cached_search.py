"""A search is remembered as long as it serves, and no longer."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import curate.lookalikes.cached_search as module
from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.duplicates import find_near_duplicates
from curate.lookalikes import method
from curate.lookalikes.cached_search import Neighbours, find_neighbours
from curate.lookalikes.method import PLAN_VERSIONS, SEARCH_VERSIONS
from curate.scan import scan
from curate.splitting.picture_table import read_picture_table
from tests.pictures import dataset, encoded_field, field, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pictures, of which two have a copy each, and a crowd of flat ones that are one picture to the search."""
    dataset(tmp_path / "raw", {"1": 5, "2": 5})
    for number in range(2):
        write(tmp_path / "raw" / "1" / f"copy {number}.jpg", encoded_field(field(number), 60))
    for number in range(4):
        Image.new("RGB", (60 + 4 * number, 60 + 4 * number), "teal").save(tmp_path / "raw" / "2" / f"flat {number}.png")
    return tmp_path


def search(root: Path) -> Neighbours:
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        return find_neighbours(data, catalog, read_picture_table(data, catalog), 8)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each search that is really made."""
    made: list[int] = []
    real = find_near_duplicates

    def counted(*arguments: object, **options: object) -> object:
        made.append(1)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "find_near_duplicates", counted)
    return made


def linked(found: Neighbours) -> set[frozenset[bytes]]:
    """The sets of contents that are one picture."""
    pairs = np.column_stack([found.first, found.second])[found.same]
    sets = [{found.sha256[a], found.sha256[b]} for a, b in pairs]
    sets += [
        {found.sha256[at] for at in found.crowd[found.crowd[:, 0] == number, 1]}
        for number in np.unique(found.crowd[:, 0])
    ]
    return {frozenset(one) for one in sets if len(one) > 1}


def test_the_same_contents_are_searched_once(root: Path, searches: list[int]) -> None:
    first = search(root)
    assert sorted(len(one) for one in linked(first)) == [2, 2, 4]
    for file in (root / "raw" / "1").iterdir():
        file.rename(file.with_name(f"renamed {file.name}"))
    assert linked(search(root)) == linked(first)
    assert len(searches) == 1


def test_what_left_takes_its_pairs_with_it(root: Path, searches: list[int]) -> None:
    whole = search(root)
    gone = [root / "raw" / "1" / "copy 0.jpg", root / "raw" / "2" / "flat 0.png", root / "raw" / "2" / "flat 2.png"]
    for file in gone:
        file.unlink()
    part = search(root)
    assert len(searches) == 1
    (root / "catalog.sqlite").unlink()
    anew = search(root)
    assert len(searches) == 2
    assert linked(part) == linked(anew)
    assert sorted(len(one) for one in linked(part)) == [2, 2]
    assert whole.sha256.size == part.sha256.size + 3


def test_new_contents_and_another_radius_are_searched(root: Path, searches: list[int]) -> None:
    search(root)
    write(root / "raw" / "1" / "copy of 3.jpg", encoded_field(field(3), 60))
    assert sorted(len(one) for one in linked(search(root))) == [2, 2, 2, 4]
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        find_neighbours(data, catalog, read_picture_table(data, catalog), 4)
    assert len(searches) == 3


def test_another_method_is_another_search(root: Path, searches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    search(root)
    for part in SEARCH_VERSIONS:
        monkeypatch.setattr(method, "SEARCH_VERSIONS", {**SEARCH_VERSIONS, part: SEARCH_VERSIONS[part] + 1})
        made = len(searches)
        search(root)
        search(root)
        assert len(searches) == made + 1, part


@pytest.mark.parametrize("part", [*SEARCH_VERSIONS, *PLAN_VERSIONS])
def test_clean_decides_anew_by_another_method(root: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(root, yes=True)
    plans: list[int] = []
    real = clean.__globals__["make_plan"]

    def counted(*arguments: object, **options: object) -> object:
        plans.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr("curate.clean.make_plan", counted)
    clean(root, yes=True)
    clean(root, yes=True)
    assert len(plans) == 1
    name = "SEARCH_VERSIONS" if part in SEARCH_VERSIONS else "PLAN_VERSIONS"
    monkeypatch.setattr(method, name, {**getattr(method, name), part: 99})
    clean(root, yes=True)
    clean(root, yes=True)
    assert len(plans) == 2


def test_clean_searches_for_split(root: Path, searches: list[int]) -> None:
    """What clean found serves split, once the copies have left."""
    clean(root, yes=True)
    found = search(root)
    assert searches == []
    assert linked(found) == set()


def test_clean_looks_again_only_when_something_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[int] = []
    real = clean.__globals__["make_plan"]

    def counted(*arguments: object, **options: object) -> object:
        plans.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr("curate.clean.make_plan", counted)
    assert clean(root, yes=True).moved == 5
    for _ in range(3):
        assert clean(root, yes=True).plan.decisions == []
    assert len(plans) == 2
    clean(root, radius=4, yes=True)
    assert len(plans) == 3
    shutil.copy(root / "raw" / "1" / "picture 4.jpg", root / "raw" / "1" / "again.jpg")
    assert clean(root, yes=True).moved == 1
    assert len(plans) == 4
