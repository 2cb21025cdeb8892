"""Quality figures: what may be wrong with a picture that decodes, as scores in [0, 1] where lower is worse.

One table, `CHECKS`, holds every check: its name, its threshold and the function that measures it. To add a check,
write one function of a `View` and add one row; the catalog gets its column, and each picture its score, by themselves.
A score below the threshold flags a picture. A flag is a hint: nothing leaves a dataset for it unless asked.

Everything is measured on the luma at 64 × 64 pixels, which the whole picture covers whatever its shape and scale, so
that a picture and its resized copy get the same figures. benchmarks/README.md has the figures behind the thresholds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curate.fingerprint import SIDE, Luma


@dataclass(frozen=True, eq=False)
class View:
    """What the checks look at: the luma, uint8[64, 64], and the sides of the whole picture in pixels."""

    luma: Luma
    width: int
    height: int

    @cached_property
    def histogram(self) -> NDArray[np.int64]:
        """How many pixels have each level: int64[256]."""
        return np.bincount(self.luma.ravel(), minlength=256)

    @cached_property
    def cumulative(self) -> NDArray[np.int64]:
        """How many pixels have each level or a lower one: int64[256]."""
        return np.cumsum(self.histogram)

    def level(self, quantile: float) -> float:
        """The level, in 0…1, that this part of the pixels does not exceed."""
        return float(np.searchsorted(self.cumulative, quantile * self.luma.size)) / 255

    @cached_property
    def roughness(self) -> float | None:
        """Root mean square step to the next pixel, over that to the one after: 0.5 for a ramp, 1 for white noise.

        None where there are no steps to speak of.
        """
        values = self.luma.astype(np.float32)
        far = _energy(values[:, 2:] - values[:, :-2]) + _energy(values[2:] - values[:-2])
        if far < values.size / 4:
            return None
        near = _energy(values[:, 1:] - values[:, :-1]) + _energy(values[1:] - values[:-1])
        return math.sqrt(near / (SIDE - 1) / (far / (SIDE - 2)))

    @cached_property
    def common(self) -> float:
        """The part of the pixels that lie within the 17 levels most pixels lie in."""
        padded = np.concatenate([[0], self.cumulative])
        return float((padded[17:] - padded[:-17]).max()) / self.luma.size


def _energy(steps: NDArray[np.float32]) -> float:
    flat = steps.ravel()
    return float(flat @ flat)


def sharp(view: View) -> float:
    """0 where each step is half of the double step, as on a blurred edge, however faint; 1 where they are equal."""
    return 1.0 if view.roughness is None else 2 * view.roughness - 1


def not_dark(view: View) -> float:
    """The level that all but the brightest hundredth stay under."""
    return view.level(0.99)


def not_bright(view: View) -> float:
    """How far the darkest twentieth is from white."""
    return 1 - view.level(0.05)


def contrast(view: View) -> float:
    """The span of levels, without the darkest and the brightest twentieth."""
    return view.level(0.95) - view.level(0.05)


def information(view: View) -> float:
    """The entropy of the levels, in parts of the eight bits that it could be (Shannon 1948)."""
    share = view.histogram[view.histogram > 0] / view.luma.size
    return float(-(share * np.log2(share)).sum()) / 8


def large(view: View) -> float:
    """The short side, in parts of 256 pixels, which is about what networks look at."""
    return min(view.width, view.height) / 256


def compact(view: View) -> float:
    """The short side over the long one."""
    return min(view.width, view.height) / max(view.width, view.height)


def varied(view: View) -> float:
    """The part of the pixels that differ from the most common level by more than eight."""
    return 1 - view.common


def pictorial(view: View) -> float:
    """Low for text: even paper, and on it marks so fine that neighbours have little to do with each other."""
    if view.roughness is None:
        return 1.0
    marks = max(0.0, (view.roughness - 0.65) / 0.35)
    legible = min(1.0, contrast(view) / 0.1)
    return 1 - view.common * marks * legible


@dataclass(frozen=True)
class Check:
    """One row of the table: `flag` is raised where what `measure` gives is below `threshold`."""

    flag: str
    threshold: float
    means: str
    measure: Callable[[View], float]

    @property
    def column(self) -> str:
        """The score's column in the catalog."""
        return f"{self.flag}_score"


CHECKS = (
    Check("blurred", 0.15, "it has no fine detail", sharp),
    Check("dark", 0.30, "even its brightest parts are dark", not_dark),
    Check("bright", 0.20, "even its darkest parts are nearly white", not_bright),
    Check("faint", 0.15, "it has little contrast", contrast),
    Check("plain", 0.50, "its levels hold little information", information),
    Check("small", 0.25, "its short side has fewer than 64 pixels", large),
    Check("narrow", 0.33, "one side is three times the other", compact),
    Check("uniform", 0.10, "nearly all of it has one level", varied),
    Check("text", 0.85, "it looks like a page of text", pictorial),
)

Scores = tuple[float, ...]
"""One score for each of `CHECKS`, in their order, to three decimals; empty for a file that gives no pixels."""


def measure(luma: Luma, width: int, height: int) -> Scores:
    """Score a picture by every check: from its luma as `curate.fingerprint.reduced` gives it, and its true sides."""
    view = View(luma, width, height)
    return tuple(round(min(1.0, max(0.0, check.measure(view))), 3) for check in CHECKS)


def flags(scores: Scores) -> list[str]:
    """The checks that a picture fails, in the order of the table. Of no scores, none."""
    return [check.flag for check, score in zip(CHECKS, scores, strict=False) if score < check.threshold]
