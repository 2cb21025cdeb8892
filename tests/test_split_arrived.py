"""A dataset that comes with its split keeps it: what arrived stays where it is, frozen or not."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from curate.split import split
from tests.commanding import command
from tests.pictures import dataset, encoded_field, field, labelled, placed, write

LEAKS = "Leaks across the splits that the dataset arrived with"


def arrived(root: Path) -> dict[str, str]:
    """A dataset that comes with its split, in which the names do not tell where a picture would be drawn to."""
    number = 0
    for to, count in (("train", 12), ("valid", 4), ("test", 4)):
        for label in ("1", "2"):
            for _ in range(count):
                write(root / to / label / f"image_{number:05}.jpg", encoded_field(field(number)))
                number += 1
    return placed(root)


def test_a_split_that_arrived_stays_and_new_pictures_go_to_train(tmp_path: Path) -> None:
    before = arrived(tmp_path)
    dataset(tmp_path / "raw", {"1": 10, "2": 10, "3": 10}, first=300)
    for to in ("train", "valid", "test"):
        name = next(name for name, split_ in before.items() if split_ == to)
        with Image.open(tmp_path / to / name) as image:
            image.resize((80, 80)).save(tmp_path / "raw" / "1" / f"copy of {to}.jpg")
    report = split(tmp_path)
    after = placed(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {to for name, to in after.items() if name not in before} == {"train"}
    assert {held.path for held in report.held_back} == {"raw/1/copy of valid.jpg", "raw/1/copy of test.jpg"}
    assert all("frozen" in held.reason for held in report.held_back)
    assert report.frozen == ("valid", "test")
    assert report.proof.near_duplicates == 0
    assert report.too_small == ["3"]


def test_a_dataset_with_valid_alone_gets_no_test_from_new_pictures(tmp_path: Path) -> None:
    arrived(tmp_path)
    shutil.rmtree(tmp_path / "test")
    dataset(tmp_path / "raw", {"1": 5, "2": 5}, first=300)
    split(tmp_path)
    assert Counter(placed(tmp_path).values()) == {"train": 34, "valid": 8}
    assert not (tmp_path / "test").exists()


def test_thawed_splits_take_new_pictures_under_their_own_folder_names(tmp_path: Path) -> None:
    arrived(tmp_path)
    (tmp_path / "valid").rename(tmp_path / "val")
    dataset(tmp_path / "raw", {"1": 40, "2": 40}, first=300)
    report = split(tmp_path, freeze=())
    assert report.frozen == ()
    assert report.counts["1"] == {"train": 48, "valid": 6, "test": 6}
    assert not (tmp_path / "valid").exists()
    assert len(list((tmp_path / "val").rglob("*.jpg"))) == 12


def test_a_leak_that_arrived_is_counted(tmp_path: Path) -> None:
    before = arrived(tmp_path)
    leaking = next(name for name, to in before.items() if to == "test")
    shutil.copy(tmp_path / "test" / leaking, tmp_path / "train" / "1" / "leak.jpg")
    report = split(tmp_path)
    assert report.proof.near_duplicates == 1
    assert placed(tmp_path) == before | {"1/leak.jpg": "train"}


def test_an_arrived_picture_that_lies_in_raw_as_well_is_left_alone(tmp_path: Path) -> None:
    before = arrived(tmp_path)
    for name, to in before.items():
        write(tmp_path / "raw" / name.replace("image", "original"), (tmp_path / to / name).read_bytes())
    split(tmp_path, seed=9)
    assert placed(tmp_path) == before


@pytest.mark.thorough
def test_leaks_that_arrived_are_said_first_and_clean_mends_them(tmp_path: Path) -> None:
    arrived(tmp_path)
    leaking = next((tmp_path / "test" / "1").iterdir())
    with Image.open(leaking) as image:
        image.save(tmp_path / "train" / "1" / "leak.jpg", quality=60)
    done = command("split", tmp_path)
    assert done.code == 1
    assert done.out.strip().startswith(f"{LEAKS}: 1 pair of copies.")
    *_, last = done.out.strip().splitlines()
    assert last.endswith(f"clean {tmp_path} --dry-run")
    dry = command("split", tmp_path, "--dry-run", "--radius", 6)
    assert (dry.code, f"clean {tmp_path} --radius 6 --dry-run" in dry.out) == (1, True)
    assert command("clean", tmp_path).code == 0
    mended = command("split", tmp_path)
    assert (mended.code, "Leaks" in mended.out) == (0, False)
    assert leaking.exists()


def test_groups_that_arrived_apart_are_leaks_and_lead_to_a_new_draw(tmp_path: Path) -> None:
    for to, count in (("train", 6), ("test", 2)):
        dataset(tmp_path / to, {"1": count, "2": count}, first=100 * count)
    one, other = next((tmp_path / "train" / "1").iterdir()), next((tmp_path / "test" / "1").iterdir())
    table = tmp_path / "patients.csv"
    table.write_text(f"file,patient\ntrain/1/{one.name},anna\ntest/1/{other.name},anna\n")
    done = command("split", tmp_path, "--group-by", table)
    assert done.code == 1
    assert done.out.strip().startswith(f"{LEAKS}: 1 pair of one group.")
    assert str(tmp_path / "raw") in done.out
    *_, last = done.out.strip().splitlines()
    assert f"split {tmp_path}" in last
    assert command("split", tmp_path).code == 0


def test_near_pictures_that_arrived_apart_are_counted_and_no_leak(tmp_path: Path) -> None:
    arrived(tmp_path)
    write(tmp_path / "train" / "1" / "red.jpg", labelled(900, "red"))
    write(tmp_path / "test" / "1" / "blue.jpg", labelled(900, "blue"))
    done = command("split", tmp_path)
    assert (done.code, "near 1," in done.out) == (0, True)
