"""Of two copies the source is told by what was done to the other, and the words say what that was."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from curate.image import decode
from curate.lookalikes.alignment import Turn
from curate.lookalikes.close_look import look_closely
from curate.lookalikes.comparison import compare
from curate.lookalikes.edits import bordered, captioned, cropped, encode, scaled
from curate.lookalikes.full_look import look_fully
from curate.lookalikes.planes import Box
from curate.lookalikes.relation import CopyLooks, Relation, is_independent, relate
from tests.pictures import scene

WHOLE: Box = (0.0, 1.0, 0.0, 1.0)


def photograph(seed: int = 1) -> Image.Image:
    """As a web page has it: a JPEG of quality 75, its grain and its clipped tones in it."""
    return scene(seed, 480, 360)


def related(first: bytes, second: bytes, turn: Turn = None, box: Box = WHOLE) -> Relation:
    one, other = (CopyLooks(look_closely(data), look_fully(data)) for data in (first, second))
    return relate(one, other, turn, compare(one.close, other.close.turned(turn), box))


def decoded(data: bytes) -> Image.Image:
    return decode(data).pixels


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda it: encode(it, quality=25), "saved at quality 25"),
        (lambda it: encode(scaled(it, 0.5, 0.5)), "reduced to 50%"),
        (lambda it: encode(it, "PNG", compress_level=1), "made from it, as PNG"),
        (lambda it: encode(it, "WEBP", 80), "as WEBP"),
        (lambda it: encode(it.convert("L")), "grey"),
        (lambda it: encode(ImageEnhance.Brightness(it).enhance(1.3)), "brighter by 30%"),
        (lambda it: encode(it), "made from it, saved at quality 90"),
        (lambda it: encode(scaled(it, 1.2, 1.0)), "stretched by 20%"),
        (lambda it: encode(scaled(it, 2, 2)), "enlarged to 200%"),
        (lambda it: encode(captioned(it, 0.1, below=False)), "with a bar over it"),
    ],
    ids=["recompressed", "halved", "PNG", "WebP", "grey", "brighter", "saved anew", "stretched", "enlarged", "caption"],
)
def test_the_original_is_the_source(edit: Callable[[Image.Image], bytes], words: str) -> None:
    for seed in (1, 2):
        original = encode(photograph(seed), quality=75)
        copy = edit(decoded(original))
        found = related(copy, original)
        assert found.source == "second"
        assert words in found.first_is
        assert related(original, copy).source == "first"
        assert found.inverse().source == "first"


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Image.Transpose.FLIP_LEFT_RIGHT, "mirrored, made from it"),
        (Image.Transpose.ROTATE_90, "turned, made from it"),
        (Image.Transpose.ROTATE_270, "turned, made from it"),
        (Image.Transpose.TRANSVERSE, "turned and mirrored, made from it"),
    ],
)
def test_a_turned_copy_is_known_by_the_steps_of_the_original(turn: Image.Transpose, words: str) -> None:
    """Its sides are no multiples of 8: the original's blocks lie across those of the copy."""
    original = encode(photograph().crop((0, 0, 477, 355)), quality=75)
    copy = encode(decoded(original).transpose(turn))
    found = related(copy, original, turn)
    assert found.source == "second"
    assert words in found.first_is


def test_the_steps_lie_as_the_file_stores_its_picture() -> None:
    """The original is stored on its side, with an EXIF tag that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = photograph().crop((0, 0, 477, 355)).transpose(Image.Transpose.ROTATE_90)
    original = encode(stored, quality=75, exif=exif)
    assert related(encode(decoded(original)), original).source == "second"


def test_the_whole_beats_its_crop_and_the_plain_picture_the_framed_one() -> None:
    original = encode(photograph(), quality=75)
    crop = related(encode(cropped(photograph(), 0.1)), original, box=(0.1, 0.9, 0.1, 0.9))
    assert (crop.source, crop.first_is.split(",")[0]) == ("second", "cut to 64%")
    share = round(360 * 0.1)
    inner = (share / (480 + 2 * share), 1 - share / (480 + 2 * share), share / (360 + 2 * share))
    framed = related(original, encode(bordered(photograph(), 0.1, "white")), box=(*inner, 1 - inner[2]))
    assert framed.source == "first"
    assert "with a border or bar" in framed.second_is


def test_where_nothing_tells_there_is_no_source() -> None:
    one, two = (encode(photograph(), quality=80, comment=word) for word in (b"one", b"two"))
    assert related(one, two).source == ""


def shot(seed: int, quality: int, scale: float = 1.0) -> bytes:
    """One of several photographs of one scene: the same but for the grain, and perhaps the light."""
    pixels = np.asarray(photograph().resize((240, 180)).resize((480, 360), Image.Resampling.BICUBIC), dtype=float)
    grain = np.random.default_rng(seed).normal(0, 4, pixels.shape)
    return encode(Image.fromarray(np.clip(pixels * scale + grain, 0, 255).astype(np.uint8)), quality=quality)


@pytest.mark.parametrize("quality", [85, 95])
def test_two_photographs_of_one_scene_have_a_grain_each(quality: int) -> None:
    first, second = shot(1, quality), shot(2, quality, 1.03)
    comparison = compare(look_closely(first), look_closely(second), WHOLE)
    assert comparison.is_copy()  # there is no place that differs
    assert is_independent(look_fully(first), look_fully(second), None, comparison)


@pytest.mark.parametrize("again", [25, 60, 95])
def test_a_copy_has_no_grain_of_its_own(again: int) -> None:
    first = shot(1, 92)
    second = encode(ImageOps.mirror(decoded(first)), quality=again)
    turn = Image.Transpose.FLIP_LEFT_RIGHT
    comparison = compare(look_closely(first), look_closely(second).turned(turn), WHOLE)
    assert comparison.is_copy()
    assert not is_independent(look_fully(first), look_fully(second), turn, comparison)
