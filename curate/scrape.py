"""Queries × sources → fetch → catalog: more pictures per class, credited, resumable at any instant."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.credits import keep_names, require_own_credits, write_credits, write_metadata
from curate.dataset import Dataset, open_dataset, open_to_write
from curate.defaults import DEFAULT_SOURCES
from curate.errors import UserError
from curate.files.disk import disk_in_words
from curate.files.inside import inside
from curate.progress import Progress, silent
from curate.scan import scan
from curate.scraping.allowance import keep_spent, keep_started, spent_today, started_lately
from curate.scraping.contact import keep_contact
from curate.scraping.crawler import Crawler, CrawlTarget, class_folder
from curate.scraping.deduplicator import Deduplicator
from curate.scraping.incoming import Incoming
from curate.scraping.scrape_options import ScrapeOptions, chosen_sources, home_of, open_sources
from curate.scraping.shortfall import Shortfall, find_shortfalls
from curate.scraping.yield_report import Yield, keep_wishes, measure_yields
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.large_files import FOLDER as TABLES
from curate.web.fetch import Fetcher
from curate.web.network import Network


@dataclass(frozen=True)
class Scraped:
    """What a scrape has done: `new` pictures in this run, `yields` of all runs so far for the classes asked for.

    `problems` are the sources that could not go on, each with its name and why; `notes` say what a source has taken
    for a class's query, such as the taxon, and what of a list belongs to no class; `shortfalls` are the classes that
    got fewer than were wanted. `unwanted` are the paths of pictures that stay although the licence that their source
    tells now is none of those wanted.
    """

    dataset: Dataset
    new: int
    yields: list[Yield]
    problems: list[str]
    credits: Path
    metadata: list[Path]
    notes: list[str] = field(default_factory=list)
    shortfalls: list[Shortfall] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)


def scrape(
    out: Path,
    queries: Sequence[Query],
    options: ScrapeOptions,
    *,
    sources: Sequence[str] = DEFAULT_SOURCES,
    network: Network | None = None,
    keys: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    force: bool = False,
    wait: float | None = 0.0,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda words: None,  # noqa: ARG005
) -> Scraped:
    """Bring each class up to the wished number of scraped pictures, from the sources in turn.

    `names` (class folder → name) are for the credits, which also list classes that this run does not ask for; the
    queries' own names by default. `keys` are the services' keys by the names of their environment variables, which is
    where they come from by default. Safe to stop at any instant: a second run goes on, fetches no URL again that had
    succeeded, and tries again only what failed for a passing reason.

    `force` overwrites a CREDITS.md and a metadata.csv that somebody else has written, which is refused otherwise,
    before anything is fetched. `wait` is how many seconds to wait for another command that is at work in the dataset,
    None for as long as it takes. `say` takes a sentence before a source brings something large. Raises UserError for
    what the user can put right.
    """
    keys = os.environ if keys is None else keys
    specs = chosen_sources(sources, keys, options)
    out = Path(out)
    if not queries:
        raise UserError("There is no class to scrape for: give some with --classes or --names.")
    fetcher = Fetcher(network or Network())
    # A source that cannot be opened is said before anything is made.
    opened = open_sources(
        specs, fetcher, options, queries, keys, kept=home_of(out) / TABLES, progress=progress, say=say
    )
    _make_target(out, queries)
    with (
        open_to_write(out, "scrape", wait=wait, progress=progress) as dataset,
        disk_in_words(dataset.home),
        Catalog.open(dataset.catalog_path) as catalog,
    ):
        keep_contact(catalog, network.contact if network else "")
        incoming = Incoming(dataset.home)
        store = CandidateStore(catalog)
        folders = [folder.path for folder in dataset.class_folders()]
        folders += [class_folder(dataset, query.label)[0] for query in queries]
        require_own_credits(dataset, catalog, folders, force=force)
        incoming.open()
        incoming.recover(dataset.root, store)
        scan(dataset, catalog, progress)
        target = CrawlTarget(dataset, catalog, store, incoming, Deduplicator(dataset.root, catalog, options.min_size))

        async def work() -> Crawler:
            async with fetcher:
                fetcher.hosts.count(spent_today(catalog))
                fetcher.hosts.recall(started_lately(catalog))
                crawler = Crawler(target, options, fetcher, opened)
                try:
                    await crawler.run(queries, progress)
                finally:
                    keep_spent(catalog, fetcher.hosts.spent())
                    keep_started(catalog, fetcher.hosts.started())
                return crawler

        names = {**(names or {}), **{query.label: query.name for query in queries}}
        keep_names(catalog, names)
        try:
            crawler = asyncio.run(work())
        except UserError:  # a source failed for good: what others brought before is credited all the same
            write_credits(dataset, catalog, names, force=force)
            write_metadata(dataset, catalog, names, force=force)
            raise
        incoming.close()
        labels = [query.label for query in queries]
        yields = measure_yields(store, labels, options)
        keep_wishes(catalog, labels, options)
        return Scraped(
            dataset,
            crawler.new,
            yields,
            [f"{name}: {failed.reason}" for name, failed in crawler.closed.items()],
            write_credits(dataset, catalog, names, force=force),
            write_metadata(dataset, catalog, names, force=force),
            [f"{label} at {source}: {note}" for (label, source), note in crawler.notes.items()],
            find_shortfalls(catalog, store, yields, labels, options, crawler.closed),
            [] if options.licenses is None else store.of_other_licences(labels, options.licenses),
        )


def _make_target(out: Path, queries: Sequence[Query]) -> None:
    """Make the dataset to add to, if there is none; a new one keeps its pictures below raw/."""
    with contextlib.suppress(UserError):
        open_dataset(out)
        return
    try:
        # Where there is no dataset because of a link in it, opening it afterwards says so; nothing is made through it.
        inside(out, f"raw/{queries[0].label}").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made or written ({error.strerror}): choose another.") from error
