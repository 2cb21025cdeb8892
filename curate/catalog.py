"""The ledger: one SQLite row per picture ever seen, and the credits, moves and assignments that belong to them.

The catalog is a memory, not a master: the pictures lie in plain folders, and all but the credits can be found out
again by reading them. It is written in WAL mode, so a process killed at any instant leaves a whole catalog.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from curate.errors import UserError

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE pictures (
    path      TEXT PRIMARY KEY,     -- posix, relative to the dataset's root
    folder    TEXT NOT NULL,        -- the class folder it lies in: "train/21"
    label     TEXT NOT NULL,
    split     TEXT NOT NULL,        -- "" for a picture in no split
    size      INTEGER NOT NULL,     -- bytes; with mtime_ns, how a change is noticed
    mtime_ns  INTEGER NOT NULL,
    sha256    TEXT NOT NULL,
    format    TEXT NOT NULL,        -- "" for a broken file, as are the next three 0
    width     INTEGER NOT NULL,     -- pixels, upright
    height    INTEGER NOT NULL,
    phash     INTEGER NOT NULL,     -- 64 bits in two's complement
    broken    TEXT NOT NULL,        -- why it gives no pixels; "" for an intact picture
    state     TEXT NOT NULL,        -- "present", "quarantined" or "missing"
    fingerprint BLOB NOT NULL       -- more hashes, as `curate.fingerprint` packs them; empty where unknown
) WITHOUT ROWID;
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
) WITHOUT ROWID;

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
);
CREATE INDEX quarantine_by_state ON quarantine (state);

CREATE TABLE assignments (          -- a split that was once drawn stays as it is
    scheme TEXT NOT NULL,           -- seed and ratio in words
    sha256 TEXT NOT NULL,
    label  TEXT NOT NULL,
    split  TEXT NOT NULL,
    PRIMARY KEY (scheme, sha256, label)
) WITHOUT ROWID;

CREATE TABLE placements (           -- the files that `split` made, so that it may remove them again
    out    TEXT NOT NULL,           -- the folder they were placed in, relative to the dataset's root
    path   TEXT NOT NULL,           -- relative to it
    sha256 TEXT NOT NULL,
    PRIMARY KEY (out, path)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Picture:
    """One row of `pictures`, in the order of its columns. `phash` is unsigned here, signed in SQLite."""

    path: str
    folder: str
    label: str
    split: str
    size: int
    mtime_ns: int
    sha256: str
    format: str
    width: int
    height: int
    phash: int
    broken: str
    state: str
    fingerprint: bytes = b""


_COLUMNS = ", ".join(field.name for field in fields(Picture))
_PLACES = ", ".join("?" for _ in fields(Picture))


class Catalog:
    """One open catalog file. `db` is the connection, for the rooms that keep tables of their own in it."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.db = db

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the catalog. Raises `UserError` where it is damaged, newer than this program, or unwritable."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=60, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise UserError(f"The catalog {path} cannot be opened for writing ({error}).") from error
        with _damage_as_user_error(path):
            try:
                _prepare(path, db)
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        if isinstance(error, sqlite3.Error):
            with _damage_as_user_error(self.path):
                raise error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is written inside, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def put(self, pictures: Iterable[Picture]) -> None:
        """Insert or replace rows of `pictures`."""
        rows = (_row(picture) for picture in pictures)
        self.db.executemany(f"INSERT OR REPLACE INTO pictures VALUES ({_PLACES})", rows)

    def pictures(self, where: str = "state = 'present'", parameters: tuple[object, ...] = ()) -> list[Picture]:
        """The rows that satisfy an SQL condition, sorted by path."""
        query = f"SELECT {_COLUMNS} FROM pictures WHERE {where} ORDER BY path"
        return [_picture(row) for row in self.db.execute(query, parameters)]

    def set_state(self, path: str, state: str) -> None:
        """Say where a picture is now: "present", "quarantined" or "missing"."""
        self.db.execute("UPDATE pictures SET state = ? WHERE path = ?", (state, path))

    def provenance_groups(self) -> dict[str, str]:
        """sha256 → provenance group, for the pictures that have one."""
        rows = self.db.execute("SELECT sha256, provenance_group FROM credits WHERE provenance_group != ''")
        return dict(rows.fetchall())

    def credited(self) -> set[str]:
        """The sha256 of every picture whose author or licence is known."""
        rows = self.db.execute("SELECT sha256 FROM credits WHERE license != '' OR author != ''")
        return {sha256 for (sha256,) in rows}


def _prepare(path: Path, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise UserError(
            f"The catalog {path} was written by a newer version of florilegium (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): update florilegium."
        )
    if version == 0:
        # One transaction, so that a kill in between leaves an empty file and not half a schema; where another
        # process was faster, its tables are there when our turn comes.
        db.execute("BEGIN IMMEDIATE")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


@contextmanager
def _damage_as_user_error(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"The catalog {path} cannot be written ({error}): check the disk's free space and your rights."
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"The catalog {path} is damaged ({error}): move it away and run the command again, which writes a new one "
            f"from the pictures."
        ) from error


def _row(picture: Picture) -> tuple[object, ...]:
    phash = picture.phash
    return astuple(replace(picture, phash=phash - (1 << 64) if phash >= 1 << 63 else phash))


def _picture(row: tuple[Any, ...]) -> Picture:
    picture = Picture(*row)
    return picture if picture.phash >= 0 else replace(picture, phash=picture.phash + (1 << 64))
