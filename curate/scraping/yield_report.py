"""What a scrape has brought, class by class and source by source, and why the rest fell away."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from curate.catalog.candidate_store import CandidateStore

_ALLOWED = ("retry", "failed", "fetched", "broken", "duplicate", "kept")
_FETCHED = ("fetched", "broken", "duplicate", "kept")
_INTACT = ("duplicate", "kept")


@dataclass(frozen=True)
class Yield:
    """found → allowed → fetched → intact → unique, for one class and one source.

    `lost` says why the others fell away, in a word or two each; the figures of it and `unique` add up to `found`.
    """

    label: str
    source: str
    found: int
    allowed: int
    fetched: int
    intact: int
    unique: int
    lost: Counter[str]


def measure_yields(store: CandidateStore, labels: Iterable[str]) -> list[Yield]:
    """The yield of every search made so far for these classes, in their order."""
    order = list(labels)
    measured = []
    for (label, source), (repeats, odd, counts) in store.tally(order).items():
        by_status: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for (status, kind), count in counts.items():
            by_status[status] += count
            if status != "kept":
                lost[_word(status, kind)] += count
        if repeats:
            lost["found before"] += repeats
        if odd:
            lost["odd record"] += odd
        allowed, fetched, intact = (sum(by_status[s] for s in stage) for stage in (_ALLOWED, _FETCHED, _INTACT))
        found = counts.total() + repeats + odd
        measured.append(Yield(label, source, found, allowed, fetched, intact, by_status["kept"], lost))
    return sorted(measured, key=lambda one: order.index(one.label))


def _word(status: str, kind: str) -> str:
    fixed = {"found": "not needed", "repeat": "found before", "fetched": "to be judged"}
    return fixed.get(status, kind)
