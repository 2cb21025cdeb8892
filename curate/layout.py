"""How a dataset's folders are laid out, told by their names and by what lies in them.

People call the splits by many names, wrap a dataset into a folder or two, and leave a test set unlabelled. What is
taken for what, and what is passed over, is told in words.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from curate.errors import UserError
from curate.files.ours import CATALOG, is_made_by_us
from curate.folders import (
    folder_names,
    has_pictures_below,
    has_pictures_in,
    is_hidden_folder,
    pictures_in,
    subfolders,
)
from curate.shell import command_line

SPLITS: Final = ("train", "valid", "test")

UNLABELLED: Final = ""
"""The label of a picture that lies in a split's folder itself, with no class folder: nobody has said what it shows."""

LayoutKind = Literal["flat", "raw", "split"]

_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions"), "pred"),
}
_PLAIN = re.compile(rf"({'|'.join(_WORDS)})", re.IGNORECASE)
_DRESSED = re.compile(
    rf"(?:seg[ _-]?)?({'|'.join(_WORDS)})"
    r"(?:[ _-]?(?:set|data|dataset|split|images?|imgs?|pictures|photos))?(?:[ _-]?\d+)?",
    re.IGNORECASE,
)
_WRAPPERS = {"images", "image", "imgs", "img", "pictures", "photos", "unknown", "unlabelled", "unlabeled", "all"}
"""What a folder is called that holds a split's pictures when these have no labels."""

_NEVER = {"quarantine"}
_DEEPEST = 8
_MOST_NAMED = 5
_MOST_COMPARED = 20


@dataclass(frozen=True)
class TopFolder:
    """A folder that holds class folders or, where it is not `labelled`, pictures of a split; `path` is relative to the
    dataset's root, and has two parts where the folder holds nothing but another one.
    """

    path: str
    split: str | None
    labelled: bool = True


@dataclass(frozen=True)
class Layout:
    """Where the dataset in a folder begins, which layout it has, and what holds its class folders (none, where the
    root itself does).
    """

    root: Path
    kind: LayoutKind
    tops: tuple[TopFolder, ...] = ()


@dataclass(frozen=True)
class LayoutReading:
    """What was taken for what, as (folder, what for), and what was passed over, as (folder, why); and what else the
    folders might mean.
    """

    taken: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    doubt: str = ""

    def __str__(self) -> str:
        taken = ", ".join(f"{folder} as {meaning}" for folder, meaning in self.taken)
        passed = ", ".join(f"{folder} ({why})" for folder, why in self.passed_over[:_MOST_NAMED])
        more = len(self.passed_over) - _MOST_NAMED
        passed += f" and {more:,} more" if more > 0 else ""
        return "; ".join(filter(None, (taken and f"Taken: {taken}", passed and f"passed over: {passed}", self.doubt)))


def split_named(name: str) -> str | None:
    """The split that a folder's name says, in any case and dress: `seg_train`, `Testing`, `val2017`; None for none."""
    found = _DRESSED.fullmatch(name)
    split = _WORDS[found[1].lower()] if found else None
    return None if split == "pred" else split


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


def reading_of(given: Path, layout: Layout) -> LayoutReading:
    """What is worth telling of a layout: nothing, where each folder is called as it is taken and nothing is left."""
    reading = LayoutReading()
    if layout.root != given:
        reading.taken.append((f"{layout.root.relative_to(given).as_posix()}/", "the dataset"))
    strange = [top for top in layout.tops if top.path != (top.split or "raw") or not top.labelled]
    if strange:
        reading.taken.extend((f"{top.path}/", _meaning(top)) for top in layout.tops)
    elif layout.root != given and layout.tops:
        reading.taken.extend((f"{top.path}/", top.split or "raw") for top in layout.tops if top.split)
    reading.passed_over.extend(_passed_over(layout))
    return replace(reading, doubt=_doubt(layout.root) if layout.kind == "flat" else "")


def _doubt(root: Path) -> str:
    """Whether the folders of a flat dataset hold folders of the same names, which may be the classes; "" for no."""
    names = folder_names(root)[:_MOST_COMPARED]
    if len(names) < 2 or has_pictures_in(root / names[0]):
        return ""
    below = [frozenset(folder_names(root / name)) for name in names]
    if len(below[0]) < 2 or set(below) != {below[0]} or any(has_pictures_in(root / name) for name in names):
        return ""
    return (
        f"the classes are {', '.join(names[:_MOST_NAMED])}, and each holds the same folders: if those are the classes, "
        f"give one of them, such as {root / names[0]}"
    )


def _meaning(top: TopFolder) -> str:
    if not top.labelled:
        return f"{top.split} without labels"
    return top.split or "raw"


def _tops(root: Path, names: Sequence[str]) -> list[TopFolder]:
    """The folders that hold class folders where the root does not, `raw` first; [] where the root does."""
    candidates = _named_splits(names)
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
        return []
    labels = {label for top in found if top.split == "train" for label in folder_names(root / top.path)}
    tops = [_without_labels(root, top, labels) if top.split != "train" else top for top in found]
    tops += [top for name, split in bare for top in _unlabelled_top(root, name, split)]
    if not any(top.labelled for top in tops):
        return []
    return sorted(tops, key=lambda top: ((None, *SPLITS).index(top.split), names.index(top.path.split("/")[0])))


def _named_splits(names: Sequence[str]) -> dict[str, str]:
    """Folder → the split that its name says.

    A name in a dress ("test1", "dev_set") is believed beside a folder of training pictures, or where no other folder
    is there: it may be a class.
    """
    dressed = {name: found[1].lower() for name in names if (found := _DRESSED.fullmatch(name))}
    whole = any(_WORDS[word] == "train" for word in dressed.values()) or len(dressed) == len(names)
    words = {name: word for name, word in dressed.items() if whole or _PLAIN.fullmatch(name)}
    splits = {name: _WORDS[word] for name, word in words.items()}
    plain_valid = any(word in ("val", "valid", "validation", "dev") for word in words.values())
    if plain_valid and "test" not in splits.values():  # as in Food-11: training, validation, evaluation
        splits |= {name: "test" for name, word in words.items() if word in ("eval", "evaluation")}
    return {name: split for name, split in splits.items() if split != "pred"}


def _is_class_called_raw(root: Path, name: str, names: Sequence[str]) -> bool:
    """Whether `raw` is a class beside others: pictures lie in it itself, as they do in the others."""
    others = (root / other for other in names if other != name and other not in _NEVER and split_named(other) is None)
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
    bare = [name for name in _named_splits(names) if has_pictures_in(root / name)]
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
    if _tops(folder, inside) or _named_splits(inside):
        return folder
    return folder if len(_with_pictures(folder, 2, inside)) > 1 or _only_dataset(folder, inside) else None


def _with_pictures(root: Path, enough: int, names: Sequence[str] | None = None) -> list[str]:
    """The first folders, `enough` of them, that hold pictures; not the quarantine nor, beside others, what we made."""
    names = [name for name in (folder_names(root) if names is None else names) if name not in _NEVER]
    theirs = (name for name in names if has_pictures_below(root / name) and not is_made_by_us(root / name))
    return list(islice(theirs, enough)) or [name for name in names if is_made_by_us(root / name)]


def _holds_classes(root: Path) -> bool:
    return bool(folder_names(root))


def _passed_over(layout: Layout) -> Iterator[tuple[str, str]]:
    """What holds pictures at the root of a layout, or beside the class folders, and is none of them."""
    tops = {top.path.split("/")[0] for top in layout.tops}
    if layout.kind != "flat":
        for name in folder_names(layout.root):
            folder = layout.root / name
            if name in tops or name in _NEVER or is_made_by_us(folder) or not has_pictures_below(folder):
                continue
            yield f"{name}/", "pictures without labels" if has_pictures_in(folder) else "no split by its name"
    stray = [layout.root] + [layout.root / top.path for top in layout.tops if top.labelled]
    for folder in stray:
        if count := sum(1 for name in pictures_in(folder) if not is_hidden_folder(name)):
            where = "the root" if folder == layout.root else f"{folder.relative_to(layout.root).as_posix()}/"
            yield f"{count:,} {'picture' if count == 1 else 'pictures'} in {where}", "in no class folder"
