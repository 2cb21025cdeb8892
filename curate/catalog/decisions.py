"""What people decided about pictures: on record the moment it is said, with who said it, when, and what it replaced.

People decide in batches: what one answer covers is one batch, and is undone as one. Nothing is ever removed or written
over: an undo is a batch of its own, and so is carrying decisions out.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from curate.catalog.check import REBUILD
from curate.catalog.pictures import Catalog
from curate.errors import UserError

UNDO: Final = "undo"
"""The action of a batch that takes another back."""

CARRY_OUT: Final = "carry-out"
"""The action of a batch that had files moved; `value` of a decision names the run that moved its picture."""

LAPSE: Final = "lapse"
"""The action of a batch of decisions that were not carried out, and no longer are to be; `value` says why."""

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS decision_batches (
    batch   INTEGER PRIMARY KEY,
    made_at TEXT NOT NULL,          -- ISO 8601, UTC
    who     TEXT NOT NULL,
    action  TEXT NOT NULL,          -- "keep", "aside", "relabel", "keeper", "restore", "undo", "carry-out", "lapse"
    undoes  INTEGER NOT NULL        -- the batch that an undo takes back; 0 for all others
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS decisions (
    id       INTEGER PRIMARY KEY,
    batch    INTEGER NOT NULL,
    sha256   TEXT NOT NULL,         -- of the picture's bytes; "" for a file that is too large to be read
    path     TEXT NOT NULL,         -- where it lay then, relative to the dataset's root
    label    TEXT NOT NULL,         -- its class then
    causes   TEXT NOT NULL,         -- what it answers, with a space between: "duplicate", "blurred"; "*" for everything
    action   TEXT NOT NULL,         -- its own: the copy that leaves for a chosen keeper is set aside
    value    TEXT NOT NULL,         -- the reason of one that is set aside, the new class, the run; or ""
    replaced INTEGER NOT NULL       -- the batch whose decision on this picture it takes the place of; 0 for none
) STRICT
""",
    "CREATE INDEX IF NOT EXISTS decisions_by_batch ON decisions (batch)",
)


class DecisionBatch(NamedTuple):
    """What one answer covered: its number, when (ISO 8601, UTC), who, what, and for an undo which batch it undoes."""

    batch: int
    made_at: str
    who: str
    action: str
    undoes: int


class DecisionRow(NamedTuple):
    """One picture of a batch, as the table `decisions` has it."""

    batch: int
    sha256: str
    path: str
    label: str
    causes: str
    action: str
    value: str
    replaced: int


def batches_since(catalog: Catalog, batch: int = 0) -> list[DecisionBatch]:
    """The batches with a greater number, in order. Raises `UserError` where the table is none of ours."""
    return [DecisionBatch(*row) for row in _select(catalog, "decision_batches", DecisionBatch._fields, batch)]


def decisions_since(catalog: Catalog, batch: int = 0) -> list[DecisionRow]:
    """The pictures of those batches, in the order in which they were put on record."""
    return [DecisionRow(*row) for row in _select(catalog, "decisions", DecisionRow._fields, batch)]


def last_batch(catalog: Catalog) -> int:
    """The number of the newest batch; 0 where nobody decided anything."""
    if not catalog.has_table("decision_batches"):
        return 0
    _require_ours(catalog, "decision_batches", DecisionBatch._fields)
    (number,) = catalog.db.execute("SELECT COALESCE(MAX(batch), 0) FROM decision_batches").fetchone()
    if not isinstance(number, int):
        raise _refused(catalog)
    return number


@contextmanager
def deciding(catalog: Catalog) -> Iterator[None]:
    """A transaction that is on the disk when it ends: SQLite flushes its log before it returns (`synchronous = FULL`).

    What was answered for then outlives a kill of this process, and a loss of power too. Raises `UserError` where the
    catalog is no longer what has its name.
    """
    catalog.db.execute("PRAGMA synchronous = FULL")
    try:
        with catalog.transaction() as db:
            for statement in _TABLES:
                db.execute(statement)
            catalog.require_in_place()  # others may have been waited for
            yield
    finally:
        catalog.db.execute("PRAGMA synchronous = NORMAL")


def enter_batch(
    catalog: Catalog, made_at: str, who: str, action: str, rows: Iterable[DecisionRow], *, undoes: int = 0
) -> int:
    """Put a batch on record; its number, which the rows get in place of their own. Belongs inside `deciding`."""
    cursor = catalog.db.execute(
        "INSERT INTO decision_batches (made_at, who, action, undoes) VALUES (?, ?, ?, ?)",
        (made_at, who, action, undoes),
    )
    batch = int(cursor.lastrowid or 0)
    columns = DecisionRow._fields
    catalog.db.executemany(
        f"INSERT INTO decisions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (row._replace(batch=batch) for row in rows),
    )
    return batch


def copy_decisions(catalog: Catalog, batches: Sequence[DecisionBatch], rows: Sequence[DecisionRow]) -> None:
    """Put on record what another catalog of the same dataset held, under the same numbers."""
    if not batches:
        return
    with deciding(catalog):
        catalog.db.executemany("INSERT OR IGNORE INTO decision_batches VALUES (?, ?, ?, ?, ?)", batches)
        columns = DecisionRow._fields
        catalog.db.executemany(
            f"INSERT INTO decisions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows
        )


def withdraw_rows(catalog: Catalog, batch: int, paths: Iterable[str]) -> None:
    """Remove pictures from a batch whose intent did not come about; and the batch, where none is left."""
    with deciding(catalog):
        catalog.db.executemany("DELETE FROM decisions WHERE batch = ? AND path = ?", [(batch, path) for path in paths])
        catalog.db.execute(
            "DELETE FROM decision_batches WHERE batch = ? AND NOT EXISTS (SELECT 1 FROM decisions WHERE batch = ?)",
            (batch, batch),
        )


def _select(catalog: Catalog, table: str, columns: Sequence[str], batch: int) -> list[tuple[Any, ...]]:
    if not catalog.has_table(table):
        return []
    _require_ours(catalog, table, columns)
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE batch > ? ORDER BY rowid"
    rows = catalog.db.execute(query, (batch,)).fetchall()
    numbers = {at for at, name in enumerate(columns) if name in {"batch", "undoes", "replaced"}}
    for row in rows:
        if not all(isinstance(value, int if at in numbers else str) for at, value in enumerate(row)):
            raise _refused(catalog)
    return rows


def _require_ours(catalog: Catalog, table: str, columns: Sequence[str]) -> None:
    there = dict(catalog.db.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall())
    if there.keys() != {*columns, *({"id"} if table == "decisions" else ())} or any(there.values()):
        raise _refused(catalog)  # a column that is generated is hidden


def _refused(catalog: Catalog) -> UserError:
    return UserError(
        f"The catalog {catalog.path} holds people's decisions that this program did not write: it is not used. "
        f"{REBUILD}"
    )
