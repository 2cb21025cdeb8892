"""demo: the whole way once round."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console
from commands.shell import command_line
from curate.defaults import DEFAULT_SEED, MOST_SEED


def demo(
    *,
    folder: Annotated[Path, typer.Option(help="Where the garden is drawn, anew each time.")] = Path("demo_garden"),
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Another seed draws another garden.")] = DEFAULT_SEED,
) -> None:
    """Go the whole way once, offline, on a drawn garden.

    Example: cli.py demo
    """
    from commands import training_reports
    from demo.tour import walk

    tour = walk(folder, seed=seed, progress=console.bars, announce=console.heading)
    training_reports.tour(tour)
    console.say(
        f"Wrote {folder} and {tour.training.checkpoint}. These flowers were drawn; with photographs of your own in "
        "flower_data/raw/<class>/ the same way is: "
        + " && ".join(command_line(stage) for stage in ("clean", "split", "train"))
    )
