"""How often a checkpoint was measured on test: each time makes its figure a little less of a first answer.

The record lies beside the checkpoint, `model_95.23.opened.json`, and not in it: a checkpoint is written once and
never again, so that its bytes can be trusted, signed and copied while it is measured. Entries name the checkpoint by
content, so one that later takes the same name begins at nothing.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate.errors import UserError
from curate.files.atomic import write_whole
from curate.files.lock import locked
from curate.files.reading import read_file
from train.backbones import weights_digest
from train.checkpoint import Checkpoint

_LARGEST = 1 << 26  # bytes of a record


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
    with locked(file.parent, "evaluate", wait=None, required=False):
        entries = [*_read(file), opening]
        _write(file, entries)
    return sum(entry.checkpoint == opening.checkpoint for entry in entries)


def complete_opening(path: Path, opening: Opening, *, pictures: int, fingerprint: str, correct: int) -> None:
    """Write into the entry what was found."""
    file = openings_file(path)
    with locked(file.parent, "evaluate", wait=None, required=False):
        entries = _read(file)
        position = len(entries) - 1 - entries[::-1].index(opening)
        entries[position] = Opening(opening.checkpoint, opening.at, pictures, fingerprint, opening.views, correct)
        _write(file, entries)


def now() -> str:
    """The time as entries have it, to the microsecond, so that two entries of one second differ."""
    return datetime.now(UTC).isoformat()


def _read(file: Path) -> list[Opening]:
    try:
        data = read_file(file, _LARGEST)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror}): give yourself the right to.") from error
    try:
        return [_entry(entry) for entry in json.loads(data)["test"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{file} is damaged: it counts how often test was opened; restore it, or remove it.") from error


def _entry(plain: dict[str, Any]) -> Opening:
    """An entry whose values are what they are called; raises ValueError or TypeError where one is not."""
    opening = Opening(**plain)
    counts = [opening.pictures, opening.views, opening.correct or 0]
    texts = [opening.checkpoint, opening.at, opening.fingerprint]
    if not all(type(count) is int and 0 <= count < 1 << 63 for count in counts):
        raise ValueError("a count is none")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is none")
    datetime.fromisoformat(opening.at)
    if opening.correct is not None and not opening.correct <= opening.pictures > 0:
        raise ValueError("more are right than there were")
    return opening


def _write(file: Path, entries: list[Opening]) -> None:
    plain: dict[str, Any] = {"test": [asdict(entry) for entry in entries]}
    try:
        write_whole(file, json.dumps(plain, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{file} can't be written ({error.strerror}), and test is not opened without a note of it: "
            f"copy the checkpoint to a folder of yours."
        ) from error
