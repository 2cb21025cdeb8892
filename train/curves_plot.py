"""A run's curves as a picture: the loss and the accuracy of each epoch, on train and on valid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from PIL import Image, ImageDraw

from curate.rendering import FAINT, INK, PAPER, font_for
from train.optimising.fitting import Epoch

_WIDTH, _HEIGHT = 480, 300  # of each panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 34, 44
_TRAIN: Final = (91, 127, 165)
_VALID: Final = (204, 121, 60)
_RULE: Final = (224, 224, 224)
RULES: Final = 5

Curve = Sequence[float | None]  # None where an epoch has no such figure


def plot_curves(history: Sequence[Epoch]) -> Image.Image:
    """Loss at the left, accuracy in percent at the right, over the epochs: an RGB picture of `curves_of`."""
    sheet = Image.new("RGB", (2 * _WIDTH, _HEIGHT), PAPER)
    for number, panel in enumerate(curves_of(history)):
        _panel(sheet, number * _WIDTH, panel.title, panel.top, (panel.train, panel.valid))
    return sheet


@dataclass(frozen=True)
class CurvePanel:
    """One figure over the epochs, on train and on valid, to be drawn between 0 and `top`."""

    title: str
    top: float
    train: Curve
    valid: Curve


def curves_of(history: Sequence[Epoch]) -> tuple[CurvePanel, CurvePanel]:
    """The loss, and the accuracy in percent.

    The loss of train is the plain cross-entropy, as valid's is: with the smoothing that is trained on it would lie
    above valid's for no reason that a reader can see. Pictures that are turned and cut still make it higher.
    """
    plain = [one.loss if one.plain_loss is None else one.plain_loss for one in history]
    valid = [one.valid_loss for one in history]
    top = max((value for value in (*plain, *valid) if is_drawn(value)), default=1.0)
    hundred = [
        [None if value is None else 100 * value for value in curve]
        for curve in ([one.train_accuracy for one in history], [one.valid_accuracy for one in history])
    ]
    return (
        CurvePanel("loss", RULES * _step(top / RULES), plain, valid),
        CurvePanel("accuracy, %", 100.0, hundred[0], hundred[1]),
    )


def _panel(sheet: Image.Image, left: int, title: str, top: float, curves: tuple[Curve, Curve]) -> None:
    """Draw both curves between 0 and `top`."""
    pen = ImageDraw.Draw(sheet)
    small, large = font_for(title, 12), font_for(title, 14)
    right, floor = left + _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    pen.text((left + _LEFT, 8), title, INK, large)
    pen.text((right - 60, 9), "train", _TRAIN, small, anchor="ra")
    pen.text((right, 9), "valid", _VALID, small, anchor="ra")
    for number in range(RULES + 1):
        height = floor - (floor - _TOP) * number / RULES
        pen.line((left + _LEFT, height, right, height), fill=_RULE)
        pen.text((left + _LEFT - 6, height), f"{top * number / RULES:.3g}", FAINT, small, anchor="rm")
    count = len(curves[0])
    for number in sorted({1, (count + 1) // 2, count} if count else set()):
        pen.text((_across(number - 1, count, left), floor + 6), str(number), FAINT, small, anchor="ma")
    pen.text(((left + _LEFT + right) / 2, _HEIGHT - 6), "epoch", FAINT, small, anchor="mb")
    for curve, colour in zip(curves, (_TRAIN, _VALID), strict=True):
        points = [
            (_across(number, count, left), floor - (floor - _TOP) * value / top)
            for number, value in enumerate(curve)
            if is_drawn(value)
        ]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2, joint="curve")
        for x, y in points if len(points) < 20 else []:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


def _step(least: float) -> float:
    """The least of 1, 2, 2.5, 5 and 10, times a power of ten, that is no less."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least or factor == 10)


def is_drawn(value: float | None) -> TypeGuard[float]:
    """A loss that has left the numbers has no place on a scale."""
    return value is not None and math.isfinite(value)


def _across(number: int, count: int, left: int) -> float:
    room = _WIDTH - _LEFT - _RIGHT
    return left + _LEFT + room * (number / (count - 1) if count > 1 else 0.5)
