"""Set pictures aside, and bring them back: moves on record before they are done, that survive a kill at any instant.

A picture at `train/21/a.jpg` that leaves as a duplicate lies at `quarantine/duplicate/train/21/a.jpg`: why it left
and where it lay can be read off the place where it is, even without a catalog. Should a second file of that name
leave for the same reason, it lies below `quarantine/duplicate (2)/`. The companions of a picture
(`curate/companions.py`) come and go with it: each has a record of its own, written with the picture's before either
moves.
"""

import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog import Catalog
from curate.companions import APPLE_DOUBLE, is_picture, owners_of, read_contents
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.atomic import sweep, write_whole
from curate.files.inside import inside, is_plain
from curate.files.moving import Outcome, end_cut_short, move
from curate.files.reading import MAX_BYTES, NotAPlainFile, read_file, sha256_of
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
class Moves:
    """The paths of pictures that were moved, and of those that stayed though they were to leave; and of the companions
    that went with the first.
    """

    moved: list[str]
    unmoved: list[str]
    companions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RestoreReport:
    """Paths brought back; paths left in the quarantine because another file has taken their place; those of pictures
    that were about to leave, by a `clean` that was interrupted, and now stay; and of the companions that came back.
    """

    restored: list[str]
    occupied: list[str]
    called_off: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)


def pending(catalog: Catalog) -> list[Decision]:
    """The decisions on pictures that an interrupted run had on record, and has not yet carried out."""
    rows = catalog.db.execute(
        "SELECT path, sha256, reason, detail, keeper, distance FROM quarantine WHERE state = 'moving' ORDER BY id"
    )
    return [decision for row in rows if not _is_on_companion((decision := Decision(*row)).detail)]


def set_aside(
    dataset: Dataset, catalog: Catalog, decisions: Sequence[Decision], run: str, progress: Progress = silent
) -> Moves:
    """Move pictures into the quarantine; to be called by the holder of the dataset's lock.

    A file that changed or vanished since it was decided upon is left alone, and so is one whose place is taken.
    Companions go with the picture, if no other of theirs stays. Raises `UserError` where a file cannot be moved.
    """
    _record_restored(dataset, catalog)
    leaving = {decision.path for decision in decisions} | {decision.path for decision in pending(catalog)}
    following = _following(dataset, decisions, leaving)
    with catalog.transaction() as db:
        recorded = {decision.path for decision in pending(catalog)}
        taken = {stored for (stored,) in db.execute("SELECT stored FROM quarantine WHERE state IN ('moving', 'moved')")}
        rows = []
        for decision in decisions:
            if decision.path not in recorded:
                together = [decision, *following.get(decision.path, ())]
                place = _free_place(dataset, together, taken)
                taken |= {f"{place}/{one.path}" for one in together}
                rows += [(run, one.path, f"{place}/{one.path}", one.sha256, one.reason, one.detail,
                          one.keeper, one.distance) for one in together]  # fmt: skip
        db.executemany(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'moving')",
            rows,
        )
    return finish_moves(dataset, catalog, progress)


def finish_moves(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> Moves:
    """Carry out every move that is on record and not yet done; to be called by the holder of the dataset's lock."""
    rows = catalog.db.execute(
        "SELECT id, path, stored, sha256, detail FROM quarantine WHERE state = 'moving' ORDER BY id"
    ).fetchall()
    if not rows:
        return Moves([], [])
    _require_own_place(dataset, catalog)
    rows.sort(key=lambda row: _is_on_companion(row[4]))  # pictures first: where one stays, its companions do
    places = [(inside(dataset.root, path), inside(dataset.quarantine, stored)) for _, path, stored, *_ in rows]
    _sweep(dataset, places)
    moved: list[tuple[int, str]] = []
    dropped: list[tuple[int]] = []
    gone: list[str] = []
    unmoved: list[str] = []
    companions: list[str] = []
    staying = _Staying()
    try:
        with progress("Moving to quarantine", len(rows)) as advance:
            for (row, path, _, sha256, detail), (source, target) in zip(rows, places, strict=True):
                is_companion = _is_on_companion(detail)
                if is_companion and staying.has_picture_of(source):
                    move(target, source)  # should it have gone before its picture was changed
                    dropped.append((row,))
                elif _goes(dataset, catalog, path, sha256, source, target):
                    moved.append((row, path))
                    (companions if is_companion else gone).append(path)
                else:
                    dropped.append((row,))
                    unmoved += [] if is_companion else [path]
                advance(1)
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        _record_moves(catalog, moved, dropped)
    return Moves(gone, unmoved, companions)


def _goes(dataset: Dataset, catalog: Catalog, path: str, sha256: str, source: Path, target: Path) -> bool:
    """Move one file, unless it has changed since it was decided upon; says whether it is in its new place."""
    arrived = os.path.lexists(target)
    # What a person put there since is none of ours to move, though it bears the name.
    if (arrived or _is_unchanged(catalog, source, path, sha256)) and _is_still_inside(dataset, path):
        arrived = move(source, target) is Outcome.MOVED or arrived
    return arrived


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
    that another file has taken meanwhile is left alone and reported; a move that an interrupted run has yet to make
    is called off. To be called by the holder of the dataset's lock. Raises `UserError`, before anything is moved, for
    a picture that is neither in the quarantine nor back in its place.
    """
    _require_own_place(dataset, catalog)
    _record_arrived(dataset, catalog)
    files, coming = stored_files(dataset, catalog), _pending_files(dataset, catalog)
    if paths is not None:
        paths = set(paths)
        _check_paths(dataset, [*files, *coming], paths)
    wanted = [(set(values) if values is not None else None) for values in (reasons, paths, labels)]

    def is_wanted(file: Stored) -> bool:
        values = zip((file.reason, file.path, file.label), wanted, strict=True)
        return all(some is None or value in some for value, some in values) and run in (None, file.run)

    called_off = _with_companions(dataset, coming, is_wanted, wanted[1])
    with catalog.transaction() as db:
        rows = [(file.stored,) for file in called_off]
        db.executemany("DELETE FROM quarantine WHERE stored = ? AND state = 'moving'", rows)
    chosen = _with_companions(dataset, files, is_wanted, wanted[1])
    companions = {file.stored for file in [*called_off, *chosen] if _is_companion(dataset, file)}
    chosen.sort(key=lambda file: file.stored in companions)  # where a picture cannot come back, its companions stay
    places = [(inside(dataset.quarantine, file.stored), inside(dataset.root, file.path)) for file in chosen]
    _sweep(dataset, [*places, *_restored(dataset, catalog)])
    restored: list[str] = []
    occupied: list[str] = []
    brought: list[str] = []
    staying, there = _Staying(), _Staying()
    with progress("Restoring", len(chosen)) as advance:
        for file, (source, target) in zip(chosen, places, strict=True):
            advance(1)
            is_companion = file.stored in companions
            if is_companion and staying.has_picture_of(source) and not there.has_picture_of(target):
                continue
            outcome = move(source, target)
            back = brought if is_companion else restored
            (back if outcome is Outcome.MOVED else occupied).append(file.path)
    _record_restored(dataset, catalog)
    _prune(dataset.quarantine)
    still = [file.path for file in called_off if file.stored not in companions]
    return RestoreReport(restored, occupied, still, brought)


def stored_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """Every file that is in the quarantine now, in order of path; of one name that left twice, the last first."""
    rows = catalog.db.execute("SELECT stored, path, sha256, reason, detail, run FROM quarantine WHERE state = 'moved'")
    recorded = {row[0]: Stored(row[0], row[1], _label(dataset, row[1]), *row[2:]) for row in rows}
    found = []
    for folder, _, names in os.walk(dataset.quarantine):
        for name in names:
            stored = (Path(folder) / name).relative_to(dataset.quarantine).as_posix()
            # A copy cut short, a stranger's note, or a name that could never go back to where it came from.
            hidden = name.startswith(".") and not name.startswith(APPLE_DOUBLE)
            if hidden or "/" not in stored or not is_plain(stored):
                continue
            reason, path = stored.split("/", 1)
            unknown = Stored(stored, path, _label(dataset, path), "", _NUMBER.sub("", reason), "", "")
            found.append(recorded.get(stored, unknown))
    return sorted(found, key=lambda file: (file.path, -_number(file.stored), file.stored))


_COMPANION = "companion of "
"""How the detail of a companion's record begins; the path of its picture follows."""

_MARK = ".florilegium.quarantine"
"""A file in a quarantine that lies elsewhere, by a link: whose it is."""

_NUMBER = re.compile(r" \(([0-9]+)\)$")


def _number(stored: str) -> int:
    match = _NUMBER.search(stored.split("/", 1)[0])
    return int(match[1]) if match else 1


def _label(dataset: Dataset, path: str) -> str:
    folders = path.split("/")
    return folders[min(len(folders) - 1, 0 if dataset.layout == "flat" else 1)]


def _is_on_companion(detail: str) -> bool:
    return detail.startswith(_COMPANION)


def _is_companion(dataset: Dataset, file: Stored) -> bool:
    """By its record or, where there is none, by what it is."""
    return _is_on_companion(file.detail) if file.run else not is_picture(dataset.quarantine / file.stored)


class _Staying:
    """Which pictures lie in a folder when it is first asked about."""

    def __init__(self) -> None:
        self._found: dict[Path, list[str]] = {}

    def has_picture_of(self, companion: Path) -> bool:
        """Whether a picture that it belongs to lies in its folder."""
        folder = companion.parent
        if folder not in self._found:
            self._found[folder] = read_contents(folder).pictures
        return bool(owners_of([companion.name], self._found[folder]))


def _following(dataset: Dataset, decisions: Sequence[Decision], leaving: AbstractSet[str]) -> dict[str, list[Decision]]:
    """For pictures that leave, the decisions on the companions that go with them: those of which no picture stays."""
    why = {decision.path: decision for decision in decisions}
    following = defaultdict[str, list[Decision]](list)
    for folder in dict.fromkeys(path.rpartition("/")[0] for path in why):
        for name, owners in read_contents(inside(dataset.root, f"{folder}/x").parent).companions.items():
            paths = [f"{folder}/{owner}" for owner in owners]
            picture = next((path for path in paths if path in why), None)
            if picture is None or not set(paths) <= leaving:
                continue
            try:
                sha256 = sha256_of(dataset.root / folder / name, MAX_BYTES)
            except NotAPlainFile:  # a giant is not read
                sha256 = ""
            except OSError:  # it has gone, or may not be read: then it stays
                continue
            it = Decision(f"{folder}/{name}", sha256, why[picture].reason, f"{_COMPANION}{picture}")
            following[picture].append(it)
    return following


def _with_companions(
    dataset: Dataset, files: Sequence[Stored], is_wanted: Callable[[Stored], bool], paths: AbstractSet[str] | None
) -> list[Stored]:
    """The files that are wanted, and the companions of the pictures among them.

    A companion without a picture in the quarantine comes for itself, or with the picture among `paths` that is back.
    """
    pictures = defaultdict[str, dict[str, bool]](dict)
    companions = []
    for file in files:
        if _is_companion(dataset, file):
            companions.append(file)
        else:
            folder, _, name = file.path.rpartition("/")
            pictures[folder][name] = pictures[folder].get(name, False) or is_wanted(file)
    for path in paths or ():
        folder, _, name = path.rpartition("/")
        pictures[folder].setdefault(name, True)
    chosen = set[str]()
    for file in companions:
        folder, _, name = file.path.rpartition("/")
        owners = owners_of([name], pictures[folder]).get(name, [])
        if any(pictures[folder][owner] for owner in owners) or (is_wanted(file) and (not owners or paths)):
            chosen.add(file.stored)
    own = {file.stored for file in companions}
    return [file for file in files if (file.stored in chosen if file.stored in own else is_wanted(file))]


def _check_paths(dataset: Dataset, files: Sequence[Stored], paths: Iterable[str]) -> None:
    known = {file.path for file in files}
    for path in sorted(paths):
        # One that is back already is no mistake: an interrupted `restore` may be repeated.
        back = is_plain(path) and os.path.lexists(dataset.root / path) and not (dataset.root / path).is_dir()
        if path not in known and not back:
            raise UserError(
                f"{path} is not in the quarantine {dataset.quarantine}: give the path that the picture had below "
                f"{dataset.root}."
            )


def _require_own_place(dataset: Dataset, catalog: Catalog) -> None:
    """Raise `UserError` where the quarantine is a link to a folder with files that this dataset did not put there.

    A user may link it to another disk; a dataset from elsewhere may link it to the user's own folders.
    """
    place = dataset.quarantine
    if not place.is_symlink():
        return
    mark, identity = place / _MARK, catalog.identity()
    try:
        known = read_file(mark, 4096).decode("ascii", "replace").strip() if os.path.lexists(mark) else ""
        if not known and place.is_dir() and not any(place.iterdir()):
            write_whole(mark, f"{identity}\n")
            known = identity
    except OSError as error:
        raise UserError(f"{place} cannot be read or written ({error.strerror}): check your rights.") from error
    if known != identity:
        raise UserError(
            f"{place} is a link to {place.resolve()}, which is no empty folder, and not marked as the quarantine of "
            f"this dataset: let it lead to an empty folder, or write the line {identity} into {mark}, if it is."
        )


def _is_still_inside(dataset: Dataset, path: str) -> bool:
    """Whether a path has not come to lead out: somebody may put a link in a folder's place while files move."""
    try:
        inside(dataset.root, path)
    except UserError:
        return False
    return True


def _sweep(dataset: Dataset, places: Sequence[tuple[Path, Path]]) -> None:
    """Remove what killed moves (source, target) left behind: names given up and, between disks, half copies."""
    end_cut_short(places)
    with suppress(OSError):
        if dataset.root.stat().st_dev != dataset.quarantine.stat().st_dev:
            for folder in {target.parent for _, target in places}:
                sweep(folder)


def _restored(dataset: Dataset, catalog: Catalog) -> list[tuple[Path, Path]]:
    """What was brought back by a run that was killed before it could write it down: (where it was, where it is)."""
    rows = catalog.db.execute("SELECT stored, path FROM quarantine WHERE state = 'moved'").fetchall()
    places = [(inside(dataset.quarantine, stored), inside(dataset.root, path)) for stored, path in rows]
    return [(source, target) for source, target in places if not os.path.lexists(source)]


def _is_unchanged(catalog: Catalog, file: Path, path: str, sha256: str) -> bool:
    """Whether this is the file that was decided upon: by size and time or, where these differ, by its content."""
    try:
        status = file.stat()
    except FileNotFoundError:  # or a link that leads nowhere, which has no content to differ
        return file.is_symlink()
    except OSError:  # a link that leads round in a circle has none either
        return file.is_symlink()
    row = catalog.db.execute("SELECT size, mtime_ns, sha256 FROM pictures WHERE path = ?", (path,)).fetchone()
    if row == (status.st_size, status.st_mtime_ns, sha256):
        return True
    try:
        return sha256_of(file, MAX_BYTES) == sha256
    except NotAPlainFile:
        return sha256 == ""  # a pipe, a device, a giant: nothing to compare, then as now
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): give yourself the right to.") from error


def _pending_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """What an interrupted run has on record to move, and has not moved."""
    rows = catalog.db.execute(
        "SELECT stored, path, sha256, reason, detail, run FROM quarantine WHERE state = 'moving' ORDER BY id"
    )
    return [Stored(row[0], row[1], _label(dataset, row[1]), *row[2:]) for row in rows]


def _record_arrived(dataset: Dataset, catalog: Catalog) -> None:
    """The files say what an interrupted run has moved already."""
    rows = catalog.db.execute("SELECT id, path, stored FROM quarantine WHERE state = 'moving'").fetchall()
    arrived = []
    for row, path, stored in rows:
        source, target = inside(dataset.root, path), inside(dataset.quarantine, stored)
        if os.path.lexists(target):
            arrived.append((row, path))
            move(source, target)  # where it was cut short with the file under both names
    _record_moves(catalog, arrived, [])


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


def _free_place(dataset: Dataset, together: Sequence[Decision], taken: set[str]) -> str:
    """The reason's folder or, where an earlier file of one of those names lies there, the next one with a number."""
    reason = together[0].reason
    place, number = reason, 1
    while any(
        f"{place}/{one.path}" in taken or os.path.lexists(dataset.quarantine / place / one.path) for one in together
    ):
        number += 1
        place = f"{reason} ({number})"
    return place


def _prune(folder: Path) -> None:
    """Remove the empty folders below and including this one."""
    for below, _, _ in os.walk(folder, topdown=False):
        try:
            Path(below).rmdir()
        except OSError:  # not empty
            continue
