"""The files beside the pictures that are ours, by their digests: those that we may replace."""

import os
from collections.abc import Sequence
from pathlib import Path

from curate.catalog.database import Database

_TABLE = """
CREATE TABLE IF NOT EXISTS written (    -- files beside the pictures that are ours, and so may be replaced
    path   TEXT NOT NULL,               -- relative to the catalog
    sha256 TEXT NOT NULL,
    PRIMARY KEY (path, sha256)
) STRICT, WITHOUT ROWID
"""


def written_digests(catalog: Database, file: Path) -> set[str]:
    """The sha256 of a file beside the pictures as we last wrote it, and as we were about to when stopped."""
    if not catalog.has_table("written"):
        return set()
    rows = catalog.db.execute("SELECT sha256 FROM written WHERE path = ?", (_beside(catalog, file),))
    return {sha256 for (sha256,) in rows}


def note_intended(catalog: Database, file: Path, sha256: str) -> None:
    """Put on record that we are about to write a file of this digest, in the place of an earlier one of ours."""
    with catalog.transaction() as db:
        db.execute(_TABLE)
        db.execute("INSERT OR IGNORE INTO written VALUES (?, ?)", (_beside(catalog, file), sha256))


def note_written(catalog: Database, file: Path, sha256: str) -> None:
    """Put on record that the file of this digest has been written."""
    with catalog.transaction() as db:
        db.execute("DELETE FROM written WHERE path = ? AND sha256 != ?", (_beside(catalog, file), sha256))


def written_files(catalog: Database) -> list[tuple[str, str]]:
    """(path relative to the catalog, sha256) of all files that are ours."""
    rows = catalog.db.execute("SELECT path, sha256 FROM written").fetchall() if catalog.has_table("written") else []
    return [(path, sha256) for path, sha256 in rows if isinstance(path, str) and isinstance(sha256, str)]


def copy_written(catalog: Database, rows: Sequence[tuple[str, str]]) -> None:
    """Put on record that the files are ours which another catalog in the same folder has as ours."""
    if rows:
        with catalog.transaction() as db:
            db.execute(_TABLE)
            db.executemany("INSERT OR IGNORE INTO written VALUES (?, ?)", rows)


def _beside(catalog: Database, file: Path) -> str:
    """A file's path relative to the catalog, so that the two may be moved together."""
    return Path(os.path.relpath(file.resolve(), catalog.path.resolve().parent)).as_posix()
