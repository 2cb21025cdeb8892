"""Have a catalog begin anew: what it knew of the pictures goes, what people decided stays, the old one lies beside it.

A kill or a full disk at any instant leaves the old catalog or the new one under the name, and either has the decisions:
the catalog's own file is emptied in one transaction, once a copy of it is on the disk.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curate.catalog.decisions import (
    DecisionBatch,
    DecisionRow,
    batches_since,
    copy_decisions,
    decisions_since,
)
from curate.catalog.files import OutOfReach, cannot, in_words, is_damage, name_aside, put_aside
from curate.catalog.own_files import copy_written, written_files
from curate.catalog.pictures import Catalog
from curate.catalog.schema import create_tables, prepare
from curate.errors import UserError
from curate.files.atomic import fsync_file, fsync_folder, temporary_name

_KEPT: Final = frozenset({"decision_batches", "decisions", "written"})
"""The tables that a new catalog takes over: what people decided, and which files beside the pictures are ours."""


def begin_anew(path: Path) -> Path | None:
    """Put a catalog aside, and leave in its place one with nothing but the decisions. The name of the old one.

    To be called by the holder of the dataset's lock; other processes may have the catalog open, and go on with the new
    one. None where there is no catalog. Of a damaged one the decisions are taken over as far as they can be read; one
    that is not ours is renamed, and a new one is made at the next `open`. What only the old catalog knew, the credits
    and the splits that were drawn, is in the file that is put aside. Raises `UserError` where nothing can be written.
    """
    if not os.path.lexists(path):
        return None
    with ExitStack() as stack:
        try:
            catalog = stack.enter_context(Catalog.open(path))
            _Kept.of(catalog)
        except OutOfReach:
            raise
        except UserError:  # this is why it is to begin anew
            stack.close()
            return _begin_after_damage(path)
        aside = _copy_aside(catalog.db, path)
        with catalog.transaction() as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
            for name in names:
                if name not in _KEPT and not name.startswith("sqlite_"):
                    db.execute(f'DROP TABLE "{name}"')
            create_tables(db)
    return aside


@dataclass(frozen=True)
class _Kept:
    """What a new catalog takes over: batches and rows of decisions, and (path, sha256) of our files."""

    batches: Sequence[DecisionBatch]
    rows: Sequence[DecisionRow]
    written: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, catalog: Catalog) -> "_Kept":
        """Raises `UserError` where decisions are none of ours."""
        return cls(batches_since(catalog), decisions_since(catalog), written_files(catalog))

    def enter(self, catalog: Catalog) -> None:
        copy_decisions(catalog, self.batches, self.rows)
        copy_written(catalog, self.written)


def _begin_after_damage(path: Path) -> Path | None:
    kept = _readable(path)
    if kept is None:
        return put_aside(path)
    with in_words(path):
        try:
            with (
                closing(sqlite3.connect(":memory:", isolation_level=None)) as made,
                closing(sqlite3.connect(path, isolation_level=None)) as damaged,
            ):
                prepare(path, made)
                kept.enter(Catalog(path, made))
                aside = _copy_aside(damaged, path)
                made.backup(damaged)  # one transaction, whatever was there
                return aside
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
    aside_whole = put_aside(path)
    with Catalog.open(path) as fresh:
        kept.enter(fresh)
    return aside_whole


def _readable(path: Path) -> _Kept | None:
    """What is to be taken over from a damaged catalog; None where nothing of it can be read, or there is nothing."""
    try:
        with Catalog.open_read_only(path, even_damaged=True) as old:
            kept = _Kept.of(old)
    except OutOfReach:
        raise
    except UserError:
        return None
    return kept if kept.batches or kept.written else None


def _copy_aside(db: sqlite3.Connection, path: Path) -> Path:
    """Copy an open catalog, its log included, to a name beside it; it is on the disk when this returns."""
    aside = name_aside(path)
    temporary = temporary_name(aside)
    with in_words(path):
        try:
            with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = OFF")  # it gets its name when it is whole, and needs no way back
                db.backup(copy)
            temporary.chmod(path.stat().st_mode & 0o7777)
            with temporary.open("r+b") as stream:
                fsync_file(stream)
            temporary.rename(aside)
            fsync_folder(aside.parent)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink()
            if isinstance(error, OSError):
                raise cannot("written", path, error.strerror) from error
            raise
    return aside
