"""One run of a scrape: candidates are fetched side by side, and checked one after the other as they were found.

The order is what makes a run repeatable: whichever answers come first, and wherever a run was stopped, the same
candidates are kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from curate.catalog import Catalog, Picture
from curate.catalog.candidate_store import CandidateStore, StoredCandidate
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.inside import inside
from curate.inspect import inspect
from curate.layout import TopFolder
from curate.parallel import processors
from curate.progress import Progress
from curate.scraping.deduplicator import Deduplicator
from curate.scraping.incoming import Incoming, free_place
from curate.scraping.placeholders import reject_placeholder
from curate.scraping.refused_before import ask_again_what_may_be_allowed
from curate.scraping.scrape_options import ScrapeOptions
from curate.scraping.searching import Searches
from curate.sources.protocol.image_search import PictureGiver, Query, Source
from curate.sources.protocol.picture_urls import is_another_picture
from curate.web.answers import SourceFailed
from curate.web.fetch import Fetcher
from curate.web.retries import FetchFailed

WINDOW = 64
"""Candidates of one class that are under way at once."""
_BESIDE_PHOTO_HOSTS = ("gbif", "gbif_download")  # their pictures lie with herbaria and museums
MOST_REPEATS = 60
"""So many duplicates in a row, and a search has nothing new to say."""


@dataclass(frozen=True)
class CrawlTarget:
    """The dataset that a crawler fills, and all that is kept of it."""

    dataset: Dataset
    catalog: Catalog
    store: CandidateStore
    incoming: Incoming
    deduplicator: Deduplicator


@dataclass(frozen=True)
class Obtained:
    """A whole file among the incoming ones, and its row for the catalog under its present, absolute path."""

    path: Path
    picture: Picture


class Crawler:
    """`await Crawler(...).run(queries, progress)`; then `new` and `closed` say what came of it."""

    def __init__(
        self, target: CrawlTarget, options: ScrapeOptions, fetcher: Fetcher, sources: Sequence[tuple[str, Source]]
    ) -> None:
        self.new = 0
        self._target = target
        self._options = options
        self._fetcher = fetcher
        self._sources = sources
        self._searches = Searches(target.store, options)
        self._decoders = ThreadPoolExecutor(processors(), thread_name_prefix="decode")
        self._there: dict[str, int] = {}  # pictures of each class, those of the user's own among them
        self._advance: Callable[[int], None] = lambda done: None  # noqa: ARG005

    @property
    def closed(self) -> dict[str, SourceFailed]:
        """The sources that could not go on: name → why."""
        return self._searches.closed

    @property
    def notes(self) -> dict[tuple[str, str], str]:
        """What a query was taken for: (class, source) → words."""
        return self._searches.notes

    async def run(self, queries: Sequence[Query], progress: Progress) -> None:
        """Fill the classes one after the other, each search's first page asked for one class ahead."""
        labels = [query.label for query in queries]
        ask_again_what_may_be_allowed(self._target.store, labels, self._options, self._fetcher.network)
        missing = sum(max(self._missing(query), 0) for query in queries)
        ahead: asyncio.Task[None] | None = None
        try:
            with progress("Scraping", missing) as self._advance:
                for query, coming in zip(queries, [*queries[1:], None], strict=True):
                    if ahead is not None:
                        await ahead
                    ahead = asyncio.create_task(self._look_ahead(coming)) if coming is not None else None
                    await self._fill(query)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
            self._decoders.shutdown(cancel_futures=True)

    async def _look_ahead(self, query: Query) -> None:
        for name, source in self._sources[:1]:
            if self._missing(query) > 0 and self._searches.untouched(query, name, source):
                await self._searches.ask(query, name, source, self._missing(query))

    async def _fill(self, query: Query) -> None:
        """Bring one class up to the limit, from one source after the other.

        First from many authors; where that is not enough and nobody has said how many of one there may be, from any.
        """
        before = self._missing(query)
        for varied in (True, False) if self._options.per_author is None else (True,):
            self._searches.varied = varied
            for name, source in self._sources:
                if self._missing(query) > 0:
                    await self._draw_on(query, name, source)
        self._searches.varied = True
        self._advance(max(self._missing(query), 0) if before > 0 else 0)  # what no source had

    async def _draw_on(self, query: Query, name: str, source: Source) -> None:
        """Take from one source until the class is full, the search dry, or nothing but duplicates comes."""
        last, repeats = 0, self._target.store.duplicates_in_a_row(query.label, name)
        under_way: deque[tuple[StoredCandidate, asyncio.Task[Obtained | FetchFailed]]] = deque()
        try:
            while True:
                while len(under_way) < min(WINDOW, self._missing(query)) and repeats < MOST_REPEATS:
                    wanted = self._missing(query) - len(under_way)
                    stored = await self._searches.following(query, name, source, last, wanted)
                    if stored is None:
                        break
                    last = stored.id
                    under_way.append((stored, asyncio.create_task(self._obtain(stored, source))))
                if not under_way:
                    return
                stored, task = under_way.popleft()
                status = await self._settle(stored, await task)
                repeats = repeats + 1 if status == "duplicate" else 0 if status in ("kept", "broken") else repeats
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)

    async def _obtain(self, stored: StoredCandidate, source: Source) -> Obtained | FetchFailed:
        """Bring a candidate's file in, if it is not there yet, and read all that it tells."""
        try:
            path = self._target.incoming.whole(stored) or await self._bring(stored, source)
        except FetchFailed as failed:
            self._target.store.mark_failed(stored.id, failed.kind, failed.reason, passing=failed.passing)
            return failed
        loop = asyncio.get_running_loop()
        picture = await loop.run_in_executor(self._decoders, self._read, stored, path)
        return Obtained(path, picture)

    async def _bring(self, stored: StoredCandidate, source: Source) -> Path:
        """The whole file; the store knows then whether a redirect led to it."""
        target, url, stem = self._target, stored.candidate.url, str(stored.id)
        given = await source.give(stored.candidate) if isinstance(source, PictureGiver) else url
        largest, redirected = self._fetcher.network.largest_picture, False
        if isinstance(given, bytes):
            fetched = await target.incoming.put(given, url, stem, largest, self._fetcher.commits)
        elif stored.source.startswith("folder:"):
            local = _listed_file(stored)
            fetched = await target.incoming.copy(local, stem, largest, self._fetcher.commits)
        else:
            if stored.source.partition(":")[0] in _BESIDE_PHOTO_HOSTS:
                self._fetcher.hosts.be_gentle(urlsplit(given).hostname or "")
            fetched = await self._fetcher.fetch(given, target.incoming.folder, stem)
            redirected = fetched.url != given
            if is_another_picture(given, fetched.url):
                fetched.path.unlink()
                raise FetchFailed("dead link", f"its host answers with another picture, {fetched.url}")
        target.store.mark_fetched(stored.id, fetched.sha256, redirected=redirected)
        return fetched.path

    async def _settle(self, stored: StoredCandidate, obtained: Obtained | FetchFailed) -> str:
        """Judge a fetched file, and keep it or let it go. The new status."""
        if isinstance(obtained, FetchFailed):
            return "failed"
        target, path, picture = self._target, obtained.path, obtained.picture
        left = reject_placeholder(target.dataset, target.catalog, target.store, stored)
        if left is not None:
            self.new = max(0, self.new - len(left))
            for label in left:  # of another class too; one that was not looked at yet is counted when it is
                if label in self._there:
                    self._there[label] -= 1
            path.unlink()
            return "duplicate"
        verdict = await asyncio.to_thread(target.deduplicator.check, picture)
        if verdict.status != "kept":
            target.store.mark(stored.id, verdict.status, verdict.kind, verdict.reason)
            path.unlink()
            return verdict.status
        place = free_place(target.dataset.root, f"{picture.folder}/{picture.sha256[:32]}{path.suffix}")
        placed = replace(picture, path=place)
        with target.catalog.transaction():
            target.store.keep(stored, placed.sha256, placed.path)
            target.catalog.put([placed])
        # The decision is on record; a run that is stopped here is finished by the next one.
        kept = replace(stored, path=place)
        place = target.incoming.deliver(path, target.dataset.root, kept, target.store)
        target.deduplicator.admit(replace(placed, path=place))
        self.new += 1
        self._there[stored.label] += 1
        self._advance(1)
        return "kept"

    def _read(self, stored: StoredCandidate, path: Path) -> Picture:
        """The catalog's row for an incoming file, under its present, absolute path."""
        stat, facts = path.stat(), inspect(path.read_bytes(), str(path))
        folder, split = class_folder(self._target.dataset, stored.label)
        return Picture.of(
            facts, path=path.resolve().as_posix(), folder=folder, label=stored.label, split=split, size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )  # fmt: skip

    def _missing(self, query: Query) -> int:
        """How many pictures the class lacks of those that are wanted, whoever has brought those that are there."""
        if query.label not in self._there:
            self._there[query.label] = self._target.catalog.count_of(query.label)
        return self._options.limit - self._there[query.label]


def _listed_file(stored: StoredCandidate) -> Path:
    """The file that a candidate of `folder:DIR` is, which lies in that folder. Raises FetchFailed."""
    root = Path(stored.source.partition(":")[2]).expanduser().resolve()
    try:
        file = inside(root, stored.candidate.source_id)
    except UserError as error:
        raise FetchFailed("refused address", str(error)) from error
    if file.is_symlink():
        raise FetchFailed("refused address", f"{file} is a link")
    return file


def class_folder(dataset: Dataset, label: str) -> tuple[str, str]:
    """(folder, split) where new pictures of a class go: below raw/ if there is one, else train/, else the root."""
    if dataset.layout == "flat":
        return label, ""
    if dataset.layout == "raw" or (dataset.root / "raw").is_dir():
        return f"raw/{label}", ""
    train = next((top for top in dataset.tops() if top.split == "train"), TopFolder("train", "train"))
    return train.class_folder(label), "train"
