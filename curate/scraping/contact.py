"""Whom the services may complain to: told once, and kept with the dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.errors import UserError

WANT_CONTACT: Final = ("wikimedia",)
"""Sources whose services want a contact in the User-Agent, and slow down or refuse who gives none.

https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy
"""

_RECORD = "contact"


def known_contact(out: Path, given: str) -> str:
    """The contact that is given or, where none is, the one that the dataset's catalog keeps; "" for none."""
    if given:
        return given
    try:
        with Catalog.open_read_only(open_dataset(out).catalog_path) as catalog:
            return catalog.about(_RECORD)
    except UserError:
        return ""


def keep_contact(catalog: Catalog, contact: str) -> None:
    """Keep a contact for the runs to come; "" changes nothing."""
    if contact and catalog.about(_RECORD) != contact:
        with catalog.transaction():
            catalog.note_about(_RECORD, contact)


def contact_wanted(sources: Sequence[str], contact: str) -> str:
    """What to say before the first request where a service wants a contact and none is known; "" for nothing."""
    wanting = [source for source in sources if source in WANT_CONTACT]
    if contact or not wanting:
        return ""
    return (
        f"{', '.join(wanting)}: the service wants to know whom to write to, and may refuse who does not say: give "
        "--contact with your address once, and it is kept with the dataset"
    )
