"""Set pictures aside, and bring them back: moves on record before they are done, that survive a kill at any instant.

A picture at `train/21/a.jpg` that leaves as a duplicate lies at `quarantine/duplicate/train/21/a.jpg`: why it left
and where it lay can be read off the place where it is, even without a catalog. Should a second file of that name
leave for the same reason, it lies below `quarantine/duplicate (2)/`.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.catalog import Catalog
from curate.files.moving import Outcome, move
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
class Stored:
    """One file in the quarantine: its place there, where it lay, why it left and by which run.

    `stored` is relative to the quarantine, `path` to the dataset; `sha256`, `run` and `detail` are "" where the
    catalog does not know the file.
    """

    stored: str
    path: str
    label: str
    sha256: str
    reason: str
    detail: str
    run: str


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
    """Move pictures into the quarantine. Returns how many; raises `UserError` where a file cannot be moved.

    A file that changed or vanished since it was decided upon is left alone.
    """
    _record_restored(dataset, catalog)
    with catalog.transaction() as db:
        recorded = {decision.path for decision in pending(catalog)}
        taken = {stored for (stored,) in db.execute("SELECT stored FROM quarantine WHERE state IN ('moving', 'moved')")}
        rows = []
        for decision in decisions:
            if decision.path not in recorded:
                stored = _free_place(dataset, decision, taken)
                taken.add(stored)
                rows.append((run, decision.path, stored, decision.sha256, decision.reason, decision.detail,
                             decision.keeper, decision.distance))  # fmt: skip
        db.executemany(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'moving')",
            rows,
        )
    return finish_moves(dataset, catalog, progress)


def finish_moves(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> int:
    """Carry out every move that is on record and not yet done; returns the number of files moved."""
    rows = catalog.db.execute(
        "SELECT id, path, stored, sha256 FROM quarantine WHERE state = 'moving' ORDER BY id"
    ).fetchall()
    if not rows:
        return 0
    moved: list[tuple[int, str]] = []
    dropped: list[tuple[int]] = []
    try:
        with progress("Moving to quarantine", len(rows)) as advance:
            for row, path, stored, sha256 in rows:
                source, target = dataset.root / path, dataset.quarantine / stored
                arrived = os.path.lexists(target)
                # What a person put there since is none of ours to move, though it bears the name.
                if arrived or _is_unchanged(catalog, source, path, sha256):
                    arrived = move(source, target) is Outcome.MOVED or arrived
                if arrived:
                    moved.append((row, path))
                else:
                    dropped.append((row,))
                advance(1)
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        _record_moves(catalog, moved, dropped)
    return len(moved)


def restore(
    dataset: Dataset,
    catalog: Catalog,
    reasons: Iterable[str] | None = None,
    progress: Progress = silent,
    *,
    paths: Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    run: str | None = None,
) -> RestoreReport:
    """Bring back what is in the quarantine, under its old names: everything, or what meets all that is given.

    `paths` are where pictures lay before, relative to the dataset; `labels` their class folders; `run` is a run's
    name as `stored_files` has it. Works from the files themselves where the catalog has no record of them. A place
    that another file has taken meanwhile is left alone and reported. Raises `UserError`, before anything is moved,
    for a picture that is neither in the quarantine nor back in its place.
    """
    finish_moves(dataset, catalog)
    files = stored_files(dataset, catalog)
    if paths is not None:
        paths = set(paths)
        _check_paths(dataset, files, paths)
    wanted = [(set(values) if values is not None else None) for values in (reasons, paths, labels)]
    chosen = [
        file
        for file in files
        if all(
            values is None or value in values
            for value, values in zip((file.reason, file.path, file.label), wanted, strict=True)
        )
        and run in (None, file.run)
    ]
    restored: list[str] = []
    occupied: list[str] = []
    with progress("Restoring", len(chosen)) as advance:
        for file in chosen:
            outcome = move(dataset.quarantine / file.stored, dataset.root / file.path)
            (restored if outcome is Outcome.MOVED else occupied).append(file.path)
            advance(1)
    _record_restored(dataset, catalog)
    _prune(dataset.quarantine)
    return RestoreReport(restored, occupied)


def stored_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """Every file that is in the quarantine now, in order of path; of one name that left twice, the last first."""
    rows = catalog.db.execute("SELECT stored, path, sha256, reason, detail, run FROM quarantine WHERE state = 'moved'")
    recorded = {row[0]: Stored(row[0], row[1], _label(dataset, row[1]), *row[2:]) for row in rows}
    found = []
    for folder, _, names in os.walk(dataset.quarantine):
        for name in names:
            stored = (Path(folder) / name).relative_to(dataset.quarantine).as_posix()
            if name.startswith(".") or "/" not in stored:  # a copy cut short, or a stranger's note
                continue
            reason, path = stored.split("/", 1)
            unknown = Stored(stored, path, _label(dataset, path), "", _NUMBER.sub("", reason), "", "")
            found.append(recorded.get(stored, unknown))
    return sorted(found, key=lambda file: (file.path, -_number(file.stored), file.stored))


_NUMBER = re.compile(r" \(([0-9]+)\)$")


def _number(stored: str) -> int:
    match = _NUMBER.search(stored.split("/", 1)[0])
    return int(match[1]) if match else 1


def _label(dataset: Dataset, path: str) -> str:
    folders = path.split("/")
    return folders[min(len(folders) - 1, 0 if dataset.layout == "flat" else 1)]


def _check_paths(dataset: Dataset, files: Sequence[Stored], paths: Iterable[str]) -> None:
    known = {file.path for file in files}
    for path in sorted(paths):
        # One that is back already is no mistake: an interrupted `restore` may be repeated.
        if path not in known and not os.path.lexists(dataset.root / path):
            raise UserError(
                f"{path} is not in the quarantine {dataset.quarantine}: give the path that the picture had below "
                f"{dataset.root}."
            )


def _is_unchanged(catalog: Catalog, file: Path, path: str, sha256: str) -> bool:
    """Whether this is the file that was decided upon: by size and time or, where these differ, by its content."""
    try:
        stat = file.stat()
    except FileNotFoundError:  # or a link that leads nowhere, which has no content to differ
        return file.is_symlink()
    row = catalog.db.execute("SELECT size, mtime_ns, sha256 FROM pictures WHERE path = ?", (path,)).fetchone()
    if row == (stat.st_size, stat.st_mtime_ns, sha256):
        return True
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == sha256
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): give yourself the right to.") from error


def _record_moves(catalog: Catalog, moved: Sequence[tuple[int, str]], dropped: Sequence[tuple[int]]) -> None:
    with catalog.transaction() as db:
        db.executemany("UPDATE quarantine SET state = 'moved' WHERE id = ?", [(row,) for row, _ in moved])
        db.executemany("DELETE FROM quarantine WHERE id = ?", dropped)
        db.executemany("UPDATE pictures SET state = 'quarantined' WHERE path = ?", [(path,) for _, path in moved])


def _record_restored(dataset: Dataset, catalog: Catalog) -> None:
    """The files say what was brought back, also by a run that was killed before it could write it down."""
    rows: list[sqlite3.Row] = catalog.db.execute(
        "SELECT id, path, stored, sha256 FROM quarantine WHERE state = 'moved'"
    ).fetchall()
    back = [(row, path, sha256) for row, path, stored, sha256 in rows
            if not os.path.lexists(dataset.quarantine / stored)]  # fmt: skip
    with catalog.transaction() as db:
        db.executemany("UPDATE quarantine SET state = 'restored' WHERE id = ?", [(row,) for row, _, _ in back])
        # The row's facts hold for the same bytes; `scan` reads the file again where its size or time is another.
        db.executemany(
            "UPDATE pictures SET state = 'present' WHERE path = ? AND sha256 = ? AND state = 'quarantined'",
            [(path, sha256) for _, path, sha256 in back],
        )


def _free_place(dataset: Dataset, decision: Decision, taken: set[str]) -> str:
    """Below the reason's folder or, where an earlier picture of that name lies there, the next one with a number."""
    place, number = f"{decision.reason}/{decision.path}", 1
    while place in taken or os.path.lexists(dataset.quarantine / place):
        number += 1
        place = f"{decision.reason} ({number})/{decision.path}"
    return place


def _prune(folder: Path) -> None:
    """Remove the empty folders below and including this one."""
    for below, _, _ in os.walk(folder, topdown=False):
        try:
            Path(below).rmdir()
        except OSError:  # not empty
            continue
