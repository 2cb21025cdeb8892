"""`scrape --dry-run`: what a scrape would fetch, found out on a copy of the catalog."""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.catalog.files import copy_catalog
from curate.dataset import open_dataset
from curate.defaults import DEFAULT_SOURCES
from curate.errors import UserError
from curate.files.ours import CATALOG
from curate.progress import Progress, silent
from curate.scraping.allowance import spent_today, started_lately
from curate.scraping.scrape_options import ScrapeOptions, chosen_sources, home_of, open_sources
from curate.scraping.searching import Searches
from curate.scraping.yield_report import NOT_NEEDED, Yield, measure_yields
from curate.sources.protocol.image_search import Candidate, PictureGiver, Query, Source
from curate.sources.protocol.large_files import FOLDER as TABLES
from curate.web.addresses import RefusedAddress, checked_url
from curate.web.fetch import Fetcher
from curate.web.network import Network


@dataclass(frozen=True)
class Listed:
    """One picture that a scrape would fetch."""

    label: str
    source: str
    candidate: Candidate


@dataclass(frozen=True)
class Preview:
    """What would be fetched, what the searches found in all, and the sources that could not go on.

    `notes` say what a source has taken for a class's query, such as the taxon.
    """

    listed: list[Listed]
    yields: list[Yield]
    problems: list[str]
    notes: list[str] = field(default_factory=list)


def preview(
    out: Path,
    queries: Sequence[Query],
    options: ScrapeOptions,
    *,
    sources: Sequence[str] = DEFAULT_SOURCES,
    network: Network | None = None,
    keys: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Preview:
    """Ask the searches as `scrape` would; fetch no picture and write nothing. Raises UserError as `scrape` does."""
    keys = os.environ if keys is None else keys
    specs = chosen_sources(sources, keys, options)

    async def work(catalog: Catalog, store: CandidateStore) -> tuple[list[Listed], Searches]:
        async with Fetcher(network or Network()) as fetcher:
            fetcher.hosts.count(spent_today(catalog))
            fetcher.hosts.recall(started_lately(catalog))
            searches = Searches(store, options)
            opened = open_sources(
                specs, fetcher, options, queries, keys, kept=home_of(Path(out)) / TABLES, dry=True, progress=progress
            )
            there = _pictures_there(Path(out))
            listed = []
            for query in queries:
                listed += await _list(searches, store, options, query, there[query.label], opened)
            return listed, searches

    with _borrowed(Path(out)) as catalog:
        store = CandidateStore(catalog)
        listed, searches = asyncio.run(work(catalog, store))
        yields = measure_yields(store, [query.label for query in queries], options)
        tried = Counter((one.label, one.source) for one in listed)
        yields = [_with_listed(one, tried[one.label, one.source]) for one in yields]
    return Preview(
        listed,
        yields,
        [f"{name}: {failed.reason}" for name, failed in searches.closed.items()],
        [f"{label} at {source}: {note}" for (label, source), note in searches.notes.items()],
    )


async def _list(
    searches: Searches,
    store: CandidateStore,
    options: ScrapeOptions,
    query: Query,
    there: int,
    sources: Sequence[tuple[str, Source]],
) -> list[Listed]:
    listed: list[Listed] = []
    missing = options.limit - there
    for name, source in sources:
        last = 0
        while len(listed) < missing:
            stored = await searches.following(query, name, source, last, missing - len(listed))
            if stored is None:
                break
            last = stored.id
            refusal = "" if _is_given(name, source) else _refusal(stored.candidate.url)
            if refusal:
                store.mark(stored.id, "failed", "refused address", refusal)
                continue
            store.mark(stored.id, "found")
            listed.append(Listed(query.label, name, stored.candidate))
    return listed


def _is_given(name: str, source: Source) -> bool:
    """Whether a source's pictures are files or bytes that no address has to be asked for."""
    return name.startswith("folder:") or isinstance(source, PictureGiver)


def _refusal(url: str) -> str:
    """Why an address would not be fetched from, as far as it says so itself; "" where it may be."""
    try:
        checked_url(url)
    except RefusedAddress as error:
        return str(error)
    return ""


def _with_listed(found: Yield, listed: int) -> Yield:
    """The yield of a search of which so many candidates would be tried: these are allowed, and were not needed yet."""
    lost = found.lost - Counter({NOT_NEEDED: listed}) + Counter({"to be tried": listed})
    return replace(found, allowed=found.allowed + listed, lost=lost)


def _pictures_there(out: Path) -> Counter[str]:
    """How many pictures of each class lie in the dataset; one that lies in two places by hard link counts once."""
    try:
        dataset = open_dataset(out)
    except UserError:
        return Counter()
    seen = {
        (folder.label, stat.st_dev, stat.st_ino)
        for folder in dataset.class_folders()
        for _, stat in dataset.files_in(folder)
        if stat is not None
    }
    return Counter(label for label, _, _ in seen)


@contextmanager
def _borrowed(out: Path) -> Iterator[Catalog]:
    """The catalog of earlier runs, in a copy that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="florilegium-") as folder:
        copy = Path(folder) / "catalog.sqlite"
        original = home_of(out) / CATALOG
        if original.is_file():
            copy_catalog(original, copy)
        with _named_after(copy, original), Catalog.open(copy) as catalog:
            yield catalog


@contextmanager
def _named_after(copy: Path, original: Path) -> Iterator[None]:
    """Speak of the catalog that the user knows, not of its copy."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(copy), str(original))) from error
