"""What `clean` found nothing to do about: the state of the dataset then, by the options that it had."""

from collections.abc import Iterator

from curate.catalog.pictures import Catalog

_TABLE = """
CREATE TABLE IF NOT EXISTS clean_cache ( -- the pictures that were there when nothing was left to do
    options  TEXT PRIMARY KEY,
    pictures TEXT NOT NULL              -- a digest over them, their credits, and the method that judged them
)
"""


def recall_clean(catalog: Catalog, options: str) -> str | None:
    """The digest of what was there when nothing was left to do with these options; None where that never was."""
    if not catalog.has_table("clean_cache"):
        return None
    row = catalog.db.execute("SELECT pictures FROM clean_cache WHERE options = ?", (options,)).fetchone()
    return None if row is None else str(row[0])


def enter_clean(catalog: Catalog, options: str, digest: str) -> None:
    """Remember that with these options nothing is left to do about what has this digest."""
    with catalog.transaction() as db:
        db.execute(_TABLE)
        db.execute("INSERT OR REPLACE INTO clean_cache VALUES (?, ?)", (options, digest))


def what_a_plan_depends_on(catalog: Catalog) -> Iterator[bytes]:
    """All rows that a plan is made from, one after the other: present pictures, credits, and moves under way."""
    for (row,) in catalog.db.execute(
        "SELECT path || char(0) || sha256 || char(0) || broken || char(0) || width || char(0) || height || char(0) "
        "|| size || char(10) FROM pictures WHERE state = 'present' ORDER BY path"
    ):
        yield row.encode()
    for row in catalog.db.execute("SELECT * FROM credits ORDER BY sha256, url"):
        yield repr(row).encode()
    for row in catalog.db.execute("SELECT * FROM quarantine WHERE state = 'moving' ORDER BY id"):
        yield repr(row).encode()
