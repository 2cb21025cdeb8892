"""Set pictures aside, and bring them back: moves on record before they are done, that survive a kill at any instant.

A picture at `train/21/a.jpg` that leaves as a duplicate lies at `quarantine/duplicate/train/21/a.jpg`: why it left
and where it lay can be read off the place where it is, even without a catalog. Should a second file of that name
leave for the same reason, it lies below `quarantine/duplicate (2)/`.
"""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.class_moves import ClassMove, class_moves_done, class_moves_under_way, intend_class_moves
from curate.catalog.quarantine_moves import (
    Move,
    MoveRecord,
    call_off_moves,
    intend_moves,
    moves_done,
    moves_under_way,
    note_moves,
    note_restored,
    places_taken,
    records_done,
    records_under_way,
)
from curate.class_moves import call_off_class_moves, finish_class_moves, take_back_class_moves
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.atomic import remove_abandoned, write_whole
from curate.files.inside import inside, is_plain
from curate.files.moving import Outcome, end_cut_short, move
from curate.files.reading import read_file
from curate.progress import Progress, silent
from curate.unchanged import is_still_inside, is_unchanged


@dataclass(frozen=True)
class Decision:
    """One picture leaves: why, in one word and in a clause; for a copy, which picture stays, and at what distance.

    `keeper` is "" where no copy stays; `distance` is in bits of pHash, -1 where there is no pair. `verdict` is "exact"
    for the same bytes as another picture, "copy" for a copy that was edited, "" for all else. With `move_to`, a path in
    another class, the picture goes there and does not leave the dataset.
    """

    path: str
    sha256: str
    reason: str
    detail: str
    keeper: str = ""
    distance: int = -1
    verdict: str = ""
    move_to: str = ""


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
    """The paths of pictures that were moved to the quarantine, of those that stayed though they were to leave, and of
    those that went to another class.
    """

    moved: list[str]
    unmoved: list[str]
    to_other_classes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RestoreReport:
    """Paths brought back; paths left in the quarantine because another file has taken their place; those of pictures
    that were about to leave, by a `clean` that was interrupted, and now stay.
    """

    restored: list[str]
    occupied: list[str]
    called_off: list[str] = field(default_factory=list)


def pending(catalog: Catalog) -> list[Decision]:
    """The decisions that an interrupted run had on record, and has not yet carried out."""
    return [
        Decision(found.path, found.sha256, found.reason, found.detail, found.keeper, found.distance)
        for found in records_under_way(catalog)
    ] + [
        Decision(found.path, found.sha256, found.reason, found.detail, move_to=found.move_to)
        for found in class_moves_under_way(catalog)
    ]


def set_aside(
    dataset: Dataset, catalog: Catalog, decisions: Sequence[Decision], run: str, progress: Progress = silent
) -> Moves:
    """Move pictures into the quarantine or to another class; to be called by the holder of the dataset's lock.

    A file that changed or vanished since it was decided upon is left alone, and so is one whose place is taken.
    Raises `UserError` where a file cannot be moved.
    """
    _record_restored(dataset, catalog)
    with catalog.transaction():
        recorded = {decision.path for decision in pending(catalog)}
        taken = places_taken(catalog)
        records = []
        between = []
        for decision in decisions:
            if decision.path in recorded:
                continue
            if decision.move_to:
                between.append(ClassMove(run, decision.path, decision.move_to, decision.sha256, decision.reason,
                                         decision.detail))  # fmt: skip
            else:
                stored = _free_place(dataset, decision, taken)
                taken.add(stored)
                records.append(MoveRecord(run, decision.path, stored, decision.sha256, decision.reason, decision.detail,
                                          decision.keeper, decision.distance))  # fmt: skip
        intend_moves(catalog, records)
        intend_class_moves(catalog, between)
    return finish_moves(dataset, catalog, progress)


def finish_moves(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> Moves:
    """Carry out every move that is on record and not yet done; to be called by the holder of the dataset's lock."""
    moved, unmoved = _finish_leaving(dataset, catalog, progress)
    went, stayed = finish_class_moves(dataset, catalog, progress)
    return Moves(
        [found.path for found in moved],
        [*(found.path for found in unmoved), *(found.path for found in stayed)],
        [found.path for found in went],
    )


def _finish_leaving(dataset: Dataset, catalog: Catalog, progress: Progress) -> tuple[list[Move], list[Move]]:
    """Carry out the moves to the quarantine: those that were made, and those that could not be."""
    on_record = moves_under_way(catalog)
    if not on_record:
        return [], []
    _require_own_place(dataset, catalog)
    places = [(inside(dataset.root, found.path), inside(dataset.quarantine, found.stored)) for found in on_record]
    _sweep(dataset, places)
    moved: list[Move] = []
    unmoved: list[Move] = []
    try:
        with progress("Moving to quarantine", len(on_record)) as advance:
            for found, (source, target) in zip(on_record, places, strict=True):
                arrived = os.path.lexists(target)
                # What a person put there since is none of ours to move, though it bears the name.
                is_ours = arrived or is_unchanged(catalog, source, found.path, found.sha256)
                if is_ours and is_still_inside(dataset, found.path):
                    arrived = move(source, target) is Outcome.MOVED or arrived
                (moved if arrived else unmoved).append(found)
                advance(1)
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        note_moves(catalog, moved, dropped=unmoved)
    return moved, unmoved


def restore_files(
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
    elsewhere = {found.path for found in (*class_moves_done(catalog), *class_moves_under_way(catalog))}
    if paths is not None:
        paths = set(paths)
        _check_paths(dataset, {*elsewhere, *(file.path for file in (*files, *coming))}, paths)
    wanted = [(set(values) if values is not None else None) for values in (reasons, paths, labels)]

    def is_wanted(file: Stored | ClassMove) -> bool:
        values = zip((file.reason, file.path, _label(dataset, file.path)), wanted, strict=True)
        return all(some is None or value in some for value, some in values) and run in (None, file.run)

    called_off = [file for file in coming if is_wanted(file)]
    call_off_moves(catalog, [file.stored for file in called_off])
    staying = call_off_class_moves(dataset, catalog, is_wanted)
    chosen = [file for file in files if is_wanted(file)]
    places = [(inside(dataset.quarantine, file.stored), inside(dataset.root, file.path)) for file in chosen]
    _sweep(dataset, [*places, *_restored(dataset, catalog)])
    restored: list[str] = []
    occupied: list[str] = []
    with progress("Restoring", len(chosen)) as advance:
        for file, (source, target) in zip(chosen, places, strict=True):
            outcome = move(source, target)
            (restored if outcome is Outcome.MOVED else occupied).append(file.path)
            advance(1)
    _record_restored(dataset, catalog)
    _prune(dataset.quarantine)
    # What left after it had gone to another class is there again by now, and goes back to the class before.
    back, taken = take_back_class_moves(dataset, catalog, is_wanted, progress)
    return RestoreReport([*restored, *back], [*occupied, *taken], [*(file.path for file in called_off), *staying])


def stored_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """Every file that is in the quarantine now, in order of path; of one name that left twice, the last first."""
    recorded = {record.stored: _stored(dataset, record) for record in records_done(catalog)}
    found = []
    for folder, _, names in os.walk(dataset.quarantine):
        for name in names:
            stored = (Path(folder) / name).relative_to(dataset.quarantine).as_posix()
            # A copy cut short, a stranger's note, or a name that could never go back to where it came from.
            if name.startswith(".") or "/" not in stored or not is_plain(stored):
                continue
            reason, path = stored.split("/", 1)
            unknown = Stored(stored, path, _label(dataset, path), "", _NUMBER.sub("", reason), "", "")
            found.append(recorded.get(stored, unknown))
    return sorted(found, key=lambda file: (file.path, -_number(file.stored), file.stored))


_MARK = ".florilegium.quarantine"
"""A file in a quarantine that lies elsewhere, by a link: whose it is."""

_NUMBER = re.compile(r" \(([0-9]+)\)$")


def _number(stored: str) -> int:
    match = _NUMBER.search(stored.split("/", 1)[0])
    return int(match[1]) if match else 1


def _label(dataset: Dataset, path: str) -> str:
    folders = path.split("/")
    return folders[min(len(folders) - 1, 0 if dataset.layout == "flat" else 1)]


def _check_paths(dataset: Dataset, known: Collection[str], paths: Iterable[str]) -> None:
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


def _sweep(dataset: Dataset, places: Sequence[tuple[Path, Path]]) -> None:
    """Remove what killed moves (source, target) left behind: names given up and, between disks, half copies."""
    end_cut_short(places)
    with suppress(OSError):
        if dataset.root.stat().st_dev != dataset.quarantine.stat().st_dev:
            for folder in {target.parent for _, target in places}:
                remove_abandoned(folder)


def _restored(dataset: Dataset, catalog: Catalog) -> list[tuple[Path, Path]]:
    """What was brought back by a run that was killed before it could write it down: (where it was, where it is)."""
    done = moves_done(catalog)
    places = [(inside(dataset.quarantine, found.stored), inside(dataset.root, found.path)) for found in done]
    return [(source, target) for source, target in places if not os.path.lexists(source)]


def _pending_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """What an interrupted run has on record to move, and has not moved."""
    return [_stored(dataset, record) for record in records_under_way(catalog)]


def _stored(dataset: Dataset, record: MoveRecord) -> Stored:
    label = _label(dataset, record.path)
    return Stored(record.stored, record.path, label, record.sha256, record.reason, record.detail, record.run)


def _record_arrived(dataset: Dataset, catalog: Catalog) -> None:
    """The files say what an interrupted run has moved already."""
    arrived = []
    for found in moves_under_way(catalog):
        source, target = inside(dataset.root, found.path), inside(dataset.quarantine, found.stored)
        if os.path.lexists(target):
            arrived.append(found)
            move(source, target)  # where it was cut short with the file under both names
    note_moves(catalog, arrived)


def _record_restored(dataset: Dataset, catalog: Catalog) -> None:
    """The files say what was brought back, also by a run that was killed before it could write it down."""
    back = [found for found in moves_done(catalog) if not os.path.lexists(dataset.quarantine / found.stored)]
    note_restored(catalog, back)


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
