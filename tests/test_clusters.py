"""Of the copies of one photograph the source stays, alone, and each that leaves was verified against it."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from curate.clean import clean
from curate.image import decode
from curate.lookalikes.crowds import crowds_of, most_alike
from curate.lookalikes.edits import bordered, captioned, cropped, encode, scaled
from curate.phash import pairs_within
from tests.pictures import scene, write

MAKERS = {
    "recompressed": lambda it: encode(it, quality=25),
    "halved": lambda it: encode(scaled(it, 0.5, 0.5)),
    "png": lambda it: encode(it, "PNG"),
    "grey": lambda it: encode(it.convert("L")),
    "brighter": lambda it: encode(ImageEnhance.Brightness(it).enhance(1.3)),
    "anew": lambda it: encode(it),
    "crop": lambda it: encode(cropped(it, 0.08)),
    "border": lambda it: encode(bordered(it, 0.04, "white")),
    "caption": lambda it: encode(captioned(it, 0.08, below=True)),
    "mirrored": lambda it: encode(ImageOps.mirror(it)),
    "stretched": lambda it: encode(scaled(it, 1.2, 1.0)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
def test_the_source_stays_alone_whatever_was_made_of_it(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    original = encode(scene(seed, 480, 360), quality=75)
    names = draw.sample(sorted(MAKERS), 5)
    folder = tmp_path / "data" / "rose"
    write(folder / "m.jpg", original)
    for at, name in enumerate(names):
        data = MAKERS[name](decode(original).pixels)
        write(folder / f"{draw.choice('az')}{at} {name}.{'png' if name == 'png' else 'jpg'}", data)
    write(folder / "stranger.jpg", encode(scene(seed + 100, 480, 360)))
    decisions = clean(tmp_path / "data", dry_run=True, geometry=True).plan.decisions
    assert sorted(Path(it.path).stem.split(" ")[-1] for it in decisions) == sorted(names)
    assert {it.keeper for it in decisions} == {"rose/m.jpg"}


def test_copies_that_meet_through_the_original_leave_with_it(tmp_path: Path) -> None:
    """A mirrored picture and a crop are no copies of each other to any hash: both are held against the source."""
    whole = encode(scene(7, 480, 360), quality=75)
    picture = decode(whole).pixels
    folder = tmp_path / "data" / "rose"
    write(folder / "whole.jpg", whole)
    write(folder / "mirrored.jpg", encode(ImageOps.mirror(picture)))
    write(folder / "crop.jpg", encode(cropped(picture, 0.08)))
    decisions = clean(tmp_path / "data", dry_run=True, geometry=True).plan.decisions
    assert {it.path: it.keeper for it in decisions} == {
        "rose/crop.jpg": "rose/whole.jpg", "rose/mirrored.jpg": "rose/whole.jpg",
    }  # fmt: skip
    assert any("mirrored" in it.detail for it in decisions)


def test_appended_bytes_and_other_frames_make_no_picture_better(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "rose"
    write(folder / "good.jpg", encode(scene(3, 480, 360), quality=90))
    write(folder / "motion.jpg", encode(scene(3, 480, 360), quality=20) + b"\0\0\0\x18ftypmp42" + bytes(500_000))
    (decision,) = clean(tmp_path / "data", dry_run=True).plan.decisions
    assert (decision.path, decision.keeper) == ("rose/motion.jpg", "rose/good.jpg")


@pytest.mark.thorough
def test_a_fixed_cameras_pictures_are_near_and_all_stay(tmp_path: Path) -> None:
    pixels = np.asarray(scene(5, 240, 180).resize((480, 360), Image.Resampling.BICUBIC), dtype=float)
    for at in range(12):
        grain = np.random.default_rng(at).normal(0, 4, pixels.shape)
        shot = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        write(tmp_path / "data" / "camera" / f"{at:02}.jpg", encode(shot))
    assert clean(tmp_path / "data", dry_run=True).plan.decisions == []


def test_of_a_crowd_each_is_held_against_few() -> None:
    hashes = np.zeros(200, np.uint64)
    lumas = [np.asarray(scene(at // 2, 64, 64).convert("L")) for at in range(200)]  # a hundred pairs of twins
    crowd = crowds_of(pairs_within(hashes, 8))
    assert set(crowd.tolist()) == {0}
    first, second = most_alike(np.arange(200), hashes, 8, np.zeros(200, np.bool_), lumas.__getitem__)
    assert len(first) < 10 * 200
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs >= {(2 * at, 2 * at + 1) for at in range(100)}
    assert all(a < b for a, b in pairs)


def test_few_pictures_or_few_pairs_are_no_crowd() -> None:
    assert set(crowds_of(pairs_within(np.zeros(20, np.uint64), 8)).tolist()) == {-1}
    spread = np.random.default_rng(0).integers(0, 1 << 63, 500).astype(np.uint64)
    assert set(crowds_of(pairs_within(spread, 8)).tolist()) == {-1}
