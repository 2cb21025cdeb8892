"""The pictures of one split with their labels, and what the catalog already knows of their content."""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from curate.dataset import Dataset
from curate.errors import UserError
from curate.program import COMMAND
from curate.splitting.unfinished import steady_split

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class LabelledPicture:
    """A file to learn from or to be measured on. `sha256` is None where nobody has read the file yet."""

    path: Path
    label: str
    sha256: str | None = None


def labelled_pictures(dataset: Dataset, split: str) -> list[LabelledPicture]:
    """Every file of a split, class by class.

    Raises UserError where the dataset has no such split, or one that a killed `split` left half-placed.
    """
    known = _known_hashes(dataset)
    found = []
    with steady_split(dataset):
        for folder in dataset.class_folders():
            for path, stat in dataset.files_in(folder) if folder.split == split else ():
                seen = known.get(path) if stat else None
                fresh = seen is not None and stat is not None and seen[:2] == (stat.st_size, stat.st_mtime_ns)
                found.append(LabelledPicture(dataset.root / path, folder.label, seen[2] if seen and fresh else None))
    if not found:
        raise UserError(
            f"{dataset.root} has no {split} pictures: run `{COMMAND} split {dataset.root}`, which divides the "
            f"pictures in raw/ among train/, valid/ and test/, or choose another split."
        )
    return found


def class_folder_labels(dataset: Dataset, split: str) -> list[str]:
    """Labels that have a folder in a split, with or without pictures, in natural order."""
    there = {folder.label for folder in dataset.class_folders() if folder.split == split}
    return [label for label in dataset.labels() if label in there]


def fingerprint(pictures: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 of the sorted (label, split, sha256) of a dataset: the same wherever it lies and however it is listed."""
    lines = sorted("\t".join(picture) for picture in pictures)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def require_known(labels: Iterable[str], known: Sequence[str], *, where: str, owner: str) -> None:
    """Raise UserError for labels in `where` that `owner` does not have."""
    strangers = sorted(set(labels) - set(known))
    if strangers:
        listed = ", ".join(repr(label) for label in strangers[:5]) + (", …" if len(strangers) > 5 else "")
        raise UserError(
            f"{where} has {len(strangers)} class{'es' if len(strangers) > 1 else ''} that {owner} lacks ({listed}): "
            f"give both the same class folders."
        )


def _known_hashes(dataset: Dataset) -> dict[str, tuple[int, int, str]]:
    """(size, mtime_ns, sha256) by path, from the catalog if there is one; it is only read, and never needed."""
    file = dataset.catalog_path
    if not file.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'pictures'").fetchone():
                return {}  # a view of that name may run for ever
            rows = db.execute("SELECT path, size, mtime_ns, sha256 FROM pictures WHERE state = 'present'")
            return {
                path: (size, mtime_ns, sha256)
                for path, size, mtime_ns, sha256 in rows
                if isinstance(sha256, str) and _SHA256.fullmatch(sha256)
            }
    except (sqlite3.Error, OSError):  # damaged or of another version: the files themselves tell the same, only slower
        return {}
