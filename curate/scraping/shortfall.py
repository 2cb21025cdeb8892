"""Which classes got fewer pictures than were asked for, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.scraping.scrape_options import ScrapeOptions
from curate.scraping.yield_report import SPECIMEN, Yield
from curate.web.answers import SourceFailed, SourceLimited, SourceRefused

SourceEnd = Literal["refused", "limited", "failed"]

_HAS_SPECIMENS = "gbif"  # which gives none, and so names none, as long as they are not asked for
MOST_FAILURES = 3
"""Failed URLs of a class that are named."""


@dataclass(frozen=True)
class Shortfall:
    """A class that has `there` pictures of those `wanted`; `lost` says why others fell away, in the words of `Yield`.

    `failures` are some URLs that could not be fetched, the first for each reason, of `failed` in all. `closed` are the
    sources that could not go on: name → whether they refused the caller, set a limit, or failed otherwise. With
    `alive_only`, a source that has specimens was asked for none.
    """

    label: str
    there: int
    wanted: int
    lost: Counter[str]
    failures: Sequence[tuple[str, str]]
    failed: int
    closed: Mapping[str, SourceEnd]
    alive_only: bool = False


def find_shortfalls(
    catalog: Catalog,
    store: CandidateStore,
    yields: Iterable[Yield],
    labels: Sequence[str],
    options: ScrapeOptions,
    closed: Mapping[str, SourceFailed],
) -> list[Shortfall]:
    """The classes that lack pictures, in their order."""
    lost = {label: Counter[str]() for label in labels}
    alive_only = set()
    for one in yields:
        lost[one.label] += one.lost
        if one.lost[SPECIMEN] or (one.source == _HAS_SPECIMENS and not options.specimens):
            alive_only.add(one.label)
    counts = {label: catalog.count_of(label) for label in labels}
    ends = {name: _end(failed) for name, failed in closed.items()}
    short = []
    for label in (label for label in labels if counts[label] < options.limit):
        failures = store.failures(label)
        named = [(url, reason) for url, reason, _ in failures[:MOST_FAILURES]]
        failed = sum(count for _, _, count in failures)
        told = (label, counts[label], options.limit, lost[label], named, failed, ends)
        short.append(Shortfall(*told, alive_only=label in alive_only))
    return short


def _end(failed: SourceFailed) -> SourceEnd:
    return (
        "refused" if isinstance(failed, SourceRefused) else "limited" if isinstance(failed, SourceLimited) else "failed"
    )
