"""From a checkpoint alone to probabilities: for pictures in memory, and for files, broken ones among them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.image import BrokenImage, load
from curate.parallel import ordered_map
from train.checkpoint import Checkpoint, load_checkpoint
from train.device import resolve_device
from train.extract import forward_halving
from train.freeze import FrozenNetwork
from train.layers import Head

_BATCH = 32


@dataclass(frozen=True)
class Guess:
    """One class and how likely the classifier finds it, 0 to 1."""

    label: str
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one file, best first."""

    path: str
    guesses: list[Guess]


class Predictor:
    """A checkpoint made ready. It computes in float32, as `evaluate` does, so both give the same probabilities."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.device = resolve_device(device)
        self._networks = [
            FrozenNetwork(backbone.network, backbone.preprocessing, self.device, "float32")
            for backbone in checkpoint.backbones
        ]
        self._batch = _BATCH

    @classmethod
    def from_checkpoint(cls, path: Path, device: str = "auto") -> Self:
        """Load the file and nothing else; raises UserError as `load_checkpoint` does."""
        return cls(load_checkpoint(path), device)

    @property
    def at_least(self) -> int:
        """Pixels of the short side at which a JPEG may be decoded for this classifier."""
        return max(backbone.preprocessing.resize for backbone in self.checkpoint.backbones)

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities (N, classes) of decoded RGB pictures; each row sums to 1."""
        if not images:
            return np.zeros((0, len(self.checkpoint.labels)), dtype=np.float32)
        parts = []
        for network in self._networks:
            pixels = np.stack([network.preprocessing.clean(image) for image in images])
            features, self._batch = forward_halving(network, torch.from_numpy(pixels), self._batch)
            parts.append(features)
        return head_probabilities(self.checkpoint.head, torch.cat(parts, dim=1))

    def predict_files(self, paths: Iterable[Path], *, top_k: int = 5) -> Iterator[Prediction | BrokenImage]:
        """One answer per file, in order: its `top_k` likeliest classes (all, if there are fewer), or why there is none.

        Files are read as the answers are asked for, a batch ahead.
        """
        if top_k < 1:
            raise UserError(f"--top-k {top_k} asks for no class at all: give 1 or more.")
        loaded = ordered_map(self._load, paths)
        while group := list(islice(loaded, _BATCH)):
            images = [found for _, found in group if isinstance(found, Image.Image)]
            rows = iter(self.probabilities(images))
            for path, found in group:
                if isinstance(found, BrokenImage):
                    yield found
                else:
                    yield Prediction(str(path), self._best(next(rows), top_k))

    def _load(self, path: Path) -> tuple[Path, Image.Image | BrokenImage]:
        try:
            return path, load(path, at_least=self.at_least)
        except BrokenImage as broken:
            return path, broken

    def _best(self, probabilities: NDArray[np.float32], top_k: int) -> list[Guess]:
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        labels, names = self.checkpoint.labels, self.checkpoint.names
        return [Guess(labels[index], names[index], float(probabilities[index])) for index in order]


@torch.inference_mode()
def head_probabilities(head: Head, features: torch.Tensor) -> NDArray[np.float32]:
    """Softmax of the head over features (N, dim), in float32: probabilities, not logits."""
    rows: NDArray[np.float32] = torch.softmax(head(features.to(torch.float32)), dim=1).numpy()
    return rows
