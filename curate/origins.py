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

from curate.catalog.origin_facts import OriginFacts
from curate.source_pages import commons_title, flickr_photo, is_on_commons, page_of_one
from curate.sources.protocol.picture_urls import photo_of_page, picture_key

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

_MOST_OF_A_PAGE = 20
"""A page that more records than that name is no record's own, but says where all of them come from."""

_FLICKR_OWNER = re.compile(r"https?://(?:www\.|m\.)?flickr\.com/photos/([^/?#]+)/\d+")
_NUMBER_IN_SERIES = re.compile(r"[\s_(\[#-]*\d+[a-z]?[\s)\]]*$")
_LETTER_IN_SERIES = re.compile(r"[\s_(\[#-]+(?:[a-zα-ωа-я]|[ivx]{2,4})[\s)\]]*$")
"""A letter by itself, or a Roman number; in small letters."""
_ENDING = re.compile(r"\.(?:jpe?g|png|webp|gif|tiff?|bmp|heic|avif|jxl)$", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,]\d+)?(?: ?(?:(Z|UTC|GMT)\b|([+-]\d\d):?(\d\d)?\b))?",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(pexels|pixabay):(\d+)")
_OBSERVATION = "inaturalist:"


def origins_of(facts: Sequence[OriginFacts], observed: Mapping[str, str]) -> list[tuple[str, str]]:
    """(sha256, origin), where contents that share an origin must not part; one content may have several.

    `observed` is picture key → provenance group of the photos on iNaturalist whose observation some source has told.
    An origin that only one content has is left out, but for provenance groups and source pages.
    """
    found = {(one.sha256, one.provenance_group) for one in facts if one.provenance_group}
    for series in (
        *(_of_observations(facts, observed), _of_pages(facts), _of_minutes(facts), _of_uploads(facts)),
        _of_titles(facts),
    ):
        found.update(series)
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def unknown_origins(facts: Iterable[OriginFacts], observed: Mapping[str, str]) -> set[str]:
    """The contents, by sha256, that are photos on iNaturalist and whose observation no source has told.

    They stay with all else of their author there; `nameless_origins` are those that name none.
    """
    told, unknown = set(), set()
    for one in facts:
        photo = _photo(one)
        if _observation(one, photo, observed):
            told.add(one.sha256)
        elif photo:
            unknown.add(one.sha256)
    return unknown - told


def nameless_origins(facts: Sequence[OriginFacts], observed: Mapping[str, str]) -> set[str]:
    """Those of `unknown_origins` that have no author, by whom they could be kept together: they stand alone."""
    named = {one.sha256 for one in facts if _photo(one) and _name(one.author)}
    return unknown_origins(facts, observed) - named


def _of_observations(facts: Sequence[OriginFacts], observed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Photos on iNaturalist with their observation; where it is unknown, with all else of their author there."""
    unknown, of_author = set(), defaultdict(list)
    for one in facts:
        photo = _photo(one)
        group = _observation(one, photo, observed)
        if group:
            yield one.sha256, group
        for known in (photo, _record(one)):
            if known in observed:  # another source may know the same observation under another name
                yield one.sha256, observed[known]
        author = _name(one.author)
        if author and (photo or group):
            of_author[author].append(one.sha256)
            unknown |= {author} if not group else set()
    for author in unknown:
        yield from ((sha256, f"inaturalist by {author}") for sha256 in of_author[author])


def _record(one: OriginFacts) -> str:
    """The record at GBIF whose page shows the picture, as `gbif:<key>`; "" for another page."""
    page = page_of_one(one.landing_page) if "/occurrence/" in one.landing_page else ""
    return page if page.startswith("gbif:") else ""


def _observation(one: OriginFacts, photo: str, observed: Mapping[str, str]) -> str:
    if one.provenance_group.startswith(_OBSERVATION):
        return one.provenance_group
    page = page_of_one(one.landing_page) if "/observations/" in one.landing_page else ""
    if page.startswith(_OBSERVATION):
        return page
    return observed.get(photo, "")


def _photo(one: OriginFacts) -> str:
    """The picture key of a photo on iNaturalist, whichever service found it; "" for another picture."""
    key = picture_key(one.url)
    if key.startswith("inaturalist:"):
        return key
    return photo_of_page(one.landing_page)


def _of_pages(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Pictures of one source page, whichever services found them, and however they name it."""
    shown: dict[str, set[str]] = defaultdict(set)
    records: dict[str, set[str]] = defaultdict(set)
    for one in facts:
        page = page_of_one(one.landing_page)
        if page:
            shown[page].add(one.sha256)
            records[page] |= {one.provenance_group} - {""}
    for page, contents in shown.items():
        if len(records[page]) <= _MOST_OF_A_PAGE:
            yield from ((sha256, page) for sha256 in contents)


def _of_minutes(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Pictures that one author took one after the other, whichever services found them.

    By the clock at the place, which is all that some services tell, and by UTC, in which some tell it.
    """
    taken = defaultdict(list)
    for one in facts:
        author = _name(one.author)
        for clock, moment in _moments(one.taken_at) if author else ():
            taken[author, clock].append((moment, one.sha256))
    for (author, clock), pictures in taken.items():
        for run in _runs(sorted(pictures), SERIES_GAP):
            yield from ((sha256, f"by {author} at {run[0][0].isoformat(sep=' ')}{clock}") for _, sha256 in run)


def _of_uploads(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Photos of one owner on Flickr, Pexels or Pixabay that were uploaded together.

    A short address on Flickr does not tell whose the photo is; then its author's name does.
    """
    uploaded = defaultdict(list)
    numbered = defaultdict(list)
    for one in facts:
        author = _name(one.author)
        if photo := flickr_photo(one.landing_page):
            owner = _FLICKR_OWNER.match(one.landing_page)
            for whose in filter(None, (owner and f"photos/{owner[1]}", author and f"by {author}")):
                uploaded[whose].append((int(photo), one.sha256))
        number = _NUMBERED.fullmatch(one.provenance_group)
        if number is not None and author:
            numbered[number[1], author].append((int(number[2]), one.sha256))
    for whose, photos in uploaded.items():
        for run in _runs(sorted(photos), UPLOADED_TOGETHER):
            yield from ((sha256, f"flickr.com {whose} from {run[0][0]}") for _, sha256 in run)
    for (service, author), photos in numbered.items():
        for run in _runs(sorted(photos), _NUMBERED_TOGETHER):
            yield from ((sha256, f"{service} by {author} from {run[0][0]}") for _, sha256 in run)


def _of_titles(facts: Iterable[OriginFacts]) -> Iterator[tuple[str, str]]:
    """Files of one author on Wikimedia Commons whose titles differ in their last number or letter: `Rosa 01.jpg`.

    The first of a series often has none; a title without one alone is no series. A letter may be a word of its own, as
    in `Vitamin C`, so files of a lettered series are bound only where they are not known to be of different days.
    """
    plain: dict[tuple[str, str], set[str]] = defaultdict(set)
    numbered: dict[tuple[str, str], set[str]] = defaultdict(set)
    lettered: dict[tuple[str, str], set[str]] = defaultdict(set)
    days: dict[str, set[str]] = defaultdict(set)
    for one in facts:
        author, day = _name(one.author), _DAY.match(one.taken_at)
        days[one.sha256] |= {day[0]} if day is not None else set()
        for stem in _commons_stems(one) if author else ():
            number, letter = _NUMBER_IN_SERIES.sub("", stem), _LETTER_IN_SERIES.sub("", stem)
            found = plain if number == letter else lettered if number == stem else numbered
            series = letter if number == stem else number
            if series:
                found[author, series].add(one.sha256)
    for (author, series), contents in numbered.items():
        yield from _series(f"commons: {series} by {author}", contents | plain[author, series])
    for (author, series), contents in lettered.items():
        whole = contents | plain[author, series] | numbered[author, series]
        if all(days[sha256] for sha256 in whole):
            for date in sorted({date for sha256 in whole for date in days[sha256]}):
                of_date = {sha256 for sha256 in whole if date in days[sha256]}
                yield from _series(f"commons: {series} of {date} by {author}", of_date)
        else:
            yield from _series(f"commons: {series} by {author}", whole)


def _series(origin: str, contents: set[str]) -> Iterator[tuple[str, str]]:
    yield from ((sha256, origin) for sha256 in contents if len(contents) > 1)


def _commons_stems(one: OriginFacts) -> set[str]:
    """The names under which a file lies on Commons, as its page, its URL and its title tell them, in one spelling.

    A title alone is taken for one of Commons where no page says otherwise and it is the name of a file.
    """
    title = one.title.strip()
    uploaded = _file_of_upload(one.url)
    known = uploaded or is_on_commons(one.landing_page) or title.casefold().startswith("file:")
    is_file = not one.landing_page and _ENDING.search(title)
    stated = {commons_title(one.landing_page), uploaded, title if known or is_file else ""}
    stems = {_ENDING.sub("", " ".join(re.sub(r"^file:|_", " ", name.casefold()).split())) for name in stated}
    return stems - {""}


def _file_of_upload(url: str) -> str:
    key = picture_key(url)
    return key.removeprefix("wikimedia:") if key.startswith("wikimedia:") else ""


def _runs(ordered: Sequence[tuple[Any, str]], gap: object) -> Iterator[Sequence[tuple[Any, str]]]:
    """What lies closer than `gap` to the one before it, in runs of at least two; (place, sha256), in order."""
    start = 0
    for at in range(1, len(ordered) + 1):
        if at == len(ordered) or ordered[at][0] - ordered[at - 1][0] > gap:
            if at - start > 1:
                yield ordered[start:at]
            start = at


def _moments(text: str) -> Iterator[tuple[str, datetime.datetime]]:
    """When it was taken: ("", in its own local time), and (" UTC", in UTC) where its offset is said.

    Nothing for a date alone, which would bind a whole day's work.
    """
    found = _MOMENT.search(text)
    if found is None or found[2].startswith("00:00"):
        return
    try:
        local = datetime.datetime.fromisoformat(f"{found[1]} {found[2]}")
        yield "", local
        if found[3]:
            yield " UTC", local
        elif found[4]:
            minutes = 60 * abs(int(found[4])) + int(found[5] or 0)
            yield " UTC", local - datetime.timedelta(minutes=-minutes if found[4].startswith("-") else minutes)
    except (ValueError, OverflowError):
        return


def _name(author: str) -> str:
    return " ".join(author.casefold().split())
