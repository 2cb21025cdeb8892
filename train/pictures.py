"""The pictures of one split with their labels, and what the catalog already knows of their content."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.catalog.known_files import known_files
from curate.dataset import Dataset
from curate.errors import UserError
from curate.program import COMMAND
from curate.splitting.unfinished import steady_split
from train.optimising.settings import require_seed

HELD_OUT = ("test", "valid")


@dataclass(frozen=True)
class LabelledPicture:
    """A file to learn from or to be measured on. `sha256` is None where nobody has read the file yet."""

    path: Path
    label: str
    sha256: str | None = None


def labelled_pictures(dataset: Dataset, split: str) -> list[LabelledPicture]:
    """Every file of a split, class by class.

    Raises UserError where the dataset has no such split, or one that a killed `split` left half-placed.
    """
    known = known_files(dataset.catalog_path)
    found = []
    with steady_split(dataset):
        for folder in dataset.class_folders():
            for path, stat in dataset.files_in(folder) if folder.split == split else ():
                seen = known.get(path) if stat else None
                fresh = seen is not None and stat is not None and seen[:2] == (stat.st_size, stat.st_mtime_ns)
                sha256 = seen.sha256 if seen and fresh else None
                found.append(LabelledPicture(dataset.root / path, folder.label, sha256))
    if not found:
        raise UserError(
            f"{dataset.root} has no {split} pictures: run `{COMMAND} split {dataset.root}`, which divides the "
            f"pictures in raw/ among train/, valid/ and test/, or choose another split."
        )
    return found


def draw_held_out(dataset: Dataset, seed: int | None = None) -> tuple[LabelledPicture, str]:
    """Draw from test or, where there is none, from valid: (picture, split). Every picture is as likely as any other.

    The same seed draws the same picture from the same files; None draws anew each time. Raises `UserError` where
    no split is held out: a picture of train would only show what was memorised.
    """
    there = {folder.split for folder in dataset.class_folders()}
    for split in HELD_OUT:
        if split in there:
            pictures = sorted(labelled_pictures(dataset, split), key=lambda picture: picture.path.as_posix())
            require_seed(seed or 0)
            return random.Random(seed).choice(pictures), split
    raise UserError(
        f"{dataset.root} has neither test/ nor valid/, so every picture may have been learnt from: "
        f"run `{COMMAND} split {dataset.root}` first."
    )


def class_folder_labels(dataset: Dataset, split: str) -> list[str]:
    """Labels that have a folder in a split, with or without pictures, in natural order."""
    there = {folder.label for folder in dataset.class_folders() if folder.split == split}
    return [label for label in dataset.labels() if label in there]


def classes_at_hand(dataset: Dataset) -> set[str]:
    """Labels that a checkpoint has to know to answer for a dataset: those of its splits, or all where it has none."""
    folders = dataset.class_folders()
    return {folder.label for folder in folders if folder.split in {"train", *HELD_OUT}} or {
        folder.label for folder in folders
    }


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
