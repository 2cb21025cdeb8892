"""A search over rate, regularisation and balance on the bank, chosen by folds within train; nothing else is seen.

All trials race: each is fitted on the first fold, the better third goes on to the next, and so on; who reaches
the end has been measured on every fold. (A race over folds: O. Maron and A. Moore, "Hoeffding races", 1993; halving
the field: K. Jamieson and A. Talwalkar, 2016.)
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from curate.defaults import DEFAULT_FOLDS
from curate.errors import UserError
from curate.progress import Progress, silent
from train.folds import CrossValidation, FoldResult, LearningSet, combine_folds, fit_fold, learning_set
from train.optimising.settings import FitSettings
from train.training import TrainOptions

Grid = Mapping[str, Sequence[float]]

GRID: Final[Grid] = {
    "learning_rate": (1e-3, 3e-3, 1e-2),
    "weight_decay": (0.3, 1.0, 3.0, 10.0),
    "balance": (0.0, 0.5, 1.0),
}
"""Fields of `FitSettings` and the values that are tried, around the defaults."""

_KEPT = 3  # one in so many goes on to the next fold


@dataclass(frozen=True, eq=False)
class Trial:
    """Settings that took part, and how they did on the folds they reached."""

    settings: FitSettings
    results: list[FoldResult]

    @property
    def folds(self) -> int:
        """How many folds it was measured on before it fell behind."""
        return len(self.results)

    @property
    def accuracy(self) -> float:
        """Share right among all pictures of those folds."""
        return sum(one.accuracy.correct for one in self.results) / sum(one.accuracy.n for one in self.results)

    @property
    def cross_entropy(self) -> float:
        """Mean over those folds, in nats."""
        return float(np.mean([one.cross_entropy for one in self.results]))


@dataclass(frozen=True)
class Sweep:
    """Who won, and whether by more than chance. `chosen` is what to train with."""

    chosen: FitSettings
    given: Trial  # the settings that were there before, measured on every fold
    best: Trial
    gain: float  # best's share right minus given's, on the same pictures
    gain_error: float  # standard error of that difference
    trials: list[Trial]  # best first: by folds reached, then accuracy, then cross-entropy
    axes: dict[str, list[float]]
    chosen_validation: CrossValidation
    notes: list[str]
    fits: int


def sweep(
    root: Path,
    options: TrainOptions,
    *,
    grid: Grid | None = None,
    folds: int = DEFAULT_FOLDS,
    progress: Progress = silent,
) -> Sweep:
    """Race `grid` (default: GRID) and `options.head` over folds of the train split.

    The winner is chosen only where its gain over `options.head`, on the same held-out pictures, exceeds its standard
    error: a smaller difference may come from having tried many. Raises UserError for a grid that
    names no setting, and as `learning_set` does.
    """
    given = options.head
    if given.head != "sgd":
        raise UserError(f"A sweep is for head = sgd: head = {given.head} is chosen by folds without one.")
    data = learning_set(root, options, folds=folds, progress=progress)
    axes, notes = _axes(grid or GRID, data)
    field = [given, *(settings for settings in _combinations(given, axes) if settings != given)]
    return race(data, field, axes=axes, notes=data.notes + notes, progress=progress)


def race(
    data: LearningSet,
    field: Sequence[FitSettings],
    *,
    axes: dict[str, list[float]] | None = None,
    notes: Sequence[str] = (),
    progress: Progress = silent,
) -> Sweep:
    """Let the settings race; the first of them are those that are there already, and reach the end in any case."""
    running = [Trial(settings, []) for settings in field]
    given, out, fits = running[0], list[Trial](), 0
    with progress("Sweeping", sum(_field_sizes(len(field), data.folds))) as advance:
        for fold in range(data.folds):
            for trial in running:
                trial.results.append(fit_fold(data, fold, trial.settings))
                fits += 1
                advance(1)
            running.sort(key=_rank)
            size = _field_sizes(len(field), data.folds)[min(fold + 1, data.folds - 1)]
            kept = running[:size] if given in running[:size] else [*running[: size - 1], given]
            out = [*(one for one in running if one not in kept), *out]
            running = kept
    best = min(running, key=_rank)
    gain, error = _paired(best, given)
    chosen = best if best is given or gain > error else given
    return Sweep(
        chosen=chosen.settings,
        given=given,
        best=best,
        gain=gain,
        gain_error=error,
        trials=sorted([*running, *out], key=lambda one: (-one.folds, *_rank(one))),
        axes=axes or {},
        chosen_validation=combine_folds(data, chosen.results),
        notes=list(notes),
        fits=fits,
    )


def _field_sizes(count: int, folds: int) -> list[int]:
    """How many race on each fold: a third of the last field, but at least four as long as there are so many."""
    sizes = [count]
    while len(sizes) < folds:
        sizes.append(max(min(4, sizes[-1]), math.ceil(sizes[-1] / _KEPT)))
    return sizes


def _axes(grid: Grid, data: LearningSet) -> tuple[dict[str, list[float]], list[str]]:
    known = set(FitSettings.__dataclass_fields__)
    for name, values in grid.items():
        if name not in known or not values:
            raise UserError(f"A sweep can't go over {name!r}: name settings of a recipe, each with values to try.")
    axes, notes = {name: list(values) for name, values in grid.items()}, []
    counts = np.bincount(data.targets, minlength=len(data.labels))
    if "balance" in axes and len(set(counts.tolist())) == 1:
        del axes["balance"]
        notes.append("All classes have the same number of training pictures, so balance was not swept.")
    return axes, notes


def _combinations(given: FitSettings, axes: Mapping[str, Sequence[float]]) -> Iterator[FitSettings]:
    for values in product(*axes.values()):
        changes: dict[str, Any] = dict(zip(axes, values, strict=True))
        yield replace(given, **changes)


def _rank(trial: Trial) -> tuple[float, float]:
    return -trial.accuracy, trial.cross_entropy


def _paired(best: Trial, given: Trial) -> tuple[float, float]:
    """(gain, its standard error) from the same pictures answered by both."""
    difference = np.concatenate(
        [
            mine.right.astype(np.int64) - theirs.right.astype(np.int64)
            for mine, theirs in zip(best.results, given.results, strict=True)
        ]
    )
    error = float(difference.std(ddof=1) / math.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return float(difference.mean()), error
