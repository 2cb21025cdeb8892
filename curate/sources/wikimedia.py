"""Wikimedia Commons: the free pictures behind Wikipedia, with author and licence in `extmetadata`.

The API's traps: the whole `continue` object must go into the next call; one continued by its properties
(`iicontinue`) repeats pages that had no `imageinfo` yet; `maxlag` comes as a 200 with an error inside; the
author is HTML; and a thumbnail of any width but the listed ones is answered with 429.
https://commons.wikimedia.org/w/api.php
"""

import json
from html.parser import HTMLParser
from typing import ClassVar

from curate.scraping.image_search import Candidate, Options, Page, Query
from curate.scraping.licenses import License, read_license
from curate.scraping.picture_urls import MODEST_WIDTH, provenance_group
from curate.web.answers import Answer, SourceChanged, SourceFailed, SourceLimited
from curate.web.api import Api

MAXLAG_SECONDS = 5
PATIENCE = 4
_PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff")


class Search:
    """Full-text search over file pages, bitmaps only."""

    home: ClassVar[str] = "https://commons.wikimedia.org"
    turn: ClassVar[int | None] = 2
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: Options) -> None:  # noqa: ARG002
        self._api = api

    async def page(self, query: Query, wanted: int, cursor: str | None) -> Page:  # noqa: ARG002
        """The `continue` object is the cursor."""
        params: dict[str, str | int | list[str]] = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "generator": "search",
            "gsrnamespace": 6,
            "gsrsearch": f"{query.text} filetype:bitmap",
            "gsrlimit": 50,
            "prop": "imageinfo",
            "iiprop": "url|size|mime|sha1|user|extmetadata",
            "iiurlwidth": MODEST_WIDTH,
            "maxlag": MAXLAG_SECONDS,
            **(json.loads(cursor) if cursor else {}),
        }
        answer = await self._ask(params)
        following = json.dumps(answer.at("continue").value, sort_keys=True) if answer.has("continue") else None
        if not answer.has("query"):
            if not (answer.has("batchcomplete") or following):
                raise answer.changed("neither 'query' nor 'batchcomplete' is in it")
            return Page((), following)
        pages = sorted(answer.at("query").items("pages"), key=lambda page: page.optional_number("index") or 0)
        described = [page for page in pages if page.has("imageinfo")]
        if pages and not described and answer.has("batchcomplete"):
            raise answer.changed("no page has 'imageinfo'")
        return Page(tuple(found for page in described if (found := _candidate(page))), following)

    async def _ask(self, params: dict[str, str | int | list[str]]) -> Answer:
        for _ in range(PATIENCE):
            answer = await self._api.get("/w/api.php", params)
            if not answer.has("error"):
                return answer
            error = answer.at("error")
            code, info = error.text("code"), error.optional_text("info")
            if code == "ratelimited":
                raise SourceLimited(answer.source, f"{info or code}; run the same command again later")
            if code != "maxlag":
                raise SourceFailed(answer.source, f"it answered with the error '{code}': {info}")
            self._api.pause(MAXLAG_SECONDS)
        raise SourceLimited("wikimedia", "its database lags behind (maxlag); run the same command again later")


def _candidate(page: Answer) -> Candidate | None:
    info = next(page.items("imageinfo"), None)
    if info is None:
        raise SourceChanged(page.source, f"its answer has changed shape: {page.where} has an empty 'imageinfo'")
    if info.optional_text("mime") not in _PICTURES:
        return None
    width = info.number("width")
    landing_page = info.text("descriptionurl")
    scaled = width > MODEST_WIDTH and info.has("thumburl")
    return Candidate(
        url=info.text("thumburl") if scaled else info.text("url"),
        source_id=page.text("pageid"),
        landing_page=landing_page,
        title=page.text("title").removeprefix("File:"),
        author=plain_text(_metadata(info, "Artist")) or info.optional_text("user"),
        license=_license(info),
        width=width,
        height=info.number("height"),
        provenance_group=provenance_group(landing_page),
    )


def _license(info: Answer) -> License:
    url = _metadata(info, "LicenseUrl")
    own = read_license(_metadata(info, "License"), url=url or None)
    return own if own.code else read_license(_metadata(info, "LicenseShortName"), url=url or None)


def _metadata(info: Answer, key: str) -> str:
    if not info.has("extmetadata"):
        return ""
    # An empty extmetadata comes as [], one with fields as an object.
    fields = info.at("extmetadata")
    if fields.value == [] or not fields.has(key):
        return ""
    return fields.at(key).text("value")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def plain_text(html: str) -> str:
    """The words of a fragment of HTML."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return " ".join("".join(parser.pieces).split())
