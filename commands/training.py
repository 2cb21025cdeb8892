"""train: from a split dataset to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console, training_reports
from commands.options import (
    DEFAULT_DATA,
    DEFAULT_MODELS,
    Data,
    Device,
    Names,
    names_of,
)


def train(
    data: Data = DEFAULT_DATA,
    *,
    backbone: Annotated[
        str, typer.Option(help="A network of torchvision or timm, or several joined by +.")
    ] = "resnet152",
    weights: Annotated[
        str, typer.Option(help="default, none, a weights tag, or a file with a state dict.")
    ] = "default",
    views: Annotated[int, typer.Option(min=1, help="Views of each training picture; 1 is the clean one alone.")] = 4,
    seed: Annotated[int, typer.Option(help="Decides views, first values and draws.")] = 1337,
    models: Annotated[Path, typer.Option(help="Where checkpoints and the feature bank go.")] = DEFAULT_MODELS,
    names: Names = None,
    device: Device = "auto",
) -> None:
    """Train the last layer and save a checkpoint.

    The checkpoint is named after its accuracy on valid.
    Each picture goes through the frozen network once; a second run finds its features in the bank.

    Example: cli.py train flower_data --backbone efficientnet_lite0
    """
    labelled = names_of(data, names)
    # Only now: importing torch takes seconds, and a mistyped folder should be said at once.
    from train.training import TrainOptions, train_head

    options = TrainOptions(
        backbone=backbone, weights=weights, views=views, seed=seed, models=models, device=device,
        names=labelled,
    )  # fmt: skip
    report = train_head(data, options, console.bars)
    training_reports.training(report)
    console.say(f"Wrote {report.checkpoint}. Next: cli.py evaluate {data} --checkpoint {report.checkpoint}")
