"""From a checkpoint alone to probabilities: for pictures in memory, and for files, broken ones among them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.defaults import DEFAULT_ASKED_VIEWS, DEFAULT_DEVICE, DEFAULT_TOP_K
from curate.engine.engines import current_engine
from curate.errors import UserError
from curate.files.reading import read_file
from curate.image import BrokenImage
from curate.parallel import ordered_map
from curate.printable import shown
from train.calibration import Abstention, abstention
from train.checkpoint import Checkpoint, load_checkpoint
from train.device import askers_of, resolve_device, with_threads
from train.explaining import HeatMap, heat_map
from train.familiarity import STRANGE
from train.features.extract import forward_halving
from train.features.freeze import FrozenNetwork
from train.features.preprocessing import Preprocessing
from train.features.views import Views, prediction_views
from train.optimising.layers import Head

_TOGETHER: Final = 16  # views that a network is given at once: of one picture on processors, of several elsewhere

# One picture's views for one network, (views, crop, crop, 3) 8-bit RGB
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Guess:
    """One class and how likely the classifier finds it, 0 to 1."""

    label: str
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one file, best first.

    `sure` is False where a precision was asked for, and the best is below its threshold or the picture is a stranger.
    """

    path: str
    guesses: list[Guess]
    sure: bool = True
    familiarity: float | None = None  # share of held-out training pictures that are as unlike their classes, 0 to 1

    @property
    def is_stranger(self) -> bool:
        """Whether it is like none of the classes; False where the checkpoint can't tell."""
        return self.familiarity is not None and self.familiarity < STRANGE


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """A picture as its networks are given it, each in its place; `path` is what it is called in the answer."""

    path: str
    pixels: list[Pixels]


class Predictor:
    """A checkpoint made ready. It computes in float32, as `evaluate` does, so both give the same probabilities.

    What it says of a picture does not depend on which others are asked about with it, nor on how many: libraries choose
    how they add up by the size of a batch and by the number of threads, so that features would differ by 1e-5. On
    processors each picture is computed by itself, by as many threads as `askers_of` says; on any other device batches
    are filled up to one size.

    With several `views` the probabilities are their mean. With `abstain`, a precision such as 0.98, answers less
    sure than the threshold that reached it on valid are marked `sure=False`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = DEFAULT_DEVICE,
        *,
        views: int = DEFAULT_ASKED_VIEWS,
        abstain: float | None = None,
    ) -> None:
        """Raises UserError for a device, a number of views or a precision that can't be had."""
        self.checkpoint = checkpoint
        self.device = resolve_device(device)
        self.views = prediction_views(views)
        self.abstention = require_abstention(checkpoint, abstain, views)
        self._networks = [
            FrozenNetwork(backbone.network, backbone.preprocessing, self.device, "float32")
            for backbone in checkpoint.backbones
        ]
        self.preprocessings = [network.preprocessing for network in self._networks]
        self._alone = self.device.type == "cpu"
        self.askers, self.threads = askers_of(self.device)
        self.together = 1 if self._alone else max(1, _TOGETHER // views)
        """Pictures whose answers are computed together to most purpose."""
        self._batch = min(backbone.preprocessing.at_once(_TOGETHER) for backbone in checkpoint.backbones)

    @classmethod
    def from_checkpoint(
        cls, path: Path, device: str = DEFAULT_DEVICE, *, views: int = DEFAULT_ASKED_VIEWS, abstain: float | None = None
    ) -> Self:
        """Load the file and nothing else; raises UserError as `load_checkpoint` does."""
        return cls(load_checkpoint(path), device, views=views, abstain=abstain)

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities (N, classes) of decoded RGB pictures; each row sums to 1."""
        return self._probabilities([self._pixels(image) for image in images])[0]

    def predict_files(
        self, paths: Iterable[Path | BrokenImage], *, top_k: int = DEFAULT_TOP_K
    ) -> Iterator[Prediction | BrokenImage]:
        """One answer per file, in order: its `top_k` likeliest classes (all, if there are fewer), or why there is none.

        Files are read as the answers are asked for, a few ahead. What can't be read already is its own answer.
        Raises UserError for a `top_k` below 1.
        """
        if top_k < 1:
            raise UserError(f"--top-k {top_k} asks for no class at all: give 1 or more.")
        if current_engine().name == "ray":
            from train.predict_on_ray import answers_on_ray

            yield from answers_on_ray(self, paths, top_k)
            return
        loaded = ordered_map(self._load, paths)
        if self._alone:
            with with_threads(self.threads):
                yield from ordered_map(lambda found: self._answer_to(found, top_k), loaded, workers=self.askers)
            return
        while group := list(islice(loaded, self.together)):
            answers = iter(self.answer([found for found in group if not isinstance(found, BrokenImage)], top_k=top_k))
            for found in group:
                yield found if isinstance(found, BrokenImage) else next(answers)

    def prepare(self, data: bytes, path: str) -> PreparedPicture:
        """Decode a file's bytes and draw its views, each network its own scale, as `extract` does for the bank.

        It may be called from several threads at once. Raises BrokenImage.
        """
        return prepared_picture(data, path, self.views, self.preprocessings)

    def answer(
        self, prepared: Sequence[PreparedPicture], *, top_k: int = DEFAULT_TOP_K
    ) -> list[Prediction | BrokenImage]:
        """One answer per picture, in order. It may be called from several threads at once."""
        rows, known = self._probabilities([one.pixels for one in prepared])
        return [
            self._answer(one.path, row, familiarity, top_k)
            for one, row, familiarity in zip(prepared, rows, known, strict=True)
        ]

    def explain(self, image: Image.Image, label: str) -> HeatMap:
        """What in a decoded RGB picture spoke for the class folder `label`, in its clean view.

        It may be called from several threads at once. Raises UserError for a class that the checkpoint doesn't know.
        """
        if label not in self.checkpoint.labels:
            raise UserError(f"The checkpoint knows no class {shown(label)}: `predict` names those that it knows.")
        pixels = [network.preprocessing.clean(image)[None] for network in self._networks]
        index = self.checkpoint.labels.index(label)
        return heat_map(self._networks, self.checkpoint.head, pixels, image.size, label, index)

    @property
    def at_least(self) -> int:
        """Pixels of the shorter side at which a picture may be decoded for all networks together."""
        return max(network.preprocessing.resize for network in self._networks)

    def _load(self, file: Path | BrokenImage) -> PreparedPicture | BrokenImage:
        """In a worker thread."""
        return load_picture(file, self.views, self.preprocessings)

    def _answer_to(self, found: PreparedPicture | BrokenImage, top_k: int) -> Prediction | BrokenImage:
        """In a worker thread, which is given its share of PyTorch's threads."""
        if isinstance(found, BrokenImage):
            return found
        torch.set_num_threads(self.threads)
        (answer,) = self.answer([found], top_k=top_k)
        return answer

    def _pixels(self, image: Image.Image) -> list[Pixels]:
        sha256 = hashlib.sha256(image.tobytes()).hexdigest() if self.views.count > 1 else ""
        numbers = range(self.views.count)
        return [self.views.draw(image, sha256, numbers, network.preprocessing) for network in self._networks]

    def _probabilities(
        self, pictures: Sequence[Sequence[Pixels]]
    ) -> tuple[NDArray[np.float32], Sequence[float | None]]:
        """(probabilities (N, classes), familiarity of each clean view; None where the checkpoint can't tell)."""
        if not pictures:
            return np.zeros((0, len(self.checkpoint.labels)), dtype=np.float32), []
        with with_threads(self.threads):
            if self._alone and len(pictures) > 1:
                found = list(ordered_map(self._of_one, pictures, workers=self.askers))
            else:
                # The last layer, too, adds up otherwise where it is given several pictures
                found = [self._of_features(one) for one in self._features(pictures)]
        return np.concatenate([rows for rows, _ in found]), [known for _, known in found]

    def _of_one(self, picture: Sequence[Pixels]) -> tuple[NDArray[np.float32], float | None]:
        """The same of one picture, in a worker thread, which is given its share of PyTorch's threads."""
        torch.set_num_threads(self.threads)
        (features,) = self._features([picture])
        return self._of_features(features)

    def _of_features(self, features: torch.Tensor) -> tuple[NDArray[np.float32], float | None]:
        """The same of one picture's features (K, dim)."""
        rows = mean_probabilities(self.checkpoint.head, features[None], self.checkpoint.temperature)
        known = familiarities(self.checkpoint, features[None])
        return rows, None if known is None else float(known[0])

    def _features(self, pictures: Sequence[Sequence[Pixels]]) -> Iterator[torch.Tensor]:
        """Each picture's features under all views, (K, dim), of the networks side by side."""
        if self._alone:
            for picture in pictures:
                yield torch.cat([self._ask(network, [picture[at]]) for at, network in enumerate(self._networks)], dim=1)
            return
        sides = [
            self._ask(network, [picture[at] for picture in pictures]).reshape(len(pictures), self.views.count, -1)
            for at, network in enumerate(self._networks)
        ]
        yield from torch.cat(sides, dim=2)

    def _ask(self, network: FrozenNetwork, views: Sequence[Pixels]) -> torch.Tensor:
        """What a network says of views, (N, dim) in main memory."""
        pixels = torch.from_numpy(np.concatenate(views))
        lacking = 0 if self._alone else -len(pixels) % self._batch
        filled = torch.cat([pixels, pixels.new_zeros(lacking, *pixels.shape[1:])]) if lacking else pixels
        features, self._batch = forward_halving(network, filled, self._batch)
        return features[: len(pixels)].cpu()

    def _answer(
        self, path: str, probabilities: NDArray[np.float32], familiarity: float | None, top_k: int
    ) -> Prediction | BrokenImage:
        if not np.isfinite(probabilities).all():
            return BrokenImage(path, "the checkpoint gives no finite numbers for it")
        order = np.argsort(-probabilities, kind="stable")
        labels, names = self.checkpoint.labels, self.checkpoint.names
        guesses = [Guess(labels[index], names[index], float(probabilities[index])) for index in order[:top_k]]
        answer = Prediction(path, guesses, familiarity=familiarity)
        wanted = self.abstention
        sure = wanted is None or (guesses[0].probability >= wanted.threshold and not answer.is_stranger)
        return replace(answer, sure=sure)


def prepared_picture(data: bytes, path: str, views: Views, preprocessings: Sequence[Preprocessing]) -> PreparedPicture:
    """Decode a file's bytes and draw its views for each of some networks. Raises BrokenImage."""
    sha256 = hashlib.sha256(data).hexdigest()
    return PreparedPicture(path, [views.pixels(data, path, sha256, range(views.count), to) for to in preprocessings])


def load_picture(
    file: Path | BrokenImage, views: Views, preprocessings: Sequence[Preprocessing]
) -> PreparedPicture | BrokenImage:
    """Read a file, decode it and draw its views; or why there are none."""
    if isinstance(file, BrokenImage):
        return file
    path = str(file)
    try:
        return prepared_picture(read_file(file), path, views, preprocessings)
    except OSError as error:
        return BrokenImage(path, f"cannot be read ({error.strerror})")
    except BrokenImage as broken:
        return broken


def require_abstention(
    checkpoint: Checkpoint, precision: float | None, views: int = DEFAULT_ASKED_VIEWS
) -> Abstention | None:
    """The threshold for a precision, from what the checkpoint knows of valid; UserError where it can't tell."""
    if precision is None:
        return None
    if checkpoint.calibration is None:
        raise UserError("This checkpoint knows nothing of its answers on valid, so --abstain has no threshold: train.")
    if views != 1:
        raise UserError(
            f"The threshold of --abstain was found with one view and says nothing of {views}: use --views 1."
        )
    return abstention(checkpoint.calibration, precision)


def familiarities(checkpoint: Checkpoint, features: torch.Tensor) -> NDArray[np.float64] | None:
    """How familiar pictures are, (N,) 0 to 1, by the clean view of features (N, K, dim); None if it can't be told."""
    if checkpoint.familiarity is None:
        return None
    return checkpoint.familiarity.of(features[:, 0].to(torch.float32).numpy())


@torch.inference_mode()
def head_logits(head: Head, features: torch.Tensor) -> NDArray[np.float32]:
    """What the head says of features (N, dim), in float32: (N, classes)."""
    logits: NDArray[np.float32] = head(features.to(torch.float32)).numpy()
    return logits


@torch.inference_mode()
def mean_probabilities(head: Head, features: torch.Tensor, temperature: float = 1.0) -> NDArray[np.float32]:
    """Softmax of the head at a temperature, averaged over views: features (N, K, dim) → (N, classes) float32."""
    logits = head(features.to(torch.float32).flatten(0, 1)) / temperature
    each = torch.softmax(logits, dim=1).reshape(*features.shape[:2], -1)
    rows: NDArray[np.float32] = each.mean(dim=1).numpy()
    return rows
