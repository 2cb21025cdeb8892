"""Pixabay: photographs of a collection of its own, under its own licence, for callers with a free key.

The API's traps: a page has 3 to 200 pictures, and a search 500 in all, which `totalHits` says; a page beyond the last
is a 400; the URLs of the pictures are other ones in each answer, and are valid for a day, so a picture is known by its
`id` and one of an earlier run is looked up anew; searches are to be kept for a day, which the catalog does; drawings
and pictures that a model made are among the results; and `noAiTraining` marks those whose authors want no AI trained.
https://pixabay.com/api/docs/
"""

from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import require_admitted, stock_license
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged, SourceFailed, SourceLimited
from curate.web.api import Api
from curate.web.retries import FetchFailed

RESULTS_PER_QUERY = 500
PAGE_SIZE = 200
LONGEST_QUERY = 100
_LARGE = 1280
"""Pixels of the longer side of a `largeImageURL`, the largest that every key gives."""


class Search:
    """Text search over photographs, safe ones."""

    home: ClassVar[str] = "https://pixabay.com"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ("PIXABAY_API_KEY",)
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        require_admitted("pixabay", options.licenses)
        self._api = api
        self._options = options
        self._fresh: set[str] = set()  # the URLs that came in this run

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        number = whole_number(cursor, 1)
        answer = await self._ask({"q": query.text[:LONGEST_QUERY], "per_page": PAGE_SIZE, "page": number})
        hits = list(answer.items("hits"))
        found, odd = read_records(hits, _candidates)
        self._fresh.update(candidate.url for candidate in found)
        more = number * PAGE_SIZE < min(answer.number("totalHits"), RESULTS_PER_QUERY)
        return CandidatePage(found, str(number + 1) if hits and more else None, odd)

    async def give(self, candidate: Candidate) -> str:
        """The picture's URL, if it came in this run; else the one that the service gives it now."""
        if candidate.url in self._fresh:
            return candidate.url
        try:
            hits = list((await self._ask({"id": candidate.source_id})).items("hits"))
            url = hits[0].text("largeImageURL") if hits else ""
        except SourceLimited as limited:
            raise FetchFailed("rate limited", limited.reason, passing=True) from limited
        except SourceChanged as changed:
            raise FetchFailed("not a picture", changed.reason) from changed
        except SourceFailed as failed:
            raise FetchFailed("dead link", failed.reason, passing="400" not in failed.reason) from failed
        if not url:
            raise FetchFailed("dead link", f"Pixabay has no picture {candidate.source_id} any more")
        return url

    async def _ask(self, params: dict[str, str | int | list[str]]) -> JsonValue:
        fixed: dict[str, str | int | list[str]] = {
            "key": self._options.keys["PIXABAY_API_KEY"],
            "image_type": "photo",
            "safesearch": "true",
        }
        return await self._api.get("/api/", {**fixed, **params})


def _candidates(hit: JsonValue) -> Iterator[Candidate]:
    """One, or none of what is no photograph."""
    if hit.text("type") != "photo" or hit.value_of("isAiGenerated") is True:
        return
    number, owner = hit.text("id"), hit.optional_text("user_id")
    width, height = hit.optional_number("imageWidth"), hit.optional_number("imageHeight")
    scale = min(_LARGE / max(width, height), 1.0) if width and height else 1.0
    yield Candidate(
        url=hit.text("largeImageURL"),
        source_id=number,
        landing_page=hit.text("pageURL"),
        title=hit.optional_text("tags"),
        author=hit.optional_text("user"),
        license=stock_license("pixabay"),
        width=round(width * scale) if width else None,
        height=round(height * scale) if height else None,
        provenance_group=f"pixabay:{number}",
        author_page=hit.optional_text("userURL") or (f"https://pixabay.com/users/{owner}/" if owner else ""),
        noai=hit.value_of("noAiTraining") is True,
        key=f"pixabay:{number}",
    )
