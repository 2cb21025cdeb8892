"""Mixup and cutmix: every sample of a batch is blended with a partner, and so is what it should be called."""

from dataclasses import dataclass

import numpy as np
import torch

from train.optimising.settings import FitSettings


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed: sample i with sample `partner[i]`, of which it keeps the share `kept`."""

    partner: torch.Tensor  # (N,) int64
    kept: float
    box: tuple[slice, slice] | None = None  # cutmix: rows and columns that come from the partner; else all is blended

    def apply(self, inputs: torch.Tensor, rows: slice) -> torch.Tensor:
        """Mix the samples `rows` of inputs (N, …) as float32; pictures are (N, height, width, 3)."""
        own = inputs[rows].to(torch.float32, copy=True)
        partners = self.partner[rows].to(inputs.device, non_blocking=inputs.device.type == "cuda")
        other = inputs[partners].to(torch.float32)
        if self.box is None:
            return own.mul_(self.kept).add_(other, alpha=1 - self.kept)
        own[:, self.box[0], self.box[1]] = other[:, self.box[0], self.box[1]]
        return own


def draw_mix(settings: FitSettings, inputs: torch.Tensor, seed: int) -> Mix | None:
    """Draw the mix of one batch, `inputs` (N, …), from `seed`; None where both are off or there is no other sample.

    H. Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018; S. Yun et al., "CutMix", ICCV 2019.
    """
    if not (settings.mixup or settings.cutmix) or len(inputs) < 2:
        return None
    source = np.random.default_rng(seed)
    cut = bool(settings.cutmix) and (not settings.mixup or source.random() < 0.5)
    alpha = settings.cutmix if cut else settings.mixup
    kept = float(source.beta(alpha, alpha))
    partner = torch.from_numpy(source.permutation(len(inputs)))
    if not cut:
        return Mix(partner, kept)
    height, width = inputs.shape[1:3]
    tall, wide = (round(side * (1 - kept) ** 0.5) for side in (height, width))
    top, left = int(source.integers(0, height - tall + 1)), int(source.integers(0, width - wide + 1))
    box = slice(top, top + tall), slice(left, left + wide)
    return Mix(partner, 1 - tall * wide / (height * width), box)
