"""The image folder that torchvision and Hugging Face read: `<split>/<label>/<picture>`, and metadata.jsonl beside."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from curate.exporting.examples import Example, Examples
from curate.file_names import FreeNames

METADATA = "metadata.jsonl"
"""Not CSV: there Hugging Face guesses types split by split, and refuses a dataset in which only one split has a credit,
or in which the labels of one split happen to be numbers.
"""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
"""What torchvision takes for a picture; Hugging Face takes more."""
_SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "DIB": ".bmp", "TIFF": ".tiff", "PPM": ".ppm",
    "GIF": ".gif", "AVIF": ".avif", "JPEG2000": ".jp2",
}  # fmt: skip


def write_imagefolder(examples: Examples, folder: Path, advance: Callable[[int], None]) -> None:
    """Copy every picture, and tell of each in `<split>/metadata.jsonl`.

    Where there is such a file, Hugging Face takes labels from it and not from the folders, so it has them too.
    """
    folders = _folders(examples.labels)
    for split, members in examples.splits.items():
        names = [FreeNames() for _ in examples.labels]
        (folder / split).mkdir()
        with (folder / split / METADATA).open("w", encoding="utf-8", newline="\n") as file:
            for example in members:
                name = f"{folders[example.label]}/{names[example.label].take(_name(example), example.sha256)}"
                target = folder / split / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(example.read())
                shutil.copystat(example.file, target)
                file.write(json.dumps({"file_name": name, **examples.row(example)}, ensure_ascii=False) + "\n")
                advance(1)


def _name(example: Example) -> str:
    """The picture's own name. Hugging Face calls the class what the innermost folder is called, so there is one."""
    name = PurePosixPath(example.name.replace("/", "_"))
    known = name.suffix.lower() in _SUFFIXES
    return name.name if known else f"{name.name}{_SUFFIX_OF_FORMAT.get(example.format, '')}"


def _folders(labels: Sequence[str]) -> list[str]:
    """A folder for each class that no disk takes for another's: "a" and "A" are two classes, on some disks one name."""
    free = FreeNames()
    free.take(METADATA, "")
    return [free.take(label, hashlib.sha256(label.encode()).hexdigest()) for label in labels]


def renamed_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label → the folder that it gets, for those that cannot keep their name."""
    return {label: folder for label, folder in zip(labels, _folders(labels), strict=True) if label != folder}


def count_pictures(folder: Path) -> dict[str, int]:
    """The pictures of each split as they lie on the disk."""
    return {
        split.name: sum(1 for file in split.glob("*/*") if file.is_file())
        for split in folder.iterdir()
        if split.is_dir()
    }
