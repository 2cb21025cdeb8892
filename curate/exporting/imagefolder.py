"""The image folder that torchvision and Hugging Face read: `<split>/<label>/<picture>`, and metadata.jsonl beside."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from curate.exporting.examples import Example, Examples

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
    for split, members in examples.splits.items():
        names = set[str]()
        (folder / split).mkdir()
        with (folder / split / METADATA).open("w", encoding="utf-8", newline="\n") as file:
            for example in members:
                name = _free_name(f"{examples.labels[example.label]}/{_name(example)}", example.sha256, names)
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


def _free_name(name: str, sha256: str, taken: set[str]) -> str:
    file, number = PurePosixPath(name), 1
    while name in taken:
        mark = sha256[:8] if number == 1 else f"{sha256[:8]}-{number}"
        name = file.with_name(f"{file.stem}~{mark}{file.suffix}").as_posix()
        number += 1
    taken.add(name)
    return name
