"""How good a checkpoint is on labelled pictures, computed from the same float32 features that prediction uses."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.progress import Progress, silent
from train.backbones import Backbone
from train.checkpoint import Checkpoint, load_checkpoint
from train.device import Precision, resolve_device
from train.extract import BATCH, BrokenPicture, Extraction, PictureRef, Views, extract
from train.layers import Head
from train.metrics import Accuracy, measure
from train.pictures import LabelledPicture, labelled_pictures, require_known
from train.predict import head_probabilities


@dataclass(frozen=True)
class Evaluation:
    """A split's pictures, what the classifier says of each, and how often it is right."""

    accuracy: Accuracy
    labels: list[str]  # in index order
    names: list[str]
    paths: list[str]  # (M,) of the pictures that were measured
    truth: NDArray[np.int64]  # (M,) class indices
    probabilities: NDArray[np.float32]  # (M, classes)
    broken: list[BrokenPicture]
    seconds: float


def evaluate(
    checkpoint: Path,
    root: Path,
    *,
    split: str = "test",
    device: str = "auto",
    bank: Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a checkpoint on one split of a dataset folder.

    `bank` is a folder of feature banks to read from and add to; without one, features are kept nowhere. Raises
    UserError where the split is missing or has a class that the checkpoint lacks.
    """
    pictures = labelled_pictures(open_dataset(root), split)
    return evaluate_pictures(load_checkpoint(checkpoint), pictures, device=device, bank=bank, progress=progress)


def evaluate_pictures(
    checkpoint: Checkpoint,
    pictures: Sequence[LabelledPicture],
    *,
    device: str = "auto",
    bank: Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a loaded checkpoint on any labelled pictures; see `evaluate`."""
    require_known({picture.label for picture in pictures}, checkpoint.labels, where="The data", owner="the checkpoint")
    with tempfile.TemporaryDirectory(prefix="florilegium-") as temporary:
        found = side_by_side(
            checkpoint.backbones,
            pictures,
            bank=bank or Path(temporary),
            device=resolve_device(device),
            precision="float32",
            progress=progress,
            description="Evaluating",
        )
    kept = [pictures[position] for position in found.kept]
    accuracy, truth, probabilities = measure_head(
        checkpoint.head, found.features[:, 0], [picture.label for picture in kept], checkpoint.labels
    )
    return Evaluation(
        accuracy=accuracy,
        labels=checkpoint.labels,
        names=checkpoint.names,
        paths=[str(picture.path) for picture in kept],
        truth=truth,
        probabilities=probabilities,
        broken=found.broken,
        seconds=found.seconds,
    )


def measure_head(
    head: Head, features: torch.Tensor, labels: Sequence[str], order: Sequence[str]
) -> tuple[Accuracy, NDArray[np.int64], NDArray[np.float32]]:
    """Accuracy, class indices (M,) and probabilities (M, classes) of a head on features (M, dim)."""
    if not labels:
        raise UserError("None of the pictures to be measured on can be read: look at the broken ones that were named.")
    index = {label: position for position, label in enumerate(order)}
    truth = np.array([index[label] for label in labels], dtype=np.int64)
    probabilities = head_probabilities(head, features)
    return measure(probabilities, truth, len(order)), truth, probabilities


def side_by_side(
    backbones: Sequence[Backbone],
    pictures: Sequence[LabelledPicture],
    *,
    bank: Path,
    device: torch.device,
    precision: Precision,
    views: Views | None = None,
    batch: int = BATCH,
    progress: Progress = silent,
    description: str,
) -> Extraction:
    """`extract` for each backbone in turn, their features joined, (M, K, sum of dims)."""
    refs = [PictureRef(picture.path, picture.sha256) for picture in pictures]
    found = []
    for backbone in backbones:
        title = description if len(backbones) == 1 else f"{description} with {backbone.name}"
        found.append(
            extract(
                backbone, refs, bank=bank, device=device, precision=precision, views=views, batch=batch,
                progress=progress, description=title,
            )
        )  # fmt: skip
    if len(found) == 1:
        return found[0]
    shas = [dict(zip(one.kept, one.sha256, strict=True)) for one in found]
    # A file that changes between two backbones would give features of two pictures: it is left out
    kept = [at for at in shas[0] if all(sha.get(at) == shas[0][at] for sha in shas)]
    columns = []
    for one in found:
        row = {position: number for number, position in enumerate(one.kept)}
        columns.append(one.features[[row[position] for position in kept]])
    broken = {picture.path: picture for one in found for picture in one.broken}
    return Extraction(
        features=torch.cat(columns, dim=2),
        sha256=[shas[0][position] for position in kept],
        kept=kept,
        broken=list(broken.values()),
        computed=sum(one.computed for one in found),
        batch=min(one.batch for one in found),
        bank_rebuilt=any(one.bank_rebuilt for one in found),
        seconds=sum(one.seconds for one in found),
    )
