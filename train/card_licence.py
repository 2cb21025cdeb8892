"""Which licence a model card may name, by the licences of the pictures that the model learnt from."""

from collections.abc import Sequence

from curate.defaults import DEFAULT_CARD_LICENSE
from curate.errors import UserError
from curate.printable import printable

_CONDITIONS = (("nd", "no adaptations"), ("nc", "no commercial use"), ("sa", "share alike"))


def require_allowed(license_: str, found: Sequence[tuple[str, str, int]]) -> None:
    """Raise UserError for a licence that is freer than the pictures' own allow.

    `license_` is an identifier on the hub, such as "cc-by-sa-4.0"; "other" says nothing and is always allowed. `found`
    are (source, licence, pictures). No law settles whether a model is an adaptation of its pictures, so the card says
    no less than they do.
    """
    if license_ == DEFAULT_CARD_LICENSE:
        return
    offered = set(license_.lower().split("-"))
    for part, what in _CONDITIONS:
        bound = [(licence, count) for _, licence, count in found if part in _parts(licence)]
        if bound and (part == "nd" or part not in offered):
            pictures = sum(count for _, count in bound)
            raise UserError(
                f"--license {printable(license_)} is freer than {pictures:,} of the pictures are, such as those under "
                f"{printable(bound[0][0])} ({what}): give one that says so too, or leave it out."
            )


def _parts(licence: str) -> list[str]:
    """`CC BY-NC-SA 4.0` as its parts, in small letters."""
    return licence.lower().replace(" ", "-").split("-")
