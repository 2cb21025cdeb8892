"""Every move of a picture from one class to another: on record before it is made, and when it is taken back."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from curate.catalog.check import REBUILD
from curate.catalog.pictures import Catalog
from curate.catalog.placements import IN_PLACE
from curate.errors import UserError

_TABLE = """
CREATE TABLE IF NOT EXISTS class_moves (    -- pictures that went to another class, the intent written before the deed
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL,                 -- ISO 8601 time of the `clean` that did it
    path     TEXT NOT NULL,                 -- where the picture lay
    move_to  TEXT NOT NULL,                 -- where it lies now, relative to the dataset's root too
    sha256   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    detail   TEXT NOT NULL,                 -- the same in words
    state    TEXT NOT NULL                  -- "moving", "moved" or "restored"
) STRICT
"""


class ClassMove(NamedTuple):
    """One picture that goes or has gone to another class; both places are relative to the dataset's root."""

    run: str
    path: str
    move_to: str
    sha256: str
    reason: str
    detail: str


def class_moves_under_way(catalog: Catalog) -> list[ClassMove]:
    """The moves that are on record and not yet done."""
    return _select(catalog, "moving")


def class_moves_done(catalog: Catalog) -> list[ClassMove]:
    """The moves that were done and not taken back, the last first."""
    return _select(catalog, "moved")[::-1]


def class_move_runs(catalog: Catalog) -> set[str]:
    """The names of all runs that ever moved a picture to another class."""
    return {move.run for state in ("moving", "moved", "restored") for move in _select(catalog, state)}


def intend_class_moves(catalog: Catalog, moves: Sequence[ClassMove]) -> None:
    """Put moves on record that are about to be made. Belongs inside a transaction."""
    if moves:
        columns = ClassMove._fields
        catalog.db.execute(_TABLE)
        catalog.db.executemany(
            f"INSERT INTO class_moves ({', '.join(columns)}, state) VALUES ({'?, ' * len(columns)}'moving')", moves
        )


def note_class_moves(catalog: Catalog, moved: Sequence[ClassMove], dropped: Sequence[ClassMove] = ()) -> None:
    """Say which moves were made, and which are not to be.

    A picture keeps what is known of it: its facts, that `split` has placed it, and the split that it was drawn into.
    """
    if not (moved or dropped):  # and so perhaps no table
        return
    with catalog.transaction() as db:
        for move in moved:
            _set_state(catalog, move, "moving", "moved")
            _rename(catalog, move.path, move.move_to, move.sha256)
        db.executemany(
            "DELETE FROM class_moves WHERE path = ? AND move_to = ? AND state = 'moving'",
            [(move.path, move.move_to) for move in dropped],
        )


def note_class_moves_back(catalog: Catalog, back: Iterable[ClassMove]) -> None:
    """Say which pictures are in their old class again."""
    with catalog.transaction():
        for move in back:
            _set_state(catalog, move, "moved", "restored")
            _rename(catalog, move.move_to, move.path, move.sha256)


def _select(catalog: Catalog, state: str) -> list[ClassMove]:
    if not catalog.has_table("class_moves"):
        return []
    there = {name for (name,) in catalog.db.execute("SELECT name FROM pragma_table_info('class_moves')")}
    if not there.issuperset((*ClassMove._fields, "id", "state")):
        raise _refused(catalog)
    rows = catalog.db.execute(
        f"SELECT {', '.join(ClassMove._fields)} FROM class_moves WHERE state = ? ORDER BY id", (state,)
    )
    moves = list(map(ClassMove._make, rows))
    if not all(isinstance(value, str) for move in moves for value in move):
        raise _refused(catalog)
    return moves


def _refused(catalog: Catalog) -> UserError:
    return UserError(
        f"The catalog {catalog.path} holds moves between classes that this program did not write: it is not used. "
        f"{REBUILD}"
    )


def _set_state(catalog: Catalog, move: ClassMove, before: str, after: str) -> None:
    catalog.db.execute(
        "UPDATE class_moves SET state = ? WHERE path = ? AND move_to = ? AND state = ?",
        (after, move.path, move.move_to, before),
    )


def _rename(catalog: Catalog, path: str, to: str, sha256: str) -> None:
    row = catalog.db.execute(
        "SELECT folder, label FROM pictures WHERE path = ? AND sha256 = ?", (path, sha256)
    ).fetchone()
    if row is None:  # noted before by a run that was killed
        return
    depth = row[0].count("/") + 1
    folder = "/".join(to.split("/")[:depth])
    label = folder.rpartition("/")[2]
    db = catalog.db
    db.execute(
        "UPDATE OR REPLACE pictures SET path = ?, folder = ?, label = ?, state = 'present' WHERE path = ?",
        (to, folder, label, path),
    )
    db.execute("UPDATE OR REPLACE placements SET path = ? WHERE out = ? AND path = ?", (to, IN_PLACE, path))
    db.execute(
        "INSERT OR IGNORE INTO assignments "
        "SELECT scheme, sha256, ?, split FROM assignments WHERE sha256 = ? AND label = ?",
        (label, sha256, row[1]),
    )
