"""Whether two pictures that lie on each other are coloured alike: the same shirt in red and in blue is two pictures."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHROMA_SIDE = 16
"""Pixels of each side of the reduced chroma."""

MIN_COLOUR = 0.6
"""Correlation of the chroma; edited copies of real photographs stay above 0.9."""

_FAINT = 3.0  # levels of chroma's standard deviation: with less there is nothing to compare, as in a grey copy

YCC: Final = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)
"""Rows that make Y, Cb and Cr, these round 0, of red, green and blue (JFIF 1.02)."""

Chroma = NDArray[np.uint8]
Floats = NDArray[np.float32]


def chroma(pixels: Image.Image) -> Chroma:
    """A picture's Cb and Cr at 16 × 16: uint8[2, 16, 16]."""
    small = pixels.resize((CHROMA_SIDE, CHROMA_SIDE), Image.Resampling.BOX).convert("YCbCr")
    return np.ascontiguousarray(np.asarray(small)[:, :, 1:].transpose(2, 0, 1))


def coloured_alike(first: Chroma, second: Chroma, placement: Floats, part: Floats) -> NDArray[np.bool_]:
    """Whether p pairs of pictures have their colours in the same places: bool[p].

    `first` and `second` are uint8[p, 2, 16, 16]; `placement` float32[p, 4] says where each first lies in its second,
    and `part` which part of the first counts, both as (left, right, top, bottom). A shift of all
    colours (white balance) or a weakening of them makes no difference, and grey agrees with everything.
    """
    a, b = first.astype(np.float32), second.astype(np.float32)
    (across, columns), (down, rows) = _sampling(placement[:, :2], part[:, :2]), _sampling(placement[:, 2:], part[:, 2:])
    b = np.matmul(np.matmul(down[:, None], b), across[:, None].transpose(0, 1, 3, 2), dtype=np.float32)
    weight = (rows[:, :, None] * columns[:, None, :])[:, None]
    area = np.maximum(weight.sum(axis=(2, 3), keepdims=True), 1)
    a, b = ((x - (x * weight).sum(axis=(2, 3), keepdims=True) / area) * weight for x in (a, b))
    power_a, power_b, shared = ((x * y).sum(axis=(1, 2, 3)) / area[:, 0, 0, 0] for x, y in ((a, a), (b, b), (a, b)))
    faint = np.minimum(power_a, power_b) < _FAINT**2
    alike: NDArray[np.bool_] = faint | (shared >= MIN_COLOUR * np.sqrt(power_a * power_b))
    return alike


def _sampling(placement: Floats, part: Floats) -> tuple[Floats, Floats]:
    """(weights float32[p, 16, 16] of linear interpolation, whether each place is in both pictures float32[p, 16])."""
    here = ((np.arange(CHROMA_SIDE) + 0.5) / CHROMA_SIDE).astype(np.float32)
    low, high = placement[:, :1], placement[:, 1:]
    there = low + (high - low) * here
    inside = (there > 0) & (there < 1) & (here > part[:, :1]) & (here < part[:, 1:])
    at = np.clip(there * CHROMA_SIDE - 0.5, 0, CHROMA_SIDE - 1)
    weights: Floats = np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(CHROMA_SIDE, dtype=np.float32)))
    return weights, inside.astype(np.float32)
