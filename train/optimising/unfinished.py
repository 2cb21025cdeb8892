"""The state of a run that is not finished, on disk: written whole or not at all, read back by the same run alone."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate.errors import UserError
from curate.files.atomic import file_under_way, fsync_file, take_place
from curate.printable import without_escapes
from train.features.weights import DamagedFile, load_safely

# Writing may take at most this share of a run's time, however large the network and slow the disk
_SHARE = 0.05

_NAME = re.compile(r"[0-9a-f]{16}\.pth")


class UnfinishedRun:
    """One file, `<folder>/<digest>.pth`, for the run that `identity` (plain types) tells from all others.

    `every` is the least number of seconds between two writes; 0 writes after each step, whatever it costs. A kill
    loses what came after the last write; a full disk leaves the last write as it was, and `failed` says why.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, every: float = 60.0) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.about = json.loads(text)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self.file = folder / f"{self.digest[:16]}.pth"
        self.every = every
        self.failed: str | None = None
        self._written = time.monotonic()
        self._cost = 0.0

    def load(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing, or nothing that can be read: the run then starts anew."""
        try:
            content = load_safely(self.file)
        except (OSError, DamagedFile):
            return None
        whole = isinstance(content, dict) and content.get("identity") == self.digest
        return content.get("state") if isinstance(content, dict) and whole else None

    def due(self) -> bool:
        """Whether it is time to write."""
        return not self.every or time.monotonic() - self._written >= max(self.every, self._cost / _SHARE)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state`, tensors and plain types, in place of what was there."""
        started = time.monotonic()
        try:
            with file_under_way(self.file) as (stream, temporary):
                torch.save({"identity": self.digest, "about": self.about, "state": state}, stream)
                fsync_file(stream)
                take_place(temporary, self.file)
            self.failed = None
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            reason = reason or without_escapes(str(error).splitlines()[0])
            self.failed = f"The unfinished run could not be written to {self.file} ({reason})."
        self._written = time.monotonic()
        self._cost = self._written - started

    def discard(self) -> None:
        """The run is finished."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


@dataclass(frozen=True)
class KeptRun:
    """An unfinished run as its file has it."""

    file: Path
    size: int  # bytes
    recipe: str
    backbone: str
    epochs: int  # that are finished


def list_unfinished(folder: Path) -> list[KeptRun]:
    """The unfinished runs that are kept in a folder; files that are none of ours are passed over."""
    return [kept for file in sorted(folder.glob("*.pth")) if (kept := _kept(file)) is not None]


def clear_unfinished(folder: Path) -> list[KeptRun]:
    """Remove them, and return what was removed: these runs begin anew. Raises UserError where one can't be removed."""
    listed = list_unfinished(folder)
    for kept in listed:
        try:
            kept.file.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{kept.file} can't be removed ({error.strerror}): give yourself the right to.") from error
    return listed


def _kept(file: Path) -> KeptRun | None:
    if not _NAME.fullmatch(file.name):
        return None
    try:
        content, size = load_safely(file, mapped=True), file.stat().st_size
        if not isinstance(content, dict) or not str(content["identity"]).startswith(file.stem):
            return None
        told = content.get("about") or {"recipe": {}}
        recipe = told["recipe"]
        return KeptRun(
            file, size, str(recipe.get("name") or ""), str(recipe.get("backbone") or ""), int(content["state"]["epoch"])
        )
    except (OSError, DamagedFile, LookupError, TypeError, ValueError, AttributeError):
        return None
