"""The feature bank: what a frozen backbone says of each picture's views, kept on disk by content, never by path."""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch

from curate.errors import UserError
from curate.write_ahead import write_ahead
from train.device import DTYPES, Precision
from train.features.preprocessing import PIXELS_VERSION

# Raised when the tables or the meaning of their bytes change. It is part of the key and so of the file's name:
# a bank written by another version is never read, and is left alone for that version.
FORMAT_VERSION: Final = 1

CLEAN: Final = "clean"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    sha256   BLOB NOT NULL,     -- of the picture's file, 32 bytes
    view     TEXT NOT NULL,     -- "clean", or the recipe, seed and number of an augmented view
    vector   BLOB NOT NULL,     -- `dim` numbers in the bank's precision, little-endian
    crc32    INTEGER NOT NULL,  -- of vector: a damaged row counts as a missing one
    UNIQUE (sha256, view)
);
"""

_READ_AT_ONCE = 4096


@dataclass(frozen=True)
class BankKey:
    """All that features depend on besides the picture and the view. Another value is another bank."""

    architecture: str  # with its library: "torchvision:resnet152"
    weights_sha256: str
    preprocessing: dict[str, Any]
    precision: Precision
    dim: int
    compiled: bool = False  # by torch.compile, whose roundings are others

    def text(self) -> str:
        """The whole key as canonical JSON."""
        versions = {"format": FORMAT_VERSION, "pixels": PIXELS_VERSION}
        facts = asdict(self)
        if not self.compiled:
            del facts["compiled"]  # as keys were written before there was a choice
        return json.dumps({**facts, **versions}, sort_keys=True)

    def file_name(self) -> str:
        """Readable at the front, unique at the back."""
        digest = hashlib.sha256(self.text().encode()).hexdigest()[:16]
        safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in self.architecture)
        return f"{safe}-{self.precision}-{digest}.sqlite"


class FeatureBank:
    """One SQLite file of features for one `BankKey`; several processes may read and write it at once.

    A kill at any instant loses at most what `put` has not committed. A file that is damaged is a cache that is lost:
    it is removed and filled anew, and `rebuilt` says so.
    """

    def __init__(self, folder: Path, key: BankKey) -> None:
        """Open or make the bank in `folder`; raises UserError where that can't be written."""
        self.key = key
        self.file = folder / key.file_name()
        self.rebuilt = False
        self._dtype = DTYPES[key.precision]
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
        query = f"SELECT sha256, view FROM features WHERE view IN ({marks})"
        try:
            for sha256, view in self._db.execute(query, tuple(views)):
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
            " WHERE view = ?",
            (view,),
        )
        length = self.key.dim * self._dtype.itemsize
        while rows := cursor.fetchmany(_READ_AT_ONCE):
            whole = [row for row in rows if len(row[1]) == length and zlib.crc32(row[1]) == row[2]]
            self._damaged += [(row[3],) for row in rows if row not in whole] if len(whole) < len(rows) else []
            if whole:
                numbers = bytearray(b"".join(row[1] for row in whole))
                block = torch.frombuffer(numbers, dtype=self._dtype).view(len(whole), self.key.dim)
                yield torch.tensor([row[0] for row in whole]), block

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.file, timeout=60)
        except sqlite3.OperationalError as error:
            raise UserError(f"The feature bank {self.file} can't be opened: {error}.") from error
        try:
            write_ahead(db)
            db.execute("PRAGMA synchronous = NORMAL")
            with db:
                # One process at a time from here on, or two that begin together would both write the key.
                db.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement)
                written = db.execute("SELECT key FROM about").fetchall()
                if not written:
                    db.execute("INSERT INTO about VALUES (?)", (self.key.text(),))
            if written and written != [(self.key.text(),)]:
                raise _Damaged
        except (sqlite3.DatabaseError, _Damaged) as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise UserError(f"The feature bank {self.file} can't be written: {error}.") from error
            raise _Damaged from error
        return db

    def _rebuild(self) -> sqlite3.Connection:
        self.rebuilt = True
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.file}{ending}")  # noqa: PTH108  the name has an ending added
        return self._open()

    def _give_up_on(self, error: sqlite3.DatabaseError) -> None:
        """A damaged file is started anew; anything else that SQLite says is the user's to know."""
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
        except sqlite3.DatabaseError as error:
            raise UserError(f"The feature bank {self.file} is damaged ({error}): delete it and run again.") from error


class _Damaged(Exception):
    """The file is no bank of this key."""


def _to_bytes(feature: torch.Tensor) -> bytes:
    flat = feature.detach().cpu().contiguous()
    # numpy has no bfloat16: its bits travel as 16-bit integers
    array: np.ndarray[Any, Any] = flat.view(torch.int16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()
    return array.tobytes()
