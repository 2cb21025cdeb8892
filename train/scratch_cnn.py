"""A small convolutional network that starts from nothing: what a pretrained one is measured against."""

from itertools import pairwise
from typing import Final

import torch
from torch import nn

_CHANNELS: Final = (3, 16, 32, 64)


class ScratchCNN(nn.Module):
    """Three times convolution 3×3, ReLU and max-pool: pictures (N, 3, S, S) → features (N, 64 · (S/8)²).

    At 224 pixels that is 64 · 28 · 28 = 50,176, and the hidden layers after it are the head's.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for taken, given in pairwise(_CHANNELS):
            layers += [nn.Conv2d(taken, given, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features, flat."""
        features: torch.Tensor = self.blocks(pictures).flatten(1)
        return features
