"""A heat map laid over its picture, in colours whose lightness rises with the heat."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.explaining import HeatMap

_COLOURS: Final = np.array(
    [(30, 20, 80), (110, 20, 120), (195, 45, 95), (240, 120, 40), (252, 215, 70)], np.float32
)  # coldest first; each is lighter than the one before, so that grey and the colour-blind show the same order
_COLD: Final = 0.35  # how much of the colours covers the picture where there is no heat,
_HOT: Final = 0.65  # and where it is greatest
_CUT_OFF: Final = 0.25  # of its light the picture keeps where the network saw nothing of it


def overlay(picture: Image.Image, heat: HeatMap) -> Image.Image:
    """`picture`, upright and RGB, under its heat map: grey where the map is cold, and dark where nothing was seen."""
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    scaled = _resized(heat.scaled(), picture.size)
    place = scaled * (len(_COLOURS) - 1)
    below = np.minimum(place.astype(np.int64), len(_COLOURS) - 2)
    share = (place - below)[..., None]
    colour = _COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share
    cover = (_COLD + (_HOT - _COLD) * scaled)[..., None]
    drawn = grey * (1 - cover) + colour * cover
    left, top, right, bottom = _pixels(heat.box, picture.size)
    seen = np.zeros(drawn.shape[:2], bool)
    seen[top:bottom, left:right] = True
    drawn = np.where(seen[..., None], drawn, grey * _CUT_OFF)
    return Image.fromarray(np.rint(drawn).astype(np.uint8))


def _resized(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    resized = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, np.float32), 0, 1)


def _pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    left, top, right, bottom = box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)
