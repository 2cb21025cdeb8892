"""One read tells everything about a picture, the same from any copy and at any scale."""

import hashlib
import io
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from curate.image import decode
from curate.inspect import AT_LEAST, Facts, inspect
from curate.quality import CHECKS


def encode(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def scene(seed: int, width: int = 400, height: int = 300) -> Image.Image:
    """A picture of blurred patches: like a photograph, it has structure at every scale."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height))
    for scale in (8, 20, 60):
        noise = Image.fromarray(random.integers(0, 256, (scale * 3 // 4, scale, 3), dtype=np.uint8))
        image = Image.blend(image, noise.resize((width, height), Image.Resampling.BICUBIC), 0.5)
    return image


def distance(first: int, second: int) -> int:
    return (first ^ second).bit_count()


def test_facts_are_of_exactly_these_bytes() -> None:
    data = encode(scene(1))
    facts = inspect(data)
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert (facts.format, facts.width, facts.height, facts.broken) == ("JPEG", 400, 300, "")
    assert len(facts.scores) == len(CHECKS)
    assert inspect(data) == facts


def test_a_broken_file_has_its_bytes_and_a_reason() -> None:
    data = encode(scene(1))[:-9]
    facts = inspect(data, "a.jpg")
    assert facts == Facts(
        hashlib.sha256(data).hexdigest(), "", 0, 0, 0, "cut off: the file ends before the picture does"
    )


def test_the_hash_is_imagehashs_own() -> None:
    for seed in range(8):
        image = scene(seed)
        assert inspect(encode(image, "PNG")).phash == int(str(imagehash.phash(image)), 16)
        # Sides that an eighth divides: the reduced pixels are the picture, no more.
        data = encode(scene(seed, 800, 640))
        assert inspect(data).phash == int(str(imagehash.phash(decode(data, at_least=AT_LEAST).pixels)), 16)


@pytest.mark.parametrize("size", [(523, 501), (500, 667), (449, 1023), (1601, 1203)])
def test_reduced_scale_moves_few_bits(size: tuple[int, int]) -> None:
    """Sides that no scale divides: without the exact box of the picture, far more move."""
    distances = []
    for seed in range(10):
        data = encode(scene(seed, *size), quality=90)
        whole = int(str(imagehash.phash(decode(data).pixels)), 16)
        distances.append(distance(inspect(data).phash, whole))
    assert max(distances) <= 4
    assert sum(distances) <= 10


def test_a_picture_stored_turned_has_the_same_facts() -> None:
    for seed in range(5):
        upright = scene(seed, 523, 501)
        turned = Image.Exif()
        turned[0x0112] = 6
        facts = inspect(encode(upright, quality=95))
        stored = inspect(encode(upright.rotate(90, expand=True), quality=95, exif=turned))
        assert (stored.width, stored.height) == (523, 501)
        assert distance(facts.phash, stored.phash) <= 2
        assert np.abs(np.subtract(facts.scores, stored.scores)).max() <= 0.03


def test_real_pictures_keep_their_hash_when_they_are_reduced(flowers: Path) -> None:
    distances = []
    for path in sorted(flowers.rglob("*.jpg"))[::40]:
        data = path.read_bytes()
        distances.append(distance(inspect(data).phash, int(str(imagehash.phash(decode(data).pixels)), 16)))
    assert max(distances) <= 2
    assert np.mean(distances) < 0.6


# What a change of decoder or resampler would move. Drawn without noise, so that every platform draws the same.
def drawn(mode: str) -> Image.Image:
    y, x = np.mgrid[0:96, 0:128].astype(np.float64)
    waves = 127 + 60 * np.sin(x / 9) * np.cos(y / 7) + 40 * np.sin((x + 2 * y) / 23)
    image = Image.fromarray(np.dstack([waves, 255 - waves, (x + y) % 256]).clip(0, 255).astype(np.uint8))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "file_format", "options", "golden"),
    [
        pytest.param("RGB", "PNG", {}, 0x875897394707F827, id="PNG"),
        pytest.param("RGB", "BMP", {}, 0x875897394707F827, id="BMP"),
        pytest.param("RGB", "TIFF", {"compression": "tiff_lzw"}, 0x875897394707F827, id="TIFF"),
        pytest.param("L", "PNG", {}, 0x875897394707F827, id="grey PNG"),
        pytest.param("RGB", "JPEG", {"quality": 90}, 0x875897394707F827, id="JPEG"),
        pytest.param("CMYK", "JPEG", {"quality": 90}, 0x875897394707F827, id="CMYK JPEG"),
        pytest.param("RGB", "WEBP", {"quality": 90}, 0x875897394707F827, id="WebP"),
        pytest.param("RGB", "JPEG2000", {}, 0x875897394707F827, id="JPEG 2000"),
        pytest.param("RGB", "AVIF", {"quality": 90}, 0x875897394707F827, id="AVIF"),
    ],
)
def test_hashes_are_constant(mode: str, file_format: str, options: dict[str, Any], golden: int) -> None:
    """Lossless decoders owe the very bits; a new lossy encoder may move the two nearest to the median."""
    found = inspect(encode(drawn(mode), file_format, **options)).phash
    lossless = file_format in {"PNG", "BMP", "TIFF"}
    assert distance(found, golden) <= (0 if lossless else 2), hex(found)
