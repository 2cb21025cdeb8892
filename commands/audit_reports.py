"""What `audit` says: the worst of each class, classes that are one, pure and impure queries, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from commands.cleaning_reports import costs
from commands.console import say, table
from commands.report_lines import MOST_CLASSES, MOST_ROWS, class_and_name
from curate.defaults import ONE_CLASS, SUSPECT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from curate.cleaning.audit_scores import AuditedPicture
    from curate.cleaning.audit_tally import AuditTally
    from train.auditing.report import AuditReport

_WORST: Final = 3  # suspects of each class that are shown
_GAIN: Final = 0.03  # from which on more pictures of a class are worth a line


def audit(report: AuditReport, names: Mapping[str, str] | None = None) -> None:
    """The worst suspects of each class, what each class is like, and what was not judged.

    `names` says what people call the class folders, as far as that is known.
    """
    from curate.cleaning.audit_tally import tally_audit

    called = {one.label: class_and_name(one.label, (names or {}).get(one.label, "")) for one in report.classes}
    costs(report.dataset, report.losses)
    suspects(report.pictures, called, report.file, report.kept)
    _classes(report, called)
    _purity(report)
    for note in report.notes:
        say(note)
    for broken in report.broken[:MOST_ROWS]:
        say(f"Left out, as it gives no pixels: {broken.path}: {broken.reason}")
    if report.unjudged:
        say(f"Not judged, as their class has too few pictures of other origins: {report.unjudged:,}.")
    seconds = ", ".join(f"{part} {time:.1f} s" for part, time in report.seconds.items())
    say(f"{audit_in_words(tally_audit(report.pictures))} Judged by {' and '.join(report.networks)}: {seconds}.")
    if report.kept:
        say(kept_in_words(report.pictures, report.kept))
    if report.held_out:
        say(f"Of the suspects {report.held_out:,} lie in valid or test and stay, unless --splits names these.")


def kept_in_words(audited: Sequence[AuditedPicture], kept: Collection[str]) -> str:
    """How many suspects stay, as a person decided so; `kept` are their paths."""
    count = len({(one.sha256, one.label) for one in audited if one.path in kept})
    stay = "1 suspect is left out, and stays," if count == 1 else f"{count:,} suspects are left out, and stay,"
    return f"{stay} because a person decided so."


def audit_in_words(tally: AuditTally) -> str:
    """How many pictures seem not to belong."""
    return (
        f"Of {tally.pictures:,} pictures {tally.irrelevant:,} seem to show none of the classes and "
        f"{tally.mislabelled:,} another class than their label says, each with a chance of {SUSPECT:.0%} or "
        f"more; by all chances together some {tally.expected:,.0f} do not belong."
    )


def suspects(
    audited: Sequence[AuditedPicture], called: Mapping[str, str], file: Path | None, kept: Collection[str] = ()
) -> None:
    """The surest first, the worst few of each class; `called` says what people call the class folders, and `kept` has
    the paths of those that a person has decided to keep.
    """
    rows = list(_worst(audited, called, kept))
    if not rows:
        return
    table("The worst of each class", ("picture", "class", "seems to show", "sure"), rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        say(f"… and more; {file} has the scores of all.")


def _worst(
    audited: Sequence[AuditedPicture], called: Mapping[str, str], kept: Collection[str]
) -> Iterator[tuple[str, ...]]:
    """Rows of the surest first, the worst few of each class."""
    from curate.cleaning.audit_tally import worst_of_each_class

    for one in worst_of_each_class(audited, _WORST, without=kept):
        shows = "none of the classes" if one.shows_no_class else called.get(one.proposed, one.proposed)
        yield one.path, called.get(one.label, one.label), shows, f"{one.chance:.0%}"


def _classes(report: AuditReport, called: Mapping[str, str]) -> None:
    pairs = {tuple(sorted((one.label, one.nearest))): one.overlap for one in report.classes if one.overlap >= ONE_CLASS}
    for (first, second), overlap in sorted(pairs.items(), key=lambda pair: -pair[1])[:MOST_CLASSES]:
        say(
            f"{called[first]} and {called[second]} are one class to the network: {overlap:.0%} of each go to the other."
        )
    wanting = sorted((one for one in report.classes if one.gain >= _GAIN), key=lambda one: -one.gain)
    rows = [
        (
            called[one.label],
            one.pictures,
            f"{one.right:.0%}",
            f"{one.spread:.2f}",
            called.get(one.nearest, ""),
            f"+{100 * one.gain:.0f} points",
        )
        for one in wanting[:MOST_CLASSES]
    ]
    if rows:
        columns = ("class", "pictures", "right", "spread", "taken for", "twice as many")
        table("Where more pictures would help most", columns, rows)


def _purity(report: AuditReport) -> None:
    impure = [one for one in report.purity if one.suspects]
    if not impure:
        return
    rows = [
        (one.source, one.query, one.pictures, one.suspects, f"{one.suspects / one.pictures:.0%}")
        for one in impure[:MOST_ROWS]
    ]
    table("What searches brought", ("source", "query", "pictures", "suspects", "share"), rows)
