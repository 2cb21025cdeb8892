"""What the bank knows of pictures as numpy arrays, for pages: which are alike, and where each lies among the others.

Nothing here imports PyTorch, which takes seconds and hundreds of megabytes.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.printable import printable
from train.features.bank_file import CLEAN, WHOLE_ROW, BankKey, key_in, reading

_NUMBER_BYTES: Final = {"float32": 4, "bfloat16": 2}
_BLOCK: Final = 4096
_UNTRAINED: Final = "florilegium:"


@dataclass(frozen=True, eq=False)
class BankVectors:
    """Features of length 1, float16[n, dim], by one network, of the contents at these `places` of those asked for."""

    network: str
    places: NDArray[np.int32]
    vectors: NDArray[np.float16]

    def cosines(self, row: int) -> NDArray[np.float32]:
        """How alike each is to one of them: float32[n]."""
        wanted = self.vectors[row].astype(np.float32)
        blocks = range(0, len(self.vectors), _BLOCK)
        return np.concatenate([self.vectors[at : at + _BLOCK].astype(np.float32) @ wanted for at in blocks])

    def plane(self) -> NDArray[np.float32]:
        """Their two principal components, float32[n, 2]: where each lies on the plane that keeps most of the spread."""
        count, dim = self.vectors.shape
        mean, second = np.zeros(dim), np.zeros((dim, dim))
        for at in range(0, count, _BLOCK):
            block = self.vectors[at : at + _BLOCK].astype(np.float32)
            mean += block.sum(axis=0, dtype=np.float64)
            second += block.T @ block
        mean /= max(1, count)
        _, axes = np.linalg.eigh(second / max(1, count) - np.outer(mean, mean))
        two = axes[:, ::-1][:, :2].astype(np.float32)
        two *= np.where(np.abs(two).max(axis=0) == two.max(axis=0), 1, -1)  # else the sign is the machine's own
        shift = mean.astype(np.float32) @ two
        return np.concatenate(
            [self.vectors[at : at + _BLOCK].astype(np.float32) @ two - shift for at in range(0, count, _BLOCK)]
            or [np.empty((0, 2), np.float32)]
        )


def read_vectors(folder: Path, sha256: Sequence[str]) -> BankVectors | None:
    """The features of these contents, by the bank in `folder` that has most of them; None where none has any."""
    place = {bytes.fromhex(digest): at for at, digest in enumerate(sha256) if len(digest) == 64}
    asked = [found for file in sorted(folder.glob("*.sqlite")) if (found := _known(file, place))]
    for file, key, _ in sorted(asked, key=lambda one: (-one[2], one[1].architecture.startswith(_UNTRAINED))):
        with suppress(sqlite3.Error):  # damaged, or removed meanwhile: then the next one
            vectors = _read(file, key, place)
            if len(vectors.places):
                return vectors
    return None


def _known(file: Path, place: dict[bytes, int]) -> tuple[Path, BankKey, int] | None:
    key = key_in(file)
    if key is None or key.precision not in _NUMBER_BYTES or key.dim < 2:
        return None
    known = 0
    with suppress(sqlite3.Error), reading(file) as db:
        rows = db.execute(f"SELECT sha256 FROM features WHERE view = ? AND {WHOLE_ROW}", (CLEAN, _length(key)))
        known = sum(digest in place for (digest,) in rows)
    return (file, key, known) if known else None


def _read(file: Path, key: BankKey, place: dict[bytes, int]) -> BankVectors:
    vectors = np.empty((len(place), key.dim), np.float16)
    places = np.empty(len(place), np.int32)
    count = 0
    with reading(file) as db:
        rows = db.execute(
            f"SELECT sha256, vector, crc32 FROM features WHERE view = ? AND {WHOLE_ROW}", (CLEAN, _length(key))
        )
        for digest, vector, crc32 in rows:
            at = place.get(digest)
            if at is None or count == len(places) or zlib.crc32(vector) != crc32:
                continue
            values = _numbers(vector, key.precision)
            norm = float(np.linalg.norm(values))
            if np.isfinite(norm) and norm > 0:
                vectors[count], places[count] = values / norm, at
                count += 1
    order = np.argsort(places[:count])
    return BankVectors(printable(key.architecture.partition(":")[2]), places[:count][order], vectors[:count][order])


def _length(key: BankKey) -> int:
    return key.dim * _NUMBER_BYTES[key.precision]


def _numbers(vector: bytes, precision: str) -> NDArray[np.float32]:
    if precision == "float32":
        return np.frombuffer(vector, "<f4")
    # The upper half of a float32
    return (np.frombuffer(vector, "<u2").astype(np.uint32) << 16).view(np.float32)
