"""The ledger: one SQLite row per picture ever seen, and the credits, moves and assignments that belong to them.

The catalog is a memory, not a master: the pictures lie in plain folders, and all but the credits can be found out
again by reading them. It is written in WAL mode, so a process killed at any instant leaves a whole catalog.
"""

import os
import secrets
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from curate.catalog_check import require_our_schema, require_our_values
from curate.catalog_files import cannot, connect_read_only, damaged, in_words, require_own_files
from curate.decoding.formats import NOT_READABLE
from curate.errors import UserError
from curate.quality import CHECKS, Scores
from curate.sqlite_wal import LOCK_SECONDS, enable_wal

if TYPE_CHECKING:
    from curate.inspect import Facts

SCHEMA_VERSION = 1

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

_ABOUT = "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"

_WRITTEN = """
CREATE TABLE IF NOT EXISTS written (    -- files beside the pictures that are ours, and so may be replaced
    path   TEXT NOT NULL,               -- relative to the catalog
    sha256 TEXT NOT NULL,
    PRIMARY KEY (path, sha256)
) STRICT, WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)  # slots: there may be a million of them
class Picture:
    """One row of `pictures`. `phash` is unsigned here, signed in SQLite; `scores` has a column for each check.

    The row of a file that was read is made by `of`, which leaves no fact out.
    """

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
    scores: Scores = ()

    @classmethod
    def of(
        cls,
        facts: "Facts",
        *,
        path: str,
        label: str,
        split: str,
        folder: str = "",
        size: int = 0,
        mtime_ns: int = 0,
        state: str = "present",
    ) -> Self:
        """The row of a file with these facts, which lies at `path`."""
        return cls(
            path, folder, label, split, size, mtime_ns, facts.sha256, facts.format, facts.width, facts.height,
            facts.phash, facts.broken, state, facts.fingerprint, facts.scores,
        )  # fmt: skip


class Seen(NamedTuple):
    """What the catalog knows of a file without reading it; `whole` is 1 where its row lacks no fact."""

    size: int
    mtime_ns: int
    state: str
    label: str
    split: str
    whole: int


_NAMES = [field.name for field in fields(Picture) if field.name != "scores"]
_SCORES = [check.column for check in CHECKS]
_COLUMNS = ", ".join(_NAMES + _SCORES)
_PLACES = ", ".join("?" for _ in _NAMES + _SCORES)
_PHASH = _NAMES.index("phash")
_SHARED = [_NAMES.index(name) for name in ("folder", "label", "split", "format", "state")]
_values = attrgetter(*_NAMES)


class Catalog:
    """One open catalog file. `db` is the connection, for the rooms that keep tables of their own in it."""

    def __init__(self, path: Path, db: sqlite3.Connection, held: ExitStack | None = None) -> None:
        self.path = path
        self.db = db
        self._held = held or ExitStack()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the catalog. Raises `UserError` where it is damaged, not ours, newer than us, or unwritable."""
        with in_words(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"The folder {path.parent} cannot be written ({error.strerror}).") from error
            require_own_files(path)
            db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
            try:
                _prepare(path, db)
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open the catalog to look at it: nothing is written beside it or into it, so its disk may be read-only.

        What is seen is whole, also while another process writes, and after one was killed. Raises `UserError` where
        there is none, and where it is damaged, not ours, newer than us, or unreadable.
        """
        with in_words(path, "read"), ExitStack() as stack:
            try:
                db = connect_read_only(path, stack)
            except OSError as error:
                raise cannot("read", path, error.strerror) from error
            if _is_empty(path, db):
                raise UserError(f"The catalog {path} is empty: any command that writes to it fills it.")
            _check(path, db)
            return cls(path, db, stack.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        self._held.close()
        if isinstance(error, sqlite3.Error):
            with in_words(self.path):
                raise error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is written inside, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # a full disk has rolled it back already
                self.db.execute("ROLLBACK")
            raise

    def identity(self) -> str:
        """A random name of this catalog, which marks what lies elsewhere and is its own; 32 hexadecimal digits.

        A catalog that a stranger has made cannot know the name that another one has.
        """
        if not self.about("identity"):
            with self.transaction() as db:
                db.execute(_ABOUT)
                db.execute("INSERT OR IGNORE INTO about VALUES ('identity', ?)", (secrets.token_hex(16),))
        return self.about("identity")

    def about(self, name: str) -> str:
        """What is on record of the catalog as a whole under a name; "" for nothing."""
        if self.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'about'").fetchone() is None:
            return ""
        (value,) = self.db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone() or ("",)
        return str(value)

    def note_about(self, name: str, value: str) -> None:
        """Put something on record of the catalog as a whole."""
        with self.transaction() as db:
            db.execute(_ABOUT)
            db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def unreadable(self) -> list[tuple[str, str]]:
        """(path, why) of each present file that may be whole, and that nothing on this machine reads; by path."""
        query = "SELECT path, broken FROM pictures WHERE state = 'present' AND broken LIKE ? ORDER BY path"
        return self.db.execute(query, (f"{NOT_READABLE}%",)).fetchall()

    def written(self, file: Path) -> set[str]:
        """The sha256 of a file beside the pictures as we last wrote it, and as we were about to when stopped."""
        if self.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'written'").fetchone() is None:
            return set()
        rows = self.db.execute("SELECT sha256 FROM written WHERE path = ?", (self._beside(file),))
        return {sha256 for (sha256,) in rows}

    def note_intended(self, file: Path, sha256: str) -> None:
        """Put on record that we are about to write a file of this digest, in the place of an earlier one of ours."""
        with self.transaction() as db:
            db.execute(_WRITTEN)
            db.execute("INSERT OR IGNORE INTO written VALUES (?, ?)", (self._beside(file), sha256))

    def note_written(self, file: Path, sha256: str) -> None:
        """Put on record that the file of this digest has been written."""
        with self.transaction() as db:
            db.execute("DELETE FROM written WHERE path = ? AND sha256 != ?", (self._beside(file), sha256))

    def _beside(self, file: Path) -> str:
        """A file's path relative to the catalog, so that the two may be moved together."""
        return Path(os.path.relpath(file.resolve(), self.path.resolve().parent)).as_posix()

    def put(self, pictures: Iterable[Picture]) -> None:
        """Insert or replace rows of `pictures`."""
        rows = (_row(picture) for picture in pictures)
        self.db.executemany(f"INSERT OR REPLACE INTO pictures ({_COLUMNS}) VALUES ({_PLACES})", rows)

    def pictures(self, where: str = "state = 'present'", parameters: tuple[object, ...] = ()) -> list[Picture]:
        """The rows that satisfy an SQL condition, sorted by path."""
        query = f"SELECT {_COLUMNS} FROM pictures WHERE {where} ORDER BY path"
        return [_picture(row) for row in self.db.execute(query, parameters)]

    def seen_in(self, folder: str) -> dict[str, Seen]:
        """Path → what tells whether a file must be read again, for each row of a class folder."""
        known = " AND ".join(f"{column} IS NOT NULL" for column in _SCORES)
        query = (
            f"SELECT path, size, mtime_ns, state, label, split, broken != '' OR fingerprint != x'' AND {known} "
            "FROM pictures WHERE folder = ?"
        )
        return {path: Seen(*seen) for path, *seen in self.db.execute(query, (folder,))}

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


def _is_empty(path: Path, db: sqlite3.Connection) -> bool:
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


def _prepare(path: Path, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    empty = _is_empty(path, db)
    if not empty:
        require_our_schema(path, db, _SCHEMA)  # before anything is written, which is when a trigger would fire
    enable_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if empty:
        # One transaction, so that a kill in between leaves an empty file and not half a schema; where another
        # process was faster, its tables are there when our turn comes.
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    _add_columns(db)
    _check(path, db)


def _check(path: Path, db: sqlite3.Connection) -> None:
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, problem)
    require_our_schema(path, db, _SCHEMA)
    require_our_values(path, db, _SCHEMA)


def _add_columns(db: sqlite3.Connection) -> None:
    """Make room for the scores of checks that the catalog does not know yet, and have every picture read again."""
    if _known_scores(db) == _SCORES:
        return
    db.execute("BEGIN IMMEDIATE")
    for column in set(_SCORES) - set(_known_scores(db)):
        db.execute(f"ALTER TABLE pictures ADD COLUMN {column} REAL")
        db.execute("UPDATE pictures SET mtime_ns = -1")
    db.execute("COMMIT")


def _known_scores(db: sqlite3.Connection) -> list[str]:
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(pictures)")]
    return [name for name in _SCORES if name in columns]


def _row(picture: Picture) -> list[object]:
    values = list(_values(picture))
    values[_PHASH] = picture.phash - (1 << 64) if picture.phash >> 63 else picture.phash
    return values + list(picture.scores or [None] * len(_SCORES))


def _picture(row: tuple[Any, ...]) -> Picture:
    values = list(row[: len(_NAMES)])
    values[_PHASH] %= 1 << 64
    for place in _SHARED:  # SQLite gives each of a million rows a string of its own
        values[place] = sys.intern(values[place])
    scores = row[len(_NAMES) :]
    values.append(() if None in scores else tuple(map(_shared_score, scores)))
    return Picture(*values)


@lru_cache(maxsize=1024)  # to three decimals there are 1,001 scores
def _shared_score(score: float) -> float:
    return score
