"""Which contents are of one origin: photos of one observation, one author's series, one source page.

A service knows less of a picture than the one that it has it from: Openverse names the photo on iNaturalist and not
the observation, and gives neither place nor time of what comes from Flickr. So what any source has told of a photo
counts for all of them, and where nothing tells two pictures of one author apart, they stay together.
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from curate.catalog.origin_facts import OriginFacts
from curate.sources.protocol.picture_urls import picture_key

SERIES_GAP = datetime.timedelta(seconds=60)
"""Two pictures of one author that were taken within so long of each other are of one series."""
UPLOADED_TOGETHER = 10_000
"""Two photos of one owner on Flickr whose numbers differ by less were uploaded within minutes of each other.

Flickr numbers the photos of all its members in turn, in its busiest years some 20 to 40 a second.
"""

_NUMBERED_TOGETHER = 100
"""Two pictures of one author on Pexels or Pixabay whose numbers differ by less were uploaded within an hour.

Pexels gave some 13,000 numbers a day from 2019 to 2025, Pixabay some 2,600.
"""

_PHOTO_PAGE = re.compile(r"https?://(?:www\.)?inaturalist\.[a-z.]+/photos/(\d+)")
_FLICKR_PAGE = re.compile(r"https?://(?:www\.)?flickr\.com/photos/([^/?#]+)/(\d+)")
_NUMBER_IN_SERIES = re.compile(r"[\s_(\[#-]*\d+[\s)\]]*$")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)")
_NUMBERED = re.compile(r"(pexels|pixabay):(\d+)")
_OBSERVATION = "inaturalist:"


def origins_of(facts: Sequence[OriginFacts], observed: Mapping[str, str]) -> list[tuple[str, str]]:
    """(sha256, origin), where contents that share an origin must not part; one content may have several.

    `observed` is picture key → provenance group of the photos on iNaturalist whose observation some source has told.
    An origin that only one content has is left out, but for provenance groups.
    """
    found = {(one.sha256, one.provenance_group) for one in facts if one.provenance_group}
    for series in (_of_observations(facts, observed), _of_minutes(facts), _of_uploads(facts), _of_titles(facts)):
        found.update(series)
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def unknown_origins(facts: Iterable[OriginFacts], observed: Mapping[str, str]) -> set[str]:
    """The contents, by sha256, that are photos on iNaturalist and whose observation no source has told.

    They stay with all else of their author there; one without an author stands alone.
    """
    return {one.sha256 for one in facts if (photo := _photo(one)) and not _observation(one, photo, observed)}


def _of_observations(facts: Sequence[OriginFacts], observed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Photos on iNaturalist with their observation; where it is unknown, with all else of their author there."""
    unknown, of_author = set(), defaultdict(list)
    for one in facts:
        photo = _photo(one)
        group = _observation(one, photo, observed)
        if group:
            yield one.sha256, group
        if photo in observed:  # another source may know the same observation under another name
            yield one.sha256, observed[photo]
        author = _name(one.author)
        if author and (photo or group):
            of_author[author].append(one.sha256)
            unknown |= {author} if not group else set()
    for author in unknown:
        yield from ((sha256, f"inaturalist by {author}") for sha256 in of_author[author])


def _observation(one: OriginFacts, photo: str, observed: Mapping[str, str]) -> str:
    return one.provenance_group if one.provenance_group.startswith(_OBSERVATION) else observed.get(photo, "")


def _photo(one: OriginFacts) -> str:
    """The picture key of a photo on iNaturalist, whichever service found it; "" for another picture."""
    key = picture_key(one.url)
    if key.startswith("inaturalist:"):
        return key
    page = _PHOTO_PAGE.match(one.landing_page)
    return f"inaturalist:{page[1]}" if page is not None else ""


def _of_minutes(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Pictures that one author took one after the other, whichever services found them."""
    taken = defaultdict(list)
    for one in facts:
        moment, author = _moment(one.taken_at), _name(one.author)
        if moment is not None and author:
            taken[author].append((moment, one.sha256))
    for author, pictures in taken.items():
        for run in _runs(sorted(pictures), SERIES_GAP):
            yield from ((sha256, f"by {author} at {run[0][0].isoformat(sep=' ')}") for _, sha256 in run)


def _of_uploads(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Photos of one owner on Flickr, Pexels or Pixabay that were uploaded together."""
    uploaded = defaultdict(list)
    numbered = defaultdict(list)
    for one in facts:
        page = _FLICKR_PAGE.match(one.landing_page)
        if page is not None:
            uploaded[page[1]].append((int(page[2]), one.sha256))
        number, author = _NUMBERED.fullmatch(one.provenance_group), _name(one.author)
        if number is not None and author:
            numbered[number[1], author].append((int(number[2]), one.sha256))
    for owner, photos in uploaded.items():
        for run in _runs(sorted(photos), UPLOADED_TOGETHER):
            yield from ((sha256, f"flickr.com/photos/{owner} from {run[0][0]}") for _, sha256 in run)
    for (service, author), photos in numbered.items():
        for run in _runs(sorted(photos), _NUMBERED_TOGETHER):
            yield from ((sha256, f"{service} by {author} from {run[0][0]}") for _, sha256 in run)


def _of_titles(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Files of one author on Wikimedia Commons whose titles differ in their last number: `Rosa 01.jpg`."""
    titled = defaultdict(set)
    for one in facts:
        author = _name(one.author)
        stem = one.title.rpartition(".")[0] or one.title
        series = _NUMBER_IN_SERIES.sub("", stem)
        if author and series and series != stem and urlsplit(one.landing_page).hostname == "commons.wikimedia.org":
            titled[author, series.casefold()].add(one.sha256)
    for (author, series), contents in titled.items():
        if len(contents) > 1:
            yield from ((sha256, f"commons: {series} by {author}") for sha256 in contents)


def _runs(ordered: Sequence[tuple[Any, str]], gap: object) -> Iterator[Sequence[tuple[Any, str]]]:
    """What lies closer than `gap` to the one before it, in runs of at least two; (place, sha256), in order."""
    start = 0
    for at in range(1, len(ordered) + 1):
        if at == len(ordered) or ordered[at][0] - ordered[at - 1][0] > gap:
            if at - start > 1:
                yield ordered[start:at]
            start = at


def _moment(text: str) -> datetime.datetime | None:
    """When it was taken, in its own local time; None for a date alone, which binds a whole day's work."""
    found = _MOMENT.search(text)
    if found is None or found[2].startswith("00:00"):
        return None
    try:
        return datetime.datetime.fromisoformat(f"{found[1]} {found[2]}")
    except ValueError:
        return None


def _name(author: str) -> str:
    return " ".join(author.casefold().split())
