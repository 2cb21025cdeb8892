"""How often a checkpoint was measured on test: each time makes its figure a little less of a first answer.

The record lies beside the checkpoint, `model_95.23.opened.json`, and not in it: a checkpoint is written once and
never again, so that its bytes can be trusted, signed and copied while it is measured. Entries name the checkpoint by
content, so one that later takes the same name begins at nothing.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate.errors import UserError
from train.atomic import write_whole
from train.backbones import weights_digest
from train.checkpoint import Checkpoint


@dataclass(frozen=True)
class Opening:
    """One look at test: when, at which data, and what came of it; `correct` is None where the run never ended."""

    checkpoint: str  # what `content_of` says of it
    at: str  # ISO 8601, UTC
    pictures: int
    fingerprint: str  # of the pictures that were measured
    views: int
    correct: int | None = None


def openings_file(checkpoint: Path) -> Path:
    """Where the record of a checkpoint lies."""
    return checkpoint.with_suffix(".opened.json")


def read_openings(path: Path, checkpoint: str) -> list[Opening]:
    """The entries of the checkpoint file `path` that has the content `checkpoint`; UserError where it is damaged."""
    return [opening for opening in _read(openings_file(path)) if opening.checkpoint == checkpoint]


def content_of(checkpoint: Checkpoint) -> str:
    """What names a checkpoint here: SHA-256 over the digests of all its weights."""
    digests = [*(backbone.weights_sha256 for backbone in checkpoint.backbones), weights_digest(checkpoint.head)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def note_opening(path: Path, opening: Opening) -> int:
    """Add an entry before test is looked at, and return how many there are with it.

    Raises UserError where it can't be written: a look that leaves no trace is not taken.
    """
    file = openings_file(path)
    with _alone(file):
        entries = [*_read(file), opening]
        _write(file, entries)
    return sum(entry.checkpoint == opening.checkpoint for entry in entries)


def complete_opening(path: Path, opening: Opening, *, pictures: int, fingerprint: str, correct: int) -> None:
    """Write into the entry what was found."""
    file = openings_file(path)
    with _alone(file):
        entries = _read(file)
        position = len(entries) - 1 - entries[::-1].index(opening)
        entries[position] = Opening(opening.checkpoint, opening.at, pictures, fingerprint, opening.views, correct)
        _write(file, entries)


def now() -> str:
    """The time as entries have it, to the microsecond, so that two entries of one second differ."""
    return datetime.now(UTC).isoformat()


def _read(file: Path) -> list[Opening]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror}): give yourself the right to.") from error
    try:
        return [Opening(**entry) for entry in json.loads(text)["test"]]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is damaged: it counts how often test was opened; restore it, or remove it.") from error


def _write(file: Path, entries: list[Opening]) -> None:
    plain: dict[str, Any] = {"test": [asdict(entry) for entry in entries]}
    try:
        write_whole(file, json.dumps(plain, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{file} can't be written ({error.strerror}), and test is not opened without a note of it: "
            f"copy the checkpoint to a folder of yours."
        ) from error


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process counts at a time, where the file system has locks."""
    try:
        import fcntl

        handle = os.open(file.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # some network file systems have none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
