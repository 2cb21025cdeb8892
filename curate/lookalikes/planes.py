"""What is computed of one plane or of pictures of a close look: smoothed, reduced, and known between two bounds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""(left, right, top, bottom) in a picture whose sides are 0…1."""


class Range(NamedTuple):
    """Between which values a plane or a picture is: two arrays of one shape, or one twice where all is known."""

    low: Floats
    high: Floats

    def seen(self, row: Floats) -> "Range":
        """A row of `YCC` of a picture float32[n, n, 3]: float32[n, n]."""
        if self.low is self.high:
            return exactly(self.low @ row)
        more, less = np.maximum(row, 0), np.minimum(row, 0)
        return Range(self.low @ more + self.high @ less, self.high @ more + self.low @ less)

    def each(self, function: Callable[[Floats], Floats]) -> "Range":
        """The same of what a function that keeps order gives of either bound."""
        low = function(self.low)
        return Range(low, low if self.low is self.high else function(self.high))


def exactly(values: Floats) -> Range:
    """All is known of these."""
    return Range(values, values)


def halved(plane: Floats) -> Floats:
    """The means of 2 × 2 pixels: float32[n, n, …] → float32[n / 2, n / 2, …]."""
    across = plane[:, ::2] + plane[:, 1::2]
    halved: Floats = (across[::2] + across[1::2]) * np.float32(0.25)
    return halved


def smoothed(plane: Floats, width: float) -> Floats:
    """A plane float32[n, n] under a Gaussian of that width in pixels, its edges continued."""
    reach = max(1, round(3 * width))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for _ in range(2):  # down, then across
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        smooth = weights[0] * padded[: len(plane)]
        for at in range(1, len(weights)):
            smooth += weights[at] * padded[at : at + len(plane)]
        plane = np.ascontiguousarray(smooth.T)
    return plane


def of_three(plane: Floats, extreme: np.ufunc) -> Floats:
    """The least or the most of the 3 × 3 pixels round each."""
    for axis in (0, 1):
        lines = plane if axis == 0 else plane.T
        widest = lines.copy()
        extreme(widest[1:], lines[:-1], out=widest[1:])
        extreme(widest[:-1], lines[1:], out=widest[:-1])
        plane = widest if axis == 0 else widest.T
    return plane


def box_mean(plane: Floats, side: int) -> Floats:
    """The mean of side × side pixels round each, 0 beyond the edges."""
    sums = np.pad(plane, side // 2 + 1).astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    n, m = plane.shape
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    mean: Floats = (total[:n, :m] / side**2).astype(np.float32)
    return mean
