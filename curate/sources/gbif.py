"""GBIF: the world's herbaria and observations, through one search.

The API's traps: a name must first be matched to a taxon key, and one that is not found is matched to whatever lies
above it, all plants if need be, or to whatever is spelt like it; the key of a synonym leads to the few records that
bear that name, its accepted one to all; most plant records with pictures are herbarium sheets, unless observations are
asked for; some say that the taxon was looked for and not there; one record holds several media, each with a licence of
its own that may be stricter than the record's; much of it is iNaturalist, at other sizes of the same files; and from
offset 10,000 on it is throttled.
https://api.gbif.org/v1/occurrence/search
"""

from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.authors import stated_author
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import License, read_license, reserves_rights
from curate.sources.protocol.picture_urls import modest_url, photo_of_page, provenance_group
from curate.sources.protocol.records import OddRecord, read_records
from curate.sources.protocol.taxa import Taxon, bears_name, begins_with, in_kingdom
from curate.web.answers import JsonValue
from curate.web.api import Api

LARGEST_PAGE = 300
SMALLEST_PAGE = 50
THROTTLED_FROM = 10_000
ALIVE = ("HUMAN_OBSERVATION", "MACHINE_OBSERVATION")
"""Kinds of records (`basisOfRecord`) of what lived when it was recorded."""
LINEAGE = (
    *("taxonKey", "acceptedTaxonKey", "kingdomKey", "phylumKey", "classKey", "orderKey", "familyKey", "genusKey"),
    *("subgenusKey", "speciesKey"),
)
NAMES = ("scientificName", "acceptedScientificName", "acceptedNameUsage", "species", "genus", "family")
ABSENT = "ABSENT"
"""What `occurrenceStatus` says of a record that somebody looked for the taxon and found none."""
OF_INATURALIST = "50c9509d-22c7-4a22-a47d-8c48425ef4a7"
"""The dataset of iNaturalist's observations, whose `catalogNumber` is the observation's."""
_RECORD_LICENSES = {"cc0": "CC0_1_0", "by": "CC_BY_4_0", "by-nc": "CC_BY_NC_4_0"}


class SpecimenLeft(OddRecord):
    """A record of a dead plant or animal, which nobody has asked for."""


class Search:
    """Occurrences with still images, by the taxon that matches the query."""

    home: ClassVar[str] = "https://api.gbif.org"
    turn: ClassVar[int | None] = 4
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:
        """`<taxon key>:<offset>` is the cursor."""
        taxon, _, start = (cursor or "").partition(":")
        note = ""
        if not (taxon.isascii() and taxon.isdigit()):
            found = await match_taxon(self._api, query)
            if isinstance(found, str):
                return CandidatePage((), note=found)
            taxon, start, note = str(found.key), "", found.said
        offset = whole_number(start, 0)
        limit = min(LARGEST_PAGE, max(SMALLEST_PAGE, wanted))
        answer = await self._api.get("/v1/occurrence/search", self._asked(taxon, limit, offset))
        records = list(answer.items("results"))
        specimens: list[JsonValue] = []

        def read(record: JsonValue) -> list[Candidate]:
            try:
                return list(occurrence_candidates(record, int(taxon), query.taxon, specimens=self._options.specimens))
            except SpecimenLeft:
                specimens.append(record)
                return []

        candidates, odd = read_records(records, read)
        step = answer.number("limit")
        if step <= 0:
            raise answer.changed(f"its limit is {step}")
        following = offset + step
        done = answer.at("endOfRecords").value is not False or not records or following >= THROTTLED_FROM
        return CandidatePage(candidates, None if done else f"{taxon}:{following}", odd, note, len(specimens))

    def _asked(self, taxon: str, limit: int, offset: int) -> dict[str, str | int | list[str]]:
        params: dict[str, str | int | list[str]] = {
            "taxonKey": taxon,
            "mediaType": "StillImage",
            "limit": limit,
            "offset": offset,
        }
        if not self._options.specimens:
            params["basisOfRecord"] = list(ALIVE)
        wished = self._options.licenses
        offered = sorted(_RECORD_LICENSES[code] for code in wished or () if code in _RECORD_LICENSES)
        if offered:
            params["license"] = offered
        return params


async def match_taxon(api: Api, query: Query) -> Taxon | str:
    """The accepted taxon that the query names, or in words why there is none."""
    params: dict[str, str | int | list[str]] = {"name": query.taxon}
    if query.kingdom:
        params["kingdom"] = query.kingdom
    answer = await api.get("/v1/species/match", params)
    kind = answer.text("matchType")
    # HIGHERRANK means that only some ancestor was found, for a mistyped name all plants; FUZZY, that another is near.
    kingdom = answer.optional_text("kingdom")
    names = [name for part in ("canonicalName", "scientificName") if (name := answer.optional_text(part))]
    elsewhere = not in_kingdom(kingdom, query.kingdom) or (query.kingdom and not kingdom)
    if kind != "EXACT" or elsewhere or (names and not bears_name(query.taxon, names)):
        within = f" among {query.kingdom}" if query.kingdom else ""
        return f"no taxon{within} is called '{query.taxon}'"
    key = "acceptedUsageKey" if answer.has("acceptedUsageKey") else "usageKey"
    name = answer.optional_text("species") or answer.optional_text("canonicalName") or query.taxon
    return Taxon(answer.number(key), name, answer.optional_text("rank"), kingdom)


def _license(media: JsonValue, record: JsonValue) -> License:
    """The medium's, or the record's where it has none; whoever reserves all rights in either gives none away."""
    fields = [(media, "rights"), (media, "rightsHolder")]
    fields += [(record, field) for field in ("license", "rights", "rightsHolder")]
    beside = [words for part, field in fields if reserves_rights(words := part.optional_text(field))]
    return read_license(media.optional_text("license") or record.optional_text("license"), beside=beside)


def occurrence_candidates(record: JsonValue, taxon: int, called: str, *, specimens: bool) -> Iterator[Candidate]:
    """The pictures of one record, as the service gives it.

    Raises OddRecord for one of another taxon, SpecimenLeft for one of a kind that is not wanted.

    A record without keys of taxa is judged by its names, one of which begins with `called`.
    """
    key = record.text("key")
    lineage = {record.value_of(name) for name in LINEAGE} - {None}
    if (taxon not in lineage) if lineage else not begins_with(called, map(record.optional_text, NAMES)):
        raise OddRecord(f"a record of {record.optional_text('scientificName')}, another taxon")
    if record.optional_text("occurrenceStatus").upper() == ABSENT:
        raise OddRecord("a record that the taxon was not there")
    basis = record.optional_text("basisOfRecord")
    if basis and basis not in ALIVE and not specimens:
        raise SpecimenLeft(f"a record of the kind {basis}")
    own_page = f"https://www.gbif.org/occurrence/{key}" if key.isdigit() else ""
    page = _observation_page(record) or record.optional_text("references")
    for index, media in enumerate(record.items("media")):
        if media.optional_text("type") not in ("StillImage", "") or not media.has("identifier"):
            continue
        landing_page = page or media.optional_text("references") or own_page
        group = provenance_group(landing_page)
        yield Candidate(
            url=modest_url(media.text("identifier")),
            source_id=f"{key}:{index}",
            landing_page=landing_page,
            title=record.optional_text("scientificName"),
            author=_author(media, record),
            license=_license(media, record),
            provenance_group=group if group.startswith("inaturalist:") else f"gbif:{key}",
            taken_at=media.optional_text("created") or record.optional_text("eventDate"),
            key=photo_of_page(media.optional_text("references")),
        )


def _observation_page(record: JsonValue) -> str:
    """The page of the observation on iNaturalist that a record is; "" for a record of another dataset."""
    for part in ("references", "occurrenceID"):
        if provenance_group(record.optional_text(part)).startswith("inaturalist:"):
            return record.optional_text(part)
    number = record.optional_text("catalogNumber")
    if record.optional_text("datasetKey") == OF_INATURALIST and number.isascii() and number.isdigit():
        return f"https://www.inaturalist.org/observations/{number}"
    return ""


def _author(media: JsonValue, record: JsonValue) -> str:
    """Whoever made the picture; where nobody is named, who holds the rights, else who recorded the plant."""
    for part, name in ((media, "creator"), (media, "rightsHolder"), (record, "rightsHolder"), (record, "recordedBy")):
        author = stated_author(part.optional_text(name))
        if author:
            return author
    return ""
