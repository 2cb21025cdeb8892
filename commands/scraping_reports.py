"""What `scrape` says: the yield of each class and source, what is short, and what it would fetch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from commands.console import json_line, note, say, table
from commands.report_lines import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curate.scrape import Scraped
    from curate.scraping.preview import Preview
    from curate.scraping.shortfall import Shortfall, SourceEnd
    from curate.scraping.yield_report import Yield


def scraping(report: Scraped) -> None:
    """The yield per class and source, why the rest fell away, and which sources gave up."""
    yields(report.yields)
    _taken_for(report.notes)
    for problem in report.problems:
        say(f"Could not go on with {problem}.")
    if report.unwanted:
        many = f"{len(report.unwanted):,} pictures that are there have"
        say(
            f"{'1 picture that is there has' if len(report.unwanted) == 1 else many} a licence that --license does not "
            f"allow, such as {report.unwanted[0]}: remove the files yourself if they are not to stay; the column "
            "license of metadata.csv tells them."
        )
    for short in report.shortfalls[:MOST_ROWS]:
        say(_short_in_words(short))
    if len(report.shortfalls) > MOST_ROWS:
        say(f"… and {len(report.shortfalls) - MOST_ROWS:,} more classes have fewer than were asked for.")


def yields(measured: Sequence[Yield]) -> None:
    """The yield per class and source, and why the rest fell away."""
    stages = ("found", "allowed", "fetched", "intact", "unique")
    rows = [(one.label, one.source, *(getattr(one, stage) for stage in stages), _losses(one.lost)) for one in measured]
    sums = (sum(getattr(one, stage) for one in measured) for stage in stages)
    lost = sum((one.lost for one in measured), Counter[str]())
    columns = ("class", "source", *stages, "why the rest fell away")
    table("Yield of all runs so far", columns, [*rows, ("all", "", *sums, _losses(lost))], last_is_total=True)


_WAYS_OUT: Final = {
    "licence": "--license any, or more codes",
    "too small": "a lower --min-size",
    "enough of one author": "--per-author 0",
    "robots.txt": "--ignore-robots",
    "x-robots-tag": "--ignore-noai",
    "noai": "--ignore-noai",
    "http 401": "--contact",
    "http 403": "--contact",
    "rate limited": "the same command again later",
    "server error": "the same command again later",
    "unreachable": "the same command again later",
    "too slow": "the same command again later",
    "cut off": "the same command again later",
}


_ENDS: Final[Mapping[SourceEnd, str]] = {
    "refused": "--contact or a valid key",
    "limited": "the same command again later",
    "failed": "the same command again later",
}


def _short_in_words(short: Shortfall) -> str:
    """How many a class has, why no more, and what may bring more."""
    ways = list(dict.fromkeys(_WAYS_OUT[kind] for kind, _ in short.lost.most_common() if kind in _WAYS_OUT))
    ways = list(dict.fromkeys([*(_ENDS[end] for end in short.closed.values()), *ways]))
    ways += ["--specimens"] if short.alive_only else []
    whys = [f"{' and '.join(short.closed)} failed, as said above"] if short.closed else []
    whys += [f"of the others: {_losses(short.lost)}"] if short.lost else []
    why = "; ".join(whys) or "the sources have no more"
    more = " or ".join([*ways, "another --source"])
    said = f"{short.label} has {short.there:,} of {short.wanted:,} pictures; {why}. Try {more}."
    failed = "; ".join(f"{url} ({reason})" for url, reason in short.failures)
    others = short.failed - len(short.failures)
    return f"{said} Failed: {failed}{f' … and {others:,} more' if others else ''}." if failed else said


def scrape_preview(shown: Preview) -> None:
    """URLs and licences of what would be fetched."""
    rows = [(o.label, o.source, o.candidate.license.name, o.candidate.author, o.candidate.url) for o in shown.listed]
    table("Would be tried", ("class", "source", "licence", "author", "URL"), rows)
    for found in shown.yields[:MOST_ROWS]:
        say(f"{_found_in_words(found)}.")
    if len(shown.yields) > MOST_ROWS:
        say(f"… and {len(shown.yields) - MOST_ROWS:,} more searches.")
    _taken_for(shown.notes)
    for problem in shown.problems:
        say(f"Could not go on with {problem}.")


def piped_preview(shown: Preview, names: Mapping[str, str]) -> None:
    """A line of JSON for each picture that would be fetched, as `urls:` reads them; the rest goes to stderr.

    `names` are label → name.
    """
    for one in shown.listed:
        candidate = one.candidate
        json_line(
            {
                "url": candidate.url,
                "label": one.label,
                "name": names.get(one.label, one.label),
                "source": one.source,
                "source_id": candidate.source_id,
                "title": candidate.title,
                "author": candidate.author,
                "license": candidate.license.name if candidate.license.code else "",
                "license_url": candidate.license.url,
                "landing_page": candidate.landing_page,
                "provenance_group": candidate.provenance_group,
                "taken_at": candidate.taken_at,
                "author_page": candidate.author_page,
                "citation": candidate.citation,
            }
        )
    for found in shown.yields:
        note(_found_in_words(found))
    for line in (
        *(f"Taken for {words}." for words in shown.notes),
        *(f"Could not go on with {p}." for p in shown.problems),
    ):
        note(line)


def _found_in_words(found: Yield) -> str:
    stages = ", ".join(f"{stage} {getattr(found, stage):,}" for stage in ("found", "allowed"))
    return f"{found.label} at {found.source}: {stages}; {_losses(found.lost) or 'none fell away'}"


def _taken_for(notes: Sequence[str]) -> None:
    """What the sources took a query for, so that another species is seen before it is trained on."""
    for words in notes[:MOST_ROWS]:
        say(f"Taken for {words}.")
    if len(notes) > MOST_ROWS:
        say(f"… and {len(notes) - MOST_ROWS:,} more.")


def _losses(lost: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in lost.most_common())
