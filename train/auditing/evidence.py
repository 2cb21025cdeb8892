"""What pictures say of each other's labels: every figure of a picture comes from classes that it had no part in."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from curate.progress import Progress, silent
from train.auditing.gaussians import Floats, Gaussians, blocks, held_out

ROUNDS: Final = 2
"""Passes over the pictures: after the first, those whose label seems wrong weigh less in what the next learns from. A
third put more errors in front where classes have many pictures, and fewer where they have few.
"""

_TRUST: Final = 1.0
"""Log-odds for a label before its picture is looked at, when weights are given: a low one lets go of more labels."""

_NUMBERS: Final = 4_000_000  # logits that temperatures are fitted on, at most
_FLATTER: Final = 0.5  # at most, of the sharp temperature: two alike could not be told apart
_UNSURE: Final = 0.5  # standard deviation of the log of the sharp temperature about what margins tell
_CLEAN: Final = 20.0  # right labels that a set is taken to have beside its own, for one wrong one


@dataclass(frozen=True, eq=False)
class LabelEvidence:
    """Of each picture, (n,), out of fold.

    `mislabelled` is the chance that its label is wrong; `proposed` is the class that is likeliest among the others,
    and `own` and `other` are the chances of the two classes, as the features alone see them. `from_own`,
    `from_any` and `from_other` are distances, 1 less the cosine to the mean of its own class, of the nearest and of the
    nearest but its own.
    """

    mislabelled: NDArray[np.float64]
    proposed: NDArray[np.int64]
    own: NDArray[np.float64]
    other: NDArray[np.float64]
    margin: Floats  # log-odds of its label over the likeliest other, at the fitted temperature
    from_own: Floats
    from_any: Floats
    from_other: Floats
    weights: Floats  # with which it was learnt from

    def at(self, places: NDArray[np.bool_]) -> "LabelEvidence":
        """The evidence of some of the pictures."""
        return LabelEvidence(**{name: values[places] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Temperatures:
    """How sure logits are: `sharp` for the true class; `flat` for the class that a wrong label names; and how many
    labels are wrong.
    """

    sharp: float
    flat: float
    errors: float


def gather_evidence(
    rows: Floats, targets: NDArray[np.int64], fold: NDArray[np.int64], classes: int, progress: Progress = silent
) -> LabelEvidence:
    """What coordinates (n, k) say of class indices (n,) and folds (n,), negative for what is always learnt from.

    One round finds labels that lose; the next learns without them, in the way of "confident learning" (C. Northcutt et
    al., JAIR 70, 2021) with weights in the place of a noise matrix.
    """
    weights = np.ones(len(rows), np.float32)
    judged = np.flatnonzero(fold >= 0)
    sample = judged[_sample(len(judged), classes)]
    with progress("Comparing labels and features", ROUNDS + 1) as advance:
        for number in range(ROUNDS):
            models = list(held_out(rows, targets, weights, fold, classes))
            logits = _logits_of(rows, models, fold, sample)
            temperatures = fit_temperatures(logits, targets[sample])
            if number < ROUNDS - 1:
                margins = _margins(rows, targets, models)
                weights[judged] = expit(temperatures.sharp * margins[judged] + _TRUST)
            advance(1)
        found = _reduced(rows, targets, models, weights, temperatures)
        advance(1)
    return found


def fit_temperatures(logits: Floats, targets: NDArray[np.int64]) -> Temperatures:
    """Explain labels (n,) by logits (n, classes): a share of them is wrong, and named by a flatter distribution.

    A model that is merely unsure grows wrong where it is unsure. Labels that it contradicts however sure it is are
    wrong themselves: that floor is what tells the two apart, as the lapse rate of a psychometric function does (F.
    Wichmann, N. Hill, "The psychometric function: I", Perception & Psychophysics 63, 2001). Few pictures say little of
    how sure the model may be; there the spread of the margins has a say, which a few wrong labels do not change.
    """
    usual = _usual(logits, targets)

    def cost(values: NDArray[np.float64]) -> float:
        found = _temperatures(values)
        own, wrong, *_ = _shares(logits, targets, found)
        likelihood = np.logaddexp(np.log1p(-found.errors) + own, np.log(found.errors) + wrong)
        prior = np.log(found.errors) + _CLEAN * np.log1p(-found.errors) - (values[0] - usual) ** 2 / (2 * _UNSURE**2)
        return -float(likelihood.sum() + prior) / len(targets)

    starts = [np.array([usual + more, 1.0, -3.0]) for more in (-1.0, 0.5)]
    ends = [minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-2, "fatol": 1e-5}) for start in starts]
    return _temperatures(min(ends, key=lambda end: float(end.fun)).x)


def _usual(logits: Floats, targets: NDArray[np.int64]) -> float:
    """The log of the sharp temperature as margins tell it: 2μ/σ² if they are normal, with the median and the MAD.

    The log-odds of two normal distributions at ±μ are that times the margin. The best of many others lies nearer than
    one other does, so it is somewhat more.
    """
    at = np.arange(len(targets))
    others = logits.copy()
    others[at, targets] = -np.inf
    margins = (logits[at, targets] - others.max(axis=1)).astype(np.float64)
    middle = float(np.median(margins))
    spread = 1.4826 * float(np.median(np.abs(margins - middle)))
    return float(np.log(np.clip(1.5 * 2 * middle / max(spread, 1e-9) ** 2, 1e-4, 10)))


def _temperatures(values: NDArray[np.float64]) -> Temperatures:
    sharp = float(np.exp(np.clip(values[0], -12, 4)))
    return Temperatures(sharp, sharp * _FLATTER * float(expit(-values[1])), float(np.clip(expit(values[2]), 1e-6, 0.5)))


def _shares(
    logits: Floats, targets: NDArray[np.int64], found: Temperatures
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """(log chance of the own class, log chance that another is true and the label names this one, the likeliest other
    class, its log chance), each (n,).
    """
    at = np.arange(len(targets))
    others = logits.copy()
    others[at, targets] = -np.inf
    proposed = others.argmax(axis=1)
    best = logits[at, proposed].astype(np.float64)
    mine = logits[at, targets].astype(np.float64)
    rest = logsumexp(found.sharp * (others - best[:, None]), axis=1)
    total = np.logaddexp(found.sharp * (mine - best), rest)
    own = found.sharp * (mine - best) - total
    others[at, proposed] = -np.inf
    with np.errstate(divide="ignore"):
        beyond = logsumexp(found.flat * (others - best[:, None]), axis=1) if logits.shape[1] > 2 else -np.inf
    named = found.flat * (mine - best) - np.logaddexp(found.flat * (mine - best), beyond)
    return own, (rest - total) + named, proposed, -total


def _sample(count: int, classes: int) -> NDArray[np.intp]:
    most = max(1, min(count, _NUMBERS // classes))
    return np.unique(np.linspace(0, count - 1, most).astype(np.intp))


_Models = list[tuple[NDArray[np.intp], Gaussians]]


def _logits_of(rows: Floats, models: _Models, fold: NDArray[np.int64], sample: NDArray[np.intp]) -> Floats:
    found = np.zeros((len(sample), len(models[0][1].counts)), np.float32)
    for number, (_, model) in enumerate(models):
        own = np.flatnonzero(fold[sample] == number)
        for at in blocks(own):
            found[at], _ = model.logits(rows[sample[at]])
    return found


def _margins(rows: Floats, targets: NDArray[np.int64], models: _Models) -> Floats:
    margins = np.zeros(len(rows), np.float32)
    for places, model in models:
        for at in blocks(places):
            logits, _ = model.logits(rows[at])
            here, own = np.arange(len(at)), targets[at]
            mine = logits[here, own].copy()
            logits[here, own] = -np.inf
            margins[at] = mine - logits.max(axis=1)
    return margins


def _reduced(
    rows: Floats, targets: NDArray[np.int64], models: _Models, weights: Floats, found: Temperatures
) -> LabelEvidence:
    n = len(rows)
    own, other, wrong = np.zeros(n), np.zeros(n), np.zeros(n)
    proposed, margin = np.zeros(n, np.int64), np.zeros(n, np.float32)
    from_own, from_any, from_other = (np.zeros(n, np.float32) for _ in range(3))
    for places, model in models:
        for at in blocks(places):
            logits, cosines = model.logits(rows[at])
            own[at], wrong[at], proposed[at], other[at] = _shares(logits, targets[at], found)
            here = np.arange(len(at))
            margin[at] = found.sharp * (logits[here, targets[at]] - logits[here, proposed[at]])
            from_own[at], from_any[at] = 1 - cosines[here, targets[at]], 1 - cosines.max(axis=1)
            cosines[here, targets[at]] = -1
            from_other[at] = 1 - cosines.max(axis=1)
    return LabelEvidence(
        _chances(own, wrong, targets, found), proposed, np.exp(own), np.exp(other),
        margin, from_own, from_any, from_other, weights,
    )  # fmt: skip


def _chances(
    own: NDArray[np.float64], wrong: NDArray[np.float64], targets: NDArray[np.int64], found: Temperatures
) -> NDArray[np.float64]:
    """The chance that each label is wrong; a class with more wrong labels than others is known by its own."""

    def posterior(errors: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp(log_expit(np.log(errors) + wrong - np.log1p(-errors) - own)))

    first = posterior(np.full(len(targets), found.errors))
    each = (np.bincount(targets, first) + _CLEAN * found.errors) / (np.bincount(targets) + _CLEAN)
    return posterior(np.clip(each, 1e-6, 0.9)[targets])
