"""Fits more than the last layer: from a split dataset, picture by picture, to a checkpoint."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from curate.dataset import Dataset, open_dataset
from curate.errors import UserError
from curate.files.shards import shard_of
from curate.image import BrokenPicture
from curate.memory import keep_freed_memory
from curate.progress import Progress, silent
from curate.splitting.since_split import open_current_split
from train.backbone_names import networks_named
from train.backbones import Backbone, freeze_parameters, weights_digest
from train.calibration import Calibration
from train.evaluate import measure_valid, side_by_side
from train.familiarity import Familiarity, learn_familiarity
from train.features.compiling import CompiledSteps
from train.features.pixels import PixelSource, Readable, readable_pictures
from train.features.preprocessing import Preprocessing
from train.features.views import Views
from train.final_size import final_preprocessing, see_pictures_of
from train.head import fit_head, require_room
from train.metrics import Accuracy
from train.optimising.distributed import Processes
from train.optimising.fitting import Change, Fitting, Measured, Work, epochs_of
from train.optimising.layers import Head, build_head
from train.optimising.optimiser import discriminative_groups, parameter_groups
from train.optimising.settings import FitSettings
from train.optimising.unfreeze import Stage, set_train_mode, unfreeze
from train.pictures import LabelledPicture, untaught_notes
from train.training import (
    Clock,
    Place,
    Trained,
    TrainingReport,
    TrainOptions,
    banked,
    dataset_facts,
    finished,
    folds_for,
    load_backbones,
    pictures_of,
    require_every_class,
    unfinished_run,
    untried_views,
)


class PixelClassifier(nn.Module):
    """8-bit pixels (N, crop, crop, 3), or float32 ones where they were mixed, → logits (N, classes)."""

    def __init__(self, backbone: Backbone, head: Head, *, keep_statistics: bool = False) -> None:
        super().__init__()
        self.network, self.head = backbone.network, head
        self.preprocessing = backbone.preprocessing
        self.keep_statistics = keep_statistics

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pixels (N, crop, crop, 3), with a gradient where it is asked for."""
        return self.logits(self.preprocessing.normalise(pixels))

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """The same of normalised pictures (N, 3, crop, crop)."""
        logits: torch.Tensor = self.head(self.network(pictures))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Train mode for what is unfrozen alone."""
        super().train(mode)
        if mode:
            set_train_mode(self.network, keep_statistics=self.keep_statistics)
        return self


@dataclass(frozen=True)
class _Data:
    """What can be read of the pictures, and the classes' labels in index order."""

    learnt: list[Readable]
    measured: list[Readable]
    broken: list[BrokenPicture]
    labels: list[str]

    def all(self) -> list[Readable]:
        """Those that are learnt from, and after them those that are measured on."""
        return self.learnt + self.measured

    def targets(self, pictures: Sequence[Readable]) -> torch.Tensor:
        """Class indices, int64 (N,)."""
        index = {label: number for number, label in enumerate(self.labels)}
        return torch.tensor([index[one.label] for one in pictures], dtype=torch.int64)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """What a checkpoint keeps of them; `dataset` knows where they come from."""
        splits = (("train", self.learnt), ("valid", self.measured))
        content = [(split, [one.sha256 for one in part], [one.label for one in part]) for split, part in splits]
        return dataset_facts(dataset, content)


def train_network(
    root: Path, options: TrainOptions, progress: Progress = silent, processes: Processes | None = None
) -> TrainingReport:
    """Train the head and what `options.tuning` unfreezes on `root`'s train split, measure on valid, save.

    Killed at any instant, the same call goes on from what was last kept in `<models>/unfinished`. The figures are
    those of the saved checkpoint, through the way that predicts. Raises UserError as `train_head` does.
    """
    if options.head.head != "sgd" and not options.tuning.probe:
        raise UserError(
            f"head = {options.head.head} is fitted on a frozen network: with --unfreeze, --set probe=true begins with "
            f"it, and --head sgd leaves it out."
        )
    dataset = open_current_split(root)
    train, valid, labels = pictures_of(dataset)
    place = Place.of(options, processes, progress)
    clock = Clock()
    backbone = _one_backbone(options)
    require_room(backbone.dim, len(labels), options.head)
    final = final_preprocessing(backbone, options, len(train))
    clock.lap("load")
    data = _readable(train, valid, labels, backbone.preprocessing.resize, place.progress)
    clock.lap("features")
    settings = options.head
    facts = data.facts(open_dataset(root))
    dealt = 1 if _shards(data.learnt) is None else place.processes.count
    unfinished = unfinished_run(options, [backbone], facts, place, dealt)
    since = epochs_of(len(data.learnt), settings) - options.tuning.final_epochs if final else 0
    source = PixelSource(
        data.all(), backbone.preprocessing, options.augmentation, options.seed, device=place.device, last=final,
        since=since,
    )  # fmt: skip
    # Their processes are forked before anything else is begun: a bar's thread would forbid it, and a GPU delay it
    with source.at_work(settings.batch * settings.accumulate + 1, len(source.pictures) * settings.epochs):
        head = _first_head(backbone, data, dataset, options, settings, place)
        stages = unfreeze(backbone.network, options.tuning.unfreeze)
        if place.device.type == "cpu":
            keep_freed_memory()
        # A head that was fitted on the frozen network's features knows nothing else than its batch-norm's statistics:
        # EfficientNet-Lite0's new ones alone, no weight moved, took valid from 88 to 45% within an epoch.
        model = PixelClassifier(backbone, head, keep_statistics=options.tuning.probe)
        model = model.to(memory_format=torch.channels_last).to(place.device)
        work = _work(model, stages, data, source, options, settings, place)
        fitting = Fitting(
            work, settings, seed=options.seed, processes=place.processes, unfinished=unfinished, watch=options.watch
        )
        history = fitting.run(place.progress)
    clock.lap("head")
    tuned, head = _tuned(backbone, model.preprocessing), head.cpu().requires_grad_(False)
    accuracy, calibration, familiarity = _figures(tuned, head, data, place)
    return finished(
        Trained(
            backbones=[tuned],
            head=head,
            labels=labels,
            accuracy=accuracy,
            calibration=calibration,
            familiarity=familiarity,
            history=history,
            dataset=facts,
            valid_labels=[one.label for one in data.measured],
            valid_paths=[one.path for one in data.measured],
            views=len(history),
            coverage=float(np.mean([fitting.sampler.coverage(number) for number in range(len(history))])),
            balanced=fitting.sampler.is_balanced,
            broken=data.broken,
            computed=len(fitting.sampler) * len(history),
            notes=fitting.notes + untried_views(options) + untaught_notes(dataset),
            trained=f"the head and {_told(stages)}{_told_last(len(history) - since, final)}",
        ),
        options,
        place,
        unfinished,
        clock,
    )


def _one_backbone(options: TrainOptions) -> Backbone:
    if len(networks_named(options.backbone)) > 1:
        raise UserError(
            f"--unfreeze trains one network, not {options.backbone}: name one, or leave them frozen side by side."
        )
    (backbone,) = load_backbones(
        options.backbone, options.weights, seed=options.seed, cut=options.features, crop=options.crop,
        squash=options.squash, normalise=options.normalise,
    )  # fmt: skip
    return backbone


def _readable(
    train: Sequence[LabelledPicture],
    valid: Sequence[LabelledPicture],
    labels: list[str],
    at_least: int,
    progress: Progress,
) -> _Data:
    learnt, broken = readable_pictures(train, at_least, progress, "Reading training pictures")
    measured, broken_valid = readable_pictures(valid, at_least, progress, "Reading valid pictures")
    require_every_class(labels, [one.label for one in learnt], broken)
    if not measured:
        raise UserError("None of the valid pictures can be read: look at the broken ones with `clean --dry-run`.")
    return _Data(learnt, measured, broken + broken_valid, labels)


def _first_head(
    backbone: Backbone, data: _Data, dataset: Dataset, options: TrainOptions, settings: FitSettings, place: Place
) -> Head:
    """A head of random values, or one that was fitted on the frozen network's features first."""
    if not options.tuning.probe:
        return build_head(
            backbone.dim, len(data.labels), hidden=settings.hidden, activation=settings.activation,
            dropout=settings.dropout, input_dropout=settings.input_dropout, seed=options.seed,
        )  # fmt: skip
    views = Views(options.views, options.seed, options.augmentation)
    found = banked([backbone], _labelled(data.learnt), options, place, views, "Features for the first head")
    # The defaults are those that the head alone was found to train best with; the layers are as asked for
    alone = FitSettings(
        hidden=settings.hidden, activation=settings.activation, dropout=settings.dropout,
        input_dropout=settings.input_dropout, balance=settings.balance, balance_by=settings.balance_by,
        head=settings.head, strength=settings.strength,
    )  # fmt: skip
    targets = data.targets([data.learnt[position] for position in found.kept])
    fold, _ = folds_for(alone, dataset, found.sha256, targets.numpy(), options.seed, place)
    fitted = fit_head(
        found.features,
        targets.tolist(),
        len(data.labels),
        alone,
        seed=options.seed,
        fold=fold,
        processes=place.processes,
        progress=place.progress,
    )
    return fitted.head.requires_grad_(True)


def _work(
    model: PixelClassifier,
    stages: Sequence[Stage],
    data: _Data,
    source: PixelSource,
    options: TrainOptions,
    settings: FitSettings,
    place: Place,
) -> Work:
    truth = data.targets(data.measured)

    def validate(classifier: nn.Module) -> Measured:
        """Measure this process's share of valid."""
        mine = place.processes.share(torch.arange(len(truth)))
        correct, loss = 0, 0.0
        is_last = model.preprocessing == source.last
        batches = source.clean((len(data.learnt) + mine).tolist(), settings.batch, is_last=is_last)
        for places, pixels in zip(torch.split(mine, settings.batch), batches, strict=len(mine) > 0):
            with torch.autocast(place.device.type, torch.bfloat16, enabled=place.precision == "bfloat16"):
                logits = classifier(pixels).to(torch.float32)
            wanted = truth[places].to(place.device)
            correct += int((logits.argmax(dim=1) == wanted).sum())
            loss += float(functional.cross_entropy(logits, wanted, reduction="sum"))
        return Measured(len(mine), correct, loss)

    def change(classifier: nn.Module) -> None:
        assert isinstance(classifier, PixelClassifier)
        classifier.preprocessing = source.last
        see_pictures_of(classifier.network, source.last.crop)

    def normalised(pixels: torch.Tensor) -> torch.Tensor:
        return model.preprocessing.normalise(pixels)

    groups = parameter_groups(model.head.parameters(), weight_decay=settings.weight_decay) + discriminative_groups(
        [stage.parameters for stage in stages],
        scale=options.tuning.backbone_rate,
        decay=options.tuning.rate_decay,
        weight_decay=options.tuning.backbone_weight_decay,
    )
    return Work(
        model=model,
        groups=groups,
        loader=source,
        targets=data.targets(data.learnt),
        classes=len(data.labels),
        validate=validate,
        device=place.device,
        precision=place.precision,
        title=f"Training the head and {_told(stages)}",
        compiled=CompiledSteps(model.logits, normalised) if place.compiled else None,
        change=Change(source.since, change) if source.since else None,
        shards=_shards(data.learnt),
    )


def _shards(pictures: Sequence[Readable]) -> torch.Tensor | None:
    """The number of the shard of each picture, int64 (N,); None where not all lie in shards."""
    names = [shard_of(one.path) for one in pictures]
    if None in names:
        return None
    number = {name: at for at, name in enumerate(sorted(set(map(str, names))))}
    return torch.tensor([number[str(name)] for name in names], dtype=torch.int64)


def _labelled(pictures: Sequence[Readable]) -> list[LabelledPicture]:
    return [LabelledPicture(one.path, one.label, one.sha256) for one in pictures]


def _figures(
    tuned: Backbone, head: Head, data: _Data, place: Place
) -> tuple[Accuracy, Calibration, Familiarity | None]:
    """What valid says, and what train looks like, through the network that evaluates and predicts, in float32."""
    with tempfile.TemporaryDirectory(prefix="florilegium-") as temporary:
        found, learnt = (
            side_by_side(
                [tuned], _labelled(pictures), bank=Path(temporary), device=place.device, precision="float32",
                progress=place.progress, description=title,
            )
            for pictures, title in ((data.measured, "Valid pictures"), (data.learnt, "Training pictures once more"))
        )  # fmt: skip
    labels = [data.measured[position].label for position in found.kept]
    accuracy, calibration = measure_valid(head, found.features, labels, data.labels)
    targets = data.targets([data.learnt[position] for position in learnt.kept]).numpy()
    familiarity = learn_familiarity(learnt.features[:, 0], targets, len(data.labels))
    return accuracy, calibration, familiarity


def _tuned(backbone: Backbone, preprocessing: Preprocessing) -> Backbone:
    """The backbone with the weights and the pictures it has now, frozen again, on the CPU."""
    network = backbone.network.cpu().to(memory_format=torch.contiguous_format)
    freeze_parameters(network)
    return replace(
        backbone, weights=f"{backbone.weights}, trained on", weights_sha256=weights_digest(network),
        preprocessing=preprocessing,
    )  # fmt: skip


def _told(stages: Sequence[Stage]) -> str:
    return stages[0].name if len(stages) == 1 else f"{len(stages)} stages from {stages[0].name} on"


def _told_last(epochs: int, final: Preprocessing | None) -> str:
    if final is None:
        return ""
    return f", the last {'epoch' if epochs == 1 else f'{epochs} epochs'} at {final.crop} pixels"
