"""The last search for near-duplicates of each kind, as bytes whose meaning only the search knows."""

from curate.catalog.pictures import Catalog

_TABLE = """
CREATE TABLE IF NOT EXISTS searches (   -- the last search for near-duplicates at each radius
    radius   INTEGER NOT NULL,
    geometry INTEGER NOT NULL,          -- 1 for a search that also finds turned and mirrored copies
    method   TEXT NOT NULL,             -- the versions of the method that searched
    result   BLOB NOT NULL,             -- numpy arrays
    PRIMARY KEY (radius, geometry)
)
"""


def recall_search(catalog: Catalog, radius: int, method: str, *, geometry: bool = False) -> bytes | None:
    """What a search at this radius and by this method found; None where there was none."""
    if not _is_there(catalog):
        return None
    row = catalog.db.execute(
        "SELECT result FROM searches WHERE radius = ? AND geometry = ? AND method = ?", (radius, geometry, method)
    ).fetchone()
    return None if row is None else row[0]


def enter_search(catalog: Catalog, radius: int, method: str, result: memoryview, *, geometry: bool = False) -> None:
    """Write a search down in place of the last one of its kind."""
    with catalog.transaction() as db:
        if not _is_there(catalog):  # but perhaps the table of an earlier version, with searches of its method
            db.execute("DROP TABLE IF EXISTS searches")
        db.execute(_TABLE)
        db.execute("INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?)", (radius, geometry, method, result))


def _is_there(catalog: Catalog) -> bool:
    columns = [name for _, name, *_ in catalog.db.execute("PRAGMA table_info(searches)")]
    return columns == ["radius", "geometry", "method", "result"]
