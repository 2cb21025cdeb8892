"""A dataset folder: which layout it has, and which pictures lie in it under which label."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curate.errors import UserError

SPLITS = ("train", "valid", "test")

_SPLIT_OF_FOLDER = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_NOT_PICTURES = {"thumbs.db", "desktop.ini"}

Layout = Literal["flat", "raw", "split"]


@dataclass(frozen=True, order=True)
class PictureFile:
    """One file in a class folder: a picture, or something that poses as one.

    `path` is posix and relative to the dataset's root; `label` is the class folder's name; `split` is one of
    `SPLITS`, or None for a picture that is in no split (below `raw/`, or in a flat dataset).
    """

    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class ClassFolder:
    """One folder of one class, as a path relative to the dataset's root."""

    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Dataset:
    """A folder of class folders in one of three layouts.

    `flat`: `<root>/<label>/`; `raw`: `<root>/raw/<label>/`; `split`: `<root>/train/<label>/` and so on, where `raw/`
    may stand beside. `home` is where the catalog and the quarantine live: the root itself, or for a flat dataset
    the folder `<name>.florilegium` beside it, so that torchvision's `ImageFolder` never reads them as classes.
    """

    root: Path
    layout: Layout
    home: Path

    @property
    def catalog_path(self) -> Path:
        """The ledger's file."""
        return self.home / "catalog.sqlite"

    @property
    def quarantine(self) -> Path:
        """The folder that holds what `clean` set aside, by reason."""
        return self.home / "quarantine"

    def class_folders(self) -> list[ClassFolder]:
        """Every class folder, raw ones first, then by split, each in natural order of the labels."""
        if self.layout == "flat":
            return [ClassFolder(name, name, None) for name in _subfolders(self.root)]
        found = [ClassFolder(f"raw/{label}", label, None) for label in _subfolders(self.root / "raw")]
        for folder, split in _SPLIT_OF_FOLDER.items():
            labels = _subfolders(self.root / folder)
            found += [ClassFolder(f"{folder}/{label}", label, split) for label in labels]
        return found

    def files(self) -> list[PictureFile]:
        """Every file of every class folder, folder by folder, sorted by path within each."""
        return [
            PictureFile(path, folder.label, folder.split)
            for folder in self.class_folders()
            for path, _ in self.files_in(folder)
        ]

    def files_in(self, folder: ClassFolder) -> list[tuple[str, os.stat_result | None]]:
        """The files of one class folder and what `stat` says of each, sorted by path.

        Subfolders are walked as torchvision does; hidden files are passed over. A file that vanished in between,
        or a link that leads nowhere, has None for its stat.
        """
        return sorted(_walk(self.root, folder.path), key=lambda found: found[0])

    def labels(self) -> list[str]:
        """Every label that has a class folder, once, in natural order."""
        return sorted({folder.label for folder in self.class_folders()}, key=natural_key)


def open_dataset(root: Path) -> Dataset:
    """Find out a folder's layout. Raises `UserError` where there is no folder, or no class folder in it."""
    root = Path(root)
    if not root.exists():
        raise UserError(f"There is no folder {root}: give the folder that holds your class folders.")
    if not root.is_dir():
        raise UserError(f"{root} is a file: give the folder that holds your class folders.")
    try:
        layout = _layout(root)
        dataset = Dataset(root, layout, _home(root, layout))
        has_classes = bool(dataset.class_folders())
    except PermissionError as error:
        raise UserError(f"The folder {error.filename} cannot be read: give yourself the right to.") from error
    if not has_classes:
        raise UserError(
            f"{root} holds no class folders: put each class's pictures into a folder of their own, "
            f"{root}/<class>/ or {root}/raw/<class>/."
        )
    return dataset


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts 2 before 10 and leaves words in alphabetical order."""
    parts = re.findall(r"[0-9]+|[^0-9]+", label)
    return tuple((0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts)


def _layout(root: Path) -> Layout:
    # A class may be called "train" in a flat dataset of vehicles: a split folder is one that holds folders.
    if any(_subfolders(root / folder) for folder in _SPLIT_OF_FOLDER):
        return "split"
    return "raw" if _subfolders(root / "raw") else "flat"


def _home(root: Path, layout: Layout) -> Path:
    if layout != "flat":
        return root
    resolved = root.resolve()
    return resolved.parent / f"{resolved.name}.florilegium"


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [
            entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
    return sorted(names, key=natural_key)


def _walk(root: Path, folder: str) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        with os.scandir(root / folder) as entries:
            found = list(entries)
    except FileNotFoundError:  # the folder was removed while we read
        return
    except PermissionError as error:
        raise UserError(f"The folder {error.filename} cannot be read: give yourself the right to.") from error
    for entry in found:
        if entry.name.startswith(".") or entry.name.lower() in _NOT_PICTURES:
            continue
        path = f"{folder}/{entry.name}"
        if not _is_text(path):
            raise UserError(f"The file name {path!r} is not valid UTF-8: rename the file.")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
            continue
        try:
            yield path, entry.stat()
        except OSError:
            yield path, None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
