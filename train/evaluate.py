"""How good a checkpoint is on labelled pictures, computed from the same float32 features that prediction uses."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curate.dataset import Dataset
from curate.defaults import DEFAULT_DEVICE
from curate.errors import UserError
from curate.image import BrokenPicture
from curate.progress import Progress, silent
from curate.splitting.whereabouts import open_split
from train.backbones import Backbone
from train.calibration import (
    Abstention,
    Bin,
    Calibration,
    answered_right,
    calibrate_confidence,
    cross_entropy,
    expected_calibration_error,
    reliability,
)
from train.checkpoint import Checkpoint, load_checkpoint
from train.checkpoint_choice import offer_of_another
from train.device import resolve_device
from train.familiarity import STRANGE
from train.features.extract import BATCH, Extraction, extract
from train.features.prepare import PictureRef
from train.features.views import Views, prediction_views
from train.metrics import Accuracy, measure_accuracy
from train.optimising.layers import Head
from train.options import Precision
from train.pictures import (
    LabelledPicture,
    fingerprint,
    labelled_pictures,
    pictures_to_measure,
    require_known,
    spelt_as,
    untaught_among,
)
from train.predict import familiarities, head_logits, mean_probabilities, require_abstention
from train.test_log import Opening, complete_opening, content_of, note_opening, now


@dataclass(frozen=True)
class Reliance:
    """How well confidence fits the share that is right, before and after the temperature."""

    temperature: float
    error: float  # expected calibration error, 15 bins, of the probabilities that are given
    error_at_one: float  # and of those that temperature 1 would give
    cross_entropy: float  # mean, in nats
    cross_entropy_at_one: float
    bins: list[Bin]


@dataclass(frozen=True)
class Abstaining:
    """A threshold from valid, and what it does on the split that was measured."""

    found: Abstention
    answered: int
    right: int


@dataclass(frozen=True, kw_only=True)
class SplitFigures:
    """How often the classifier is right on a split, and how far its confidence can be trusted."""

    accuracy: Accuracy
    labels: list[str]  # in index order
    names: list[str]
    broken: list[BrokenPicture]
    views: int  # that each answer is the mean of
    seconds: float | None = None  # that reading, drawing and computing took; None where that is not on record
    computed: int | None = None  # views that went through a network, of each network; the bank had the rest
    reliance: Reliance
    strangers: int | None  # pictures that are like none of the classes; None where the checkpoint can't tell
    abstaining: Abstaining | None
    fingerprint: str  # SHA-256 of the sorted (label, sha256) of the pictures
    checkpoint: str = ""  # its file; "" where it was given in memory
    split: str = ""  # "" where the pictures were given one by one
    openings: int = 0  # how often test has been opened with this checkpoint, this time included; 0 for other splits
    untaught: dict[str, int] = field(default_factory=dict)  # label → pictures left out, as train has no such class

    @property
    def share_of_all(self) -> float:
        """The share that is right where the pictures of classes that train lacks count as mistakes."""
        return self.accuracy.correct / (self.accuracy.n + sum(self.untaught.values()))


@dataclass(frozen=True, kw_only=True)
class Evaluation(SplitFigures):
    """The same, with the split's pictures and what the classifier says of each."""

    paths: list[str]  # (M,) of the pictures that were measured
    truth: NDArray[np.int64]  # (M,) class indices
    probabilities: NDArray[np.float32]  # (M, classes), the mean over views at the checkpoint's temperature


def evaluate(
    checkpoint: Path,
    root: Path,
    *,
    split: str | None = None,
    plain: bool = False,
    device: str = DEFAULT_DEVICE,
    bank: Path | None = None,
    views: int | None = None,
    abstain: float | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a checkpoint on one split of a dataset folder: by default test or, where there is none, valid.

    A folder of class folders that is not split is measured as it is, and with `plain` any folder is.
    An answer is the mean of `views`, None: of as many as the checkpoint answers from.
    `bank` is a folder of feature banks to read from and add to; without one, features are kept nowhere. A look at
    test is noted beside the checkpoint before it is taken. Pictures of a class that the dataset's train lacks can't be
    named right: they are left out and counted apart. Raises UserError where the split is missing or has another class
    that the checkpoint lacks.
    """
    pictures, split = pictures_to_measure(root, split, plain=plain)
    loaded = load_checkpoint(checkpoint)
    pictures, untaught = _answerable(loaded, spelt_as(loaded.labels, pictures), open_split(root) if split else None)
    require_answers_for(checkpoint, loaded, (picture.label for picture in pictures))
    asked = prediction_views(loaded.views_for(views))  # what is wrong is said before test is opened
    require_abstention(loaded, abstain, views)
    openings, opening = 0, None
    if split == "test":
        opening = Opening(content_of(loaded), now(), len(pictures), "", asked.count)
        openings = note_opening(checkpoint, opening)
    found = evaluate_pictures(
        loaded, pictures, device=device, bank=bank, views=views, abstain=abstain, progress=progress
    )
    if opening:
        complete_opening(
            checkpoint, opening,
            pictures=found.accuracy.n, fingerprint=found.fingerprint, correct=found.accuracy.correct,
        )  # fmt: skip
    return replace(found, checkpoint=str(checkpoint), split=split, openings=openings, untaught=untaught)


def _answerable(
    checkpoint: Checkpoint, pictures: Sequence[LabelledPicture], dataset: Dataset | None
) -> tuple[list[LabelledPicture], dict[str, int]]:
    """(pictures, left out: label → how many of a class that neither the dataset's train nor the checkpoint has).

    All are kept where none would be left: whoever measures says that the checkpoint knows none of them.
    """
    untaught = {} if dataset is None else untaught_among(dataset, pictures)
    untaught = {label: count for label, count in untaught.items() if label not in checkpoint.labels}
    kept = [picture for picture in pictures if picture.label not in untaught]
    return (kept, untaught) if kept else (list(pictures), {})


def evaluate_pictures(
    checkpoint: Checkpoint,
    pictures: Sequence[LabelledPicture],
    *,
    device: str = DEFAULT_DEVICE,
    bank: Path | None = None,
    views: int | None = None,
    abstain: float | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a loaded checkpoint on any labelled pictures; see `evaluate`."""
    pictures = spelt_as(checkpoint.labels, pictures)
    labels_asked = {picture.label for picture in pictures}
    require_known(labels_asked, checkpoint.labels, where="The data", owner="the checkpoint")
    wanted, threshold = prediction_views(checkpoint.views_for(views)), require_abstention(checkpoint, abstain, views)
    with tempfile.TemporaryDirectory(prefix="florilegium-") as temporary:
        found = side_by_side(
            checkpoint.backbones,
            pictures,
            bank=bank or Path(temporary),
            device=resolve_device(device),
            precision="float32",
            views=wanted,
            progress=progress,
            description="Evaluating",
        )
    kept = [pictures[position] for position in found.kept]
    labels = [picture.label for picture in kept]
    accuracy, truth, probabilities = measure_head(
        checkpoint.head, found.features, labels, checkpoint.labels, temperature=checkpoint.temperature
    )
    plain = mean_probabilities(checkpoint.head, found.features)
    familiarity = familiarities(checkpoint, found.features)
    known = None if familiarity is None else familiarity >= STRANGE
    return Evaluation(
        accuracy=accuracy,
        labels=checkpoint.labels,
        names=checkpoint.names,
        paths=[str(picture.path) for picture in kept],
        truth=truth,
        probabilities=probabilities,
        broken=found.broken,
        views=wanted.count,
        seconds=found.seconds,
        computed=found.computed,
        reliance=Reliance(
            temperature=checkpoint.temperature,
            error=expected_calibration_error(probabilities, truth),
            error_at_one=expected_calibration_error(plain, truth),
            cross_entropy=cross_entropy(probabilities, truth),
            cross_entropy_at_one=cross_entropy(plain, truth),
            bins=reliability(probabilities, truth),
        ),
        strangers=None if known is None else int((~known).sum()),
        abstaining=Abstaining(threshold, *answered_right(probabilities, truth, threshold.threshold, known))
        if threshold
        else None,
        fingerprint=fingerprint((label, "", sha256) for label, sha256 in zip(labels, found.sha256, strict=True)),
    )


def measure_valid(
    head: Head, features: torch.Tensor, labels: Sequence[str], order: Sequence[str]
) -> tuple[Accuracy, Calibration]:
    """What a head is worth on valid's features (M, K, dim), and how sure it may be, answering from all K views.

    Of several views the temperature has a say in the answer, so the figures are of answers at it. Raises UserError as
    `measure_head` does.
    """
    _, truth, _ = measure_head(head, features, labels, order)
    calibration = calibrate_confidence(
        head_logits(head, features.flatten(0, 1)).reshape(*features.shape[:2], len(order)), truth
    )
    accuracy, _, _ = measure_head(head, features, labels, order, temperature=calibration.temperature)
    return accuracy, calibration


def measure_head(
    head: Head,
    features: torch.Tensor,
    labels: Sequence[str],
    order: Sequence[str],
    *,
    temperature: float = 1.0,
) -> tuple[Accuracy, NDArray[np.int64], NDArray[np.float32]]:
    """Accuracy, class indices (M,) and probabilities (M, classes) of a head on features (M, K, dim) of K views.

    `labels` names the class of each of the M pictures. Raises UserError where probabilities are not finite.
    """
    if not labels:
        raise UserError("None of the pictures to be measured on can be read: look at the broken ones that were named.")
    index = {label: position for position, label in enumerate(order)}
    truth = np.array([index[label] for label in labels], dtype=np.int64)
    probabilities = mean_probabilities(head, features, temperature)
    if not np.isfinite(probabilities).all():
        raise UserError(
            "The classifier gives probabilities that are no finite numbers: train it again, or take another."
        )
    return measure_accuracy(probabilities, truth, len(order)), truth, probabilities


def require_answers_for(path: Path, checkpoint: Checkpoint, labels: Iterable[str]) -> None:
    """Raise UserError for `labels` that the checkpoint at `path` does not know, with one beside it that does."""
    wanted = set(labels)
    offer = "" if wanted <= set(checkpoint.labels) else offer_of_another(path.parent, wanted)
    require_known(wanted, checkpoint.labels, where="The data", owner=f"the checkpoint {path}", offer=offer)


def require_answers_for_split(path: Path, checkpoint: Checkpoint, dataset: Dataset, split: str) -> None:
    """Raise as `require_answers_for` for what `evaluate` would be asked about on this split."""
    pictures = spelt_as(checkpoint.labels, labelled_pictures(dataset, split))
    answerable, _ = _answerable(checkpoint, pictures, dataset)
    require_answers_for(path, checkpoint, (picture.label for picture in answerable))


def side_by_side(
    backbones: Sequence[Backbone],
    pictures: Sequence[LabelledPicture],
    *,
    bank: Path,
    device: torch.device,
    precision: Precision,
    compiled: bool = False,
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
                backbone, refs, bank=bank, device=device, precision=precision, compiled=compiled, views=views,
                batch=batch, progress=progress, description=title,
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
