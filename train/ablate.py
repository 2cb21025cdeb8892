"""What each step bought: accuracy on valid with it and without it, on the feature bank; and how much leaks flatter."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curate.cleaning.audit_scores import AUDIT_FILE
from curate.dataset import Dataset
from curate.defaults import DEFAULT_ABLATION_SEEDS, DEFAULT_FOLDS, MOST_ABLATION_SEEDS
from curate.errors import UserError
from curate.progress import Progress, silent
from curate.removals import Removals, catalogued, read_removals
from curate.searched import Searched, read_searched
from curate.splitting.since_split import open_current_split
from train.ablating.arms import Arm, ArmKey, ArmPair, draw_arms
from train.ablating.decisions import SuspectDecision, read_decisions
from train.ablating.flattery import FoldedPictures, fold_pictures, group_numbers, measure_flattery
from train.ablating.paired import Answers, mean_accuracy, paired_difference
from train.ablating.pool import LearningPool, learning_pool
from train.ablating.report import CLEANING, STEPS, AblationReport, AblationRow
from train.features.views import Views
from train.fold_assignment import assign_folds, near_duplicate_groups
from train.head import fit_head, require_room, threads_for
from train.optimising.settings import FitSettings
from train.predict import mean_probabilities
from train.training import (
    Place,
    TrainOptions,
    banked,
    load_backbones,
    pictures_of,
    require_every_class,
    require_of_the_bank,
)


def ablate(
    root: Path,
    options: TrainOptions,
    *,
    seeds: int = DEFAULT_ABLATION_SEEDS,
    only: Collection[str] = (),
    audit: Path | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    progress: Progress = silent,
) -> AblationReport:
    """Measure each step on valid, with it and without it, as the mean over `seeds` heads of one layer on the bank.

    The baseline is the dataset as it lies on the disk now: what is in train is learnt from, valid is measured on, and
    both arms of every row are measured on the same pictures of valid. Test is not opened. What "without" means for
    each step is said by `train.ablating.arms.draw_arms`, how intervals come about by
    `train.ablating.paired.paired_difference`, and the flattery of leaks by `train.ablating.flattery`. `only` are names
    of `STEPS`; none means all. `audit` is an audit or a plan whose decisions are measured, by default audit.jsonl
    beside the catalog. `tell` is told how many heads are to be fitted, before the first is.

    Pictures in the quarantine are read from where they lie. Nothing is moved, and nothing written but the bank and what
    the catalog knows. The same arguments on the same files give the same bits on one CPU. Raises UserError where the
    dataset is not split, and for options that can't be used.
    """
    started = time.perf_counter()
    steps = _steps(only)
    _require_seeds(seeds)
    if not options.tuning.frozen:
        raise UserError("An ablation works on the feature bank, where the network is frozen: leave --unfreeze out.")
    require_of_the_bank(options)
    dataset = open_current_split(root)
    train, valid, labels = pictures_of(dataset)
    decisions = _decisions(dataset, audit) if "audit" in steps else None
    place = Place.of(options, None, progress)
    backbones = load_backbones(
        options.backbone, options.weights, seed=options.seed, cut=options.features, crop=options.crop,
        squash=options.squash, normalise=options.normalise,
    )  # fmt: skip
    require_room(sum(backbone.dim for backbone in backbones), len(labels), options.head)
    cleaning = steps & {*CLEANING, "cleaning"}
    removals = read_removals(dataset, progress) if cleaning else Removals({}, {}, [], {})
    searched = read_searched(catalogued(dataset)) if steps & {"sources", "queries"} else Searched()
    pool, notes = learning_pool(dataset, train, removals.set_aside, labels)
    views = Views(options.views, options.seed, options.augmentation)
    learnt = banked(backbones, pool.pictures, options, place, views, "Training pictures")
    measured = banked(backbones, valid, options, place.exact(), None, "Valid pictures")
    pool = pool.having_features(learnt.kept, learnt.sha256)
    require_every_class(labels, [pool.pictures[at].label for at in pool.present.tolist()], learnt.broken)
    if not measured.kept:
        raise UserError(f"None of the valid pictures of {dataset.root} can be read, so nothing can be measured.")
    groups, said = near_duplicate_groups(dataset, progress)
    bench = _Bench(
        learnt.features, measured.features[:, :1], [valid[at].label for at in measured.kept], measured.sha256, labels,
        options.head, [options.seed + number for number in range(seeds)], pool.sha256, groups,
    )  # fmt: skip
    drawn = draw_arms(
        pool, labels, removals, searched, decisions, steps=steps, balance=options.head.balance, views=options.views
    )
    folded = _folded(bench, pool, groups) if "flattery" in steps else None
    baseline = Arm(pool.present, pool.targets[pool.present], options.head.balance, options.views)
    arms = {arm.key: arm for one in drawn.comparisons for arm in (one.with_step, one.without_step)}
    arms.setdefault(baseline.key, baseline)
    fits = len(arms) * seeds + (folded.fits if folded else 0)
    tell(_cost(arms, seeds, folded, fits))
    with progress("Fitting heads", fits) as advance, threads_for(options.head):
        answers = {key: bench.answers(arm, advance) for key, arm in arms.items()}
        flattery = measure_flattery(folded, options.head, seed=options.seed, advance=advance) if folded else None
    rows = _rows(drawn.comparisons, answers, pool, measured.sha256, groups, options.seed)
    skipped = list(drawn.skipped)
    if folded and flattery is None:
        skipped.append("flattery: no class has enough pictures to hold any out")
    return AblationReport(
        root=dataset.root,
        backbones=[backbone.name for backbone in backbones],
        train_pictures=len(pool.present),
        valid_pictures=len(measured.kept),
        classes=len(labels),
        seeds=seeds,
        fits=fits,
        baseline=mean_accuracy(answers[baseline.key]),
        rows=rows,
        flattery=flattery,
        skipped=skipped,
        notes=notes + said + _left_out(len(learnt.broken) + len(measured.broken)),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every arm shares: the pool's features (P, K, dim), valid's (M, 1, dim), the settings and the seeds."""

    features: torch.Tensor
    measured: torch.Tensor
    valid_labels: list[str]
    valid_sha256: list[str]
    labels: list[str]
    settings: FitSettings
    seeds: list[int]
    sha256: list[str]  # (P,)
    groups: Mapping[str, int]  # content → what it belongs with

    @property
    def truth(self) -> NDArray[np.int64]:
        """The class index of each picture of valid, (M,)."""
        index = {label: number for number, label in enumerate(self.labels)}
        return np.array([index[label] for label in self.valid_labels], dtype=np.int64)

    def answers(self, arm: Arm, advance: Callable[[int], None]) -> Answers:
        """Which pictures of valid a head that learnt from the arm answers right, (seeds, M)."""
        features = self.features[torch.from_numpy(arm.positions), : arm.views]
        settings = replace(self.settings, balance=arm.balance)
        rows = []
        for seed in self.seeds:
            fitted = fit_head(
                features, arm.targets.tolist(), len(self.labels), settings, seed=seed, fold=self._fold(arm, seed)
            )
            rows.append(mean_probabilities(fitted.head, self.measured).argmax(axis=1) == self.truth)
            advance(1)
        return np.array(rows)

    def _fold(self, arm: Arm, seed: int) -> NDArray[np.int64] | None:
        """By which a head is chosen, (N,) of the arm's pictures; None where steps fit it."""
        if self.settings.head == "sgd":
            return None
        sha256 = [self.sha256[at] for at in arm.positions.tolist()]
        return assign_folds(sha256, arm.targets, self.groups, folds=DEFAULT_FOLDS, seed=seed)


def _rows(
    pairs: Sequence[ArmPair],
    answers: Mapping[ArmKey, Answers],
    pool: LearningPool,
    valid_sha256: Sequence[str],
    groups: Mapping[str, int],
    seed: int,
) -> list[AblationRow]:
    group = group_numbers(valid_sha256, groups)
    rows = []
    for one in pairs:
        parts = {one.what: np.ones(len(group), dtype=bool)}
        if one.step in ("leaks", "cleaning"):
            parts |= _rest_of_valid(one, pool, valid_sha256, groups)
        for what, measured in parts.items():
            first, second = (answers[arm.key][:, measured] for arm in (one.with_step, one.without_step))
            rows.append(
                AblationRow(
                    one.step, what, one.pictures, mean_accuracy(first), mean_accuracy(second),
                    paired_difference(first, second, group[measured], seed), one.remark if what == one.what else "",
                    one.set_aside,
                )
            )  # fmt: skip
    return rows


def _rest_of_valid(
    one: ArmPair, pool: LearningPool, valid_sha256: Sequence[str], groups: Mapping[str, int]
) -> dict[str, NDArray[np.bool_]]:
    """Which pictures of valid are copies of none that the arms differ by, (M,): there no leak flatters.

    Nothing where all or none are, and where a picture that was set aside has no copy that stayed: with what it belongs
    is not on record.
    """
    differing = sorted({*one.with_step.positions.tolist()} ^ {*one.without_step.positions.tolist()})
    if any(pool.aside[at] and not pool.belongs[at] for at in differing):
        return {}
    contents = [pool.belongs[at] or pool.sha256[at] for at in differing]
    number = group_numbers([*contents, *valid_sha256], groups)
    rest: NDArray[np.bool_] = ~np.isin(number[len(differing) :], number[: len(differing)])
    return {"rest of valid": rest} if rest.any() and not rest.all() else {}


def _folded(bench: _Bench, pool: LearningPool, groups: Mapping[str, int]) -> FoldedPictures:
    """Train and valid together, each picture by its clean view."""
    own = pool.present
    features = torch.cat([bench.features[torch.from_numpy(own), :1].float(), bench.measured.float()])
    targets = np.concatenate([pool.targets[own], bench.truth])
    sha256 = [*(pool.sha256[at] for at in own.tolist()), *bench.valid_sha256]
    return fold_pictures(features, targets, bench.labels, sha256, groups, folds=DEFAULT_FOLDS, seeds=bench.seeds)


def _cost(arms: Collection[object], seeds: int, folded: FoldedPictures | None, fits: int) -> str:
    more = f", and {folded.fits:,} for the flattery of leaks" if folded else ""
    return f"{fits:,} heads to fit on the bank: {len(arms):,} sets of pictures × {seeds} seeds{more}."


def _steps(only: Collection[str]) -> set[str]:
    for step in only:
        if step not in STEPS:
            raise UserError(f"There is no step {step!r}: name one of {', '.join(STEPS)}.")
    return set(only or STEPS)


def _require_seeds(seeds: int) -> None:
    if not 2 <= seeds <= MOST_ABLATION_SEEDS:
        raise UserError(f"--seeds {seeds} can't be used: give 2 to {MOST_ABLATION_SEEDS}, for a mean with an interval.")


def _decisions(dataset: Dataset, file: Path | None) -> list[SuspectDecision] | None:
    """Those of the file that is named or, of the datasets' own audits, of the first that is there."""
    places = catalogued(dataset)
    if file is not None:
        home = next((one for one in places if file.resolve().parent == one.home.resolve()), places[-1])
        return read_decisions(file, home)
    for one in places:
        if (one.home / AUDIT_FILE).is_file():
            return read_decisions(one.home / AUDIT_FILE, one)
    return None


def _left_out(broken: int) -> list[str]:
    return [f"{broken:,} files give no pixels, and are in no arm."] if broken else []
