"""The banks that lie in a folder: how large each is, and which to let go of."""

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import UserError


@dataclass(frozen=True)
class ShelvedBank:
    """One bank file: what its features are of, how many it has, its bytes on disk, and when it was last written."""

    file: Path
    architecture: str  # "" where the file is no bank that can be read
    precision: str
    compiled: bool
    features: int
    size: int
    written: float  # seconds since the epoch


def list_banks(folder: Path) -> list[ShelvedBank]:
    """Every bank of a folder, the one written last first."""
    found = [_look(file) for file in folder.glob("*.sqlite")]
    return sorted(found, key=lambda bank: bank.written, reverse=True)


def clear_banks(folder: Path, keep: int = 0) -> list[ShelvedBank]:
    """Remove banks, those written longest ago first, until the others take at most `keep` bytes; returns the removed.

    A bank is a cache: what was in it is computed again when it is wanted. Raises `UserError` where a file cannot be
    removed.
    """
    removed = []
    taken = 0
    for bank in list_banks(folder):
        taken += bank.size
        if taken > keep:
            try:
                for file in _files(bank.file):
                    file.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"{bank.file} cannot be removed ({error.strerror}): check your rights.") from error
            removed.append(bank)
    return removed


def _look(file: Path) -> ShelvedBank:
    stats = [part.stat() for part in _files(file) if part.exists()]
    size, written = sum(stat.st_size for stat in stats), max(stat.st_mtime for stat in stats)
    key: dict[str, Any] = {}
    features = 0
    with (
        suppress(sqlite3.Error, ValueError),
        closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db,
    ):
        (text,) = db.execute("SELECT key FROM about").fetchone() or ("{}",)
        (features,) = db.execute("SELECT COUNT(*) FROM features").fetchone()
        key = json.loads(text)
    return ShelvedBank(
        file, key.get("architecture", ""), key.get("precision", ""), key.get("compiled", False), features, size, written
    )


def _files(file: Path) -> list[Path]:
    return [file, *(file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm"))]
