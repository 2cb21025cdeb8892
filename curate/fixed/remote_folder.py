"""A folder beyond the disk as a dataset: its class folders are listed, and its pictures are read where they are."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from curate.dataset import refuse_twins
from curate.decoding.formats import is_named_as_picture
from curate.errors import UserError
from curate.files.remote import RemoteEntry, RemoteStat, list_below, remote_stat
from curate.fixed.fixed_dataset import FixedDataset, FixedPicture, home_of_address, stat_of
from curate.folders import is_hidden_folder
from curate.forked import done_apart
from curate.layout import LayoutKind
from curate.names import oxford_names
from curate.parallel import ordered_map
from curate.split_names import splits_by_own_name

_ASKED_AT_ONCE = 16  # files of which a listing does not say what tells them apart


def open_remote_folder(root: Path) -> FixedDataset:
    """The dataset in a folder beyond the disk: `<class>/`, `raw/<class>/`, or `train/<class>/` and so on.

    Pictures are told by their names alone. Raises `UserError` where nothing is there, or nobody answers.
    """
    try:
        entries = done_apart(_listed, root)
    except OSError as error:
        raise UserError(f"{root} cannot be listed ({error.strerror or error}): look at the address.") from error
    pictures = [entry for entry in entries if _is_picture(entry.path)]
    kind, found = _in_classes(pictures)
    if not found:
        raise UserError(
            f"{root} holds no class folders: put each class's pictures into a folder of their own, {root}/<class>/."
        )
    names = oxford_names((picture.label, picture.name) for picture in found)
    dataset = FixedDataset(root, kind, home_of_address(root), found, strangers=len(entries) - len(found), names=names)
    refuse_twins(dataset.class_folders())
    return dataset


def _listed(root: Path) -> list[RemoteEntry]:
    """Every file below an address, with what tells it from another, where the server says that at all."""
    entries = list_below(root)
    vague = [entry for entry in entries if entry.stat.size is None and _is_picture(entry.path)]
    if not vague:
        return entries
    told = ordered_map(lambda entry: remote_stat(root / entry.path), vague, workers=_ASKED_AT_ONCE)
    asked = {entry.path: stat for entry, stat in zip(vague, told, strict=True) if stat is not None}
    return [RemoteEntry(entry.path, asked.get(entry.path, entry.stat)) for entry in entries]


def _is_picture(path: str) -> bool:
    *folders, name = path.split("/")
    hidden = name.startswith(".") or any(is_hidden_folder(folder) for folder in folders)
    return is_named_as_picture(name) and not hidden


def _in_classes(entries: Sequence[RemoteEntry]) -> tuple[LayoutKind, list[FixedPicture]]:
    """The layout that the folders' names tell, and the pictures that lie in a class folder."""
    deep = sorted({parts[0] for entry in entries if len(parts := entry.path.split("/")) > 2})
    splits: dict[str, str | None] = {**splits_by_own_name(deep)}
    splits |= {name: None for name in deep if name.lower() == "raw"}
    depth = 2 if splits else 1
    found = []
    for path, stat in entries:
        parts = path.split("/")
        if len(parts) <= depth or (splits and parts[0] not in splits):
            continue
        split = splits[parts[0]] if splits else None
        folder, name = "/".join(parts[:depth]), "/".join(parts[depth:])
        found.append(FixedPicture(path, folder, parts[depth - 1], split, name, _stat(path, stat)))
    kind: LayoutKind = "flat" if not splits else "split" if any(splits.values()) else "raw"
    return kind, found


def _stat(path: str, stat: RemoteStat) -> os.stat_result:
    """What `stat` would say; where the server tells nothing to know a file by, another thing at each listing."""
    known = stat.number or (stat.mtime_ns and int.from_bytes(hashlib.sha256(path.encode()).digest()[:7], "big"))
    return stat_of(stat.size or 0, stat.mtime_ns, known or time.time_ns(), stat.mtime_ns)
