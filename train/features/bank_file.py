"""A feature bank's file: its key, its tables, and whether a file is one. Without PyTorch, so that pages may look in."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from curate.files.reading import open_file
from train.options import Precision

# Raised when the pixels that `clean` gives for a picture change, so that no bank keeps features of the old ones.
PIXELS_VERSION: Final = 1

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

_LONGEST_KEY = 65_536  # bytes


_IN_EVERY_KEY = {"architecture", "weights_sha256", "preprocessing", "precision", "dim", "format", "pixels"}

# Rows whose vector has the right length; the others count as missing, and are not read
WHOLE_ROW = "typeof(sha256) = 'blob' AND typeof(vector) = 'blob' AND length(vector) = ?"


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


def key_in(file: Path) -> BankKey | None:
    """The key of a bank; None for a file that is no bank of this version."""
    if not is_bank(file):
        return None
    try:
        with reading(file) as db:
            texts = keys_of(db)
        facts: dict[str, Any] = json.loads(texts[0]) if len(texts) == 1 and is_key(texts[0]) else {}
        key = BankKey(**{name: value for name, value in facts.items() if name not in ("format", "pixels")})
        # The name is made of the whole key and of the versions, so what has another one is another version's.
        return key if key.text() == texts[0] and key.file_name() == file.name else None
    except (sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError):
        return None
