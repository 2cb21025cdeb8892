"""A small picture as it is compared with others of its size: at its own scale, with what saving may have done to it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image import DecodedImage, Encoding, decode, encoding_of, further_frames
from curate.lookalikes.colour import YCC
from curate.lookalikes.comparison import SMALL
from curate.lookalikes.registration import gaussian

FRACTIONS = 64
"""Parts of a level, in which smoothed luma and the means of blocks are kept."""

_SOFT = 0.8  # pixels: the width of the Gaussian under which two lumas are compared
_BLOCK = 8  # pixels of a side
_BY_STEPS = 5.5, 4.8  # levels a JPEG changes anyway, and for each level by which its steps spread the smoothed luma
_BY_LOSS = 17.0  # levels that other lossy formats change: WebP of quality 50
_BY_PALETTE = 22.0  # levels that a full palette changes
_BY_ROUNDING = 1.5  # levels that colour profiles and ways to grey change
_FULL_PALETTE = 200  # colours
_EVEN = 6  # levels between the least and the most of an even block
_GREY = 3.0  # levels of Cb and Cr
_GRAPHIC = 0.5  # share of pixels that are like the one before and the one above
_LIKE = 2  # levels
_FRAMES = 4  # of an animation that are looked at besides the first
_FRAME_SIDE = 32


Planes = NDArray[np.int16]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class OnGround(NamedTuple):
    """A picture of w × h pixels on a ground: its smoothed luma, int16[h, w]; of its blocks of 8 × 8 the means of luma,
    Cb and Cr, int16[3, rows, columns], and of their quarters, int16[3, 2 rows, 2 columns], all in 64ths of a level;
    and which blocks are even, bool[rows, columns].
    """

    soft: Planes
    means: Planes
    quarters: Planes
    even: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SmallLook:
    """What is compared of a small picture.

    `on_white` and `on_black` are the picture on these grounds, the latter None where nothing is transparent.
    `saving` is by how many levels its file may have changed its smoothed luma. `frames` uint8[k, 32, 32, 3] are samples
    of the frames that follow in an animation, of which there are `further`.
    """

    on_white: OnGround
    on_black: OnGround | None
    saving: float
    is_grey: bool
    is_graphic: bool
    further: int
    frames: Pixels


def is_small(width: int, height: int) -> bool:
    """Whether a picture of that size is compared at its own scale."""
    return min(width, height) < SMALL


def look_at_small(data: bytes, path: str = "<bytes>") -> SmallLook:
    """What is compared of a small picture's file. Raises `BrokenImage`."""
    image, encoding = decode(data, path=path), encoding_of(data)
    pixels = np.asarray(image.pixels)
    on_white = _laid(pixels)
    black = pixels if encoding.opaque else np.asarray(decode(data, path=path, over="black").pixels)
    saving = _saving(image, encoding, data)
    further, frames = (0, []) if encoding.still else further_frames(data, _FRAMES)
    samples = [np.asarray(frame.resize((_FRAME_SIDE, _FRAME_SIDE), Image.Resampling.BOX)) for frame in frames]
    return SmallLook(
        on_white,
        None if np.array_equal(black, pixels) else _laid(black),
        saving,
        bool(np.abs(on_white.means[1:]).max() <= _GREY * FRACTIONS),
        _is_graphic(pixels),
        further,
        np.array(samples, np.uint8).reshape(-1, _FRAME_SIDE, _FRAME_SIDE, 3),
    )


def _laid(pixels: Pixels) -> OnGround:
    planes = np.ascontiguousarray(np.moveaxis(pixels @ YCC.T, 2, 0))
    height, width = planes.shape[1:]
    soft = _smoothing(height) @ planes[0] @ _smoothing(width).T
    blocks = _in_blocks(planes)
    spread = blocks.max(axis=(2, 4)) - blocks.min(axis=(2, 4))
    rows, columns = blocks.shape[1], blocks.shape[3]
    quarters = blocks.reshape(3, 2 * rows, _BLOCK // 2, 2 * columns, _BLOCK // 2).mean(axis=(2, 4))
    means = blocks.mean(axis=(2, 4))
    fine, coarse, finer = (np.rint(values * FRACTIONS).astype(np.int16) for values in (soft, means, quarters))
    return OnGround(fine, coarse, finer, spread.max(axis=0) <= _EVEN)


@lru_cache(maxsize=64)
def _smoothing(side: int) -> Floats:
    """The weights of the means under a Gaussian round each of so many pixels of a line: float32[side, side]."""
    weights = gaussian(_SOFT, side)
    means: Floats = weights / weights.sum(axis=1, keepdims=True)
    return means


def _in_blocks(planes: Floats) -> Floats:
    """Planes float32[3, h, w] in blocks, the last row and column continued: float32[3, rows, 8, columns, 8]."""
    height, width = planes.shape[1:]
    rows, columns = (np.minimum(np.arange(-(-side // _BLOCK) * _BLOCK), side - 1) for side in (height, width))
    whole = planes[:, rows][:, :, columns]
    return whole.reshape(3, len(rows) // _BLOCK, _BLOCK, len(columns) // _BLOCK, _BLOCK)


def _saving(image: DecodedImage, encoding: Encoding, data: bytes) -> float:
    """By how many levels the file may have changed the luma under the Gaussian.

    Measured of flowers, digits and icons of 16 to 63 pixels: saved as JPEG of quality 25, 50, 75 and 90 all but 2% of
    them changed by less than 25, 16, 11 and 7 levels, as WebP of quality 50 by less than 17, and with a palette of 256
    colours, dithered, by less than 22.
    """
    if encoding.quantisation is not None:
        least, each = _BY_STEPS
        spread = np.sqrt(np.mean((encoding.quantisation * _kept()) ** 2) / 12)
        return least + each * float(spread)
    if not encoding.lossless:
        return _BY_LOSS
    has_palette = image.format == "GIF" or (image.format == "PNG" and data[25:26] == b"\x03")
    return _BY_PALETTE if has_palette and _colours(np.asarray(image.pixels)) >= _FULL_PALETTE else _BY_ROUNDING


@lru_cache(maxsize=1)
def _kept() -> Floats:
    """How much the Gaussian leaves of each frequency of a block of 8 × 8: float32[8, 8]."""
    line = np.exp(-2 * (np.pi * _SOFT * np.arange(8) / 16) ** 2)
    return np.outer(line, line).astype(np.float32)


def _colours(pixels: Pixels) -> int:
    """How many colours a picture has."""
    return len(np.unique(pixels.reshape(-1, 3) @ np.array([1, 1 << 8, 1 << 16])))


def _is_graphic(pixels: Pixels) -> bool:
    """Whether a picture is drawn in few even colours, as icons are; then colours are what it shows."""
    green = pixels[:, :, 1].astype(np.int16)
    like = (np.abs(np.diff(green, axis=0))[:, 1:] <= _LIKE) & (np.abs(np.diff(green, axis=1))[1:] <= _LIKE)
    return bool(like.mean() > _GRAPHIC) if like.size else True
