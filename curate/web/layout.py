"""Unpacked archives, laid out as a dataset: class folders below train/, valid/ and test/, or below raw/."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.errors import UserError

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
_KEPT = re.compile(r"(licen[cs]e|readme|credits|cat_to_name)", re.IGNORECASE)
_OXFORD_NAME = re.compile(r"image_(\d{5})\.jpg")
_SETS = {"train": "trnid", "valid": "valid", "test": "tstid"}


def lay_out_folders(unpacked: Path, out: Path) -> int:
    """Move the class folders of an archive to where they belong; the number of pictures.

    Folders named train, valid (val, validation) and test keep their meaning; class folders without such go below
    raw/. Licences and names files that lie beside them come along. Raises UserError where there are no class folders.
    """
    root = _root(unpacked)
    splits = {folder: _SPLITS[folder.name.lower()] for folder in _folders(root) if folder.name.lower() in _SPLITS}
    pairs = [(out / split, folder) for folder, split in splits.items()] or [(out / "raw", root)]
    moved = 0
    for target, folder in pairs:
        for class_folder in _folders(folder):
            for picture in _pictures(class_folder):
                moved += _move(picture, target / class_folder.name / "-".join(picture.relative_to(class_folder).parts))
    if not moved:
        raise UserError("The archive holds no class folders with pictures: unpack it by hand and look.")
    for path in root.iterdir():
        if path.is_file() and _KEPT.search(path.name):
            _move(path, out / path.name)
    return moved


def lay_out_oxford(unpacked: Path, labels_file: Path, sets_file: Path, out: Path) -> int:
    """Move Oxford-102's pictures to `<split>/<label>/` as its own .mat files say; the number of pictures.

    `imagelabels.mat` holds the label of picture 1, 2, …; `setid.mat` the picture numbers of each split. Raises
    UserError where they do not fit the pictures.
    """
    labels = _numbers(labels_file, "labels")
    pictures = {int(found[1]): path for path in unpacked.rglob("*.jpg") if (found := _OXFORD_NAME.fullmatch(path.name))}
    moved = 0
    for split, key in _SETS.items():
        for number in _numbers(sets_file, key):
            if number not in pictures or not 0 < number <= len(labels):
                raise UserError(
                    f"{sets_file.name} names picture {number}, which the archive or {labels_file.name} lacks."
                )
            moved += _move(pictures[number], out / split / str(labels[number - 1]) / pictures[number].name)
    return moved


def _numbers(file: Path, key: str) -> list[int]:
    import scipy.io

    try:
        content: dict[str, Any] = scipy.io.loadmat(file)
        return [int(number) for number in content[key].ravel()]
    except Exception as error:  # scipy raises whatever the bytes provoke
        raise UserError(f"{file} is no .mat file with '{key}' ({error}): remove it and download again.") from error


def _root(unpacked: Path) -> Path:
    """Below the single folder into which most archives pack everything."""
    root = unpacked
    while (
        len(folders := _folders(root)) == 1 and folders[0].name.lower() not in _SPLITS and not _has_pictures(folders[0])
    ):
        root = folders[0]
    return root


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in _PICTURES for path in folder.iterdir())


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in _PICTURES)


def _move(source: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    return 1
