"""Which pairs of contents were looked at for one scene, and what was found: a pair is never looked at twice."""

from collections.abc import Iterable

from curate.catalog.pictures import Catalog

_COLUMNS = ["first", "second", "method", "one"]
_TABLE = """
CREATE TABLE IF NOT EXISTS scenes (
    first  TEXT NOT NULL,       -- the lesser sha256 of the two
    second TEXT NOT NULL,
    method TEXT NOT NULL,       -- the version of the method that looked
    one    INTEGER NOT NULL,    -- 1 where both show one scene
    PRIMARY KEY (first, second)
) STRICT, WITHOUT ROWID
"""


def looked_at(catalog: Catalog, method: str) -> dict[tuple[str, str], bool]:
    """(sha256, sha256) of each pair that this method looked at, the lesser first → whether they show one scene."""
    if not _is_there(catalog):
        return {}
    rows = catalog.db.execute("SELECT first, second, one FROM scenes WHERE method = ?", (method,))
    return {(first, second): bool(one) for first, second, one in rows}


def enter_looks(catalog: Catalog, method: str, found: Iterable[tuple[str, str, bool]]) -> None:
    """Write down what was found of pairs, the lesser sha256 first."""
    with catalog.transaction() as db:
        if not _is_there(catalog):
            db.execute("DROP TABLE IF EXISTS scenes")  # perhaps of another version
        db.execute(_TABLE)
        db.executemany(
            "INSERT OR REPLACE INTO scenes VALUES (?, ?, ?, ?)",
            ((first, second, method, int(one)) for first, second, one in found),
        )


def _is_there(catalog: Catalog) -> bool:
    return [name for _, name, *_ in catalog.db.execute("PRAGMA table_info(scenes)")] == _COLUMNS
