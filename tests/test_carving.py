"""What a dataset lacks is carved out of its train: stable, seeded, without a leak, and with nothing of the user's
moved.
"""

from pathlib import Path

import pytest

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.split import split
from curate.splitting.whereabouts import open_split, split_folder
from tests.pictures import contents, dataset, encoded_field, field, field_picture, placed, write

CLASSES = {"1": 20, "2": 20}


def train_and_test(root: Path) -> Path:
    dataset(root / "train", CLASSES)
    dataset(root / "test", {"1": 4, "2": 4}, first=500)
    return root


def test_valid_is_carved_out_of_train_and_test_stays(tmp_path: Path) -> None:
    root = train_and_test(tmp_path / "data")
    before = contents(root)
    report = split(root)
    assert (report.out, report.carved, report.frozen) == (tmp_path / "data_split", ("valid",), ("test",))
    assert {label: tuple(count.values()) for label, count in report.counts.items()} == {
        "1": (18, 2, 4),
        "2": (18, 2, 4),
    }
    assert contents(root) == before
    where = placed(report.out)
    assert len(where) == len(before)
    assert {name for name, to in where.items() if to == "test"} == {
        path.removeprefix("test/") for path in before if path.startswith("test/")
    }
    assert report.proof.near_duplicates == 0


def test_train_alone_gives_all_three(tmp_path: Path) -> None:
    dataset(tmp_path / "data" / "training", CLASSES)
    report = split(tmp_path / "data")
    assert report.carved == ("valid", "test")
    assert {label: tuple(count.values()) for label, count in report.counts.items()} == {
        "1": (16, 2, 2),
        "2": (16, 2, 2),
    }


def test_what_was_carved_does_not_move(tmp_path: Path) -> None:
    """Another order, more pictures, a lost catalog: the carved ones stay; another seed carves others."""
    root = train_and_test(tmp_path / "data")
    first = placed(split(root).out)
    dataset(root / "train", {"1": 10, "2": 10}, first=900)
    second = placed(split(root).out)
    assert {name: second[name] for name in first} == first
    assert "valid" in {second[name] for name in second.keys() - first.keys()}
    (root / "catalog.sqlite").unlink()
    assert placed(split(root).out) == second
    assert placed(split(root, seed=7).out) != second


def test_what_belongs_to_a_frozen_picture_stays_in_train_and_is_told(tmp_path: Path) -> None:
    root = train_and_test(tmp_path / "data")
    write(root / "train/1/copy.jpg", (root / "test/1/picture 500.jpg").read_bytes())
    report = split(root)
    assert not report.held_back
    assert placed(report.out)["1/copy.jpg"] == "train"
    assert report.proof.copies == 1


def test_copies_within_train_are_carved_together(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root / "train", CLASSES)
    for at in range(20):
        picture = field_picture(field(at)).resize((80, 80))
        picture.save(root / "train/1" / f"copy {at}.jpg", quality=92)
    report = split(root)
    where = placed(report.out)
    assert [where[f"1/picture {at}.jpg"] for at in range(20)] == [where[f"1/copy {at}.jpg"] for at in range(20)]
    assert report.proof.near_duplicates == 0


def test_raw_beside_a_test_gets_a_valid_in_its_place(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root / "raw", CLASSES)
    dataset(root / "test", {"1": 4, "2": 4}, first=500)
    report = split(root)
    assert (report.out, report.carved, report.frozen) == (root, (), ("test",))
    assert {label: tuple(count.values()) for label, count in report.counts.items()} == {
        "1": (18, 2, 4),
        "2": (18, 2, 4),
    }


def test_train_and_valid_stay_unless_a_test_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root / "train", CLASSES)
    dataset(root / "val", {"1": 4, "2": 4}, first=500)
    report = split(root)
    assert (report.out, report.carved, report.frozen) == (root, (), ("valid", "test"))
    report = split(root, freeze=["valid"])
    assert (report.out, report.carved) == (tmp_path / "data_split", ("test",))
    assert {label: tuple(count.values()) for label, count in report.counts.items()} == {
        "1": (18, 4, 2),
        "2": (18, 4, 2),
    }
    assert open_split(root).root == report.out


def test_a_share_of_nothing_is_not_carved(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root / "train", CLASSES)
    assert split(root, ratio=(0.9, 0.1, 0)).carved == ("valid",)


def test_an_original_that_is_gone_leaves_its_last_copy_for_its_class(tmp_path: Path) -> None:
    root = train_and_test(tmp_path / "data")
    split(root, mode="copy")
    (root / "train/1/picture 3.jpg").unlink()
    report = split(root, mode="copy")
    assert report.placement is not None
    assert report.placement.set_aside == 1
    assert (root / "quarantine/orphaned/train/1/picture 3.jpg").is_file()


# -- where the split lies


def test_the_newest_split_counts(tmp_path: Path) -> None:
    root = tmp_path / "flat"
    dataset(root, CLASSES)
    assert split_folder(open_dataset(root)) is None
    split(root)
    assert open_split(root).root == tmp_path / "flat_split"
    split(root, out=tmp_path / "elsewhere", seed=3)
    assert open_split(root).root == tmp_path / "elsewhere"
    split(root)
    assert open_split(root).root == tmp_path / "flat_split"


def test_a_stranger_s_folder_is_no_split_of_ours(tmp_path: Path) -> None:
    """A catalog from elsewhere may claim any folder; the folder's own mark has to say so too."""
    for name in ("one", "two"):
        dataset(tmp_path / name, CLASSES, first=100 * len(name))
        split(tmp_path / name)
    claimed = tmp_path / "one_split" / ".florilegium.split"
    claimed.write_bytes((tmp_path / "two_split" / ".florilegium.split").read_bytes())
    assert open_split(tmp_path / "one").root == tmp_path / "one"


def test_an_unfinished_split_elsewhere_is_said(tmp_path: Path) -> None:
    from train.pictures import labelled_pictures

    dataset(tmp_path / "flat", CLASSES)
    split(tmp_path / "flat")
    mark = tmp_path / "flat_split" / ".florilegium.split"
    mark.write_text(mark.read_text().replace("true", "false"))
    with pytest.raises(UserError, match=r"unfinished.*finish it with `.* split .*flat`"):
        labelled_pictures(open_split(tmp_path / "flat"), "train")


def test_a_level_too_many_finds_its_split_again(tmp_path: Path) -> None:
    dataset(tmp_path / "outer" / "inner", CLASSES)
    report = split(tmp_path / "outer")
    assert report.out == tmp_path / "outer" / "inner_split"
    assert open_dataset(tmp_path / "outer").root == tmp_path / "outer" / "inner"
    assert open_split(tmp_path / "outer").root == report.out
    assert encoded_field(field(0)) == (tmp_path / "outer/inner/1/picture 0.jpg").read_bytes()
