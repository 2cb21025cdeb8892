"""Which parameters move, how fast each group of them does, and by which rule."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from train.optimising.settings import FitSettings

ParameterGroup = dict[str, Any]  # "params", "weight_decay" and "scale": the group's share of the learning rate


def make_optimizer(groups: Sequence[ParameterGroup], settings: FitSettings) -> torch.optim.Optimizer:
    """The settings' optimiser over `groups`, each at its own share of the learning rate."""
    scaled = [{**group, "lr": settings.learning_rate * group["scale"]} for group in groups if group["params"]]
    # On a GPU one kernel does a whole group's step, and to start dozens of them takes longer than they work
    fused = any(one.device.type == "cuda" for group in scaled for one in group["params"]) or None
    if settings.optimizer == "sgd":
        return torch.optim.SGD(scaled, lr=settings.learning_rate, momentum=settings.momentum, fused=fused)
    if settings.optimizer == "adam":
        return torch.optim.Adam(scaled, lr=settings.learning_rate, fused=fused)
    return torch.optim.AdamW(scaled, lr=settings.learning_rate, fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def replace_parameter(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    """Have `new` moved in the place of `old`; what was known of its gradients does not fit it, and is let go."""
    for group in optimizer.param_groups:
        group["params"] = [new if one is old else one for one in group["params"]]
    optimizer.state.pop(old, None)


def parameter_groups(
    parameters: Iterable[nn.Parameter], *, weight_decay: float, scale: float = 1.0
) -> list[ParameterGroup]:
    """Two groups: the parameters with weight decay, and those without.

    Matrices and kernels decay. Biases and the scales of normalisations are vectors and do not: decay would pull the
    outputs towards classes of average size, and the outputs of layers towards zero.
    """
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [one for one in moving if one.ndim > 1], "weight_decay": weight_decay, "scale": scale},
        {"params": [one for one in moving if one.ndim <= 1], "weight_decay": 0.0, "scale": scale},
    ]


def discriminative_groups(
    stages: Sequence[Sequence[nn.Parameter]], *, scale: float, decay: float, weight_decay: float
) -> list[ParameterGroup]:
    """Groups of the parameters of an unfrozen network's stages, input to output.

    The last has `scale`, each before it `decay` of the next.

    J. Howard and S. Ruder, "Universal language model fine-tuning for text classification", ACL 2018.
    """
    groups: list[ParameterGroup] = []
    for height, stage in enumerate(reversed(stages)):
        groups += parameter_groups(stage, weight_decay=weight_decay, scale=scale * decay**height)
    return groups
