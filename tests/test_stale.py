"""Nothing stale is ever read: size and time do not tell one file from another, and no stage takes them to."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.clean import clean
from curate.compare import compare_datasets
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.scan import scan
from curate.split import split
from curate.splitting.whereabouts import open_split
from tests.pictures import field, field_picture, placed
from tests.training_ground import TINY, grow
from train.evaluate import evaluate
from train.pictures import labelled_pictures
from train.training import TrainOptions, train_head

WHEN = 1_700_000_000_000_000_000


def bmp(path: Path, number: int, colour: tuple[int, int, int] | None = None) -> None:
    """A BMP as an archive gives it: all of one size and one time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = field_picture(field(number), 64)
    if colour:
        picture = Image.blend(picture, Image.new("RGB", picture.size, colour), 0.8)
    picture.save(path)
    os.utime(path, ns=(WHEN, WHEN))


def swap(one: Path, other: Path) -> None:
    """Two folders that change their names, as people do who find them named the wrong way round."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def sha256_in(root: Path) -> dict[str, str]:
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        return {picture.path: picture.sha256 for picture in catalog.pictures()}


def test_renamed_folders_of_equal_files_are_read_again(tmp_path: Path) -> None:
    for number in range(4):
        bmp(tmp_path / "data/rose" / f"{number}.bmp", number)
        bmp(tmp_path / "data/tulip" / f"{number}.bmp", 100 + number)
    before = sha256_in(tmp_path / "data")
    swap(tmp_path / "data/rose", tmp_path / "data/tulip")
    after = sha256_in(tmp_path / "data")
    assert after == {
        path: before[path.replace("rose", "x").replace("tulip", "rose").replace("x", "tulip")] for path in before
    }


@pytest.mark.parametrize("how", ["in its place", "anew"])
def test_another_content_of_equal_size_and_time_is_read(tmp_path: Path, how: str) -> None:
    """`cp -p` writes over a file, `mv` puts another one there."""
    data = tmp_path / "data"
    for number in range(3):
        bmp(data / "rose" / f"{number}.bmp", number)
        bmp(data / "tulip" / f"{number}.bmp", 100 + number)
    before = sha256_in(data)
    bmp(tmp_path / "other.bmp", 500)
    if how == "anew":
        (tmp_path / "other.bmp").replace(data / "rose/1.bmp")
    else:
        shutil.copy2(tmp_path / "other.bmp", data / "rose/1.bmp")
    assert (data / "rose/1.bmp").stat().st_mtime_ns == WHEN
    after = sha256_in(data)
    assert {path for path in before if before[path] != after[path]} == {"rose/1.bmp"}


def test_files_that_were_put_there_anew_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers and times are others, as after a restored backup; the content says that the facts still hold."""
    for number in range(6):
        bmp(tmp_path / "data/raw/rose" / f"{number}.bmp", number)
    before = sha256_in(tmp_path / "data")
    for file in list((tmp_path / "data").rglob("*.bmp")):
        shutil.copy(file, tmp_path / "copy")
        (tmp_path / "copy").replace(file)
    monkeypatch.setattr("curate.scan.inspect_many", lambda files: [pytest.fail(path) for _, path in files])
    assert sha256_in(tmp_path / "data") == before


def test_a_split_does_not_have_its_pictures_read_again(tmp_path: Path) -> None:
    """A hard link more is a change of the file to the disk, and none to us."""
    for number in range(10):
        bmp(tmp_path / "data/raw/rose" / f"{number}.bmp", number)
        bmp(tmp_path / "data/raw/tulip" / f"{number}.bmp", 100 + number)
    for seed in (1, 2):
        split(tmp_path / "data", seed=seed)
        data = open_dataset(tmp_path / "data")
        with Catalog.open(data.catalog_path) as catalog:
            report = scan(data, catalog)
            assert (report.read, report.checked) == (0, 0)


def test_a_catalog_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    for number in range(2):
        bmp(tmp_path / "data/raw/rose" / f"{number}.bmp", number)
    before = sha256_in(tmp_path / "data")
    with Catalog.open(tmp_path / "data/catalog.sqlite") as catalog:
        for column in ("inode", "ctime_ns"):
            catalog.db.execute(f"ALTER TABLE pictures DROP COLUMN {column}")
    Catalog.open_read_only(tmp_path / "data/catalog.sqlite").__exit__(None, None, None)
    assert sha256_in(tmp_path / "data") == before


def test_train_learns_what_lies_in_the_folders(tmp_path: Path) -> None:
    """The case of the complaint: the catalog and the bank know the pictures under the names of before."""
    data = tmp_path / "data"
    for part, numbers in (("train", range(6)), ("valid", range(50, 53))):
        for number in numbers:
            bmp(data / part / "rose" / f"{number}.bmp", number, (200, 30, 60))
            bmp(data / part / "tulip" / f"{number}.bmp", 100 + number, (30, 60, 200))
    clean(data, conflicts="report", only="exact")
    options = TrainOptions(backbone=TINY, weights="none", views=1, device="cpu", models=tmp_path / "models")
    train_head(data, options)
    for part in ("train", "valid"):
        swap(data / part / "rose", data / part / "tulip")
    # No command looks at the folders in between.
    checkpoint = train_head(data, options).checkpoint
    fresh = tmp_path / "fresh"
    for label in ("rose", "tulip"):
        shutil.copytree(data / "valid" / label, fresh / label)
    assert evaluate(checkpoint, fresh, device="cpu").accuracy.top1 == 1


def test_what_the_bank_has_is_taken_from_it_all_the_same(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"train": 3, "valid": 1})
    clean(data, only="exact")
    options = TrainOptions(backbone=TINY, weights="none", views=1, device="cpu", models=tmp_path / "models")
    assert train_head(data, options).computed > 0
    assert train_head(data, options).computed == 0


def test_compare_looks_into_files_that_the_catalog_knows(tmp_path: Path) -> None:
    for number in range(3):
        for name in ("one", "two"):
            bmp(tmp_path / name / "rose" / f"{number}.bmp", number)
            bmp(tmp_path / name / "tulip" / f"{number}.bmp", 100 + number)
    clean(tmp_path / "one", only="exact")
    for number in range(3):
        bmp(tmp_path / "one/rose" / f"{number}.bmp", 700 + number)  # others, of the same size and time
    assert compare_datasets(tmp_path / "one", tmp_path / "two").in_both == 3


def test_a_copy_of_equal_size_and_time_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    """Without a catalog, what lies in the output is told by its content."""
    for number in range(6):
        bmp(tmp_path / "data/rose" / f"{number}.bmp", number)
        bmp(tmp_path / "data/tulip" / f"{number}.bmp", 100 + number)
    out = split(tmp_path / "data", mode="copy").out
    shutil.rmtree(tmp_path / "data.florilegium")
    strange = next(file for file in out.rglob("*.bmp"))
    bmp(strange, 900)
    with pytest.raises(UserError, match="holds files that are not of this dataset"):
        split(tmp_path / "data", mode="copy")


def test_a_split_of_renamed_folders_is_of_the_pictures_that_are_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(6):
        bmp(data / "rose" / f"{number}.bmp", number, (200, 30, 60))
        bmp(data / "tulip" / f"{number}.bmp", 100 + number, (30, 60, 200))
    split(data)
    swap(data / "rose", data / "tulip")
    out = split(data).out
    assert placed(out).keys() == {f"{label}/{number}.bmp" for label in ("rose", "tulip") for number in range(6)}
    for file in out.rglob("*.bmp"):
        assert file.read_bytes() == (data / file.parent.name / file.name).read_bytes()
    for picture in labelled_pictures(open_split(data), "train"):
        red, _, blue = np.asarray(Image.open(picture.path)).reshape(-1, 3).mean(axis=0)
        assert (blue > red) == (picture.label == "rose")
