"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console, curation_reports
from curate.defaults import MAX_RADIUS

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The dataset folder: <class>/, raw/<class>/ or train/…")]
Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="A checkpoint.  [default: the best in --models]")]
Models = Annotated[Path, typer.Option(help="Where checkpoints are looked for.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Names = Annotated[Path | None, typer.Option(help="JSON: class folder → name.  [default: DATA's own, or Oxford's]")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another command that is at work in DATA.")]
Radius = Annotated[int, typer.Option(min=0, max=MAX_RADIUS, help="Bits in which near-duplicates' pHashes may differ.")]


LabelFrom = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Where labels stand, if not in folders: name, parent, or TABLE.csv[:column]."),
]


def lay_out_by_label(data: Path, label_from: str | None, wait: bool) -> None:
    """Lay the pictures out by label beside DATA, if that is asked for, and say what came of it."""
    if label_from is None:
        return
    from curate.label import label

    found = label(data, label_from, wait=patience(wait), progress=console.bars)
    curation_reports.labelling(found)


def tell_layout(data: Path) -> None:
    """Say in one line which folders were taken for what and which were passed over, where that is not plain."""
    if said := curation_reports.layout_in_words(data):
        console.say(said)


def patience(wait: bool) -> float | None:
    """Seconds to wait for another command: as long as it takes, or not at all."""
    return None if wait else 0.0


def chosen_checkpoint(checkpoint: Path | None, models: Path) -> Path:
    """The checkpoint that was named or else the best one; raises `UserError` where there is none."""
    from train.checkpoint import best_checkpoint

    return checkpoint or best_checkpoint(models)


def names_of(data: Path, file: Path | None) -> dict[str, str]:
    """Class folder → name, for every class of a dataset; raises `UserError` where a names file lacks one."""
    from curate.dataset import open_dataset
    from curate.names import OWN_NAMES, require_names

    dataset = open_dataset(data)
    # Where the dataset lies a folder further down, its names may lie where the user has put them.
    root = data if (data / OWN_NAMES).is_file() else dataset.root
    return require_names(root, dataset.labels(), file)
