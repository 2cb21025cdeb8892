"""Which checkpoint of a folder answers: of those for the classes at hand the best, measured as the newest was.

Accuracies on different pictures say nothing of each other: a trial on twelve pictures may reach 100%. So the newest
checkpoint says what is at hand, and only those that were measured on the same valid pictures compete with it.
"""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.program import COMMAND
from train.checkpoint import CheckpointFacts, read_checkpoint_facts

_NAME: Final = re.compile(r"model_(\d+\.\d\d)(?:_(\d+))?\.pth")
_NAMED: Final = 3  # classes that a sentence names


@dataclass(frozen=True)
class _Found:
    """A checkpoint file, and what it says of itself."""

    path: Path
    facts: CheckpointFacts
    age: tuple[str, int, int]  # when it was made, then when it was written, then its number: larger is newer

    @property
    def score(self) -> Fraction:
        """Share right on valid; 0 where it was not measured."""
        valid = self.facts.valid
        return Fraction(valid.correct, valid.n) if valid else Fraction(0)


def best_checkpoint(folder: Path, labels: Collection[str] = ()) -> Path:
    """The checkpoint in `folder` that is to answer, for the classes `labels` where they are given.

    Of those that know all of `labels`, and of these no others where there are such, the newest says on which valid
    pictures is compared: the best on these it is, the newest of equals. Raises UserError where none is there, and
    where none knows the classes, with one that does know others.
    """
    files = _files(folder)
    if not files:
        raise UserError(
            f"There is no checkpoint in {folder}: run `{COMMAND} train` first, or name one with --checkpoint FILE."
        )
    found = [one for file in files if (one := _read(file)) is not None]
    if not found:  # whoever loads it says what is wrong
        return max(files, key=lambda file: file.stat().st_mtime_ns)
    fitting = _knowing(found, labels)
    if not fitting:
        newest = max(found, key=lambda one: one.age)
        lacking = sorted(set(labels) - set(newest.facts.labels))
        knows = f"knows {len(newest.facts.labels)} others ({_listed(newest.facts.names)})"
        if len(lacking) < len(set(labels)):
            knows = f"does not know {_listed(lacking)}"
        raise UserError(
            f"No checkpoint in {folder} knows the classes of these pictures ({_listed(sorted(labels))}): the newest, "
            f"{newest.path}, {knows}. Run `{COMMAND} train` on them, or name one with --checkpoint FILE."
        )
    newest = max(fitting, key=lambda one: one.age)
    rivals = [one for one in fitting if one.facts.measured_on == newest.facts.measured_on]
    return max(rivals, key=lambda one: (one.score, one.age)).path


def offer_of_another(folder: Path, labels: Collection[str]) -> str:
    """A sentence that names the checkpoint in `folder` that knows all of `labels`; "" where there is none."""
    with suppress(UserError):
        if _knowing([one for file in _files(folder) if (one := _read(file)) is not None], labels):
            return f" {best_checkpoint(folder, labels)} knows them all: --checkpoint takes it."
    return ""


def _knowing(found: Collection[_Found], labels: Collection[str]) -> list[_Found]:
    wanted = set(labels)
    fitting = [one for one in found if wanted <= set(one.facts.labels)]
    return [one for one in fitting if wanted == set(one.facts.labels)] or fitting


def _files(folder: Path) -> list[Path]:
    there = []
    with suppress(OSError):
        # What leads nowhere or round in a ring is no checkpoint; of such a link Path.is_file raises
        there = [path for path in folder.glob("model_*.pth") if os.path.isfile(path)]  # noqa: PTH113
    return [path for path in there if _NAME.fullmatch(path.name)]


def _read(path: Path) -> _Found | None:
    """None for a file that is no checkpoint of ours, or a damaged one: it can't answer."""
    try:
        facts, written = read_checkpoint_facts(path), path.stat().st_mtime_ns
    except (OSError, UserError):
        return None
    name = _NAME.fullmatch(path.name)
    return _Found(path, facts, (facts.created, written, int(name[2] or 1) if name else 0))


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
