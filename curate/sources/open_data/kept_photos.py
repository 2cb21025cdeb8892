"""The photos that were found in the tables, kept in a file of the dataset's, so that no run reads the tables again."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.files.atomic import written_whole
from curate.files.reading import open_file
from curate.sources.open_data.photo_scan import PHOTO, FoundPhotos

FILE = "inaturalist_open_data.npz"
_VERSION = 1

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, MemoryError)

Asked = tuple[str, str]
"""A taxon's name and kingdom, as a query gives them."""


@dataclass(frozen=True)
class MeantTaxon:
    """What a query was taken for: the taxon's key and how people read it; the key is -1 where `said` tells why none."""

    key: int
    said: str
    name: str = ""


@dataclass(frozen=True)
class KeptPhotos:
    """`version` says which tables they are of, `slots` which taxa, by their keys, the photos of a slot are of."""

    version: str
    meant: Mapping[Asked, MeantTaxon]
    slots: Sequence[tuple[int, ...]]
    found: FoundPhotos


def write_photos(file: Path, kept: KeptPhotos) -> None:
    """Write the file whole. Raises OSError."""
    found = kept.found
    about = {
        "form": _VERSION,
        "version": kept.version,
        "meant": [[*asked, one.key, one.said, one.name] for asked, one in kept.meant.items()],
        "slots": kept.slots,
        "extensions": found.extensions,
        "licenses": found.licenses,
        "observers": list(found.observers.items()),
        "seen": list(found.seen.items()),
        "kept": list(found.kept.items()),
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with written_whole(file) as stream:
        np.savez(stream, about=text, photos=found.photos)


def read_photos(file: Path) -> KeptPhotos | None:
    """What the file holds; None where there is none, or none that can be read: then the tables are read again."""
    try:
        if not _is_stored(file):
            return None
        with open_file(file) as stream, np.load(stream, allow_pickle=False) as parts:
            about: dict[str, Any] = json.loads(parts["about"].tobytes())
            photos = parts["photos"]
        if about["form"] != _VERSION or photos.dtype != PHOTO or photos.ndim != 1:
            return None
        found = FoundPhotos(
            photos,
            [str(word) for word in about["extensions"]],
            [str(word) for word in about["licenses"]],
            {int(number): str(name) for number, name in about["observers"]},
            {int(slot): int(count) for slot, count in about["seen"]},
            {int(slot): int(count) for slot, count in about["kept"]},
        )
        meant = {
            (str(name), str(kingdom)): MeantTaxon(int(key), str(said), str(own))
            for name, kingdom, key, said, own in about["meant"]
        }
        slots = [tuple(map(int, slot)) for slot in about["slots"]]
        if not _fits(found, len(slots)):
            return None
        return KeptPhotos(str(about["version"]), meant, slots, found)
    except (*_UNREADABLE, zipfile.BadZipFile):
        return None


def _is_stored(file: Path) -> bool:
    """Whether its parts are as large as the file lets them be: ours are not packed, and unpack to nothing larger."""
    with open_file(file) as stream, zipfile.ZipFile(stream) as parts:
        return sum(part.file_size for part in parts.infolist()) <= file.stat().st_size


def _fits(found: FoundPhotos, slots: int) -> bool:
    """Whether each number of a photo stands for something."""
    photos = found.photos
    return len(photos) == 0 or (
        int(photos["extension"].max()) < len(found.extensions)
        and int(photos["license"].max()) < len(found.licenses)
        and 0 <= int(photos["slot"].min()) <= int(photos["slot"].max()) < slots
    )
