"""Two pictures are laid on each other to within a pixel, and told apart by their detail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from curate.lookalikes.fingerprint import reduced
from curate.lookalikes.registration import IDENTITY, MIN_DETAIL, Agreement, register
from tests.pictures import scene


def compare(
    first: Image.Image,
    second: Image.Image,
    placement: tuple[float, ...] = IDENTITY,
    part: tuple[float, ...] = IDENTITY,
) -> Agreement:
    a, b = reduced(first.convert("L"))[None], reduced(second.convert("L"))[None]
    return register(a, b, np.array([placement], np.float32), np.array([part], np.float32))


def window(picture: Image.Image, left: float, right: float, top: float, bottom: float) -> Image.Image:
    w, h = picture.size
    return picture.resize((w, h), Image.Resampling.LANCZOS, box=(left * w, top * h, right * w, bottom * h))


edge = st.floats(0, 0.1)
slip = st.floats(-0.012, 0.012)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.tuples(edge, edge, edge, edge), st.tuples(slip, slip, slip, slip))
def test_a_crop_is_found_where_it_was_cut(
    seed: int, cuts: tuple[float, float, float, float], slips: tuple[float, float, float, float]
) -> None:
    picture = scene(seed)
    truth = np.array([cuts[0], 1 - cuts[1], cuts[2], 1 - cuts[3]])
    found = compare(window(picture, *truth), picture, tuple(truth + slips))
    assert found.same[0]
    assert found.placement[0] == pytest.approx(truth, abs=0.8 / 64)  # a guess that lies as near is not moved
    assert found.detail[0] > 0.95


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1001, 2000), st.tuples(edge, edge, edge, edge))
def test_strangers_are_told_apart(seed: int, other: int, cuts: tuple[float, float, float, float]) -> None:
    found = compare(scene(seed), scene(other), (cuts[0], 1 - cuts[1], cuts[2], 1 - cuts[3]))
    assert not found.same[0]
    assert found.detail[0] < MIN_DETAIL - 0.2


def test_strangers_lit_alike_are_told_apart() -> None:
    # The same large light and shade under different detail: one pHash, and a luma that correlates.
    light = scene(1).filter(ImageFilter.GaussianBlur(12))
    one, other = (Image.blend(light, scene(seed), 0.3) for seed in (2, 3))
    found = compare(one, other)
    assert found.whole[0] > 0.8
    assert not found.same[0]


def test_blank_pictures_are_never_the_same_by_their_detail() -> None:
    grey = Image.new("RGB", (128, 128), "grey")
    found = compare(grey, grey)
    assert not found.same[0]
    assert np.isfinite(found.detail[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.6),
        lambda picture: picture.resize((64, 64)),
        lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
        lambda picture: picture.convert("L"),
    ],
    ids=["brighter", "less contrast", "small", "blurred", "grey"],
)
def test_light_and_size_make_no_difference(change: object) -> None:
    assert callable(change)
    for seed in range(5):
        assert compare(change(scene(seed)), scene(seed)).same[0]


def test_what_lies_outside_the_part_is_not_looked_at() -> None:
    picture = scene(7)
    barred = picture.copy()
    ImageDraw.Draw(barred).rectangle((0, 115, 192, 128), fill="white")
    assert compare(picture, barred, part=(0, 1, 0, 0.9)).detail[0] > 0.99
    assert compare(picture, barred).detail[0] < compare(picture, barred, part=(0, 1, 0, 0.9)).detail[0]


def test_a_guess_that_drifts_off_is_no_match() -> None:
    # The two share a picture, but a third of the frame away from where they were said to.
    picture = scene(8, 384, 256)
    found = compare(window(picture, 0, 0.66, 0, 1), window(picture, 0.34, 1, 0, 1))
    assert not found.same[0]


def test_batches_do_not_mix_pairs() -> None:
    lumas = np.stack([reduced(scene(seed).convert("L")) for seed in range(150)])
    frame = np.tile(np.array(IDENTITY, np.float32), (150, 1))
    shifted = np.roll(lumas, 1, axis=0)
    assert register(lumas, lumas, frame, frame).same.all()
    assert not register(lumas, shifted, frame, frame).same.any()


def test_no_pairs_give_no_verdicts() -> None:
    nothing = np.empty((0, 64, 64), np.uint8)
    frame = np.empty((0, 4), np.float32)
    assert register(nothing, nothing, frame, frame).same.shape == (0,)
