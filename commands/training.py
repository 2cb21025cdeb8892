"""summary, train, recipes, bank: from a split dataset to a checkpoint."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import console, training_reports
from commands.options import DEFAULT_DATA, DEFAULT_MODELS, Data, Device, Names, names_of
from commands.shell import command_line
from curate.defaults import DEFAULT_SEED, MOST_SEED
from curate.program import INSTALLED

if TYPE_CHECKING:
    from train.recipe import Recipe
    from train.training import TrainOptions

Recipes = Annotated[str, typer.Option(help="A recipe's name, or a TOML file; `recipes` lists them.")]
Bank = Annotated[Path, typer.Option("--models", help="The folder whose bank/ is meant.")]


def train(
    data: Data = DEFAULT_DATA,
    *,
    recipe: Recipes = "best",
    backbone: Annotated[str | None, typer.Option(help="A network of torchvision or timm; a+b: both.")] = None,
    weights: Annotated[str | None, typer.Option(help="default, none, a weights tag, or a state dict's file.")] = None,
    views: Annotated[int | None, typer.Option(min=1, help="Views of each training picture; 1: the clean one.")] = None,
    unfreeze: Annotated[str | None, typer.Option(help="What trains too: none, all, N stages, or a module.")] = None,
    balance: Annotated[float | None, typer.Option(min=0, max=1, help="0: as it comes; 1: classes count alike.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; repeatable.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Decides views and all that is drawn.")
    ] = DEFAULT_SEED,
    models: Annotated[Path, typer.Option(help="Where checkpoints and the feature bank go.")] = DEFAULT_MODELS,
    runs: Annotated[Path, typer.Option(help="Where each run leaves its log and curves.")] = Path("runs"),
    names: Names = None,
    device: Device = "auto",
    budget: Annotated[str | None, typer.Option(help="Pick backbone, size and views that fit: 60s, 5m, 1h.")] = None,
    folds: Annotated[int, typer.Option(min=0, help="Cross-validate within train instead; 5, say.")] = 0,
    sweep: Annotated[bool, typer.Option("--sweep", help="First choose rate, decay and balance by folds.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
) -> None:
    """Train the last layer and save a checkpoint.

    The checkpoint is named after its accuracy on valid. Each picture goes through the frozen
    network once; a second run finds its features in the bank.

    Example: cli.py train flower_data --backbone efficientnet_lite0
    """
    labelled = names_of(data, names)
    wanted = {"backbone": backbone, "weights": weights, "views": views, "unfreeze": unfreeze, "balance": balance}
    chosen = _recipe(recipe, {key: value for key, value in wanted.items() if value is not None}, change or [])
    # Only now: importing torch takes seconds, and a mistyped folder should be said at once.
    from train.run import is_first_process, options_of
    from train.run_folder import train_in_folder

    options = options_of(chosen, seed=seed, models=models, device=device, names=labelled)
    if budget is not None:
        options = _within(data, budget, options, backbone)
    if folds:
        _cross_validate(data, options, folds)
        return
    if sweep:
        options = _swept(data, options)
    report, run = train_in_folder(data, options, chosen, runs=runs, tensorboard=tensorboard, progress=console.bars)
    if is_first_process():
        training_reports.training(report)
        console.say(f"Wrote {report.checkpoint} and {run}. "
                    f"Next: {command_line('evaluate', data, '--checkpoint', report.checkpoint)}")  # fmt: skip


def _recipe(name: str, flags: dict[str, Any], changes: list[str]) -> Recipe:
    from train.recipe import load_recipe, parse_overrides

    unfreeze = flags.get("unfreeze")
    if isinstance(unfreeze, str) and re.fullmatch("[0-9]{1,9}", unfreeze):
        flags["unfreeze"] = int(unfreeze)
    return load_recipe(name, {**parse_overrides(changes), **flags})


def _within(data: Path, budget: str, options: TrainOptions, backbone: str | None) -> TrainOptions:
    from train.budget import parse_duration, plan_budget

    plan = plan_budget(data, parse_duration(budget), options, candidates=backbone and [backbone], progress=console.bars)
    for reason in plan.why:
        console.say(reason)
    return plan.applied_to(options)


def _cross_validate(data: Path, options: TrainOptions, folds: int) -> None:
    from train.folds import cross_validate

    training_reports.cross_validation(cross_validate(data, options, folds=folds, progress=console.bars))
    console.say(f"Nothing was saved; valid and test were not looked at. Next: {command_line('train', data)}")


def _swept(data: Path, options: TrainOptions) -> TrainOptions:
    from dataclasses import replace

    from train.sweep import sweep

    found = sweep(data, options, progress=console.bars)
    training_reports.sweep(found)
    return replace(options, head=found.chosen)


def summary(
    *,
    recipe: Recipes = "best",
    backbone: Annotated[str | None, typer.Option(help="A network of torchvision or timm; a+b: both.")] = None,
    unfreeze: Annotated[str | None, typer.Option(help="What trains too: none, all, N stages, or a module.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; repeatable.")] = None,
    classes: Annotated[int, typer.Option(min=2, help="How many classes the head tells apart.")] = 102,
    device: Device = "auto",
) -> None:
    """Show a network stage by stage, and what of it trains.

    Nothing is downloaded or trained.

    Example: cli.py summary --recipe finetune --unfreeze layer4
    """
    wanted = {"backbone": backbone, "unfreeze": unfreeze}
    chosen = _recipe(recipe, {key: value for key, value in wanted.items() if value is not None}, change or [])
    from train.run import options_of
    from train.summary import summarise

    training_reports.summary(summarise(options_of(chosen, device=device), classes))
    console.say(f"That is the recipe {chosen.name}. Next: {command_line('train', '--recipe', recipe)}")


def recipes() -> None:
    """List the training recipes, and what each reproduces.

    Example: cli.py recipes
    """
    from train.recipe import DEFAULT, FOLDER, list_recipes

    training_reports.recipes(list_recipes())
    where = FOLDER if INSTALLED else "train/recipes"
    console.say(
        f"Every option of a recipe is a line of {where}/<name>.toml. Next: {command_line('train', '--recipe', DEFAULT)}"
    )


def bank(
    *,
    models: Bank = DEFAULT_MODELS,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the banks.")] = False,
    keep: Annotated[float, typer.Option(min=0, help="With --clear: gigabytes to keep, the newest banks first.")] = 0,
    show: Annotated[bool, typer.Option("--list", help="List the banks (the default).")] = False,
) -> None:
    """List the feature banks, or clear them.

    Example: cli.py bank --clear --keep 2
    """
    from curate.errors import UserError
    from train.features.bank_shelf import clear_banks, list_banks, strangers_in

    if show and clear:
        raise UserError("--list and --clear exclude each other: give one of them.")
    if not math.isfinite(keep):
        raise UserError(f"--keep {keep} is no number of gigabytes: give one, such as 2.")
    folder = models / "bank"
    banks = clear_banks(folder, int(keep * 1e9)) if clear else list_banks(folder)
    training_reports.banks(banks)
    size = sum(one.size for one in banks) / 1e9
    for stranger in strangers_in(folder):
        console.say(f"Left alone: {stranger}, which is no bank of ours as far as can be told.")
    if clear:
        console.say(f"Removed {len(banks)} banks of {size:.2f} GB from {folder}; they fill again when they are wanted.")
    else:
        console.say(f"{len(banks)} banks of {size:.2f} GB in {folder}. Next: {command_line('bank', '--clear')}")
