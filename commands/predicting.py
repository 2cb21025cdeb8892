"""evaluate, predict, predict-random: what a checkpoint is worth, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console, training_reports
from commands.options import (
    DEFAULT_DATA,
    DEFAULT_MODELS,
    Checkpoint,
    Data,
    Device,
    Models,
    chosen_checkpoint,
)


def evaluate(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    split: Annotated[str, typer.Option(help="test, valid or train.")] = "test",
    device: Device = "auto",
) -> None:
    """Measure a checkpoint on a split, with an interval.

    Example: cli.py evaluate flower_data --split test
    """
    from train.evaluate import evaluate as run_evaluate

    file = chosen_checkpoint(checkpoint, models)
    evaluation = run_evaluate(file, data, split=split, device=device, bank=models / "bank", progress=console.bars)
    training_reports.evaluation(evaluation)
    console.say(f"That is {file} on {split} of {data}. Next: cli.py predict-random {data} --checkpoint {file}")


def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILES…", help="Pictures.")],
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    device: Device = "auto",
) -> None:
    """Name what is in pictures, with probabilities.

    Needs the checkpoint and nothing else.

    Example: cli.py predict rose.jpg tulip.jpg --top-k 3
    """
    from train.predict import Predictor

    file = chosen_checkpoint(checkpoint, models)
    answers = list(Predictor.from_checkpoint(file, device).predict_files(files, top_k=top_k))
    if as_json:
        training_reports.predictions_as_json(answers)
    else:
        training_reports.predictions(answers)
        console.say(f"That is what {file} says.")
    training_reports.fail_on_broken(answers)


def predict_random(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Draws the same picture again.")] = None,
    device: Device = "auto",
) -> None:
    """Predict a picture drawn from test or valid.

    Names its true class beside the answer.

    Example: cli.py predict-random flower_data --seed 7
    """
    from curate.dataset import open_dataset
    from train.random_picture import draw_held_out

    picture, split = draw_held_out(open_dataset(data), seed)
    from train.predict import Predictor

    predictor = Predictor.from_checkpoint(chosen_checkpoint(checkpoint, models), device)
    answers = list(predictor.predict_files([picture.path], top_k=top_k))
    training_reports.predictions(answers)
    training_reports.fail_on_broken(answers)
    training_reports.truth(answers[0], picture.label, predictor.checkpoint)
    console.say(f"The picture is {picture.path}, drawn from {split}. Next: cli.py evaluate {data}")
