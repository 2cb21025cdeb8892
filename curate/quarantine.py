"""Set pictures aside, and bring them back: moves that survive a kill at any instant.

A picture at `train/21/a.jpg` that leaves as a duplicate lies at `quarantine/duplicate/train/21/a.jpg`: the place it
came from can be read off the place it is at, even without a catalog. Every move is on record before it is done.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.errors import UserError
from curate.progress import Progress, silent


@dataclass(frozen=True)
class Decision:
    """One picture leaves: why, in one word and in a clause; for a copy, which picture stays, and at what distance.

    `keeper` is "" where no copy stays; `distance` is in bits of pHash, -1 where there is no pair.
    """

    path: str
    sha256: str
    reason: str
    detail: str
    keeper: str = ""
    distance: int = -1


@dataclass(frozen=True)
class RestoreReport:
    """Paths brought back; paths left in the quarantine because another file has taken their place."""

    restored: list[str]
    occupied: list[str]


def pending(catalog: Catalog) -> list[Decision]:
    """The decisions that an interrupted run had on record, and has not yet carried out."""
    rows = catalog.db.execute(
        "SELECT path, sha256, reason, detail, keeper, distance FROM quarantine WHERE state = 'moving' ORDER BY id"
    )
    return [Decision(*row) for row in rows]


def set_aside(
    dataset: Dataset, catalog: Catalog, decisions: Sequence[Decision], run: str, progress: Progress = silent
) -> int:
    """Move pictures into the quarantine. Returns how many; raises `UserError` where a file cannot be moved."""
    recorded = {decision.path for decision in pending(catalog)}
    taken = {stored for (stored,) in catalog.db.execute("SELECT stored FROM quarantine WHERE state != 'restored'")}
    rows = []
    for decision in decisions:
        if decision.path not in recorded:
            stored = _free_place(dataset, f"{decision.reason}/{decision.path}", taken)
            taken.add(stored)
            rows.append((run, decision.path, stored, decision.sha256, decision.reason, decision.detail,
                         decision.keeper, decision.distance))  # fmt: skip
    with catalog.transaction() as db:
        db.executemany(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'moving')",
            rows,
        )
    return finish_moves(dataset, catalog, progress)


def finish_moves(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> int:
    """Carry out every move that is on record and not yet done; returns their number."""
    rows = catalog.db.execute("SELECT id, path, stored FROM quarantine WHERE state = 'moving' ORDER BY id").fetchall()
    if not rows:
        return 0
    done = 0
    try:
        with progress("Moving to quarantine", len(rows)) as advance:
            for _, path, stored in rows:
                _move(dataset.root / path, dataset.quarantine / stored)
                done += 1
                advance(1)
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        with catalog.transaction() as db:
            db.executemany("UPDATE quarantine SET state = 'moved' WHERE id = ?", [(row[0],) for row in rows[:done]])
            db.executemany(
                "UPDATE pictures SET state = 'quarantined' WHERE path = ?", [(row[1],) for row in rows[:done]]
            )
    return len(rows)


def restore(
    dataset: Dataset, catalog: Catalog, reasons: Iterable[str] | None = None, progress: Progress = silent
) -> RestoreReport:
    """Bring back everything in the quarantine, or what left for one of `reasons`, under its old name.

    Works from the files themselves where the catalog has no record of them. A place that another file has taken
    meanwhile is left alone and reported.
    """
    finish_moves(dataset, catalog)
    wanted = None if reasons is None else set(reasons)
    origins = _origins(dataset, catalog)
    chosen = [stored for stored in origins if wanted is None or stored.split("/", 1)[0] in wanted]
    restored, occupied = [], []
    with progress("Restoring", len(chosen)) as advance:
        for stored in chosen:
            target = dataset.root / origins[stored]
            if os.path.lexists(target):
                occupied.append(origins[stored])
            else:
                _move(dataset.quarantine / stored, target)
                restored.append(origins[stored])
            advance(1)
    _record_restored(dataset, catalog)
    _prune(dataset.quarantine)
    return RestoreReport(restored, occupied)


def _record_restored(dataset: Dataset, catalog: Catalog) -> None:
    """The files say what was brought back, also by a run that was killed before it could write it down."""
    rows = catalog.db.execute("SELECT id, stored FROM quarantine WHERE state = 'moved'").fetchall()
    back = [(row,) for row, stored in rows if not os.path.lexists(dataset.quarantine / stored)]
    with catalog.transaction() as db:
        db.executemany("UPDATE quarantine SET state = 'restored' WHERE id = ?", back)


def _origins(dataset: Dataset, catalog: Catalog) -> dict[str, str]:
    """Place in the quarantine → where the picture lay, for every file that is there now, in order of place."""
    recorded = dict(catalog.db.execute("SELECT stored, path FROM quarantine WHERE state = 'moved'").fetchall())
    found = {}
    for folder, _, names in os.walk(dataset.quarantine):
        for name in names:
            stored = (Path(folder) / name).relative_to(dataset.quarantine).as_posix()
            if "/" in stored:
                found[stored] = recorded.get(stored, stored.split("/", 1)[1])
    return dict(sorted(found.items()))


def _free_place(dataset: Dataset, stored: str, taken: set[str]) -> str:
    """The place itself or, where an earlier picture of that name lies there, the next one with a number."""
    place, number = stored, 1
    while place in taken or os.path.lexists(dataset.quarantine / place):
        number += 1
        parent, name = stored.rsplit("/", 1)
        stem, dot, suffix = name.rpartition(".")
        place = f"{parent}/{stem or name} ({number}){dot}{suffix if stem else ''}"
    return place


def _move(source: Path, target: Path) -> None:
    """Rename, or copy and remove where the quarantine is on another file system. Repeating it has no effect."""
    if not os.path.lexists(source):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy_and_remove(source, target)
    except OSError as error:
        raise UserError(
            f"{source} cannot be moved to {target} ({error.strerror}): check the disk's free space and your rights, "
            "and run the same command again."
        ) from error


def _copy_and_remove(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.copy2(source, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    source.unlink()


def _prune(folder: Path) -> None:
    """Remove the empty folders below and including this one."""
    for below, _, _ in os.walk(folder, topdown=False):
        try:
            Path(below).rmdir()
        except OSError:  # not empty
            continue
