"""Calibration counts what it says it counts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.errors import UserError
from curate.lookalikes.edits import EDITS, Edit, encode
from curate.radius_calibration import EditRecall, calibrate_radius, recommended
from tests.pictures import scene


def garden(root: Path, n: int) -> Path:
    for at in range(n):
        path = root / "pictures" / "ab"[at % 2] / f"{at}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(scene(at, 360, 240)))
    return root / "pictures"


@pytest.mark.thorough
def test_every_edit_is_made_of_every_picture_and_counted(tmp_path: Path) -> None:
    report = calibrate_radius(garden(tmp_path, 12), originals=6)
    assert report.originals == 6
    assert [edit.edit for edit in report.edits] == [edit.name for edit in EDITS]
    assert all(edit.copies == 6 and edit.wrong == 0 for edit in report.edits)
    assert all(list(edit.within) == sorted(edit.within) for edit in report.edits)
    assert all(edit.found == 6 for edit in report.edits if edit.kind == "plain")
    assert report.pairs == 12 * 11 // 2
    assert report.merged == (0,) * 13
    assert report.twins == ()


def test_what_cannot_be_found_is_not_counted_as_found(tmp_path: Path) -> None:
    other = Edit("another picture", "plain", lambda picture: encode(scene(int(np.asarray(picture)[0, 0, 0]) + 5000)))
    report = calibrate_radius(garden(tmp_path, 6), edits=[other])
    assert report.edits[0].found == 0
    assert report.edits[0].wrong == 0
    assert report.radius == 12


def test_a_copy_of_the_wrong_picture_is_counted_as_wrong(tmp_path: Path) -> None:
    fixed = Edit("always the first", "plain", lambda _: encode(scene(0, 360, 240), quality=70))
    report = calibrate_radius(garden(tmp_path, 6), edits=[fixed])
    assert report.edits[0].found == 1
    assert report.edits[0].wrong == 5


def test_copies_among_the_user_s_own_pictures_are_named(tmp_path: Path) -> None:
    root = garden(tmp_path, 6)
    (root / "a" / "copy.png").write_bytes(encode(Image.open(root / "b" / "1.jpg"), "PNG"))
    report = calibrate_radius(root, originals=1, edits=EDITS[:1])
    assert [set(twin) for twin in report.twins] == [{"a/copy.png", "b/1.jpg"}]
    assert report.near[4] == report.merged[4] == 1
    assert report.per_million(report.near[4]) == pytest.approx(1e6 / 21)


@pytest.mark.thorough
def test_the_same_seed_measures_the_same(tmp_path: Path) -> None:
    root = garden(tmp_path, 8)
    assert calibrate_radius(root, originals=3, seed=4) == calibrate_radius(root, originals=3, seed=4)


def measured(*within: int, kind: str = "plain") -> EditRecall:
    return EditRecall("an edit", kind, 100, tuple(within), 0, 1.0, 0)


def test_the_radius_is_the_smallest_that_finds_every_plain_edit() -> None:
    quick = measured(90, 95, *[100] * 11)
    slow = measured(0, 0, 0, 0, 50, 98, 99, *[100] * 6)
    hopeless = measured(*[0] * 13, kind="framed")
    assert recommended([quick]) == 2
    assert recommended([quick, slow, hopeless]) == 6
    assert recommended([measured(*[0] * 13)]) == 12


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than two"):
        calibrate_radius(garden(tmp_path, 1))
