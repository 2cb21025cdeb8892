"""What a layout is taken for, what of it is passed over, and what else the folders might mean, told in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.files.ours import is_made_by_us
from curate.folders import (
    folder_names,
    has_pictures_below,
    has_pictures_in,
    is_hidden_folder,
    natural_key,
    pictures_in,
)
from curate.layout import NEVER, SPLITS, Layout, TopFolder, class_names_in
from curate.split_names import share_classes, splits_of_siblings
from curate.undecodable import undecodable_in

_MOST_NAMED = 5
_MOST_COMPARED = 20


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


def reading_of(given: Path, layout: Layout) -> LayoutReading:
    """What is worth telling of a layout: nothing, where each folder is called as it is taken and nothing is left."""
    reading = LayoutReading()
    if layout.root != given:
        reading.taken.append((f"{layout.root.relative_to(given).as_posix()}/", "the dataset"))
    strange = [top for top in layout.tops if top.path != (top.split or "raw") or not top.labelled]
    if any(top.label for top in layout.tops):
        reading.taken.extend(_taken_by_class(layout.tops))
    elif strange:
        reading.taken.extend((f"{top.path}/", _meaning(top)) for top in layout.tops)
    elif layout.root != given and layout.tops:
        reading.taken.extend((f"{top.path}/", top.split or "raw") for top in layout.tops if top.split)
    if undecodable := str(undecodable_in(given, NEVER)):
        reading.passed_over.append((undecodable, "names that are not UTF-8: rename them"))
    reading.passed_over.extend(_passed_over(layout))
    doubts = _doubts(layout.root) if layout.kind == "flat" else _doubts_of_splits(layout)
    return replace(reading, doubt="; ".join(doubts))


def _taken_by_class(tops: Sequence[TopFolder]) -> Iterator[tuple[str, str]]:
    """Each split's folders of one class, and what they are taken for."""
    for split in SPLITS:
        of_split = [top for top in tops if top.split == split]
        if of_split:
            folders = _listed([f"{top.path}/" for top in of_split])
            yield folders, f"{split} of {_listed([top.label for top in of_split])}"


def _listed(names: Sequence[str]) -> str:
    """The first of some names in a sentence, and how many more there are."""
    more = [f"{len(names) - _MOST_NAMED:,} more"] if len(names) > _MOST_NAMED else []
    *first, last = [*names[:_MOST_NAMED], *more]
    return f"{', '.join(first)} and {last}" if first else last


def _doubts(root: Path) -> Iterator[str]:
    """What else the class folders of a flat dataset may be."""
    names = folder_names(root)[:_MOST_COMPARED]
    by_name = splits_of_siblings(names)
    if "train" in by_name.values() and len(set(by_name.values())) > 1:
        yield (
            f"{_listed(list(by_name))} are classes, though their names are those of splits: if each holds pictures of "
            "several classes, put these into class folders, or say where the labels stand, with --label-from"
        )
    for name in names:
        below = splits_of_siblings(folder_names(root / name))
        if "train" in below.values() and len(set(below.values())) > 1:
            yield (
                f"{name}/ is one class, with the pictures of {_listed([f'{inner}/' for inner in below])} in it "
                "together: to keep them apart, have all class folders hold such folders, and no other pictures"
            )
            break
    yield from _same_folders(root, names)
    yield from _same_but_for_case(folder_names(root))


def _same_but_for_case(names: Sequence[str]) -> Iterator[str]:
    """Classes that may be one; single letters, as of handwriting, are meant."""
    spelt: dict[str, str] = {}
    for name in names:
        other = spelt.setdefault(name.casefold(), name)
        if other != name and len(name) > 1:
            yield f"{other}/ and {name}/ are two classes: if they are one, give them the same name"
            return


def _doubts_of_splits(layout: Layout) -> Iterator[str]:
    """What else the folders of splits may be, and what of no split may be one."""
    first = next((top for top in layout.tops if top.label and "/" in top.path), None)
    if first and len(class_names_in(layout.root / first.path)) > 1:
        classes = sorted({top.label for top in layout.tops}, key=natural_key)
        yield (
            f"the classes are {_listed(classes)}, and their splits hold folders of their own: if those are the "
            f"classes, give one of them, such as {layout.root / first.label}"
        )
    yield from _unused_class_folders(layout)


def _unused_class_folders(layout: Layout) -> Iterator[str]:
    """Folders that are passed over and hold the classes of train: somebody may have held them out."""
    there = {top.split for top in layout.tops}
    trained = _trained_classes(layout)
    for name in folder_names(layout.root) if trained and "test" not in there else ():
        if _is_unused(layout, name) and share_classes(trained, class_names_in(layout.root / name)):
            yield (
                f"{name}/ holds class folders of the same names as train: if its pictures are held out, rename it to "
                "test before `split` carves another test out of train"
            )


def _trained_classes(layout: Layout) -> frozenset[str]:
    tops = (top for top in layout.tops if top.split == "train" and top.labelled)
    return frozenset(
        label for top in tops for label in ([top.label] if top.label else folder_names(layout.root / top.path))
    )


def _same_folders(root: Path, names: Sequence[str]) -> Iterator[str]:
    """Whether the folders of a flat dataset hold folders of the same names, which may be the classes."""
    if len(names) < 2 or has_pictures_in(root / names[0]):
        return
    below = [frozenset(folder_names(root / name)) for name in names]
    if len(below[0]) < 2 or set(below) != {below[0]} or any(has_pictures_in(root / name) for name in names):
        return
    yield (
        f"the classes are {', '.join(names[:_MOST_NAMED])}, and each holds the same folders: if those are the classes, "
        f"give one of them, such as {root / names[0]}"
    )


def _meaning(top: TopFolder) -> str:
    if not top.labelled:
        return f"{top.split} without labels"
    return top.split or "raw"


def _is_unused(layout: Layout, name: str) -> bool:
    """Whether a folder at the root of a layout holds pictures and is no part of it."""
    tops = {top.path.split("/")[0] for top in layout.tops}
    folder = layout.root / name
    return name not in tops and name not in NEVER and not is_made_by_us(folder) and has_pictures_below(folder)


def _passed_over(layout: Layout) -> Iterator[tuple[str, str]]:
    """What holds pictures at the root of a layout, or beside the class folders, and is none of them."""
    if layout.kind != "flat":
        for name in folder_names(layout.root):
            if _is_unused(layout, name):
                bare = has_pictures_in(layout.root / name)
                yield f"{name}/", "pictures without labels" if bare else "no split by its name"
    paths = {top.path for top in layout.tops}
    for parent in dict.fromkeys(top.path.split("/")[0] for top in layout.tops if top.label and "/" in top.path):
        for inner in folder_names(layout.root / parent):
            if f"{parent}/{inner}" not in paths and has_pictures_below(layout.root / parent / inner):
                yield f"{parent}/{inner}/", "no split by its name"
    stray = [layout.root] + [layout.root / top.path for top in layout.tops if top.labelled and not top.label]
    for folder in stray:
        if count := sum(1 for name in pictures_in(folder) if not is_hidden_folder(name)):
            where = "the root" if folder == layout.root else f"{folder.relative_to(layout.root).as_posix()}/"
            yield f"{count:,} {'picture' if count == 1 else 'pictures'} in {where}", "in no class folder"
