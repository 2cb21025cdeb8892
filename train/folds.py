"""Cross-validation on the bank: folds within train that nothing crosses that `split` keeps together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curate.defaults import DEFAULT_FOLDS
from curate.errors import UserError
from curate.image import BrokenPicture
from curate.progress import Progress, silent
from curate.splitting.since_split import open_current_split
from train.calibration import cross_entropy
from train.features.views import Views
from train.fold_assignment import NEVER, assign_folds, near_duplicate_groups
from train.head import fit_head, require_room, threads_for
from train.idle_options import idle_notes
from train.metrics import Accuracy, measure_accuracy
from train.optimising.settings import FitSettings
from train.predict import mean_probabilities
from train.training import Place, TrainOptions, banked, load_backbones, pictures_of, require_of_the_bank


@dataclass(frozen=True, eq=False)
class LearningSet:
    """The train split as features, and the fold of each picture."""

    features: torch.Tensor  # (N, K, dim) of K views, the clean one first
    targets: NDArray[np.int64]  # (N,) class indices
    labels: list[str]  # in index order
    fold: NDArray[np.int64]  # (N,) 0 … folds − 1, or NEVER
    folds: int
    seed: int  # of all that fitting draws
    broken: list[BrokenPicture]
    notes: list[str]
    sha256: Sequence[str] = ()  # of each picture's content; () where nothing is known of groups
    groups: Mapping[str, int] = field(default_factory=dict)  # of contents that belong with others


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What a head that never saw a fold says of it."""

    accuracy: Accuracy
    cross_entropy: float  # mean, in nats
    right: NDArray[np.bool_]  # of the fold's pictures, in order of position


@dataclass(frozen=True)
class CrossValidation:
    """Every fold's figures. `pooled` counts each picture once, answered by a head that did not learn from it."""

    folds: list[FoldResult]
    pooled: Accuracy
    held_out: int  # pictures that were held out once; the rest of train is always learnt from
    pictures: int
    classes: int
    broken: list[BrokenPicture]
    notes: list[str]

    @property
    def mean(self) -> float:
        """Mean of the folds' accuracies."""
        return float(np.mean([fold.accuracy.top1 for fold in self.folds]))

    @property
    def spread(self) -> float:
        """Standard deviation of the folds' accuracies, with n − 1."""
        return float(np.std([fold.accuracy.top1 for fold in self.folds], ddof=1))


def cross_validate(
    root: Path, options: TrainOptions, *, folds: int = DEFAULT_FOLDS, progress: Progress = silent
) -> CrossValidation:
    """Fit `options.head` on all folds but one, measure on that one, `folds` times. Valid and test are not looked at.

    Raises UserError as `learning_set` does.
    """
    data = learning_set(root, options, folds=folds, progress=progress)
    results = []
    with progress("Cross-validating", folds) as advance:
        for fold in range(folds):
            results.append(fit_fold(data, fold, options.head))
            advance(1)
    return combine_folds(data, results)


def combine_folds(data: LearningSet, results: Sequence[FoldResult]) -> CrossValidation:
    """Put the folds' figures together."""
    found = [result.accuracy for result in results]
    pooled = Accuracy(
        n=sum(one.n for one in found),
        correct=sum(one.correct for one in found),
        correct_top5=sum(one.correct_top5 for one in found),
        confusion=np.sum([one.confusion for one in found], axis=0),
    )
    return CrossValidation(
        list(results), pooled, pooled.n, len(data.targets), len(data.labels), data.broken, data.notes
    )


def learning_set(root: Path, options: TrainOptions, *, folds: int, progress: Progress = silent) -> LearningSet:
    """Read the train split through the bank in `<models>/bank` and cut it into folds.

    Raises UserError where there are fewer than 2 folds, where the network itself is to be trained, or where no class
    has enough pictures to hold any out.
    """
    if folds < 2:
        raise UserError(f"--folds {folds} holds nothing out: give 2 or more.")
    if not options.tuning.frozen:
        raise UserError("Folds and sweeps work on the feature bank, where the network is frozen: leave --unfreeze out.")
    require_of_the_bank(options)
    dataset = open_current_split(root)
    train, _, labels = pictures_of(dataset)
    if folds > len(train):
        raise UserError(f"{root} has too few training pictures for {folds} folds: give fewer --folds.")
    place = Place.of(options, None, progress)
    backbones = load_backbones(
        options.backbone, options.weights, seed=options.seed, cut=options.features, crop=options.crop,
        squash=options.squash, normalise=options.normalise,
    )  # fmt: skip
    require_room(sum(backbone.dim for backbone in backbones), len(labels), options.head)
    views = Views(options.views, options.seed, options.augmentation)
    found = banked(backbones, train, options, place, views, "Training pictures")
    groups, notes = near_duplicate_groups(dataset, progress)
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[train[position].label] for position in found.kept], dtype=np.int64)
    fold = assign_folds(found.sha256, targets, groups, folds=folds, seed=options.seed)
    never = int((fold == NEVER).sum())
    if set(range(folds)) - set(fold.tolist()):
        raise UserError(f"{root} has too few training pictures for {folds} folds: give fewer --folds.")
    if never:
        notes.append(f"{never} pictures are the only ones of their class, so they are learnt from in every fold.")
    notes += idle_notes(options, options.asked)
    return LearningSet(
        found.features, targets, labels, fold, folds, options.seed, found.broken, notes, found.sha256, groups
    )


def _folds_of_the_rest(data: LearningSet, learnt: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """By which a head is chosen among the pictures `learnt` (N,): the other folds, or new ones of the only other.

    None where that one is to be dealt out and nothing is known of groups.
    """
    if data.folds > 2:
        return data.fold[learnt]
    if not len(data.sha256):
        return None
    content = [sha256 for sha256, kept in zip(data.sha256, learnt.tolist(), strict=True) if kept]
    return assign_folds(content, data.targets[learnt], data.groups, folds=DEFAULT_FOLDS, seed=data.seed)


def fit_fold(data: LearningSet, fold: int, settings: FitSettings) -> FoldResult:
    """Fit on every other fold and measure on the clean view of this one."""
    learnt, held = torch.from_numpy(data.fold != fold), torch.from_numpy(data.fold == fold)
    truth = data.targets[held.numpy()]
    with threads_for(settings):
        fitted = fit_head(
            data.features[learnt], data.targets[learnt.numpy()].tolist(), len(data.labels), settings, seed=data.seed,
            fold=_folds_of_the_rest(data, learnt.numpy()),
        )  # fmt: skip
        probabilities = mean_probabilities(fitted.head, data.features[held][:, :1])
    return FoldResult(
        accuracy=measure_accuracy(probabilities, truth, len(data.labels)),
        cross_entropy=cross_entropy(probabilities, truth),
        right=probabilities.argmax(axis=1) == truth,
    )
