"""What `compare` says: which class is which, what both datasets have, and what leaks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from commands.console import say, table
from commands.report_lines import MOST_ROWS, class_and_name
from curate.plurals import with_noun

if TYPE_CHECKING:
    from curate.compare import CompareReport


def comparison(report: CompareReport) -> None:
    """Which class is which, what both have, what leaks between the splits, and how many pairs are near."""
    rows = [
        (
            class_and_name(match.first, match.first_name),
            class_and_name(match.second, match.second_name),
            match.shared,
            match.of_first,
            match.of_second,
            "yes" if match.same_name else "",
        )
        for match in report.classes[:MOST_ROWS]
    ]
    columns = (f"class of {report.first}", f"class of {report.second}", "shared", "of", "of", "same name")
    table("Which class is which", columns, rows)
    if len(report.classes) > MOST_ROWS:
        say(f"… and {len(report.classes) - MOST_ROWS:,} more.")
    for leak in report.leaks[:MOST_ROWS]:
        say(
            f"Leak: {leak.first} of {report.first} ({leak.first_split}) is the same picture as {leak.second} of "
            f"{report.second} ({leak.second_split})."
        )
    if len(report.leaks) > MOST_ROWS:
        say(f"… and {len(report.leaks) - MOST_ROWS:,} more leaks.")
    for root, broken in zip((report.first, report.second), report.broken, strict=True):
        if broken:
            say(f"Left out of {root}: {with_noun(len(broken), 'broken file')}, such as {broken[0].path}.")
    leaking = Counter((leak.first_split, leak.second_split) for leak in report.leaks)
    for (first, second), count in sorted(leaking.items()):
        say(f"Leaks between {first} of {report.first} and {second} of {report.second}: {count:,}.")
    near = "1 pair is near, and no copy" if report.near == 1 else f"{report.near:,} pairs are near, and no copies"
    say(
        f"Of {report.pictures[0]:,} pictures in {report.first}, {report.in_both:,} are among the "
        f"{report.pictures[1]:,} in {report.second}; {near}."
    )
