"""What a picture may be used for: the licence words of many services, read into one short code each."""

import re
from dataclasses import dataclass

from curate.errors import UserError

CREATIVE_COMMONS = frozenset({"cc0", "pdm", "by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"})
OPEN = frozenset({"cc0", "pdm", "pd", "by", "by-sa"})
"""Free to use, change and share, also for money, as the Open Definition (opendefinition.org) has it."""
KNOWN = CREATIVE_COMMONS | {"pd"}

_DEED = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d(?:\.\d)?))?(?:/([a-z]{2,3})\b)?")
_SHORT = re.compile(r"(?:cc[ _-]?)?(by(?:[ _-]?(?:nc|nd|sa)){0,2})(?:[ _-]?v?(\d\.\d)(?:[ _-][a-z]{2,3})?)?$")
_PUBLIC_DOMAIN = re.compile(r"(pd\b|pd-|public domain\b)")


@dataclass(frozen=True)
class License:
    """A licence: its `code` ("by-sa", "cc0"; "" where it is unknown), version ("4.0" or "") and deed."""

    code: str = ""
    version: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """As people write it: `CC BY-SA 4.0`, `CC0 1.0`, `public domain`, `unknown`."""
        if not self.code:
            return "unknown"
        if self.code in ("pdm", "pd"):
            return "public domain"
        words = self.code.upper() if self.code == "cc0" else f"CC {self.code.upper()}"
        return f"{words} {self.version}".rstrip()


UNKNOWN = License()


def read_license(text: str | None, version: str | None = None, url: str | None = None) -> License:
    """Read a licence from whatever a service calls it: a code, a sentence, a deed's URL, or None.

    What is not one of KNOWN is UNKNOWN, all rights reserved among it; a guess would be worse than that.
    """
    for candidate in (url or "", text or ""):
        deed = _DEED.search(candidate.lower())
        if deed is not None:
            return _from_deed(*deed.groups())
    words = (text or "").strip().lower().replace("_", "-")
    if words in ("cc0", "cc-zero", "cc0-1.0", "cc0 1.0", "cc0-1-0"):
        return License("cc0", "1.0", url or "https://creativecommons.org/publicdomain/zero/1.0/")
    if words in ("pdm", "cc-pdm", "public domain mark"):
        return License("pdm", "1.0", url or "https://creativecommons.org/publicdomain/mark/1.0/")
    if _PUBLIC_DOMAIN.match(words):
        return License("pd", "", url or "")
    short = _SHORT.match(re.sub(r"[ -]?(\d)-(\d)$", r" \1.\2", words))
    if short is None:
        return UNKNOWN
    code = _ordered(short[1])
    if code not in CREATIVE_COMMONS:
        return UNKNOWN
    number = version or short[2] or ""
    deed_url = f"https://creativecommons.org/licenses/{code}/{number}/" if number else ""
    return License(code, number, url or deed_url)


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
