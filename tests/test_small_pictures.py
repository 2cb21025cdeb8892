"""Pictures below 64 pixels: a copy has their size and pixels, but for recompression; a crowd of them costs little."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from curate.inspect import inspect
from curate.lookalikes.alignment import Alignment
from curate.lookalikes.contents import Contents
from curate.lookalikes.edits import encode, scaled
from curate.lookalikes.looks import Looks
from curate.lookalikes.search import search
from curate.lookalikes.second_look import COPY, NEAR, look_closer
from tests.pictures import scene

SAVED = {
    "JPEG of quality 90": lambda picture: encode(picture, quality=90),
    "JPEG of quality 50": lambda picture: encode(picture, quality=50),
    "JPEG of quality 25": lambda picture: encode(picture, quality=25),
    "WebP": lambda picture: encode(picture, "WEBP", 60),
    "GIF": lambda picture: encode(picture, "GIF"),
    "grey JPEG": lambda picture: encode(picture.convert("L")),
    "grey PNG": lambda picture: encode(picture.convert("L"), "PNG"),
}


def png(picture: Image.Image) -> bytes:
    return encode(picture, "PNG", compress_level=1)


def small_scene(seed: int, width: int, height: int) -> Image.Image:
    return scene(seed, 480, 360).resize((width, height), Image.Resampling.BOX)


def digit(number: int, seed: int = 0, moved: float = 0.0) -> Image.Image:
    """A digit of 28 × 28, white on black, slanted by the seed."""
    picture = Image.new("L", (28, 28))
    draw = ImageDraw.Draw(picture)
    draw.text((14, 14), str(number), fill=255, font=ImageFont.load_default(22), anchor="mm")
    slant, scale, turn = np.random.default_rng(seed).normal((0, 1, 0), (0.15, 0.1, 0.1)).tolist()
    matrix = (scale, slant, 14 - 14 * (scale + slant) + moved, turn, scale, 14 - 14 * (scale + turn))
    return picture.transform((28, 28), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC).convert("RGB")


class Found:
    """What a search says of files, by their places; and how often a file was read."""

    def __init__(self, files: Sequence[bytes]) -> None:
        facts = [inspect(data) for data in files]
        self.contents = Contents.of([[(it.sha256, it.phash, it.width, it.height, it.fingerprint) for it in facts]])
        by_digest = {it.sha256.encode(): data for it, data in zip(facts, files, strict=True)}
        place = {it.sha256.encode(): at for at, it in enumerate(facts)}
        self.places = [place[bytes(digest)] for digest in self.contents.sha256]
        self.reads = 0

        def read(content: int) -> bytes:
            self.reads += 1
            return by_digest[bytes(self.contents.sha256[content])]

        self.looks = Looks(read)
        self.found = search(self.contents, self.looks, 8)

    def pairs(self, verdict: int) -> set[tuple[int, int]]:
        chosen = np.flatnonzero(self.found.verdict == verdict)
        ends = zip(self.found.first[chosen].tolist(), self.found.second[chosen].tolist(), strict=True)
        return {(min(pair), max(pair)) for pair in ((self.places[a], self.places[b]) for a, b in ends)}


@pytest.mark.parametrize("saved", SAVED)
def test_a_small_picture_that_is_saved_anew_is_a_copy(saved: str) -> None:
    pictures = [small_scene(seed, *size) for seed, size in enumerate(((28, 28), (32, 24), (48, 36), (63, 200)))]
    pictures += [digit(7), small_scene(9, 40, 40).convert("L").convert("RGB")]
    found = Found([*(png(picture) for picture in pictures), *(SAVED[saved](picture) for picture in pictures)])
    n = len(pictures)
    assert found.pairs(COPY) == {(at, at + n) for at in range(n)}


def test_digits_that_a_little_movement_or_stretching_would_equal_are_no_copies() -> None:
    files = [png(digit(number, seed)) for number in (1, 3, 8) for seed in range(40)]
    files += [png(digit(5, moved=moved)) for moved in (0.0, 0.5, 1.0, 1.5)]
    files += [encode(digit(5, moved=moved), quality=60) for moved in (3.0, 4.0)]
    assert Found(files).pairs(COPY) == set()


def test_small_pictures_that_are_darker_or_larger_or_of_another_colour_are_no_copies() -> None:
    picture = small_scene(1, 40, 30)
    red, blue = (Image.new("RGB", (32, 32), "white") for _ in range(2))
    for drawn, colour in ((red, "#e8283c"), (blue, "#2838e8")):
        ImageDraw.Draw(drawn).ellipse((6, 6, 26, 26), fill=colour)
    files = [
        png(picture), png(ImageEnhance.Brightness(picture).enhance(0.8)), png(scaled(picture, 1.5, 1.5)), png(red),
        encode(blue, quality=95), png(red.convert("L")),
    ]  # fmt: skip
    assert Found(files).pairs(COPY) == set()


def test_small_pictures_are_told_apart_by_what_is_transparent_and_what_follows() -> None:
    first, others = small_scene(1, 48, 36), [small_scene(seed, 48, 36) for seed in (2, 3, 4)]
    moving = [encode(first, "WEBP", 90, save_all=True, append_images=[other], duration=100) for other in others]
    clear = first.convert("RGBA")
    clear.paste((255, 255, 255, 0), (0, 0, 20, 20))
    white = Image.new("RGBA", clear.size, "white")
    white.alpha_composite(clear)
    files = [*moving, png(first), png(clear), png(white), encode(clear, "PNG", compress_level=9)]
    assert Found(files).pairs(COPY) == {(4, 6)}


def test_frames_of_a_small_film_are_near() -> None:
    wide = scene(3, 480, 360)
    frames = [wide.crop((4 * step, 0, 400 + 4 * step, 300)).resize((48, 36), Image.Resampling.BOX) for step in range(6)]
    found = Found([png(frame) for frame in frames])
    assert {(at, at + 1) for at in range(5)} <= found.pairs(NEAR)
    assert found.pairs(COPY) == set()


@pytest.mark.parametrize("quality", [90, 91, 92, 93])
def test_the_thumbnail_of_a_larger_picture_is_found_whichever_file_comes_first(quality: int) -> None:
    """Which of the two is the first is decided by their digests, and so by the quality."""
    picture = small_scene(5, 96, 96)
    found = Found([png(picture), encode(scaled(picture, 0.5, 0.5), quality=quality)])
    assert found.pairs(COPY) == {(0, 1)}


def test_a_copy_is_verified_as_it_was_found() -> None:
    files = [png(digit(3)), encode(digit(3), quality=50), png(digit(3, moved=1.0))]
    found = Found(files)
    at = [found.places.index(place) for place in range(3)]
    assert look_closer(at[0], at[1], Alignment(), found.looks)[0] == COPY
    assert look_closer(at[0], at[2], Alignment(), found.looks)[0] != COPY


def test_each_picture_of_a_crowd_of_digits_is_read_a_few_times_and_a_copy_in_it_is_found() -> None:
    digits = [digit(8, seed) for seed in range(300)]
    found = Found([*(png(picture) for picture in digits), encode(digits[100], quality=95)])
    assert found.found.gathered.max() == 0, "it was to be a crowd"
    assert found.pairs(COPY) == {(100, 300)}
    assert found.reads <= 4 * 301


def icon(colour: tuple[int, int, int], *, plus: bool = False) -> Image.Image:
    """A bullet of six pixels in a colour, on white, as icons of 16 pixels are; with a bar across it."""
    image = Image.new("RGB", (16, 16), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 11, 11), fill=colour, outline=tuple(value // 2 for value in colour))
    if plus:
        draw.line((7, 1, 7, 14), fill=colour, width=2)
    return image


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_icons_of_two_colours_are_two_icons_however_they_are_saved(quality: int) -> None:
    colours = [(60, 110, 220), (60, 170, 80), (220, 60, 60), (230, 120, 190)]
    files = [encode(icon(colour), quality=quality) for colour in colours]
    files += [encode(icon(colours[0], plus=True), quality=quality)]
    assert Found(files).pairs(COPY) == set()


def test_a_window_of_a_small_picture_is_no_copy_of_it() -> None:
    """Only the wholes of two small pictures are compared."""
    found = Found([png(digit(4)), encode(digit(4), quality=75)])
    (pair,) = np.flatnonzero(found.found.verdict == COPY)
    assert found.found.variant[pair] == -1  # by no window into either
