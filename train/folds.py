"""Cross-validation on the bank: folds within train that nothing crosses that `split` keeps together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.clean import catalog_to_look
from curate.dataset import Dataset
from curate.defaults import DEFAULT_FOLDS, DEFAULT_RADIUS
from curate.errors import UserError
from curate.image import BrokenPicture
from curate.lookalikes.cached_search import find_neighbours
from curate.not_copies import neighbours_apart, read_not_copies
from curate.progress import Progress, silent
from curate.scan import scan
from curate.splitting.bonds import read_bonds
from curate.splitting.grouping import groups_of, links_of
from curate.splitting.picture_table import read_picture_table
from curate.splitting.scenes import find_scenes
from curate.splitting.since_split import open_current_split
from train.calibration import cross_entropy
from train.device import one_thread
from train.features.views import Views
from train.head import fit_head, require_room
from train.metrics import Accuracy, measure_accuracy
from train.optimising.settings import FitSettings
from train.predict import mean_probabilities
from train.training import Place, TrainOptions, banked, load_backbones, pictures_of

NEVER = -1
"""The fold of pictures that are always learnt from: the only ones of their class, as far as groups can be told."""


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
    return LearningSet(found.features, targets, labels, fold, folds, options.seed, found.broken, notes)


def near_duplicate_groups(
    dataset: Dataset, progress: Progress = silent, catalog: Catalog | None = None
) -> tuple[dict[str, int], list[str]]:
    """Number of the group of each content (sha256) that belongs with others, and notes.

    What belongs together is what `split` keeps together: near-duplicates but for those that a person told apart, shots
    of one scene that it knew of, pictures of one origin, and the groups that it was given. `catalog` is the dataset's,
    if it is open already. Where that is of no use, these groups and equal bytes are known, and a note says so. Raises
    UserError for a record of groups that cannot be read.
    """
    bonds = read_bonds(dataset.root)
    try:
        with nullcontext(catalog) if catalog else catalog_to_look(dataset) as known:
            scan(dataset, known, progress)
            table = read_picture_table(dataset, known)
            neighbours = find_neighbours(dataset, known, table, DEFAULT_RADIUS, progress)
            told = read_not_copies(dataset).of(zip(table.paths, map(table.digest, range(len(table))), strict=True))
            neighbours = neighbours_apart(neighbours, told)
            scenes = find_scenes(dataset, known, table, None, bonds.scene_pairs())
            links = links_of(table, known, neighbours, bonds.links(table), scenes).bound(bonds.bind)
    except UserError as error:
        given = {sha256: number for number, group in enumerate(bonds.groups.values()) for sha256 in group}
        return given, [f"Near-duplicates may lie in different folds, because the catalog was of no use: {error}"]
    unassigned = np.zeros(len(table.sha256), dtype=np.uint8)
    return {
        bytes(table.sha256[content]).decode(): number
        for number, group in enumerate(groups_of(links, unassigned))
        for content in group.contents
    }, []


def assign_folds(
    sha256: Sequence[str], targets: NDArray[np.int64], groups: Mapping[str, int], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each picture, (N,): groups stay whole, every class is spread as evenly as they allow.

    Groups are dealt out largest first, then in an order that depends on their content and the seed alone, each to
    the fold that has least of its classes. Pictures whose class would be left without any to learn from get NEVER.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, sha in enumerate(sha256):
        members[f"group {groups[sha]}" if sha in groups else sha].append(position)
    keyed = [(-len(group), _draw(seed, min(sha256[at] for at in group)), group) for group in members.values()]
    counts: list[Counter[int]] = [Counter() for _ in range(folds)]
    fold = np.full(len(sha256), NEVER, dtype=np.int64)
    for _, key, group in sorted(keyed):
        classes = Counter(targets[group].tolist())
        turn = int.from_bytes(key[:4], "big") % folds
        best = min(
            range(folds),
            key=lambda one: (
                sum(counts[one][target] * n for target, n in classes.items()),
                counts[one].total(),
                (one - turn) % folds,
            ),
        )
        counts[best].update(classes)
        fold[group] = best
    total = Counter(targets.tolist())
    for group in members.values():
        own = fold[group[0]]
        if any(counts[own][int(targets[at])] == total[int(targets[at])] for at in group):
            fold[group] = NEVER
    return fold


def fit_fold(data: LearningSet, fold: int, settings: FitSettings) -> FoldResult:
    """Fit on every other fold and measure on the clean view of this one."""
    learnt, held = torch.from_numpy(data.fold != fold), torch.from_numpy(data.fold == fold)
    truth = data.targets[held.numpy()]
    with one_thread():
        fitted = fit_head(
            data.features[learnt], data.targets[learnt.numpy()].tolist(), len(data.labels), settings, seed=data.seed
        )
        probabilities = mean_probabilities(fitted.head, data.features[held][:, :1])
    return FoldResult(
        accuracy=measure_accuracy(probabilities, truth, len(data.labels)),
        cross_entropy=cross_entropy(probabilities, truth),
        right=probabilities.argmax(axis=1) == truth,
    )


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
