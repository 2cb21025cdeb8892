"""Which page shows one picture or one record, by one text whatever the way that its address is written."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from curate.sources.protocol.picture_urls import photo_of_page, provenance_group

_GBIF = re.compile(r"(?:api\.)?gbif(?:-uat)?\.org/(?:[a-z]{2}(?:-[a-z]{2})?/)?(?:v1/)?occurrence/(\d+)(?:/\w*)?")
_FLICKR = re.compile(r"flickr\.com/photos/[^/]+/(\d+)(?:[/?].*)?")
_FLICKR_SHORT = re.compile(r"(?:flic\.kr/p/|flickr\.com/photo\.gne\?short=)([1-9a-zA-Z]{1,12})(?:[/?].*)?")
_FLICKR_BY_NUMBER = re.compile(r"flickr\.com/photo\.gne\?id=(\d+)")
_BASE58 = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
"""Flickr's digits: https://www.flickr.com/groups/api/discuss/72157616713786392/"""
_LISTING = frozenset({"search", "results", "browse", "explore", "observations", "gallery"})
"""Last parts of the addresses of pages that list pictures or records, whatever they are asked."""
_FRONT = frozenset(
    {
        *("index.html", "index.htm", "index.php", "home", "photos", "images", "pictures", "occurrences", "occurrence"),
        *("specimens", "collections", "records", "datasets"),
    }
)
"""Last parts of those that do so where nothing is asked."""
_OF_SOMEBODY = frozenset(
    {
        *("user", "users", "people", "profile", "profiles", "author", "authors", "member", "members", "photographer"),
        *("photographers", "tag", "tags", "category", "categories", "dataset", "taxa", "species", "search", "albums"),
        *("sets", "galleries"),
    }
)
"""Parts before the last one of the addresses of pages on a person, a theme or a taxon."""
_ASKING = frozenset({"q", "query", "search", "s", "keyword", "keywords", "taxon_id", "taxon_name", "user_id"})
_ASIDE = re.compile(r"utm_\w+|locale|lang|uselang|size|fbclid|gclid|ref", re.IGNORECASE)
_COMMONS = re.compile(r"commons\.(?:m\.)?wikimedia\.org/(?:wiki/|w/index\.php\?title=)(.+)")


def page_of_one(landing_page: str) -> str:
    """One text for all addresses of a page that shows one picture or record; "" for another page, and for none.

    That of a record at GBIF or of an observation on iNaturalist is its provenance group.
    """
    plain = _plain(landing_page)
    if not plain:
        return ""
    group = provenance_group(landing_page)
    if group.startswith("inaturalist:"):
        return group
    if photo_of_page(landing_page):
        return f"page {photo_of_page(landing_page)}"
    if record := _GBIF.fullmatch(plain):
        return f"gbif:{record[1]}"
    if photo := _flickr_photo(plain):
        return f"page flickr.com/photo/{photo}"
    if _COMMONS.fullmatch(plain):
        title = commons_title(landing_page)
        return f"page commons.wikimedia.org/wiki/File:{title}" if title else ""
    return "" if _lists(plain) else f"page {plain}"


def flickr_photo(landing_page: str) -> str:
    """The number of the photo on Flickr that a page shows, by its owner's address or a short one; "" for another page.

    No two photos there have one number, whoever owns them.
    """
    return _flickr_photo(_plain(landing_page))


def _flickr_photo(plain: str) -> str:
    found = _FLICKR.fullmatch(plain) or _FLICKR_BY_NUMBER.fullmatch(plain)
    if found is not None:
        return found[1]
    short = _FLICKR_SHORT.fullmatch(plain)
    if short is None or not set(short[1]) <= set(_BASE58):
        return ""
    number = 0
    for digit in short[1]:
        number = number * len(_BASE58) + _BASE58.index(digit)
    return str(number)


def commons_title(landing_page: str) -> str:
    """The title, without `File:`, of the file on Wikimedia Commons that a page shows; "" for another page."""
    found = _COMMONS.fullmatch(_plain(landing_page))
    namespace, _, title = (found[1] if found is not None else "").partition(":")
    return title.replace("_", " ").strip() if namespace.lower() in ("file", "image") else ""


def is_on_commons(landing_page: str) -> bool:
    """Whether a page is one of Wikimedia Commons, also where it does not say which file it shows."""
    return _plain(landing_page).startswith(("commons.wikimedia.org/", "commons.m.wikimedia.org/"))


def _plain(page: str) -> str:
    """Host, path and query without what changes nothing; "" for no address."""
    try:
        parts = urlsplit(page.strip())
        host, port = (parts.hostname or "").removeprefix("www.").removeprefix("m."), parts.port
    except ValueError:  # "http://[", or a port that is none
        return ""
    if not host or parts.scheme.lower() not in ("http", "https"):
        return ""
    place = host if port in (None, 80, 443) else f"{host}:{port}"
    if parts.path in ("", "/") and parts.fragment.startswith("/"):  # m.flickr.com/#/photos/…: a page in a page
        parts = urlsplit(parts.fragment.replace("//", "/"))
    pairs = [(key, value) for key, value in parse_qsl(parts.query) if not _ASIDE.fullmatch(key)]
    if host.endswith(".wikimedia.org") and parts.path == "/w/index.php":
        title = dict(pairs).get("title")
        if title:
            return f"{place}{parts.path}?title={title}"
    query = f"?{urlencode(sorted(pairs))}" if pairs else ""
    return f"{place}{unquote(parts.path).rstrip('/')}{query}"


def _lists(plain: str) -> bool:
    """Whether it is a site's front page, a search, a person's page or album, or the DOI of a whole dataset."""
    address, _, query = plain.partition("?")
    host, *path = address.split("/")
    keys = {key.lower() for key, _ in parse_qsl(query)}
    if host in ("doi.org", "dx.doi.org") or keys & _ASKING:
        return True
    if not path:
        return not query
    last = path[-1].lower()
    before = path[-2].lower() if len(path) > 1 else ""
    return (
        last in _LISTING
        or (last in _FRONT and not query)
        or last.startswith("@")
        or before in _OF_SOMEBODY
        or (host == "flickr.com" and before == "photos")
        or host == "flic.kr"
    )
