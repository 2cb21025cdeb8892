"""What each class is like: which other it overlaps with, how wide it is, and whether more pictures would help."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.defaults import SUSPECT
from train.auditing.evidence import LabelEvidence
from train.auditing.gaussians import Floats, blocks, fit
from train.auditing.scores import Scores

_MOST: Final = 20_000  # pictures that the learning curve is drawn with
_SHARES: Final = (0.25, 0.5, 1.0)  # of the pictures of each class that are learnt from


@dataclass(frozen=True)
class ClassFindings:
    """One class. Shares are from 0 to 1.

    `overlap` is the share of the pictures of it and of `nearest`, the class that it overlaps most with, that the
    features give to the other one. `spread` is the median distance to its mean, 0 to 2. `right` is the share of its
    pictures that the others name rightly, and `gain` how much that is expected to grow with twice as many pictures.
    """

    label: str
    pictures: int
    irrelevant: int
    mislabelled: int
    nearest: str
    overlap: float
    spread: float
    right: float
    gain: float


def describe_classes(
    rows: Floats,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    fold: NDArray[np.int64],
    evidence: LabelEvidence,
    scores: Scores,
) -> list[ClassFindings]:
    """Every class of `labels`, in their order, by pictures with class indices (n,)."""
    judged = fold >= 0
    right = evidence.margin > 0
    taken = np.zeros((len(labels), len(labels)))
    given = judged & ~right
    np.add.at(taken, (targets[given], evidence.proposed[given]), 1)
    counts = np.bincount(targets, minlength=len(labels))
    overlap = (taken + taken.T) / np.maximum(counts[:, None] + counts[None], 1)
    slope = learning_slope(rows, targets, fold, len(labels))
    found = []
    for at, label in enumerate(labels):
        own = judged & (targets == at)
        share = float(right[own].mean()) if own.any() else 0.0
        nearest = int(overlap[at].argmax())
        found.append(
            ClassFindings(
                label,
                int(counts[at]),
                int((scores.irrelevant[own] >= SUSPECT).sum()),
                int((scores.mislabelled[own] >= SUSPECT).sum()),
                labels[nearest] if overlap[at, nearest] > 0 else "",
                float(overlap[at, nearest]),
                float(np.median(evidence.from_own[own])) if own.any() else 0.0,
                share,
                (1 - share) * (1 - 2**-slope),
            )
        )
    return found


def learning_slope(rows: Floats, targets: NDArray[np.int64], fold: NDArray[np.int64], classes: int) -> float:
    """How fast errors fall with the number n of pictures: b in n^−b, 0 where they do not.

    The power law of learning curves (J. Hestness et al., "Deep learning scaling is predictable, empirically", 2017),
    fitted to the errors on one fold by a quarter, a half and all of the pictures of the others.
    """
    step = -(-len(rows) // _MOST)
    rows, targets, fold = rows[::step], targets[::step], fold[::step]
    held = np.flatnonzero(fold == 0)
    learnt = np.flatnonzero(fold != 0)
    if not len(held) or not len(learnt):
        return 0.0
    turn = np.zeros(len(learnt))
    for label in np.unique(targets[learnt]):
        own = np.flatnonzero(targets[learnt] == label)
        turn[own] = (np.arange(len(own)) + 0.5) / len(own)
    errors = []
    for share in _SHARES:
        part = learnt[turn <= share]
        model = fit(rows[part], targets[part], np.ones(len(part), np.float32), classes)
        wrong = [model.logits(rows[at])[0].argmax(axis=1) != targets[at] for at in blocks(held)]
        errors.append((np.concatenate(wrong).sum() + 0.5) / (len(held) + 1))
    slope, _ = np.polyfit(np.log(_SHARES), np.log(errors), 1)
    return float(np.clip(-slope, 0, 1))
