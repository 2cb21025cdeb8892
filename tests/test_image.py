"""The decoder's promises: one way to look at every file, and a reason in words for one that gives no pixels."""

import io
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
from PIL import Image

from benchmarks.peak import forget_peak_rss, peak_rss
from curate.image import MAX_PIXELS, BrokenImage, decode, load_pixels
from tests.encoded import (
    ADOBE_RGB,
    SAMPLES,
    STORED,
    encode,
    exif,
    four_corners,
    palette_with_alpha,
    photograph,
    pixels,
)

REPOSITORY = Path(__file__).resolve().parent.parent

# -- which way is up


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


# -- files that give no pixels

# Bytes at the end that hold no pixels, and that their decoders do not ask for.
TRAILERS = {"GIF": 2, "BMP": 2, "DIB": 2, "TGA": 26, "TGA RLE": 26, "QOI": 8}
# The mark of a JPEG's end, and before it bits that fill the last byte.
TRAILERS |= {name: 3 for name in SAMPLES if name.startswith("JPEG") and not name.startswith("JPEG 2000")}


@pytest.mark.thorough
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
    for kept in (len(data) // 2, len(data) - 100):
        with pytest.raises(BrokenImage, match="cut off"):
            decode(data[:kept] + bytes(len(data) - kept), at_least=at_least)
    assert not decode(data[:-2] + bytes(2), at_least=at_least).ended  # nothing of the picture is missing


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
        pytest.param(HEIC, "begins like a HEIC", id="HEIC"),
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
    assert load_pixels(tmp_path / "a.png").size == (90, 72)
    with pytest.raises(BrokenImage, match=r"gone\.png: cannot be read"):
        load_pixels(tmp_path / "gone.png")
    with pytest.raises(BrokenImage, match="cannot be read"):
        load_pixels(tmp_path)


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
    from benchmarks.peak import forget_peak_rss, peak_rss
    from curate.image import BrokenImage, decode
    data = Path(sys.argv[1]).read_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    before, started = forget_peak_rss(), time.process_time()
    try:
        decode(data)
    except BrokenImage as error:
        reason = error.reason
    print((peak_rss() - before) >> 10, time.process_time() - started, reason, sep="|")
"""


@pytest.mark.thorough
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


# -- threads, output and memory


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


@pytest.mark.thorough
def test_memory_is_given_back() -> None:
    """Ten thousand pictures later, the process is not larger."""
    data = encode(photograph(300, 200), "JPEG", icc_profile=ADOBE_RGB, exif=exif(6))
    for _ in range(50):
        decode(data)
    before = forget_peak_rss()
    started = time.monotonic()
    for _ in range(1000):
        decode(data)
        if time.monotonic() - started > 3:
            break
    assert peak_rss() - before < 8_000 * 1024
