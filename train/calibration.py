"""Probabilities that mean what they say: how far off they are, the temperature that mends it, and when to say so."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from curate.errors import UserError
from train.metrics import Interval, wilson_interval

BINS: Final = 15

# Bounds of 1 / temperature: above the first every confidence is 1, below the second all classes are equally likely.
_SHARPEST, _FLATTEST = 100.0, 0.01
_TEMPERATURES: Final = 25  # between them, each half as large again as the last or nearly so

CONFIDENCE: Final = 0.95
_HAIR: Final = 1e-4  # of a probability: more than roundings differ by
"""Of the bound that a precision is promised by."""


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]; both means are NaN where there are none."""

    low: float
    high: float
    n: int
    confidence: float  # mean probability of the first answer
    accuracy: float  # share of them that is right


@dataclass(frozen=True, eq=False)
class Calibration:
    """What valid taught about confidence: the temperature, and each first answer's confidence at it and whether right.

    The answers are kept, sorted from sure to unsure, so that a threshold for any precision follows from the
    checkpoint alone.
    """

    temperature: float
    confidence: NDArray[np.float32]  # (N,) descending
    right: NDArray[np.bool_]  # (N,)
    error_before: float  # expected calibration error on valid at temperature 1
    error_after: float  # and at `temperature`, which was fitted on the same pictures

    def to_dict(self) -> dict[str, Any]:
        """Plain types and tensors, as a checkpoint keeps it."""
        return {
            "temperature": self.temperature,
            "confidence": torch.from_numpy(self.confidence.copy()),
            "right": torch.from_numpy(self.right.copy()),
            "error_before": self.error_before,
            "error_after": self.error_after,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Calibration":
        """Read what `to_dict` wrote; raises ValueError where it can't be that."""
        confidence, right = plain["confidence"].numpy(), plain["right"].numpy()
        temperature = float(plain["temperature"])
        if not (confidence.shape == right.shape and confidence.ndim == 1 and right.dtype == np.bool_):
            raise ValueError("the calibration's answers differ in number")
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"{temperature} is no temperature")
        return cls(temperature, confidence, right, float(plain["error_before"]), float(plain["error_after"]))


@dataclass(frozen=True)
class Abstention:
    """From which confidence on an answer is given, and what that did to the valid pictures it was found on."""

    wanted: float  # precision asked for
    threshold: float
    n: int  # valid pictures
    answered: int
    right: int  # among those answered

    @property
    def coverage(self) -> float:
        """Share of the valid pictures that are answered."""
        return self.answered / self.n

    @property
    def precision(self) -> float:
        """Share right among those answered."""
        return self.right / self.answered

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval of the precision."""
        return wilson_interval(self.right, self.answered)


def calibrate_confidence(logits: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> Calibration:
    """Fit the temperature on logits of pictures that were not trained on, and note every first answer.

    They are (N, classes), or (N, K, classes) of K views, of which an answer is the mean probability.
    """
    temperature = fit_temperature(logits, truth)
    before, after = _mean_softmax(logits, 1.0), _mean_softmax(logits, temperature)
    confidence = after.max(axis=1).astype(np.float32)
    right = after.argmax(axis=1) == truth
    order = np.argsort(-confidence, kind="stable")
    return Calibration(
        temperature=temperature,
        confidence=confidence[order],
        right=right[order],
        error_before=expected_calibration_error(before, truth),
        error_after=expected_calibration_error(after, truth),
    )


def calibrate_probabilities(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> Calibration:
    """`calibrate_confidence` of probabilities (N, classes) at temperature 1: their logarithms are logits."""
    return calibrate_confidence(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), truth)


def fit_temperature(logits: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy; logits (N, classes), truth (N,), N ≥ 1.

    Of logits (N, K, classes) of K views it is the mean of their softmaxes that has.
    C. Guo et al., "On calibration of modern neural networks", ICML 2017. Targets are not quite one-hot but J. Platt's
    (1999): a picture more of a wrong answer, so that a classifier that makes no mistake on valid is not declared
    infallible. In 1 / T the cross-entropy is convex, so the root of its slope is the one minimum; float64 throughout.
    That of a mean need not be: there the best of a row of temperatures is looked for, and the least around it.
    """
    from scipy.optimize import brentq  # takes a third of a second to import, which `predict` need not wait for
    from scipy.special import softmax

    if logits.ndim == 3 and logits.shape[1] > 1:
        return _fit_temperature_of_views(logits, truth)
    z = np.asarray(logits, dtype=np.float64).reshape(len(logits), logits.shape[-1])
    n, classes = z.shape
    if n == 0 or len(truth) != n:
        raise ValueError(f"logits of shape {z.shape} do not belong to {len(truth)} labels")
    z = z - z.max(axis=1, keepdims=True)
    if not z.any():  # nothing tells the classes apart, or there is one
        return 1.0
    doubt = 1 / (n + 2)
    true_class = z[np.arange(n), truth]
    wanted = (1 - doubt) * true_class + doubt * (z.sum(axis=1) - true_class) / (classes - 1)

    def slope(inverse: float) -> float:
        return float(((softmax(z * inverse, axis=1) * z).sum(axis=1) - wanted).mean())

    if slope(_FLATTEST) >= 0:
        return 1 / _FLATTEST
    if slope(_SHARPEST) <= 0:
        return 1 / _SHARPEST
    return 1 / float(brentq(slope, _FLATTEST, _SHARPEST, xtol=1e-9, rtol=1e-12))


def _fit_temperature_of_views(logits: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar

    n, _, classes = logits.shape
    if n == 0 or len(truth) != n:
        raise ValueError(f"logits of shape {logits.shape} do not belong to {len(truth)} labels")
    z = logits - logits.max(axis=2, keepdims=True)
    if not z.any():
        return 1.0
    doubt = 1 / (n + 2)

    def entropy(log_temperature: float) -> float:
        likely = np.log(np.maximum(_mean_softmax(z, math.exp(log_temperature)), np.finfo(np.float64).tiny))
        true_class = likely[np.arange(n), truth]
        others = (likely.sum(axis=1) - true_class) / (classes - 1)
        return float(-((1 - doubt) * true_class + doubt * others).mean())

    row = np.linspace(-math.log(_SHARPEST), -math.log(_FLATTEST), _TEMPERATURES)
    best = int(np.argmin([entropy(one) for one in row]))
    around = row[max(0, best - 1)], row[min(len(row) - 1, best + 1)]
    return math.exp(float(minimize_scalar(entropy, bounds=around, method="bounded", options={"xatol": 1e-6}).x))


def _mean_softmax(logits: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """Probabilities (N, classes) of logits (N, classes), or their mean over the views of (N, K, classes)."""
    from scipy.special import softmax

    each: NDArray[np.float64] = softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)
    return each if each.ndim == 2 else each.mean(axis=1)


def cross_entropy(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """Mean negative log probability of the true class, in nats; a probability of 0 counts as the least float32."""
    chosen = np.asarray(probabilities, dtype=np.float64)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())


def reliability(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64], bins: int = BINS) -> list[Bin]:
    """First answers of `probabilities` (N, classes) by confidence, in `bins` intervals of equal width: the numbers of a
    reliability diagram. `truth` (N,) are the true class indices.
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    # (low, high], as Guo et al. have it
    number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    sums = np.bincount(number, weights=confidence, minlength=bins), np.bincount(number, weights=right, minlength=bins)
    means = [np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums]
    return [
        Bin(index / bins, (index + 1) / bins, int(counts[index]), float(means[0][index]), float(means[1][index]))
        for index in range(bins)
    ]


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64], bins: int = BINS
) -> float:
    """Mean distance of confidence and accuracy over bins of confidence, weighted by their pictures; 0 is perfect.

    `probabilities` (N, classes), `truth` (N,) class indices.
    """
    found = [one for one in reliability(probabilities, truth, bins) if one.n]
    return sum(one.n * abs(one.confidence - one.accuracy) for one in found) / sum(one.n for one in found)


def lower_bounds(right: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a share is at least, with 95% confidence, of which `right` of `n` (N,) were seen.

    C. Clopper, E. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934): exact, also where no mistake was seen: 50 of 50 show no more than 94.2%.
    """
    from scipy.special import betaincinv

    bounds: NDArray[np.float64] = betaincinv(np.maximum(right, 1), n - right + 1, 1 - CONFIDENCE)
    return np.where(right > 0, bounds, 0.0)


def abstention(calibration: Calibration, precision: float) -> Abstention:
    """The lowest threshold at which valid's answers show a precision of at least `precision`, by `lower_bounds`.

    In simulations of 100 to 800 valid pictures the true precision fell short in 3 to 5% of cases; with the share
    itself in the bound's place it did in 55%. Raises UserError for what is no share, and where valid can't show it.
    """
    if not 0 < precision <= 1:
        raise UserError(f"--abstain {precision:g} is no share: give one above 0 and up to 1, such as 0.98.")
    confidence, right = calibration.confidence.astype(np.float64), calibration.right
    answered = np.arange(1, len(right) + 1)
    share = lower_bounds(np.cumsum(right), answered)
    # Pictures of one confidence are answered together or not at all
    ends = np.append(confidence[1:] < confidence[:-1], True)[: len(right)]
    enough = np.flatnonzero(ends & (share >= precision))
    if not len(enough):
        best = math.floor(1000 * float(share[ends].max(initial=0.0))) / 1000
        advice = f"Ask --abstain {best:g}" if best > 0 else "Leave --abstain out"
        raise UserError(
            f"The {len(right)} valid pictures can't show a precision of {precision:.1%} at any threshold: the most is "
            f"{best:.1%}, with {CONFIDENCE:.0%} confidence. {advice}, or hold out more pictures and train again."
        )
    last = int(enough[-1])
    # Half way to the next, or a little below the last: a rounding elsewhere decides no picture of valid anew. Where all
    # are answered, nothing is known of answers that are less sure than any of valid's.
    after = float(confidence[last + 1]) if last + 1 < len(confidence) else float(confidence[last]) - _HAIR
    threshold = max(0.0, (float(confidence[last]) + after) / 2)
    return Abstention(precision, threshold, len(right), last + 1, int(right[: last + 1].sum()))


def answered_right(
    probabilities: NDArray[np.floating[Any]],
    truth: NDArray[np.int64],
    threshold: float,
    known: NDArray[np.bool_] | None = None,
) -> tuple[int, int]:
    """(answered, right among them) of the pictures whose first answer reaches the threshold.

    `known` (N,) says which pictures are like a class at all; None: each is.
    """
    given = probabilities.max(axis=1) >= threshold
    if known is not None:
        given = given & known
    right = probabilities.argmax(axis=1) == truth
    return int(given.sum()), int((given & right).sum())
