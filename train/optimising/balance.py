"""Classes of unlike size in the loss: weights or shifted logits, where the sampling does not see to it."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from train.optimising.settings import FitSettings


class Objective(nn.Module):
    """Cross-entropy of each sample, (N, classes) logits and (N,) targets → (N,), balanced as the settings say.

    "weights": a class of n pictures weighs n**-balance, scaled so that the mean over the training pictures is 1.
    "logits": `balance` · log(share of the class) is added while training and left out afterwards, so that rare
    classes must win by a margin (A. K. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021).
    """

    weights: torch.Tensor
    shifts: torch.Tensor

    def __init__(self, counts: Sequence[int], settings: FitSettings) -> None:
        super().__init__()
        sizes = torch.tensor(counts, dtype=torch.float64)
        weights, shifts = torch.ones_like(sizes), torch.zeros_like(sizes)
        if settings.balance_by == "weights":
            weights = sizes**-settings.balance
            weights *= sizes.sum() / (weights * sizes).sum()
        elif settings.balance_by == "logits":
            shifts = settings.balance * torch.log(sizes / sizes.sum())
        self.register_buffer("weights", weights.to(torch.float32))
        self.register_buffer("shifts", shifts.to(torch.float32))
        self.smoothing = settings.label_smoothing

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses (N,), float32."""
        # Smoothing and weighting are ours to combine: PyTorch's `weight` would also weigh the smoothed-in classes
        shifted = logits.to(torch.float32) + self.shifts
        losses = functional.cross_entropy(shifted, targets, label_smoothing=self.smoothing, reduction="none")
        return losses * self.weights[targets]
