"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.defaults import MAX_RADIUS

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The dataset folder: <class>/, raw/<class>/ or train/…")]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="A checkpoint.  [default: of --models, for these classes]")
]
Models = Annotated[Path, typer.Option(help="Where checkpoints are looked for.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Names = Annotated[Path | None, typer.Option(help="JSON: class folder → name.  [default: DATA's own, or Oxford's]")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another command that is at work in DATA.")]
Radius = Annotated[int, typer.Option(min=0, max=MAX_RADIUS, help="Bits in which near-duplicates' pHashes may differ.")]


def patience(wait: bool) -> float | None:
    """Seconds to wait for another command: as long as it takes, or not at all."""
    return None if wait else 0.0


def chosen_checkpoint(checkpoint: Path | None, models: Path, data: Path | None = None) -> Path:
    """The checkpoint that was named or else the one that answers, for the classes of `data` where it is given.

    Raises `UserError` where there is none.
    """
    from train.checkpoint_choice import best_checkpoint

    if checkpoint is not None:
        return checkpoint
    if data is None:
        return best_checkpoint(models)
    from curate.dataset import open_dataset
    from train.pictures import classes_at_hand

    return best_checkpoint(models, classes_at_hand(open_dataset(data)))


def names_of(data: Path, file: Path | None) -> dict[str, str]:
    """Class folder → name, for every class of a dataset; raises `UserError` where a names file lacks one."""
    from curate.dataset import open_dataset
    from curate.names import require_names

    return require_names(data, open_dataset(data).labels(), file)
