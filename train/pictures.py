"""The pictures of one split with their labels, and what the catalog already knows of their content."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.catalog.known_files import known_files
from curate.dataset import ClassFolder, Dataset, open_dataset
from curate.errors import UserError
from curate.names import composed
from curate.shell import command_line
from curate.split_names import split_named
from curate.splitting.carving import held_out_alone
from curate.splitting.since_split import open_current_split
from curate.splitting.unfinished import steady_split
from train.optimising.settings import require_seed

HELD_OUT = ("test", "valid")


@dataclass(frozen=True)
class LabelledPicture:
    """A file to learn from or to be measured on. `sha256` is its content's as it was last read, None where it never
    was: whoever uses it looks whether the file still has it.
    """

    path: Path
    label: str
    sha256: str | None = None


def labelled_pictures(dataset: Dataset, split: str) -> list[LabelledPicture]:
    """Every file with a label of a split, class by class.

    Raises UserError where the dataset has no such split, or one that a killed `split` left half-placed.
    """
    found = _read(dataset, [folder for folder in dataset.class_folders() if folder.split == split])
    if not found:
        what_to_do = held_out_alone(dataset) or _what_to_do(dataset, split)
        raise UserError(f"{dataset.root} has no {split} pictures: {what_to_do}")
    return found


def pictures_to_measure(
    root: Path, split: str | None = None, *, plain: bool = False
) -> tuple[list[LabelledPicture], str]:
    """The pictures that a checkpoint is to be measured on, and their split: the one that is asked for, by any name that
    `curate.layout` knows, or else test or, where there is none, valid.

    Where nothing is split, and with `plain` in any case, all pictures of the folder are measured, and the split is "".
    Raises UserError as `labelled_pictures` does, and where there is a train alone.
    """
    if split is not None:
        split = split_named(split) or split
        return labelled_pictures(open_current_split(root), split), split
    dataset = open_dataset(root) if plain else open_current_split(root)
    folders = dataset.class_folders()
    splits = {folder.split for folder in folders}
    if plain or splits == {None}:
        if pictures := _read(dataset, folders):
            return pictures, ""
        raise UserError(f"{dataset.root} holds no picture: give a folder of class folders.")
    held_out = next((split for split in HELD_OUT if split in splits), HELD_OUT[-1])
    return labelled_pictures(dataset, held_out), held_out


def draw_held_out(dataset: Dataset, seed: int | None = None) -> tuple[LabelledPicture, str]:
    """Draw from test or, where there is none, from valid: (picture, split). Every picture is as likely as any other; of
    a class that train lacks, which no checkpoint can name, none is drawn.

    The same seed draws the same picture from the same files; None draws anew each time. Raises `UserError` where
    no split is held out: a picture of train would only show what was memorised.
    """
    folders = dataset.class_folders()
    there = {folder.split for folder in folders}
    taught = {folder.label for folder in folders if folder.split == "train"}
    for split in HELD_OUT:
        if split in there:
            pictures = [one for one in labelled_pictures(dataset, split) if not taught or one.label in taught]
            pictures.sort(key=lambda picture: picture.path.as_posix())
            require_seed(seed or 0)
            if pictures:
                return random.Random(seed).choice(pictures), split
    raise UserError(
        f"{dataset.root} has neither test/ nor valid/ with labels, so every picture may have been learnt from: "
        f"run `{command_line('split', dataset.root)}` first."
    )


def class_folder_labels(dataset: Dataset, split: str) -> list[str]:
    """Labels that have a folder in a split, with or without pictures, in natural order."""
    there = {folder.label for folder in dataset.class_folders() if folder.split == split}
    return [label for label in dataset.labels() if label in there]


def classes_at_hand(dataset: Dataset) -> set[str]:
    """Labels that a checkpoint has to know to answer for a dataset: those of its train, or of what it holds out, or all
    where it has no split.
    """
    folders = dataset.class_folders()
    for splits in ({"train"}, set(HELD_OUT)):
        if labels := {folder.label for folder in folders if folder.split in splits}:
            return labels
    return {folder.label for folder in folders}


def untaught_among(dataset: Dataset, pictures: Iterable[LabelledPicture]) -> dict[str, int]:
    """The labels of held-out pictures that the dataset's train lacks, and how many of them there are.

    Where there is no train, nobody knows what is taught: none.
    """
    taught = {composed(folder.label) for folder in dataset.class_folders() if folder.split == "train"}
    strange = Counter(picture.label for picture in pictures if composed(picture.label) not in taught)
    return dict(sorted(strange.items())) if taught else {}


def untaught_notes(dataset: Dataset) -> list[str]:
    """A sentence where valid has classes that train lacks."""
    strange = untaught_among(dataset, labelled_pictures(dataset, "valid"))
    if not strange:
        return []
    return [f"Valid has pictures of classes that train lacks, which are left out: {counted(strange)}."]


def counted(labels: Mapping[str, int]) -> str:
    """The first of some labels, each with its count of pictures."""
    listed = [f"{label} ({count:,})" for label, count in labels.items()]
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")


def fingerprint(pictures: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 of the sorted (label, split, sha256) of a dataset: the same wherever it lies and however it is listed."""
    lines = sorted("\t".join(picture) for picture in pictures)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def require_known(labels: Iterable[str], known: Sequence[str], *, where: str, owner: str, offer: str = "") -> None:
    """Raise UserError for labels in `where` that `owner` does not have; `offer` is a sentence on what else there is."""
    strangers = sorted(set(labels) - set(known))
    if strangers:
        listed = ", ".join(repr(label) for label in strangers[:5]) + (", …" if len(strangers) > 5 else "")
        raise UserError(
            f"{where} has {len(strangers)} class{'es' if len(strangers) > 1 else ''} that {owner} lacks ({listed}): "
            f"give both the same class folders.{offer}"
        )


def spelt_as(labels: Sequence[str], pictures: Iterable[LabelledPicture]) -> list[LabelledPicture]:
    """The pictures with each label spelt as `labels` have it: a disk may keep "é" in another Unicode form."""
    spelling = {composed(label): label for label in labels}
    return [replace(picture, label=spelling.get(composed(picture.label), picture.label)) for picture in pictures]


def _read(dataset: Dataset, folders: Iterable[ClassFolder]) -> list[LabelledPicture]:
    known = known_files(dataset.catalog_path)
    found = []
    with steady_split(dataset):
        for folder in folders:
            for path, _ in dataset.files_in(folder):
                sha256 = known[path].sha256 if path in known else None
                found.append(LabelledPicture(dataset.root / path, folder.label, sha256))
    return found


def _what_to_do(dataset: Dataset, split: str) -> str:
    there = list(dict.fromkeys(folder.split for folder in dataset.class_folders() if folder.split))
    unlabelled = split not in there and any(folder.split == split for folder in dataset.folders())
    why = "those in its folder have no labels. " if unlabelled else ""
    if split == "test" and "valid" in there:
        return f"{why}take valid, with --split valid."
    divided = "takes them out of train" if "train" in there else "divides the pictures"
    return f"{why}run `{command_line('split', dataset.root)}`, which {divided}, or choose another split."
