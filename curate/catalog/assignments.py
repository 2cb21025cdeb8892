"""The splits that contents were once drawn into, under the name of what they were drawn by."""

from collections.abc import Iterable, Iterator

from curate.catalog.pictures import Catalog

Assignment = tuple[str, str, str]
"""(sha256, label, split)."""

_ROWS = 1 << 16


def assignments_of(catalog: Catalog, scheme: str) -> Iterator[list[Assignment]]:
    """What was assigned under a scheme, in parts."""
    cursor = catalog.db.execute("SELECT sha256, label, split FROM assignments WHERE scheme = ?", (scheme,))
    while part := cursor.fetchmany(_ROWS):
        yield part


def enter_assignments(catalog: Catalog, scheme: str, assignments: Iterable[Assignment]) -> None:
    """Remember assignments in the place of earlier ones. Belongs inside a transaction."""
    rows = ((scheme, *assignment) for assignment in assignments)
    catalog.db.executemany("INSERT OR REPLACE INTO assignments VALUES (?, ?, ?, ?)", rows)
