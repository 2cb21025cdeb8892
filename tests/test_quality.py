"""Each quality figure says what it is named for, on pictures made to fail it and on copies that must not change it."""

import io
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from curate.inspect import inspect, inspect_many
from curate.lookalikes.fingerprint import SIDE, reduced
from curate.quality import CHECKS, LumaBatch, flags

NAMES = [check.flag for check in CHECKS]


def encode(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def scores_of(image: Image.Image, file_format: str = "JPEG", **options: Any) -> dict[str, float]:
    return dict(zip(NAMES, inspect(encode(image, file_format, **options)).scores, strict=True))


def flags_of(image: Image.Image, **options: Any) -> list[str]:
    return flags(tuple(scores_of(image, **options).values()))


@cache
def photograph(seed: int = 0, width: int = 480, height: int = 360) -> Image.Image:
    """Structure at every scale, falling off with its size as in nature (1/f), and the full span of levels."""
    generator = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(fx, fy), 1 / width) ** 1.2
    channels = []
    for _ in range(3):
        noise = np.fft.ifft2(np.fft.fft2(generator.standard_normal((height, width))) * amplitude).real
        channels.append(np.clip(128 + 55 * (noise - noise.mean()) / noise.std(), 0, 255))
    return Image.fromarray(np.dstack(channels).astype(np.uint8))


def logo() -> Image.Image:
    image = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(image).ellipse((150, 100, 250, 200), fill=(40, 60, 160))
    return image


def page(seed: int, *, dark: bool = False) -> Image.Image:
    """A page of words, of random size and spacing."""
    choose = random.Random(seed)
    width, height = choose.choice([(1240, 1754), (800, 1100), (900, 700)])
    paper, ink = ((20, 20, 20), (230, 230, 230)) if dark else ((250, 250, 250), (30, 30, 30))
    image = Image.new("RGB", (width, height), paper)
    draw, size, margin = ImageDraw.Draw(image), choose.choice([16, 20, 28, 36]), choose.randint(30, 100)
    font = ImageFont.load_default(size)
    words = ["petal", "stamen", "of", "the", "flowering", "garden", "lily", "into", "a", "sepals"]
    for top in range(margin, height - margin, int(size * 1.4)):
        line = ""
        while draw.textlength(line, font=font) < width - 2 * margin:
            line += choose.choice(words) + " "
        draw.text((margin, top), line, fill=ink, font=font)
    return image


# -- exact values


def view(values: np.ndarray[Any, Any] | int, width: int = 640, height: int = 480) -> LumaBatch:
    luma = np.broadcast_to(np.asarray(values, np.uint8), (1, SIDE, SIDE))
    return LumaBatch(luma, np.array([width]), np.array([height]))


def check(flag: str) -> Callable[[LumaBatch], Any]:
    return next(check.measure for check in CHECKS if check.flag == flag)


RAMP = np.arange(SIDE, dtype=np.uint8) * 4
HALVES = np.repeat(np.array([0, 255], np.uint8), SIDE // 2)
LEVELS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 256


@pytest.mark.parametrize(
    ("flag", "looked_at", "expected"),
    [
        pytest.param("blurred", view(RAMP), 0.0, id="a ramp has no detail"),
        pytest.param("blurred", view(np.tile([0, 0, 255, 255], 16)), 0.403, id="every second step: √(31 of 63)"),
        pytest.param("blurred", view(7), 1.0, id="nothing is not blurred"),
        pytest.param("dark", view(0), 0.0, id="black"),
        pytest.param("dark", view(255), 1.0, id="white"),
        pytest.param("dark", view(51), 0.2, id="a fifth"),
        pytest.param("bright", view(255), 0.0, id="white is bright"),
        pytest.param("bright", view(0), 1.0, id="black is not"),
        pytest.param("bright", view(HALVES), 1.0, id="half black is not"),
        pytest.param("faint", view(128), 0.0, id="one level"),
        pytest.param("faint", view(HALVES), 1.0, id="black and white"),
        pytest.param("plain", view(3), 0.0, id="one level is no information"),
        pytest.param("plain", view(HALVES), 1 / 8, id="two levels are one bit"),
        pytest.param("plain", view(LEVELS), 1.0, id="every level is eight bits"),
        pytest.param("small", view(0, 64, 900), 0.25, id="64 pixels"),
        pytest.param("small", view(0, 5000, 256), 1.0, id="256 pixels"),
        pytest.param("narrow", view(0, 100, 400), 0.25, id="upright"),
        pytest.param("narrow", view(0, 400, 100), 0.25, id="lying"),
        pytest.param("narrow", view(0, 300, 300), 1.0, id="square"),
        pytest.param("uniform", view(99), 0.0, id="one level throughout"),
        pytest.param("uniform", view(HALVES), 0.5, id="two halves"),
        pytest.param("uniform", view(LEVELS), 1 - 17 / 256, id="every level alike"),
        pytest.param("text", view(99), 1.0, id="an empty page is no text"),
        pytest.param("text", view(RAMP), 1.0, id="a ramp is no text"),
    ],
)
def test_exact_values(flag: str, looked_at: LumaBatch, expected: float) -> None:
    (found,) = check(flag)(looked_at)
    assert found == pytest.approx(expected, abs=0.001)


@given(arrays(np.uint8, (3, SIDE, SIDE)), st.integers(1, 10**6), st.integers(1, 10**6))
def test_scores_are_between_0_and_1(values: np.ndarray[Any, np.dtype[np.uint8]], width: int, height: int) -> None:
    views = LumaBatch(values, np.full(3, width), np.full(3, height))
    for row in CHECKS:
        found = row.measure(views)
        assert found.shape == (3,)
        assert np.isfinite(found).all()
        if row.flag not in {"blurred", "small"}:  # these may be beyond, and are cut off by quality_scores()
            assert found.min() >= -1e-9, row.flag
            assert found.max() <= 1 + 1e-9, row.flag


def test_pictures_are_scored_together_as_they_are_alone() -> None:
    files = [encode(picture) for picture in (photograph(), page(1), logo(), photograph(3).resize((40, 200)))]
    together = inspect_many((data, "") for data in [*files[:2], b"broken", *files[2:]])
    assert [facts for facts in together if not facts.broken] == [inspect(data) for data in files]
    assert together[2].broken == "text, not a picture"


# -- flags


@pytest.mark.parametrize("seed", range(3))
def test_a_good_picture_has_no_flag(seed: int) -> None:
    assert flags_of(photograph(seed)) == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("spoil", "flag"),
    [
        pytest.param(lambda image: image.filter(ImageFilter.GaussianBlur(8)), "blurred", id="blurred"),
        pytest.param(
            lambda image: image.resize((48, 36)).resize(image.size, Image.Resampling.BICUBIC), "blurred", id="enlarged"
        ),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(0.2), "dark", id="dark"),
        pytest.param(
            lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), 0.9), "bright", id="bright"
        ),
        pytest.param(lambda image: ImageEnhance.Contrast(image).enhance(0.1), "faint", id="faint"),
        pytest.param(lambda _: logo(), "plain", id="a logo"),
        pytest.param(lambda image: image.resize((60, 45)), "small", id="small"),
        pytest.param(lambda image: image.crop((0, 0, 480, 100)), "narrow", id="narrow"),
        pytest.param(lambda _: Image.new("RGB", (300, 300), (90, 120, 90)), "uniform", id="one colour"),
        pytest.param(lambda _: page(1), "text", id="a page of text"),
        pytest.param(lambda _: page(2, dark=True), "text", id="text on black"),
    ],
)
def test_a_spoilt_picture_is_flagged(spoil: Callable[[Image.Image], Image.Image], flag: str) -> None:
    found = [flags_of(spoil(photograph(seed)).convert("RGB")) for seed in range(4)]
    assert all(flag in names for names in found), found


@pytest.mark.thorough
def test_pages_are_text_and_photographs_are_not() -> None:
    pages = [flags_of(page(seed, dark=seed % 3 == 0)) for seed in range(12)]
    assert sum("text" in names for names in pages) >= 11, pages
    assert not any("text" in flags_of(photograph(seed)) for seed in range(12))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(lambda it: ImageOps.expand(it, min(it.size) // 25, "white"), id="white"),
        pytest.param(lambda it: ImageOps.expand(it, min(it.size) // 6, "white"), id="wide"),
        pytest.param(lambda it: ImageOps.expand(it, min(it.size) // 12, "black"), id="black"),
        pytest.param(lambda it: ImageOps.expand(ImageOps.expand(it, 3, "black"), 40, "white"), id="with a line"),
    ],
)
def test_framed_photographs_are_no_text(flowers: Path, frame: Callable[[Image.Image], Image.Image]) -> None:
    paths = sorted(flowers.rglob("*.jpg"))[::60]
    assert not [path for path in paths if "text" in flags_of(frame(Image.open(path).convert("RGB")))]


def test_flags_come_in_the_order_of_the_table_and_no_scores_give_none() -> None:
    assert flags(tuple(0.0 for _ in CHECKS)) == NAMES
    assert flags(tuple(row.threshold for row in CHECKS)) == []  # below, not at
    assert flags(()) == []


def test_real_photographs_are_hardly_ever_flagged(flowers: Path) -> None:
    paths = sorted(flowers.rglob("*.jpg"))[::10]
    found = []
    for path in paths:
        found += flags(inspect(path.read_bytes()).scores)
    assert len(found) <= 0.04 * len(paths), found


# -- what must not matter


@pytest.mark.parametrize(
    ("copy", "tolerance"),
    [
        pytest.param(lambda image: encode(image, quality=60), 0.03, id="recompressed"),
        pytest.param(lambda image: encode(image, "PNG"), 0.04, id="another format, at full scale"),
        pytest.param(lambda image: encode(image.resize((843, 632), Image.Resampling.LANCZOS)), 0.04, id="resized"),
        pytest.param(lambda image: encode(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), 0.03, id="mirrored"),
        pytest.param(lambda image: encode(image.transpose(Image.Transpose.ROTATE_180)), 0.03, id="upside down"),
    ],
)
def test_a_copy_has_the_same_scores(copy: Callable[[Image.Image], bytes], tolerance: float) -> None:
    for seed in range(3):
        original = photograph(seed, 1000, 750)
        found = inspect(copy(original)).scores
        assert np.abs(np.subtract(found, tuple(scores_of(original).values()))).max() <= tolerance


def test_more_blur_is_less_sharp() -> None:
    image = photograph()
    sharpness = [scores_of(image.filter(ImageFilter.GaussianBlur(radius)))["blurred"] for radius in (0, 3, 5, 8, 12)]
    assert sharpness == sorted(sharpness, reverse=True)


def test_luma_covers_the_box_alone() -> None:
    grey = Image.new("L", (100, 80), 200)
    grey.paste(0, (50, 0, 100, 80))
    assert (reduced(grey, (0, 0, 50, 80))[:, :-1] == 200).all()  # beside the edge, the filter sees a little beyond


def test_the_table_is_sound() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(0 < row.threshold < 1 and row.means and row.column.isidentifier() for row in CHECKS)
