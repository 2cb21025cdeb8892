"""A class that cannot be divided is not called small: what holds it together is said, and what to do."""

from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.split import Undivided, split
from curate.splitting.undivided import BondKind, find_undivided
from tests.commanding import command
from tests.pictures import dataset, encoded_field, field, labelled, placed, write
from tests.test_grouping import links, pairs, table
from tests.test_split_together import credit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dataset(tmp_path / "raw", {"other": 20})
    return tmp_path


def test_one_form_filled_in_many_times_is_one_group_and_may_part_if_asked(root: Path) -> None:
    for at in range(6):
        write(root / "raw" / "form" / f"{at}.jpg", labelled(500, ("red", "blue")[at % 2]) + bytes(at))
    report = split(root)
    assert report.counts["form"] == {"train": 6, "valid": 0, "test": 0}
    assert (report.too_small, report.undivided) == ([], [Undivided("form", 6, 1, "near")])
    done = command("split", root)
    assert "Not divided as asked: form, whose 6 pictures are one group, held together as near pictures" in done.out
    assert "--bind copies" in done.out
    assert "Too small" not in done.out


def test_near_pictures_part_where_copies_alone_are_bound(root: Path) -> None:
    write(root / "raw" / "form" / "0.jpg", labelled(500, "red"))
    write(root / "raw" / "form" / "1.jpg", labelled(500, "blue"))
    assert split(root, dry_run=True).undivided == []  # of two pictures, none could fill every split
    report = split(root, bind="copies")
    assert len({placed(root)[f"form/{at}.jpg"] for at in (0, 1)}) == 2
    assert (report.proof.near, report.proof.leaks) == (1, 0)
    assert "near 1 (free to part)" in command("split", root, "--bind", "copies").out
    together = split(root)
    assert len({placed(root)[f"form/{at}.jpg"] for at in (0, 1)}) == 1
    assert together.proof.near == 0


def test_each_kind_of_bond_is_named(root: Path) -> None:
    for at in range(4):
        write(root / "raw" / "copies" / f"{at}.jpg", encoded_field(field(300), 60 + 9 * at))
        write(root / "raw" / "page" / f"{at}.jpg", encoded_field(field(310 + at)))
        write(root / "raw" / "patient" / "anna" / f"{at}.jpg", encoded_field(field(320 + at)))
    write(root / "raw" / "single" / "0.jpg", encoded_field(field(330)))
    split(root, dry_run=True)
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        for found in [found for found in catalog.pictures() if found.label == "page"]:
            credit(catalog, found.sha256, "one page")
    report = split(root, group_by="parent")
    assert {one.label: (one.pictures, one.groups, one.kind) for one in report.undivided} == {
        "copies": (4, 1, "copies"),
        "page": (4, 1, "origins"),
        "patient": (4, 1, "groups"),
    }
    assert report.too_small == ["single"]


@pytest.mark.parametrize("kind", ["copies", "near"])
def test_the_surest_bond_that_explains_it_is_named(kind: BondKind) -> None:
    chain = pairs((0, 1), (1, 2))
    found = links(**{kind: chain}) if kind == "near" else links(copies=chain, near=chain)
    assert list(find_undivided(table(0, 1, 2), found, ["1"], 3)) == [Undivided("1", 3, 1, kind)]
    assert list(find_undivided(table(0, 1, 2), found, ["1"], 4)) == []
    assert list(find_undivided(table(0, 1, 2), links(), ["1"], 3)) == []
