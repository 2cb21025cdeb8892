"""Every colour space, profile, depth and transparency becomes 8-bit sRGB over white."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from curate.image import FORMATS, decode
from tests.encoded import (
    ADOBE_RGB,
    BLUE,
    DISPLAY_P3,
    GREEN,
    RED,
    WHITE,
    encode,
    first_pixel,
    gamma,
    icc,
    palette_with_alpha,
    photograph,
    pixels,
)

GREY_LINEAR = icc(b"GRAY", {b"kTRC": gamma(1.0)})


def cmyk_profile() -> bytes:
    """A press whose four inks each take all of the light: L* is 0 wherever there is ink, and 100 on bare paper."""
    cells = b"".join(bytes([255 if ink == 0 else 0, 128, 128]) for ink in range(16))
    identity = b"".join(struct.pack(">i", 65536 * (row == column)) for row in range(3) for column in range(3))
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + cells + ramp * 3
    return icc(b"CMYK", {b"A2B0": table}, connection=b"Lab ", kind=b"prtr")


@pytest.mark.parametrize(
    ("profile", "stored", "expected"),
    [
        pytest.param(DISPLAY_P3, (128, 128, 128), (128, 128, 128), id="P3: grey stays grey"),
        pytest.param(DISPLAY_P3, (200, 100, 100), (216, 93, 97), id="P3: red is redder"),
        pytest.param(ADOBE_RGB, (128, 128, 128), (128, 128, 128), id="Adobe: grey stays grey"),
        pytest.param(ADOBE_RGB, (100, 200, 100), (0, 202, 92), id="Adobe: green is greener"),
        pytest.param(ADOBE_RGB, WHITE, WHITE, id="Adobe: white"),
    ],
)
def test_colours_are_converted_to_srgb(profile: bytes, stored: tuple[int, int, int], expected: tuple[int, ...]) -> None:
    for file_format in ("PNG", "TIFF"):
        found = first_pixel(encode(Image.new("RGB", (8, 8), stored), file_format, icc_profile=profile))
        assert np.abs(np.subtract(found, expected)).max() <= 3, (file_format, found)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG"])
def test_a_profile_for_grey_is_applied_to_grey(file_format: str) -> None:
    data = encode(Image.new("L", (8, 8), 64), file_format, icc_profile=GREY_LINEAR)
    # Linear 64/255 is 0.251 of the light, which sRGB encodes as 137.
    assert np.abs(np.subtract(first_pixel(data), 137)).max() <= 2


def test_a_profile_for_grey_is_applied_to_grey_with_alpha() -> None:
    data = encode(Image.new("LA", (8, 8), (64, 255)), "PNG", icc_profile=GREY_LINEAR)
    assert np.abs(np.subtract(first_pixel(data), 137)).max() <= 2


def test_a_profile_for_inks_is_applied_to_inks() -> None:
    paper = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "TIFF", icc_profile=cmyk_profile())
    cyan = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF", icc_profile=cmyk_profile())
    assert min(first_pixel(paper)) >= 250
    assert max(first_pixel(cyan)) <= 5  # on this press; without the profile it is (0, 255, 255)


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"not a profile", id="noise"),
        pytest.param(DISPLAY_P3[:200], id="cut off"),
        pytest.param(DISPLAY_P3[:128] + b"\xff\xff\xff\xff", id="absurd number of tags"),
        pytest.param(GREY_LINEAR, id="of another colour space"),
        pytest.param(cmyk_profile(), id="for inks"),
        pytest.param(bytes(128), id="zeros"),
        pytest.param(DISPLAY_P3.replace(b"XYZ ", b"ZYX "), id="unknown tag types"),
    ],
)
def test_a_profile_that_does_not_fit_is_passed_over(profile: bytes) -> None:
    stored = Image.new("RGB", (8, 8), (200, 100, 50))
    assert first_pixel(encode(stored, "PNG", icc_profile=profile)) == (200, 100, 50)


def test_srgb_pictures_are_not_touched_by_their_own_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photograph()
    assert np.array_equal(pixels(decode(encode(image, "PNG", icc_profile=profile))), np.asarray(image))


# -- transparency


def test_hidden_colours_under_alpha_do_not_matter() -> None:
    """Two files that look alike but differ under their transparent parts are one picture."""
    alpha = np.zeros((32, 32), np.uint8)
    alpha[8:24, 8:24] = 255
    seen = np.zeros((32, 32, 3), np.uint8)
    results = []
    for seed in (1, 2):
        hidden = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        hidden[8:24, 8:24] = seen[8:24, 8:24]
        data = encode(Image.fromarray(np.dstack([hidden, alpha]), "RGBA"), "PNG")
        results.append(pixels(decode(data)))
    assert np.array_equal(results[0], results[1])
    assert results[0][0, 0].tolist() == [255, 255, 255]
    assert results[0][16, 16].tolist() == [0, 0, 0]


def premultiplied_tiff() -> bytes:
    """RGBa, half-covered red: stored (128, 0, 0, 128), and ExtraSamples 1 says that the alpha is multiplied in."""
    data = encode(Image.new("RGBA", (8, 8), (128, 0, 0, 128)), "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)
    at = data.index(entry) + len(entry)
    return data[:at] + struct.pack("<H", 1) + data[at + 2 :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encode(Image.new("RGBA", (8, 8), (*RED, 0)), "PNG"), WHITE, id="RGBA clear"),
        pytest.param(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"), (127, 127, 127), id="RGBA half"),
        pytest.param(encode(Image.new("RGBA", (8, 8), (*RED, 0)), "WEBP", lossless=True), WHITE, id="WebP clear"),
        pytest.param(encode(Image.new("RGBA", (8, 8), (*RED, 0)), "TGA"), WHITE, id="TGA clear"),
        pytest.param(encode(Image.new("RGBA", (8, 8), (*RED, 0)), "JPEG2000"), WHITE, id="JPEG 2000 clear"),
        pytest.param(encode(Image.new("LA", (8, 8), (0, 128)), "PNG"), (127, 127, 127), id="LA half"),
        pytest.param(encode(Image.new("LA", (8, 8), (0, 0)), "TIFF"), WHITE, id="LA TIFF clear"),
        pytest.param(palette_with_alpha(), (127, 127, 255), id="palette, half-covered blue"),
        pytest.param(encode(Image.new("P", (8, 8), 0), "GIF", transparency=0), WHITE, id="GIF, one colour clear"),
        pytest.param(encode(Image.new("RGB", (8, 8), RED), "PNG", transparency=RED), WHITE, id="RGB, red is clear"),
        pytest.param(encode(Image.new("RGB", (8, 8), RED), "PNG", transparency=BLUE), RED, id="RGB, blue is clear"),
        pytest.param(encode(Image.new("L", (8, 8), 9), "PNG", transparency=9), WHITE, id="L, this grey is clear"),
        pytest.param(encode(Image.new("1", (8, 8), 0), "PNG", transparency=0), WHITE, id="1 bit, black is clear"),
        pytest.param(
            encode(Image.new("I;16", (8, 8), 999), "PNG", transparency=999), WHITE, id="16 bits, 999 is clear"
        ),
        pytest.param(premultiplied_tiff(), (255, 127, 127), id="premultiplied TIFF"),
    ],
)
def test_what_is_transparent_lies_over_white(data: bytes, expected: tuple[int, ...]) -> None:
    assert np.abs(np.subtract(first_pixel(data), expected)).max() <= 1


# -- modes


def grey(values: list[int | float], dtype: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.array([values] * 8, dtype=dtype))


def pgm(values: list[int], maximum: int) -> bytes:
    return b"P5 %d 1 %d\n" % (len(values), maximum) + struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encode(Image.new("1", (2, 2), 1), "PNG"), [255, 255], id="1 bit"),
        pytest.param(encode(Image.new("L", (2, 2), 77), "PNG"), [77, 77], id="8 bits"),
        pytest.param(encode(grey([0, 257, 32896, 65535], np.uint16), "PNG"), [0, 1, 128, 255], id="16 bits PNG"),
        pytest.param(encode(grey([0, 200], np.uint16), "PNG"), [0, 1], id="16 bits PNG, dark throughout"),
        pytest.param(encode(grey([0, 257, 32896, 65535], np.uint16), "TIFF"), [0, 1, 128, 255], id="16 bits TIFF"),
        pytest.param(encode(grey([0, 32896, 65535], np.uint16), "JPEG2000"), [0, 128, 255], id="16 bits JPEG 2000"),
        pytest.param(pgm([0, 32896, 65535], 65535), [0, 128, 255], id="16 bits PGM"),
        pytest.param(pgm([0, 100, 200], 65535), [0, 0, 1], id="16 bits PGM, dark throughout"),
        pytest.param(encode(grey([-5, 7, 255], np.int32), "TIFF"), [0, 7, 255], id="32-bit int in 8 bits' range"),
        pytest.param(encode(grey([0, 257, 65535], np.int32), "TIFF"), [0, 1, 255], id="32-bit int in 16 bits' range"),
        pytest.param(encode(grey([0, 10**9, 2 * 10**9], np.int32), "TIFF"), [0, 128, 255], id="32-bit int"),
        pytest.param(encode(grey([0.0, 0.5, 1.0], np.float32), "TIFF"), [0, 128, 255], id="float 0…1"),
        pytest.param(encode(grey([0.0, 100.0, 255.0], np.float32), "TIFF"), [0, 100, 255], id="float 0…255"),
        pytest.param(encode(grey([0.0, 500.0, 1000.0], np.float32), "TIFF"), [0, 128, 255], id="float 0…1000"),
        pytest.param(
            encode(grey([np.nan, -np.inf, 0.5, np.inf], np.float32), "TIFF"), [0, 0, 128, 255], id="float, not finite"
        ),
    ],
)
def test_grey_of_any_depth_becomes_eight_bits(data: bytes, expected: list[int]) -> None:
    row = pixels(decode(data))[0]
    assert row.tolist() == [[value] * 3 for value in expected]


def test_palette_cmyk_ycbcr_and_lab_become_rgb() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([*RED, *BLUE])
    assert first_pixel(encode(palette, "PNG")) == BLUE
    assert first_pixel(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")) == RED
    cmyk_jpeg = first_pixel(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.subtract(cmyk_jpeg, RED)).max() <= 3
    ycbcr = first_pixel(encode(Image.new("RGB", (8, 8), RED).convert("YCbCr"), "TIFF"))
    assert np.abs(np.subtract(ycbcr, RED)).max() <= 2
    lab = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (255, 128, 128)])  # L* = 100: paper
    assert min(first_pixel(encode(lab, "TIFF"))) >= 253


@pytest.mark.parametrize("file_format", [*FORMATS, "MPO"])
def test_every_format_on_the_list_is_decoded(file_format: str) -> None:
    if file_format == "PSD":
        data = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + bytes(12) + b"\0\0" + b"\x80" * 12288
    else:
        data = encode(Image.new("RGB", (64, 64), (128, 128, 128)), file_format)
    decoded = decode(data)
    assert decoded.format == ("JPEG" if file_format == "MPO" else file_format)
    side = 1024 if file_format == "ICNS" else 64  # Pillow writes every size that the format has; the largest is read
    assert (decoded.width, decoded.height) == (side, side)
    assert np.abs(pixels(decoded).astype(int) - 128).max() <= 3


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_the_first_frame_of_several_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert np.abs(np.subtract(first_pixel(data), RED)).max() <= 3
    assert decode(data).pixels.size == (32, 24)
