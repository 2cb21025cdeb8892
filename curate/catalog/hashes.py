"""The hashes of the present pictures: what a search for near-duplicates reads of a million rows, and no more."""

from collections.abc import Iterator

from curate.catalog.pictures import Catalog

HashRow = tuple[str, int, int, int, bytes]
"""(sha256, pHash in two's complement, width, height, fingerprint)."""

_ROWS = 1 << 14


def hashes_of_intact(catalog: Catalog) -> Iterator[list[HashRow]]:
    """Of the present pictures that give pixels, in parts."""
    cursor = catalog.db.execute(
        "SELECT sha256, phash, width, height, fingerprint FROM pictures WHERE state = 'present' AND broken = ''"
    )
    while part := cursor.fetchmany(_ROWS):
        yield part
