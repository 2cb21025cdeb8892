"""The answers of Openverse, Wikimedia Commons, iNaturalist, GBIF and Flickr, over one folder of pictures."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from testing.fixtures import LICENSES, Offer, ServedPicture
from testing.webserver import Request

THUMBNAIL_WIDTHS = frozenset({20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840})
_FLICKR_NUMBERS = {"all rights reserved": 0, "by-nc": 2, "by": 4, "by-sa": 5, "cc0": 9, "pdm": 10}
FIRST_TAXON = 100
"""The key of the first class's taxon."""
_TOKEN = "a-token-of-the-local-web"  # noqa: S105 — it opens nothing

Json = dict[str, Any]
Answered = tuple[Json, dict[str, str]]


class ServiceError(Exception):
    """An answer that is not a 200."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


def _license_url(code: str) -> str:
    public = {"cc0": "publicdomain/zero/1.0/", "pdm": "publicdomain/mark/1.0/"}
    return f"https://creativecommons.org/{public.get(code, f'licenses/{code}/4.0/')}"


def openverse(offer: Offer, request: Request, path: str) -> Answered:
    """20 results a page without a token, 50 with one; 240 in all; limits in the headers."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and token != _TOKEN:
        raise ServiceError(401, {"detail": "Authentication credentials were not provided or are expired."})
    if path == "/v1/auth_tokens/token/":
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != ["client_credentials"] or "client_secret" not in form:
            raise ServiceError(401, {"error": "invalid_client"})
        return {"access_token": _TOKEN, "expires_in": 36000, "token_type": "Bearer", "scope": "read"}, {}
    if path != "/v1/images/":
        raise ServiceError(404, {"detail": "Not found."})
    query = request.query
    page, size = int(query.get("page", 1)), int(query.get("page_size", 20))
    if size > (50 if token else 20):
        raise ServiceError(401, {"detail": {"page_size": "must be at most 20 for anonymous requests"}})
    if page * size > 240:
        raise ServiceError(400, {"detail": {"page": "at most 240 results per query"}})
    wanted = set(query["license"].split(",")) if "license" in query else None
    found = [
        picture
        for picture in offer.search("openverse", query.get("q", ""))
        if picture.license in (wanted or set(LICENSES)) and picture.license != "all rights reserved"
    ]
    pages = min(-(-len(found) // size), 240 // size)
    answer = {
        "result_count": len(found),
        "page_count": pages,
        "page_size": size,
        "page": page,
        "results": [_openverse_result(offer, one) for one in found[(page - 1) * size : page * size]],
    }
    headers = {"X-RateLimit-Limit-anon_burst": "20/min", "X-RateLimit-Available-anon_burst": "19"}
    return answer, headers


def _openverse_result(offer: Offer, picture: ServedPicture) -> Json:
    version = "1.0" if picture.license in ("cc0", "pdm") else "4.0"
    return {
        "id": f"00000000-0000-4000-8000-{picture.number:012d}",
        "title": _commons_title(picture),
        "url": _relayed_url(offer, "openverse", picture),
        "foreign_landing_url": _landing_page(offer, picture),
        "creator": picture.author,
        "license": picture.license,
        "license_version": version,
        "license_url": _license_url(picture.license),
        "attribution": f'"{picture.path.stem}" by {picture.author}',
        "provider": "flowers",
        "source": "flowers",
        "width": picture.width,
        "height": picture.height,
        "filetype": picture.path.suffix[1:],
        "tags": [],
    }


def _landing_page(offer: Offer, picture: ServedPicture) -> str:
    """The page of a picture at its home; on iNaturalist the photo's, as the service has it, not its observation's."""
    pages = {
        "inaturalist": f"https://www.inaturalist.org/photos/{picture.number}",
        "wikimedia": _file_page(picture),
        "flickr": _photo_page(picture),
    }
    return pages[picture.home] if offer.relayed else f"https://flowers.example/pictures/{picture.number}"


def _relayed_url(offer: Offer, service: str, picture: ServedPicture) -> str:
    """Where the picture lies: at its home, where a service only passes it on."""
    sizes = {"inaturalist": "large", "wikimedia": "original", "flickr": "large"}
    return offer.url(picture.home, picture, sizes[picture.home]) if offer.relayed else offer.url(service, picture)


def _commons_title(picture: ServedPicture) -> str:
    """Photos of one plant bear one title, and a number."""
    return f"{picture.label} {picture.observation} ({picture.number % 2 + 1}).jpg"


def _flickr_number(picture: ServedPicture) -> int:
    """Photos of one plant were uploaded one after the other; between two plants many others were."""
    return 20_000 * picture.observation + picture.number % 2


def _file_page(picture: ServedPicture) -> str:
    return f"https://commons.wikimedia.org/wiki/File:{_commons_title(picture)}"


def _photo_page(picture: ServedPicture) -> str:
    return f"https://www.flickr.com/photos/{picture.observation % 7}@N00/{_flickr_number(picture)}"


def wikimedia(offer: Offer, request: Request, path: str) -> Answered:
    """50 files a call, `continue` until absent; thumbnails at the documented widths alone."""
    query = request.query
    if path != "/w/api.php" or query.get("action") != "query":
        raise ServiceError(404, {"error": {"code": "badvalue", "info": "Unrecognized value"}})
    if int(query.get("iiurlwidth", 960)) not in THUMBNAIL_WIDTHS:
        raise ServiceError(429, {"error": {"code": "ratelimited", "info": "Use a documented thumbnail width"}})
    limit, offset = min(int(query.get("gsrlimit", 10)), 50), int(query.get("gsroffset", 0))
    words = query.get("gsrsearch", "").removesuffix("filetype:bitmap").strip()
    category = re.fullmatch(r'(deep|in)category:"([^"]*)"', words)
    found = offer.search("wikimedia", category[2] if category else words)
    if category and category[1] == "deep" and len(found) > offer.deepest:
        found = []  # so the service answers where too many categories lie below
    part = found[offset : offset + limit]
    answer: Json = {"batchcomplete": True}
    if part:
        pages = [_wikimedia_page(offer, one, offset + place) for place, one in enumerate(part, 1)]
        # By page id, as the service answers: `index` holds the order of the search.
        answer["query"] = {"pages": sorted(pages, key=lambda page: -int(page["pageid"]))}
    if offset + limit < len(found):
        answer["continue"] = {"gsroffset": offset + limit, "continue": "gsroffset||"}
    return answer, {}


def _wikimedia_page(offer: Offer, picture: ServedPicture, index: int) -> Json:
    title = f"File:{_commons_title(picture)}"
    free = picture.license != "all rights reserved"
    short = {"cc0": "CC0", "pdm": "Public domain"}.get(picture.license, f"CC {picture.license.upper()} 4.0")
    metadata = {
        "Artist": {"value": f'<a href="//commons.wikimedia.org/wiki/User:B">{picture.author}</a>', "source": "x"},
        "DateTimeOriginal": {"value": picture.taken_at.replace("T", " "), "source": "x"},
        "LicenseShortName": {"value": short if free else "Fair use", "source": "x"},
    }
    if free and picture.license != "pdm":
        code = "cc0" if picture.license == "cc0" else f"cc-{picture.license}-4.0"
        metadata["License"] = {"value": code, "source": "x"}
        metadata["LicenseUrl"] = {"value": _license_url(picture.license), "source": "x"}
    info = {
        "url": offer.url("wikimedia", picture),
        "thumburl": offer.url("wikimedia", picture, "960px"),
        "descriptionurl": _file_page(picture),
        "width": picture.width,
        "height": picture.height,
        "size": picture.path.stat().st_size,
        "mime": picture.kind,
        "sha1": f"{picture.number:040x}",
        "user": "Uploader",
        "extmetadata": metadata,
    }
    return {"pageid": 5000 + picture.number, "ns": 6, "title": title, "index": index, "imageinfo": [info]}


def inaturalist(offer: Offer, request: Request, path: str) -> Answered:
    """Taxa by name; observations of up to two photos each, by id; no deep pages."""
    query = request.query
    if path == "/v1/taxa":
        named = offer.search("inaturalist", query.get("q", ""))
        taxa = [{**_taxon(offer, named[0].label), "matched_term": query["q"]}] if named else []
        return {"total_results": len(taxa), "page": 1, "per_page": 30, "results": taxa}, {}
    if path != "/v1/observations":
        raise ServiceError(404, {"error": "Not found", "status": 404})
    if int(query.get("page", 1)) * int(query.get("per_page", 30)) > 10_000:
        raise ServiceError(403, {"error": "Result window is too large", "status": 403})
    size = min(int(query.get("per_page", 30)), 200)
    above, below = int(query.get("id_above", 0)), int(query.get("id_below", 1 << 60))
    wanted = set(query["photo_license"].split(",")) if "photo_license" in query else None
    observations: dict[int, list[ServedPicture]] = {}
    label = _label_of(offer, query.get("taxon_id", "0"))
    for picture in [*offer.search("inaturalist", label), *_strays(offer, "inaturalist", label)]:
        observations.setdefault(picture.observation, []).append(picture)
    found = [
        (number, photos)
        for number, photos in sorted(observations.items())
        if wanted is None or any(_inaturalist_code(photo) in wanted for photo in photos)
    ]
    rest = [one for one in found if above < one[0] < below]
    rest = rest[::-1] if query.get("order") == "desc" else rest
    results = [_observation(offer, number, photos) for number, photos in rest[:size]]
    return {"total_results": len(rest), "page": 1, "per_page": size, "results": results}, {}


def _taxon(offer: Offer, label: str) -> Json:
    return {
        "id": offer.labels.index(label) + FIRST_TAXON,
        "name": label,
        "rank": "species",
        "iconic_taxon_name": "Plantae",
        "preferred_common_name": label,
    }


def _label_of(offer: Offer, taxon: str) -> str:
    place = int(taxon) - FIRST_TAXON
    return offer.labels[place] if 0 <= place < len(offer.labels) else ""


def _strays(offer: Offer, service: str, label: str) -> list[ServedPicture]:
    """Some pictures of each other class, where the service mixes them in."""
    others = [other for other in offer.labels if other != label and label and offer.strays]
    return [picture for other in others for picture in offer.search(service, other)[:4]]


def _inaturalist_code(picture: ServedPicture) -> str | None:
    codes = {"cc0": "cc0", "pdm": "pd", "all rights reserved": None}
    return codes.get(picture.license, f"cc-{picture.license}")


def _observation(offer: Offer, number: int, photos: list[ServedPicture]) -> Json:
    return {
        "id": number,
        "uri": f"https://www.inaturalist.org/observations/{number}",
        "user": {"login": f"botanist{number % 7}", "name": photos[0].author},
        "taxon": {**_taxon(offer, photos[0].label), "ancestor_ids": [1, 2, _taxon(offer, photos[0].label)["id"]]},
        "time_observed_at": f"{photos[0].taken_at}+02:00",
        "photos": [
            {
                "id": photo.number,
                "url": offer.url("inaturalist", photo, "square"),
                "attribution": f"(c) {photo.author}",
                "license_code": _inaturalist_code(photo),
                "original_dimensions": {"width": photo.width, "height": photo.height},
            }
            for photo in photos
        ],
    }


def gbif(offer: Offer, request: Request, path: str) -> Answered:
    """A taxon for a name, then its occurrences; the media's licence may be stricter than the record's."""
    query = request.query
    if path == "/v1/species/match":
        found = offer.search("gbif", query.get("name", ""))
        if not found:
            return {"confidence": 100, "matchType": "HIGHERRANK", "usageKey": 6, "rank": "KINGDOM"}, {}
        key = offer.labels.index(found[0].label) + FIRST_TAXON
        name = {"canonicalName": query.get("name", ""), "rank": "SPECIES", "kingdom": "Plantae"}
        return {"usageKey": key, "matchType": "EXACT", **name}, {}
    if path != "/v1/occurrence/search":
        raise ServiceError(404, {"message": "Not found"})
    limit, offset = min(int(query.get("limit", 20)), 300), int(query.get("offset", 0))
    if offset + limit > 100_000:
        raise ServiceError(400, {"message": "Max offset of 100001 exceeded"})
    label = _label_of(offer, query.get("taxonKey", "0"))
    if not label:
        return {"offset": offset, "limit": limit, "endOfRecords": True, "count": 0, "results": []}, {}
    found = [*_strays(offer, "gbif", label), *offer.search("gbif", label)]
    part = found[offset : offset + limit]
    answer = {
        "offset": offset,
        "limit": limit,
        "endOfRecords": offset + limit >= len(found),
        "count": len(found),
        "results": [_occurrence(offer, one) for one in part],
    }
    return answer, {}


def _occurrence(offer: Offer, picture: ServedPicture) -> Json:
    stricter = picture.license == "all rights reserved"
    media = {
        "type": "StillImage",
        "format": picture.kind,
        "identifier": _relayed_url(offer, "gbif", picture),
        "creator": picture.author,
        "rightsHolder": picture.author,
        "license": "© all rights reserved" if stricter else _license_url(picture.license),
    }
    return {
        "key": 90_000 + picture.number,
        "datasetKey": "00000000-0000-4000-8000-000000000000",
        "license": "http://creativecommons.org/licenses/by/4.0/legalcode",
        "references": (
            f"https://www.inaturalist.org/observations/{picture.observation}"
            if offer.relayed
            else f"https://herbarium.example/sheets/{picture.number}"
        ),
        "eventDate": picture.taken_at,
        "scientificName": picture.label,
        "taxonKey": offer.labels.index(picture.label) + FIRST_TAXON,
        "basisOfRecord": "HUMAN_OBSERVATION",
        "media": [media, {"type": "Sound", "format": "audio/wav"}],
    }


def flickr(offer: Offer, request: Request, path: str) -> Answered:
    """Errors are a 200 with `stat` "fail"; only 4,000 results are real."""
    query = request.query
    if path != "/services/rest/":
        raise ServiceError(404, {"stat": "fail", "code": 112, "message": "Method not found"})
    if not query.get("api_key") or query["api_key"] == "wrong":
        return {"stat": "fail", "code": 100, "message": "Invalid API Key (Key has invalid format)"}, {}
    if query.get("method") == "flickr.photos.licenses.getInfo":
        return {"stat": "ok", "licenses": {"license": _flickr_licenses()}}, {}
    size, page = min(int(query.get("per_page", 100)), 500), int(query.get("page", 1))
    wanted = set(query["license"].split(",")) if "license" in query else None
    found = [
        picture
        for picture in offer.search("flickr", query.get("text", ""))
        if wanted is None or str(_FLICKR_NUMBERS[picture.license]) in wanted
    ]
    part = found[(page - 1) * size : page * size]
    photos = {
        "page": page,
        "pages": -(-len(found) // size),
        "perpage": size,
        "total": len(found),
        "photo": [_flickr_photo(offer, one) for one in part],
    }
    return {"stat": "ok", "photos": photos}, {}


def _flickr_licenses() -> list[Json]:
    return [
        {"id": str(number), "name": code, "url": "" if number == 0 else _license_url(code)}
        for code, number in _FLICKR_NUMBERS.items()
    ]


def _flickr_photo(offer: Offer, picture: ServedPicture) -> Json:
    return {
        "id": str(_flickr_number(picture)),
        "owner": f"{picture.observation % 7}@N00",
        "title": picture.path.stem,
        "datetaken": picture.taken_at.replace("T", " "),
        "datetakengranularity": 0,
        "datetakenunknown": "0",
        "license": str(_FLICKR_NUMBERS[picture.license]),
        "ownername": picture.author,
        "url_l": offer.url("flickr", picture, "large"),
        "width_l": str(picture.width),
        "height_l": picture.height,
    }


RECORDS: dict[str, tuple[str, ...]] = {
    "openverse": ("results",),
    "wikimedia": ("query", "pages"),
    "inaturalist": ("results",),
    "gbif": ("results",),
    "flickr": ("photos", "photo"),
}
"""Service → the way to the list of pictures in its answer."""

SERVICES: dict[str, Callable[[Offer, Request, str], Answered]] = {
    "openverse": openverse,
    "wikimedia": wikimedia,
    "inaturalist": inaturalist,
    "gbif": gbif,
    "flickr": flickr,
}
"""Service → the function that answers for it; a query's JSON and extra headers, or ServiceError."""
