"""At reduced scale a JPEG is the same picture: its sides, the box it covers, and its luma."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from curate.image import decode
from tests.encoded import ADOBE_RGB, SAMPLES, STORED, encode, exif, photograph


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        pytest.param((800, 640), 80, (100, 80), id="an eighth"),
        pytest.param((800, 640), 81, (200, 160), id="a quarter, as an eighth is too small"),
        pytest.param((800, 640), 641, (800, 640), id="never enlarged"),
        pytest.param((803, 641), 80, (101, 81), id="sides round up"),
        pytest.param((100, 3000), 50, (50, 1500), id="the short side counts"),
    ],
)
def test_a_jpeg_is_reduced_while_its_short_side_suffices(
    size: tuple[int, int], at_least: int, expected: tuple[int, int]
) -> None:
    decoded = decode(encode(photograph(*size), "JPEG"), at_least=at_least)
    assert decoded.pixels.size == expected
    assert (decoded.width, decoded.height) == size


def test_other_formats_are_not_reduced() -> None:
    assert decode(encode(photograph(400, 320), "PNG"), at_least=16).pixels.size == (400, 320)


# -- luma


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        pytest.param(encode(photograph(400, 320), "JPEG", quality=95), 2, id="JPEG, of its own luma"),
        pytest.param(encode(photograph(400, 320).convert("L"), "JPEG"), 0, id="grey JPEG"),
        pytest.param(encode(photograph(400, 320).convert("CMYK"), "JPEG"), 0, id="CMYK JPEG"),
        pytest.param(encode(photograph(400, 320), "JPEG", icc_profile=ADOBE_RGB), 0, id="JPEG with a profile"),
        pytest.param(encode(photograph(400, 320), "JPEG", exif=exif(6)), 2, id="JPEG stored turned"),
        pytest.param(encode(photograph(400, 320), "PNG"), 0, id="PNG"),
        pytest.param(encode(photograph(400, 320).convert("RGBA"), "PNG"), 0, id="PNG with alpha"),
    ],
)
def test_luma_alone_is_the_luma_of_the_colours(data: bytes, tolerance: int) -> None:
    for at_least in (None, 64):
        whole, alone = decode(data, at_least=at_least), decode(data, at_least=at_least, luma=True)
        assert alone.pixels.mode == "L"
        assert (alone.width, alone.height, alone.box) == (whole.width, whole.height, whole.box)
        difference = np.abs(np.asarray(alone.pixels).astype(int) - np.asarray(whole.pixels.convert("L")))
        assert difference.max() <= tolerance


# -- what of reduced pixels is the picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_is_where_the_picture_is(orientation: int) -> None:
    """417 × 250 pixels at an eighth are 52.125 × 31.25: the rest of the last column and row is padding."""
    picture = photograph(417, 250).filter(ImageFilter.GaussianBlur(6))
    stored = STORED[orientation](picture)
    turned = stored.size != (417, 250)
    decoded = decode(encode(stored, "JPEG", exif=exif(orientation)), at_least=20)
    assert decoded.pixels.size == (53, 32)
    left, upper, right, lower = decoded.box
    assert (right - left, lower - upper) == (52.125, 31.25)
    at_left = orientation in {2, 3, 7, 6} if turned else orientation in {2, 3}
    at_top = orientation in {3, 4, 7, 8} if turned else orientation in {3, 4}
    assert (left, upper) == (0.875 if at_left else 0, 0.75 if at_top else 0)
    # And the pixels in it are those of the picture.
    small = decoded.pixels.resize((52, 31), Image.Resampling.BICUBIC, box=decoded.box)
    truth = picture.resize((52, 31), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(truth)).mean() < 1.5


def test_the_box_is_everything_where_nothing_is_reduced() -> None:
    for name in ("JPEG", "PNG", "TIFF"):
        assert decode(SAMPLES[name]).box == (0, 0, 90, 72)
    assert decode(encode(photograph(800, 640), "JPEG"), at_least=80).box == (0, 0, 100, 80)
