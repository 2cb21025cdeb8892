"""Openverse: openly licensed pictures of some fifty collections, the licence on every result.

The API's traps: more than 20 results a page without a token is a 401; a query gives 240 results in all,
token or not, which pages of 20 and of 48 divide; a page beyond the last is a 4xx, so `page_count` decides; a token
lives twelve hours; and drawings are among the pictures, unless photographs are asked for.
https://api.openverse.org/v1/
"""

from typing import ClassVar

from curate.sources.protocol.authors import stated_author
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import CREATIVE_COMMONS, read_license
from curate.sources.protocol.picture_urls import modest_url, provenance_group
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged, SourceFailed, SourceRefused
from curate.web.api import Api

RESULTS_PER_QUERY = 240
LONGEST_QUERY = 200


class Search:
    """Without a token 20 results a page and 20 requests a minute; with one 50 and 100."""

    home: ClassVar[str] = "https://api.openverse.org"
    turn: ClassVar[int | None] = 1
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options
        self._token: str | None = None

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        size = 48 if self._has_keys() else 20
        number = whole_number(cursor, 1)
        params: dict[str, str | int | list[str]] = {
            "q": query.text[:LONGEST_QUERY],
            "page": number,
            "page_size": size,
            "category": "photograph",
        }
        licenses = self._options.licenses
        if licenses is not None:
            offered = sorted(licenses & CREATIVE_COMMONS)
            if not offered:
                return CandidatePage(())
            params["license"] = ",".join(offered)
        answer = await self._ask(params)
        results = list(answer.items("results"))
        candidates, odd = read_records(results, lambda result: [_candidate(result)])
        more = number < answer.number("page_count") and number * size < RESULTS_PER_QUERY
        return CandidatePage(candidates, str(number + 1) if more and results else None, odd)

    async def _ask(self, params: dict[str, str | int | list[str]]) -> JsonValue:
        """One page; where a token has expired, with another one."""
        headers = await self._authorization()
        try:
            return await self._api.get("/v1/images/", params, headers)
        except SourceRefused:
            if not headers:
                raise
        self._token = None
        return await self._api.get("/v1/images/", params, await self._authorization())

    def _has_keys(self) -> bool:
        keys = self._options.keys
        return bool(keys.get("OPENVERSE_CLIENT_ID") and keys.get("OPENVERSE_CLIENT_SECRET"))

    async def _authorization(self) -> dict[str, str]:
        if not self._has_keys():
            return {}
        if self._token is None:
            keys = self._options.keys
            form = {
                "grant_type": "client_credentials",
                "client_id": keys["OPENVERSE_CLIENT_ID"],
                "client_secret": keys["OPENVERSE_CLIENT_SECRET"],
            }
            try:
                answer = await self._api.post("/v1/auth_tokens/token/", form)
                self._token = answer.text("access_token")
            except SourceChanged:
                raise
            except SourceFailed as failed:
                reason = f"no token for OPENVERSE_CLIENT_ID: {failed.reason}"
                raise SourceFailed(failed.source, reason) from failed
            self._api.allow(per_minute=100)
        return {"Authorization": f"Bearer {self._token}"}


def _candidate(result: JsonValue) -> Candidate:
    width = result.optional_number("width")
    landing_page = result.optional_text("foreign_landing_url")
    return Candidate(
        url=modest_url(result.text("url"), width),
        source_id=result.text("id"),
        landing_page=landing_page,
        title=result.optional_text("title"),
        author=stated_author(result.optional_text("creator")),
        license=read_license(
            result.text("license"),
            result.optional_text("license_version"),
            result.optional_text("license_url"),
        ),
        width=width,
        height=result.optional_number("height"),
        provenance_group=provenance_group(landing_page),
    )
