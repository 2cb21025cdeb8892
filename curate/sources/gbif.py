"""GBIF: the world's herbaria and observations, through one search.

The API's traps: a name must first be matched to a taxon key, and one that is not found is matched to
whatever lies above it, all plants if need be; one record holds several media, each with a
licence of its own that may be stricter than the record's; much of it is iNaturalist, at other sizes of the
same files; and from offset 10,000 on it is throttled.
https://api.gbif.org/v1/occurrence/search
"""

from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import read_license
from curate.sources.protocol.picture_urls import modest_url, provenance_group
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue
from curate.web.api import Api

LARGEST_PAGE = 300
SMALLEST_PAGE = 50
THROTTLED_FROM = 10_000
_RECORD_LICENSES = {"cc0": "CC0_1_0", "by": "CC_BY_4_0", "by-nc": "CC_BY_NC_4_0"}


class Search:
    """Occurrences with still images, by the taxon that matches the query."""

    home: ClassVar[str] = "https://api.gbif.org"
    turn: ClassVar[int | None] = 4
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:
        """`<taxon key>:<offset>` is the cursor."""
        taxon, _, start = (cursor or "").partition(":")
        taxon = taxon or await self._taxon(query)
        if not taxon:
            return CandidatePage(())
        offset = whole_number(start, 0)
        limit = min(LARGEST_PAGE, max(SMALLEST_PAGE, wanted))
        params: dict[str, str | int | list[str]] = {
            "taxonKey": taxon,
            "mediaType": "StillImage",
            "limit": limit,
            "offset": offset,
        }
        wished = self._options.licenses
        offered = sorted(_RECORD_LICENSES[code] for code in wished or () if code in _RECORD_LICENSES)
        if offered:
            params["license"] = offered
        answer = await self._api.get("/v1/occurrence/search", params)
        records = list(answer.items("results"))
        candidates, odd = read_records(records, _candidates)
        step = answer.number("limit")
        if step <= 0:
            raise answer.changed(f"its limit is {step}")
        following = offset + step
        done = answer.at("endOfRecords").value is not False or not records or following >= THROTTLED_FROM
        return CandidatePage(candidates, None if done else f"{taxon}:{following}", odd)

    async def _taxon(self, query: Query) -> str:
        answer = await self._api.get("/v1/species/match", {"name": query.taxon})
        kind = answer.text("matchType")
        # HIGHERRANK means that only some ancestor was found: for a mistyped name, all plants.
        return answer.text("usageKey") if kind in ("EXACT", "FUZZY") else ""


def _candidates(record: JsonValue) -> Iterator[Candidate]:
    key = record.text("key")
    page = record.optional_text("references")
    for index, media in enumerate(record.items("media")):
        if media.optional_text("type") not in ("StillImage", "") or not media.has("identifier"):
            continue
        landing_page = page or media.optional_text("references") or f"https://www.gbif.org/occurrence/{key}"
        stated = media.optional_text("license") or record.optional_text("license")
        group = provenance_group(landing_page)
        yield Candidate(
            url=modest_url(media.text("identifier")),
            source_id=f"{key}:{index}",
            landing_page=landing_page,
            title=record.optional_text("scientificName"),
            author=media.optional_text("creator") or media.optional_text("rightsHolder"),
            license=read_license(stated),
            provenance_group=group if group.startswith("inaturalist:") else f"gbif:{key}",
        )
