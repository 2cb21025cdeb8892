"""The banks that lie in a folder: how large each is, and which to let go of."""

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import UserError
from curate.printable import printable
from train.features.bank_file import is_bank, is_key, keys_of, reading, schema_of


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
    """Every bank of a folder, the one written last first; a file that is not provably a bank of ours is left out."""
    found = [bank for file in folder.glob("*.sqlite") if is_bank(file) and (bank := _look(file))]
    return sorted(found, key=lambda bank: bank.written, reverse=True)


def strangers_in(folder: Path) -> list[Path]:
    """What lies among the banks and is not provably one: it is left alone."""
    if not folder.is_dir():
        return []
    parts = {part for file in folder.glob("*.sqlite") if is_bank(file) for part in _files(file)}
    return sorted(file for file in folder.iterdir() if file not in parts and ".sqlite" in file.name)


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


def _look(file: Path) -> ShelvedBank | None:
    """What a bank says of itself; None where it was removed meanwhile."""
    stats = []
    for part in _files(file):
        with suppress(OSError):
            stats.append(part.stat())
    if not stats:
        return None
    key: dict[str, Any] = {}
    features = 0
    with suppress(sqlite3.Error, ValueError, RecursionError), reading(file) as db:
        for text in keys_of(db):
            key = json.loads(text) if is_key(text) else key
        if ("table", "features") in {(kind, name) for kind, name, *_ in schema_of(db)}:
            (features,) = db.execute("SELECT COUNT(*) FROM features").fetchone()
    return ShelvedBank(
        file=file,
        architecture=printable(str(key.get("architecture", ""))),
        precision=printable(str(key.get("precision", ""))),
        compiled=bool(key.get("compiled", False)),
        features=features,
        size=sum(stat.st_size for stat in stats),
        written=max(stat.st_mtime for stat in stats),
    )


def _files(file: Path) -> list[Path]:
    return [file, *(file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm"))]
