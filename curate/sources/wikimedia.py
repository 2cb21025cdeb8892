"""Wikimedia Commons: the free pictures behind Wikipedia, with author and licence in `extmetadata`.

The API's traps: the whole `continue` object must go into the next call; one continued by its properties (`iicontinue`)
repeats pages that had no `imageinfo` yet; `maxlag` comes as a 200 with an error inside; the author is HTML, and may be
absent while `Credit` names the source; and a thumbnail of any width but the listed ones is answered with 429.
https://commons.wikimedia.org/w/api.php
"""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import ClassVar

from curate.sources.protocol.authors import stated_author
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.licenses import UNKNOWN, License, read_license
from curate.sources.protocol.picture_urls import MODEST_WIDTH, provenance_group
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged, SourceFailed, SourceLimited
from curate.web.api import Api
from curate.web.retries import FetchFailed, patiently

MAXLAG_SECONDS = 5
LONGEST_CONTINUE = 2000  # characters
_OWN_WORK = re.compile(r"(?:own work|self[- ](?:made|photographed)|eigenes werk|travail personnel)\b", re.IGNORECASE)
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})  # elements without an end
_PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff")


class Search:
    """Full-text search over file pages, bitmaps only."""

    home: ClassVar[str] = "https://commons.wikimedia.org"
    turn: ClassVar[int | None] = 2
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:  # noqa: ARG002
        self._api = api

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The `continue` object is the cursor."""
        return await self.found(query.text, cursor)

    async def found(self, words: str, cursor: str | None) -> CandidatePage:
        """A page of the bitmaps that a search by these words finds, which may be any of CirrusSearch's."""
        params: dict[str, str | int | list[str]] = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "generator": "search",
            "gsrnamespace": 6,
            "gsrsearch": f"{words} filetype:bitmap",
            "gsrlimit": 50,
            "prop": "imageinfo",
            "iiprop": "url|size|mime|sha1|user|extmetadata",
            "iiurlwidth": MODEST_WIDTH,
            "maxlag": MAXLAG_SECONDS,
            **_continued(cursor),
        }
        answer = await self._ask(params)
        following = _following(answer.at("continue")) if answer.has("continue") else None
        if not answer.has("query"):
            if not (answer.has("batchcomplete") or following):
                raise answer.changed("neither 'query' nor 'batchcomplete' is in it")
            return CandidatePage((), following)
        pages = sorted(answer.at("query").items("pages"), key=_place)
        described = [page for page in pages if not _is_bare(page)]
        if len(pages) > 1 and not described and answer.has("batchcomplete"):
            raise answer.changed("no page has 'imageinfo'")
        found, odd = read_records(described, _candidates)
        bare = len(pages) - len(described) if answer.has("batchcomplete") else 0  # else they are told again later
        return CandidatePage(found, following, odd + bare)

    async def _ask(self, params: dict[str, str | int | list[str]]) -> JsonValue:
        try:
            return await patiently(lambda: self._attempt(params))
        except FetchFailed as failed:
            raise SourceLimited("wikimedia", f"{failed.reason}; run the same command again later") from failed

    async def _attempt(self, params: dict[str, str | int | list[str]]) -> JsonValue:
        answer = await self._api.get("/w/api.php", params)
        if not answer.has("error"):
            return answer
        error = answer.at("error")
        code, info = error.text("code"), error.optional_text("info")
        if code == "maxlag":
            self._api.pause(MAXLAG_SECONDS)
            raise FetchFailed("lagging", "its database lags behind (maxlag)", passing=True, retry_after=MAXLAG_SECONDS)
        if code == "ratelimited":
            raise SourceLimited(answer.source, f"{info or code}; run the same command again later")
        raise SourceFailed(answer.source, f"it answered with the error '{code}': {info}")


def _continued(cursor: str | None) -> dict[str, str]:
    """The `continue` object that a cursor is; the first page where it is none of ours."""
    try:
        stated = json.loads(cursor or "{}")
        return {key: str(value) for key, value in stated.items() if isinstance(value, (str, int))}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _following(answer: JsonValue) -> str:
    if not isinstance(answer.value, dict):
        raise answer.changed(f"{answer.where} is no object")
    stated = json.dumps({key: answer.text(key) for key in answer.value}, sort_keys=True, ensure_ascii=False)
    if not stated.isascii() or len(stated) > LONGEST_CONTINUE:
        raise answer.changed(f"{answer.where} is no list of places")
    return stated


def _place(page: JsonValue) -> int:
    """Where a page stands in the order of the search; an odd one comes first."""
    try:
        return page.optional_number("index") or 0
    except SourceChanged:
        return 0


def _is_bare(page: JsonValue) -> bool:
    """Whether a page has no `imageinfo` yet, and is told again later."""
    return isinstance(page.value, dict) and not page.has("imageinfo")


def _candidates(page: JsonValue) -> Iterator[Candidate]:
    info = next(page.items("imageinfo"), None)
    if info is None:
        raise SourceChanged(page.source, f"its answer has changed shape: {page.where} has an empty 'imageinfo'")
    if info.optional_text("mime") not in _PICTURES:
        return
    width = info.number("width")
    landing_page = info.text("descriptionurl")
    scaled = width > MODEST_WIDTH and info.has("thumburl")
    yield Candidate(
        url=info.text("thumburl") if scaled else info.text("url"),
        source_id=page.text("pageid"),
        landing_page=landing_page,
        title=page.text("title").removeprefix("File:"),
        author=_author(info),
        license=_license(info),
        width=width,
        height=info.number("height"),
        provenance_group=provenance_group(landing_page),
        taken_at=plain_text(_metadata(info, "DateTimeOriginal")),
    )


def _author(info: JsonValue) -> str:
    """The artist, else whom the credit line names; "" where neither is known.

    Whoever uploaded the file is its author only where the file is said to be the uploader's own work.
    """
    credit = plain_text(_metadata(info, "Credit"))
    # How the author wants to be named comes first: https://commons.wikimedia.org/wiki/Commons:Machine-readable_data
    named = stated_author(plain_text(_metadata(info, "Attribution")))
    author = named or stated_author(plain_text(_metadata(info, "Artist")))
    if not author and _OWN_WORK.match(credit):
        return info.optional_text("user")
    return author or stated_author(credit)


def _license(info: JsonValue) -> License:
    if _metadata(info, "NonFree").lower() == "true":
        return UNKNOWN
    beside = [plain_text(_metadata(info, field)) for field in ("LicenseShortName", "UsageTerms")]
    return read_license(_metadata(info, "License"), url=_metadata(info, "LicenseUrl") or None, beside=beside)


def _metadata(info: JsonValue, key: str) -> str:
    if not info.has("extmetadata"):
        return ""
    # An empty extmetadata comes as [], one with fields as an object.
    fields = info.at("extmetadata")
    if fields.value == [] or not fields.has(key):
        return ""
    return fields.at(key).text("value")


class _Text(HTMLParser):
    """Collects the words that a reader sees: not what is hidden, nor styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden: list[str] = []  # the elements from the one on that hides what is in it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = "".join((dict(attrs).get("style") or "").lower().split())
        if tag not in _VOID and (self._hidden or tag in {"style", "script"} or "display:none" in style):
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[len(self._hidden) - 1 - self._hidden[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def plain_text(html: str) -> str:
    """The words of a fragment of HTML. Raises ValueError where it is none that the parser knows."""
    parser = _Text()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError as error:  # for "<![odd["
        raise ValueError(f"no HTML: {error}") from error
    return " ".join("".join(parser.pieces).split())
