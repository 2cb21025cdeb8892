"""LabelEvidence → scores from 0 to 1, each with a meaning: irrelevant, mislabelled, outlier, ambiguous."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import gaussian_kde

from train.auditing.evidence import LabelEvidence
from train.auditing.gaussians import Floats, Gaussians

_GRID: Final = np.linspace(0.0, 2.0, 401)  # all distances that there are
_MOST: Final = 4_000  # distances of which a density is made
_RANDOM: Final = 2_000  # directions that stand for pictures which have nothing to do with any class
_FLOOR: Final = 1e-4  # of a density: what nobody has seen is not impossible
_ROUNDS: Final = 50  # in which a share settles

Density = Callable[[NDArray[np.floating]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Scores:
    """Of each picture, (n,), from 0 to 1.

    `irrelevant`: the chance that it shows none of the classes. `mislabelled`: the chance that it shows another class
    than its label says, which `proposed` names. `outlier`: the share of its class's own pictures that lie nearer to
    their class, each in the measure of its class. `ambiguous`: the chance of the less likely of its own and the
    proposed class as a part of the other's.
    """

    irrelevant: NDArray[np.float64]
    mislabelled: NDArray[np.float64]
    proposed: NDArray[np.int64]
    outlier: NDArray[np.float64]
    ambiguous: NDArray[np.float64]


def score(evidence: LabelEvidence, targets: NDArray[np.int64], model: Gaussians, *, seed: int) -> Scores:
    """Scores of pictures by their evidence, class indices (n,) and the Gaussians of all of them.

    A wrong label is one of two things. What was filed under another class lies as near to that as its own pictures do.
    What shows no class lies either as far from all as a random direction does, or as far as a class from the others:
    the pictures at hand tell both distributions, so no stray has to be known. How many there are is found by
    expectation maximisation (A. Dempster, N. Laird, D. Rubin, J. R. Stat. Soc. B 39, 1977).
    """
    wrong = evidence.mislabelled
    near = _density(evidence.from_own, 1 - wrong, seed)
    means = model.means / np.maximum(np.linalg.norm(model.means, axis=1, keepdims=True), 1e-12)
    cosines = _directions(means.shape[1], seed) @ means.T
    one_class = _density(1 - cosines[:, 0], None, seed)
    nearest = _density(1 - cosines.max(axis=1), None, seed)
    foreign = _density(evidence.from_other, 1 - wrong, seed)

    def far(distance: NDArray[np.floating]) -> NDArray[np.float64]:
        return (nearest(distance) + foreign(distance)) / 2

    everywhere = np.ones(len(wrong))
    not_own = _posterior(_rising(one_class, near)(evidence.from_own), everywhere)
    # Two views of one event, labels and distances. A stray's label is as good as any, so of few classes it says little
    told = 1 - 2 / max(2, len(model.counts))
    neither = expit(told * _log_odds(wrong) + _log_odds(not_own))
    stray = _posterior(_rising(far, near)(evidence.from_any), np.maximum(wrong, neither))
    irrelevant = neither * stray
    less, more = np.minimum(evidence.own, evidence.other), np.maximum(evidence.own, evidence.other)
    return Scores(
        irrelevant,
        wrong * (1 - stray),
        evidence.proposed,
        _share_nearer(evidence.from_own, targets, wrong),
        (1 - irrelevant) * less / np.maximum(more, 1e-300),
    )


def _log_odds(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(chance, 1e-9, 1 - 1e-9)))


def _density(distances: Floats, weights: NDArray[np.float64] | None, seed: int) -> Density:
    """A smooth density of distances 0 to 2 (Silverman's bandwidth), of a sample of them, each with its weight."""
    rng = np.random.default_rng(seed)
    at = rng.permutation(len(distances))[:_MOST]
    values = distances[at].astype(np.float64)
    given = None if weights is None else np.maximum(weights[at], 1e-9)
    if np.ptp(values) < 1e-6:
        values = values + np.linspace(-1e-3, 1e-3, len(values))
    if len(values) < 3:
        values, given = np.concatenate([values, [0.0, 1.0, 2.0]]), None
    heights = gaussian_kde(values, bw_method="silverman", weights=given)(_GRID) + _FLOOR
    return lambda asked: np.interp(asked, _GRID, heights)


def _rising(above: Density, below: Density) -> Density:
    """The ratio of two densities, made to rise: nothing grows more ordinary by lying farther off.

    What lies nearer than is usual is as ordinary as what is usual, be it ever so rare.
    """
    ratio = above(_GRID) / below(_GRID)
    usual = int(np.argmax(below(_GRID)))
    ratio[:usual] = ratio[usual]
    ratio = np.maximum.accumulate(ratio)
    return lambda asked: np.interp(asked, _GRID, ratio)


def _posterior(ratio: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance of the rarer of two kinds, (n,), by the ratio of their densities, with its share among `weights`."""
    share = 0.1
    for _ in range(_ROUNDS):
        chance = share * ratio / (share * ratio + 1 - share)
        share = float(np.clip((weights * chance).sum() / max(weights.sum(), 1e-12), 1e-4, 0.9))
    return chance


def _directions(dimensions: int, seed: int) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((_RANDOM, dimensions)).astype(np.float32)
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _share_nearer(distances: Floats, targets: NDArray[np.int64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 less the conformal p-value of each distance among those of pictures with right labels (see
    `train/familiarity.py`), after division by its class's median.
    """
    usual = float(np.median(distances))
    medians = np.full(int(targets.max()) + 1, usual)
    for label in np.unique(targets):
        own = distances[(targets == label) & (wrong < 0.5)]
        if len(own):  # a class of few pictures is measured by all classes too
            medians[label] = (np.median(own) * len(own) + 5 * usual) / (len(own) + 5)
    relative = distances / np.maximum(medians[targets], 1e-9)
    right = np.sort(relative[wrong < 0.5])
    return np.asarray(np.searchsorted(right, relative, side="left") / (len(right) + 1))
