"""Which licence a model card may name, by the licences of the pictures that the model learnt from."""

import re
from collections.abc import Sequence

from curate.defaults import DEFAULT_CARD_LICENSE
from curate.errors import UserError
from curate.printable import printable

_CONDITIONS = (("nd", "no adaptations"), ("nc", "no commercial use"), ("sa", "share alike"))
_COMPATIBLE = {("by-sa", "4.0"): frozenset({"gpl-3.0", "lal-1.3"})}
"""What Creative Commons lets an adaptation be under beside its own licences, one way.

https://creativecommons.org/share-your-work/licensing-considerations/compatible-licenses/
"""
_LATEST = "4.0"
_SUGGESTED = (
    *("cc-by-sa-4.0", "cc-by-sa-3.0", "gpl-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0"),
    "cc-by-nc-sa-2.0",
)
"""Identifiers on the hub that may fit where another does not, the freest first."""
_VERSIONED = re.compile(r"(?:\bcc-)?\b(by(?:-nc|-nd|-sa)*)(?:-(\d\.\d))?")
"""The code and version of a licence of Creative Commons: `cc-by-nc-sa-4.0`."""

Found = Sequence[tuple[str, str, int]]


def require_allowed(license_: str, found: Found) -> None:
    """Raise UserError for a licence under which the pictures' own do not let an adaptation be.

    `license_` is an identifier on the hub, such as "cc-by-sa-4.0"; "other" says nothing and is always allowed. `found`
    are (source, licence, pictures). No law settles whether a model is an adaptation of its pictures, so the card says
    no less than they do. Share-alike pictures want the same licence, in their version or a later one, or one that
    Creative Commons calls compatible; where they are of two such licences, no licence fits.
    """
    for part, what in _CONDITIONS:
        bound = [(licence, count) for _, licence, count in found if _forbids(licence, part, license_)]
        if bound:
            pictures = sum(count for _, count in bound)
            fitting = [one for one in _SUGGESTED if not _forbidden(one, found)]
            advice = f"give {' or '.join(fitting)}, or leave it out" if fitting else "no licence fits all: leave it out"
            raise UserError(
                f"--license {printable(license_)} does not fit what {pictures:,} of the pictures are, such as those "
                f"under {printable(bound[0][0])} ({what}): {advice}."
            )


def _forbidden(license_: str, found: Found) -> bool:
    return any(_forbids(licence, part, license_) for _, licence, _ in found for part, _ in _CONDITIONS)


def _forbids(licence: str, part: str, offered: str) -> bool:
    """Whether a picture's licence has this condition, and forbids what is offered by it."""
    own = _VERSIONED.search(licence.lower().replace(" ", "-"))
    if own is None or offered == DEFAULT_CARD_LICENSE or part not in own[1].split("-"):
        return False
    if part == "nd":
        return True
    given = _VERSIONED.fullmatch(offered.lower())
    if part == "nc":
        return given is None or "nc" not in given[1].split("-")
    code, version = own[1], own[2] or _LATEST  # what fits the latest fits those before
    if offered.lower() in _COMPATIBLE.get((code, version), ()):
        return False
    # From the first version of Creative Commons' licences no way leads to a later one.
    later = given is not None and bool(given[2]) and (given[2] == version if version == "1.0" else given[2] >= version)
    return given is None or given[1] != code or not later
