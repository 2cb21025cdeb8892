"""Features and labels → what an audit finds: scores, neighbours and what each class is like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.progress import Progress, silent
from train.auditing.classes import ClassFindings, describe_classes
from train.auditing.evidence import gather_evidence
from train.auditing.gaussians import Floats, coordinates, fit
from train.auditing.neighbours import NEAREST, nearest_of_own, nearest_to, unit
from train.auditing.scores import Scores, score

FOLDS: Final = 20
"""Parts of which each is judged by the others: with ten fewer errors stood in front, with forty no more."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of each picture, (n,) in the order given, and of each class.

    `judged` is False for pictures of which nothing can be said, as they are the only ones of their class or all of
    that are of one origin: their scores are 0.
    """

    scores: Scores
    redundant: NDArray[np.float64]  # (n,)
    nearest: NDArray[np.int64]  # (n, NEAREST) places of the nearest of its class, −1 for none
    nearest_proposed: NDArray[np.int64]  # (n, NEAREST) of the class that is proposed, −1 where it was not asked
    judged: NDArray[np.bool_]
    classes: list[ClassFindings]


def find(
    features: Floats,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    fold: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Findings:
    """Judge each picture by the others.

    `features` are (n, dim), `targets` (n,) places in `labels`, `fold` (n,) from 0 on, negative for what is always
    learnt from, `groups` (n,) numbers that near-duplicates and pictures of one origin share.
    """
    rows = coordinates(features)
    judged = fold >= 0
    evidence = gather_evidence(rows, targets, fold, len(labels), progress)
    model = fit(rows, targets, evidence.weights, len(labels))
    scores = _scattered(score(evidence.at(judged), targets[judged], model, seed=seed), judged, evidence.proposed)
    classes = describe_classes(rows, targets, labels, fold, evidence, scores)
    rows = unit(rows)
    places, cosines = nearest_of_own(rows, targets, groups, seed=seed)
    redundant = _redundant(cosines, targets) * np.where(judged, (1 - scores.irrelevant) * (1 - scores.mislabelled), 0)
    return Findings(scores, redundant, places, _of_proposed(rows, targets, scores), judged, classes)


def _scattered(found: Scores, judged: NDArray[np.bool_], proposed: NDArray[np.int64]) -> Scores:
    """Scores of all pictures, of those of the judged ones."""

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.zeros(len(judged))
        whole[judged] = values
        return whole

    return Scores(
        spread(found.irrelevant), spread(found.mislabelled), proposed, spread(found.outlier), spread(found.ambiguous)
    )


def _redundant(cosines: Floats, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much nearer than is usual in its class a picture's second nearest is: 1 less the ratio of distances, (n,)."""
    distance = 1 - cosines[:, min(1, NEAREST - 1)].astype(np.float64)
    found = np.zeros(len(targets))
    for label in np.unique(targets):
        own = targets == label
        usual = float(np.median(distance[own]))
        found[own] = np.clip(1 - distance[own] / max(usual, 1e-9), 0, 1)
    return found


def _of_proposed(rows: Floats, targets: NDArray[np.int64], scores: Scores) -> NDArray[np.int64]:
    """The nearest of the class that is proposed, of pictures whose label is doubtful, (n, NEAREST)."""
    found = np.full((len(targets), NEAREST), -1, np.int64)
    doubtful = scores.mislabelled >= 0.5
    for label in np.unique(scores.proposed[doubtful]):
        asked = np.flatnonzero(doubtful & (scores.proposed == label))
        found[asked] = nearest_to(rows, asked, np.flatnonzero(targets == label))
    return found
