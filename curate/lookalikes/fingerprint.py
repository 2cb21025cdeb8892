"""The hashes of what a picture may have been before it was framed, or become by cropping, from one reduced luma.

A pHash knows its picture only whole: cut 8% off the edges and 15 of its bits change. So beside the hash of the whole
each picture keeps those of some windows into it (crops, the centred square, the picture without its border) and of
the picture turned and mirrored. A copy's whole then meets its original's window, or the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.phash import Hashes

SIDE = 64
"""Pixels of each side of the reduced luma, whatever the picture's shape."""

Luma = NDArray[np.uint8]

FLAT = 1.0
"""Standard deviation of the luma, in levels of 0…255, below which there is no structure, and the hash is noise."""

_BORDER_SPREAD = 3.0  # levels within a row of the border, which JPEG may have stained
_BORDER_DRIFT = 6.0  # levels from one row of the border to another
_WIDEST_BORDER = 26  # rows of 64


@dataclass(frozen=True)
class Variant:
    """One hash of a fingerprint: of a window into the picture, or of the picture turned.

    `window` is (left, right, top, bottom) in 0…1 of the picture, or None where it depends on the picture; `turned` is a
    method of Pillow's transpose.
    """

    name: str
    window: tuple[float, float, float, float] | None = (0.0, 1.0, 0.0, 1.0)
    turned: Image.Transpose | None = None


_ODD = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
_SIGNS = _ODD, _ODD[:, None], _ODD * _ODD[:, None]  # a mirrored picture's odd frequencies are negated


def _windows() -> tuple[Variant, ...]:
    centred = [Variant("crop", (c, 1 - c, c, 1 - c)) for c in (0.025, 0.05, 0.075, 0.1)]
    sides = []
    for c in (0.05, 0.1):
        sides += [Variant("left cut", (c, 1, 0, 1)), Variant("right cut", (0, 1 - c, 0, 1))]
        sides += [Variant("top cut", (0, 1, c, 1)), Variant("bottom cut", (0, 1, 0, 1 - c))]
    caption = Variant("bottom cut", (0, 1, 0, 0.925))  # the most frequent cut of one side
    return *centred, *sides, caption, Variant("square", None), Variant("border", None)


FRAMED = _windows()
"""Windows 2.5% (or, of one side alone, 5%) apart: with 6 bits each finds what lies half as far from it."""

TURNED = (
    Variant("mirrored", turned=Image.Transpose.FLIP_LEFT_RIGHT),
    Variant("upside down, mirrored", turned=Image.Transpose.FLIP_TOP_BOTTOM),
    Variant("upside down", turned=Image.Transpose.ROTATE_180),
    Variant("turned and mirrored", turned=Image.Transpose.TRANSPOSE),
    Variant("turned and mirrored", turned=Image.Transpose.TRANSVERSE),
    Variant("turned", turned=Image.Transpose.ROTATE_90),
)
"""The ways to turn a picture. A quarter turn the other way is this one seen from the other picture."""

VARIANTS = FRAMED + TURNED
_SQUARE, _BORDER = len(FRAMED) - 2, len(FRAMED) - 1


Box = tuple[float, float, float, float]


def reduced(grey: Image.Image, box: Box | None = None) -> Luma:
    """A picture's luma at 64 × 64, uint8[64, 64]. `grey` is of mode "L"; `box` is what of it the picture covers.

    Hamming's window keeps more of the detail than a triangle does, and unlike a box it may also enlarge.
    """
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.HAMMING, box=box))


def mean_colour(pixels: Image.Image) -> bytes:
    """What stands for a flat picture in the place of hashes: its mean colour, 3 bytes."""
    return np.asarray(pixels.resize((1, 1), Image.Resampling.BOX)).tobytes()


def fingerprints(lumas: NDArray[np.uint8], sizes: Sequence[tuple[int, int]], colours: Sequence[bytes]) -> list[bytes]:
    """The hashes of `VARIANTS` of each of n pictures, 8 bytes each, big-endian; or of a flat picture, its mean colour.

    `lumas` is uint8[n, 64, 64], each as `reduced` gives it; `sizes` are the (width, height) of what it was reduced
    from; `colours` may be b"" for a picture that is not flat.
    """
    values = lumas.astype(np.float32)
    fixed, lines = _fixed_windows(values)
    whole = fixed[:, 0]
    # A square takes the whole of one side, and a picture without a border is its own inside.
    squares, insides = np.empty_like(whole), whole.copy()
    for at, (width, height) in enumerate(sizes):
        left, right, top, bottom = square(width, height)
        down = lines[at] if top == 0 else _transform(top, bottom) @ values[at]
        squares[at] = down @ _transform(left, right).T
    for at in np.flatnonzero(_may_have_border(values)).tolist():
        left, right, top, bottom = without_border(lumas[at])
        insides[at] = _transform(top, bottom) @ values[at] @ _transform(left, right).T
    own = np.stack([squares, insides], axis=1)
    low = np.concatenate([fixed[:, 1:], own, _turn(whole)], axis=1).reshape(len(values), len(VARIANTS), 64)
    ranked = np.sort(low, axis=2)
    bits = np.packbits(low > ((ranked[:, :, 31] + ranked[:, :, 32]) / 2)[:, :, None], axis=2)
    return [colour if colour and _is_even(values[at]) else bits[at].tobytes() for at, colour in enumerate(colours)]


def unpack_hashes(fingerprints: list[bytes]) -> Hashes:
    """The hashes of n fingerprints of pictures that are not flat: big-endian uint64[n, variants]."""
    return np.frombuffer(b"".join(fingerprints), dtype=">u8").reshape(-1, len(VARIANTS))


def is_flat(whole: bytes) -> bool:
    """Whether a fingerprint is that of a flat picture."""
    return len(whole) == 3


def window_of(variant: int, luma: Luma, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) in 0…1 of a variant's window into a picture."""
    if variant == _SQUARE:
        return square(width, height)
    if variant == _BORDER:
        return without_border(luma)
    window = VARIANTS[variant].window
    assert window is not None
    return window


def square(width: int, height: int) -> tuple[float, float, float, float]:
    """The largest centred square, as thumbnails are cut."""
    cut_x, cut_y = max(0.0, (1 - height / width) / 2), max(0.0, (1 - width / height) / 2)
    return cut_x, 1 - cut_x, cut_y, 1 - cut_y


def without_border(luma: Luma) -> tuple[float, float, float, float]:
    """The picture inside the even bars along its edges: a border, a letterbox; all of it where there are none."""
    values = luma.astype(np.float32)
    if not _may_have_border(values[None])[0]:
        return 0.0, 1.0, 0.0, 1.0
    left, right = _bars(values.std(axis=0), values.mean(axis=0))
    top, bottom = _bars(values.std(axis=1), values.mean(axis=1))
    return left, 1 - right, top, 1 - bottom


def _may_have_border(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of float32[n, 64, 64] have an even edge, as few pictures do: bool[n]."""
    edges = np.stack([values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1]])
    even: NDArray[np.bool_] = edges.std(axis=2).min(axis=0) <= _BORDER_SPREAD
    return even


def _bars(spread: NDArray[np.float32], mean: NDArray[np.float32]) -> tuple[float, float]:
    """How far even rows reach in from either end, in 0…1."""
    reach = []
    for order in (slice(None), slice(None, None, -1)):
        rows, means = spread[order][: _WIDEST_BORDER + 1], mean[order][: _WIDEST_BORDER + 1]
        uneven = (rows > _BORDER_SPREAD) | (np.abs(means - means[0]) > _BORDER_DRIFT)
        count = int(uneven.argmax()) if uneven.any() else 0
        # The border ends somewhere within the first uneven row.
        reach.append((count + 0.5) / SIDE if count else 0.0)
    return reach[0], reach[1]


def _is_even(values: NDArray[np.float32]) -> bool:
    """Whether a luma, float32[64, 64], has no structure."""
    return bool((values - values[0, 0]).std() < FLAT)


def _turn(low: NDArray[np.float32]) -> NDArray[np.float32]:
    """The coefficients of pictures turned in each of the ways of `TURNED`: float32[n, 8, 8] → [n, 6, 8, 8]."""
    # A quarter turn to the left is a transposition, then upside down.
    across, down, both = _SIGNS
    tilted = low.transpose(0, 2, 1)
    return np.stack([low * across, low * down, low * both, tilted, tilted * both, tilted * down], axis=1)


@dataclass(frozen=True, eq=False)
class _Transforms:
    """The transforms of the windows that are the same in every picture, by what of it they cut off."""

    wide: NDArray[np.float32]  # [8w, 64]: down, of those of the whole's width, the whole itself first
    whole: NDArray[np.float32]  # [64, 8]: across, of these
    high: NDArray[np.float32]  # [64, 8h]: across, of those of the whole's height
    inner: NDArray[np.float32]  # [8i, 64]: down, of those cut on all sides
    inner_across: NDArray[np.float32]  # [i, 64, 8]: across, of these
    order: list[int]  # where among all these each window stands


def _fixed_windows(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The coefficients of the whole, then of each window that is the same in every picture, in the order of `FRAMED`.

    Of float32[n, 64, 64]: float32[n, 1 + windows, 8, 8], and of the whole what is transformed down only, [n, 8, 64].
    No product is so large that BLAS would spread it over threads, which are in each other's way where the pictures are
    spread over processors already.
    """
    n, fixed = len(values), _fixed_transforms()
    lines = fixed.wide @ values
    wide = (lines @ fixed.whole).reshape(n, -1, 8, 8)
    high = (lines[:, :8] @ fixed.high).reshape(n, 8, -1, 8).swapaxes(1, 2)
    inner = (fixed.inner @ values).reshape(n, -1, 8, SIDE) @ fixed.inner_across
    return np.concatenate([wide, high, inner], axis=1)[:, fixed.order], lines[:, :8]


@lru_cache(maxsize=1)
def _fixed_transforms() -> _Transforms:
    windows = [(0.0, 1.0, 0.0, 1.0), *(variant.window for variant in FRAMED if variant.window is not None)]
    places = range(len(windows))
    wide = [at for at in places if windows[at][:2] == (0, 1)]
    high = [at for at in places if at not in wide and windows[at][2:] == (0, 1)]
    inner = [at for at in places if at not in wide and at not in high]
    across = [_transform(left, right).T for left, right, _, _ in windows]
    down = [_transform(top, bottom) for _, _, top, bottom in windows]
    return _Transforms(
        wide=np.concatenate([down[at] for at in wide]),
        whole=np.ascontiguousarray(across[0]),
        high=np.concatenate([across[at] for at in high], axis=1),
        inner=np.concatenate([down[at] for at in inner]),
        inner_across=np.stack([across[at] for at in inner]),
        order=np.argsort(wide + high + inner).tolist(),
    )


@lru_cache(maxsize=4096)
def _transform(low: float, high: float) -> NDArray[np.float32]:
    """The eight lowest DCT-II frequencies of a stretch of a line of 64 pixels: float32[8, 64].

    Each basis function is integrated over each pixel, so the stretch may begin and end within one. On the whole line
    this differs from the transform of imagehash by the resampling alone: 2 bits, seldom 4.
    """
    edges = (np.clip(np.arange(SIDE + 1) / SIDE, low, high) - low) / (high - low)
    frequency = np.arange(1, 8)[:, None]
    waves = np.sin(np.pi * frequency * edges) / (np.pi * frequency)
    return np.diff(np.concatenate([edges[None], waves]), axis=1).astype(np.float32)
