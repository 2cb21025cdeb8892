"""Pexels: photographs of a collection of its own, under its own licence, for callers with a free key.

The API's traps: a page has 80 photos at most; a key gives 200 calls an hour and 20,000 a month, of which the header
counts the month, with the time at which the next one begins; an answer of 429 has no such header; and `next_page` is
missing from the last page.
https://www.pexels.com/api/documentation/
"""

from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import require_admitted, stock_license
from curate.sources.protocol.picture_urls import MODEST_SIDE
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue
from curate.web.api import Api

PAGE_SIZE = 80
_BOX = (940, 650)
"""Pixels into which a `large` photo fits; a `large2x` one into twice as many."""


class Search:
    """Text search over photos. A photo is fetched in the smallest of its sizes that is large enough."""

    home: ClassVar[str] = "https://api.pexels.com"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ("PEXELS_API_KEY",)
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        require_admitted("pexels", options.licenses)
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        number = whole_number(cursor, 1)
        params: dict[str, str | int | list[str]] = {"query": query.text, "per_page": PAGE_SIZE, "page": number}
        answer = await self._api.get("/v1/search", params, {"Authorization": self._options.keys["PEXELS_API_KEY"]})
        photos = list(answer.items("photos"))
        found, odd = read_records(photos, _candidates)
        return CandidatePage(found, str(number + 1) if photos and answer.has("next_page") else None, odd)

    async def give(self, candidate: Candidate) -> str:
        """The URL of a size that is large enough: `large`, `large2x` with twice the pixels a side, or the whole."""
        wanted = max(self._options.min_size, MODEST_SIDE)
        for times, ending in ((1, ""), (2, "&dpr=2")):
            if _shorter_side(candidate, times) >= min(wanted, _shorter_side(candidate)):
                return candidate.url + ending
        return candidate.url.partition("?")[0]


def _shorter_side(candidate: Candidate, times: int | None = None) -> int:
    """Pixels of a photo's shorter side, in a box of `times` the size of `large`; None for the original."""
    width, height = candidate.width or 0, candidate.height or 0
    if times is None or not (width and height):
        return min(width, height)
    scale = min(times * _BOX[0] / width, times * _BOX[1] / height, 1.0)
    return round(min(width, height) * scale)


def _candidates(photo: JsonValue) -> Iterator[Candidate]:
    page = photo.text("url")
    number = photo.text("id")
    yield Candidate(
        url=photo.at("src").text("large"),
        source_id=number,
        landing_page=page,
        title=photo.optional_text("alt"),
        author=photo.optional_text("photographer"),
        license=stock_license("pexels"),
        width=photo.optional_number("width"),
        height=photo.optional_number("height"),
        provenance_group=f"pexels:{number}",
        author_page=photo.optional_text("photographer_url"),
        key=f"pexels:{number}",
    )
