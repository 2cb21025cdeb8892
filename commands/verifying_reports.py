"""What `verify` says: what is not as the catalog says, and what crosses the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from commands.console import say
from commands.report_lines import MOST_ROWS, companions_in_words, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curate.verify import CrossingKind, VerifyReport

_CROSSINGS: Final[Mapping[CrossingKind, str]] = {"copies": "copies", "near": "near", "origin": "of one origin"}


def verification(report: VerifyReport) -> None:
    """What is not as the catalog says, and each split's proof."""
    if report.no_catalog:
        say(f"{report.no_catalog} Here, every file counts as new.")
    for unfinished in report.unfinished:
        say(unfinished)
    for what, paths in (("Changed", report.changed), ("Missing", report.missing), ("New", report.new)):
        for path in paths[:MOST_ROWS]:
            say(f"{what}: {path}")
        if len(paths) > MOST_ROWS:
            say(f"… and {len(paths) - MOST_ROWS:,} more that are {what.lower()}.")
    for damage in report.broken[:MOST_ROWS]:
        say(f"Broken: {damage.path}: {damage.reason}")
    unreadable([(damage.path, damage.reason) for damage in report.unreadable])
    if seen := companions_in_words(report.companions):
        say(f"{seen}.")
    for proof in report.splits:
        for crossing in proof.crossings[:MOST_ROWS]:
            bits = f", {crossing.distance} bits" if crossing.distance >= 0 else ""
            say(f"Crosses splits ({crossing.kind}{bits}): {crossing.first} and {crossing.second}")
        counts = ", ".join(f"{count:,} {split}" for split, count in proof.counts.items())
        scenes = f", of one scene by features {proof.count('scene'):,} of {proof.scenes:,}" if proof.scenes else ""
        said = ", ".join(f"{words} {proof.count(kind):,}" for kind, words in _CROSSINGS.items())
        grouped = f", of one group {proof.count('group'):,}" if proof.group_by else ""
        say(f"Proof of {proof.folder}: {counts}; pairs across splits: {said}{scenes}{grouped}.")
