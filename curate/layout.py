"""How a dataset's folders are laid out, told by their names and by what lies in them.

People call the splits by many names, wrap a dataset into a folder or two, and leave a test set unlabelled.
`curate.layout_reading` says what is taken for what.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from curate.class_split_folders import class_split_folders
from curate.errors import UserError
from curate.files.ours import CATALOG, is_made_by_us
from curate.folders import (
    folder_names,
    has_pictures_below,
    has_pictures_in,
    pictures_in,
    subfolders,
)
from curate.shell import command_line
from curate.split_names import split_named, splits_by_own_name, splits_of_siblings

SPLITS: Final = ("train", "valid", "test")

UNLABELLED: Final = ""
"""The label of a picture that lies in a split's folder itself, with no class folder: nobody has said what it shows."""

LayoutKind = Literal["flat", "raw", "split"]

_WRAPPERS = {"images", "image", "imgs", "img", "pictures", "photos", "unknown", "unlabelled", "unlabeled", "all"}
"""What a folder is called that holds a split's pictures when these have no labels."""

NEVER: Final = {"quarantine"}
"""Folders at the root of a dataset that are never a part of it."""

_DEEPEST = 8


@dataclass(frozen=True)
class TopFolder:
    """A folder that holds class folders or, where it is not `labelled`, pictures of a split; `path` is relative to the
    dataset's root, and has two parts where the folder holds nothing but another one.

    One with a `label` is itself the folder of that class in its split, as `trainA` or `cat/train` is; the class's name
    stands in its path from the place `label_at` on.
    """

    path: str
    split: str | None
    labelled: bool = True
    label: str = ""
    label_at: int = 0

    def class_folder(self, label: str) -> str:
        """The path of the folder of a class, that of the top folder's own or of another one."""
        if not self.label:
            return f"{self.path}/{label}"
        return f"{self.path[: self.label_at]}{label}{self.path[self.label_at + len(self.label) :]}"


@dataclass(frozen=True)
class Layout:
    """Where the dataset in a folder begins, which layout it has, and what holds its class folders (none, where the
    root itself does).
    """

    root: Path
    kind: LayoutKind
    tops: tuple[TopFolder, ...] = ()


def read_layout(root: Path) -> Layout:
    """Find out the layout of the dataset in a folder, or in the one folder in it that holds a dataset.

    Raises `UserError` where the folders of the splits hold pictures and no class folders, and for a link to a folder
    where a folder is wanted.
    """
    start = root
    for _ in range(_DEEPEST):
        names = folder_names(root)
        tops = _tops(root, names)
        if tops:
            return Layout(root, "split" if any(top.split and top.labelled for top in tops) else "raw", tuple(tops))
        _require_labels(root, names)
        below = _only_dataset(root, names)
        if below is None:
            break
        root = below
    # Where nothing further down is a layout of its own, the folder that was given holds the classes.
    return Layout(root if _holds_classes(root) else start, "flat")


def top_folders(root: Path) -> list[TopFolder]:
    """The folders that hold class folders, or a split's pictures without labels, where the root itself does not; `raw`
    first.
    """
    return _tops(root, folder_names(root))


def _tops(root: Path, names: Sequence[str]) -> list[TopFolder]:
    """The folders that hold class folders where the root does not, `raw` first; [] where the root does."""
    candidates = _splits_in(root, names)
    wanted = {*candidates, *(name for name in names if name.lower() == "raw")}
    there = set(subfolders(root, among=wanted))
    found: list[TopFolder] = []
    bare: list[tuple[str, str]] = []
    for name in (name for name in names if name in there):
        if name not in candidates:
            if not _is_class_called_raw(root, name, names) and subfolders(root / name):
                found.append(TopFolder(name, None))
        elif (top := _labelled_top(root, name, candidates[name])) is not None:
            found.append(top)
        else:
            bare.append((name, candidates[name]))
    if not found:
        by_class = class_split_folders(root, [name for name in names if name not in NEVER])
        tops = [TopFolder(one.path, one.split, label=one.label, label_at=one.at) for one in by_class]
        return sorted(tops, key=lambda top: SPLITS.index(top.split or SPLITS[0]))
    labels = {label for top in found if top.split == "train" for label in folder_names(root / top.path)}
    tops = [_without_labels(root, top, labels) if top.split != "train" else top for top in found]
    tops += [top for name, split in bare for top in _unlabelled_top(root, name, split)]
    if not any(top.labelled for top in tops):
        return []
    return sorted(tops, key=lambda top: ((None, *SPLITS).index(top.split), names.index(top.path.split("/")[0])))


def _splits_in(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Folder → the split that it is by its name, by those of the others and by its class folders."""
    return splits_of_siblings(names, cache(lambda name: class_names_in(root / name)))


def class_names_in(folder: Path) -> frozenset[str]:
    """The names of the class folders in a split's folder; none, where pictures lie in it itself."""
    if has_pictures_in(folder) or not has_pictures_below(folder):
        return frozenset()
    names = folder_names(folder)
    if len(names) == 1 and not has_pictures_in(folder / names[0]):
        names = folder_names(folder / names[0]) or names
    return frozenset(names)


def _is_class_called_raw(root: Path, name: str, names: Sequence[str]) -> bool:
    """Whether `raw` is a class beside others: pictures lie in it itself, as they do in the others."""
    others = (root / other for other in names if other != name and other not in NEVER and split_named(other) is None)
    return has_pictures_in(root / name) and any(has_pictures_in(other) for other in others)


def _labelled_top(root: Path, name: str, split: str) -> TopFolder | None:
    """A split's folder that holds class folders, or holds nothing but another folder that does; None for no split."""
    below = subfolders(root / name)
    if not below:
        return None
    if len(below) == 1 and not has_pictures_in(root / name):
        inner = f"{name}/{below[0]}"
        if not has_pictures_in(root / inner) and len(_with_pictures(root / inner, 2)) > 1:
            return TopFolder(inner, split)
    return TopFolder(name, split)


def _without_labels(root: Path, top: TopFolder, labels: set[str]) -> TopFolder:
    """The folder as it is, or without labels where its one folder, such as `images`, is no class of train."""
    below = folder_names(root / top.path)
    if labels and len(below) == 1 and below[0] not in labels:
        name = top.path.rpartition("/")[2]
        wraps = below[0].lower() in {*_WRAPPERS, name.lower()} or split_named(below[0]) is not None
        if wraps and has_pictures_in(root / top.path / below[0]):
            return TopFolder(f"{top.path}/{below[0]}", top.split, labelled=False)
    return top


def _unlabelled_top(root: Path, name: str, split: str) -> Iterator[TopFolder]:
    if split != "train" and has_pictures_in(root / name):
        yield TopFolder(name, split, labelled=False)


def _require_labels(root: Path, names: Sequence[str]) -> None:
    """Raise `UserError` where the folders of splits hold pictures, and nothing says of which class these are."""
    bare = [name for name in splits_by_own_name(names) if has_pictures_in(root / name)]
    if not any(split_named(name) == "train" for name in bare):
        return
    if any(name not in bare and has_pictures_below(root / name) for name in names if split_named(name) is None):
        return  # classes that are called so, in a dataset of vehicles
    raise no_labels(root, [root / name for name in bare])


def no_labels(root: Path, folders: Sequence[Path]) -> UserError:
    """What to say of pictures that lie in no class folder."""
    files = sorted(name for folder in folders[:1] for name in pictures_in(folder))
    example = f", such as {files[0]}," if files else ""
    where = " and ".join(map(str, folders))
    return UserError(
        f"{where} hold{'s' if len(folders) == 1 else ''} no class folders, and nobody has said what the pictures"
        f"{example} show: if their names begin with the class, as cat.0.jpg does, run "
        f"`{command_line('split', root, '--label-from', 'name')}`; where a table says it, give that, --label-from "
        "labels.csv."
    )


def _only_dataset(root: Path, names: Sequence[str]) -> Path | None:
    """The one folder that holds pictures, where it is itself a dataset: the root is a folder level too many."""
    if os.path.lexists(root / CATALOG):
        return None
    holding = _with_pictures(root, 2, names)
    if len(holding) != 1 or has_pictures_in(root / holding[0]):
        return None
    folder = root / holding[0]
    if folder.is_symlink():
        return None
    inside = folder_names(folder)
    if _tops(folder, inside) or splits_by_own_name(inside):
        return folder
    return folder if len(_with_pictures(folder, 2, inside)) > 1 or _only_dataset(folder, inside) else None


def _with_pictures(root: Path, enough: int, names: Sequence[str] | None = None) -> list[str]:
    """The first folders, `enough` of them, that hold pictures; not the quarantine nor, beside others, what we made."""
    names = [name for name in (folder_names(root) if names is None else names) if name not in NEVER]
    theirs = (name for name in names if has_pictures_below(root / name) and not is_made_by_us(root / name))
    return list(islice(theirs, enough)) or [name for name in names if is_made_by_us(root / name)]


def _holds_classes(root: Path) -> bool:
    return bool(folder_names(root))
