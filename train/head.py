"""Fits the last layer on the bank's features: Adam, class-balanced sampling, one fixed schedule, one seed."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from curate.progress import Progress, silent
from train.sampler import ClassBalancedSampler


@dataclass(frozen=True)
class HeadSettings:
    """How the last layer is trained. The defaults were chosen by cross-validation inside a training set."""

    epochs: int = 30
    batch: int = 100
    learning_rate: float = 3e-3  # falls to zero along a cosine
    weight_decay: float = 3.0  # decoupled from the gradient, times the rate (AdamW)
    label_smoothing: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1:
            raise UserError(
                f"Training takes at least one epoch and one picture a batch, not {self.epochs}, {self.batch}."
            )
        if not self.learning_rate > 0 or self.weight_decay < 0 or not 0 <= self.label_smoothing < 1:
            raise UserError("The learning rate must be above 0, weight decay not below 0, label smoothing in [0, 1).")

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return asdict(self)


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; `valid_accuracy` is None where there was nothing to measure on."""

    number: int  # from 1
    loss: float  # mean over the samples drawn: their sum divided by their number
    train_accuracy: float  # share right among the samples drawn, while the weights still moved
    valid_accuracy: float | None


@dataclass(frozen=True)
class FittedHead:
    """The last layer, ready to be applied to raw features, and how it came about."""

    linear: nn.Linear  # dim → classes, float32, eval mode
    history: list[Epoch]
    coverage: float  # mean share of the pictures that an epoch showed
    balanced: bool  # all classes were of one size, so balancing had nothing to do


def fit_head(
    features: torch.Tensor,
    labels: Sequence[int],
    classes: int,
    settings: HeadSettings | None = None,
    *,
    valid: tuple[torch.Tensor, Sequence[int]] | None = None,
    progress: Progress = silent,
) -> FittedHead:
    """Train Linear(dim, classes) on features (N, K, dim), drawing one of K views of each sampled picture.

    `valid` is features (M, dim) and labels (M,): measured after every epoch and never used to choose one, so its
    figure at the end is not flattered. The same arguments give the same bits on one CPU. Raises UserError where the
    features or the loss are not finite.
    """
    settings = settings or HeadSettings()
    features, targets = features.detach().cpu(), torch.as_tensor(labels, dtype=torch.int64)
    mean, deviation = _scale(features)
    linear = _first_values(features.shape[2], classes, settings.seed)
    sampler = ClassBalancedSampler(targets.tolist(), seed=settings.seed)
    optimizer = _optimizer(linear, settings)
    steps = settings.epochs * math.ceil(len(targets) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    history: list[Epoch] = []
    with progress("Training the last layer", settings.epochs) as advance:
        for number in range(settings.epochs):
            drawn = sampler.draw(number)
            views = _draw_views(len(drawn), features.shape[1], settings.seed, number)
            total, right = 0.0, 0
            for batch, view in zip(*(torch.split(whole, settings.batch) for whole in (drawn, views)), strict=True):
                standard = features[batch, view].to(torch.float32).sub_(mean).div_(deviation)
                logits = linear(standard)
                loss = functional.cross_entropy(logits, targets[batch], label_smoothing=settings.label_smoothing)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
                right += int((logits.argmax(dim=1) == targets[batch]).sum())
            _check_finite(total, number + 1)
            share = right / len(drawn)
            history.append(
                Epoch(number + 1, total / len(drawn), share, _valid_accuracy(linear, mean, deviation, valid))
            )
            advance(1)
    coverage = float(np.mean([sampler.coverage(number) for number in range(settings.epochs)]))
    return FittedHead(_folded(linear, mean, deviation), history, coverage, sampler.is_balanced)


def _scale(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of each feature (dim,) and one deviation over all of them (), float32.

    One deviation, not one per feature: what varies little in a network's features also tells little, and scaling it
    up cost two points in cross-validation. Summed in float64 by blocks, so no second copy of the features is made.
    """
    dim, count = features.shape[2], features.shape[0] * features.shape[1]
    blocks = [(start, min(start + 1024, len(features))) for start in range(0, len(features), 1024)]
    mean = torch.zeros(dim, dtype=torch.float64)
    for start, stop in blocks:
        mean += features[start:stop].reshape(-1, dim).to(torch.float64).sum(dim=0) / count
    squares = 0.0
    for start, stop in blocks:
        squares += float((features[start:stop].reshape(-1, dim).to(torch.float64) - mean).square().sum())
    deviation = math.sqrt(squares / (count * dim)) if math.isfinite(squares) else math.inf
    if not math.isfinite(deviation):
        raise UserError("The backbone gives features that are not finite numbers: it needs other weights.")
    return mean.to(torch.float32), torch.tensor(deviation or 1.0, dtype=torch.float32)


def _first_values(dim: int, classes: int, seed: int) -> nn.Linear:
    """nn.Linear's own first values, drawn from `seed` and not from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(dim, classes)


def _optimizer(linear: nn.Linear, settings: HeadSettings) -> torch.optim.Optimizer:
    # Shrinking the bias would pull the answer towards classes of average size
    groups = [
        {"params": [linear.weight], "weight_decay": settings.weight_decay},
        {"params": [linear.bias], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _draw_views(count: int, views: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 2 + 1)
    return torch.randint(views, (count,), generator=generator)


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UserError(f"The loss became {loss} in epoch {epoch}: a lower --learning-rate is needed.")


@torch.no_grad()
def _valid_accuracy(
    linear: nn.Linear, mean: torch.Tensor, deviation: torch.Tensor, valid: tuple[torch.Tensor, Sequence[int]] | None
) -> float | None:
    if valid is None or len(valid[1]) == 0:
        return None
    answers = linear((valid[0].to(torch.float32) - mean) / deviation).argmax(dim=1)
    return float((answers == torch.as_tensor(valid[1])).double().mean())


@torch.no_grad()
def _folded(linear: nn.Linear, mean: torch.Tensor, deviation: torch.Tensor) -> nn.Linear:
    """The same function of raw features: the standardisation goes into weight and bias, in float64 on the way."""
    weight = linear.weight.double() / deviation.double()
    bias = linear.bias.double() - weight @ mean.double()
    folded = nn.Linear(linear.in_features, linear.out_features, device="meta").to_empty(device="cpu")
    folded.weight.copy_(weight)
    folded.bias.copy_(bias)
    return folded.eval().requires_grad_(False)
