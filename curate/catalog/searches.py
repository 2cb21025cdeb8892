"""The last search for near-duplicates at each radius, as bytes whose meaning only the search knows."""

from curate.catalog.pictures import Catalog

_TABLE = """
CREATE TABLE IF NOT EXISTS searches (   -- the last search for near-duplicates at each radius
    radius  INTEGER PRIMARY KEY,
    method  TEXT NOT NULL,              -- the versions of the method that searched
    result  BLOB NOT NULL               -- numpy arrays
)
"""


def recall_search(catalog: Catalog, radius: int, method: str) -> bytes | None:
    """What a search at this radius and by this method found; None where there was none."""
    if not catalog.has_table("searches"):
        return None
    row = catalog.db.execute("SELECT result FROM searches WHERE radius = ? AND method = ?", (radius, method)).fetchone()
    return None if row is None else row[0]


def enter_search(catalog: Catalog, radius: int, method: str, result: memoryview) -> None:
    """Write a search down in place of the last one at this radius."""
    with catalog.transaction() as db:
        db.execute(_TABLE)
        db.execute("INSERT OR REPLACE INTO searches VALUES (?, ?, ?)", (radius, method, result))
