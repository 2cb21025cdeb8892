"""The image folder that torchvision and Hugging Face read: `<split>/<label>/<picture>`, and metadata.jsonl beside.

Every split has a folder for every class, and each picture's companions lie beside it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from curate.companions import renamed
from curate.decoding.formats import is_named_as_picture
from curate.exporting.converting import exported_name
from curate.exporting.examples import Examples, Whole, untold
from curate.file_names import FreeNames
from curate.files.reading import is_file_of_its_own

METADATA = "metadata.jsonl"
"""Not CSV: there Hugging Face guesses types split by split, and refuses a dataset in which only one split has a credit,
or in which the labels of one split happen to be numbers.
"""

LABELS = "labels.json"

_METADATA_NAMES = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}  # Hugging Face reads labels from these


def write_imagefolder(examples: Examples, folder: Path, advance: Callable[[int], None], _whole: Whole = untold) -> None:
    """Copy every picture, and tell of each in `<split>/metadata.jsonl`.

    Where there is such a file, Hugging Face takes labels from it and not from the folders, so it has them too.
    """
    folders = _folders(examples.labels)
    _write_labels(examples, folders, folder / LABELS)
    for split, members in examples.splits.items():
        names = [FreeNames() for _ in examples.labels]
        for name in folders:  # also where a split has no picture of a class: its number is then the same in all
            (folder / split / name).mkdir(parents=True)
        with (folder / split / METADATA).open("w", encoding="utf-8", newline="\n") as file:
            for example in members:
                own, companions = example.companions
                wanted = exported_name(example)
                room = max((_grown(companion, own.name, wanted) for companion in companions), default=0)
                taken = names[example.label].take(wanted, example.sha256, room)
                target = folder / split / folders[example.label] / taken
                target.write_bytes(example.read())
                if is_file_of_its_own(example.file):
                    shutil.copystat(example.file, target)
                _copy_companions(own, companions, target)
                row = {"file_name": f"{folders[example.label]}/{taken}", **examples.row(example)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                advance(1)


def _copy_companions(own: Path, companions: Sequence[str], target: Path) -> None:
    """Put a picture's companions beside it, under its name there; one that is there is another picture's as well."""
    for companion in companions:
        beside = target.with_name(renamed(companion, own.name, target.name))
        if beside.name.lower() not in _METADATA_NAMES and not beside.exists():
            shutil.copy2(own.with_name(companion), beside)


def _grown(companion: str, own: str, name: str) -> int:
    """How many bytes longer than the picture's name its companion's is."""
    return len(renamed(companion, own, name).encode()) - len(name.encode())


def _write_labels(examples: Examples, folders: Sequence[str], file: Path) -> None:
    """Say which class has which number, in the order of the folders' names, as torchvision and Keras count."""
    rows = sorted(zip(folders, examples.labels, examples.names, strict=True))
    listed = [
        {"class": at, "folder": folder, "label": label, "name": name} for at, (folder, label, name) in enumerate(rows)
    ]
    file.write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _folders(labels: Sequence[str]) -> list[str]:
    """A folder for each class that no disk takes for another's: "a" and "A" are two classes, on some disks one name."""
    free = FreeNames()
    free.take(METADATA, "")
    return [free.take(label, hashlib.sha256(label.encode()).hexdigest()) for label in labels]


def renamed_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label → the folder that it gets, for those that cannot keep their name."""
    return {label: folder for label, folder in zip(labels, _folders(labels), strict=True) if label != folder}


def count_companions(folder: Path) -> int:
    """The files beside pictures that are none."""
    return sum(1 for file in folder.glob("*/*/*") if not is_named_as_picture(file.name) and file.is_file())


def count_pictures(folder: Path) -> dict[str, int]:
    """The pictures of each split as they lie on the disk."""
    return {
        split.name: sum(1 for file in split.glob("*/*") if is_named_as_picture(file.name) and file.is_file())
        for split in folder.iterdir()
        if split.is_dir()
    }
