"""Quality figures: what may be wrong with a picture that decodes, as scores in [0, 1] where lower is worse.

One table, `CHECKS`, holds every check: its name, its threshold and the function that measures it. To add a check,
write one function of `LumaBatch` and add one row; the catalog gets its column, and each picture its score, by itself.
A score below the threshold flags a picture. A flag is a hint: nothing leaves a dataset for it unless asked.

Everything is measured on the luma at 64 × 64 pixels, which the whole picture covers whatever its shape and scale, so
that a picture and its resized copy get the same figures. benchmarks/README.md has the figures behind the thresholds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import SIDE

_PIXELS = SIDE * SIDE
_COUNTS = np.arange(1, _PIXELS + 1)
_BITS = np.concatenate([[0], _COUNTS / _PIXELS * np.log2(_PIXELS / _COUNTS)])  # what a level borne by so many tells


Figures = NDArray[np.float64]
"""One number for each picture: float64[n]."""


@dataclass(frozen=True, eq=False)
class LumaBatch:
    """What the checks look at: the luma of n pictures, uint8[n, 64, 64], their true sides in pixels, int64[n], and
    whether the file of each bears the mark of its end, bool[n]; without it, all do.
    """

    luma: NDArray[np.uint8]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    ended: NDArray[np.bool_] | None = None

    @cached_property
    def histogram(self) -> NDArray[np.int64]:
        """How many pixels have each level: int64[n, 256]."""
        n = len(self.luma)
        levels = self.luma.reshape(n, -1) + np.arange(0, 256 * n, 256)[:, None]
        counts: NDArray[np.int64] = np.bincount(levels.ravel(), minlength=256 * n).reshape(n, 256)
        return counts

    @cached_property
    def cumulative(self) -> NDArray[np.int64]:
        """How many pixels have each level or a lower one, after a zero: int64[n, 257]."""
        sums = np.zeros((len(self.luma), 257), np.int64)
        np.cumsum(self.histogram, axis=1, out=sums[:, 1:])
        return sums

    def level(self, quantile: float) -> Figures:
        """The level, in 0…1, that this part of the pixels does not exceed: float64[n]."""
        found: Figures = (self.cumulative[:, 1:] >= quantile * _PIXELS).argmax(axis=1) / 255
        return found

    @cached_property
    def span(self) -> Figures:
        """The levels, in 0…1, between the darkest and the brightest twentieth: float64[n]."""
        span: Figures = self.level(0.95) - self.level(0.05)
        return span

    @cached_property
    def roughness(self) -> Figures:
        """Root mean square step to the next pixel, over that to the one after: 0.5 for a ramp, 1 for white noise.

        NaN where there are no steps to speak of. float64[n].
        """
        values = self.luma.astype(np.float32)
        near = _energy(values[:, :, 1:] - values[:, :, :-1]) + _energy(values[:, 1:] - values[:, :-1])
        far = _energy(values[:, :, 2:] - values[:, :, :-2]) + _energy(values[:, 2:] - values[:, :-2])
        far = np.where(far < _PIXELS / 4, np.nan, far)
        ratio: Figures = np.sqrt(near / (SIDE - 1) / (far / (SIDE - 2)))
        return ratio

    @cached_property
    def common(self) -> Figures:
        """The part of the pixels that lie within the 17 levels most pixels lie in: float64[n]."""
        most: Figures = (self.cumulative[:, 17:] - self.cumulative[:, :-17]).max(axis=1) / _PIXELS
        return most


def _energy(steps: NDArray[np.float32]) -> Figures:
    energy: Figures = np.einsum("nij,nij->n", steps, steps).astype(np.float64)
    return energy


def sharp(batch: LumaBatch) -> Figures:
    """0 where each step is half of the double step, as on a blurred edge; 1 where they are equal: float64[n]."""
    return np.nan_to_num(2 * batch.roughness - 1, nan=1.0)


def not_dark(batch: LumaBatch) -> Figures:
    """The level, in 0…1, that all but the brightest hundredth stay under: float64[n]."""
    return batch.level(0.99)


def not_bright(batch: LumaBatch) -> Figures:
    """How far the darkest twentieth is from white, in 0…1: float64[n]."""
    return 1 - batch.level(0.05)


def contrast(batch: LumaBatch) -> Figures:
    """The span of levels, in 0…1, without the darkest and the brightest twentieth: float64[n]."""
    return batch.span


def information(batch: LumaBatch) -> Figures:
    """The entropy of the levels, in parts of the eight bits that it could be (Shannon 1948): float64[n]."""
    entropy: Figures = _BITS[batch.histogram].sum(axis=1)
    return entropy / 8


def large(batch: LumaBatch) -> Figures:
    """The short side, in parts of 256 pixels, which is about what networks look at: float64[n]."""
    return np.minimum(batch.width, batch.height) / 256


def compact(batch: LumaBatch) -> Figures:
    """The short side over the long one: float64[n] in 0…1."""
    return np.minimum(batch.width, batch.height) / np.maximum(batch.width, batch.height)


def varied(batch: LumaBatch) -> Figures:
    """The part of the pixels that differ from the most common level by more than eight: float64[n]."""
    return 1 - batch.common


def pictorial(batch: LumaBatch) -> Figures:
    """Low for text: even paper, and on it marks so fine that neighbours hardly correlate. float64[n] in 0…1."""
    marks = np.nan_to_num(np.maximum(0, (batch.roughness - 0.65) / 0.35), nan=0.0)
    legible = np.minimum(1, batch.span / 0.1)
    # Of mere noise neighbours may have even less to do with each other than chance would give them.
    score: Figures = np.maximum(0, 1 - batch.common * marks * legible)
    return score


def terminated(batch: LumaBatch) -> Figures:
    """0 for a picture that is whole, but whose file lacks the mark of its end; else 1: float64[n]."""
    ended = np.ones(len(batch.luma)) if batch.ended is None else batch.ended
    score: Figures = ended.astype(np.float64)
    return score


@dataclass(frozen=True)
class Check:
    """One row of the table: `flag` is raised where what `measure` gives is below `threshold`."""

    flag: str
    threshold: float
    means: str
    measure: Callable[[LumaBatch], Figures]

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
    Check("unterminated", 0.50, "its file lacks the mark of its end", terminated),
)

Scores = tuple[float, ...]
"""One score for each of `CHECKS`, in their order, to three decimals; empty for a file that gives no pixels."""


def quality_scores(batch: LumaBatch) -> list[Scores]:
    """Score n pictures by every check."""
    scores = np.stack([check.measure(batch) for check in CHECKS], axis=1)
    return [tuple(row) for row in np.clip(scores, 0, 1).round(3).tolist()]


def flags(scores: Scores) -> list[str]:
    """The checks that a picture fails, in the order of the table. Of no scores, none."""
    return [check.flag for check, score in zip(CHECKS, scores, strict=False) if score < check.threshold]
