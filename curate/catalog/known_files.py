"""What a catalog knows of files, for a reader that can do without it: no catalog, or a damaged one, knows nothing."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.catalog.files import require_own_files
from curate.catalog.own_facts import place_of
from curate.catalog.pictures import LastRead, Stamp
from curate.catalog.placements import IN_PLACE
from curate.errors import UserError
from curate.layout import UNLABELLED

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class PlacedFolders:
    """The folders elsewhere, relative to the dataset, that a catalog says to hold its splits; and its identity."""

    folders: tuple[str, ...] = ()
    identity: str = ""


@dataclass(frozen=True)
class SplitRecord:
    """What `split` knew of the pictures that it placed in one folder.

    `read` is the path of each of the dataset's pictures, present or not, with its stamp and sha256 when it was last
    read; `placed` the sha256 of each file that was placed, with the paths, relative to that folder.
    """

    read: dict[str, tuple[Stamp, str]]
    placed: dict[str, list[str]]


def split_record(file: Path, out: str) -> SplitRecord:
    """The record of the split in the folder `out`, as the catalog names it, if there is one; it is only read."""
    rows = _read(file, "pictures", "SELECT path, size, mtime_ns, inode, ctime_ns, sha256 FROM pictures")
    placed: dict[str, list[str]] = {}
    for folder, path, sha256 in _read(file, "placements", "SELECT out, path, sha256 FROM placements"):
        if folder == out:
            placed.setdefault(str(sha256), []).append(str(path))
    return SplitRecord({str(path): (Stamp(*stamp), str(sha256)) for path, *stamp, sha256 in rows}, placed)


def left_out(file: Path) -> dict[str, Stamp | None]:
    """Path → stamp of each file that was set aside by a manifest, if there is a catalog; it is only read.

    The stamp is None where the catalog's facts are to be read anew, so that nothing but the path tells the file.
    """
    query = (
        "SELECT pictures.path, size, mtime_ns, inode, ctime_ns FROM pictures JOIN quarantine USING (path, sha256) "
        "WHERE quarantine.state = 'moved' AND pictures.state = 'quarantined'"
    )
    rows = _read(file, "quarantine", query)
    return {str(path): None if stamp[1] == -1 else Stamp(*stamp) for path, *stamp in rows}


def awaits_split(file: Path, out: str) -> bool:
    """Whether the catalog knows intact pictures with a label that lie in no split, and that the split in the folder
    `out`, as the catalog names it, does not have; it is only read.
    """
    query = (
        "SELECT 1 FROM pictures WHERE state = 'present' AND broken = '' AND split = '' AND label != ? "
        "AND sha256 NOT IN (SELECT sha256 FROM placements WHERE out = ?) LIMIT 1"
    )
    return bool(_read(file, "placements", query, UNLABELLED, out))


def was_split(file: Path) -> bool:
    """Whether the catalog knows a split that `split` drew, or took over from a dataset that came with one; it is only
    read.
    """
    return bool(_read(file, "assignments", "SELECT 1 FROM assignments LIMIT 1"))


def known_files(file: Path) -> dict[str, LastRead]:
    """Path → the present file as it was last read, from the catalog if there is one; it is only read.

    A catalog that was written elsewhere knows nothing either: what it says of a file may be untrue.
    """
    if _read(file, "about", "SELECT value FROM about WHERE name = 'place'") != [(place_of(file) or None,)]:
        return {}
    rows = _read(file, "pictures", "SELECT path, size, mtime_ns, sha256 FROM pictures WHERE state = 'present'")
    return {
        path: LastRead(size, mtime_ns, sha256)
        for path, size, mtime_ns, sha256 in rows
        if isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    }


def placed_folders(file: Path) -> PlacedFolders:
    """Where splits of a dataset lie besides itself, from its catalog if there is one; it is only read."""
    folders = [out for (out,) in _read(file, "placements", "SELECT DISTINCT out FROM placements") if out != IN_PLACE]
    if not folders:
        return PlacedFolders()
    identity = _read(file, "about", "SELECT value FROM about WHERE name = 'identity'")
    return PlacedFolders(tuple(map(str, folders)), str(identity[0][0]) if identity else "")


def _read(file: Path, table: str, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not file.is_file():
        return []
    try:
        require_own_files(file)  # a pipe in the log's place would be waited for
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone():
                return []  # a view of that name may run without end
            return db.execute(query, values).fetchall()
    except (sqlite3.Error, OSError, UserError):  # damaged, or of another version: the files tell the same, only slower
        return []
