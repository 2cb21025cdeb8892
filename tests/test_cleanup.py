"""What an earlier split placed is removed, its record too, but never the last copy of a picture."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.splitting.cleanup import remove_stale
from curate.splitting.picture_table import place_name
from tests.pictures import write
from tests.test_conflicts import picture

DATA = b"the bytes of a picture"
SHA256 = sha256(DATA).hexdigest()
NAME = "train/a/1.jpg"


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "data", "raw", tmp_path / "data")


@pytest.fixture
def catalog(data: Dataset) -> Iterator[Catalog]:
    data.root.mkdir()
    with Catalog.open(data.catalog_path) as catalog:
        yield catalog


def place(data: Dataset, catalog: Catalog, out: Path, *names: str, content: bytes = DATA) -> Path:
    """Files that a split is said to have placed with `DATA`; the last one."""
    for name in names:
        write(out / name, content)
        with catalog.transaction() as db:
            db.execute("INSERT INTO placements VALUES (?, ?, ?)", (place_name(data, out), name, SHA256))
    return out / names[-1]


def original(data: Dataset, catalog: Catalog, content: bytes = DATA) -> Path:
    """The picture below raw/, as the catalog knows it."""
    write(data.root / "raw/a/1.jpg", content)
    catalog.put([picture("raw/a/1.jpg", SHA256)])
    return data.root / "raw/a/1.jpg"


def records(catalog: Catalog) -> list[str]:
    return [path for (path,) in catalog.db.execute("SELECT path FROM placements ORDER BY path")]


def test_a_stale_copy_goes_with_its_record_and_the_folders_it_leaves_empty(data: Dataset, catalog: Catalog) -> None:
    out = data.root.parent / "out"
    original(data, catalog)
    place(data, catalog, out, NAME, "test/a/1.jpg", "test/b/1.jpg")
    assert remove_stale(data, catalog, out, {NAME: SHA256, "test/a/1.jpg": SHA256}, {"test/b/1.jpg"}) == (2, 0)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["test", "test/b", "test/b/1.jpg"]
    assert records(catalog) == ["test/b/1.jpg"]
    assert (data.root / "raw/a/1.jpg").read_bytes() == DATA


def test_what_is_wanted_anew_keeps_its_record(data: Dataset, catalog: Catalog) -> None:
    """Another picture takes its place."""
    out = data.root.parent / "out"
    original(data, catalog)
    file = place(data, catalog, out, NAME)
    assert remove_stale(data, catalog, out, {NAME: SHA256}, {NAME}) == (1, 0)
    assert not file.exists()
    assert records(catalog) == [NAME]


def test_a_file_that_was_changed_or_is_gone_is_left_alone_and_forgotten(data: Dataset, catalog: Catalog) -> None:
    out = data.root.parent / "out"
    original(data, catalog)
    changed = place(data, catalog, out, "test/a/1.jpg", NAME, content=b"the user's own work")
    (out / "test/a/1.jpg").unlink()
    assert remove_stale(data, catalog, out, {NAME: SHA256, "test/a/1.jpg": SHA256}, set()) == (0, 0)
    assert changed.read_bytes() == b"the user's own work"
    assert records(catalog) == []


@pytest.mark.parametrize("loss", ["gone", "changed", "a link to the copy", "the catalog says it is gone"])
def test_the_last_copy_is_set_aside_under_its_own_name(data: Dataset, catalog: Catalog, loss: str) -> None:
    out = data.root.parent / "out"
    raw = original(data, catalog)
    file = place(data, catalog, out, NAME)
    match loss:
        case "changed":
            raw.write_bytes(b"another picture")
        case "the catalog says it is gone":
            catalog.set_state("raw/a/1.jpg", "missing")
        case _:
            raw.unlink()
    if loss == "a link to the copy":
        raw.symlink_to(file)
    assert remove_stale(data, catalog, out, {NAME: SHA256}, set()) == (0, 1)
    assert not file.exists()
    assert (data.quarantine / "orphaned/raw/a/1.jpg").read_bytes() == DATA
    row = catalog.db.execute(
        "SELECT path, stored, sha256, reason, keeper, distance, state FROM quarantine"
    ).fetchall()  # fmt: skip
    assert row == [("raw/a/1.jpg", "orphaned/raw/a/1.jpg", SHA256, "orphaned", "", -1, "moved")]
    # Now its bytes are in the quarantine, so another copy of it may go.
    again = place(data, catalog, out, NAME)
    assert remove_stale(data, catalog, out, {NAME: SHA256}, set()) == (1, 0)
    assert not again.exists()


@pytest.mark.parametrize(("earlier", "then"), [(["orphaned"], 2), (["orphaned", "orphaned (2)"], 3)])
def test_a_second_one_of_its_name_is_set_aside_beside_it(
    data: Dataset, catalog: Catalog, earlier: list[str], then: int
) -> None:
    out = data.root.parent / "out"
    for reason in earlier:
        write(data.quarantine / reason / "raw/a/1.jpg", b"an earlier one")
    place(data, catalog, out, NAME)
    assert remove_stale(data, catalog, out, {NAME: SHA256}, set()) == (0, 1)
    assert (data.quarantine / f"orphaned ({then})/raw/a/1.jpg").read_bytes() == DATA
    assert (data.quarantine / "orphaned/raw/a/1.jpg").read_bytes() == b"an earlier one"


def test_the_last_copy_of_a_flat_dataset_goes_back_to_its_class_folder(tmp_path: Path) -> None:
    flat = Dataset(tmp_path / "data", "flat", tmp_path / "home")
    flat.root.mkdir()
    flat.home.mkdir()
    with Catalog.open(flat.catalog_path) as catalog:
        place(flat, catalog, tmp_path / "out", "train/a/deep/1.jpg")
        assert remove_stale(flat, catalog, tmp_path / "out", {"train/a/deep/1.jpg": SHA256}, set()) == (0, 1)
    assert (flat.quarantine / "orphaned/a/deep/1.jpg").read_bytes() == DATA


def test_a_hard_link_is_a_copy_and_a_symbolic_link_holds_nothing(data: Dataset, catalog: Catalog) -> None:
    out = data.root.parent / "out"
    raw = original(data, catalog)
    linked = place(data, catalog, out, NAME, "test/a/1.jpg")
    linked.unlink()
    linked.hardlink_to(raw)
    (out / NAME).unlink()
    (out / NAME).symlink_to(raw)
    assert remove_stale(data, catalog, out, {NAME: SHA256, "test/a/1.jpg": SHA256}, set()) == (2, 0)
    assert raw.read_bytes() == DATA
    (out / NAME).parent.mkdir(parents=True)
    (out / NAME).symlink_to(data.root / "nowhere")  # nothing is lost with it
    assert remove_stale(data, catalog, out, {NAME: SHA256}, set()) == (1, 0)
    assert not os.path.lexists(out / NAME)


@pytest.mark.parametrize("there", [True, False])
def test_within_the_dataset_the_last_copy_stays_and_counts_as_a_picture(
    data: Dataset, catalog: Catalog, there: bool
) -> None:
    if there:
        original(data, catalog)
    file = place(data, catalog, data.root, NAME)
    catalog.put([picture(NAME, SHA256, split="train")])
    assert remove_stale(data, catalog, data.root, {NAME: SHA256}, set()) == (int(there), 0)
    assert file.exists() is not there
    assert records(catalog) == []
    states = dict(catalog.db.execute("SELECT path, state FROM pictures").fetchall())
    assert states == ({"raw/a/1.jpg": "present", NAME: "missing"} if there else {NAME: "present"})
