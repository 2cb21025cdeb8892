"""What `clean` says: what leaves and why, what a plan costs, and thresholds as measured."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from commands.console import say, table
from commands.report_lines import MOST_CLASSES, MOST_ROWS, companions_in_words, unreadable
from commands.shell import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate.clean import CleanReport
    from curate.cleaning.conflicts import ClassPair
    from curate.cleaning.losses import ClassLoss
    from curate.dataset import Dataset
    from curate.radius_calibration import RadiusCalibration


def cleaning(report: CleanReport) -> None:
    """What the plan costs; what leaves and why; what lies under two labels or leaks across splits; what is near; what
    the quality checks flag.
    """
    costs(report.dataset, report.plan.losses)
    shared_pictures(report.dataset, report.plan.pairs)
    decisions = report.plan.decisions
    if decisions:
        shown = [(decision.reason, decision.path, decision.detail) for decision in decisions[:MOST_ROWS]]
        moving = any(decision.move_to for decision in decisions)
        table(
            "What leaves, and what goes to another class" if moving else "What leaves",
            ("reason", "picture", "why"),
            shown,
        )
        if len(decisions) > MOST_ROWS:
            say(f"… and {len(decisions) - MOST_ROWS:,} more.")
        counts = Counter(decision.reason for decision in decisions)
        say("In all: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) + ".")
    if report.plan.held_back:
        stay = "1 picture stays" if report.plan.held_back == 1 else f"{report.plan.held_back:,} pictures stay"
        say(f"{stay} because a person decided so (--again proposes them again).")
    if report.waiting:
        wait = "1 decision waits" if report.waiting == 1 else f"{report.waiting:,} decisions wait"
        say(f"{wait} to be carried out on the page of `review`.")
    for conflict in report.plan.conflicts[:MOST_ROWS]:
        say(
            f"One picture, two labels: {conflict.first} under {conflict.first_label}, "
            f"{conflict.second} under {conflict.second_label}."
        )
    for leak in report.plan.leaks[:MOST_ROWS]:
        say(f"Leak across the split: {leak.first} is the same picture as {leak.second}.")
    if report.plan.near:
        pairs = "1 pair of pictures is near, and stays" if report.plan.near == 1 else (
            f"{report.plan.near:,} pairs of pictures are near, and stay"
        )  # fmt: skip
        say(f"{pairs}: much alike, and no copies. `split` keeps them together.")
    if report.flagged:
        flags = ", ".join(f"{count:,} {flag}" for flag, count in report.flagged.items())
        say(f"Flagged, and left in place: {flags} (--remove {','.join(report.flagged)} sets them aside).")
    if report.unaudited:
        has = "1 picture has" if report.unaudited == 1 else f"{report.unaudited:,} pictures have"
        again = command_line("audit", report.dataset.root)
        say(f"{has} come or changed since the audit, which says nothing of them. To have them judged too: {again}")
    unreadable(report.unreadable)
    seen = companions_in_words(report.scan.companions)
    went = f"{report.companions:,} went with the pictures that left" if report.companions else ""
    others = f"{report.scan.strangers:,} other files are no pictures, and stay" if report.scan.strangers else ""
    if said := "; ".join(filter(None, (seen, went, others))):
        say(f"{said}.")


def costs(dataset: Dataset, losses: Sequence[ClassLoss]) -> None:
    """Which classes a plan empties, and of which it takes more than a tenth, worst first."""
    called = _called(dataset, [loss.label for loss in losses])
    for loss in losses[:MOST_CLASSES]:
        label = called[loss.label]
        if not loss.pictures:
            say(f"Empties {label}: none of its {loss.broken:,} files gives pixels.")
        elif loss.empties:
            say(f"Empties {label}: all of its {loss.pictures:,} pictures leave.")
        else:
            share = loss.leaving / loss.pictures
            say(f"Takes {share:.0%} of {label}: {loss.leaving:,} of its {loss.pictures:,} pictures leave.")
    if len(losses) > MOST_CLASSES:
        say(f"… and {len(losses) - MOST_CLASSES:,} more classes.")


def shared_pictures(dataset: Dataset, pairs: Sequence[ClassPair]) -> None:
    """Which classes share pictures, and how many; and what to do where they are one class under two names."""
    called = _called(dataset, [label for pair in pairs for label in (pair.first, pair.second)])
    for pair in pairs[:MOST_CLASSES]:
        pictures = "1 picture" if pair.shared == 1 else f"{pair.shared:,} pictures"
        said = f"{called[pair.first]} and {called[pair.second]} share {pictures}"
        if pair.may_be_one:
            said += f": one class under two names? Then unite them with --merge {pair.merge}"
        say(f"{said}.")
    if len(pairs) > MOST_CLASSES:
        say(f"… and {len(pairs) - MOST_CLASSES:,} more pairs of classes.")


def _called(dataset: Dataset, labels: Sequence[str]) -> dict[str, str]:
    """Each label with the name of its class, where that is another: "42 daffodil"."""
    if not labels:
        return {}
    from curate.credits import scraped_names
    from curate.errors import UserError
    from curate.names import names_for

    try:
        names, _ = names_for(dataset.root, dataset.labels(), recorded=scraped_names(dataset))
    except UserError:  # a names file that cannot be used is no reason not to say what a plan costs
        names = {}
    named = {label: names.get(label, label) for label in labels}
    return {label: label if label == name else f"{label} {name}" for label, name in named.items()}


def unmoved(paths: Sequence[str]) -> None:
    """What was to leave and lies where it lay."""
    for path in paths[:MOST_ROWS]:
        say(f"Could not be moved, as it has changed or its place is taken: {path}")
    if len(paths) > MOST_ROWS:
        say(f"… and {len(paths) - MOST_ROWS:,} more that could not be moved.")


def calibration(report: RadiusCalibration) -> None:
    """Recall of each edit at each radius, and the strangers that lie as near."""
    radii = (0, 2, 4, 6, 8, 10, 12)
    rows = [
        (
            edit.edit,
            *(f"{edit.within[radius] / edit.copies:.3f}" for radius in radii),
            f"{edit.found / edit.copies:.3f}",
        )
        for edit in report.edits
    ]
    columns = ("edited copies found", *(f"{radius} bits" for radius in radii), "looked at")
    table(f"{report.originals:,} pictures of yours, edited", columns, rows)
    per_million = 1e6 / max(1, report.pairs)
    near = [f"{report.near[radius] * per_million:.2f}" for radius in radii]
    merged = [f"{report.merged[radius] * per_million:.2f}" for radius in radii]
    table(
        f"Strangers per million pairs ({report.pairs:,} pairs looked at)",
        ("", *(f"{radius} bits" for radius in radii)),
        [("hashes as near", *near), ("taken for copies", *merged)],
    )
    for first, second in report.twins[:MOST_ROWS]:
        say(f"Taken for copies; have a look: {first} and {second}.")
    say(f"Recommended radius: {report.radius} bits.")
