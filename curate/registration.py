"""The second look at two pictures: lay one over the other and see whether the fine detail agrees too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Lumas = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE = 64
"""Pixels of each side of the reduced luma that pictures are compared at, whatever their shape."""

_COARSE = (2.0, 8.0)  # band-pass: Gaussian of the first width less one of the second, in cells
_FINE = (0.7, 3.0)
_STEPS = ((_COARSE, 4), (_FINE, 4))
_GUESS_RIM = 2.5 / SIDE  # what the guess may be wrong by, and the pictures' own edges spoil
_RIM = 1.5 / SIDE
_STRIDE = 0.02
_CLIP = 2.0
_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Agreement:
    """How p pairs of pictures agree where they overlap, once registered.

    `placement` float32[p, 4] is (left, right, top, bottom) of the first picture's frame in the second's, both
    0…1; `whole` float32[p] the correlation of their luma, `detail` float32[p] that of the frequencies above those
    a pHash looks at; `texture` float32[p] the smaller standard deviation of that detail, in levels; `common` float32[p]
    the share of the first picture's frame that was compared.
    """

    placement: Floats
    whole: Floats
    detail: Floats
    blocks: Floats
    texture: Floats
    common: Floats


def register(first: Lumas, second: Lumas, placement: Floats, part: Floats) -> Agreement:
    """Refine where each first picture lies in its second, and compare the two there.

    `first` and `second` are uint8[p, 64, 64]; `placement` float32[p, 4] is the guess to start from, which may be
    off by about 2% of the frame; `part` float32[p, 4] says which part of the first picture to compare at all.

    Method: Gauss–Newton on offset and scale of both axes (Lucas and Kanade, IJCAI 1981) with the gain and the bias
    of the luma projected out, on a band of low frequencies first and of higher ones after.
    """
    a, b = first.astype(np.float32), second.astype(np.float32)
    placement = placement.astype(np.float32)
    for band, steps in _STEPS:
        mask = _overlap(placement, part, _GUESS_RIM)
        fixed = _band(a, mask, band)
        for _ in range(steps):
            placement = _step(fixed, _band(_warp(b, placement), mask, band), mask, placement)
    return _compare(a, _warp(b, placement), _overlap(placement, part, _RIM), placement)


def _grid() -> Floats:
    return ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)


def _gaussian(width: float) -> Floats:
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)
    return np.exp(-0.5 * (distance / width) ** 2).astype(np.float32)


def _overlap(placement: Floats, part: Floats, rim: float) -> tuple[Floats, Floats]:
    """Where the two overlap, in the first one's frame: its columns and its rows, float32[p, 64] of 0 and 1 each."""
    here = _grid()
    masks = []
    for axis in (0, 2):
        low, high = placement[:, axis, None], placement[:, axis + 1, None]
        begin, end = part[:, axis, None] + rim, part[:, axis + 1, None] - rim
        there = low + (high - low) * here
        masks.append(((there > rim) & (there < 1 - rim) & (here > begin) & (here < end)).astype(np.float32))
    return masks[0], masks[1]


def _band(images: Floats, mask: tuple[Floats, Floats], band: tuple[float, float]) -> Floats:
    """Band-pass what lies under the mask, as if there were nothing beside it; 0 elsewhere."""
    columns, rows = mask
    smooth = []
    for width in band:
        kernel = _gaussian(width)
        across, down = (kernel * m[:, None, :] / np.maximum(m @ kernel, 1e-6)[:, :, None] for m in (columns, rows))
        smooth.append(down @ images @ across.transpose(0, 2, 1))
    passed: Floats = (smooth[0] - smooth[1]) * rows[:, :, None] * columns[:, None, :]
    return passed


def _sampling(low: Floats, high: Floats) -> Floats:
    """Linear interpolation at 64 places between `low` and `high`: float32[p, 64, 64], rows are places."""
    at = (low[:, None] + (high - low)[:, None] * _grid()) * SIDE - 0.5
    at = np.clip(at, 0, SIDE - 1)
    return np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(SIDE, dtype=np.float32)))


def _warp(images: Floats, placement: Floats) -> Floats:
    left, right, top, bottom = placement.T
    warped: Floats = _sampling(top, bottom) @ images @ _sampling(left, right).transpose(0, 2, 1)
    return warped


def _step(fixed: Floats, moving: Floats, mask: tuple[Floats, Floats], placement: Floats) -> Floats:
    """One Gauss–Newton step of the four edges."""
    n = len(fixed)
    inner = [m * np.roll(m, 1, axis=1) * np.roll(m, -1, axis=1) for m in mask]  # where differences are whole
    weight = inner[1][:, :, None] * inner[0][:, None, :]
    down, across = np.gradient(moving, axis=(1, 2))
    gain = (fixed * moving).sum(axis=(1, 2)) / np.maximum((fixed * fixed).sum(axis=(1, 2)), 1e-6)
    error = (fixed * gain[:, None, None] - moving) * weight
    at = _grid()
    # How the warped picture changes as its left, right, top and bottom edges move by one frame of the first.
    moves = np.stack([across * (1 - at), across * at, down * (1 - at)[:, None], down * at[:, None]], axis=1)
    moves = (moves * (SIDE * weight[:, None])).reshape(n, 4, -1)
    curvature = moves @ moves.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(curvature, axis1=1, axis2=2) + 1e-3
    curvature += np.eye(4, dtype=np.float32) * ridge[:, None, None]
    step = np.linalg.solve(curvature, moves @ error.reshape(n, -1, 1))[:, :, 0]
    size = np.repeat(placement[:, 1::2] - placement[:, ::2], 2, axis=1)
    moved: Floats = placement + np.clip(step, -_STRIDE, _STRIDE) * size
    return moved


def _correlation(a: Floats, b: Floats, axes: tuple[int, ...]) -> Floats:
    spread = np.sqrt((a * a).sum(axis=axes) * (b * b).sum(axis=axes))
    correlation: Floats = (a * b).sum(axis=axes) / np.maximum(spread, 1e-6)
    return correlation


def _compare(a: Floats, b: Floats, mask: tuple[Floats, Floats], placement: Floats) -> Agreement:
    area = mask[1][:, :, None] * mask[0][:, None, :]
    n = np.maximum(area.sum(axis=(1, 2)), 1)
    centred = [(x - ((x * area).sum(axis=(1, 2)) / n)[:, None, None]) * area for x in (a, b)]
    fine = [_band(x, mask, _FINE) for x in (a, b)]
    spread = [np.sqrt((f * f).sum(axis=(1, 2)) / n) for f in fine]
    # Clipped, so that no single edge decides: the outline of a flower before a black ground is like another's.
    clipped = [np.clip(f, -s[:, None, None], s[:, None, None]) for f, s in zip(fine, _CLIP * np.array(spread), strict=True)]
    cell = SIDE // _BLOCKS
    tiles = [c.reshape(len(a), _BLOCKS, cell, _BLOCKS, cell) for c in fine]
    return Agreement(
        placement,
        whole=_correlation(centred[0], centred[1], (1, 2)),
        detail=_correlation(clipped[0], clipped[1], (1, 2)),
        blocks=np.median(_correlation(tiles[0], tiles[1], (2, 4)).reshape(len(a), -1), axis=1),
        texture=np.minimum(spread[0], spread[1]),
        common=n / SIDE**2,
    )
