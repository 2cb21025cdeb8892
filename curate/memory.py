"""The near-duplicates found last time, kept in a file while the pictures and the way of looking stay the same."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Picture

FILE_NAME = "near-duplicates.npz"
"""What such a file is called in a dataset's home."""

Arrays = dict[str, NDArray[np.generic]]


def key_of(pictures: Sequence[Picture], way: tuple[object, ...]) -> str:
    """A digest of everything that decides the result: each picture's content, in order, and the way of looking."""
    digest = hashlib.sha256(repr(way).encode())
    for start in range(0, len(pictures), 4096):
        part = pictures[start : start + 4096]
        digest.update("".join([f"{picture.sha256}{picture.phash:016x}" for picture in part]).encode())
        digest.update(b"".join([picture.fingerprint for picture in part]))
    return digest.hexdigest()


def remember(file: Path, key: str, arrays: Arrays) -> None:
    """Keep the arrays under the key, in place of what was there; whole or not at all, however the process ends."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            np.savez(out, allow_pickle=False, key=np.array(key), **arrays)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def recall(file: Path, key: str) -> Arrays | None:
    """The arrays kept under the key; None where there are none, those of another key, or a damaged file."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as held:
            if str(held["key"]) != key:
                return None
            return {name: held[name] for name in held.files if name != "key"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
