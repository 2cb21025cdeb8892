"""Flickr: photographs with a licence number each, for callers with a free key.

The API's traps: an error is a 200 whose `stat` is not "ok"; licence numbers mean what
`flickr.photos.licenses.getInfo` says; only the first 4,000 results of a search are real, later pages repeat
them; and a photo lacks the `url_*` of sizes that it does not have.
https://api.flickr.com/services/rest/
"""

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import UNKNOWN, License, read_license
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged, SourceFailed, SourceLimited
from curate.web.api import Api

RESULTS_PER_QUERY = 4000
PAGE_SIZE = 500
_SIZES = ("l", "o", "c", "z", "m")  # 1,024 pixels, the original, 800, 640, 500
_UNAVAILABLE = ("105", "106")


class Search:
    """Text search, photos only, safe ones."""

    home: ClassVar[str] = "https://api.flickr.com"
    turn: ClassVar[int | None] = 5
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ("FLICKR_API_KEY",)
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options
        self._licenses: dict[str, License] | None = None

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        if self._licenses is None:
            self._licenses = await self._read_licenses()
        number = whole_number(cursor, 1)
        params: dict[str, str | int] = {
            "text": query.text,
            "media": "photos",
            "safe_search": 1,
            "sort": "relevance",
            "per_page": PAGE_SIZE,
            "page": number,
            "extras": ",".join(["license,owner_name,o_dims,date_taken", *(f"url_{size}" for size in _SIZES)]),
        }
        wished = self._options.licenses
        if wished is not None:
            numbers = [key for key, license_ in self._licenses.items() if license_.code in wished]
            if not numbers:
                return CandidatePage(())
            params["license"] = ",".join(sorted(numbers, key=int))
        photos = (await self._call("flickr.photos.search", params)).at("photos")
        listed = list(photos.items("photo"))
        found, odd = read_records(listed, self._candidates)
        last = min(photos.number("pages"), RESULTS_PER_QUERY // PAGE_SIZE)
        return CandidatePage(found, str(number + 1) if number < last and listed else None, odd)

    async def _read_licenses(self) -> dict[str, License]:
        answer = (await self._call("flickr.photos.licenses.getInfo", {})).at("licenses")
        known: dict[str, License] = {}
        for entry in answer.items("license"):
            with contextlib.suppress(SourceChanged):  # an odd one is a licence that nobody knows
                number, name = str(entry.number("id")), entry.text("name")
                known[number] = read_license(name, url=entry.optional_text("url") or None)
        if not known:
            raise answer.changed("it names no licence")
        return known

    async def _call(self, method: str, params: dict[str, str | int]) -> JsonValue:
        key = self._options.keys["FLICKR_API_KEY"]
        fixed: dict[str, str | int] = {
            "method": method,
            "api_key": key,
            "format": "json",
            "nojsoncallback": 1,
        }
        answer = await self._api.get("/services/rest/", {**fixed, **params})
        if answer.text("stat") != "ok":
            code, message = answer.optional_text("code"), answer.optional_text("message")
            kind = SourceLimited if code in _UNAVAILABLE else SourceFailed
            raise kind(answer.source, f"it answered with error {code}: {message}")
        return answer

    def _candidates(self, photo: JsonValue) -> Iterator[Candidate]:
        """One, or none of a photo that comes in no size that is asked for."""
        size = next((size for size in _SIZES if photo.has(f"url_{size}")), None)
        if size is None:
            return
        owner, number = photo.text("owner"), photo.text("id")
        assert self._licenses is not None
        yield Candidate(
            url=photo.text(f"url_{size}"),
            source_id=number,
            landing_page=f"https://www.flickr.com/photos/{owner}/{number}",
            title=photo.optional_text("title"),
            author=photo.optional_text("ownername"),
            license=self._licenses.get(photo.text("license"), UNKNOWN),
            width=photo.optional_number(f"width_{size}"),
            height=photo.optional_number(f"height_{size}"),
            provenance_group=f"flickr.com/photos/{owner}/{number}",
            taken_at=_taken_at(photo),
        )


def _taken_at(photo: JsonValue) -> str:
    """When it was taken; "" where Flickr gives the time of the upload instead, or knows the month or year alone."""
    known = photo.optional_text("datetakenunknown") in ("", "0") and photo.optional_text("datetakengranularity") in (
        "",
        "0",
    )
    return photo.optional_text("datetaken") if known else ""
