"""A network stage by stage before it is trained: what each gives, its parameters, and which of them train."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from curate.errors import UserError
from train.backbones import Backbone
from train.device import free_memory, resolve_device
from train.limits import MOST_CLASSES
from train.optimising.layers import build_head, describe_head, linears
from train.optimising.unfreeze import stages_of, unfreeze
from train.training import TrainOptions, load_backbones


@dataclass(frozen=True)
class SummaryLine:
    """One stage of a backbone, or one layer of the head."""

    part: str  # the backbone's name, or "head"
    stage: str  # its module's name, or the layer's number
    kind: str  # its class
    output: tuple[int, ...]  # shape for one picture
    parameters: int
    trained: int  # of them


@dataclass(frozen=True)
class Summary:
    """What a recipe trains, and what that takes."""

    lines: list[SummaryLine]
    crop: list[int]  # pixels a side that each backbone sees
    operations: int  # multiplications and additions of one picture's way forward
    device: str
    memory: tuple[int, int] | None  # of the device: bytes free, and all

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(line.parameters for line in self.lines)

    @property
    def trained(self) -> int:
        """Those that take a gradient."""
        return sum(line.trained for line in self.lines)


def summarise(options: TrainOptions, classes: int) -> Summary:
    """The network and the head that `options` describe, for so many classes, with random weights in any case.

    Nothing is downloaded and nothing is kept. Raises UserError for a name, a stage or a device that there is not.
    """
    if classes > MOST_CLASSES:
        raise UserError(f"--classes {classes} is more than a head can tell apart: give {MOST_CLASSES:,} or fewer.")
    device = resolve_device(options.device)
    backbones = load_backbones(options.backbone, "none", seed=options.seed, cut=options.features, crop=options.crop)
    lines: list[SummaryLine] = []
    operations = 0
    for backbone in backbones:
        if not options.tuning.frozen:
            unfreeze(backbone.network, options.tuning.unfreeze)
        found, counted = _stages(backbone)
        lines += found
        operations += counted
    dim = sum(backbone.dim for backbone in backbones)
    head = _head(dim, classes, options)
    return Summary(
        lines=lines + head,
        crop=[backbone.preprocessing.crop for backbone in backbones],
        operations=operations + 2 * sum(line.parameters - line.output[0] for line in head if line.parameters),
        device=str(device),
        memory=free_memory(device),
    )


def _stages(backbone: Backbone) -> tuple[list[SummaryLine], int]:
    stages = stages_of(backbone.network)
    outputs: dict[str, tuple[int, ...]] = {}
    hooks = [
        backbone.network.get_submodule(stage.name).register_forward_hook(_keep_shape(outputs, stage.name))
        for stage in stages
    ]
    side = backbone.preprocessing.crop
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            backbone.network(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    lines = []
    for stage in stages:
        kind = type(backbone.network.get_submodule(stage.name)).__name__
        trained = [parameter for parameter in stage.parameters if parameter.requires_grad]
        lines.append(
            SummaryLine(
                backbone.name, stage.name, kind, outputs.get(stage.name, ()), _count(stage.parameters), _count(trained)
            )
        )
    return lines, int(counter.get_total_flops())


def _keep_shape(outputs: dict[str, tuple[int, ...]], name: str) -> Any:
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[name] = tuple(output.shape[1:])

    return keep


def _head(dim: int, classes: int, options: TrainOptions) -> list[SummaryLine]:
    settings = options.head
    with torch.device("meta"):  # it is described, not used
        head = build_head(
            dim, classes, hidden=settings.hidden, activation=settings.activation, dropout=settings.dropout, seed=0
        )
    lines = []
    width, layers = dim, iter(linears(head))
    for number, plain in enumerate(describe_head(head)):
        count = 0
        if plain["kind"] == "linear":
            width, count = int(plain["out"]), _count(list(next(layers).parameters()))
        lines.append(SummaryLine("head", str(number), plain["kind"], (width,), count, count))
    return lines


def _count(parameters: Sequence[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
