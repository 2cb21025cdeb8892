"""How much leaks flatter: folds drawn picture by picture, against folds that part no group, on the same pictures."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.ablating.paired import mean_accuracy, paired_difference
from train.ablating.report import LeakFlattery
from train.fold_assignment import NEVER, assign_folds
from train.folds import LearningSet, fit_fold
from train.optimising.settings import FitSettings


@dataclass(frozen=True, eq=False)
class FoldedPictures:
    """Pictures of train and valid: features (N, 1, dim), class indices and groups (N,), and each seed's folds (N,)."""

    features: torch.Tensor
    targets: NDArray[np.int64]
    labels: list[str]
    group: NDArray[np.int64]
    seeds: list[int]
    naive: list[NDArray[np.int64]]
    ours: list[NDArray[np.int64]]
    folds: int

    @property
    def fits(self) -> int:
        """How many heads are fitted; folds that both draw alike are fitted once."""
        alike = sum(bool((naive == ours).all()) for naive, ours in zip(self.naive, self.ours, strict=True))
        return self.folds * (2 * len(self.seeds) - alike)


def fold_pictures(
    features: torch.Tensor,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    sha256: Sequence[str],
    groups: Mapping[str, int],
    *,
    folds: int,
    seeds: Sequence[int],
) -> FoldedPictures:
    """Draw the folds of each seed twice: with each group of `groups` (sha256 → number) whole, and with its pictures
    drawn one by one.

    Pictures of the same bytes are of one group. A picture that belongs with no other has the same fold in both, so that
    the two differ by the groups alone, and are the same where there is none of several pictures.
    """
    ours = [assign_folds(sha256, targets, groups, folds=folds, seed=seed) for seed in seeds]
    group = group_numbers(sha256, groups)
    naive = [
        _drawn_one_by_one(sha256, targets, group, own, folds=folds, seed=seed)
        for own, seed in zip(ours, seeds, strict=True)
    ]
    return FoldedPictures(features, targets, list(labels), group, list(seeds), naive, ours, folds)


def measure_flattery(
    data: FoldedPictures, settings: FitSettings, *, seed: int, advance: Callable[[int], None]
) -> LeakFlattery | None:
    """Fit `settings` on all folds but one and measure on that one, by both kinds of folds and for each seed.

    Those pictures count that both kinds hold out, each paired with itself; the interval is that of `paired_difference`
    over groups and seeds. None where no picture is held out by both.
    """
    held = np.all([fold != NEVER for fold in (*data.naive, *data.ours)], axis=0)
    if not held.any():
        return None
    naive, ours = [], []
    for at, number in enumerate(data.seeds):
        naive.append(_answers(data, data.naive[at], number, settings, advance)[held])
        alike = bool((data.naive[at] == data.ours[at]).all())
        ours.append(naive[-1] if alike else _answers(data, data.ours[at], number, settings, advance)[held])
    first, second, group = np.array(naive), np.array(ours), data.group[held]
    several = np.bincount(data.group) > 1
    classes = np.unique(np.stack([data.group, data.targets]), axis=1)[0]
    return LeakFlattery(
        naive=mean_accuracy(first),
        ours=mean_accuracy(second),
        gain=paired_difference(first, second, group, seed),
        pictures=int(held.sum()),
        groups=int(several.sum()),
        folds=data.folds,
        disputed=int((np.bincount(classes) > 1).sum()),
    )


def group_numbers(sha256: Sequence[str], groups: Mapping[str, int]) -> NDArray[np.int64]:
    """The number of each content's group, (N,): its own where it belongs with no other."""
    numbers: dict[int | str, int] = {}
    return np.array([numbers.setdefault(groups.get(sha, sha), len(numbers)) for sha in sha256], dtype=np.int64)


def _drawn_one_by_one(
    sha256: Sequence[str],
    targets: NDArray[np.int64],
    group: NDArray[np.int64],
    ours: NDArray[np.int64],
    *,
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """The folds of `ours` (N,), but for the pictures of groups of several: each of these gets one for itself.

    Which depends on its content and the seed alone, and on how many of the same bytes came before it. A class that lies
    in one fold as a whole is never held out, as in `assign_folds`.
    """
    fold, seen = ours.copy(), Counter[str]()
    several = np.bincount(group)[group] > 1
    for at in np.flatnonzero(several).tolist():
        seen[sha256[at]] += 1
        key = hashlib.sha256(f"{seed}:alone:{sha256[at]}:{seen[sha256[at]]}".encode()).digest()
        fold[at] = int.from_bytes(key[:8], "big") % folds
    for target in np.unique(targets[several]).tolist():
        if len(set(fold[targets == target].tolist())) == 1:
            fold[targets == target] = NEVER
    return fold


def _answers(
    data: FoldedPictures, fold: NDArray[np.int64], seed: int, settings: FitSettings, advance: Callable[[int], None]
) -> NDArray[np.bool_]:
    """Whether each picture is answered right while its fold is held out, (N,); False for those never held out."""
    learnt = LearningSet(data.features, data.targets, data.labels, fold, data.folds, seed, [], [])
    right = np.zeros(len(fold), dtype=bool)
    for number in range(data.folds):
        if (fold == number).any():
            right[fold == number] = fit_fold(learnt, number, settings).right
        advance(1)
    return right
