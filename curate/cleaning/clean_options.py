"""What a cleaning is asked for: the one list of its options, with their defaults and the sentences about wrong ones."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import get_args

from curate.cleaning.audit_scores import REMOVABLE, thresholds_of
from curate.cleaning.merging import merges_of
from curate.defaults import (
    DEFAULT_CONFLICTS,
    DEFAULT_ONLY,
    DEFAULT_POLICY,
    DEFAULT_RADIUS,
    ConflictMode,
    CopyKind,
    PolicyName,
    require_radius,
)
from curate.errors import UserError
from curate.quality import CHECKS


@dataclass(frozen=True)
class CleanOptions:
    """What a plan depends on besides the pictures. Raises UserError for a value that there is not.

    Its text is the name under which the catalog remembers that nothing was left to do.
    """

    radius: int = DEFAULT_RADIUS  # bits in which two hashes may differ
    keep: PolicyName = DEFAULT_POLICY  # which of several copies stays
    conflicts: ConflictMode = DEFAULT_CONFLICTS  # what becomes of one picture under two labels
    geometry: bool = False  # whether turned and mirrored copies are found too
    remove: tuple[str, ...] = ()  # quality flags, and audit's scores as irrelevant@0.99, with which a picture leaves
    only: CopyKind = DEFAULT_ONLY  # what counts as a copy
    merge: tuple[str, ...] = ()  # classes that become another, as c1=42
    again: bool = False  # whether pictures that people kept are proposed all the same

    def __post_init__(self) -> None:
        require_radius(self.radius)
        flags = [check.flag for check in CHECKS]
        thresholds_of(self.remove)
        for flag in self.remove:
            if flag in REMOVABLE:
                raise UserError(f"{flag} is a score of `audit`: say from which chance on, as {flag}@0.99.")
            if "@" not in flag:
                _require(flag, flags, "quality flag")
        _require(self.keep, get_args(PolicyName), "policy")
        _require(self.conflicts, get_args(ConflictMode), "way with conflicts")
        _require(self.only, get_args(CopyKind), "kind of copy")
        merges_of(self.merge)

    def __str__(self) -> str:
        return (
            f"radius {self.radius}, keep {self.keep}, conflicts {self.conflicts}, geometry {self.geometry}, "
            f"remove {sorted(self.remove)}, only {self.only}, merge {sorted(self.merge)}"
            f"{', again' if self.again else ''}"
        )


def _require(name: str, known: Collection[str], what: str) -> None:
    if name not in known:
        raise UserError(f"There is no {what} called {name!r}: choose among {', '.join(known)}.")
