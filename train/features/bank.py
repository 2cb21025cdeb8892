"""The feature bank: what a frozen backbone says of each picture's views, kept on disk by content, never by path."""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch

from curate.catalog.sqlite_wal import LOCK_SECONDS, enable_wal
from curate.errors import UserError
from curate.files.reading import open_file
from train.device import DTYPES
from train.features.preprocessing import PIXELS_VERSION
from train.options import Precision

# Raised when the tables or the meaning of their bytes change. It is part of the key and so of the file's name:
# a bank written by another version is never read, and is left alone for that version.
FORMAT_VERSION: Final = 1

CLEAN: Final = "clean"

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    sha256   BLOB NOT NULL,     -- of the picture's file, 32 bytes
    view     TEXT NOT NULL,     -- "clean", or the recipe, seed and number of an augmented view
    vector   BLOB NOT NULL,     -- `dim` numbers in the bank's precision, little-endian
    crc32    INTEGER NOT NULL,  -- of vector: a damaged row counts as a missing one
    UNIQUE (sha256, view)
);
"""

APPLICATION_ID: Final = 0x464C4F52  # "FLOR", in the header of each bank

_READ_AT_ONCE = 4096
_LONGEST_KEY = 65_536  # bytes

_IN_EVERY_KEY = {"architecture", "weights_sha256", "preprocessing", "precision", "dim", "format", "pixels"}

# Rows whose vector has the right length; the others count as missing, and are not read
_WHOLE_ROW = "typeof(sha256) = 'blob' AND typeof(vector) = 'blob' AND length(vector) = ?"


@dataclass(frozen=True)
class BankKey:
    """All that features depend on besides the picture and the view. Another value is another bank."""

    architecture: str  # with its library: "torchvision:resnet152"
    weights_sha256: str
    preprocessing: dict[str, Any]
    precision: Precision
    dim: int
    compiled: bool = False  # by torch.compile, whose roundings are others
    fused: bool = False  # convolutions with what follows them, likewise

    def text(self) -> str:
        """The whole key as canonical JSON."""
        versions = {"format": FORMAT_VERSION, "pixels": PIXELS_VERSION}
        facts = asdict(self)
        for how in ("compiled", "fused"):
            if not facts[how]:
                del facts[how]  # as keys were written before there was a choice
        return json.dumps({**facts, **versions}, sort_keys=True)

    def file_name(self) -> str:
        """Readable at the front, unique at the back."""
        digest = hashlib.sha256(self.text().encode()).hexdigest()[:16]
        safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in self.architecture)
        return f"{safe}-{self.precision}-{digest}.sqlite"


class FeatureBank:
    """One SQLite file of features for one `BankKey`; several processes may read and write it at once.

    A kill at any instant loses at most what `put` has not committed. A file that is damaged is a cache that is lost:
    it is removed and filled anew, and `rebuilt` says so. One that does not bear our mark is set aside under another
    name. Nothing in a file is believed: it may be a stranger's, and holds two tables or is no bank.
    """

    def __init__(self, folder: Path, key: BankKey) -> None:
        """Open or make the bank in `folder`; raises UserError where that can't be written."""
        self.key = key
        self.file = folder / key.file_name()
        self.rebuilt = False
        self._dtype = DTYPES[key.precision]
        self._length = key.dim * self._dtype.itemsize  # bytes of a vector
        self._damaged: list[tuple[int]] = []  # rowids
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {folder} can't be made for the feature bank: {error.strerror}.") from error
        try:
            self._db = self._open()
        except _Damaged:
            self._db = self._rebuild()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was put stays."""
        self._db.close()

    def views_of(self, views: Sequence[str]) -> dict[str, set[str]]:
        """Which of `views` the bank has, by picture: sha256 (hex) → views."""
        marks = ", ".join("?" * len(views))
        found: dict[str, set[str]] = {}
        query = f"SELECT sha256, view FROM features WHERE view IN ({marks}) AND {_WHOLE_ROW}"
        try:
            for sha256, view in self._db.execute(query, (*views, self._length)):
                found.setdefault(sha256.hex(), set()).add(view)
        except sqlite3.DatabaseError as error:
            self._give_up_on(error)
            return {}
        return found

    def put(self, rows: Iterable[tuple[str, str, torch.Tensor]]) -> None:
        """Write (sha256, view, feature (dim,)) rows in one transaction; a row that is there already stays."""
        packed = []
        for sha256, view, feature in rows:
            vector = _to_bytes(feature.to(self._dtype))
            packed.append((bytes.fromhex(sha256), view, vector, zlib.crc32(vector)))
        with self._failing_in_words(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", packed)

    def read(self, pictures: Sequence[str], views: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, K, dim) in the bank's precision, and which of them are there, (N, K) bool; others are zero.

        A row that is damaged is removed, and so counts as not there.
        """
        features = torch.zeros(len(pictures), len(views), self.key.dim, dtype=self._dtype)
        there = torch.zeros(len(pictures), len(views), dtype=torch.bool)
        with self._failing_in_words():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (position INTEGER PRIMARY KEY, sha256 BLOB)")
            with self._db:
                self._db.execute("DELETE FROM wanted")
                self._db.executemany(
                    "INSERT INTO wanted VALUES (?, ?)", ((i, bytes.fromhex(sha)) for i, sha in enumerate(pictures))
                )
        try:
            for column, view in enumerate(views):
                for positions, block in self._blocks(view):
                    features[positions, column] = block
                    there[positions, column] = True
            if self._damaged:
                with self._failing_in_words(), self._db:
                    self._db.executemany("DELETE FROM features WHERE rowid = ?", self._damaged)
                self._damaged.clear()
        except sqlite3.DatabaseError as error:
            self._give_up_on(error)
            return torch.zeros_like(features), torch.zeros_like(there)
        return features, there

    def _blocks(self, view: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        cursor = self._db.execute(
            "SELECT position, vector, crc32, features.rowid FROM wanted CROSS JOIN features USING (sha256)"
            f" WHERE view = ? AND {_WHOLE_ROW}",
            (view, self._length),
        )
        while rows := cursor.fetchmany(_READ_AT_ONCE):
            block = torch.frombuffer(bytearray().join(row[1] for row in rows), dtype=self._dtype)
            block = block.view(len(rows), self.key.dim)
            summed = torch.tensor([zlib.crc32(vector) == crc32 for _, vector, crc32, _ in rows])
            whole = summed & torch.isfinite(block).all(dim=1)
            self._damaged += [(rowid,) for (*_, rowid), kept in zip(rows, whole.tolist(), strict=True) if not kept]
            yield torch.tensor([position for position, *_ in rows])[whole], block[whole]

    def _open(self) -> sqlite3.Connection:
        if self.file.is_symlink() or (self.file.exists() and not self.file.is_file()):
            raise UserError(
                f"{self.file} is a link, a pipe or a folder where the feature bank should lie: move it away."
            )
        try:
            db = sqlite3.connect(self.file, timeout=LOCK_SECONDS)
        except sqlite3.OperationalError as error:
            raise UserError(f"The feature bank {self.file} can't be opened: {error}.") from error
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            with db:
                # One process at a time from here on, or two that begin together would both write the key.
                db.execute("BEGIN IMMEDIATE")
                if not schema_of(db):
                    for statement in SCHEMA.split(";\n"):
                        db.execute(statement)
                    db.execute("INSERT INTO about VALUES (?)", (self.key.text(),))
                if schema_of(db) != _our_schema() or keys_of(db) != [self.key.text()]:
                    raise _Damaged
                if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            enable_wal(db)
            db.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.DatabaseError, _Damaged) as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise UserError(f"The feature bank {self.file} can't be written: {error}.") from error
            raise _Damaged from error
        return db

    def _rebuild(self) -> sqlite3.Connection:
        self.rebuilt = True
        ours = is_bank(self.file)
        aside = next(name for number in count(1) if not os.path.lexists(name := f"{self.file}.set-aside-{number}"))
        try:
            for ending in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    if ours or ending == "-shm":
                        os.unlink(f"{self.file}{ending}")  # noqa: PTH108  the name has an ending added
                    else:
                        os.rename(f"{self.file}{ending}", f"{aside}{ending}")  # noqa: PTH104
        except OSError as error:
            raise UserError(f"{self.file} can't be moved away ({error.strerror}): check your rights.") from error
        try:
            return self._open()
        except _Damaged as error:
            raise UserError(
                f"The feature bank {self.file} is damaged as soon as it is made: check the disk."
            ) from error

    def _give_up_on(self, error: sqlite3.DatabaseError) -> None:
        """A damaged file is started anew; anything else that SQLite says is the user's to know."""
        if isinstance(error, sqlite3.ProgrammingError):  # the bank is closed, and its file is whole
            raise error
        if isinstance(error, sqlite3.OperationalError):
            raise UserError(f"The feature bank {self.file} can't be read: {error}.") from error
        self._db.close()
        self._db = self._rebuild()

    @contextmanager
    def _failing_in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a read-only folder, a lock that is never let go
            raise UserError(f"The feature bank {self.file} can't be written: {error}.") from error
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"The feature bank {self.file} is damaged ({error}): delete it and run again.") from error


def is_bank(file: Path) -> bool:
    """Whether a file is provably a bank of ours: by its header, or by the key that is in it. Never writes."""
    if file.is_symlink():
        return False
    try:
        with open_file(file) as opened:
            header = opened.read(100)
    except OSError:
        return False
    if header.startswith(b"SQLite format 3\0") and header[68:72] == APPLICATION_ID.to_bytes(4, "big"):
        return True
    with suppress(sqlite3.Error), reading(file) as db:
        return any(is_key(text) for text in keys_of(db))
    return False


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a stranger's bank to look into it, and nothing more. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        yield db


def keys_of(db: sqlite3.Connection) -> list[str]:
    """The keys that are written in a bank, at most two; [] where there is no table of them."""
    if ("table", "about") not in {(kind, name) for kind, name, *_ in schema_of(db)}:
        return []
    rows = db.execute("SELECT substr(CAST(key AS BLOB), 1, ?) FROM about LIMIT 2", (_LONGEST_KEY,)).fetchall()
    return [bytes(key or b"").decode("utf-8", "replace") for (key,) in rows]


def is_key(text: str) -> bool:
    """Whether a text is what `BankKey.text` gives, of any version."""
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(key, dict) and key.keys() >= _IN_EVERY_KEY


def schema_of(db: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    """(type, name, table, SQL) of all that a database holds: tables, indices, views and triggers."""
    rows = db.execute("SELECT type, name, tbl_name, CAST(COALESCE(sql, '') AS BLOB) FROM sqlite_master").fetchall()
    return sorted(
        (str(kind), str(name), str(table), bytes(sql).decode("utf-8", "replace")) for kind, name, table, sql in rows
    )


@cache
def _our_schema() -> list[tuple[str, str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in SCHEMA.split(";\n"):
            db.execute(statement)
        return schema_of(db)


class _Damaged(Exception):
    """The file is no bank of this key."""


def _to_bytes(feature: torch.Tensor) -> bytes:
    flat = feature.detach().cpu().contiguous()
    # numpy has no bfloat16: its bits travel as 16-bit integers
    array: np.ndarray[Any, Any] = flat.view(torch.int16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()
    return array.tobytes()
