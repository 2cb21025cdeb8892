"""A checkpoint as one module for other programs: pixels in, probabilities out, nothing left to be forgotten."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from train.checkpoint import Checkpoint
from train.features.preprocessing import Preprocessing


@dataclass(frozen=True)
class Geometry:
    """How a picture becomes a square: its short side is scaled to `resize`, the middle `crop` × `crop` is cut out.

    With `squash` the whole is bent into `crop` × `crop` instead.
    """

    resize: int
    crop: int
    interpolation: str
    squash: bool = False

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> "Geometry":
        """The part of a preprocessing that is done before the network."""
        return cls(preprocessing.resize, preprocessing.crop, preprocessing.interpolation, preprocessing.squash)


class Classifier(nn.Module):
    """RGB pixels float32 (N, 3, crop, crop) in [0, 1] → probabilities (N, classes).

    Normalisation, all backbones, the head, the temperature and the softmax are inside. Backbones that look at squares
    of different geometry take one input each, in the order of `geometries`.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        geometries = [Geometry.of(backbone.preprocessing) for backbone in checkpoint.backbones]
        self.geometries = list(dict.fromkeys(geometries))
        self._input_of = [self.geometries.index(geometry) for geometry in geometries]
        self.backbones = nn.ModuleList(copy.deepcopy(backbone.network) for backbone in checkpoint.backbones)
        self.head = copy.deepcopy(checkpoint.head)
        self.temperature = checkpoint.temperature
        for number, backbone in enumerate(checkpoint.backbones):
            for name in ("mean", "std"):
                values = torch.tensor(getattr(backbone.preprocessing, name)).view(1, 3, 1, 1)
                self.register_buffer(f"{name}_{number}", values, persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, *pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities (N, classes) of pixels (N, 3, crop, crop) in [0, 1], one tensor for each of `geometries`."""
        features = [
            network(
                (pixels[self._input_of[number]] - self.get_buffer(f"mean_{number}")) / self.get_buffer(f"std_{number}")
            )
            for number, network in enumerate(self.backbones)
        ]
        return torch.softmax(self.head(torch.cat(features, dim=1)) / self.temperature, dim=1)

    def input_names(self) -> list[str]:
        """`pixels`, or `pixels_1`, `pixels_2`, … where there are several."""
        count = len(self.geometries)
        return ["pixels"] if count == 1 else [f"pixels_{number + 1}" for number in range(count)]

    def examples(self, n: int) -> tuple[torch.Tensor, ...]:
        """Grey pictures of the right shapes."""
        return tuple(torch.full((n, 3, geometry.crop, geometry.crop), 0.5) for geometry in self.geometries)
