"""Unpacked archives, laid out as a dataset: class folders below train/, valid/ and test/, or below raw/."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import UserError
from curate.file_names import FreeNames, numbered
from curate.files.moving import Outcome, move
from curate.files.reading import open_file
from curate.web.fetch import SNIFFED, sniff

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_PICTURES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
        *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".psd", ".qoi", ".sgi", ".rgb"),
        *(".pcx", ".dds", ".icns"),
    }
)
"""Suffixes of what `curate.image` decodes. A file with another one is a picture if its first bytes say so."""
_KEPT = re.compile(r"(licen[cs]e|readme|credits|cat_to_name)", re.IGNORECASE)
_OXFORD_NAME = re.compile(r"image_(\d{5})\.jpg")
_SETS = {"train": "trnid", "valid": "valid", "test": "tstid"}


class UnknownLayout(UserError):
    """An archive that was unpacked, and is no dataset that can be laid out."""


@dataclass
class Laid:
    """What was laid out: `pictures` in number; `renamed`, as "old → new" below the archive's and the new root, those
    that got another name because theirs was taken or too long; `dropped`, the files that are no pictures.
    """

    pictures: int = 0
    renamed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def lay_out_folders(unpacked: Path, out: Path) -> Laid:
    """Move the class folders of an archive to where they belong.

    Folders named train, valid (val, validation) and test keep their meaning; class folders without such go below
    raw/. Licences and names files that lie beside them come along. No picture takes the place of another one, also
    where the disk does not tell capitals apart. Raises UnknownLayout where there are no class folders.
    """
    root = _root(unpacked)
    splits = {folder: _SPLITS[folder.name.lower()] for folder in _folders(root) if folder.name.lower() in _SPLITS}
    pairs = [(split, folder) for folder, split in splits.items()] or [("raw", root)]
    laid = Laid()
    names: defaultdict[str, FreeNames] = defaultdict(FreeNames)
    for top, folder in pairs:
        for class_folder in _folders(folder):
            target = f"{top}/{class_folder.name}"
            for file in _files(class_folder):
                if _is_picture(file) and not _is_hidden(file.relative_to(class_folder)):
                    _lay(file, class_folder, root, out, target, names[target], laid)
                else:
                    laid.dropped.append(file.relative_to(root).as_posix())
        laid.dropped += [path.relative_to(root).as_posix() for path in sorted(folder.iterdir()) if _is_left(path, root)]
    if not laid.pictures:
        raise UnknownLayout("The archive holds no class folders with pictures: unpack it by hand and look.")
    for path in sorted(root.iterdir()):
        if path.is_file() and _KEPT.search(path.name):
            _keep(path, out, laid)
    return laid


def lay_out_oxford(unpacked: Path, labels_file: Path, sets_file: Path, out: Path) -> Laid:
    """Move Oxford-102's pictures to `<split>/<label>/` as its own .mat files say.

    `imagelabels.mat` holds the label of picture 1, 2, …; `setid.mat` the picture numbers of each split. Raises
    UserError where they do not fit the pictures.
    """
    labels = _numbers(labels_file, "labels")
    pictures = {int(found[1]): path for path in unpacked.rglob("*.jpg") if (found := _OXFORD_NAME.fullmatch(path.name))}
    laid = Laid()
    for split, key in _SETS.items():
        for number in _numbers(sets_file, key):
            if number not in pictures or not 0 < number <= len(labels):
                raise UserError(
                    f"{sets_file.name} names picture {number}, which the archive or {labels_file.name} lacks."
                )
            _settle(pictures[number], out, f"{split}/{labels[number - 1]}/{pictures[number].name}", FreeNames(), laid)
    return laid


def _lay(file: Path, class_folder: Path, root: Path, out: Path, target: str, names: FreeNames, laid: Laid) -> None:
    """Move one picture into its class folder, under a name that is its own."""
    wanted = "-".join(file.relative_to(class_folder).parts)
    old = file.relative_to(root).as_posix()
    name = names.take(wanted, hashlib.sha256(old.encode()).hexdigest())
    place = _settle(file, out, f"{target}/{name}", names, laid)
    if place.rpartition("/")[2] != wanted:
        laid.renamed.append(f"{old} → {place}")


def _settle(file: Path, out: Path, place: str, names: FreeNames, laid: Laid) -> str:
    """Move a file to its place or, where somebody has put another file there, beside it; where it lies then."""
    folder, _, name = place.rpartition("/")
    while move(file, out / place) is Outcome.OCCUPIED:
        place = f"{folder}/{names.take(name, hashlib.sha256(place.encode()).hexdigest())}"
    laid.pictures += 1
    return place


def _keep(file: Path, out: Path, laid: Laid) -> None:
    """Move a licence or the like to the root or, where another file of its name lies there, beside that."""
    number = 1
    while move(file, out / numbered(file.name, number)) is Outcome.OCCUPIED:
        number += 1
    if number > 1:
        laid.renamed.append(f"{file.name} → {numbered(file.name, number)}")


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
    return any(path.is_file() and _is_picture(path) for path in folder.iterdir())


def _is_picture(file: Path) -> bool:
    if file.suffix.lower() in _PICTURES:
        return True
    with open_file(file) as opened:
        return sniff(opened.read(SNIFFED)) is not None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_left(path: Path, root: Path) -> bool:
    """Whether a file beside the class folders stays behind; at the root that is only told of pictures."""
    return path.is_file() and (path.parent != root or (_is_picture(path) and not _KEPT.search(path.name)))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())
