"""Asks for the pages of a search, and yields one by one the candidates that are worth fetching."""

from dataclasses import replace

from curate.catalog.candidate_store import ENOUGH_OF_AUTHOR, CandidateStore, StoredCandidate
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import counts_authors, is_own_list
from curate.sources.protocol.image_search import PreparedSource, Query, RenewedSource, Source
from curate.web.answers import SourceFailed

MOST_STALE = 20
"""So many pages in a row that hold nothing new, and a service leads round in a circle."""
_OF_FILES = ("hf", "gbif_download", "inaturalist_open_data")  # whose pages end, and may hold nothing of a class


class Searches:
    """`closed` holds the sources that cannot go on in this run: name → why.

    `notes` says what a query was taken for: (class, source) → words. While it is `varied`, what one author has made is
    passed over once a class has enough of it.
    """

    def __init__(self, store: CandidateStore, options: ScrapeOptions) -> None:
        self.closed: dict[str, SourceFailed] = {}
        self.notes: dict[tuple[str, str], str] = {}
        self.varied = True
        self._read: set[tuple[str, str]] = set()  # lists of the user's, by class
        self._stale: dict[tuple[str, str], int] = {}  # pages in a row without anything new, by class and source
        self._store = store
        self._options = options

    async def following(
        self, query: Query, name: str, source: Source, last: int, wanted: int
    ) -> StoredCandidate | None:
        """The first candidate behind the id `last` that should be fetched, or None where the search has run dry.

        Asks for a further page where the known ones are used up. What is passed over is marked with the reason.
        """
        if isinstance(source, RenewedSource):
            await source.renew()
        if is_own_list(name) and (query.label, name) not in self._read:
            # What a list says now may correct what it said before, so all of it is read before any of it is judged.
            self._read.add((query.label, name))
            self._store.begin_list(query.label, name, self._words(query, source))
            while await self.ask(query, name, source, wanted):
                pass
            if self._store.cursor(query, name, self._words(query, source))[1]:
                self._store.withdraw_unlisted(query.label, name, self._words(query, source))
        while True:
            stored = self._store.after(query.label, name, last)
            if stored is None:
                if not await self.ask(query, name, source, wanted):
                    return None
                continue
            last = stored.id
            if stored.status == "fetched":
                return stored
            refusal = self._options.refusal(stored.candidate)
            if refusal is not None:
                self._store.mark(stored.id, "refused", *refusal)
            elif self._store.taken_before(stored):
                self._store.mark(stored.id, "repeat")
            elif self._is_enough_of_its_author(stored):
                most = self._options.most_of_one_author
                self._store.mark(stored.id, "refused", ENOUGH_OF_AUTHOR, f"{most} of its author were taken before")
            else:
                return stored

    async def ask(self, query: Query, name: str, source: Source, wanted: int) -> bool:
        """Ask for one more page and enter it; whether there was one to ask for."""
        if isinstance(source, RenewedSource):
            await source.renew()  # a search that is complete may be another one then
        words = self._words(query, source)
        cursor, complete = self._store.cursor(query, name, words)
        if complete or name in self.closed:
            return False
        try:
            if isinstance(source, PreparedSource):
                await source.prepare()  # which may tell that its state is another one
                words = self._words(query, source)
                cursor, complete = self._store.cursor(query, name, words)
                if complete:
                    return False
            page = await source.page(query, wanted, cursor)
        except SourceFailed as failed:
            self.closed[name] = failed
            return False
        if page.next is not None and page.next == cursor:
            self.closed[name] = SourceFailed(name, "it leads from one page back to the same page")
            page = replace(page, next=None)
        if page.note:
            self.notes[query.label, name] = page.note
        new = self._store.add(query, name, words, page, correct=is_own_list(name))
        stale = 0 if new or page.odd or page.specimens else self._stale.get((query.label, name), 0) + 1
        self._stale[query.label, name] = stale
        endless = not is_own_list(name) and name.partition(":")[0] not in _OF_FILES
        if endless and stale >= MOST_STALE and page.next is not None:
            self.closed[name] = SourceFailed(name, f"its last {stale} pages held nothing new")
        return True

    def _is_enough_of_its_author(self, stored: StoredCandidate) -> bool:
        """Whether the class has as many pictures of this author as it should; of a list of the user's own, never."""
        most, author = self._options.most_of_one_author, stored.candidate.author
        counts = self.varied and most and author and counts_authors(stored.source)
        return bool(counts) and self._store.tried_of_author(stored) >= most

    def untouched(self, query: Query, name: str, source: Source) -> bool:
        """Whether no page of this search has been asked for yet."""
        return self._store.cursor(query, name, self._words(query, source)) == (None, False)

    def _words(self, query: Query, source: Source) -> str:
        """What makes this search another one than that of a run before."""
        return " | ".join(part for part in (query.text, self._options.words, source.state) if part)
