"""Which classes got fewer pictures than were asked for, and why."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.scraping.yield_report import Yield

MOST_FAILURES = 3
"""Failed URLs of a class that are named."""


@dataclass(frozen=True)
class Shortfall:
    """A class that has `there` pictures of those `wanted`; `lost` says why others fell away, in the words of `Yield`.

    `failures` are some URLs that could not be fetched, each with the reason.
    """

    label: str
    there: int
    wanted: int
    lost: Counter[str]
    failures: Sequence[tuple[str, str]]


def find_shortfalls(
    catalog: Catalog, store: CandidateStore, yields: Iterable[Yield], labels: Sequence[str], wanted: int
) -> list[Shortfall]:
    """The classes that lack pictures, in their order."""
    lost = {label: Counter[str]() for label in labels}
    for one in yields:
        lost[one.label] += one.lost
    counts = {label: catalog.count_of(label) for label in labels}
    return [
        Shortfall(label, counts[label], wanted, lost[label], store.failures(label, MOST_FAILURES))
        for label in labels
        if counts[label] < wanted
    ]
