"""summary, train, recipes, bank: from a split dataset to a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import console, training_reports
from commands.option_flags import WITH_FLAG, flags_of, given, on_an_engine, takes
from commands.options import Bank, Data, Device, Names, names_of, on_default_data, tell_split
from commands.shell import command_line
from curate.defaults import DEFAULT_DATA, DEFAULT_DEVICE, DEFAULT_MODELS, DEFAULT_RECIPE, DEFAULT_RUNS
from curate.program import INSTALLED

if TYPE_CHECKING:
    from train.recipe import Recipe
    from train.training import TrainOptions

Recipes = Annotated[str, typer.Option(help="A recipe's name, or a TOML file; `recipes` lists them.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; repeatable.")]


@takes(*WITH_FLAG)
@on_an_engine
def train(
    data: Data = DEFAULT_DATA,
    *,
    recipe: Recipes = DEFAULT_RECIPE,
    change: Changes = None,
    models: Annotated[Path, typer.Option(help="Where checkpoints and the feature bank go.")] = DEFAULT_MODELS,
    runs: Annotated[Path, typer.Option(help="Where each run leaves its log and curves.")] = DEFAULT_RUNS,
    names: Names = None,
    device: Device = DEFAULT_DEVICE,
    budget: Annotated[str | None, typer.Option(help="Pick backbone, size and views that fit: 60s, 5m, 1h.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="With --budget: count on no download.")] = False,
    folds: Annotated[int, typer.Option(min=0, help="Cross-validate within train instead; 5, say.")] = 0,
    sweep: Annotated[bool, typer.Option("--sweep", help="First choose rate, decay and balance by folds.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
    **options: Any,
) -> None:
    """Train the last layer and save a checkpoint.

    The checkpoint is named after its accuracy on valid. Each picture goes through the frozen
    network once; a second run finds its features in the bank. With --head auto folds within
    train choose how the layer is fitted, and how strongly.

    Example: cli.py train flower_data --backbone efficientnet_lite0 --head auto
    """
    if folds and (tensorboard or sweep):
        from curate.errors import UserError

        what = "--tensorboard has nothing to write" if tensorboard else "--sweep runs folds of its own"
        raise UserError(f"--folds measures and saves no run, so {what}: give one of the two.")
    if offline and budget is None:
        from curate.errors import UserError

        raise UserError("--offline says what --budget may count on: without a budget, take --backbone offline.")
    labelled = names_of(data, names)
    tell_split(data)
    chosen = chosen_recipe(recipe, options, change or [])
    # Only now: importing torch takes seconds, and a mistyped folder should be said at once.
    from train.run import is_first_process, options_of
    from train.run_folder import train_in_folder

    told = options_of(chosen, seed=options["seed"], models=models, device=device, names=labelled)
    told = replace(told, watch=training_reports.epoch)
    if budget is not None:
        told = _within(data, budget, told, options["backbone"], offline=offline)
        # What is advised next is the run that was planned, without planning it anew
        options = {**options, "backbone": told.backbone, "views": told.views}
        change = [*(change or []), *([f"crop={told.crop}"] if told.crop else [])]
    if folds:
        _cross_validate(data, told, folds)
        following = command_line("train", data, *flags_again(recipe, options, change or [], models))
        console.say(f"Nothing was saved; valid and test were not looked at. Next: {following}")
        return
    if sweep:
        told = _swept(data, told)
    report, run = train_in_folder(data, told, chosen, runs=runs, tensorboard=tensorboard, progress=console.bars)
    if is_first_process():
        training_reports.training(report)
        console.say(f"Wrote {report.checkpoint} and {run}. "
                    f"Next: {command_line('evaluate', data, '--checkpoint', report.checkpoint)}")  # fmt: skip


def chosen_recipe(name: str, options: Mapping[str, Any], changes: list[str]) -> Recipe:
    """The recipe of this name or file with the options and the `--set`s in the place of its own."""
    from commands.words import recipe_key
    from train.recipe import load_recipe, parse_overrides

    said = {recipe_key(key): value for key, value in parse_overrides(changes).items()}
    return load_recipe(name, {**said, **given(options)})


def flags_again(recipe: str, options: Mapping[str, Any], changes: list[str], models: Path) -> list[str]:
    """The flags that give `train` the same recipe again."""
    again = [*(["--recipe", recipe] if recipe != DEFAULT_RECIPE else []), *flags_of(options)]
    again += [word for one in changes for word in ("--set", one)]
    return [*again, *(["--models", str(models)] if models != DEFAULT_MODELS else [])]


def _within(data: Path, budget: str, options: TrainOptions, backbone: str | None, *, offline: bool) -> TrainOptions:
    from train.budget import parse_duration, plan_budget

    plan = plan_budget(
        data, parse_duration(budget), options, candidates=backbone and [backbone], offline=offline,
        progress=console.bars,
    )  # fmt: skip
    training_reports.plan(plan)
    return plan.applied_to(options)


def _cross_validate(data: Path, options: TrainOptions, folds: int) -> None:
    from train.folds import cross_validate

    training_reports.cross_validation(cross_validate(data, options, folds=folds, progress=console.bars))


def _swept(data: Path, options: TrainOptions) -> TrainOptions:
    from train.sweep import sweep

    found = sweep(data, options, progress=console.bars)
    training_reports.sweep(found)
    return replace(options, head=found.chosen)


@takes("backbone", "unfreeze")
def summary(
    *,
    recipe: Recipes = DEFAULT_RECIPE,
    change: Changes = None,
    classes: Annotated[int, typer.Option(min=2, help="How many classes the head tells apart.")] = 102,
    device: Device = DEFAULT_DEVICE,
    **options: Any,
) -> None:
    """Show a network stage by stage, and what of it trains.

    Nothing is downloaded or trained.

    Example: cli.py summary --recipe finetune --unfreeze layer4
    """
    chosen = chosen_recipe(recipe, options, change or [])
    from train.run import options_of
    from train.summary import summarise

    training_reports.summary(summarise(options_of(chosen, device=device), classes))
    console.say(f"That is the recipe {chosen.name}. Next: {on_default_data('train', '--recipe', recipe)}")


def runs(
    folder: Annotated[Path, typer.Option("--runs", help="Where the runs are.")] = DEFAULT_RUNS,
    *,
    models: Annotated[Path, typer.Option(help="The folder whose unfinished/ is meant.")] = DEFAULT_MODELS,
    clear: Annotated[bool, typer.Option("--clear-unfinished", help="Remove what is kept of stopped runs.")] = False,
) -> None:
    """List the runs, their options and figures.

    What is kept of runs that were stopped is listed too: the same command goes on from it.

    Example: cli.py runs --clear-unfinished
    """
    from train.optimising.unfinished import clear_unfinished, list_unfinished
    from train.run_folder import list_runs

    stories = list_runs(folder)
    training_reports.runs(stories)
    unfinished = models / "unfinished"
    kept = clear_unfinished(unfinished) if clear else list_unfinished(unfinished)
    training_reports.unfinished(kept)
    size = sum(one.size for one in kept) / 1e6
    if clear:
        console.say(f"Removed {len(kept)} unfinished runs of {size:.1f} MB from {unfinished}: they begin anew.")
        return
    last = next((one.checkpoint for one in reversed(stories) if one.checkpoint), "")
    following = command_line("evaluate", stories[-1].data, "--checkpoint", last) if last else on_default_data("train")
    console.say(
        f"{len(stories)} runs in {folder}; {len(kept)} unfinished ones of {size:.1f} MB in {unfinished}. "
        f"Next: {following}"
    )


def recipes() -> None:
    """List the training recipes, and what each reproduces.

    Example: cli.py recipes
    """
    from train.recipe import FOLDER, list_recipes

    training_reports.recipes(list_recipes())
    where = FOLDER if INSTALLED else "train/recipes"
    following = on_default_data("train", "--recipe", DEFAULT_RECIPE)
    console.say(f"Every option of a recipe is a line of {where}/<name>.toml. Next: {following}")


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
        elsewhere = ["--models", models] if models != DEFAULT_MODELS else []
        following = command_line("bank", "--clear", *elsewhere) if banks else on_default_data("train")
        console.say(f"{len(banks)} banks of {size:.2f} GB in {folder}. Next: {following}")
