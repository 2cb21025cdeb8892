"""What an audit has found and written, for whoever prints it. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from curate.cleaning.audit_scores import AuditedPicture
    from curate.cleaning.losses import ClassLoss
    from curate.dataset import Dataset
    from curate.image import BrokenPicture
    from curate.quarantine import Decision
    from train.auditing.classes import ClassFindings


@dataclass(frozen=True)
class Purity:
    """How many of the pictures that one source, or one query of it, brought are suspects."""

    source: str
    query: str  # "" for all of the source
    pictures: int
    suspects: int


@dataclass(frozen=True)
class AuditReport:
    """What was found and written, for whoever prints it."""

    dataset: Dataset
    pictures: list[AuditedPicture]  # in order of the dataset's folders
    classes: list[ClassFindings]
    purity: list[Purity]  # worst first
    decisions: list[Decision]  # the plan
    held_out: int  # suspects in valid or test that the plan leaves alone
    unjudged: int  # pictures of classes that are too small, or of one origin, to be judged by
    broken: list[BrokenPicture]
    networks: list[str]
    file: Path | None  # None where nothing may be written
    plan_file: Path | None
    notes: list[str]
    losses: list[ClassLoss]  # the classes that the plan empties, or takes more than a tenth of
    kept: frozenset[str] = frozenset()  # the paths of suspects that stay because a person decided so
    seconds: dict[str, float] = field(default_factory=dict)  # "features", "audit"
