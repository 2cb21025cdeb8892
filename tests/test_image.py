"""The decoder's promises: one way to look at every file, and a reason in words for one that gives no pixels."""

import io
import resource
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFilter, ImageOps

from curate.image import FORMATS, MAX_PIXELS, BrokenImage, DecodedImage, decode, load

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
REPOSITORY = Path(__file__).resolve().parent.parent


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def photograph(width: int = 90, height: int = 72, seed: int = 0) -> Image.Image:
    """Something with the statistics of a photograph: smooth, with noise on it."""
    steps = np.random.default_rng(seed).integers(-9, 10, (height, width, 3))
    return Image.fromarray(np.clip(np.cumsum(steps, axis=1) + 128, 0, 255).astype(np.uint8))


def pixels(decoded: DecodedImage) -> NDArray[np.uint8]:
    assert decoded.pixels.mode == "RGB"
    return np.asarray(decoded.pixels)


def first_pixel(data: bytes) -> tuple[int, ...]:
    return tuple(pixels(decode(data))[0, 0].tolist())


# -- which way is up


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block.tobytes()


def four_corners() -> Image.Image:
    """48 × 32: red, green, blue and white quarters, so that every way to turn it looks different."""
    image = Image.new("RGB", (48, 32))
    for box, colour in {(0, 0): RED, (24, 0): GREEN, (0, 16): BLUE, (24, 16): WHITE}.items():
        image.paste(colour, (*box, box[0] + 24, box[1] + 16))
    return image


# What a camera stores for an upright picture: EXIF 2.32, 4.6.5.1.6 (the 0th row is the visual top, left, …).
STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.rotate(180),
    4: ImageOps.flip,
    5: lambda image: ImageOps.mirror(image).rotate(90, expand=True),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: ImageOps.mirror(image).rotate(-90, expand=True),
    8: lambda image: image.rotate(-90, expand=True),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_stand_upright(file_format: str, orientation: int) -> None:
    lossless: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    options = lossless.get(file_format, {})
    stored = STORED[orientation](four_corners())
    decoded = decode(encode(stored, file_format, exif=exif(orientation), **options))
    assert (decoded.format, decoded.width, decoded.height) == (file_format, 48, 32)
    assert decoded.pixels.size == (48, 32)
    difference = np.abs(pixels(decoded).astype(int) - np.asarray(four_corners()))
    assert np.median(difference, axis=(0, 1)).max() <= 2  # JPEG blurs the borders between the quarters


def test_sides_are_upright_and_full_at_reduced_scale() -> None:
    decoded = decode(encode(photograph(400, 240), "JPEG", exif=exif(6)), at_least=60)
    assert (decoded.width, decoded.height) == (240, 400)
    assert decoded.pixels.size == (60, 100)


def test_orientation_may_stand_in_xmp_alone() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decode(encode(four_corners(), "JPEG", xmp=packet)).pixels.size == (32, 48)


def garbled(block: bytes) -> bytes:
    return block[:14] + b"\xff" * 40


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(b"Exif\0\0II*\0", id="cut off"),
        pytest.param(b"Exif\0\0II*\0\xff\xff\xff\xff", id="leads past its end"),
        pytest.param(b"Exif\0\0" + b"\xa5" * 200, id="noise"),
        pytest.param(garbled(exif(6)), id="garbled entries"),
        pytest.param(exif(6).replace(b"\x01\x12\x00\x03", b"\x01\x12\x00\x02"), id="orientation is text"),
        pytest.param(exif(99), id="orientation 99"),
        pytest.param(exif(0), id="orientation 0"),
    ],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_is_no_reason_to_lose_the_picture(file_format: str, block: bytes) -> None:
    decoded = decode(encode(four_corners(), file_format, exif=block))
    assert (decoded.width, decoded.height) == (48, 32)


# -- colour: profiles are built here, byte by byte, as ICC.1:2010 lays them out


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    tags = {
        b"desc": text_description(b"test"),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    } | tags
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4sI4s4s4s12x4s4sII12xI12s48x", start + len(body), b"test", 0x02100000, kind, space, connection, b"acsp",
        b"APPL", 0, 0, 0, xyz(0.9642, 1.0, 0.8249)[8:],
    )  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + body


def text_description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(red: bytes, green: bytes, blue: bytes, exponent: float) -> bytes:
    curve = gamma(exponent)
    curves = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return icc(b"RGB ", {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue} | curves)


# Expected values: linearised, through the matrix between the two sets of primaries, and encoded again by hand.
# Colorants adapted to D50, as Apple's and Adobe's own profiles have them.
DISPLAY_P3 = rgb_profile(xyz(0.5151, 0.2412, -0.0011), xyz(0.2920, 0.6922, 0.0419), xyz(0.1571, 0.0666, 0.7841), 2.2)
ADOBE_RGB = rgb_profile(xyz(0.6097, 0.3111, 0.0195), xyz(0.2053, 0.6257, 0.0609), xyz(0.1492, 0.0632, 0.7446), 2.2)
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


def palette_with_alpha() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *BLUE])
    return encode(image, "PNG", transparency=bytes([255, 128]))


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


# -- files that give no pixels


def samples() -> dict[str, bytes]:
    image = photograph()
    encoded = {
        "JPEG": encode(image, "JPEG", quality=90),
        "JPEG progressive": encode(image, "JPEG", quality=90, progressive=True),
        "JPEG with restarts": encode(image, "JPEG", restart_marker_rows=1),
        "JPEG grey": encode(image.convert("L"), "JPEG"),
        "JPEG CMYK": encode(image.convert("CMYK"), "JPEG"),
        "PNG palette": encode(image.convert("P"), "PNG"),
        "WEBP lossless": encode(image, "WEBP", lossless=True),
        "TIFF LZW": encode(image, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF JPEG": encode(image, "TIFF", compression="jpeg"),
        "TGA RLE": encode(image, "TGA", compression="tga_rle"),
    }
    others = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "SGI", "PCX", "DIB", "DDS", "QOI")
    return encoded | {name: encode(image, name) for name in others}


SAMPLES = samples()
# Bytes at the end that hold no pixels, and that their decoders do not ask for.
TRAILERS = {"GIF": 2, "BMP": 2, "DIB": 2, "TGA": 26, "TGA RLE": 26, "QOI": 8}


@pytest.mark.parametrize("at_least", [None, 16], ids=["full", "reduced"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_off_anywhere_is_found(name: str, at_least: int | None) -> None:
    data = SAMPLES[name]
    whole = pixels(decode(data, at_least=at_least))
    near_the_end = range(max(1, len(data) - 40), len(data))
    for size in sorted({*near_the_end, *np.linspace(1, len(data) - 1, 30, dtype=int).tolist()}):
        try:
            cut = pixels(decode(data[:size], at_least=at_least))
        except BrokenImage:
            continue
        assert len(data) - size <= TRAILERS.get(name, 0), f"{len(data) - size} bytes are missing"
        assert np.array_equal(cut, whole)


@pytest.mark.parametrize("at_least", [None, 64])
def test_a_jpeg_that_ends_in_zeros_is_found(at_least: int | None) -> None:
    """What a download leaves that reserved its space and then broke off."""
    data = encode(photograph(500, 400), "JPEG")
    for kept in (len(data) // 2, len(data) - 100, len(data) - 2):
        with pytest.raises(BrokenImage, match="cut off"):
            decode(data[:kept] + bytes(len(data) - kept), at_least=at_least)


def test_verify_passes_on_half_a_jpeg_but_decode_does_not() -> None:
    data = SAMPLES["JPEG"]
    with Image.open(io.BytesIO(data[: len(data) // 2])) as image:
        image.verify()  # the trap: no complaint
    with pytest.raises(BrokenImage, match="cut off"):
        decode(data[: len(data) // 2])


HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "a web page or other markup", id="web page"),
        pytest.param(b"\xef\xbb\xbf\r\n <html>", "a web page or other markup", id="web page with byte order mark"),
        pytest.param(b'<?xml version="1.0"?><svg xmlns="x"/>', "an SVG drawing", id="SVG"),
        pytest.param(b'{"error": "not found"}', "text, not a picture", id="JSON"),
        pytest.param("Blüten\n".encode(), "text, not a picture", id="text beyond ASCII"),
        pytest.param(b"%PDF-1.7\n", "a PDF document", id="PDF"),
        pytest.param(HEIC, "convert it to JPEG", id="HEIC"),
        pytest.param(b"\x93\0\xfe" * 50, "not a picture in a format", id="noise"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "begins like a PNG", id="PNG signature alone"),
        pytest.param(SAMPLES["JPEG"][:2], "begins like a JPEG", id="JPEG signature alone"),
        pytest.param(SAMPLES["JPEG"][:100], "cut off", id="JPEG header"),
        pytest.param(SAMPLES["WEBP"][:14], "begins like a WebP", id="WebP signature alone"),
        pytest.param(SAMPLES["TIFF LZW"][:-50], "begins like a TIFF", id="TIFF without its directory"),
        pytest.param(SAMPLES["AVIF"][:-50], "cut off", id="AVIF"),
        pytest.param(b"RIFF\x10\0\0\0AVI LIST", "not a picture in a format", id="a film"),
        pytest.param(SAMPLES["PNG"][:-4] + b"bits", "cut off", id="PNG without its end"),
    ],
)
def test_the_reason_is_in_words(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenImage) as caught:
        decode(data, path="train/21/a.jpg")
    assert caught.value.path == "train/21/a.jpg"
    assert reason in caught.value.reason
    assert str(caught.value) == f"train/21/a.jpg: {caught.value.reason}"


def test_load_names_the_file_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(photograph(), "PNG"))
    assert load(tmp_path / "a.png").size == (90, 72)
    with pytest.raises(BrokenImage, match=r"gone\.png: cannot be read"):
        load(tmp_path / "gone.png")
    with pytest.raises(BrokenImage, match="cannot be read"):
        load(tmp_path)


# -- limits


def png_bomb(width: int, height: int) -> bytes:
    """A valid PNG of one colour: 60,000 × 60,000 pixels of 1 bit take about 440 kB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(rows.compress(row * 1000) for _ in range(height // 1000)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def webp_claiming(width: int, height: int) -> bytes:
    """An extended WebP header, whose decoder would reserve the canvas as soon as it is made."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides + SAMPLES["WEBP"][12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


MEASURE = """
    import resource, sys, time
    from pathlib import Path
    from curate.image import BrokenImage, decode
    data = Path(sys.argv[1]).read_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        decode(data)
    except BrokenImage as error:
        reason = error.reason
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(kib, time.perf_counter() - started, reason, sep="|")
"""


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: png_bomb(60_000, 60_000), id="PNG"),
        pytest.param(lambda: webp_claiming(16_383, 16_383), id="WebP"),
        pytest.param(lambda: b"P6 60000 60000 255\n" + bytes(100_000), id="PPM"),
        pytest.param(lambda: SAMPLES["GIF"][:6] + b"\xff" * 4 + SAMPLES["GIF"][10:], id="GIF"),
    ],
)
def test_a_bomb_is_refused_before_any_pixel_is_reserved(tmp_path: Path, make: Callable[[], bytes]) -> None:
    file = tmp_path / "bomb"
    file.write_bytes(make())
    assert file.stat().st_size < 600_000
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), file], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kib, seconds, reason = done.stdout.strip().split("|")
    assert "pixels" in reason
    assert int(kib) < 50_000
    assert float(seconds) < 1


def test_the_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.image.MAX_PIXELS", 90 * 72)
    decode(SAMPLES["PNG"])
    monkeypatch.setattr("curate.image.MAX_PIXELS", 90 * 72 - 1)
    with pytest.raises(BrokenImage, match="90 × 72 pixels is over the limit"):
        decode(SAMPLES["PNG"])
    assert MAX_PIXELS >= 100_000_000  # what cameras make fits


def test_a_side_has_a_limit_too() -> None:
    with pytest.raises(BrokenImage, match="1 × 65536 pixels is over the limit of 65,535 pixels a side"):
        decode(b"P5 1 65536 255\n" + bytes(65_536))
    assert decode(b"P5 1 65535 255\n" + bytes(65_535)).height == 65_535


# -- scale and threads


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


def test_threads_see_the_same_pixels() -> None:
    """Transforms between colour spaces are shared by threads."""
    images = [photograph(60, 40, seed) for seed in range(20)]
    files = [encode(image, "PNG", icc_profile=ADOBE_RGB) for image in images] + list(SAMPLES.values())
    alone = [pixels(decode(data)).copy() for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: pixels(decode(data)), files * 5))
    assert all(np.array_equal(found, alone[number % len(files)]) for number, found in enumerate(together))


def test_the_decoder_prints_nothing_and_warns_of_nothing(tmp_path: Path) -> None:
    """One warning from Pillow for each of a million files would bury what matters."""
    (tmp_path / "a.jpg").write_bytes(encode(four_corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    (tmp_path / "b.png").write_bytes(palette_with_alpha())
    (tmp_path / "c.ppm").write_bytes(b"P6 12000 9000 255\n")
    code = (
        "import sys; from pathlib import Path; from curate.image import decode, BrokenImage\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: decode(path.read_bytes())\n"
        "    except BrokenImage: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_memory_is_given_back() -> None:
    """Ten thousand pictures later, the process is not larger."""
    data = encode(photograph(300, 200), "JPEG", icc_profile=ADOBE_RGB, exif=exif(6))
    for _ in range(50):
        decode(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    for _ in range(1000):
        decode(data)
        if time.monotonic() - started > 3:
            break
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000


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
