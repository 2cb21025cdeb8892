"""iNaturalist: observations of species that people have identified.

The API's traps: `taxon_name` is a full-text match on any name of any taxon ("Scabiosa" takes *Centaurea scabiosa*), so
the name is resolved once and observations are asked for by `taxon_id`; deep `page` is not supported, so `id_above`
walks; `photo_license` means that at least one photo of the observation has it, so each photo's own `license_code`
counts; `url` is a 75-pixel square; and the photos of one observation show one plant, so they are one provenance group.
https://api.inaturalist.org/v1/observations
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.licenses import CREATIVE_COMMONS, UNKNOWN, read_license
from curate.sources.protocol.records import OddRecord, read_records
from curate.sources.protocol.taxa import Taxon, best_taxon
from curate.web.answers import JsonValue, SourceChanged
from curate.web.api import Api

LARGEST_PAGE = 200
SMALLEST_PAGE = 30
CC_VERSION = "4.0"  # of every Creative Commons licence there; the answer gives the bare code
UNLICENSED_HOST = "static.inaturalist.org"
_TAXA = 50  # of a name, the most observed first
_WINDOWS = 8  # equal spans of ids, asked in turn, so that a class is of many years, places and observers
_SPREAD = (0, 4, 2, 6, 1, 5, 3, 7)
_LICENSES = CREATIVE_COMMONS | {"pd"}
_LARGEST_ID = (1 << 62) - 1

Params = dict[str, str | int | list[str]]


@dataclass(frozen=True)
class _Walk:
    """How far a search is: the taxon, in each window that is left the ids passed and the last, and whose turn it is."""

    taxon: int
    said: str
    windows: list[tuple[int, int]]
    turn: int = 0

    @classmethod
    def read(cls, cursor: str) -> "_Walk | None":
        """The walk that a cursor is; None where it is none of ours."""
        try:
            stated = json.loads(cursor)
            windows = [(int(above), int(last)) for above, last in stated["windows"]]
            return cls(int(stated["taxon"]), str(stated["said"]), windows, int(stated["turn"])) if windows else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def after(self, passed: int | None) -> str | None:
        """The cursor of the next page: its window is left where it has passed an id, and dropped where it is read."""
        at = self.turn % len(self.windows)
        rest = list(self.windows)
        if passed is None:
            del rest[at]
        else:
            rest[at] = (passed, rest[at][1])
        turn = at if passed is None else at + 1
        return json.dumps(asdict(replace(self, windows=rest, turn=turn % len(rest)))) if rest else None


class Search:
    """Research-grade observations with photos, of one taxon."""

    home: ClassVar[str] = "https://api.inaturalist.org"
    turn: ClassVar[int | None] = 3
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:
        """The cursor is the taxon and the ids that were passed, window by window."""
        if self._options.licenses is not None and not self._options.licenses & _LICENSES:
            return CandidatePage(())
        walk = _Walk.read(cursor) if cursor is not None else None
        if walk is None:
            taxon = await self._taxon(query)
            if isinstance(taxon, str):
                return CandidatePage((), note=taxon)
            walk = await self._begin(taxon)
            if walk is None:
                return CandidatePage((), note=f"{taxon.said}: no observation with a photo that fits")
        above, last = walk.windows[walk.turn % len(walk.windows)]
        size = min(LARGEST_PAGE, max(SMALLEST_PAGE, wanted))
        answer = await self._api.get(
            "/v1/observations",
            {**self._asked(walk.taxon), "per_page": size, "order": "asc", "id_above": above, "id_below": last + 1},
        )
        answer.number("total_results")
        observations = list(answer.items("results"))
        candidates, odd = read_records(observations, lambda one: _candidates(one, walk.taxon))
        passed = _last(answer, observations) if len(observations) >= size else None
        return CandidatePage(candidates, walk.after(passed), odd, walk.said)

    async def _taxon(self, query: Query) -> Taxon | str:
        """The taxon that the query means, or in words why there is none."""
        answer = await self._api.get("/v1/taxa", {"q": query.taxon, "is_active": "true", "per_page": _TAXA})
        entries = list(answer.items("results"))
        taxa = [taxon for entry in entries if (taxon := _read_taxon(entry)) is not None]
        if entries and not taxa:
            raise answer.changed("no taxon has an 'id' and a 'name'")
        return best_taxon(query, taxa)

    async def _begin(self, taxon: Taxon) -> _Walk | None:
        """The windows of a new search, from the first id to the newest; None where nothing is found."""
        asked: Params = {**self._asked(taxon.key), "per_page": SMALLEST_PAGE, "order": "desc"}
        answer = await self._api.get("/v1/observations", asked)
        total, newest = answer.number("total_results"), list(answer.items("results"))
        if not newest:
            return None
        end = _last(answer, newest[::-1])
        count = _WINDOWS if total > _WINDOWS * SMALLEST_PAGE else 1
        edges = [end * place // count for place in range(count + 1)]
        order = _SPREAD if count == _WINDOWS else (0,)
        return _Walk(taxon.key, taxon.said, [(edges[place], edges[place + 1]) for place in order])

    def _asked(self, taxon: int) -> Params:
        params: Params = {"taxon_id": taxon, "quality_grade": "research", "photos": "true", "order_by": "id"}
        if self._options.licenses is not None:
            known = self._options.licenses & _LICENSES
            params["photo_license"] = ",".join(sorted({_code(code) for code in known}))
        return params


def _read_taxon(entry: JsonValue) -> Taxon | None:
    """The taxon that a record is; None for an odd one."""
    names = ("preferred_common_name", "english_common_name", "matched_term")
    try:
        return Taxon(
            entry.number("id"),
            entry.text("name"),
            entry.optional_text("rank"),
            entry.optional_text("iconic_taxon_name"),
            tuple(entry.optional_text(name) for name in names),
        )
    except SourceChanged:
        return None


def _last(answer: JsonValue, observations: list[JsonValue]) -> int:
    """The id of the last observation that has one. Raises SourceChanged where none has."""
    for observation in reversed(observations):
        with contextlib.suppress(SourceChanged):
            return min(observation.number("id"), _LARGEST_ID)
    raise answer.changed("no observation has an 'id'")


def _candidates(observation: JsonValue, wanted: int) -> Iterator[Candidate]:
    number = observation.text("id")
    user = observation.at("user")
    taxon = observation.at("taxon")
    if not _belongs(taxon, wanted):
        raise OddRecord(f"an observation of {taxon.optional_text('name')}, another taxon")
    title = taxon.optional_text("preferred_common_name") or taxon.optional_text("name")
    for photo in observation.items("photos"):
        url = photo.text("url")
        license_ = read_license(photo.optional_text("license_code"), version=CC_VERSION)
        size = photo.at("original_dimensions") if photo.has("original_dimensions") else None
        yield Candidate(
            url=url.replace("/square.", "/large.", 1),
            source_id=photo.text("id"),
            landing_page=observation.text("uri"),
            title=title,
            author=user.optional_text("name") or user.text("login"),
            license=UNKNOWN if UNLICENSED_HOST in url else license_,
            width=size.optional_number("width") if size else None,
            height=size.optional_number("height") if size else None,
            provenance_group=f"inaturalist:{number}",
            taken_at=observation.optional_text("time_observed_at"),
        )


def _belongs(taxon: JsonValue, wanted: int) -> bool:
    """Whether a record's taxon is the wanted one, or lies below it."""
    ancestors = [part.value for part in taxon.items("ancestor_ids")] if taxon.has("ancestor_ids") else []
    return taxon.number("id") == wanted or wanted in ancestors


def _code(code: str) -> str:
    """Our code as iNaturalist writes it."""
    return {"cc0": "cc0", "pdm": "pd", "pd": "pd"}.get(code, f"cc-{code}")
