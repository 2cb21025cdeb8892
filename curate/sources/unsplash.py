"""Unsplash: photographs of a collection of its own, under its own licence, for callers with a free key.

The API's traps: a page has 30 photos at most; a new application has 50 calls an hour, an approved one more, and a call
too many is a 403 with `X-Ratelimit-Remaining: 0`, which does not say when to come back; `download_location` is to be
called for each photo that is taken, with all that stands in it; photos are to be fetched from the URLs that are given,
whose `ixid` counts for the photographer; and links back carry `utm_source`.
https://unsplash.com/documentation
https://help.unsplash.com/en/articles/2511245-unsplash-api-guidelines
"""

import re
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import require_admitted, stock_license
from curate.sources.protocol.picture_urls import MODEST_SIDE
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceFailed, SourceLimited
from curate.web.api import Api
from curate.web.retries import FetchFailed

PAGE_SIZE = 30
_REFERRAL = "utm_source=florilegium&utm_medium=referral"
_SUBSCRIBERS = "plus.unsplash.com"
_WIDTH = re.compile(r"(?<=[?&])w=\d+")


class Search:
    """Text search over photos, by relevance, safe ones."""

    home: ClassVar[str] = "https://api.unsplash.com"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ("UNSPLASH_ACCESS_KEY",)
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        require_admitted("unsplash", options.licenses)
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        number = whole_number(cursor, 1)
        answer = await self._ask(
            "/search/photos",
            {"query": query.text, "per_page": PAGE_SIZE, "page": number, "content_filter": "high"},
        )
        photos = list(answer.items("results"))
        found, odd = read_records(photos, _candidates)
        more = photos and number < answer.number("total_pages")
        return CandidatePage(found, str(number + 1) if more else None, odd)

    async def give(self, candidate: Candidate) -> str:
        """The URL of a size that is large enough, once the photographer's download is counted."""
        counts = dict(parse_qsl(urlsplit(candidate.url).query)).get("ixid", "")
        try:
            await self._ask(f"/photos/{candidate.source_id}/download", {"ixid": counts} if counts else {})
        except SourceLimited as limited:
            raise FetchFailed("rate limited", limited.reason, passing=True) from limited
        except SourceFailed as failed:
            raise FetchFailed("dead link", failed.reason, passing="404" not in failed.reason) from failed
        width, height = candidate.width or 0, candidate.height or 0
        wanted = max(self._options.min_size, MODEST_SIDE)
        narrowest = -(-wanted * width // min(width, height)) if width and height else 0
        return _WIDTH.sub(lambda said: f"w={max(min(narrowest, width), int(said[0][2:]))}", candidate.url)

    async def _ask(self, path: str, params: dict[str, str | int | list[str]]) -> JsonValue:
        key = self._options.keys["UNSPLASH_ACCESS_KEY"]
        return await self._api.get(path, params, {"Authorization": f"Client-ID {key}", "Accept-Version": "v1"})


def _candidates(photo: JsonValue) -> Iterator[Candidate]:
    """One, or none of a drawing, and of a photo for paying subscribers, whose licence is another one."""
    url = photo.at("urls").text("regular")
    if photo.optional_text("asset_type") not in ("photo", "") or urlsplit(url).hostname == _SUBSCRIBERS:
        return
    number, user = photo.text("id"), photo.at("user")
    links = user.at("links") if user.has("links") else None
    page, profile = photo.at("links").text("html"), links.optional_text("html") if links else ""
    yield Candidate(
        url=url,
        source_id=number,
        landing_page=_referred(page),
        title=photo.optional_text("description") or photo.optional_text("alt_description"),
        author=user.optional_text("name") or user.optional_text("username"),
        license=stock_license("unsplash"),
        width=photo.optional_number("width"),
        height=photo.optional_number("height"),
        provenance_group=f"unsplash:{number}",
        taken_at=photo.optional_text("created_at"),
        author_page=_referred(profile),
        key=f"unsplash:{number}",
    )


def _referred(page: str) -> str:
    """A link back to Unsplash that says who leads there; "" for none."""
    return f"{page}{'&' if '?' in page else '?'}{_REFERRAL}" if page else ""
