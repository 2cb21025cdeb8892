"""The whole way from a split dataset to a checkpoint: features from the bank, the last layer, the figures, the file."""

import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from curate.dataset import Dataset, open_dataset
from curate.errors import UserError
from curate.progress import Progress, silent
from train.augmentation import Augmentation
from train.backbones import Backbone, load_backbone
from train.calibration import calibrate
from train.checkpoint import Checkpoint, save_checkpoint
from train.device import fast_precision, resolve_device
from train.evaluate import measure_head, side_by_side
from train.extract import BATCH, BrokenPicture, Extraction, Views
from train.head import FittedHead, HeadSettings, fit_head
from train.metrics import Accuracy
from train.pictures import LabelledPicture, class_folder_labels, fingerprint, labelled_pictures, require_known
from train.predict import head_logits


@dataclass(frozen=True)
class TrainOptions:
    """All that `train` may be told. `seed` decides views, first values, draws and random weights alike."""

    backbone: str = "resnet152"  # or several, joined by "+": their features stand side by side
    weights: str | Path = "default"
    views: int = 1
    seed: int = 1337
    models: Path = Path("models")
    device: str = "auto"
    batch: int = BATCH
    head: HeadSettings = field(default_factory=HeadSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    names: Mapping[str, str] = field(default_factory=dict)  # label → human name; a label without one keeps its own

    def __post_init__(self) -> None:
        if self.views < 1 or self.batch < 1:
            raise UserError(f"--views {self.views} and a batch of {self.batch} must be 1 or more.")


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


def train_head(root: Path, options: TrainOptions | None = None, progress: Progress = silent) -> TrainingReport:
    """Train the last layer on `root`'s train split, measure it on valid, and save the checkpoint.

    The bank lies in `<models>/bank`. Killed at any instant, the same call goes on from what the bank has. Raises
    UserError for data or options that can't be trained on, with nothing written but the bank.
    """
    options = options or TrainOptions()
    train, valid, labels = _pictures(open_dataset(root))
    device = resolve_device(options.device)
    precision = fast_precision(device)
    clock = _Clock()
    backbones = load_backbones(options.backbone, options.weights, seed=options.seed)
    clock.lap("load")
    bank = options.models / "bank"
    views = Views(options.views, options.seed, options.augmentation)
    learnt = side_by_side(
        backbones, train, bank=bank, device=device, precision=precision, views=views, batch=options.batch,
        progress=progress, description="Training pictures",
    )  # fmt: skip
    measured = side_by_side(
        backbones, valid, bank=bank, device=device, precision="float32", batch=options.batch,
        progress=progress, description="Valid pictures",
    )  # fmt: skip
    clock.lap("features")
    train_labels, valid_labels = _labels_of(train, learnt), _labels_of(valid, measured)
    _require_every_class(labels, train_labels, learnt.broken)
    settings = replace(options.head, seed=options.seed)
    index = {label: number for number, label in enumerate(labels)}
    fitted = fit_head(
        learnt.features, [index[label] for label in train_labels], len(labels), settings,
        valid=(measured.features[:, 0], [index[label] for label in valid_labels]), progress=progress,
    )  # fmt: skip
    accuracy, truth, _ = measure_head(fitted.linear, measured.features, valid_labels, labels)
    calibration = calibrate(head_logits(fitted.linear, measured.features[:, 0]), truth)
    clock.lap("head")
    content = [("train", learnt, train_labels), ("valid", measured, valid_labels)]
    checkpoint = Checkpoint(
        backbones=backbones,
        head=fitted.linear,
        labels=labels,
        names=[options.names.get(label, label) for label in labels],
        recipe=_recipe(options, settings, precision),
        metrics={"valid": accuracy},
        history=[vars(epoch) for epoch in fitted.history],
        dataset=_dataset(content),
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        calibration=calibration,
    )
    path = save_checkpoint(checkpoint, options.models)
    clock.lap("save")
    return TrainingReport(
        checkpoint=path,
        valid=accuracy,
        classes=len(labels),
        train_pictures=len(train_labels),
        valid_pictures=len(valid_labels),
        views=options.views,
        backbones=[backbone.name for backbone in backbones],
        precision=precision,
        device=str(device),
        coverage=fitted.coverage,
        balanced=fitted.balanced,
        broken=learnt.broken + measured.broken,
        computed=learnt.computed + measured.computed,
        notes=_notes(options, fitted, [learnt, measured], labels, valid_labels),
        seconds=clock.laps,
    )


def load_backbones(names: str, weights: str | Path = "default", *, seed: int = 0) -> list[Backbone]:
    """`load_backbone` for each of the names joined by "+"; a weights file or tag belongs to one backbone alone."""
    wanted = [name.strip() for name in names.split("+")]
    if len(wanted) > 1 and str(weights) not in {"default", "none"}:
        raise UserError(f"--weights {weights} can't be given to {len(wanted)} backbones at once: name one backbone.")
    if len(set(wanted)) < len(wanted):
        raise UserError(f"--backbone {names} names one network twice: its features would say nothing new.")
    return [load_backbone(name, weights, seed=seed) for name in wanted]


def _pictures(dataset: Dataset) -> tuple[list[LabelledPicture], list[LabelledPicture], list[str]]:
    """Train pictures, valid pictures and the labels in index order; raises UserError before anything slow begins."""
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
    require_known({picture.label for picture in valid}, labels, where=f"{dataset.root / 'valid'}", owner="train")
    return train, valid, labels


def _labels_of(pictures: Sequence[LabelledPicture], found: Extraction) -> list[str]:
    return [pictures[position].label for position in found.kept]


def _require_every_class(labels: Sequence[str], have: Sequence[str], broken: Sequence[BrokenPicture]) -> None:
    lost = [label for label in labels if label not in set(have)]
    if lost:
        example = broken[0]
        raise UserError(
            f"All training pictures of class {lost[0]!r} are broken (such as {example.path}: {example.reason}): "
            f"run `clean`, and add pictures or remove the class folder."
        )


def _recipe(options: TrainOptions, settings: HeadSettings, precision: str) -> dict[str, Any]:
    return {
        "backbone": options.backbone,
        "views": options.views,
        "augmentation": options.augmentation.to_dict(),
        "seed": options.seed,
        "precision": precision,
        "sampling": "class-balanced",
        "head": settings.to_dict(),
    }


def _dataset(content: Sequence[tuple[str, Extraction, list[str]]]) -> dict[str, Any]:
    triples = [
        (label, split, sha256)
        for split, found, labels in content
        for label, sha256 in zip(labels, found.sha256, strict=True)
    ]
    counts = {split: dict(Counter(labels)) for split, _, labels in content}
    return {"fingerprint": fingerprint(triples), "pictures": counts}


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "torchvision", "timm", "pillow", "numpy")}
    return {**packages, "python": platform.python_version()}


def _notes(
    options: TrainOptions, fitted: FittedHead, found: Sequence[Extraction], labels: Sequence[str], valid: Sequence[str]
) -> list[str]:
    notes = []
    if fitted.balanced:
        notes.append("All classes have the same number of training pictures, so balanced sampling changes nothing.")
    unmeasured = [label for label in labels if label not in set(valid)]
    if unmeasured:
        notes.append(f"{len(unmeasured)} of {len(labels)} classes have no valid picture, so nothing is known of them.")
    if any(one.bank_rebuilt for one in found):
        notes.append("The feature bank was damaged and has been built anew.")
    smallest = min(one.batch for one in found)
    if smallest < options.batch:
        notes.append(f"Memory ran out at {options.batch} pictures a batch; {smallest} fit.")
    return notes


class _Clock:
    """Seconds of each part of a run."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.laps[part], self._last = now - self._last, now
