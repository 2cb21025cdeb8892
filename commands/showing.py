"""show: pictures, views and plans, drawn to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from commands import console
from commands.options import Data, Names, names_of, next_step, tell_layout
from commands.shell import command_line
from curate.defaults import (
    DEFAULT_COUNT,
    DEFAULT_DATA,
    DEFAULT_RECIPE,
    DEFAULT_SHOWN_SEED,
    DEFAULT_SHOWN_VIEWS,
    MOST_SEED,
)

Split = Literal["train", "valid", "val", "validation", "test", "raw"]


def show(
    data: Data = DEFAULT_DATA,
    *,
    split: Annotated[Split | None, typer.Option(help="Only pictures of this split; raw: of none.")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these: folders or names, such as 1,5,orchid.")] = None,
    count: Annotated[int, typer.Option(min=1, max=500, help="How many pictures, or lines of a plan.")] = DEFAULT_COUNT,
    views: Annotated[
        int, typer.Option(min=1, max=12, help="Each in so many views, as train sees it.")
    ] = DEFAULT_SHOWN_VIEWS,
    recipe: Annotated[str, typer.Option(help="The recipe whose views are meant.")] = DEFAULT_RECIPE,
    plan: Annotated[Path | None, typer.Option(help="What this plan sets aside, beside what stays.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Draws other pictures.")] = DEFAULT_SHOWN_SEED,
    names: Names = None,
    out: Annotated[Path, typer.Option(help="The PNG that is drawn.")] = Path("contact_sheet.png"),
) -> None:
    """Draw a contact sheet of the pictures, or of a plan.

    Example: cli.py show flower_data --classes 21,orchid --views 4
    """
    from curate.cleaning.plan import read_plan
    from curate.dataset import open_dataset
    from curate.rendering import require_place, save_drawing, without_font
    from curate.show import pictures_to_show, require_sheet, sheet_of_pictures, sheet_of_plan
    from curate.split_names import split_named

    require_place(out)
    require_sheet(count, views)
    tell_layout(data)
    dataset = open_dataset(data)
    if plan is not None:
        lines = read_plan(plan)
        save_drawing(sheet_of_plan(dataset, lines, count), out)
        shown = f"{min(count, len(lines)):,} of the {len(lines):,} lines of {plan}"
        console.say(f"Drew {shown} in {out}. Next: {command_line('clean', data, '--plan', plan)}")
        return
    called = names_of(data, names)
    is_split = any(folder.split == "train" for folder in dataset.class_folders())
    if views > 1 and split is None and is_split:
        split = "train"  # what else would training see?
    wanted = split_named(split) or split if split else None
    pictures = pictures_to_show(dataset, called, split=wanted, classes=classes, count=count, seed=seed)
    if views == 1:
        sheet = sheet_of_pictures(dataset, pictures, called)
    else:
        from train.recipe import load_recipe
        from train.run import options_of
        from train.shown_views import sheet_of_views

        options = options_of(load_recipe(recipe))
        sheet = sheet_of_views(dataset, pictures, called, options.augmentation, views, options.seed)
    save_drawing(sheet, out)
    if missing := without_font(called.get(picture.label, picture.label) for picture in pictures):
        console.say(f"Note: {missing}")
    of = len({picture.label for picture in pictures})
    console.say(f"Drew {len(pictures):,} pictures of {of:,} classes in {out}. Next: {next_step(data)}")
