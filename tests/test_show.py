"""Contact sheets: every class is seen, what is drawn is what was asked for, and no file of the user's is drawn over."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from curate.catalog import Catalog
from curate.clean import clean
from curate.cleaning.plan import read_plan, write_plan
from curate.contact_sheet import Tile, contact_sheet
from curate.dataset import Dataset, open_dataset
from curate.defaults import Mode
from curate.errors import UserError
from curate.image import load_pixels
from curate.quarantine import Decision
from curate.rendering import fitted, font_for, save_drawing, thumbnail, wrapped
from curate.show import SIDE, pictures_to_show, sheet_of_pictures, sheet_of_plan
from curate.split import split
from tests.pictures import draw, plant

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=80)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    plant(tmp_path / "data" / "train", {"rose": 7, "iris": 2, "aster": 4})
    for seed, label in enumerate(("rose", "iris"), start=100):
        (tmp_path / "data" / "valid" / label).mkdir(parents=True)
        (tmp_path / "data" / "valid" / label / "0000.jpg").write_bytes(draw(seed))
    return open_dataset(tmp_path / "data")


def names(dataset: Dataset) -> dict[str, str]:
    return {label: label for label in dataset.labels()}


def holds(sheet: Image.Image, picture: Image.Image, left: int, bottom: int) -> bool:
    """Whether a thumbnail of the picture stands there, pixel by pixel."""
    small = thumbnail(picture, SIDE, SIDE)
    x, y = left + (SIDE - small.width) // 2, bottom - small.height
    return ImageChops.difference(sheet.crop((x, y, x + small.width, y + small.height)), small).getbbox() is None


# -- which pictures


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 13, 100])
def test_classes_take_turns(dataset: Dataset, count: int) -> None:
    drawn = pictures_to_show(dataset, names(dataset), split="train", count=count)
    sizes = {"rose": 7, "iris": 2, "aster": 4}
    assert len(set(drawn)) == len(drawn) == min(count, 13)
    by_class = Counter(picture.label for picture in drawn)
    # A class has one fewer than another only if the turn ended there, or it has no more
    for label, size in sizes.items():
        assert by_class[label] == size or by_class[label] >= max(by_class.values()) - 1


def test_a_seed_draws_the_same_again_and_another_draws_others(dataset: Dataset) -> None:
    drawn = [pictures_to_show(dataset, names(dataset), count=4, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len({tuple(one) for one in drawn}) > 1


def test_of_more_classes_than_places_each_can_be_seen(dataset: Dataset) -> None:
    seen = {pictures_to_show(dataset, names(dataset), count=1, seed=seed)[0].label for seed in range(40)}
    assert seen == {"rose", "iris", "aster"}


def test_split_and_classes_are_kept_to(dataset: Dataset) -> None:
    called = names(dataset) | {"iris": "blue flag"}
    drawn = pictures_to_show(dataset, called, split="valid", classes="Blue Flag,rose", count=50)
    assert sorted(picture.path for picture in drawn) == ["valid/iris/0000.jpg", "valid/rose/0000.jpg"]
    with pytest.raises(UserError, match="no valid pictures of these classes"):
        pictures_to_show(dataset, called, split="valid", classes="aster")
    with pytest.raises(UserError, match="no test pictures"):
        pictures_to_show(dataset, called, split="test")
    with pytest.raises(UserError, match="no class 'irs'"):
        pictures_to_show(dataset, called, classes="irs")


# -- what is drawn


def test_each_picture_stands_in_its_place(dataset: Dataset) -> None:
    drawn = pictures_to_show(dataset, names(dataset), split="train", count=8)
    sheet = sheet_of_pictures(dataset, drawn, names(dataset))
    across, down = sheet.width // 6, sheet.height // 2
    margin = (across - SIDE) // 2
    for place, picture in enumerate(drawn):
        left, top = place % 6 * across + margin, place // 6 * down + margin
        assert holds(sheet, load_pixels(dataset.root / picture.path, at_least=SIDE), left, top + SIDE)


def test_a_broken_picture_is_a_grey_square_and_not_the_end(dataset: Dataset) -> None:
    (broken,) = pictures_to_show(dataset, names(dataset), split="valid", classes="iris")
    (dataset.root / broken.path).write_bytes(draw(5)[:900])
    sheet = sheet_of_pictures(dataset, [broken], names(dataset))
    inside = sheet.crop((20, 20, SIDE - 20, SIDE - 20))
    assert inside.getcolors() == [((SIDE - 40) ** 2, (232, 232, 232))]


def test_a_plan_is_shown_before_it_is_carried_out_and_after(dataset: Dataset, tmp_path: Path) -> None:
    original = dataset.root / "train" / "rose" / "0003.jpg"
    Image.open(original).convert("L").resize((120, 90)).save(dataset.root / "train" / "rose" / "small copy.jpg")
    (dataset.root / "train" / "iris" / "cut.jpg").write_bytes(draw(77)[:1000])
    file = tmp_path / "plan.jsonl"
    clean(dataset.root, dry_run=True, save_plan=file)
    lines = read_plan(file)
    assert {line.decision.path for line in lines} == {"train/rose/small copy.jpg", "train/iris/cut.jpg"}
    before = sheet_of_plan(dataset, lines)
    copy = [line.decision.reason for line in lines].index("duplicate")
    margin = 8
    for place, picture in ((2 * copy, "train/rose/small copy.jpg"), (2 * copy + 1, "train/rose/0003.jpg")):
        left = place * (SIDE + 2 * margin) + margin
        assert holds(before, load_pixels(dataset.root / picture, at_least=SIDE), left, margin + SIDE)
    clean(dataset.root, plan=file)
    assert not (dataset.root / "train" / "rose" / "small copy.jpg").exists()
    assert ImageChops.difference(sheet_of_plan(dataset, lines), before).getbbox() is None


def test_a_plan_without_a_line_shows_nothing(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        write_plan(file, [], catalog)
    with pytest.raises(UserError, match="nothing to show"):
        sheet_of_plan(dataset, read_plan(file))


def test_a_plan_of_what_is_not_there_is_shown_as_far_as_it_can_be(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    gone = Decision("train/rose/gone.jpg", "0" * 64, "duplicate", "", "train/rose/0001.jpg", 3)
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        write_plan(file, [gone], catalog)
    assert sheet_of_plan(dataset, read_plan(file)).width == 2 * (SIDE + 16)


@settings(deadline=None)
@given(WORDS, st.integers(40, 300), st.integers(1, 4))
def test_text_keeps_to_its_place(text: str, width: int, lines: int) -> None:
    font = font_for(text, 13)
    assert font.getlength(fitted(text, font, width)) <= width
    broken = wrapped(text, font, width, lines)
    assert len(broken) <= lines
    assert all(font.getlength(line) <= width for line in broken)
    whole = " ".join(text.split())
    if font.getlength(whole) <= width:
        assert fitted(text, font, width) == whole
        assert broken == ([whole] if whole else [])


def test_words_are_not_lost_between_lines() -> None:
    text = "a re-encoded copy of train/rose/0003.jpg which is larger"
    font = font_for(text, 13)
    assert " ".join(wrapped(text, font, 150, 9)) == text


def test_any_name_can_be_drawn() -> None:
    for name in ("Blüte", "бархатцы", "向日葵", "עירית", "🌻", "\u0301", ""):
        contact_sheet([[Tile(None, name, name)]])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900))
def test_a_thumbnail_keeps_the_aspect(width: int, height: int) -> None:
    small = thumbnail(Image.new("RGB", (width, height)), 100, 80)
    assert small.width <= 100
    assert small.height <= 80
    scale = min(100 / width, 80 / height, 2)
    assert abs(small.width - width * scale) <= 1
    assert abs(small.height - height * scale) <= 1


# -- where it goes


def test_a_drawing_replaces_a_drawing_and_nothing_else(tmp_path: Path) -> None:
    sheet = tmp_path / "sheets" / "sheet.png"
    save_drawing(Image.new("RGB", (30, 30), "red"), sheet)
    save_drawing(Image.new("RGB", (30, 30), "blue"), sheet)
    assert load_pixels(sheet).getpixel((3, 3)) == (0, 0, 255)
    assert [file.name for file in sheet.parent.iterdir()] == ["sheet.png"]
    photograph = tmp_path / "rose.png"
    Image.new("RGB", (30, 30), "green").save(photograph)
    held = photograph.read_bytes()
    for place, why in ((photograph, "not drawn by"), (tmp_path / "rose.jpg", "png"), (tmp_path / "sheets", "png")):
        with pytest.raises(UserError, match=why):
            save_drawing(Image.new("RGB", (30, 30)), place)
    assert photograph.read_bytes() == held


@pytest.mark.parametrize("mode", ["link", "copy", "symlink"])
def test_a_picture_that_was_placed_is_shown_once(tmp_path: Path, mode: Mode) -> None:
    plant(tmp_path / "raw", {"iris": 6, "rose": 6})
    split(tmp_path, mode=mode)
    (tmp_path / "raw" / "iris" / "new.jpg").write_bytes(draw(99))
    data = open_dataset(tmp_path)
    shown = pictures_to_show(data, {"iris": "iris", "rose": "rose"}, count=500)
    assert len(shown) == 13
    assert len({file.path.rpartition("/")[2] + file.label for file in shown}) == 13
    assert [file.path for file in shown if not file.split] == ["raw/iris/new.jpg"]
    assert len(pictures_to_show(data, {"iris": "iris", "rose": "rose"}, split="raw", count=500)) == 13
