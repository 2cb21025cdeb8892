"""Folders that hold one class of one split each: `trainA` and `testA`, `cat_train`, or `cat/train` and `dog/train`."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.files.ours import CATALOG
from curate.folders import folder_names, has_pictures_below, has_pictures_in
from curate.split_names import readings, splits_of_siblings

_EDGES = " ._-()[]"
_FEWEST = 2  # classes that splits share


class ClassSplitFolder(NamedTuple):
    """A folder, relative to the root, that holds the pictures of one class in one split; its path has the class's name
    from the place `at` on.
    """

    path: str
    split: str
    label: str
    at: int


def class_split_folders(root: Path, names: Sequence[str]) -> list[ClassSplitFolder]:
    """The folders of one class and one split each; [] where the folders are not so.

    `names` are the root's folders. The splits are a train and another, and share two classes or more: with one it is a
    class that may be called so, unless a catalog lies there, as it does of no flat dataset.
    """
    fewest = 1 if os.path.lexists(root / CATALOG) else _FEWEST
    by_name = list(_by_names(names))
    found = [folder for folder in by_name if _sound(by_name, fewest) and has_pictures_in(root / folder.path)]
    if _sound(found, fewest) and not any(folder_names(root / folder.path) for folder in by_name if folder not in found):
        return found
    return _sound(_by_folders(root, names), fewest)


def _by_names(names: Sequence[str]) -> Iterator[ClassSplitFolder]:
    """Each name as a split and what is left of it."""
    for name in names:
        for reading in readings(name, short=False):
            before, after = reading.before.strip(_EDGES), reading.after.strip(_EDGES)
            tells_before, tells_after = reading.affix
            if tells_before and tells_after:
                continue
            if after and not tells_before:
                yield ClassSplitFolder(name, reading.split, after, name.index(after, reading.at))
            elif before:
                yield ClassSplitFolder(name, reading.split, before, name.index(before))
            else:
                continue
            break


def _by_folders(root: Path, names: Sequence[str]) -> list[ClassSplitFolder]:
    """Each folder that holds pictures as a class, where all in it that holds pictures are splits; [] for others."""
    found = []
    for name in names:
        if has_pictures_in(root / name):
            return []
        below = [inner for inner in folder_names(root / name) if has_pictures_below(root / name / inner)]
        splits = splits_of_siblings(below)
        if below and not splits:
            return []
        found += [ClassSplitFolder(f"{name}/{inner}", splits[inner], name, 0) for inner in below if inner in splits]
    return found


def _sound(found: list[ClassSplitFolder], fewest: int) -> list[ClassSplitFolder]:
    """What was found, where the splits share as many classes: else they are classes, such as `crash test`."""
    classes = defaultdict[str, set[str]](set)
    for folder in found:
        classes[folder.split].add(folder.label)
    trained = classes.pop("train", set())
    shared = max((len(trained & there) for there in classes.values()), default=0)
    return found if shared >= fewest else []
