"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console, dataset_reports
from commands.shell import command_line
from curate.defaults import DEFAULT_DATA, MAX_RADIUS
from curate.files.addresses import located

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", parser=located, help="The dataset: <class>/, raw/<class>/ or train/…, in a folder or at s3://…"
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="A checkpoint.  [default: of --models, for these classes]")
]
Models = Annotated[Path, typer.Option(help="Where checkpoints are looked for.")]
Bank = Annotated[Path, typer.Option("--models", help="The folder whose bank/ is meant.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Engine = Annotated[
    str, typer.Option(metavar="ENGINE", help="Where work runs: local, ray, or ray:HOST:PORT for a cluster.")
]
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
    dataset_reports.labelling(found)


def next_step(data: Path) -> str:
    """The command that a dataset is ready for: `train` where it has a train and a valid with all its pictures, else
    `split`.
    """
    from curate.catalog.known_files import awaits_split
    from curate.catalog.placements import IN_PLACE
    from curate.dataset import open_dataset
    from curate.splitting.whereabouts import open_split, split_elsewhere

    dataset = open_dataset(data)
    there = {folder.split for folder in open_split(data).class_folders()}
    is_split = {"train", "valid"} <= there and (
        dataset.is_fixed or not awaits_split(dataset.catalog_path, split_elsewhere(dataset) or IN_PLACE)
    )
    return command_line("train" if is_split else "split", data)


def lacks_classes(data: Path) -> str:
    """Why nothing can be made of a dataset yet, "" where there are pictures of two classes to learn from."""
    from curate.dataset import open_dataset
    from curate.splitting.carving import held_out_alone

    dataset = open_dataset(data)
    if alone := held_out_alone(dataset):
        return alone
    have = set[str]()
    for folder in dataset.class_folders():
        if dataset.files_in(folder):
            have.add(folder.label)
            if len(have) > 1:
                return ""
    what = f"pictures of one class only, “{min(have)}”" if have else "no picture"
    return f"{data} holds {what}: put pictures of two classes or more into its class folders."


def on_default_data(*words: object) -> str:
    """A command on the dataset that is meant where none is named or, where it is not there yet, the demo."""
    from curate.dataset import open_dataset
    from curate.errors import UserError

    try:
        open_dataset(DEFAULT_DATA)
    except UserError:
        return command_line("demo")
    return command_line(*words)


def tell_layout(data: Path) -> None:
    """Say in one line which folders were taken for what and which were passed over, where that is not plain."""
    if said := dataset_reports.layout_in_words(data):
        console.say(said)
    if said := dataset_reports.former_home_in_words(data):
        console.say(said)


def tell_split(data: Path) -> None:
    """Say what `tell_layout` says, and where the split of DATA lies if not in it."""
    from curate.dataset import open_dataset
    from curate.splitting.since_split import since_split
    from curate.splitting.whereabouts import split_folder

    tell_layout(data)
    dataset = open_dataset(data)
    folder = split_folder(dataset)
    if folder is not None:
        console.say(f"The split of {data} lies in {folder}.")
    if said := dataset_reports.since_split_in_words(since_split(dataset)):
        console.say(f"{data} has changed since it was split: {said}. `{command_line('split', data)}` takes that in.")


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


def judge_of(data: Path, models: Path) -> tuple[str | None, Path | None]:
    """The network that judges where none is named: the best checkpoint's, whose features are in the bank, or else the
    one that `train` would take.
    """
    from curate.errors import UserError
    from train.recipe import load_recipe

    try:
        return None, chosen_checkpoint(None, models, data)
    except UserError:
        return load_recipe().options.backbone, None


def names_of(data: Path, file: Path | None) -> dict[str, str]:
    """Class folder → name, for every class of a dataset; raises `UserError` where a names file lacks one."""
    from curate.credits import scraped_names
    from curate.dataset import open_dataset
    from curate.names import OWN_NAMES, require_names

    dataset = open_dataset(data)
    # Where the dataset lies a folder further down, its names may lie where the user has put them.
    root = data if (data / OWN_NAMES).is_file() else dataset.root
    return require_names(root, dataset.labels(), file, scraped_names(dataset))
