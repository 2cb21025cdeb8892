"""What the URLs of the great picture hosts say: which picture it is, and where a modest size of it lies."""

import re
from urllib.parse import unquote, urlsplit

MODEST_WIDTH = 960
"""Pixels; one of the widths that Wikimedia renders (20, 40, 60, 120, 250, 330, 500, 960, 1280, …)."""
MODEST_SIDE = 600
"""Pixels of the shorter side of a photograph, where a host makes it in any size: enough for any network here."""

_INATURALIST = re.compile(
    r"https?://(?:inaturalist-open-data\.s3\.amazonaws\.com|static\.inaturalist\.org)/photos/(\d+)/(\w+)\.(\w+)"
)
_WIKIMEDIA = re.compile(
    r"https?://upload\.wikimedia\.org/wikipedia/commons/(?:thumb/)?(\w/\w\w)/([^/?#]+)(?:/[^/?#]+)?"
)
_FLICKR = re.compile(r"https?://(?:live|farm\d+)\.static\.?flickr\.com/(?:\w+/)*(\d+)_[0-9a-f]+(?:_\w+)?\.\w+")
_OF_INATURALIST = (
    r"https?://(?:(?:[\w-]+\.)*inaturalist(?:\.[\w-]+)+"
    r"|(?:www\.)?(?:naturalista\.mx|argentinat\.org|biodiversity4all\.org))(?::\d+)?(?:/v\d)?"
)
"""The sites of iNaturalist's network, by subdomain, country or a name of their own: all show the same observations."""
_OBSERVATION = re.compile(
    _OF_INATURALIST + r"/observations/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\d+)(?![\w-])", re.IGNORECASE
)
_PHOTO_PAGE = re.compile(_OF_INATURALIST + r"/photos/(\d+)(?!\w)", re.IGNORECASE)


def picture_key(url: str) -> str:
    """One text for all URLs of one picture: `inaturalist:1234` whatever the size, else the URL itself.

    Openverse and GBIF pass on what iNaturalist, Wikimedia Commons and Flickr hold, in any of its sizes.
    """
    for host, pattern, group in (
        ("inaturalist", _INATURALIST, 1),
        ("wikimedia", _WIKIMEDIA, 2),
        ("flickr", _FLICKR, 1),
    ):
        found = pattern.match(url)
        if found is not None:
            return f"{host}:{unquote(found[group])}"
    return url.partition("#")[0]


def is_another_picture(asked: str, given: str) -> bool:
    """Whether a photo host answered a picture's URL with another picture, as hosts do for one that was removed.

    Of other hosts nothing is said: there, a redirect may well lead to the picture that was asked for.
    """
    key = picture_key(asked)
    return key != asked.partition("#")[0] and picture_key(given) != key


def modest_url(url: str, width: int | None = None) -> str:
    """The URL of about 1,000 pixels where the host renders sizes; else the URL as it is.

    `width` is the original's, where it is known. Originals of several MB are what Wikimedia answers with 429.
    """
    found = _INATURALIST.match(url)
    if found is not None and found[2] == "original":
        return url.replace("/original.", "/large.", 1)
    found = _WIKIMEDIA.fullmatch(url)
    if found is None or "/thumb/" in url or width is None or width <= MODEST_WIDTH:
        return url
    if not re.search(r"\.(jpe?g|png|webp)$", found[2], re.IGNORECASE):
        return url  # other formats have thumbnails of another name
    folder, name = found[1], found[2]
    return f"https://upload.wikimedia.org/wikipedia/commons/thumb/{folder}/{name}/{MODEST_WIDTH}px-{name}"


def photo_of_page(landing_page: str) -> str:
    """The picture key of the photo on iNaturalist that a page there shows; "" for another page."""
    found = _PHOTO_PAGE.match(landing_page)
    return f"inaturalist:{found[1]}" if found is not None else ""


def provenance_group(landing_page: str) -> str:
    """What pictures of one origin share: their iNaturalist observation, else their source page.

    "" where there is no page: such a picture stands alone.
    """
    observation = _OBSERVATION.match(landing_page)
    if observation is not None:
        return f"inaturalist:{observation[1].lower()}"
    page = urlsplit(landing_page)
    if not page.hostname:
        return ""
    host = page.hostname.removeprefix("www.")
    return f"{host}{page.path.rstrip('/')}" + (f"?{page.query}" if page.query else "")
