"""Checkpoints that explain themselves: everything a prediction needs, in plain types, under the accuracy's name."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from curate.defaults import DEFAULT_ASKED_VIEWS
from curate.errors import UserError
from curate.files.atomic import file_under_way, fsync_file, fsync_folder
from curate.files.lock import locked
from curate.files.moving import Outcome, move
from curate.printable import without_escapes
from train.backbones import (
    CUTS,
    LIBRARIES,
    Backbone,
    bytes_of_network,
    empty_network,
    feature_dim,
    freeze_parameters,
    weights_digest,
)
from train.calibration import Calibration
from train.checkpoint_facts import asked_views_of, dataset_of, labels_and_names, metrics_of, plain
from train.familiarity import Familiarity
from train.features.preprocessing import Preprocessing
from train.features.weights import DamagedFile, fit_state, is_finite, load_safely, require_backed
from train.metrics import Accuracy
from train.optimising.layers import Head, SignedSqrt, describe_head, head_from_description, linears
from train.timm_networks import POOLINGS

FORMAT: Final = "florilegium checkpoint"
VERSION: Final = 4
"""What is read. 1 had no calibration: a reader of 1 would give other probabilities. 2 knew one pooling alone, and no
root before a layer. 3 answered from one view. Each checkpoint is written as the least of these that reads it right.
"""

# What reading a foreign dict and building from it may raise.
_RAISED_OF_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A classifier and its story. Probabilities are softmax(head(features) / temperature), in order of `labels`.

    With several backbones their features stand side by side, in the order of `backbones`.
    """

    backbones: list[Backbone]
    head: Head
    labels: list[str]  # class folders' names, in index order
    names: list[str]  # their human names, in the same order
    recipe: dict[str, Any]  # plain types: what it was trained with
    metrics: dict[str, Accuracy]  # by split
    history: list[dict[str, Any]]  # one entry an epoch
    dataset: dict[str, Any]  # fingerprint, pictures by split
    versions: dict[str, str]
    created: str  # ISO 8601, UTC
    calibration: Calibration | None = None  # learnt from valid, from `asked_views`; None where nothing was
    familiarity: Familiarity | None = None  # learnt from train; None where there was too little
    asked_views: int = DEFAULT_ASKED_VIEWS  # that an answer is the mean of, as valid's figures are

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; of one view it makes no answer another one."""
        return self.calibration.temperature if self.calibration else 1.0

    def views_for(self, asked: int | None) -> int:
        """How many views an answer is the mean of: as many as were `asked` for, or as it says itself."""
        return self.asked_views if asked is None else asked

    def name_of(self, label: str) -> str:
        """The human name of a class folder; a folder that was not trained on stands for itself."""
        return self.names[self.labels.index(label)] if label in self.labels else label


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, measured_on: str = "valid") -> Path:
    """Write `model_<accuracy>.pth` into `folder` and return its path; no file that is there is ever replaced.

    The file appears under its name whole or not at all, whenever the process dies. Raises UserError where it can't
    be written, with whatever was there before untouched.
    """
    stem = f"model_{checkpoint.metrics[measured_on].percent()}"
    content = _to_plain(checkpoint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            locked(folder, "train", wait=None, required=False),
            file_under_way(folder / stem) as (stream, temporary),
        ):
            torch.save(content, stream)
            fsync_file(stream)
            path = _take_name(temporary, folder, stem)
        fsync_folder(folder)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"The checkpoint can't be written into {folder} ({_cause(error)}): check the disk's free space and your "
            f"rights, and run the same command again. Those that are there are whole."
        ) from error
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and nothing else: no network, no code from the file, every tensor checked.

    Raises UserError where the file is missing, cut off, damaged, not ours, or written by a newer version.
    """
    content = _of_ours(path, _read(path))
    try:
        require_backed(_all_tensors(content), path.stat().st_size)
        backbones = [_backbone_from_plain(one, path) for one in content["backbones"]]
        head = _head_from_plain(content["head"])
        labels, names = labels_and_names(content["labels"], content["names"])
        if linears(head)[-1].out_features != len(labels):
            raise ValueError("labels, names and outputs differ in number")
        if not backbones or linears(head)[0].in_features != sum(backbone.dim for backbone in backbones):
            raise ValueError("the head does not belong to the backbone")
        return Checkpoint(
            backbones=backbones,
            head=head,
            labels=labels,
            names=names,
            recipe=dict(plain(content["recipe"])),
            metrics=metrics_of(content["metrics"], len(labels)),
            history=[dict(epoch) for epoch in plain(content["history"])],
            dataset=dataset_of(content["dataset"]),
            versions={str(package): str(version) for package, version in plain(content["versions"]).items()},
            created=str(content["created"]),
            calibration=Calibration.from_dict(calibration) if (calibration := content.get("calibration")) else None,
            familiarity=Familiarity.from_dict(found, dim=linears(head)[0].in_features, classes=len(labels))
            if (found := content.get("familiarity"))
            else None,
            asked_views=asked_views_of(content.get("asked_views", DEFAULT_ASKED_VIEWS)),  # older ones do not say it
        )
    except _RAISED_OF_DAMAGE as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says of itself without its weights."""

    labels: list[str]
    names: list[str]
    valid: Accuracy | None
    measured_on: str  # names the classes and the valid pictures: figures of equal ones may be compared
    created: str  # ISO 8601, UTC


def read_checkpoint_facts(path: Path) -> CheckpointFacts:
    """What a checkpoint says of itself, its tensors left on the disk and unchecked.

    Raises OSError and UserError for a file that can't be read, or is none of ours.
    """
    content = _of_ours(path, _read(path, mapped=True))
    try:
        labels, names = labels_and_names(content["labels"], content["names"])
        dataset = dataset_of(content["dataset"])
        # Older checkpoints name train and valid together
        pictures = dataset.get("valid_fingerprint") or dataset.get("fingerprint")
        return CheckpointFacts(
            labels=labels,
            names=names,
            valid=metrics_of(content["metrics"], len(labels)).get("valid"),
            measured_on=f"{sorted(labels)} {pictures}",
            created=str(content["created"]),
        )
    except _RAISED_OF_DAMAGE as error:
        raise _damaged(path, error) from error


def _least_version(checkpoint: Checkpoint) -> int:
    """The least `VERSION` whose readers give its own answers."""
    if checkpoint.asked_views != DEFAULT_ASKED_VIEWS:
        return 4
    pooled = any(backbone.pooling != POOLINGS[0] for backbone in checkpoint.backbones)
    return 3 if pooled or any(isinstance(layer, SignedSqrt) for layer in checkpoint.head.modules()) else 2


def _to_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Dicts, lists, strings, numbers and tensors alone: whatever else would not load with weights_only=True."""
    return {
        "format": FORMAT,
        "version": _least_version(checkpoint),
        "created": checkpoint.created,
        "backbones": [_backbone_to_plain(backbone) for backbone in checkpoint.backbones],
        "head": _head_to_plain(checkpoint.head),
        "labels": [str(label) for label in checkpoint.labels],
        "names": [str(name) for name in checkpoint.names],
        "recipe": plain(checkpoint.recipe),
        "metrics": {split: accuracy.to_dict() for split, accuracy in checkpoint.metrics.items()},
        "history": plain(checkpoint.history),
        "dataset": plain(checkpoint.dataset),
        "versions": plain(checkpoint.versions),
        "calibration": checkpoint.calibration.to_dict() if checkpoint.calibration else None,
        "familiarity": checkpoint.familiarity.to_dict() if checkpoint.familiarity else None,
        "asked_views": checkpoint.asked_views,
    }


def _all_tensors(content: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    for part in (*content["backbones"], content["head"]):
        yield from part["state"].values()
    for learnt in ("calibration", "familiarity"):
        yield from (value for value in (content.get(learnt) or {}).values() if isinstance(value, torch.Tensor))


def _backbone_to_plain(backbone: Backbone) -> dict[str, Any]:
    return {
        "name": backbone.name,
        "library": backbone.library,
        "architecture": backbone.architecture,
        "cut": backbone.cut,
        "pooling": backbone.pooling,
        "weights": backbone.weights,
        "weights_sha256": backbone.weights_sha256,
        "dim": backbone.dim,
        "preprocessing": backbone.preprocessing.to_dict(),
        "state": _tensors(backbone.network),
    }


def _backbone_from_plain(found: Mapping[str, Any], path: Path) -> Backbone:
    library = found["library"]
    if library not in LIBRARIES or found["cut"] not in CUTS:
        raise ValueError(f"no library is called {library!r}, or no cut {found['cut']!r}")
    if (pooling := found.get("pooling", POOLINGS[0])) not in POOLINGS:  # older ones do not say it
        raise ValueError(f"no pooling is called {pooling!r}")
    architecture, state = str(found["architecture"]), found["state"]
    preprocessing = Preprocessing.from_dict(found["preprocessing"])
    needed = bytes_of_network(library, architecture, found["cut"], crop=preprocessing.crop)
    if needed is not None and needed != sum(value.numel() * value.element_size() for value in state.values()):
        raise ValueError(f"the backbone's weights are not those of {architecture}")
    network = empty_network(library, architecture, found["cut"], pooling=pooling, crop=preprocessing.crop)
    fit_state(network, state, network_name=architecture, source=path.name)
    freeze_parameters(network)
    if weights_digest(network) != found["weights_sha256"]:
        raise ValueError("the backbone's weights are not those that were saved")
    if feature_dim(network, preprocessing, architecture) != int(found["dim"]):
        raise ValueError("the backbone does not give as many features as it says")
    return Backbone(
        name=str(found["name"]),
        library=library,
        architecture=architecture,
        cut=found["cut"],
        weights=str(found["weights"]),
        network=network,
        dim=int(found["dim"]),
        preprocessing=preprocessing,
        weights_sha256=str(found["weights_sha256"]),
        pooling=pooling,
    )


def _head_to_plain(head: Head) -> dict[str, Any]:
    return {"layers": describe_head(head), "state": _tensors(head), "sha256": weights_digest(head)}


def _head_from_plain(found: Mapping[str, Any]) -> Head:
    head = head_from_description(found["layers"], found["state"])
    if weights_digest(head) != found["sha256"]:
        raise ValueError("the head's weights are not those that were saved")
    if not is_finite(head):
        raise ValueError("the head holds numbers that are not finite")
    return head.eval().requires_grad_(False)


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    # Copied where a tensor is a view of something larger, which torch.save would write whole
    return {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}


def _read(path: Path, *, mapped: bool = False) -> object:
    try:
        return load_safely(path, mapped=mapped)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no checkpoint {path}: run `train` first, or name another with --checkpoint FILE."
        ) from error
    except OSError as error:
        raise UserError(
            f"The checkpoint {path} can't be read ({error.strerror or error}): give yourself the right to, or name "
            f"another with --checkpoint FILE."
        ) from error
    except DamagedFile as error:
        raise UserError(f"{path} can't be read as a checkpoint: it is cut off, damaged, or not one of ours.") from error


def _of_ours(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of ours: name one that `train` wrote with --checkpoint FILE.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise UserError(f"{path} was written by a newer version of Florilegium: update it to use this checkpoint.")
    return content


def _damaged(path: Path, error: BaseException) -> UserError:
    return UserError(f"The checkpoint {path} is damaged ({_cause(error)}): train again or take another.")


def _take_name(temporary: Path, folder: Path, stem: str) -> Path:
    """Give the finished file its name: the first of `stem.pth`, `stem_2.pth`, … that nobody has."""
    for number in count(1):
        path = folder / (f"{stem}.pth" if number == 1 else f"{stem}_{number}.pth")
        if not os.path.lexists(path) and move(temporary, path) is Outcome.MOVED:
            return path
    raise AssertionError("unreachable")


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return without_escapes((str(error).strip().splitlines() or [type(error).__name__])[0])
