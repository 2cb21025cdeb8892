"""A split is of the pictures as they were: classes that were renamed or swapped since never train on old labels."""

from pathlib import Path

import pytest

from curate.dataset import open_dataset
from curate.defaults import Mode
from curate.errors import UserError
from curate.export import export
from curate.split import split
from curate.splitting.since_split import SinceSplit, open_current_split, since_split
from tests.pictures import dataset, encoded_field, field, write

AS_IT_WAS = SinceSplit([], 0, 0)


def swapped(folder: Path) -> None:
    (folder / "1").rename(folder / "x")
    (folder / "2").rename(folder / "1")
    (folder / "x").rename(folder / "2")


@pytest.mark.parametrize("mode", ["link", "copy"])
@pytest.mark.parametrize("own", ["", "raw"])
def test_swapped_classes_are_refused_until_they_are_split_again(tmp_path: Path, own: str, mode: Mode) -> None:
    """The files of both have the same names."""
    root = tmp_path / "data"
    dataset(root / own, {"1": 12, "2": 12})
    out = split(root, mode=mode).out
    assert since_split(open_dataset(root)) == AS_IT_WAS
    assert open_current_split(root).root.resolve() == out
    swapped(root / own)
    for place in (root, out):
        with pytest.raises(
            UserError, match=r"24 pictures of .*data are in another class folder .*: run `.* split .*data"
        ):
            open_current_split(place)
    with pytest.raises(UserError, match="has the old labels"):
        export(root, tmp_path / "exported")
    split(root, mode=mode)
    assert since_split(open_dataset(root)) == AS_IT_WAS
    assert open_current_split(root).root.resolve() == out


def test_a_renamed_class_is_refused_by_the_class_that_it_was(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root, {"1": 12, "2": 12})
    split(root)
    (root / "1").rename(root / "zebra")
    with pytest.raises(UserError, match=r"12 pictures .*\(zebra/picture 0.jpg was in 1\)"):
        open_current_split(root)


def test_one_picture_that_was_moved_by_hand_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root, {"1": 12, "2": 12})
    split(root)
    (root / "1" / "picture 3.jpg").rename(root / "2" / "moved.jpg")
    assert since_split(open_dataset(root)) == SinceSplit([("2/moved.jpg", "1")], 0, 0)
    with pytest.raises(UserError, match=r"1 picture of .* is in another class folder"):
        open_current_split(root)


def test_what_is_new_or_gone_is_counted_and_no_reason_to_refuse(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root, {"1": 12, "2": 12})
    split(root)
    write(root / "1" / "new.jpg", encoded_field(field(99)))
    (root / "2" / "picture 0.jpg").unlink()
    assert since_split(open_dataset(root)) == SinceSplit([], 1, 1)
    assert open_current_split(root).root == tmp_path / "data_split"
    split(root)
    assert since_split(open_dataset(root)) == AS_IT_WAS


def test_raw_that_was_removed_after_the_split_is_no_change(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset(root / "raw", {"1": 12, "2": 12})
    split(root)
    for file in (root / "raw").rglob("*.jpg"):
        file.unlink()
    for folder in (root / "raw" / "1", root / "raw" / "2", root / "raw"):
        folder.rmdir()
    assert since_split(open_dataset(root)) == AS_IT_WAS


def test_a_dataset_that_came_split_has_nothing_to_compare_with(tmp_path: Path) -> None:
    dataset(tmp_path / "train", {"1": 4, "2": 4})
    dataset(tmp_path / "valid", {"1": 1, "2": 1})
    assert since_split(open_dataset(tmp_path)) == AS_IT_WAS
    assert open_current_split(tmp_path).root == tmp_path
