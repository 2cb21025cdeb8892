"""What a scrape has brought, class by class and source by source, and why the rest fell away."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.dataset import natural_key
from curate.scraping.scrape_options import ScrapeOptions

NOT_NEEDED = "not needed"
"""Why a candidate was not tried that nothing speaks against."""
SPECIMEN = "specimen"
"""Why a record of a dead plant or animal fell away."""
_SPECIMENS = "specimens wanted"
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


def measure_yields(store: CandidateStore, labels: Iterable[str], options: ScrapeOptions) -> list[Yield]:
    """The yield of every search made so far for these classes, in their order.

    What no class needed is judged by the options first, so that what they refuse is counted as that.
    """
    order = list(labels)
    store.judge_waiting(order, options.refusal)
    return _yields(store, order, options.specimens)


def keep_wishes(catalog: Catalog, labels: Iterable[str], options: ScrapeOptions) -> None:
    """Put on record what a scrape of these classes wanted, as far as their yields depend on it."""
    wanted = {**_wishes(catalog), **dict.fromkeys(labels, options.specimens)}
    with catalog.transaction():
        catalog.note_about(_SPECIMENS, json.dumps(wanted, ensure_ascii=False))


def yields_on_record(catalog: Catalog) -> list[Yield]:
    """The yield of all classes that were ever scraped, as the last scrape of each has told it; none where none was."""
    if not catalog.has_table("scrape_candidates"):
        return []
    store, wanted = CandidateStore(catalog), _wishes(catalog)
    labels = sorted(store.labels(), key=natural_key)
    return [one for label in labels for one in _yields(store, [label], wanted.get(label, False))]


def _wishes(catalog: Catalog) -> dict[str, bool]:
    """Class → whether dead plants and animals were wanted."""
    try:
        known = json.loads(catalog.about(_SPECIMENS) or "{}")
    except ValueError:
        return {}
    return {str(label): bool(wanted) for label, wanted in known.items()} if isinstance(known, dict) else {}


def _yields(store: CandidateStore, order: list[str], specimens_wanted: bool) -> list[Yield]:
    measured = []
    for (label, source), told in store.tally(order).items():
        by_status: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for (status, kind), count in told.candidates.items():
            by_status[status] += count
            if status != "kept":
                lost[_word(status, kind)] += count
        # Where they are wanted now, they are candidates of their own.
        specimens = 0 if specimens_wanted else told.specimens
        lost += Counter({"found before": told.repeats, "odd record": told.odd, SPECIMEN: specimens})
        allowed, fetched, intact = (sum(by_status[s] for s in stage) for stage in (_ALLOWED, _FETCHED, _INTACT))
        found = told.candidates.total() + told.repeats + told.odd + specimens
        measured.append(Yield(label, source, found, allowed, fetched, intact, by_status["kept"], lost))
    return sorted(measured, key=lambda one: order.index(one.label))


def _word(status: str, kind: str) -> str:
    fixed = {"found": NOT_NEEDED, "repeat": "found before", "fetched": "to be judged"}
    return fixed.get(status, kind)
