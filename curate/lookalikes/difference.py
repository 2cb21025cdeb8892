"""How far two pictures that lie on each other differ at each place, in shares of what a copy may differ."""

import numpy as np

from curate.lookalikes.colour import YCC
from curate.lookalikes.planes import Floats, Mask, Range, box_mean, halved, of_three, smoothed

MAX_DIFFERENCE = 8.0
"""Levels of luma, as the mean over 5 × 5 of 256 × 256 pixels: the largest difference that a copy may have.

Copies of 60 photographs made in 21 ways have 8 at most where their tones can be equalled, most of them below 4; a
scratch three of 640 pixels wide has 16.
"""

SMALL_DIFFERENCE = 24.0
"""Levels in the place of both, for small pictures, whose every pixel recompression changes."""

_FULL_BLUR = 0.8  # the blur of 192 pixels: what is smaller shows each error of compression larger
EVEN_LEVELS = 2  # between neighbours in an even colour


def error_at_each_place(a: Range, b: Range, where: Mask, blur: float, *, small: bool, drawn: bool) -> Floats:
    """How far two pictures differ at each place, 1 being the most that a copy may: float32[256, 256].

    `small` says that they are below `SMALL`, `drawn` that an even colour of them compares as a colour.

    A pixel of one may lie anywhere between the least and the most of its 3 × 3 neighbours in the other, so what half a
    pixel of misplacement or another resampling filter does along an edge is no difference.
    """
    most = SMALL_DIFFERENCE if small else min(SMALL_DIFFERENCE, MAX_DIFFERENCE * max(1.0, blur / _FULL_BLUR))
    limit = np.full(where.shape, most, np.float32)
    if drawn:
        # Saving anew changes what lies along edges, and hardly an even colour.
        limit[_is_even(a.low) & _is_even(b.low)] = MAX_DIFFERENCE
    coarse_limit = np.maximum(limit[::2, ::2], limit[1::2, 1::2])
    luma = [x.seen(YCC[0]).each(lambda plane: smoothed(plane, blur)) for x in (a, b)]
    error = _beyond_neighbours(luma[0], luma[1], where, 5) / limit
    small_where = where[::2, ::2] & where[1::2, 1::2]
    halves = [x.each(halved) for x in (a, b)]
    coarse = np.zeros(small_where.shape, np.float32)
    for row in YCC[1:]:
        soft = [x.seen(row).each(lambda plane: smoothed(plane, max(1.0, blur / 2))) for x in halves]
        coarse = np.maximum(coarse, _beyond_neighbours(soft[0], soft[1], small_where, 5))
    worst: Floats = np.maximum(error, np.repeat(np.repeat(coarse / coarse_limit, 2, axis=0), 2, axis=1))
    return worst


def _is_even(pixels: Floats) -> Mask:
    """Where a picture, float32[256, 256, 3], is of one colour for some pixels round: bool[256, 256]."""
    changes = np.zeros(pixels.shape[:2], np.float32)
    for channel in range(3):
        plane = pixels[:, :, channel]
        np.maximum(changes[1:], np.abs(np.diff(plane, axis=0)), out=changes[1:])
        np.maximum(changes[:, 1:], np.abs(np.diff(plane, axis=1)), out=changes[:, 1:])
    even: Mask = of_three(of_three(changes, np.maximum), np.maximum) <= EVEN_LEVELS
    return even


def _beyond_neighbours(a: Range, b: Range, where: Mask, side: int) -> Floats:
    """The mean over side × side pixels of how far either is outside the other's 3 × 3 neighbourhood, in levels."""
    beyond = np.zeros_like(a.low)
    for one, other in ((a, b), (b, a)):
        np.maximum(beyond, of_three(one.low, np.minimum) - other.high, out=beyond)
        np.maximum(beyond, other.low - of_three(one.high, np.maximum), out=beyond)
    return box_mean(np.where(where, beyond, 0), side)
