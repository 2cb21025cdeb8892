"""Companions beside the pictures of a split: which files they are, what they are called there, and whose they are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.companions import FolderContents, read_contents, renamed
from curate.dataset import Dataset
from curate.file_names import LONGEST_NAME
from curate.files.inside import inside
from curate.files.reading import sha256_of


@dataclass(frozen=True)
class Beside:
    """A companion that belongs in a split: the original's path, relative to the dataset, and its digest."""

    source: str
    sha256: str


def companions_to_place(dataset: Dataset, pictures: Mapping[str, str]) -> dict[str, Beside]:
    """Place relative to the output → the companion that belongs there, for pictures (place → path in the dataset).

    A companion of several pictures stands beside each of them, which may be in several splits. One that cannot be
    read, or whose name would be too long there, is left out.
    """
    folders: dict[str, FolderContents] = {}
    digests: dict[str, str] = {}
    wanted: dict[str, Beside] = {}
    for place, path in pictures.items():
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = read_contents(inside(dataset.root, f"{folder}/x").parent)
        to_folder, _, to_name = place.rpartition("/")
        for companion in folders[folder].of(name):
            source = f"{folder}/{companion}"
            if source not in digests:
                digests[source] = _digest(dataset.root / source)
            beside = renamed(companion, name, to_name)
            if digests[source] and len(beside.encode()) <= LONGEST_NAME:
                wanted[f"{to_folder}/{beside}"] = Beside(source, digests[source])
    return wanted


def is_free_or_same(target: Path, source: Path, sha256: str, ours: str) -> bool:
    """Whether a companion may be put there: nothing lies there, or the same file, or a copy of ours that is unchanged.

    `ours` is the digest with which we placed one there earlier, "" where we did not.
    """
    if not os.path.lexists(target):
        return True
    try:
        there = _digest(target)
        return target.is_symlink() or there in {sha256, ours} or target.samefile(source)
    except OSError:
        return False


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return ""
