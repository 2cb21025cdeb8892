"""What a dataset holds, read from the catalog's rows: each picture once, wherever its copies lie."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.splitting.picture_table import NOWHERE, place_name, read_picture_table
from tests.test_conflicts import picture

TRAIN, VALID, TEST = range(3)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path, "raw", tmp_path)


@pytest.fixture
def catalog(data: Dataset) -> Iterator[Catalog]:
    with Catalog.open(data.catalog_path) as catalog:
        yield catalog


def sha(letter: str) -> str:
    return letter * 64


def placed(catalog: Catalog, path: str, sha256: str) -> None:
    with catalog.transaction() as db:
        db.execute("INSERT INTO placements VALUES ('.', ?, ?)", (path, sha256))


def quarantined(catalog: Catalog, path: str, sha256: str, state: str) -> None:
    with catalog.transaction() as db:
        db.execute(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES ('', ?, ?, ?, 'duplicate', '', '', -1, ?)",
            (path, f"duplicate/{path}", sha256, state),
        )


def test_columns_are_in_order_of_path_labels_in_natural_order_and_contents_ascending(
    data: Dataset, catalog: Catalog
) -> None:
    catalog.put(
        [
            picture("raw/9/b.jpg", sha("c")), picture("raw/10/a.jpg", sha("a")), picture("raw/9/a.jpg", sha("a")),
            picture("test/9/t.jpg", sha("b"), split="test"), picture("raw/9/x.jpg", sha("d"), broken="empty"),
        ]
    )  # fmt: skip
    table = read_picture_table(data, catalog)
    assert table.paths == ["raw/10/a.jpg", "raw/9/a.jpg", "raw/9/b.jpg", "test/9/t.jpg"]
    assert table.labels == ["9", "10"]
    assert table.label.tolist() == [1, 0, 0, 0]
    assert table.sha256.tolist() == [sha(letter).encode() for letter in "abc"]
    assert table.content.tolist() == [0, 0, 2, 1]
    assert table.split.tolist() == [NOWHERE, NOWHERE, NOWHERE, TEST]
    assert table.arrived.tolist() == [False, False, False, True]
    assert (table.orphaned, table.broken) == ([], ["raw/9/x.jpg"])
    assert len(table) == 4
    assert table.digest(3) == sha("b")
    assert len(set(table.keys().tolist())) == 4
    place, there = table.find(np.array([sha(letter) for letter in "cabze0"], dtype="S64"))
    assert there.tolist() == [True, True, True, False, False, False]
    assert place[:3].tolist() == [2, 0, 1]


def test_an_empty_catalog_is_an_empty_table(data: Dataset, catalog: Catalog) -> None:
    table = read_picture_table(data, catalog)
    assert (len(table), table.labels, table.broken, table.keys().tolist()) == (0, [], [], [])


def test_a_placed_copy_is_left_out_while_its_bytes_are_elsewhere(data: Dataset, catalog: Catalog) -> None:
    catalog.put(
        [picture("raw/a/1.jpg", sha("a")), *(picture(f"{to}/a/1.jpg", sha("a"), split=to) for to in ("train",))]
    )
    placed(catalog, "train/a/1.jpg", sha("a"))
    assert read_picture_table(data, catalog).paths == ["raw/a/1.jpg"]
    catalog.set_state("raw/a/1.jpg", "quarantined")
    quarantined(catalog, "raw/a/1.jpg", sha("a"), "moved")
    assert read_picture_table(data, catalog).paths == []


def test_a_placed_copy_whose_bytes_are_nowhere_else_is_a_picture(data: Dataset, catalog: Catalog) -> None:
    catalog.put([picture("raw/a/2.jpg", sha("b")), picture("train/a/1.jpg", sha("a"), split="train")])
    placed(catalog, "train/a/1.jpg", sha("a"))
    table = read_picture_table(data, catalog)
    assert table.paths == ["raw/a/2.jpg", "train/a/1.jpg"]
    assert table.orphaned == ["train/a/1.jpg"]
    assert table.split.tolist() == [NOWHERE, TRAIN]
    assert table.arrived.tolist() == [False, False]


def test_a_file_that_changed_since_it_was_placed_arrived_there(data: Dataset, catalog: Catalog) -> None:
    catalog.put([picture("raw/a/1.jpg", sha("a")), picture("train/a/1.jpg", sha("b"), split="train")])
    placed(catalog, "train/a/1.jpg", sha("a"))
    table = read_picture_table(data, catalog)
    assert table.paths == ["raw/a/1.jpg", "train/a/1.jpg"]
    assert table.arrived.tolist() == [False, True]
    assert table.orphaned == []


def test_of_what_arrived_in_a_split_and_lies_in_raw_too_the_raw_one_is_left_out(
    data: Dataset, catalog: Catalog
) -> None:
    catalog.put([picture("raw/a/1.jpg", sha("a")), picture("valid/a/x.jpg", sha("a"), split="valid")])
    table = read_picture_table(data, catalog)
    assert (table.paths, table.split.tolist(), table.arrived.tolist()) == (["valid/a/x.jpg"], [VALID], [True])
    catalog.put([picture("raw/b/1.jpg", sha("a"))])  # under another label it is a picture of its own
    assert read_picture_table(data, catalog).paths == ["raw/b/1.jpg", "valid/a/x.jpg"]


def test_what_is_about_to_be_moved_is_gone_already(data: Dataset, catalog: Catalog) -> None:
    catalog.put([picture("raw/a/1.jpg", sha("a")), picture("raw/a/2.jpg", sha("b"))])
    quarantined(catalog, "raw/a/1.jpg", sha("a"), "moving")
    quarantined(catalog, "raw/a/2.jpg", sha("b"), "restored")
    assert read_picture_table(data, catalog).paths == ["raw/a/2.jpg"]


def test_a_placed_link_that_leads_nowhere_is_no_broken_picture(data: Dataset, catalog: Catalog) -> None:
    catalog.put([picture("train/a/1.jpg", "", split="train", broken="missing"), picture("raw/a/2.jpg", broken="empty")])
    placed(catalog, "train/a/1.jpg", sha("a"))
    assert read_picture_table(data, catalog).broken == ["raw/a/2.jpg"]


def test_names_below_the_class_folder_and_of_an_output(tmp_path: Path) -> None:
    raw, flat = (Dataset(tmp_path / "data", layout, tmp_path / "data") for layout in ("raw", "flat"))
    assert raw.below_class("raw/21/old/a.jpg") == "old/a.jpg"
    assert raw.below_class("train/21/a.jpg") == "a.jpg"
    assert flat.below_class("21/old/a.jpg") == "old/a.jpg"
    assert place_name(raw, tmp_path / "data") == "."
    assert place_name(raw, tmp_path / "out") == "../out"
