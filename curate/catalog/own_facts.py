"""Whether what a catalog knows was learnt on this disk, by the methods of today; what was not is learnt anew.

A dataset from elsewhere may bring a catalog along that says of a picture what is not so: another content, another hash,
near-duplicates that are none, none where there are some. No archive can say which inodes a file and its folder will
have where it is unpacked, so a catalog that names its own was written here (or is an older state of one that was).
"""

from pathlib import Path
from typing import Final

from curate.catalog.pictures import Catalog

_PLACE: Final = "place"
_METHOD: Final = "facts"
_REMEMBERED: Final = ("searches", "clean_cache", "scenes")
"""Tables of answers that were worked out from the facts."""


def place_of(file: Path) -> str:
    """What tells a catalog's file and folder from any copy of them; "" where the disk does not tell."""
    try:
        numbers = [place.stat().st_ino for place in (file, file.absolute().parent)]
    except OSError:  # it is in memory alone
        return ""
    return " ".join(map(str, numbers)) if all(numbers) else ""


def has_own_facts(catalog: Catalog, method: str) -> bool:
    """Whether the facts of its pictures were read on this disk, by the methods with these versions."""
    here = place_of(catalog.path)
    return bool(here) and catalog.about(_PLACE) == here and catalog.about(_METHOD) == method


def forget_foreign(catalog: Catalog, method: str) -> None:
    """Have every picture read again, and remember no answer, where the catalog was written elsewhere.

    `method` names the versions by which the facts of a picture are read: facts of others are read again too.
    """
    here = place_of(catalog.path)
    foreign = not here or catalog.about(_PLACE) != here
    if has_own_facts(catalog, method):
        return
    with catalog.transaction() as db:
        for table in _REMEMBERED if foreign else ():
            db.execute(f"DROP TABLE IF EXISTS {table}")
        catalog.have_all_read()
        catalog.note_about(_PLACE, here)
        catalog.note_about(_METHOD, method)
