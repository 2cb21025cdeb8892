"""The feature bank: what a frozen backbone says of each picture's views, kept on disk by content, never by path."""

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from curate.catalog.sqlite_wal import LOCK_SECONDS, enable_wal
from curate.errors import UserError
from train.device import DTYPES
from train.features.bank_file import (
    APPLICATION_ID,
    CLEAN,
    SCHEMA,
    WHOLE_ROW,
    BankKey,
    is_bank,
    is_key,
    keys_of,
    reading,
    schema_of,
)

__all__ = ["APPLICATION_ID", "CLEAN", "SCHEMA", "BankKey", "FeatureBank", "is_bank", "is_key", "reading", "schema_of"]

_READ_AT_ONCE = 4096


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
        query = f"SELECT sha256, view FROM features WHERE view IN ({marks}) AND {WHOLE_ROW}"
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
            f" WHERE view = ? AND {WHOLE_ROW}",
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
