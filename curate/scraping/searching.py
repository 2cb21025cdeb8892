"""Walks the pages of a search and hands out, one by one, the candidates that are worth fetching."""

from dataclasses import replace

from curate.scraping.findings import Finding, Findings
from curate.scraping.image_search import Query, Source
from curate.scraping.wish import Wish
from curate.web.answers import SourceFailed


class Searches:
    """`closed` holds the sources that cannot go on in this run: name → why."""

    def __init__(self, findings: Findings, wish: Wish) -> None:
        self.closed: dict[str, str] = {}
        self._findings = findings
        self._wish = wish

    async def following(self, query: Query, name: str, source: Source, last: int, wanted: int) -> Finding | None:
        """The first candidate behind the id `last` that should be fetched, or None where the search has run dry.

        Asks for a further page where the known ones are used up. What is passed over is marked with the reason.
        """
        while True:
            finding = self._findings.after(query.label, name, last)
            if finding is None:
                if not await self.ask(query, name, source, wanted):
                    return None
                continue
            last = finding.id
            if finding.status == "fetched":
                return finding
            refusal = self._wish.refusal(finding.candidate)
            if refusal is not None:
                self._findings.mark(finding.id, "refused", *refusal)
            elif self._findings.taken_before(finding):
                self._findings.mark(finding.id, "repeat")
            else:
                return finding

    async def ask(self, query: Query, name: str, source: Source, wanted: int) -> bool:
        """Ask for one more page and enter it; whether there was one to ask for."""
        words = f"{query.text} | {self._wish.words}"
        cursor, complete = self._findings.cursor(query, name, words)
        if complete or name in self.closed:
            return False
        try:
            page = await source.page(query, wanted, cursor)
        except SourceFailed as failed:
            self.closed[name] = failed.reason
            return False
        if page.next is not None and page.next == cursor:
            self.closed[name] = "it leads from one page back to the same page"
            page = replace(page, next=None)
        self._findings.add(query, name, words, page)
        return True

    def untouched(self, query: Query, name: str) -> bool:
        """Whether no page of this search has been asked for yet."""
        words = f"{query.text} | {self._wish.words}"
        return self._findings.cursor(query, name, words) == (None, False)
