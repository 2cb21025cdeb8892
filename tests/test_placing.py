"""The files of a split, placed from rows and bytes written down here: nothing is decoded."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from curate.catalog import Catalog, Picture
from curate.dataset import Dataset
from curate.defaults import Mode
from curate.errors import UserError
from curate.splitting.materialize import Placement, adopt, check_output, materialize
from curate.splitting.picture_table import NOWHERE, PictureTable, read_picture_table
from curate.splitting.unfinished import begin
from tests.pictures import write
from tests.test_conflicts import picture

TRAIN, VALID, TEST = range(3)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    (tmp_path / "data/raw/a").mkdir(parents=True)
    return Dataset(tmp_path / "data", "raw", tmp_path / "data")


@pytest.fixture
def catalog(data: Dataset) -> Iterator[Catalog]:
    with Catalog.open(data.catalog_path) as catalog:
        yield catalog


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def add(data: Dataset, catalog: Catalog, path: str, content: bytes, split: str = "") -> Path:
    """A file and its row, as a scan would enter it."""
    file = data.root / path
    write(file, content)
    row = picture(path, digest(content), split=split)
    status = file.stat()
    facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    catalog.put([Picture(**{name: getattr(row, name) for name in row.__slots__} | facts)])
    return file


def place(
    data: Dataset, catalog: Catalog, out: Path, splits: list[int], mode: Mode = "copy"
) -> tuple[Placement, PictureTable]:
    """Place the pictures of the dataset, in order of path, into these splits."""
    table = read_picture_table(data, catalog)
    if out != data.root:
        begin(out, catalog.identity(), "florilegium split")
    placement, there = materialize(data, catalog, out, table, np.array(splits, np.int8), mode)
    assert sorted(zip(there.at.tolist(), there.split.tolist(), strict=True)) == [
        (at, to) for at, to in enumerate(splits) if to != NOWHERE
    ]
    return placement, table


def files(out: Path) -> dict[str, bytes]:
    return {
        file.relative_to(out).as_posix(): file.read_bytes()
        for to in ("train", "valid", "test")
        for file in (out / to).rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("mode", ["link", "copy", "symlink"])
def test_pictures_are_placed_as_asked_once_and_counted(data: Dataset, catalog: Catalog, out: Path, mode: Mode) -> None:
    for name in ("1", "2", "deep/3"):
        add(data, catalog, f"raw/a/{name}.jpg", name.encode())
    placement, _ = place(data, catalog, out, [TRAIN, NOWHERE, TEST], mode)
    assert files(out) == {"train/a/1.jpg": b"1", "test/a/deep/3.jpg": b"deep/3"}
    made = {"link": placement.linked, "copy": placement.copied, "symlink": placement.symlinked}
    assert made == {"link": 0, "copy": 0, "symlink": 0, mode: 2}
    assert (placement.kept, placement.removed, placement.set_aside) == (0, 0, 0)
    assert len({placement, replace(placement)}) == 1  # a fact, which nobody changes
    first = out / "train/a/1.jpg"
    assert first.is_symlink() is (mode == "symlink")
    assert first.samefile(data.root / "raw/a/1.jpg") is (mode != "copy")
    inode = first.lstat().st_ino
    assert place(data, catalog, out, [TRAIN, NOWHERE, TEST], mode)[0] == Placement(0, 0, 0, 2, 0, 0)
    assert first.lstat().st_ino == inode


@pytest.mark.parametrize("first", ["link", "copy", "symlink"])
@pytest.mark.parametrize("then", ["link", "copy", "symlink"])
def test_another_mode_is_made_anew(data: Dataset, catalog: Catalog, out: Path, first: Mode, then: Mode) -> None:
    raw = add(data, catalog, "raw/a/1.jpg", b"first")
    place(data, catalog, out, [TRAIN], first)
    placement, _ = place(data, catalog, out, [TRAIN], then)
    assert placement.kept == (first == then)
    file = out / "train/a/1.jpg"
    assert (file.is_symlink(), file.samefile(raw)) == (then == "symlink", then != "copy")
    assert file.read_bytes() == b"first"


def test_each_picture_is_a_step_of_progress(data: Dataset, catalog: Catalog, out: Path) -> None:
    steps: list[tuple[str, int]] = []

    @contextmanager
    def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
        steps.append((description, total))
        yield lambda count: steps.append(("step", count))

    for name in ("1", "2", "3"):
        add(data, catalog, f"raw/a/{name}.jpg", name.encode())
    table = read_picture_table(data, catalog)
    begin(out, catalog.identity(), "florilegium split")
    materialize(data, catalog, out, table, np.array([TRAIN, NOWHERE, TEST], np.int8), "copy", progress)
    assert steps == [("Placing pictures", 2), ("step", 1), ("step", 1)]


def test_a_picture_that_is_a_link_into_the_output_is_refused(data: Dataset, catalog: Catalog, out: Path) -> None:
    """Its bytes lie only where it would be placed anew."""
    write(out / "train/a/0.jpg", b"first")
    add(data, catalog, "raw/a/1.jpg", b"first")
    (data.root / "raw/a/1.jpg").unlink()
    (data.root / "raw/a/1.jpg").symlink_to(out / "train/a/0.jpg")
    with pytest.raises(UserError, match="is a link into the output"):
        place(data, catalog, out, [TRAIN])
    assert files(out) == {"train/a/0.jpg": b"first"}


def test_what_is_no_longer_wanted_goes_and_what_moved_lies_in_one_place(
    data: Dataset, catalog: Catalog, out: Path
) -> None:
    for name in ("1", "2"):
        add(data, catalog, f"raw/a/{name}.jpg", name.encode())
    place(data, catalog, out, [TRAIN, TRAIN])
    placement, _ = place(data, catalog, out, [TEST, NOWHERE])
    assert files(out) == {"test/a/1.jpg": b"1"}
    assert placement == Placement(0, 1, 0, 0, 2, 0)


def test_another_picture_takes_the_place_of_one_that_left(data: Dataset, catalog: Catalog, out: Path) -> None:
    add(data, catalog, "raw/a/1.jpg", b"first")
    place(data, catalog, out, [TRAIN])
    add(data, catalog, "raw/a/1.jpg", b"second")
    add(data, catalog, "raw/a/2.jpg", b"first")  # the same bytes under another name: nothing is lost
    placement, _ = place(data, catalog, out, [TRAIN, TRAIN])
    assert files(out) == {"train/a/1.jpg": b"second", "train/a/2.jpg": b"first"}
    assert (placement.copied, placement.removed, placement.set_aside) == (2, 1, 0)


def test_within_the_dataset_what_arrived_stays_and_what_is_placed_is_entered(data: Dataset, catalog: Catalog) -> None:
    """Under the folder name that the dataset itself has for the split, and beside a picture of the same name."""
    arrived = add(data, catalog, "val/a/1.jpg", b"arrived", split="valid")
    add(data, catalog, "raw/a/1.jpg", b"new")
    add(data, catalog, "raw/a/2.jpg", b"another")
    place(data, catalog, data.root, [VALID, TRAIN, VALID])
    marked = f"val/a/1~{digest(b'new')[:8]}.jpg"
    assert arrived.read_bytes() == b"arrived"
    assert (data.root / marked).read_bytes() == b"new"
    assert not (data.root / "valid").exists()
    rows = {row.path: (row.folder, row.label, row.split, row.sha256) for row in catalog.pictures()}
    assert rows[marked] == ("val/a", "a", "valid", digest(b"new"))
    assert rows["train/a/2.jpg"] == ("train/a", "a", "train", digest(b"another"))
    assert len(rows) == 5
    # They are the same pictures once more.
    assert read_picture_table(data, catalog).paths == ["raw/a/1.jpg", "raw/a/2.jpg", "val/a/1.jpg"]


def test_two_pictures_of_one_name_both_get_a_place(data: Dataset, catalog: Catalog, out: Path) -> None:
    """The one that arrived keeps its name; the other bears a mark of its content."""
    add(data, catalog, "raw/a/1.jpg", b"new")
    add(data, catalog, "train/a/1.jpg", b"arrived", split="train")
    for _ in range(2):
        place(data, catalog, out, [TRAIN, TRAIN])
        assert files(out) == {"train/a/1.jpg": b"arrived", f"train/a/1~{digest(b'new')[:8]}.jpg": b"new"}


def test_a_changed_original_is_not_placed(data: Dataset, catalog: Catalog, out: Path) -> None:
    file = add(data, catalog, "raw/a/1.jpg", b"first")
    file.write_bytes(b"other")
    os.utime(file, ns=(0, 5_000_000_000))
    with pytest.raises(UserError, match=r"1\.jpg has changed since it was read"):
        place(data, catalog, out, [TRAIN])
    assert files(out) == {}


def test_an_edited_file_in_its_place_is_not_overwritten(data: Dataset, catalog: Catalog, out: Path) -> None:
    add(data, catalog, "raw/a/1.jpg", b"first")
    place(data, catalog, out, [TRAIN])
    for edited in (b"mine!", b"longer than it was"):
        (out / "train/a/1.jpg").write_bytes(edited)
        with pytest.raises(UserError, match="has changed since it was placed"):
            place(data, catalog, out, [TRAIN])
        assert files(out) == {"train/a/1.jpg": edited}
    # The right bytes at another time are the picture that belongs there.
    (out / "train/a/1.jpg").write_bytes(b"first")
    assert place(data, catalog, out, [TRAIN])[0] == Placement(0, 0, 0, 1, 0, 0)


def test_a_link_that_leads_elsewhere_is_made_anew(data: Dataset, catalog: Catalog, out: Path) -> None:
    add(data, catalog, "raw/a/1.jpg", b"first")
    other = add(data, catalog, "raw/a/2.jpg", b"second")
    place(data, catalog, out, [TRAIN, NOWHERE], "symlink")
    link = out / "train/a/1.jpg"
    link.unlink()
    link.symlink_to(other)
    assert place(data, catalog, out, [TRAIN, NOWHERE], "symlink")[0].symlinked == 1
    assert link.read_bytes() == b"first"
    assert str(link.readlink()) == "../../../data/raw/a/1.jpg"  # so that both may be moved together


@pytest.mark.parametrize("name", ["train/a/strange.jpg", "test/b/1.jpg"])
def test_what_appears_meanwhile_is_named(data: Dataset, catalog: Catalog, out: Path, name: str) -> None:
    add(data, catalog, "raw/a/1.jpg", b"first")
    write(out / name, b"by somebody else")
    write(out / "train/a/.hidden", b"passed over")
    with pytest.raises(UserError, match=f"{name} has appeared while the split was made"):
        place(data, catalog, out, [TRAIN])


def test_what_lies_in_an_output_without_a_record_is_taken_over_if_it_is_ours(
    data: Dataset, catalog: Catalog, out: Path
) -> None:
    """The split furthest out counts, and a name with the mark of its content too."""
    for name in ("1", "2", "3"):
        add(data, catalog, f"raw/a/{name}.jpg", name.encode())
    marked = f"a/3~{digest(b'3')[:8]}.jpg"
    for path, content in (("test/a/1.jpg", b"1"), ("train/a/1.jpg", b"1"), (f"valid/{marked}", b"3")):
        write(out / path, content)
    table = read_picture_table(data, catalog)
    adopted = adopt(data, catalog, out.resolve(), table)
    assert adopted.splits.tolist() == [TEST, NOWHERE, VALID]
    assert adopted.files == {
        "test/a/1.jpg": digest(b"1"), "train/a/1.jpg": digest(b"1"), f"valid/{marked}": digest(b"3"),
    }  # fmt: skip
    assert table.split.tolist() == [NOWHERE] * 3
    write(out / "train/a/2.jpg", b"not the second")
    with pytest.raises(UserError, match=r"not of this dataset, such as train/a/2\.jpg"):
        adopt(data, catalog, out.resolve(), table)


def test_what_is_on_record_is_not_taken_over_and_a_strangers_record_counts_for_nothing(
    data: Dataset, catalog: Catalog, out: Path
) -> None:
    add(data, catalog, "raw/a/1.jpg", b"first")
    _, table = place(data, catalog, out, [TEST])
    assert adopt(data, catalog, out.resolve(), table).files == {}
    begin(out, "another catalog", "florilegium split")  # by its own mark the folder is another's
    adopted = adopt(data, catalog, out.resolve(), table)
    assert (adopted.files, adopted.splits.tolist()) == ({"test/a/1.jpg": digest(b"first")}, [TEST])


@pytest.mark.parametrize("path", ["../data/raw/a/1.jpg", "raw/a/1.jpg", "/etc/passwd", "train/../../x", "train/1.jpg"])
def test_a_record_that_leads_elsewhere_is_not_used(data: Dataset, catalog: Catalog, out: Path, path: str) -> None:
    file = add(data, catalog, "raw/a/1.jpg", b"first")
    with catalog.transaction() as db:
        db.execute("INSERT INTO placements VALUES ('../out', ?, ?)", (path, digest(b"first")))
    with pytest.raises(UserError, match="it is not used"):
        place(data, catalog, out, [TRAIN])
    assert file.read_bytes() == b"first"


def test_an_output_lies_beside_the_dataset_or_is_it(data: Dataset, tmp_path: Path) -> None:
    assert check_output(data, data.root) == data.root.resolve()
    assert check_output(data, tmp_path / "out") == (tmp_path / "out").resolve()
    assert check_output(data, tmp_path) == tmp_path.resolve()  # its splits would lie beside the dataset
    for inside in (data.root / "raw", data.root / "new/deep"):
        with pytest.raises(UserError, match="overlap: give --out another folder"):
            check_output(data, inside)
    flat = Dataset(tmp_path / "x/train/roses", "flat", tmp_path / "x/home")
    for around in (flat.root, flat.home, flat.home / "in", tmp_path / "x"):
        with pytest.raises(UserError, match="overlap"):
            check_output(flat, around)
    assert check_output(flat, tmp_path / "x/out") == (tmp_path / "x/out").resolve()
    write(tmp_path / "file", b"")
    with pytest.raises(UserError, match="is a file: give --out a folder"):
        check_output(data, tmp_path / "file")
