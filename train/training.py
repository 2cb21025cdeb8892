"""The whole way from a split dataset to a checkpoint: features from the bank, the last layer, the figures, the file."""

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curate.credits import licences_of
from curate.dataset import Dataset, open_dataset
from curate.decoding.formats import is_not_readable
from curate.defaults import DEFAULT_ASKED_VIEWS, DEFAULT_DEVICE, DEFAULT_FOLDS, DEFAULT_MODELS
from curate.errors import UserError
from curate.image import BrokenPicture
from curate.program import __version__
from curate.progress import Progress, silent
from curate.splitting.since_split import open_current_split
from curate.splitting.unfinished import steady_split
from train.answer_time import PICTURES_TIMED, seconds_of_answer
from train.backbone_names import networks_named
from train.backbones import Backbone, load_backbone
from train.calibration import Calibration
from train.checkpoint import Checkpoint, save_checkpoint
from train.device import fast_precision, memory_notes, resolve_device
from train.evaluate import measure_valid, side_by_side
from train.familiarity import Familiarity, learn_familiarity
from train.features.augmentation import Augmentation
from train.features.extract import BATCH, Extraction
from train.features.views import Views, prediction_views
from train.fold_assignment import assign_folds, near_duplicate_groups
from train.head import fit_head, require_no_cutmix, require_room, threads_for
from train.heads.held_out import HeldOutHeads, ViewsGain
from train.idle_options import idle_notes
from train.metrics import Accuracy
from train.optimising.distributed import Processes
from train.optimising.fitting import Epoch, best_epoch
from train.optimising.layers import Head
from train.optimising.settings import FitSettings, Keep
from train.optimising.unfinished import UnfinishedRun
from train.options import Cut, LearningOptions, Normalise, Precision, weights_by_network
from train.pictures import (
    LabelledPicture,
    class_folder_labels,
    fingerprint,
    labelled_pictures,
    require_known,
    untaught_among,
    untaught_notes,
)

_MOST_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LearningOptions):
    """All that `train` may be told: what is learnt, and where, from which pictures and before whom."""

    augmentation: Augmentation = field(default_factory=Augmentation)
    models: Path = DEFAULT_MODELS
    device: str = DEFAULT_DEVICE
    batch: int = BATCH
    recipe: str | None = None  # the name of the recipe these options came from
    # The options that were given in the place of that recipe's own; to be equal is to learn alike
    asked: frozenset[str] = field(default=frozenset(), compare=False)
    authors_kept: Keep = "last"  # the epoch that the authors of that recipe kept
    save_every: float = 60.0  # least seconds between two writes of the unfinished run
    names: Mapping[str, str] = field(default_factory=dict)  # label → human name; a label without one keeps its own
    watch: Callable[[Epoch], None] | None = None  # told each epoch's figures, in the first process

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.batch <= _MOST_AT_ONCE:
            raise UserError(f"A batch of {self.batch} pictures can't be computed: give 1 to {_MOST_AT_ONCE:,}.")


@dataclass(frozen=True)
class TrainingReport:
    """What was trained and written, for whoever prints it."""

    checkpoint: Path
    valid: Accuracy
    classes: int
    train_pictures: int
    valid_pictures: int
    views: int
    backbones: list[str]
    precision: str  # of the training features; valid is always measured in float32
    device: str
    coverage: float  # mean share of the training pictures that an epoch showed
    balanced: bool
    broken: list[BrokenPicture]
    computed: int  # views that went through the network; all others were in the bank
    notes: list[str]  # sentences the user should read
    seconds: dict[str, float]  # "load", "features", "head", "save"
    trained: str = "the head"  # and what else
    recipe: str | None = None
    asked_views: int = DEFAULT_ASKED_VIEWS  # that the checkpoint answers from, as on valid
    views_gain: ViewsGain | None = None  # what more views gain on held-out pictures; None where that was not tried
    answer_seconds: tuple[float, float] | None = None  # of a picture from one view, and from `asked_views`, if several


@dataclass(frozen=True)
class Place:
    """Where a run computes, beside whom, and who watches."""

    device: torch.device
    precision: Precision  # of training; figures are always in float32
    compiled: bool  # likewise; figures never are
    processes: Processes
    progress: Progress

    @classmethod
    def of(cls, options: TrainOptions, processes: Processes | None, progress: Progress) -> "Place":
        """As the options ask and this machine allows; raises UserError where it has no such device."""
        processes = processes or Processes()
        device = resolve_device(options.device, processes.local)
        precision = fast_precision(device) if options.precision == "auto" else options.precision
        return cls(device, precision, options.compiled, processes, progress)

    def exact(self) -> "Place":
        """The same place, where figures are computed."""
        return replace(self, precision="float32", compiled=False)


def train_head(
    root: Path, options: TrainOptions | None = None, progress: Progress = silent, processes: Processes | None = None
) -> TrainingReport:
    """Train the head on `root`'s train split, measure it on valid, and save the checkpoint.

    The bank lies in `<models>/bank`. Killed at any instant, the same call goes on from what the bank has. Several
    processes each extract their share into the one bank. Raises UserError for data or options that can't be trained
    on, with nothing written but the bank.
    """
    options = options or TrainOptions()
    require_of_the_bank(options)
    dataset = open_current_split(root)
    train, valid, labels = pictures_of(dataset)
    place = Place.of(options, processes, progress)
    clock = Clock()
    backbones = load_backbones(
        options.backbone, options.weights, seed=options.seed, cut=options.features, crop=options.crop,
        squash=options.squash, normalise=options.normalise,
    )  # fmt: skip
    require_room(sum(backbone.dim for backbone in backbones), len(labels), options.head)
    clock.lap("load")
    views = Views(options.views, options.seed, options.augmentation)
    learnt = banked(backbones, train, options, place, views, "Training pictures")
    measured = banked(backbones, valid, options, place.exact(), None, "Valid pictures")
    clock.lap("features")
    train_labels, valid_labels = _labels_of(train, learnt), _labels_of(valid, measured)
    require_every_class(labels, train_labels, learnt.broken)
    settings = options.head
    content = [("train", learnt.sha256, train_labels), ("valid", measured.sha256, valid_labels)]
    facts = dataset_facts(open_dataset(root), content)
    unfinished = unfinished_run(options, backbones, facts, place)
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[label] for label in train_labels], dtype=np.int64)
    fold, told = folds_for(settings, dataset, learnt.sha256, targets, options.seed, place)
    # One layer is fitted sooner on the CPU than its features reach a GPU
    with threads_for(settings):
        fitted = fit_head(
            learnt.features, targets.tolist(), len(labels), settings, seed=options.seed, fold=fold,
            with_held_out=options.asked_views > 1,
            valid=(measured.features[:, 0], [index[label] for label in valid_labels]),
            device=place.device if settings.hidden else None, processes=place.processes, unfinished=unfinished,
            watch=options.watch, progress=progress,
        )  # fmt: skip
    familiarity = learn_familiarity(learnt.features[:, 0], targets, len(labels), seed=options.seed)
    clock.lap("head")
    gain, computed = None, learnt.computed + measured.computed
    if fitted.held_out is not None:
        gain, more = _gain_of_views(fitted.held_out, backbones, train, learnt, options, place)
        computed += more
    if gain is not None and gain.pays:
        asked = prediction_views(gain.views)
        measured = banked(backbones, valid, options, place.exact(), asked, f"Valid pictures, {gain.views} views")
        computed += measured.computed
        valid_labels = _labels_of(valid, measured)
        # A picture may have changed since
        facts = dataset_facts(open_dataset(root), [content[0], ("valid", measured.sha256, valid_labels)])
    if gain is not None:
        clock.lap("views")
    accuracy, calibration = measure_valid(fitted.head, measured.features, valid_labels, labels)
    return finished(
        Trained(
            backbones=backbones,
            head=fitted.head,
            labels=labels,
            accuracy=accuracy,
            calibration=calibration,
            familiarity=familiarity,
            history=fitted.history,
            dataset=facts,
            valid_labels=valid_labels,
            valid_paths=[valid[position].path for position in measured.kept],
            views=options.views,
            coverage=fitted.coverage,
            balanced=fitted.balanced,
            broken=learnt.broken + measured.broken,
            computed=computed,
            notes=told
            + fitted.notes
            + ([] if gain else untried_views(options))
            + _bank_notes(options, [learnt, measured])
            + untaught_notes(dataset),
            chosen=fitted.chosen.facts() if fitted.chosen else [],
            views_gain=gain,
        ),
        options,
        place,
        unfinished,
        clock,
    )


def require_of_the_bank(options: TrainOptions) -> None:
    """Raise UserError for what no frozen network can do, before it has computed anything."""
    if options.tuning.final_crop:
        raise UserError(
            f"final_crop = {options.tuning.final_crop} is for a network that trains, and the bank has features of one "
            f"size: set crop instead, or --unfreeze something."
        )
    require_no_cutmix(options.head)


def _gain_of_views(
    held_out: HeldOutHeads,
    backbones: Sequence[Backbone],
    pictures: Sequence[LabelledPicture],
    learnt: Extraction,
    options: TrainOptions,
    place: Place,
) -> tuple[ViewsGain | None, int]:
    """(what answers from `options.asked_views` gain on some of the training pictures, views that were computed for it).

    `learnt` tells of those pictures. The views are those of a prediction, in the precision that the head was chosen in:
    the clean ones are banked. The gain is None where no picture can be read any more.
    """
    drawn = held_out.drawn(options.seed)
    found = banked(
        backbones, [pictures[learnt.kept[at]] for at in drawn], options, place, prediction_views(options.asked_views),
        f"Held-out pictures, {options.asked_views} views",
    )  # fmt: skip
    same = [
        number
        for number, (at, sha256) in enumerate(zip(drawn[found.kept], found.sha256, strict=True))
        if learnt.sha256[at] == sha256
    ]
    gain = held_out.gain(drawn[found.kept][same], found.features[same]) if same else None
    # Where processes round otherwise, all do as the first says
    told = json.loads(place.processes.tell(json.dumps(gain.facts() if gain else None)))
    return ViewsGain(**told) if told else None, found.computed


def untried_views(options: TrainOptions) -> list[str]:
    """What is said where more views were to be tried for answers, and could not be."""
    if options.asked_views == 1:
        return []
    found = (
        f"Answers from {options.asked_views} views were not tried: folds say what they gain, where these choose a head "
        f"(--head auto, ridge, lda, logistic) on a frozen network and hold pictures out."
    )
    return [found]


def folds_for(
    settings: FitSettings,
    dataset: Dataset,
    sha256: Sequence[str],
    targets: NDArray[np.int64],
    seed: int,
    place: Place,
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """(the fold of each picture (N,), notes) by which a head is chosen; None where it is fitted in steps.

    `targets` (N,) are class indices of the contents `sha256`. Raises UserError as `near_duplicate_groups` does.
    """
    if settings.head == "sgd":
        return None, []
    found = ""
    if place.processes.first:  # it alone opens the catalog
        groups, notes = near_duplicate_groups(dataset, place.progress)
        fold = assign_folds(sha256, targets, groups, folds=DEFAULT_FOLDS, seed=seed)
        found = json.dumps([fold.tolist(), notes])
    told, notes = json.loads(place.processes.tell(found))
    return np.array(told, dtype=np.int64), notes


@dataclass(frozen=True)
class Trained:
    """What came of a training, on the bank or picture by picture, before it is saved."""

    backbones: list[Backbone]
    head: Head
    labels: list[str]
    accuracy: Accuracy  # on valid
    calibration: Calibration
    familiarity: Familiarity | None
    history: list[Epoch]
    dataset: dict[str, Any]  # as `dataset_facts` gives it
    valid_labels: list[str]
    valid_paths: list[Path]
    views: int  # that were shown of a training picture
    coverage: float
    balanced: bool
    broken: list[BrokenPicture]
    computed: int
    notes: list[str]
    trained: str = "the head"
    chosen: list[dict[str, object]] = field(default_factory=list)  # the heads that folds chose, in plain types
    views_gain: ViewsGain | None = None  # what more views gain on held-out pictures; None where that was not tried

    @property
    def asked_views(self) -> int:
        """The views that its answers are the mean of."""
        return self.views_gain.views if self.views_gain and self.views_gain.pays else DEFAULT_ASKED_VIEWS


def finished(
    trained: Trained, options: TrainOptions, place: Place, unfinished: UnfinishedRun, clock: "Clock"
) -> TrainingReport:
    """Save the checkpoint, let go of the unfinished run, and report. Raises UserError where it can't be written."""
    labels = trained.labels
    checkpoint = Checkpoint(
        backbones=trained.backbones,
        head=trained.head,
        labels=labels,
        names=[options.names.get(label, label) for label in labels],
        recipe={
            **recipe_facts(options, place.precision),
            **({"chosen": trained.chosen} if trained.chosen else {}),
            **({"views_gain": trained.views_gain.facts()} if trained.views_gain else {}),
        },
        metrics={"valid": trained.accuracy},
        history=[vars(epoch) for epoch in trained.history],
        dataset=trained.dataset,
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        calibration=trained.calibration,
        familiarity=trained.familiarity,
        asked_views=trained.asked_views,
    )
    path = save_first(checkpoint, options.models, place.processes)
    unfinished.discard()
    clock.lap("save")
    answer_seconds = _answer_seconds(checkpoint, trained.valid_paths, options, place)
    return TrainingReport(
        checkpoint=path,
        valid=trained.accuracy,
        classes=len(labels),
        train_pictures=sum(trained.dataset["pictures"]["train"].values()),
        valid_pictures=len(trained.valid_labels),
        views=trained.views,
        backbones=[backbone.name for backbone in trained.backbones],
        precision=place.precision,
        device=str(place.device),
        coverage=trained.coverage,
        balanced=trained.balanced,
        broken=trained.broken,
        computed=trained.computed,
        notes=trained.notes
        + idle_notes(options, options.asked)
        + data_notes(
            options.head,
            labels,
            trained.valid_labels,
            balanced=trained.balanced,
            at_once=options.at_once,
            history=trained.history[-options.tuning.final_epochs :] if options.tuning.final_crop else trained.history,
            authors_kept=options.authors_kept,
        )
        + memory_notes(place.device),
        seconds=clock.laps,
        trained=trained.trained,
        recipe=options.recipe,
        asked_views=trained.asked_views,
        views_gain=trained.views_gain,
        answer_seconds=answer_seconds,
    )


def _answer_seconds(
    checkpoint: Checkpoint, files: Sequence[Path], options: TrainOptions, place: Place
) -> tuple[float, float] | None:
    """Seconds of a picture's answer from one view, and from as many as the checkpoint answers from; None of one."""
    if checkpoint.asked_views == 1:
        return None
    found = ""
    if place.processes.first:  # beside others that compute, it would tell of them
        one, several = (
            seconds_of_answer(checkpoint, files[:PICTURES_TIMED], views, options.device)
            for views in (1, checkpoint.asked_views)
        )
        found = json.dumps([one, several])
    one, several = json.loads(place.processes.tell(found))
    return one, several


def load_backbones(
    names: str,
    weights: str | Path = "default",
    *,
    seed: int = 0,
    cut: Cut = "last",
    crop: int = 0,
    squash: bool = False,
    normalise: Normalise = "weights",
) -> list[Backbone]:
    """`load_backbone` for each of `networks_named`, each with its weights of `weights_by_network`.

    `squash` and `normalise` change what its pictures look like, as `Preprocessing.as_asked` does. Raises UserError as
    these do.
    """
    wanted = networks_named(names)
    own = weights_by_network(weights, wanted)
    found = [load_backbone(name, own[name], seed=seed, cut=cut, crop=crop) for name in wanted]
    return [replace(one, preprocessing=one.preprocessing.as_asked(normalise, squash=squash)) for one in found]


def banked(
    backbones: Sequence[Backbone],
    pictures: Sequence[LabelledPicture],
    options: TrainOptions,
    place: Place,
    views: Views | None,
    title: str,
) -> Extraction:
    """Features of `pictures` through the bank in `<models>/bank`; each process computes its share of what it lacks."""
    found: Extraction | None = None
    for part in [pictures[place.processes.rank :: place.processes.count], pictures][place.processes.count == 1 :]:
        found = side_by_side(
            backbones, part, bank=options.models / "bank", device=place.device, precision=place.precision,
            compiled=place.compiled, views=views, batch=options.batch, progress=place.progress, description=title,
        )  # fmt: skip
        place.processes.wait()
    assert found is not None
    return found


def pictures_of(dataset: Dataset) -> tuple[list[LabelledPicture], list[LabelledPicture], list[str]]:
    """Train pictures, valid pictures of classes that train has, and the labels in index order.

    Raises UserError before anything slow begins.
    """
    with steady_split(dataset):
        train, valid = labelled_pictures(dataset, "train"), labelled_pictures(dataset, "valid")
        labels = class_folder_labels(dataset, "train")
    have = {picture.label for picture in train}
    if len(have) < 2:
        raise UserError(f"{dataset.root} has pictures of one class alone: a classifier needs at least two.")
    empty = [label for label in labels if label not in have]
    if empty:
        raise UserError(
            f"The class folder {dataset.root / 'train' / empty[0]} holds no picture: add some, or remove the folder."
        )
    strange = untaught_among(dataset, valid)
    known = [picture for picture in valid if picture.label not in strange]
    if not known:
        require_known(strange, labels, where=f"{dataset.root / 'valid'}", owner="train")
    return train, known, labels


def _labels_of(pictures: Sequence[LabelledPicture], found: Extraction) -> list[str]:
    return [pictures[position].label for position in found.kept]


def require_every_class(labels: Sequence[str], have: Sequence[str], broken: Sequence[BrokenPicture]) -> None:
    """Raise UserError for a class whose pictures all give no pixels."""
    lost = [label for label in labels if label not in set(have)]
    if lost:
        example = broken[0]
        unreadable = is_not_readable(example.reason)  # `clean` would leave it in place
        raise UserError(
            f"All training pictures of class {lost[0]!r} are {'left out' if unreadable else 'broken'} (such as "
            f"{example.path}: {example.reason}): {'make them readable' if unreadable else 'run `clean`'}, and add "
            "pictures or remove the class folder."
        )


def recipe_facts(options: TrainOptions, precision: str) -> dict[str, Any]:
    """What a checkpoint keeps of how it was trained, in plain types."""
    return {"name": options.recipe, **options.facts(), "precision": precision}


def dataset_facts(dataset: Dataset, content: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> dict[str, Any]:
    """What a checkpoint keeps of its pictures, from (split, sha256 of each, label of each).

    `credits` counts those that were found on the web, as [source, licence, pictures].
    """
    triples = [
        (label, split, sha256) for split, shas, labels in content for label, sha256 in zip(labels, shas, strict=True)
    ]
    counts = {split: dict(Counter(labels)) for split, _, labels in content}
    valid = fingerprint(triple for triple in triples if triple[1] == "valid")
    found = [list(row) for row in licences_of(dataset, [sha256 for _, shas, _ in content for sha256 in shas])]
    return {"fingerprint": fingerprint(triples), "valid_fingerprint": valid, "pictures": counts, "credits": found}


def unfinished_run(
    options: TrainOptions, backbones: Sequence[Backbone], dataset: Mapping[str, Any], place: Place, dealt: int = 1
) -> UnfinishedRun:
    """Where this run is kept while it is not finished: the same call on the same pictures and weights finds it.

    `dealt` is the number of processes that the pictures are dealt out to: by another number an epoch has another order.
    """
    identity = {
        "recipe": recipe_facts(options, place.precision),
        "weights": [backbone.weights_sha256 for backbone in backbones],
        "dataset": dataset["fingerprint"],
        "device": place.device.type,
        "versions": versions(),
        **({"dealt": dealt} if dealt > 1 else {}),
    }
    return UnfinishedRun(options.models / "unfinished", identity, every=options.save_every)


def save_first(checkpoint: Checkpoint, models: Path, processes: Processes) -> Path:
    """Save it in the first of the processes, and tell the others where."""
    return Path(processes.tell(str(save_checkpoint(checkpoint, models)) if processes.first else ""))


def versions() -> dict[str, str]:
    """Of what a checkpoint's figures may depend on."""
    packages = {"florilegium": __version__}
    packages |= {name: version(name) for name in ("torch", "torchvision", "timm", "pillow", "numpy")}
    return {**packages, "python": platform.python_version()}


def _offer(history: Sequence[Epoch], authors_kept: Keep) -> str | None:
    """What is said where an epoch was better on valid than the last, by what the recipe's authors chose theirs by."""
    keep: Keep = "best" if authors_kept == "last" else authors_kept
    better = best_epoch(history, keep)
    if better is None:
        return None
    found = (
        f"right more often ({better.valid_accuracy:.2%})"
        if keep == "best"
        else f"of lower loss ({better.valid_loss:.4f})"
    )
    as_who = "" if authors_kept == "last" else ", as the recipe's authors did"
    return (
        f"Epoch {better.number} of {history[-1].number} was {found} on valid: --set keep={keep} keeps that "
        f"epoch{as_who}; its figure on valid is then flattered."
    )


def data_notes(
    settings: FitSettings,
    labels: Sequence[str],
    valid: Sequence[str],
    *,
    balanced: bool,
    at_once: bool = False,
    history: Sequence[Epoch] = (),
    authors_kept: Keep = "last",
) -> list[str]:
    """Sentences on what the pictures allow; `valid` are the labels of the pictures that were measured on.

    `at_once` says that the head was fitted without steps, so that there were no epochs to choose from.
    `authors_kept` is the epoch that the authors of the recipe kept.
    """
    notes = []
    if balanced and settings.balance:
        by = "logits" if at_once else settings.balance_by
        how = {
            "sampling": "balanced sampling changes no class's share; it draws with replacement all the same, so an "
            "epoch shows some pictures twice and others not",
            "weights": "weighing them changes nothing",
            "logits": "adjusting their logits changes nothing",
        }
        notes.append(f"All classes have the same number of training pictures, so {how[by]}.")
    unmeasured = [label for label in labels if label not in set(valid)]
    if unmeasured:
        notes.append(f"{len(unmeasured)} of {len(labels)} classes have no valid picture, so nothing is known of them.")
    if valid and settings.keep == "last" and (offered := _offer(history, authors_kept)):
        notes.append(offered)
    if valid and settings.keep != "last" and not at_once:
        notes.append("The epoch was chosen on valid, so its figure there is flattered: only test tells the truth.")
    return notes


def _bank_notes(options: TrainOptions, found: Sequence[Extraction]) -> list[str]:
    notes = []
    if any(one.bank_rebuilt for one in found):
        notes.append("The feature bank was damaged and has been built anew.")
    smallest = min(one.batch for one in found)
    if smallest < options.batch:
        notes.append(f"Memory ran out at {options.batch} pictures a batch; {smallest} fit.")
    return notes


class Clock:
    """Seconds of each part of a run."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """End the part that runs."""
        now = time.perf_counter()
        self.laps[part], self._last = now - self._last, now
