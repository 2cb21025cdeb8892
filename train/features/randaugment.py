"""RandAugment: a few of fourteen operations, drawn anew for each view, all of one magnitude.

E. Cubuk, B. Zoph, J. Shlens, Q. Le, "RandAugment: Practical automated data augmentation with a reduced search space",
2019, with the ranges that torchvision gives its operations.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from PIL import Image, ImageEnhance, ImageOps

MOST_MAGNITUDE: Final = 30

FILL: Final = (124, 116, 104)
"""ImageNet's mean colour, for what lies outside of a picture."""

_TRANSLATED: Final = 150 / 331  # of a side, at the most

Change = Callable[[Image.Image, float], Image.Image]


@dataclass(frozen=True)
class Operation:
    """`change`(picture, level) → a picture of the same size, where level is `least` at magnitude 0 and `most` at 30."""

    change: Change
    least: float = 0.0
    most: float = 0.0
    signed: bool = False  # the level is taken off instead of added half of the time

    def level(self, magnitude: int) -> float:
        """The level at a magnitude of 0 to 30, before its sign is drawn."""
        return self.least + (self.most - self.least) * magnitude / MOST_MAGNITUDE


def randaugment(picture: Image.Image, source: random.Random, operations: int, magnitude: int) -> Image.Image:
    """Change an 8-bit RGB picture by so many of OPERATIONS, one after the other; all that is drawn comes from `source`.

    What is moved in from outside of the picture is FILL; the same draws give the same pixels.
    """
    for _ in range(operations):
        one = _DRAWN[source.randrange(len(_DRAWN))]
        level = one.level(magnitude)
        if one.signed and source.random() < 0.5:
            level = -level
        picture = one.change(picture, level)
    return picture


def _moved(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """Pillow asks where an output pixel comes from."""
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _translated_across(picture: Image.Image, share: float) -> Image.Image:
    return _moved(picture, (1, 0, -int(share * picture.width), 0, 1, 0))


def _translated_down(picture: Image.Image, share: float) -> Image.Image:
    return _moved(picture, (1, 0, 0, 0, 1, -int(share * picture.height)))


def _rotated(picture: Image.Image, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=FILL)


OPERATIONS: Final[dict[str, Operation]] = {
    "Identity": Operation(lambda picture, _: picture),
    # The level is the tangent of the angle, about the upper left corner
    "ShearX": Operation(lambda picture, level: _moved(picture, (1, level, 0, 0, 1, 0)), most=0.3, signed=True),
    "ShearY": Operation(lambda picture, level: _moved(picture, (1, 0, 0, level, 1, 0)), most=0.3, signed=True),
    "TranslateX": Operation(_translated_across, most=_TRANSLATED, signed=True),
    "TranslateY": Operation(_translated_down, most=_TRANSLATED, signed=True),
    "Rotate": Operation(_rotated, most=30.0, signed=True),  # degrees
    "Brightness": Operation(
        lambda picture, by: ImageEnhance.Brightness(picture).enhance(1 + by), most=0.9, signed=True
    ),
    "Color": Operation(lambda picture, by: ImageEnhance.Color(picture).enhance(1 + by), most=0.9, signed=True),
    "Contrast": Operation(lambda picture, by: ImageEnhance.Contrast(picture).enhance(1 + by), most=0.9, signed=True),
    "Sharpness": Operation(lambda picture, by: ImageEnhance.Sharpness(picture).enhance(1 + by), most=0.9, signed=True),
    # Bits of each colour that stay
    "Posterize": Operation(lambda picture, bits: ImageOps.posterize(picture, round(bits)), least=8.0, most=4.0),
    # From this value on, of 0 to 255, it is inverted
    "Solarize": Operation(lambda picture, value: ImageOps.solarize(picture, ceil(value)), least=255.0, most=0.0),
    "AutoContrast": Operation(lambda picture, _: ImageOps.autocontrast(picture)),
    "Equalize": Operation(lambda picture, _: ImageOps.equalize(picture)),
}
"""By the names that torchvision gives them, in its order."""

_DRAWN: Final = list(OPERATIONS.values())
