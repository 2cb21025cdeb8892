"""What a picture may be used for: the licence words of many services, read into one short code each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from curate.errors import UserError

CREATIVE_COMMONS = frozenset({"cc0", "pdm", "by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"})
OPEN = frozenset({"cc0", "pdm", "pd", "by", "by-sa"})
"""Free to use, change and share, also for money, as the Open Definition (opendefinition.org) has it."""
_STOCK = {
    "pexels": ("Pexels License", "https://www.pexels.com/license/"),
    "pixabay": ("Pixabay Content License", "https://pixabay.com/service/license-summary/"),
    "unsplash": ("Unsplash License", "https://unsplash.com/license"),
}
"""Licences of collections of their own: free of charge, and not open: none lets the pictures be passed on as such."""
KNOWN = CREATIVE_COMMONS | {"pd"} | _STOCK.keys()

_DEED = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d(?:\.\d)?))?(?:/([a-z]{2,3})\b)?")
_LINK = re.compile(r"\s*https?://", re.IGNORECASE)
_SHORT = re.compile(r"(?:cc[ -]?)?(by(?:[ -]?(?:nc|nd|sa)){0,2})(?:[ -]?v?(\d\.\d)(?:,\d\.\d)*)?(?P<rest>(?:[ -].+)?)$")
_ZERO = re.compile(r"cc[ -]?(?:0|zero)(?:[ -]?1\.0)?(?: universal)?(?: \(?public domain dedication\)?)?$")
_MARK = re.compile(r"(?:cc[ -])?(?:pdm|public domain mark)(?:[ -]?1\.0)?$")
_PUBLIC_DOMAIN = re.compile(r"(?:in the )?public domain\b|pd\b")
_EVERYWHERE = re.compile(
    r"(?:(?:in the )?public domain|pd)(?:[ -]?\(?(?:worldwide|everywhere|dedication|works?|images?|photos?|old|auto|art"
    r"|self|user|author|scan|textlogo|shape|ineligible|trivial|simple|layout|\d\d|100)\b\)?|(?<=[a-z0-9])-expired\b)*"
    r"\.?$"
)
"""A work that is free in every country, as Commons' tags and people say it; `PD-Germany`, `(disputed)` are others."""
_ONLY_SOMEWHERE = re.compile(
    r"\bonly\b|^pd-us|in the (?:usa?|united states)\b|copyright(?:ed)? in|\bnot in\b|\bexcept\b"
    r"|\bmay (?:still )?be\b|protected in"
)
_RESERVED = re.compile(
    r"\ball rights reserved\b|\btodos los derechos reservados\b|\btous droits réservés\b|©|\(c\)|^copyright"
)
_ALL_RIGHTS = re.compile(
    r"\ball rights reserved\b|\btodos los derechos reservados\b|\btous droits réservés\b|\balle rechte vorbehalten\b"
    r"|\bnon-? ?commercial (?:use |purposes )?only\b"
)
_STATEMENTS = re.compile(r"https?://(?:www\.)?rightsstatements\.org/")
"""They say that a work is protected, or where it is not: none of them lets it be used anywhere."""
_PORTED = re.compile(
    r"(?:[ -](?:international|unported|generic|migrated|deed|public|licen[cs]e|(?!by|nc|nd|sa)[a-z]{2}|igo))*$"
)
_NAMED_PARTS = (
    ("non-? ?commercial", "nc"),
    ("no-? ?deriv(?:ative)?s?(?: works)?", "nd"),
    ("share-? ?alike", "sa"),
    ("attribution", "by"),
)
_RESTRICTIONS = ("by", "nc", "nd", "sa")


@dataclass(frozen=True)
class License:
    """A licence: its `code` ("by-sa", "cc0"; "" where it is unknown), version ("4.0" or "") and deed."""

    code: str = ""
    version: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """As people write it: `CC BY-SA 4.0`, `CC0 1.0`, `public domain`, `Unsplash License`, `unknown`."""
        if not self.code:
            return "unknown"
        if self.code in ("pdm", "pd"):
            return "public domain"
        if self.code in _STOCK:
            return _STOCK[self.code][0]
        words = self.code.upper() if self.code == "cc0" else f"CC {self.code.upper()}"
        return f"{words} {self.version}".rstrip()


UNKNOWN = License()


def read_license(
    text: str | None, version: str | None = None, url: str | None = None, beside: Iterable[str] = ()
) -> License:
    """Read a licence from whatever a service calls it: a code, a sentence, a deed's URL, or None.

    What is not one of KNOWN is UNKNOWN, all rights reserved among it; a guess would be worse than that. Where the text
    and the URL contradict each other, the stricter counts: whoever reserves all rights beside a deed gives none away.
    `beside` are other texts on the rights in the same picture, which count alike; where `text` names no licence, the
    first of them that does stands for it.
    """
    url = url if url and _LINK.match(url) else None
    found = _read_license(text, version, url)
    for other in beside:
        words = _plain(other)
        if _ALL_RIGHTS.search(words) or _is_somewhere(words):
            return UNKNOWN
        also = _read_license(other, None, None)
        if also.code:
            found = _stricter(found, also) if found.code else also
    return UNKNOWN if _RESERVED.search(_plain(text or "")) and not _DEED.search(text or "") else found


def _read_license(text: str | None, version: str | None, url: str | None) -> License:
    words = _plain(text or "")
    if any(_STATEMENTS.match(_plain(part or "")) for part in (url, text)):
        return UNKNOWN
    deeds = [
        _from_deed(*deed.groups()) for deed in (_DEED.search((part or "").lower()) for part in (url, text)) if deed
    ]
    if any(not deed.code for deed in deeds) or (_RESERVED.search(words) and not _DEED.search(words)):
        return UNKNOWN
    said = _read_words(words, version, None if deeds else url)
    linked = next((code for code, (_, deed) in _STOCK.items() if (url or "").startswith(deed.rstrip("/"))), "")
    if linked and said.code:
        return _stricter(said, stock_license(linked))
    if said.code and not deeds:
        return said
    found = deeds[0] if deeds else UNKNOWN
    for other in (*deeds[1:], said):
        found = _stricter(found, other) if other.code else found
    return found


def reserves_rights(text: str) -> bool:
    """Whether a text reserves all rights, or commercial use."""
    return bool(_ALL_RIGHTS.search(_plain(text)))


def _is_somewhere(words: str) -> bool:
    """Whether words say that a work is free in some countries, and not in others."""
    return bool(_PUBLIC_DOMAIN.match(words) and _ONLY_SOMEWHERE.search(words))


def stock_license(code: str) -> License:
    """The licence that a collection gives all its pictures, by its code: "pexels"."""
    return License(code, "", _STOCK[code][1])


def require_admitted(code: str, admitted: frozenset[str] | None) -> None:
    """Raise UserError where a collection's own licence is not among those that `--license` admits (None: any)."""
    if admitted is not None and code not in admitted:
        name, deed = _STOCK[code]
        raise UserError(
            f"The pictures of '{code}' are under the {name} ({deed}), which is not an open licence: add it, as in "
            f"--license open,{code}."
        )


def _plain(text: str) -> str:
    """In small letters, `CC_BY_4_0` as `cc-by-4.0`."""
    words = " ".join(text.strip().lower().replace("_", "-").split())
    return re.sub(r"\b(\d)-(\d)\b", r"\1.\2", words)


def _read_words(words: str, version: str | None, url: str | None) -> License:
    """The licence that words name which are no URL; UNKNOWN where they name none."""
    if _ZERO.match(words):
        return License("cc0", "1.0", url or "https://creativecommons.org/publicdomain/zero/1.0/")
    for code, (name, deed) in _STOCK.items():
        if words in (code, name.lower()):
            return License(code, "", url or deed)
    if _MARK.match(words):
        return License("pdm", "1.0", url or "https://creativecommons.org/publicdomain/mark/1.0/")
    if _PUBLIC_DOMAIN.match(words):
        return License("pd", "", url or "") if _EVERYWHERE.match(words) else UNKNOWN
    short = _SHORT.match(_abbreviated(words))
    if short is None or not _PORTED.match(short["rest"]) or (short["rest"] and not (short[2] or "licen" in words)):
        return UNKNOWN
    code = _ordered(short[1])
    if code not in CREATIVE_COMMONS:
        return UNKNOWN
    number = version or short[2] or ""
    deed_url = f"https://creativecommons.org/licenses/{code}/{number}/" if number else ""
    return License(code, number, url or deed_url)


def _abbreviated(words: str) -> str:
    """`creative commons attribution-noncommercial 4.0` as `cc by-nc 4.0`; other words as they are."""
    named = re.sub(r"^creative commons[ :-]*", "cc ", words)
    if named.startswith("cc zero") or "attribution" not in named:
        return named
    for name, part in _NAMED_PARTS:
        named = re.sub(rf"\b{name}\b", part, named)
    return named


def _stricter(one: License, other: License) -> License:
    """What both allow; UNKNOWN where no licence says that."""
    if one.code == other.code or {one.code, other.code} <= {"pd", "pdm"}:
        return one
    free = {"cc0", "pdm", "pd"}
    if {one.code, other.code} & _STOCK.keys() and not {one.code, other.code} & free:
        return UNKNOWN
    if one.code in free or other.code in free:
        return other if one.code in free else one
    parts = {part for licence in (one, other) for part in licence.code.split("-")}
    joined = "-".join(part for part in _RESTRICTIONS if part in parts)
    return next((licence for licence in (one, other) if licence.code == joined), UNKNOWN)


def allowed_licenses(wanted: str) -> frozenset[str] | None:
    """The codes that `--license` admits: "open", a comma list of codes, or "any" (None: unknown ones too).

    Raises UserError for a word that is no licence.
    """
    words = [word.strip().lower() for word in wanted.split(",") if word.strip()]
    if "any" in words:
        return None
    admitted: set[str] = set()
    for word in words:
        code = word.removeprefix("cc-")
        if code == "open":
            admitted |= OPEN
        elif code in KNOWN:
            admitted.add(code)
        else:
            choices = ", ".join(sorted(KNOWN))
            raise UserError(f"'{word}' is no licence: choose open, any, or some of {choices}")
    if not admitted:
        raise UserError("--license names no licence: choose open, any, or a list such as cc0,by")
    return frozenset(admitted)


def _from_deed(kind: str, code: str, version: str | None, country: str | None) -> License:
    number = version or ""
    names = {"zero": "cc0", "mark": "pdm"} if kind == "publicdomain" else {}
    known = names.get(code, _ordered(code))
    if known not in CREATIVE_COMMONS:
        return UNKNOWN
    path = "/".join(part for part in (kind, code, number, country or "") if part)
    return License(known, number, f"https://creativecommons.org/{path}/")


def _ordered(code: str) -> str:
    """`by_sa_nc` and `by-nc sa` as Creative Commons orders them: `by-nc-sa`."""
    parts = set(re.findall(r"by|nc|nd|sa", code))
    return "-".join(part for part in ("by", "nc", "nd", "sa") if part in parts)
