"""The tables that every catalog has: made in an empty file, brought up to date, and checked in one from elsewhere."""

import sqlite3
from pathlib import Path
from typing import Final

from curate.catalog.check import LATER_COLUMNS, require_our_schema, require_our_values
from curate.catalog.files import damaged
from curate.catalog.sqlite_wal import enable_wal
from curate.errors import UserError
from curate.quality import CHECKS

SCHEMA_VERSION: Final = 1

SCORE_COLUMNS: Final = [check.column for check in CHECKS]
"""The columns of `pictures` that hold its scores, in the order of the checks."""

_APPLICATION_ID = 0x464C4F52
"""Marks the file as ours ("FLOR"), so that nobody else's database is ever written to."""

_SCHEMA = """
CREATE TABLE pictures (
    path      TEXT PRIMARY KEY,     -- posix, relative to the dataset's root
    folder    TEXT NOT NULL,        -- the class folder it lies in: "train/21"
    label     TEXT NOT NULL,
    split     TEXT NOT NULL,        -- "" for a picture in no split
    size      INTEGER NOT NULL,     -- bytes; with mtime_ns, how a change is noticed
    mtime_ns  INTEGER NOT NULL,
    inode     INTEGER NOT NULL DEFAULT 0, -- with ctime_ns, how another file of the same size and time is noticed
    ctime_ns  INTEGER NOT NULL DEFAULT 0,
    sha256    TEXT NOT NULL,
    format    TEXT NOT NULL,        -- "" for a broken file, as are the next three 0
    width     INTEGER NOT NULL,     -- pixels, upright
    height    INTEGER NOT NULL,
    phash     INTEGER NOT NULL,     -- 64 bits in two's complement
    broken    TEXT NOT NULL,        -- why it gives no pixels; "" for an intact picture
    state     TEXT NOT NULL,        -- "present", "quarantined" or "missing"
    fingerprint BLOB NOT NULL       -- more hashes, as `curate.lookalikes.fingerprint` packs them; empty where unknown
    -- and for each of curate.quality.CHECKS its score, REAL: "blurred_score", 0 to 1, NULL for a broken file
) STRICT, WITHOUT ROWID;
CREATE INDEX pictures_by_folder ON pictures (folder);
CREATE INDEX pictures_by_sha256 ON pictures (sha256);

CREATE TABLE credits (              -- where a picture comes from belongs to its content, not to its path
    sha256           TEXT NOT NULL,
    url              TEXT NOT NULL,
    source           TEXT NOT NULL,
    source_id        TEXT NOT NULL,
    landing_page     TEXT NOT NULL,
    title            TEXT NOT NULL,
    author           TEXT NOT NULL,
    license          TEXT NOT NULL,
    license_url      TEXT NOT NULL,
    provenance_group TEXT NOT NULL, -- pictures of one observation or source page never part in a split; "" for none
    fetched_at       TEXT NOT NULL, -- ISO 8601, UTC
    PRIMARY KEY (sha256, url)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (           -- every move into the quarantine, with its intent written before the deed
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL,         -- ISO 8601 time of the `clean` that did it
    path     TEXT NOT NULL,         -- where the picture lay
    stored   TEXT NOT NULL,         -- where it lies now, relative to the quarantine folder
    sha256   TEXT NOT NULL,
    reason   TEXT NOT NULL,         -- "broken", "duplicate" or "conflict"
    detail   TEXT NOT NULL,         -- the same in words
    keeper   TEXT NOT NULL,         -- path of the copy that stays; "" where none does
    distance INTEGER NOT NULL,      -- Hamming distance of the two pHashes; -1 where there is no pair
    state    TEXT NOT NULL          -- "moving", "moved" or "restored"
) STRICT;
CREATE INDEX quarantine_by_state ON quarantine (state);

CREATE TABLE assignments (          -- a split that was once drawn stays as it is
    scheme TEXT NOT NULL,           -- seed and ratio in words
    sha256 TEXT NOT NULL,
    label  TEXT NOT NULL,
    split  TEXT NOT NULL,
    PRIMARY KEY (scheme, sha256, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE placements (           -- the files that `split` made, so that it may remove them again
    out    TEXT NOT NULL,           -- the folder they were placed in, relative to the dataset's root
    path   TEXT NOT NULL,           -- relative to it
    sha256 TEXT NOT NULL,
    PRIMARY KEY (out, path)
) STRICT, WITHOUT ROWID;
"""


def is_empty(path: Path, db: sqlite3.Connection) -> bool:
    """Whether the file has no tables yet. Raises `UserError` for a database that is not ours, or newer than us."""
    version, mark = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
    empty = not db.execute("PRAGMA schema_version").fetchone()[0]
    if not empty and mark != _APPLICATION_ID:
        raise UserError(f"{path} is a database of another program: move it away, and run the command again.")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"The catalog {path} was written by a newer version of florilegium (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): update florilegium."
        )
    return empty


def prepare(path: Path, db: sqlite3.Connection) -> None:
    """Make a connection ready to write: tables in an empty file, columns for new checks. Raises what `check` raises."""
    db.execute("PRAGMA trusted_schema = OFF")
    empty = is_empty(path, db)
    if not empty:
        require_our_schema(path, db, _SCHEMA)  # before anything is written, which is when a trigger would fire
    enable_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if empty:
        # One transaction, so that a kill in between leaves an empty file and not half a schema; where another
        # process was faster, its tables are there when our turn comes.
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            create_tables(db)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    _add_columns(db)
    check(path, db)


def create_tables(db: sqlite3.Connection) -> None:
    """Make the tables that every catalog has, where there are none. Belongs inside a transaction."""
    for statement in _SCHEMA.split(";\n"):
        db.execute(statement)
    for column in SCORE_COLUMNS:
        db.execute(f"ALTER TABLE pictures ADD COLUMN {column} REAL")


def check(path: Path, db: sqlite3.Connection, *, even_damaged: bool = False) -> None:
    """Raise `UserError` for a damaged file, and for tables or values that are not ours.

    With `even_damaged` only the tables are looked at.
    """
    if even_damaged:
        require_our_schema(path, db, _SCHEMA)
        return
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, problem)
    require_our_schema(path, db, _SCHEMA)
    require_our_values(path, db, _SCHEMA)


def _add_columns(db: sqlite3.Connection) -> None:
    """Make room for the scores of checks that the catalog does not know yet, and have every picture read again; and for
    what tells one file from another, which the next scan looks up.
    """
    lacking = [name for name in LATER_COLUMNS if name not in _columns(db)]
    if lacking:
        db.execute("BEGIN IMMEDIATE")
        for column in lacking:
            db.execute(f"ALTER TABLE pictures ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
        db.execute("COMMIT")
    if _known_scores(db) == SCORE_COLUMNS:
        return
    db.execute("BEGIN IMMEDIATE")
    for column in set(SCORE_COLUMNS) - set(_known_scores(db)):
        db.execute(f"ALTER TABLE pictures ADD COLUMN {column} REAL")
        db.execute("UPDATE pictures SET mtime_ns = -1")
    db.execute("COMMIT")


def _known_scores(db: sqlite3.Connection) -> list[str]:
    columns = _columns(db)
    return [name for name in SCORE_COLUMNS if name in columns]


def _columns(db: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in db.execute("PRAGMA table_info(pictures)")]
