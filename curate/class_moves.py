"""Pictures that go to another class, and come back: moves on record before they are made, that survive a kill.

The companions of a picture go with it, each by a record of its own.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.catalog import Catalog
from curate.catalog.class_moves import (
    ClassMove,
    class_moves_done,
    class_moves_under_way,
    note_class_moves,
    note_class_moves_back,
)
from curate.catalog.placements import IN_PLACE, placed_elsewhere, placed_in
from curate.companions import COMPANION_OF
from curate.dataset import Dataset
from curate.files.inside import inside
from curate.files.moving import Outcome, end_cut_short, move
from curate.progress import Progress, silent
from curate.unchanged import is_still_inside, is_unchanged


def finish_class_moves(
    dataset: Dataset, catalog: Catalog, progress: Progress = silent
) -> tuple[list[ClassMove], list[ClassMove]]:
    """Carry out every move that is on record and not yet done: those that were made, and those that could not be.

    A picture that changed or vanished since is left alone, with its companions, and so is one whose place is taken. To
    be called by the holder of the dataset's lock. Raises `UserError` where a file cannot be moved.
    """
    on_record = sorted(class_moves_under_way(catalog), key=_is_on_companion)
    if not on_record:
        return [], []
    places = [(inside(dataset.root, found.path), inside(dataset.root, found.move_to)) for found in on_record]
    end_cut_short(places)
    moved: list[ClassMove] = []
    unmoved: list[ClassMove] = []
    staying = set[str]()
    try:
        with progress("Moving to their new class", len(on_record)) as advance:
            for found, (source, target) in zip(on_record, places, strict=True):
                done = _is_done(catalog, found, source, target) or (
                    _picture_of(found) not in staying
                    and not os.path.lexists(target)
                    and is_unchanged(catalog, source, found.path, found.sha256)
                    and is_still_inside(dataset, found.path)
                    and is_still_inside(dataset, found.move_to)
                    and move(source, target) is Outcome.MOVED
                )
                (moved if done else unmoved).append(found)
                if not done:
                    staying.add(found.path)
                advance(1)
        _prune(dataset, [found.path for found in moved])
    finally:
        # The files say what was done, should we be killed before this: then the moves are repeated, to no effect.
        note_class_moves(catalog, moved, dropped=unmoved)
    return moved, unmoved


def call_off_class_moves(dataset: Dataset, catalog: Catalog, is_wanted: Callable[[ClassMove], bool]) -> list[ClassMove]:
    """Forget moves that an interrupted run has yet to make, and say which.

    Those that it has made are written down. To be called by the holder of the dataset's lock.
    """
    arrived, coming = [], []
    for found in class_moves_under_way(catalog):
        source, target = inside(dataset.root, found.path), inside(dataset.root, found.move_to)
        if _is_done(catalog, found, source, target):
            arrived.append(found)
        else:
            coming.append(found)
    dropped = _with_companions(coming, is_wanted)
    note_class_moves(catalog, arrived, dropped=dropped)
    return dropped


@dataclass(frozen=True)
class TakenBack:
    """Moves to another class that were taken back, and those that could not be, as another file took the place.

    `astray` are copies that `split` has placed under the new class since, and that lie there still: the folder that
    they are placed in, relative to the dataset's root, and their paths below it.
    """

    back: list[ClassMove]
    occupied: list[ClassMove]
    astray: list[tuple[str, str]]


def take_back_class_moves(
    dataset: Dataset, catalog: Catalog, is_wanted: Callable[[ClassMove], bool], progress: Progress = silent
) -> TakenBack:
    """Move pictures to the class that they came from, with the copies of them that `split` has placed since.

    One that has left its new place meanwhile is none of ours to move. To be called by the holder of the dataset's lock.
    """
    chosen = _with_companions(class_moves_done(catalog), is_wanted)
    places = [(inside(dataset.root, found.move_to), inside(dataset.root, found.path)) for found in chosen]
    end_cut_short(places)
    back: list[ClassMove] = []
    occupied: list[ClassMove] = []
    placed: list[ClassMove] = []
    astray: list[tuple[str, str]] = []
    try:
        with progress("Restoring classes", len(chosen)) as advance:
            for found, (source, target) in zip(chosen, places, strict=True):
                if _is_done(catalog, found, source, target):
                    back.append(found)
                elif os.path.lexists(source) and is_unchanged(catalog, source, found.move_to, found.sha256):
                    outcome = move(source, target)
                    if outcome is Outcome.MOVED:
                        back.append(found)
                    else:
                        occupied.append(found)
                advance(1)
        placed, astray = _take_back_placed(dataset, catalog, back)
    finally:
        note_class_moves_back(catalog, [*placed, *back])
    _prune(dataset, [found.move_to for found in (*back, *placed)])
    return TakenBack(back, occupied, astray)


def _take_back_placed(
    dataset: Dataset, catalog: Catalog, back: Sequence[ClassMove]
) -> tuple[list[ClassMove], list[tuple[str, str]]]:
    """Move the copies that `split` has placed of these files under their new class to the class that they are back in.

    A placed copy has the content and the name of what it is a copy of. Gives the moves that were taken back, as if a
    run had made them, and the copies that stay: those in another folder than the dataset, which `split` places anew,
    and those that were changed or whose place is taken.
    """
    if not back:
        return [], []
    own = {found.move_to for found in class_moves_done(catalog)}
    returned = {
        (found.sha256, dataset.label_in(found.move_to), PurePosixPath(found.move_to).name): found for found in back
    }
    files = [(IN_PLACE, path, sha256) for path, sha256 in placed_in(catalog, IN_PLACE).items() if path not in own]
    taken: list[ClassMove] = []
    astray: list[tuple[str, str]] = []
    for out, path, sha256 in [*files, *placed_elsewhere(catalog)]:
        label = path.split("/")[1] if out != IN_PLACE and path.count("/") > 1 else dataset.label_in(path)
        found = returned.get((sha256, label, PurePosixPath(path).name))
        if found is None:
            continue
        below = dataset.below_class(found.path)
        to = f"{dataset.beside(path, dataset.label_in(found.path))}/{below}"
        source, target = inside(dataset.root, path), inside(dataset.root, to)
        if (
            out == IN_PLACE
            and os.path.lexists(source)
            and is_unchanged(catalog, source, path, sha256)
            and move(source, target) is Outcome.MOVED
        ):
            taken.append(found._replace(path=to, move_to=path))
        elif out != IN_PLACE or os.path.lexists(source):
            astray.append((out, path))
    return taken, astray


def _with_companions(moves: Sequence[ClassMove], is_wanted: Callable[[ClassMove], bool]) -> list[ClassMove]:
    """The moves that are wanted, and those of the companions of the pictures among them."""
    wanted = {found.path for found in moves if is_wanted(found)}
    return sorted((found for found in moves if {found.path, _picture_of(found)} & wanted), key=_is_on_companion)


def _is_on_companion(found: ClassMove) -> bool:
    return found.detail.startswith(COMPANION_OF)


def _picture_of(found: ClassMove) -> str:
    """The old path of the picture that a companion belongs to; "" for a picture."""
    return found.detail.removeprefix(COMPANION_OF) if _is_on_companion(found) else ""


def _is_done(catalog: Catalog, found: ClassMove, source: Path, target: Path) -> bool:
    """Whether the very file lies at the target, by a run that was killed before it could write that down.

    Where it lies at both, the run was killed between giving it its new name and taking the old one.
    """
    if not os.path.lexists(target) or not is_unchanged(catalog, target, found.path, found.sha256):
        return False
    return move(source, target) is Outcome.MOVED


def _prune(dataset: Dataset, paths: Sequence[str]) -> None:
    """Remove the folders that have become empty: `ImageFolder` fails at a class without a picture."""
    for folder in {"/".join(path.split("/")[: dataset.depth(path)]) for path in paths}:
        for below, _, _ in os.walk(dataset.root / folder, topdown=False):
            with suppress(OSError):  # not empty
                Path(below).rmdir()
