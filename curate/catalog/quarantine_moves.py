"""Every move into the quarantine: on record before it is made, while it is under way, and when it is brought back."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from curate.catalog.pictures import Catalog


class Move(NamedTuple):
    """One file that leaves or has left: `path` is where it lay, `stored` its place relative to the quarantine, and
    `detail` says in words why.
    """

    id: int
    path: str
    stored: str
    sha256: str
    detail: str


class MoveRecord(NamedTuple):
    """A move and why it is made.

    `run` is the ISO 8601 time of the `clean` that decided it; `keeper` is "" where no copy stays, and `distance` -1
    where there is no pair.
    """

    run: str
    path: str
    stored: str
    sha256: str
    reason: str
    detail: str
    keeper: str
    distance: int


_UNDER_WAY = "state = 'moving' ORDER BY id"
_DONE = "state = 'moved'"


def moves_under_way(catalog: Catalog) -> list[Move]:
    """The moves that are on record and not yet done, in the order in which they were decided."""
    return list(map(Move._make, _select(catalog, Move._fields, _UNDER_WAY)))


def moves_done(catalog: Catalog) -> list[Move]:
    """The moves that were done and are not known to be undone."""
    return list(map(Move._make, _select(catalog, Move._fields, _DONE)))


def records_under_way(catalog: Catalog) -> list[MoveRecord]:
    """`moves_under_way`, with their reasons."""
    return list(map(MoveRecord._make, _select(catalog, MoveRecord._fields, _UNDER_WAY)))


def records_done(catalog: Catalog) -> list[MoveRecord]:
    """`moves_done`, with their reasons."""
    return list(map(MoveRecord._make, _select(catalog, MoveRecord._fields, _DONE)))


def _select(catalog: Catalog, columns: Sequence[str], condition: str) -> sqlite3.Cursor:
    return catalog.db.execute(f"SELECT {', '.join(columns)} FROM quarantine WHERE {condition}")


def places_taken(catalog: Catalog) -> set[str]:
    """The places in the quarantine that belong to a move, done or under way."""
    rows = catalog.db.execute("SELECT stored FROM quarantine WHERE state IN ('moving', 'moved')")
    return {stored for (stored,) in rows}


def runs_on_record(catalog: Catalog) -> set[str]:
    """The names of all runs that ever moved a picture."""
    return {run for (run,) in catalog.db.execute("SELECT DISTINCT run FROM quarantine")}


def stored_places(catalog: Catalog, sha256: str) -> list[str]:
    """Where in the quarantine the pictures of one content are."""
    rows = catalog.db.execute("SELECT stored FROM quarantine WHERE sha256 = ? AND state = 'moved'", (sha256,))
    return [stored for (stored,) in rows]


def stored_digests(catalog: Catalog) -> list[str]:
    """The sha256 of each content that is in the quarantine."""
    rows = catalog.db.execute("SELECT DISTINCT sha256 FROM quarantine WHERE state = 'moved'")
    return [sha256 for (sha256,) in rows]


def intend_moves(catalog: Catalog, records: Iterable[MoveRecord]) -> None:
    """Put moves on record that are about to be made. Belongs inside a transaction."""
    _insert(catalog, records, "moving")


def note_stored(catalog: Catalog, record: MoveRecord) -> None:
    """Put on record that a file was moved to the quarantine which is no picture of the catalog."""
    with catalog.transaction():
        _insert(catalog, [record], "moved")


def note_moves(catalog: Catalog, moved: Sequence[Move], dropped: Sequence[Move] = ()) -> None:
    """Say which moves were made, and which are not to be."""
    with catalog.transaction() as db:
        db.executemany("UPDATE quarantine SET state = 'moved' WHERE id = ?", [(move.id,) for move in moved])
        db.executemany("DELETE FROM quarantine WHERE id = ?", [(move.id,) for move in dropped])
        db.executemany("UPDATE pictures SET state = 'quarantined' WHERE path = ?", [(move.path,) for move in moved])


def note_restored(catalog: Catalog, back: Sequence[Move]) -> None:
    """Say which pictures are back in their places."""
    with catalog.transaction() as db:
        db.executemany("UPDATE quarantine SET state = 'restored' WHERE id = ?", [(move.id,) for move in back])
        # The row's facts hold for the same bytes; `scan` reads the file again where its size or time is another.
        db.executemany(
            "UPDATE pictures SET state = 'present' WHERE path = ? AND sha256 = ? AND state = 'quarantined'",
            [(move.path, move.sha256) for move in back],
        )


def call_off_moves(catalog: Catalog, stored: Iterable[str]) -> None:
    """Forget moves that are under way, by their places in the quarantine."""
    with catalog.transaction() as db:
        rows = [(place,) for place in stored]
        db.executemany("DELETE FROM quarantine WHERE stored = ? AND state = 'moving'", rows)


def _insert(catalog: Catalog, records: Iterable[MoveRecord], state: Literal["moving", "moved"]) -> None:
    columns = MoveRecord._fields
    catalog.db.executemany(
        f"INSERT INTO quarantine ({', '.join(columns)}, state) VALUES ({'?, ' * len(columns)}'{state}')", records
    )
