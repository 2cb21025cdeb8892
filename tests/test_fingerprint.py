"""The hashes of windows and of the turned picture are the pHash of what they name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curate.lookalikes.fingerprint import (
    FRAMED,
    TURNED,
    VARIANTS,
    fingerprints,
    is_flat,
    mean_colour,
    reduced,
    square,
    unpack_hashes,
    window_of,
    without_border,
)
from curate.phash import phash
from tests.pictures import scene


def bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def prints(picture: Image.Image) -> bytes:
    return fingerprints(reduced(picture.convert("L"))[None], [picture.size], [mean_colour(picture)])[0]


@pytest.mark.parametrize("variant", range(len(FRAMED)), ids=lambda variant: f"{variant} {FRAMED[variant].name}")
def test_a_window_s_hash_is_that_of_the_picture_cut_there(variant: int) -> None:
    distances = []
    for seed in range(12):
        picture = scene(seed, 256, 192)
        left, right, top, bottom = window_of(variant, reduced(picture.convert("L")), *picture.size)
        box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        cut = picture.resize((256, 192), box=box)
        distances.append(bits(phash(cut), int(unpack_hashes([prints(picture)])[0, variant])))
    assert max(distances) <= 6
    assert np.mean(distances) <= 2.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), variant=st.integers(len(FRAMED), len(VARIANTS) - 1))
def test_a_turned_view_s_hash_is_that_of_the_turned_picture(seed: int, variant: int) -> None:
    picture = scene(seed)
    method = VARIANTS[variant].turned
    assert method is not None
    assert bits(phash(picture.transpose(method)), int(unpack_hashes([prints(picture)])[0, variant])) <= 4


def test_the_ways_to_turn_reach_every_symmetry_of_the_square_in_one_direction_or_the_other() -> None:
    corners = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2))

    def result(picture: Image.Image) -> bytes:
        return picture.tobytes()

    reached = {result(corners)} | {
        result(corners.transpose(variant.turned)) for variant in TURNED if variant.turned is not None
    }
    reached.add(result(corners.transpose(Image.Transpose.ROTATE_270)))  # the other picture's quarter turn
    assert len(reached) == 8


def test_views_are_packed_in_order() -> None:
    several = [prints(scene(seed)) for seed in range(3)]
    assert all(len(whole) == 8 * len(VARIANTS) for whole in several)
    assert unpack_hashes(several)[:, 2].tolist() == [int.from_bytes(whole[16:24], "big") for whole in several]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 34)])
def test_a_flat_picture_is_told_by_its_colour(colour: tuple[int, int, int]) -> None:
    found = prints(Image.new("RGB", (100, 70), colour))
    assert is_flat(found)
    assert tuple(found) == colour


def test_a_faint_drawing_on_white_is_not_flat() -> None:
    page = Image.new("RGB", (400, 300), "white")
    page.paste((0, 0, 0), (100, 100, 160, 104))
    assert not is_flat(prints(page))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), share=st.floats(0.03, 0.3), colour=st.sampled_from(["white", "black", "red"]),
    letterbox=st.booleans(),
)  # fmt: skip
def test_borders_of_any_width_are_seen(seed: int, share: float, colour: str, letterbox: bool) -> None:
    picture = scene(seed)
    down = round(picture.height * share)
    across = 0 if letterbox else down
    framed = ImageOps.expand(picture, (across, down, across, down), fill=colour)
    left, right, top, bottom = without_border(reduced(framed.convert("L")))
    assert top == pytest.approx(down / framed.height, abs=1.5 / 64)
    assert 1 - bottom == pytest.approx(down / framed.height, abs=1.5 / 64)
    assert left == pytest.approx(across / framed.width, abs=1.5 / 64)
    assert 1 - right == pytest.approx(across / framed.width, abs=1.5 / 64)


def test_no_border_is_seen_where_there_is_none() -> None:
    assert without_border(reduced(scene(5).convert("L"))) == (0, 1, 0, 1)


@pytest.mark.parametrize(("size", "expected"), [((200, 100), (0.25, 0.75, 0, 1)), ((100, 400), (0, 1, 0.375, 0.625))])
def test_the_square_is_centred(size: tuple[int, int], expected: tuple[float, ...]) -> None:
    assert square(*size) == pytest.approx(expected)
