"""iNaturalist: observations of species that people have identified.

The API's traps: deep `page` is not supported, so `id_above` walks; `photo_license` means that at least one
photo of the observation has it, so each photo's own `license_code` counts; `url` is a 75-pixel square; and
the photos of one observation show one plant, so they are one provenance group.
https://api.inaturalist.org/v1/observations
"""

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.licenses import UNKNOWN, read_license
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged
from curate.web.api import Api

LARGEST_PAGE = 200
SMALLEST_PAGE = 30
CC_VERSION = "4.0"  # of every Creative Commons licence there; the answer gives the bare code
UNLICENSED_HOST = "static.inaturalist.org"


class Search:
    """Research-grade observations with photos, by taxon name."""

    home: ClassVar[str] = "https://api.inaturalist.org"
    turn: ClassVar[int | None] = 3
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:
        """The last observation's id is the cursor."""
        size = min(LARGEST_PAGE, max(SMALLEST_PAGE, wanted))
        params: dict[str, str | int | list[str]] = {
            "taxon_name": query.taxon,
            "quality_grade": "research",
            "photos": "true",
            "per_page": size,
            "order_by": "id",
            "order": "asc",
        }
        if self._options.licenses is not None:
            codes = {_code(code) for code in self._options.licenses}
            params["photo_license"] = ",".join(sorted(codes))
        if cursor is not None:
            params["id_above"] = cursor
        answer = await self._api.get("/v1/observations", params)
        answer.number("total_results")
        observations = list(answer.items("results"))
        candidates, odd = read_records(observations, _candidates)
        full = len(observations) >= size
        return CandidatePage(candidates, _last(answer, observations) if full else None, odd)


def _last(answer: JsonValue, observations: list[JsonValue]) -> str:
    """The id of the last observation that has one. Raises SourceChanged where none has."""
    for observation in reversed(observations):
        with contextlib.suppress(SourceChanged):
            return str(observation.number("id"))
    raise answer.changed("no observation has an 'id'")


def _candidates(observation: JsonValue) -> Iterator[Candidate]:
    number = observation.text("id")
    user = observation.at("user")
    title = ""
    if observation.has("taxon"):
        taxon = observation.at("taxon")
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
        )


def _code(code: str) -> str:
    """Our code as iNaturalist writes it."""
    return {"cc0": "cc0", "pdm": "pd", "pd": "pd"}.get(code, f"cc-{code}")
