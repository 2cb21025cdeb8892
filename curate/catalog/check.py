"""Whether a catalog file is what we make: a dataset from elsewhere may carry one that means harm.

SQLite runs what a database's schema holds: a trigger fires when we write, a view answers in a table's place, a
generated column computes. None of these is ours, so a catalog with one is refused (https://sqlite.org/security.html).
"""

import re
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from curate.errors import UserError

LATER_TABLES: Final = frozenset(
    {
        "about", "class_moves", "clean_cache", "decision_batches", "decisions", "scenes", "settled", "searches",
        "scrape_searches", "scrape_candidates", "written",
    }
)  # fmt: skip
"""Tables that a command makes when it first needs them."""

LATER_COLUMNS: Final = ("inode", "ctime_ns")
"""Columns of `pictures` that a catalog of an earlier version lacks; they are added when it is opened."""

REBUILD: Final = "Run `clean` with --rebuild-catalog, which puts it aside and writes a new one from the pictures."
"""What to do about a catalog that is not used."""

_SCORE = re.compile(r"[a-z_]+_score")
_TYPES = {"TEXT": "('text')", "INTEGER": "('integer')", "REAL": "('real', 'integer', 'null')", "BLOB": "('blob')"}
_VALUES = {
    ("assignments", "split"): "IN ('train', 'valid', 'test')",
}

Columns = Mapping[str, tuple[str, int]]
"""Column → (its type, its place in the primary key, from 1; 0 for none)."""


def require_our_schema(path: Path, db: sqlite3.Connection, schema: str) -> None:
    """Raise `UserError` for tables, views, triggers or columns that are not ours, and where one of ours is missing.

    `schema` is the SQL of the tables that every catalog has.
    """
    expected = _expected(schema)
    found: set[str] = set()
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_schema"):
        if kind not in ("table", "index") or str(sql or "").upper().startswith("CREATE VIRTUAL"):
            raise _refused(path, f"holds the {kind} {name!a}, which this program did not make")
        if kind == "table" and not name.startswith("sqlite_"):
            if name not in expected and name not in LATER_TABLES:
                raise _refused(path, f"holds the table {name!a}, which this program did not make")
            found.add(name)
    for name, columns in expected.items():
        if name not in found:
            raise _refused(path, f"lacks the table {name}")
        there = _columns(db, name)
        for column, about in columns.items():
            if there.get(column, about if column in LATER_COLUMNS else None) != about:
                raise _refused(path, f"lacks the column {column} of {name}, or has another one of that name")
        if odd := [column for column in there.keys() - columns.keys() if not _SCORE.fullmatch(column)]:
            raise _refused(path, f"has the column {min(odd)!a} in {name}, which this program did not make")


def require_our_values(path: Path, db: sqlite3.Connection, schema: str) -> None:
    """Raise `UserError` for a value that is not of its column's type, or that names a split which is none.

    SQLite takes any value in any column but in STRICT tables, as ours are, whose values `PRAGMA quick_check` checks.
    """
    strict = {name for (name,) in db.execute("SELECT name FROM pragma_table_list WHERE strict")}
    for table, columns in _expected(schema).items():
        odd = [f"{name} NOT {values}" for (owner, name), values in _VALUES.items() if owner == table]
        if table not in strict:
            there = _columns(db, table)
            kinds = {name: kind for name, (kind, _) in columns.items() if name in there and kind in _TYPES}
            odd += [f"typeof({name}) NOT IN {_TYPES[kind]}" for name, kind in kinds.items()]
        if odd and db.execute(f"SELECT 1 FROM {table} WHERE {' OR '.join(odd)} LIMIT 1").fetchone():
            raise _refused(path, f"holds a value in {table} that this program did not write")


def _columns(db: sqlite3.Connection, table: str) -> dict[str, tuple[str, int]]:
    """All columns of a table; of one that is generated or hidden the type is a word that no type is."""
    rows = db.execute("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,))
    return {name: ("GENERATED" if hidden else kind, key) for name, kind, key, hidden in rows}


@cache
def _expected(schema: str) -> Mapping[str, Columns]:
    """What SQLite itself makes of our schema."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(schema)
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: _columns(db, name) for name in names}
    finally:
        db.close()


def _refused(path: Path, what: str) -> UserError:
    return UserError(f"The catalog {path} {what}: it is not used. {REBUILD}")
