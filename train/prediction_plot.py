"""Predictions as a picture: each photograph, and beside it its likeliest classes as bars."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from curate.image import BrokenImage, load_pixels
from curate.rendering import FAINT, INK, PAPER, fitted, font_for, thumbnail
from train.predict import Prediction

MOST: Final = 50  # predictions in one picture
MOST_GUESSES: Final = 100  # of each prediction

_SIDE: Final = 224
_MARGIN: Final = 12
_WIDTH: Final = 720
_NAME: Final = 190  # pixels for a class's name
_SHARE: Final = 58  # and for its probability
_BAR: Final = 24
_BARS: Final = {None: (91, 127, 165), True: (76, 145, 92), False: (178, 84, 76)}


@dataclass(frozen=True)
class LabelledPrediction:
    """What was said of one file; with its true label and its heat map (RGB), where these are known."""

    prediction: Prediction
    truth: str | None = None
    truth_name: str = ""
    heat: Image.Image | None = None


def plot_predictions(predictions: Sequence[LabelledPrediction]) -> Image.Image:
    """One panel below the other, RGB: the picture at the left, its guesses at the right, likeliest first.

    Where there is a heat map, it stands between them. The first guess is green where it is the truth and red where it
    is not. Only the first `MOST` are drawn, and of each its first `MOST_GUESSES` guesses.
    """
    predictions = predictions[:MOST]
    heights = [_height(shown) for shown in predictions]
    further = _SIDE + _MARGIN if any(shown.heat for shown in predictions) else 0
    sheet = Image.new("RGB", (_WIDTH + further, max(1, sum(heights))), PAPER)
    top = 0
    for shown, height in zip(predictions, heights, strict=True):
        _draw(sheet, shown, top, further)
        top += height
    return sheet


def _height(shown: LabelledPrediction) -> int:
    return 2 * _MARGIN + max(_SIDE, 56 + _BAR * len(shown.prediction.guesses[:MOST_GUESSES]))


def _draw(sheet: Image.Image, shown: LabelledPrediction, top: int, further: int) -> None:
    """One panel at `top`, its bars so many pixels `further` to the right."""
    pen = ImageDraw.Draw(sheet)
    with suppress(BrokenImage):  # it was whole a moment ago
        _paste(sheet, load_pixels(Path(shown.prediction.path), at_least=_SIDE), _MARGIN, top)
    if shown.heat:
        _paste(sheet, shown.heat, 2 * _MARGIN + _SIDE, top)
    left = _SIDE + 3 * _MARGIN + further
    title = Path(shown.prediction.path).name + ("" if shown.prediction.sure else ": not sure")
    truth = f"true class: {shown.truth_name or shown.truth}" if shown.truth is not None else ""
    for line, (text, size, colour) in enumerate(((title, 15, INK), (truth, 13, FAINT))):
        font = font_for(text, size)
        pen.text((left, top + _MARGIN + 20 * line), fitted(text, font, sheet.width - left - _MARGIN), colour, font)
    for number, guess in enumerate(shown.prediction.guesses[:MOST_GUESSES]):
        right = None if shown.truth is None or number else guess.label == shown.truth
        _bar(pen, guess.name, guess.probability, left, top + _MARGIN + 52 + number * _BAR, _BARS[right])


def _paste(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    small = thumbnail(picture, _SIDE, _SIDE)
    sheet.paste(small, (left + (_SIDE - small.width) // 2, top + _MARGIN + (_SIDE - small.height) // 2))


def _bar(
    pen: ImageDraw.ImageDraw, name: str, probability: float, left: int, top: int, colour: tuple[int, int, int]
) -> None:
    font = font_for(name, 14)
    pen.text((left, top), fitted(name, font, _NAME - 8), INK, font)
    start = left + _NAME
    longest = _WIDTH - _SIDE - 4 * _MARGIN - _NAME - _SHARE
    pen.rectangle((start, top + 2, start + max(1, round(longest * probability)), top + _BAR - 8), fill=colour)
    pen.text((start + longest + _SHARE, top), f"{probability:.1%}", INK, font_for("0", 14), anchor="ra")
