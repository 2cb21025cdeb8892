"""A search is remembered as long as it serves, and no longer."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import curate.lookalikes.cached_search as module
from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.lookalikes import method
from curate.lookalikes.cached_search import Neighbours, find_neighbours, keep
from curate.lookalikes.method import PLAN_VERSIONS, SEARCH_VERSIONS
from curate.lookalikes.search import search as search_contents
from curate.lookalikes.second_look import COPY
from curate.scan import scan
from curate.splitting.picture_table import read_picture_table
from tests.pictures import dataset, encoded_field, field, field_picture, save, write


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
    """Grows with each search that is really made, by the number of pictures that it need not look up."""
    made: list[int] = []
    real = search_contents

    def counted(*arguments: object, known: Neighbours | None = None, **options: object) -> Neighbours:
        made.append(0 if known is None else len(known.sha256))
        return real(*arguments, known=known, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "search", counted)
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
    assert searches == [0, whole.sha256.size]
    (root / "catalog.sqlite").unlink()
    anew = search(root)
    assert searches == [0, whole.sha256.size, 0]
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
    assert searches == [0, 16, 0], "what came is searched for alone, and another radius anew"


def test_another_method_is_another_search(root: Path, searches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    search(root)
    for part in SEARCH_VERSIONS:
        monkeypatch.setattr(method, "SEARCH_VERSIONS", {**SEARCH_VERSIONS, part: SEARCH_VERSIONS[part] + 1})
        made = len(searches)
        search(root)
        search(root)
        assert len(searches) == made + 1, part


@pytest.mark.thorough
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
    assert [known > 0 for known in searches] == [False, True]
    assert linked(found) == set()


def decisions(root: Path, **options: bool) -> list[tuple[str, str, str, str]]:
    plan = clean(root, dry_run=True, force=True, **options).plan  # type: ignore[arg-type]
    return [(it.path, it.reason, it.keeper, it.detail) for it in plan.decisions]


@pytest.mark.thorough
@pytest.mark.parametrize("geometry", [False, True])
def test_clean_decides_by_what_it_remembers_as_by_a_new_search(
    root: Path, searches: list[int], *, geometry: bool
) -> None:
    """Pictures come, and a plan is made: at first by a search of all, then by one of what came, then by none."""
    mirrored = field_picture(field(7)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    first = decisions(root, geometry=geometry)
    save(mirrored, root / "raw" / "2" / "mirrored.jpg")
    write(root / "raw" / "1" / "copy of 3.jpg", encoded_field(field(3), 60))
    added = decisions(root, geometry=geometry)
    again = decisions(root, geometry=geometry)
    assert searches == [0, 16]
    (root / "catalog.sqlite").unlink()
    assert decisions(root, geometry=geometry) == added == again
    assert len(added) == len(first) + (2 if geometry else 1)


def test_a_search_for_mirrored_copies_is_another_search(root: Path, searches: list[int]) -> None:
    save(field_picture(field(7)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), root / "raw" / "2" / "mirrored.jpg")
    plain = decisions(root)
    turned = decisions(root, geometry=True)
    assert len(turned) == len(plain) + 1
    assert searches == [0, 0]
    assert (decisions(root), decisions(root, geometry=True)) == (plain, turned)
    assert searches == [0, 0]
    assert sorted(len(one) for one in linked(search(root))) == [2, 2, 4], "to a split it is another picture"
    assert searches == [0, 0]


@pytest.mark.parametrize("kind", ["picture", "flat"])
def test_what_could_not_be_read_is_searched_for_when_it_can(root: Path, kind: str) -> None:
    """The file is there, but not when it is looked at; then it is, and nothing else has changed."""
    file = root / "raw" / ("1/copy 0.jpg" if kind == "picture" else "2/flat 1.png")
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        table = read_picture_table(data, catalog)
        hidden = file.rename(file.with_suffix(".hidden"))
        without = find_neighbours(data, catalog, table, 8)
        hidden.rename(file)
        found = find_neighbours(data, catalog, table, 8)
    digest = sha256(file.read_bytes()).hexdigest().encode()
    assert not any(digest in one for one in linked(without))
    assert any(digest in one for one in linked(found))
    assert sorted(len(one) for one in linked(found)) == [2, 2, 4]


def test_a_catalog_with_the_table_of_an_earlier_version_is_searched_anew(root: Path, searches: list[int]) -> None:
    first = search(root)
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        db.execute("DROP TABLE searches")
        db.execute("CREATE TABLE searches (radius INTEGER PRIMARY KEY, method TEXT NOT NULL, result BLOB NOT NULL)")
        db.execute("INSERT INTO searches VALUES (8, ?, x'00')", (method.search_method(),))
        db.commit()
    assert linked(search(root)) == linked(search(root)) == linked(first)
    assert searches == [0, 0]


@pytest.mark.parametrize("lie", ["copies", "flat"])
def test_no_picture_leaves_by_the_word_of_a_strangers_catalog(root: Path, searches: list[int], lie: str) -> None:
    """Well formed, and untrue: two different pictures are said to be copies, or one flat picture."""
    honest = decisions(root)
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        digests = dict(catalog.db.execute("SELECT path, sha256 FROM pictures"))
        found = search(root)
        pair = sorted(
            int(np.searchsorted(found.sha256, digests[f"raw/{name}.jpg"].encode()))
            for name in ("1/picture 3", "2/picture 4")
        )
        first, second = np.array(pair[:1], np.int32), np.array(pair[1:], np.int32)
        if lie == "copies":
            untrue = Neighbours.of_pairs(found.sha256, first, second, np.zeros(1, np.uint8), np.array([COPY], np.int8))
        else:
            untrue = Neighbours.of_pairs(
                found.sha256, first[:0], first[:0], np.zeros(0, np.uint8), np.zeros(0, np.int8),
                np.array([[0, pair[0]], [0, pair[1]]], np.int32),
            )  # fmt: skip
            untrue = replace(untrue, flat=np.array([[*pair, 1]], np.int32))
        assert untrue.is_sound()
        keep(catalog, untrue, 8)
    searches.clear()
    assert decisions(root) == honest
    assert searches == [0]


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
