"""Set pictures aside, and bring them back: moves on record before they are done, that survive a kill at any instant.

A picture at `train/21/a.jpg` that leaves as a duplicate lies at `quarantine/duplicate/train/21/a.jpg`: why it left
and where it lay can be read off the place where it is, even without a catalog. Should a second file of that name
leave for the same reason, it lies below `quarantine/duplicate (2)/`. The companions of a picture
(`curate/companions.py`) come and go with it: each has a record of its own, written with the picture's before either
moves.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.class_moves import ClassMove, class_moves_done, class_moves_under_way, intend_class_moves
from curate.catalog.placements import IN_PLACE
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
from curate.companions import APPLE_DOUBLE, COMPANION_OF, is_picture, owners_of, read_contents, renamed
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.atomic import remove_abandoned, write_whole
from curate.files.inside import inside, is_plain
from curate.files.moving import Outcome, end_cut_short, move
from curate.files.reading import MAX_BYTES, NotAPlainFile, read_file, sha256_of
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
    those that went to another class; and of the companions that went with either.
    """

    moved: list[str]
    unmoved: list[str]
    to_other_classes: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RestoreReport:
    """Paths brought back; paths left in the quarantine because another file has taken their place; those of pictures
    that were about to leave, by a `clean` that was interrupted, and now stay; and of the companions that came back.
    `astray` are copies, relative to the dataset, that `split` has placed under the class that a picture has come back
    from, and that lie there until the next `split`.
    """

    restored: list[str]
    occupied: list[str]
    called_off: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)


def pending(catalog: Catalog) -> list[Decision]:
    """The decisions on pictures that an interrupted run had on record, and has not yet carried out."""
    return [
        Decision(found.path, found.sha256, found.reason, found.detail, found.keeper, found.distance)
        for found in records_under_way(catalog)
        if not _is_on_companion(found.detail)
    ] + [
        Decision(found.path, found.sha256, found.reason, found.detail, move_to=found.move_to)
        for found in class_moves_under_way(catalog)
        if not _is_on_companion(found.detail)
    ]


def set_aside(
    dataset: Dataset, catalog: Catalog, decisions: Sequence[Decision], run: str, progress: Progress = silent
) -> Moves:
    """Move pictures into the quarantine or to another class; to be called by the holder of the dataset's lock.

    A file that changed or vanished since it was decided upon is left alone, and so is one whose place is taken.
    Companions go with the picture, if no other of theirs stays. Raises `UserError` where a file cannot be moved. Where
    the dataset's files stay as they lie, a manifest says what left.
    """
    if dataset.is_fixed:
        from curate.fixed.leaving import leave_out

        return leave_out(dataset, catalog, decisions, run)
    _record_restored(dataset, catalog)
    leaving = {decision.path for decision in decisions} | {decision.path for decision in pending(catalog)}
    following = _following(dataset, decisions, leaving)
    with catalog.transaction():
        recorded = {decision.path for decision in pending(catalog)}
        taken = places_taken(catalog)
        records = []
        between = []
        for decision in decisions:
            if decision.path in recorded:
                continue
            together = [decision, *following.get(decision.path, ())]
            if decision.move_to:
                between += [ClassMove(run, one.path, _beside(decision, one), one.sha256, one.reason, one.detail)
                            for one in together]  # fmt: skip
            else:
                place = _free_place(dataset, together, taken)
                taken |= {f"{place}/{one.path}" for one in together}
                records += [MoveRecord(run, one.path, f"{place}/{one.path}", one.sha256, one.reason, one.detail,
                                       one.keeper, one.distance) for one in together]  # fmt: skip
        intend_moves(catalog, records)
        intend_class_moves(catalog, between)
    return finish_moves(dataset, catalog, progress)


def finish_moves(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> Moves:
    """Carry out every move that is on record and not yet done; to be called by the holder of the dataset's lock."""
    if dataset.is_fixed:
        from curate.fixed.leaving import finish_leaving

        return finish_leaving(dataset, catalog)
    moved, unmoved = _finish_leaving(dataset, catalog, progress)
    went, stayed = finish_class_moves(dataset, catalog, progress)
    return Moves(_pictures(moved), _pictures([*unmoved, *stayed]), _pictures(went), _companions([*moved, *went]))


def _finish_leaving(dataset: Dataset, catalog: Catalog, progress: Progress) -> tuple[list[Move], list[Move]]:
    """Carry out the moves to the quarantine: those that were made, and those that could not be."""
    on_record = moves_under_way(catalog)
    if not on_record:
        return [], []
    _require_own_place(dataset, catalog)
    # Pictures first: where one stays, its companions do.
    on_record.sort(key=lambda found: _is_on_companion(found.detail))
    places = [(inside(dataset.root, found.path), inside(dataset.quarantine, found.stored)) for found in on_record]
    _sweep(dataset, places)
    moved: list[Move] = []
    dropped: list[Move] = []
    staying = _Staying()
    try:
        with progress("Moving to quarantine", len(on_record)) as advance:
            for found, (source, target) in zip(on_record, places, strict=True):
                if _is_on_companion(found.detail) and staying.has_picture_of(source):
                    move(target, source)  # should it have gone before its picture was changed
                    dropped.append(found)
                else:
                    (moved if _goes(dataset, catalog, found, source, target) else dropped).append(found)
                advance(1)
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        note_moves(catalog, moved, dropped=dropped)
    return moved, dropped


def _goes(dataset: Dataset, catalog: Catalog, found: Move, source: Path, target: Path) -> bool:
    """Move one file, unless it has changed since it was decided upon; says whether it is in its new place."""
    arrived = os.path.lexists(target)
    # What a person put there since is none of ours to move, though it bears the name.
    is_ours = arrived or is_unchanged(catalog, source, found.path, found.sha256)
    if is_ours and is_still_inside(dataset, found.path):
        arrived = move(source, target) is Outcome.MOVED or arrived
    return arrived


def _beside(picture: Decision, one: Decision) -> str:
    """Where a picture that goes to another class is to lie, or one of its companions, which is named as it is."""
    if one is picture:
        return picture.move_to
    folder, _, to = picture.move_to.rpartition("/")
    return f"{folder}/{renamed(one.path.rpartition('/')[2], picture.path.rpartition('/')[2], to)}"


def restore_files(
    dataset: Dataset,
    catalog: Catalog,
    reasons: Iterable[str] | None = None,
    progress: Progress = silent,
    *,
    paths: Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    run: str | None = None,
    stored: Iterable[str] | None = None,
    settle: Callable[[Sequence[Stored | ClassMove]], None] = lambda _back: None,
) -> RestoreReport:
    """Bring back what is in the quarantine, under its old names: everything, or what meets all that is given.

    `paths` are where pictures lay before, relative to the dataset; `labels` their class folders; `run` is a run's
    name as `stored_files` has it; `stored` are where they lie in the quarantine. `settle` is told which pictures are
    about to come back, or to stay after all, before the first of them moves. Works from the files themselves where the
    catalog has no record of them. A place that another file has taken meanwhile is left alone and reported; a move that
    an interrupted run has yet to make is called off. To be called by the holder of the dataset's lock. Raises
    `UserError`, before anything is moved, for a picture that is neither in the quarantine nor back in its place.
    """
    paths = None if paths is None else set(paths)
    wanted = [(set(values) if values is not None else None) for values in (reasons, paths, labels)]
    exact = None if stored is None else set(stored)

    def is_wanted(file: Stored | ClassMove) -> bool:
        if exact is not None and not (isinstance(file, Stored) and file.stored in exact):
            return False
        values = zip((file.reason, file.path, _label(dataset, file.path)), wanted, strict=True)
        return all(some is None or value in some for value, some in values) and run in (None, file.run)

    if dataset.is_fixed:
        from curate.fixed.leaving import take_back

        return take_back(dataset, catalog, is_wanted, paths, settle)
    _require_own_place(dataset, catalog)
    _record_arrived(dataset, catalog)
    files, coming = stored_files(dataset, catalog), _pending_files(dataset, catalog)
    elsewhere = {found.path for found in (*class_moves_done(catalog), *class_moves_under_way(catalog))}
    if paths is not None:
        _check_paths(dataset, {*elsewhere, *(file.path for file in (*files, *coming))}, paths)
    called_off = _with_companions(dataset, coming, is_wanted, wanted[1])
    chosen = _with_companions(dataset, files, is_wanted, wanted[1])
    companions = {file.stored for file in [*called_off, *chosen] if _is_companion(dataset, file)}
    between = (*class_moves_done(catalog), *class_moves_under_way(catalog))
    settle(
        [
            *(file for file in (*called_off, *chosen) if file.stored not in companions),
            *(found for found in between if is_wanted(found) and not _is_on_companion(found.detail)),
        ]
    )
    call_off_moves(catalog, [file.stored for file in called_off])
    staying_in_class = call_off_class_moves(dataset, catalog, is_wanted)
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
    # What left after it had gone to another class is there again by now, and goes back to the class before.
    returned = take_back_class_moves(dataset, catalog, is_wanted, progress)
    return RestoreReport(
        [*restored, *_pictures(returned.back)],
        [*occupied, *_pictures(returned.occupied)],
        [*still, *_pictures(staying_in_class)],
        [*brought, *_companions(returned.back)],
        [path if out == IN_PLACE else f"{out}/{path}" for out, path in returned.astray],
    )


def stored_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """Every file that is in the quarantine now, in order of path; of one name that left twice, the last first."""
    if dataset.is_fixed:
        from curate.fixed.leaving import left_files

        return left_files(dataset, catalog)
    recorded = {record.stored: _stored(dataset, record) for record in records_done(catalog)}
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


_MARK = ".florilegium.quarantine"
"""A file in a quarantine that lies elsewhere, by a link: whose it is."""

_NUMBER = re.compile(r" \(([0-9]+)\)$")


def _number(stored: str) -> int:
    match = _NUMBER.search(stored.split("/", 1)[0])
    return int(match[1]) if match else 1


def _label(dataset: Dataset, path: str) -> str:
    return dataset.label_in(path)


def _is_on_companion(detail: str) -> bool:
    return detail.startswith(COMPANION_OF)


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
            it = Decision(f"{folder}/{name}", sha256, why[picture].reason, f"{COMPANION_OF}{picture}")
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


def _pictures(moves: Iterable[Move | ClassMove]) -> list[str]:
    """Where the pictures among these lay."""
    return [found.path for found in moves if not _is_on_companion(found.detail)]


def _companions(moves: Iterable[Move | ClassMove]) -> list[str]:
    """Where the companions among these lay."""
    return [found.path for found in moves if _is_on_companion(found.detail)]


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
