"""Checkpoints that explain themselves: everything a prediction needs, in plain types, under the accuracy's name."""

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from curate.errors import UserError
from train.backbones import CUTS, LIBRARIES, Backbone, empty_network, freeze_parameters, weights_digest
from train.calibration import Calibration
from train.features.preprocessing import Preprocessing
from train.features.weights import UNREADABLE, fit_state, load_safely
from train.metrics import Accuracy
from train.optimising.layers import Head, describe_head, head_from_description, linears

FORMAT: Final = "florilegium checkpoint"
VERSION: Final = 2  # 1 had no calibration: a reader of 1 would give other probabilities

_NAME = re.compile(r"model_(\d+\.\d\d)(?:_(\d+))?\.pth")
_TEMPORARY = ".saving-"


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
    calibration: Calibration | None = None  # learnt from valid; None where nothing was

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; it makes no answer another one."""
        return self.calibration.temperature if self.calibration else 1.0

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
    temporary = folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_writer(folder):
            try:
                with temporary.open("xb") as file:
                    torch.save(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                path = _take_name(temporary, folder, stem)
                _sync_folder(folder)
            finally:
                temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch hides some write errors in a RuntimeError
        reason = _cause(error)
        raise UserError(f"The checkpoint can't be written into {folder} ({reason}); those there are whole.") from error
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and nothing else: no network, no code from the file, every tensor checked.

    Raises UserError where the file is missing, cut off, damaged, not ours, or written by a newer version.
    """
    content = _read(path)
    try:
        backbones = [_backbone_from_plain(plain, path) for plain in content["backbones"]]
        head = _head_from_plain(content["head"])
        labels, names = list(content["labels"]), list(content["names"])
        if not (linears(head)[-1].out_features == len(labels) == len(names) and labels):
            raise ValueError("labels, names and outputs differ in number")
        if linears(head)[0].in_features != sum(backbone.dim for backbone in backbones):
            raise ValueError("the head does not belong to the backbone")
        return Checkpoint(
            backbones=backbones,
            head=head,
            labels=labels,
            names=names,
            recipe=dict(content["recipe"]),
            metrics={split: Accuracy.from_dict(plain) for split, plain in content["metrics"].items()},
            history=list(content["history"]),
            dataset=dict(content["dataset"]),
            versions=dict(content["versions"]),
            created=str(content["created"]),
            calibration=Calibration.from_dict(calibration) if (calibration := content.get("calibration")) else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"The checkpoint {path} is damaged ({_cause(error)}): train again or take another.") from error


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint in `folder` whose name says the highest accuracy, the newest of equals; UserError without one."""
    there = folder.glob("model_*.pth") if folder.is_dir() else ()
    found = [
        (Decimal(name[1]), path.stat().st_mtime_ns, int(name[2] or 1), path)
        for path in there
        if (name := _NAME.fullmatch(path.name))
    ]
    if not found:
        raise UserError(f"There is no checkpoint in {folder}: run `train` first, or name one with --checkpoint FILE.")
    return max(found)[-1]


def _to_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Dicts, lists, strings, numbers and tensors alone: whatever else would not load with weights_only=True."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": checkpoint.created,
        "backbones": [_backbone_to_plain(backbone) for backbone in checkpoint.backbones],
        "head": _head_to_plain(checkpoint.head),
        "labels": [str(label) for label in checkpoint.labels],
        "names": [str(name) for name in checkpoint.names],
        "recipe": _plain(checkpoint.recipe),
        "metrics": {split: accuracy.to_dict() for split, accuracy in checkpoint.metrics.items()},
        "history": _plain(checkpoint.history),
        "dataset": _plain(checkpoint.dataset),
        "versions": _plain(checkpoint.versions),
        "calibration": checkpoint.calibration.to_dict() if checkpoint.calibration else None,
    }


def _backbone_to_plain(backbone: Backbone) -> dict[str, Any]:
    return {
        "name": backbone.name,
        "library": backbone.library,
        "architecture": backbone.architecture,
        "cut": backbone.cut,
        "weights": backbone.weights,
        "weights_sha256": backbone.weights_sha256,
        "dim": backbone.dim,
        "preprocessing": backbone.preprocessing.to_dict(),
        "state": _tensors(backbone.network),
    }


def _backbone_from_plain(plain: Mapping[str, Any], path: Path) -> Backbone:
    library = plain["library"]
    if library not in LIBRARIES or plain["cut"] not in CUTS:
        raise ValueError(f"no library is called {library!r}, or no cut {plain['cut']!r}")
    network = empty_network(library, plain["architecture"], plain["cut"])
    fit_state(network, plain["state"], network_name=plain["architecture"], source=path.name)
    freeze_parameters(network)
    if weights_digest(network) != plain["weights_sha256"]:
        raise ValueError("the backbone's weights are not those that were saved")
    return Backbone(
        name=str(plain["name"]),
        library=library,
        architecture=str(plain["architecture"]),
        cut=plain["cut"],
        weights=str(plain["weights"]),
        network=network,
        dim=int(plain["dim"]),
        preprocessing=Preprocessing.from_dict(plain["preprocessing"]),
        weights_sha256=str(plain["weights_sha256"]),
    )


def _head_to_plain(head: Head) -> dict[str, Any]:
    return {"layers": describe_head(head), "state": _tensors(head), "sha256": weights_digest(head)}


def _head_from_plain(plain: Mapping[str, Any]) -> Head:
    head = head_from_description(plain["layers"], plain["state"])
    if weights_digest(head) != plain["sha256"]:
        raise ValueError("the head's weights are not those that were saved")
    return head.eval().requires_grad_(False)


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    # Copied where a tensor is a view of something larger, which torch.save would write whole
    return {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}


def _plain(value: object) -> Any:
    """Check and copy; a Path or a numpy number inside would make the file unloadable, so it is refused here."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or type(value) in {bool, int, float, str}:
        return value
    raise TypeError(f"a checkpoint holds plain types alone, not {type(value).__name__}")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}: run `train` first, or name another with --checkpoint FILE.")
    try:
        content = load_safely(path)
    except UNREADABLE as error:
        raise UserError(f"{path} can't be read as a checkpoint: it is cut off, damaged, or not one of ours.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of ours: name one that `train` wrote with --checkpoint FILE.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise UserError(f"{path} was written by a newer version of Florilegium: update it to use this checkpoint.")
    return content


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """One process saves into a folder at a time, so whatever unfinished file lies there belongs to a dead one."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there an unfinished file stays until it is deleted by hand
        yield
        return
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # some network file systems have no locks
            yield
            return
        for left in folder.glob(f"{_TEMPORARY}*"):
            left.unlink(missing_ok=True)
        yield


def _take_name(temporary: Path, folder: Path, stem: str) -> Path:
    """Give the finished file its name: the first of `stem.pth`, `stem_2.pth`, … that nobody has."""
    for number in count(1):
        path = folder / (f"{stem}.pth" if number == 1 else f"{stem}_{number}.pth")
        try:
            os.link(temporary, path)  # fails where the name is taken, in one step
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links; there the lock keeps others out
            if path.exists():
                continue
            temporary.rename(path)
        return path
    raise AssertionError("unreachable")


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
