"""ablate: what each step bought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from commands import ablation_reports, console
from commands.option_flags import takes
from commands.options import Data, Device, tell_split
from commands.shell import command_line
from commands.training import Changes, Recipes, chosen_recipe, flags_again
from curate.defaults import (
    DEFAULT_ABLATION_SEEDS,
    DEFAULT_DATA,
    DEFAULT_DEVICE,
    DEFAULT_MODELS,
    DEFAULT_RECIPE,
    MOST_ABLATION_SEEDS,
)


@takes("backbone", "weights", "views", "balance", "seed")
def ablate(
    data: Data = DEFAULT_DATA,
    *,
    recipe: Recipes = DEFAULT_RECIPE,
    change: Changes = None,
    seeds: Annotated[
        int, typer.Option(min=2, max=MOST_ABLATION_SEEDS, help="Heads that are fitted for each set of pictures.")
    ] = DEFAULT_ABLATION_SEEDS,
    only: Annotated[
        list[str] | None, typer.Option(metavar="STEP", help="This step alone, such as leaks; repeatable.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="An audit or a plan to measure.  [default: audit.jsonl beside the catalog]")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures into this file, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="With --json: over a file that somebody else wrote.")] = False,
    models: Annotated[Path, typer.Option(help="The folder whose bank/ holds the features.")] = DEFAULT_MODELS,
    device: Device = DEFAULT_DEVICE,
    **options: Any,
) -> None:
    """Measure what each step bought.

    Accuracy on valid with and without each cleaning step, source, query, balance and views, as the
    mean over seeds, with the interval of the difference; and how much leaks would flatter. All on
    the feature bank; test is not opened, and nothing is moved.

    Example: cli.py ablate flower_data --backbone efficientnet_lite0 --only leaks --only flattery
    """
    tell_split(data)
    chosen = chosen_recipe(recipe, options, change or [])
    # Only now: importing torch takes seconds, and a mistyped folder should be said at once.
    from train.ablate import ablate as run
    from train.ablating.figures import require_figures_place, write_figures
    from train.run import options_of

    if json_file is not None:
        require_figures_place(json_file, force=force)
    told = options_of(chosen, seed=options["seed"], models=models, device=device)
    report = run(data, told, seeds=seeds, only=only or [], audit=audit, tell=console.say, progress=console.bars)
    ablation_reports.ablation(report)
    wrote = ""
    if json_file is not None:
        write_figures(report, json_file, force=force)
        wrote = f"Wrote {json_file}. "
    following = command_line("train", data, *flags_again(recipe, options, change or [], models))
    console.say(f"{wrote}Nothing was moved, and test was not opened. Next: {following}")
