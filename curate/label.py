"""Pictures whose labels no class folder says, laid out by label in a folder beside them; they stay where they are."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curate.companions import is_hidden, is_picture
from curate.dataset import UNLABELLED
from curate.errors import UserError
from curate.file_names import marked, shortened
from curate.files.atomic import temporary_name
from curate.files.inside import inside, is_text
from curate.files.lock import LOCK, locked
from curate.files.ours import is_made_by_us
from curate.folders import is_hidden_folder, natural_key
from curate.labelling.arrangement import Arrangement, labelled_folder, read_arrangement, write_arrangement
from curate.labelling.label_sources import NAME, PARENT, label_pictures
from curate.progress import Progress, silent
from curate.split_names import splits_of_siblings
from curate.undecodable import undecodable_in

_RAW: Final = "raw"
_NOT_ENTERED = {"quarantine"}


@dataclass(frozen=True)
class Labelled:
    """What was laid out in `out`: pictures in each class, pictures of a split without a label, and pictures that were
    left out, because nothing says what they show; `placed` of them are new there. `notes` say how labels were read.
    """

    out: Path
    counts: dict[str, int]
    unlabelled: int
    left_out: list[str]
    placed: int
    notes: list[str]


def label(root: Path, label_from: str, *, wait: float | None = 0.0, progress: Progress = silent) -> Labelled:
    """Lay out a dataset's pictures by label in the folder `<name>_labelled` beside it, as hard links or copies.

    `label_from` is "name", "parent" or a table, as `curate.labelling.label_sources` reads them. The folders of splits
    keep their meaning where they have labels; otherwise the labelled pictures go below `raw/`. A split's pictures
    without a label lie in its folder itself. What was once placed is not placed again: `clean` may have set it aside.
    Raises `UserError` for what the user can put right.
    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root}: give the folder that holds your pictures.")
    out = labelled_folder(root)
    record = read_arrangement(out)
    source = os.path.relpath(root.resolve(), out)
    if record is None and out.exists() and any(path.name != LOCK for path in out.iterdir()):
        raise UserError(f"{out} is needed for the pictures by their labels, and holds other files: move it away.")
    if record is not None and (record.source, record.label_from) != (source, label_from):
        raise UserError(
            f"{out} holds the pictures of {record.source} by --label-from {record.label_from}: give the same, or "
            "move that folder away."
        )
    paths = sorted(_pictures_below(root), key=natural_key)
    if not paths:
        raise UserError(f"{root} holds no picture: give the folder that holds your pictures.")
    depth, by_folder = _split_folders(paths)
    splits = [by_folder.get(path.split("/")[depth]) if path.count("/") > depth else None for path in paths]
    said = label_pictures(label_from, root, paths, splits)
    labels = said.labels
    if label_from in (NAME, PARENT):
        labels = _known_to_train(labels, splits)
    else:
        labels = _with_class_folders(labels, paths, depth, by_folder)
        splits = [by_table or split for by_table, split in zip(said.splits, splits, strict=True)]
    wanted = dict(_places(paths, labels, splits))
    if len({place.split("/")[1] for place in wanted.values() if place.count("/") > 1}) < 2:
        raise UserError(f"--label-from {label_from} gives the pictures of {root} fewer than two labels: give another.")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, f"label {root}", wait=wait, progress=progress):
        placed = dict(record.placed) if record else {}
        new = {path: place for path, place in wanted.items() if path not in placed}
        write_arrangement(out, Arrangement(source, label_from, placed))  # first, so that a kill leaves the folder ours
        with progress("Laying out by label", len(new)) as advance:
            for path, place in new.items():
                put_in_place(root / path, inside(out, place))
                advance(1)
        write_arrangement(out, Arrangement(source, label_from, placed | new))
    odd = str(undecodable_in(root, _NOT_ENTERED))
    notes = [*said.notes, f"Passed over: {odd} (names that are not UTF-8: rename them)."] if odd else said.notes
    counts: dict[str, int] = {}
    for place in wanted.values():
        if place.count("/") > 1:
            counts[place.split("/")[1]] = counts.get(place.split("/")[1], 0) + 1
    return Labelled(
        out,
        dict(sorted(counts.items(), key=lambda found: natural_key(found[0]))),
        sum(place.count("/") == 1 for place in wanted.values()),
        [path for path in paths if path not in wanted],
        len(new),
        notes,
    )


def _pictures_below(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        below = Path(folder)
        folders[:] = sorted(
            name for name in folders
            if not is_hidden_folder(name) and is_text(name) and name not in _NOT_ENTERED
            and not is_made_by_us(below / name)
        )  # fmt: skip
        for name in files:
            if not (is_hidden(name) or is_hidden_folder(name)) and is_text(name) and is_picture(below / name):
                yield (below / name).relative_to(root).as_posix()


def _known_to_train(labels: Sequence[str], splits: Sequence[str | None]) -> list[str]:
    """The labels, without those of a split that has others than train: a test set's names seldom say the class."""
    trained = {said for said, split in zip(labels, splits, strict=True) if split == "train"}
    if not trained:
        return list(labels)
    bare = {split for said, split in zip(labels, splits, strict=True) if said not in trained}
    return [UNLABELLED if split in bare else said for said, split in zip(labels, splits, strict=True)]


def _split_folders(paths: Sequence[str]) -> tuple[int, dict[str, str]]:
    """(in how many folders all pictures lie, folder in these → the split that its name says)."""
    parts = [path.split("/") for path in paths]
    depth = 0
    while True:
        names = {names[depth] for names in parts if len(names) > depth + 1}
        splits = splits_of_siblings(sorted(names))
        if splits or len(names) != 1 or any(len(names) <= depth + 1 for names in parts):
            return depth, splits
        depth += 1


def _with_class_folders(labels: Sequence[str], paths: Sequence[str], depth: int, splits: dict[str, str]) -> list[str]:
    """Where a table says nothing of a picture in a split's class folder, that folder says it."""
    parted = [path.split("/")[depth:] for path in paths]
    tops = {parts[0] for parts, said in zip(parted, labels, strict=True) if said}
    found = []
    for parts, said in zip(parted, labels, strict=True):
        by_folder = len(parts) > 2 and parts[0] in splits and parts[0] not in tops
        found.append(said or (parts[1] if by_folder else UNLABELLED))
    return found


def _places(paths: Sequence[str], labels: Sequence[str], splits: Sequence[str | None]) -> Iterator[tuple[str, str]]:
    """(picture, its place): `<split>/<label>/<name>`, `raw/<label>/<name>`, or `<split>/<name>` without a label."""
    labelled = {split for split, said in zip(splits, labels, strict=True) if said}
    kept = bool(labelled & {"valid", "test"})
    taken = set[str]()
    for path, said, split in zip(paths, labels, splits, strict=True):
        name = path.rpartition("/")[2]
        if said:
            place = f"{split if kept and split else _RAW}/{shortened(said)}/{name}"
        elif split in ("valid", "test") and split not in labelled:
            place = f"{split}/{name}"
        else:
            continue
        if place in taken:
            mark = hashlib.sha256(path.encode()).hexdigest()[:8]
            place = f"{place.rpartition('/')[0]}/{marked(name, mark)}"
        taken.add(place)
        yield path, place


def put_in_place(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where there can be none; what a killed run has put there stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        return
    try:
        target.hardlink_to(source.resolve())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EEXIST):
            raise
        partial = temporary_name(target)
        shutil.copy2(source, partial)
        partial.replace(target)
