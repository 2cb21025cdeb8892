"""Whether anything has changed since `clean` last found nothing to do: then there is nothing to do."""

import hashlib
from collections.abc import Iterator

from curate.catalog import Catalog
from curate.lookalikes.method import plan_method

_TABLE = """
CREATE TABLE IF NOT EXISTS clean_cache ( -- the pictures that were there when nothing was left to do
    options  TEXT PRIMARY KEY,
    pictures TEXT NOT NULL              -- a digest over them, their credits, and the method that judged them
)
"""


def is_known_clean(catalog: Catalog, options: str) -> bool:
    """Whether the very pictures that are present were judged before with these options, and all of them could stay."""
    if not catalog.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'clean_cache'").fetchone():
        return False
    row = catalog.db.execute("SELECT pictures FROM clean_cache WHERE options = ?", (options,)).fetchone()
    return row is not None and row[0] == _digest(catalog)


def remember_clean(catalog: Catalog, options: str) -> None:
    """Remember that with these options nothing is left to do."""
    digest = _digest(catalog)
    with catalog.transaction() as db:
        db.execute(_TABLE)
        db.execute("INSERT OR REPLACE INTO clean_cache VALUES (?, ?)", (options, digest))


def _digest(catalog: Catalog) -> str:
    digest = hashlib.sha256()
    digest.update(plan_method().encode())
    for row in _rows(catalog):
        digest.update(row)
    return digest.hexdigest()


def _rows(catalog: Catalog) -> Iterator[bytes]:
    for (row,) in catalog.db.execute(
        "SELECT path || char(0) || sha256 || char(0) || broken || char(0) || width || char(0) || height || char(0) "
        "|| size || char(10) FROM pictures WHERE state = 'present' ORDER BY path"
    ):
        yield row.encode()
    for row in catalog.db.execute("SELECT * FROM credits ORDER BY sha256, url"):
        yield repr(row).encode()
    for row in catalog.db.execute("SELECT * FROM quarantine WHERE state = 'moving' ORDER BY id"):
        yield repr(row).encode()
