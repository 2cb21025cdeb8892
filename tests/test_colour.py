"""One shape in two colours is two pictures; light, saturation and greyness make no difference."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from curate.lookalikes.colour import chroma, coloured_alike
from curate.lookalikes.registration import IDENTITY

FRAME = np.array([IDENTITY], np.float32)


def shirt(colour: str) -> Image.Image:
    picture = Image.new("RGB", (320, 320), (240, 240, 235))
    draw = ImageDraw.Draw(picture)
    draw.polygon([(60, 60), (130, 40), (190, 40), (260, 60), (300, 140), (250, 150), (250, 290), (70, 290)], colour)
    return picture


def alike(first: Image.Image, second: Image.Image) -> bool:
    return bool(coloured_alike(chroma(first)[None], chroma(second)[None], FRAME, FRAME)[0])


@pytest.mark.parametrize(("one", "other"), [("red", "blue"), ("red", "green"), ("purple", "green"), ("yellow", "blue")])
def test_two_colours_are_two_pictures(one: str, other: str) -> None:
    assert not alike(shirt(one), shirt(other))


@pytest.mark.parametrize("colour", ["red", "blue", "green", "orange"])
def test_light_and_saturation_make_no_difference(colour: str) -> None:
    original = shirt(colour)
    assert alike(original, ImageEnhance.Brightness(original).enhance(0.6))
    assert alike(original, ImageEnhance.Color(original).enhance(0.4))
    assert alike(original, original.convert("L").convert("RGB"))
    tint = Image.new("RGB", original.size, (255, 200, 120))
    assert alike(original, Image.blend(original, tint, 0.15))


def test_colours_are_compared_where_the_pictures_overlap() -> None:
    original = shirt("red")
    framed = Image.new("RGB", (400, 400), "blue")
    framed.paste(original, (40, 40))
    placement = np.array([[0.1, 0.9, 0.1, 0.9]], np.float32)
    assert coloured_alike(chroma(original)[None], chroma(framed)[None], placement, FRAME)[0]


def test_only_the_part_in_question_counts() -> None:
    original, dipped = shirt("red"), shirt("red")
    dipped.paste(shirt("blue").crop((0, 100, 320, 320)), (0, 100))
    upper = np.array([[0, 1, 0, 0.3]], np.float32)
    assert coloured_alike(chroma(original)[None], chroma(dipped)[None], FRAME, upper)[0]
    assert not coloured_alike(chroma(original)[None], chroma(dipped)[None], FRAME, FRAME)[0]
