"""Look before you trust: some pictures of every class, or what a plan sets aside beside what stays, on one sheet."""

import os
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image

from curate.cleaning.plan import PlanLine
from curate.contact_sheet import Tile, contact_sheet
from curate.dataset import Dataset, PictureFile
from curate.defaults import DEFAULT_COUNT, DEFAULT_SHOWN_SEED, DEFAULT_SHOWN_VIEWS
from curate.errors import UserError
from curate.files.inside import inside
from curate.image import BrokenImage, load_pixels
from curate.names import chosen_labels
from curate.parallel import ordered_map
from curate.quarantine import Decision
from curate.splitting.unfinished import require_finished

T = TypeVar("T")

SIDE: Final = 192  # pixels of a picture on a sheet

MOST_TILES: Final = 1200
"""More pictures on one sheet would take more than 300 MB as pixels, which no viewer opens with pleasure."""

_ACROSS: Final = 6
_PAIRS_ACROSS: Final = 3


def require_sheet(count: int, views: int = DEFAULT_SHOWN_VIEWS) -> None:
    """Raise `UserError` where `count` pictures in so many views are none, or more than a sheet holds."""
    if count < 1 or views < 1:
        raise UserError(f"{count} pictures in {views} views are nothing to draw: give 1 or more of both.")
    if count * views > MOST_TILES:
        raise UserError(
            f"{count} pictures in {views} views are more than a sheet holds ({MOST_TILES:,}): give a smaller --count."
        )


def pictures_to_show(
    dataset: Dataset,
    names: Mapping[str, str],
    *,
    split: str | None = None,
    classes: str | None = None,
    count: int = DEFAULT_COUNT,
    seed: int = DEFAULT_SHOWN_SEED,
) -> list[PictureFile]:
    """Draw `count` pictures, as evenly from the classes as can be, in the classes' order; a seed draws the same again.

    `split` is one of train, valid, test, or "raw" for what is in none; None draws from all. `classes` names folders
    or names, separated by commas. Raises UserError where there is nothing to draw from, and where the split is
    half-placed.
    """
    wanted = chosen_labels(classes, names) if classes is not None else list(names)
    found = defaultdict[str, list[PictureFile]](list)
    if split != "raw":
        require_finished(dataset)
    for file in _each_once(dataset, dataset.files()) if split is None else dataset.files():
        if split is None or (file.split or "raw") == split:
            found[file.label].append(file)
    piles = [found[label] for label in wanted if found[label]]
    if not piles:
        where = f"{dataset.root} has no {split or ''} pictures".replace("  ", " ")
        raise UserError(f"{where}{' of these classes' if classes else ''}: choose another --split or other --classes.")
    for pile in piles:
        random.Random(f"{seed}:{pile[0].label}").shuffle(pile)
    # One of each class, then another of each; where places run out within a turn, who is passed over is drawn.
    classes_in_turn = list(range(len(piles)))
    random.Random(seed).shuffle(classes_in_turn)
    turns = range(max(map(len, piles)))
    drawn = ((number, turn) for turn in turns for number in classes_in_turn if turn < len(piles[number]))
    chosen = sorted(islice(drawn, count))
    return [piles[number][turn] for number, turn in chosen]


def _each_once(dataset: Dataset, files: Sequence[PictureFile]) -> Iterator[PictureFile]:
    """The files without those below `raw/` that lie in a split too: one file of two names, or a copy under its own."""
    split = [file for file in files if file.split]
    names = {(file.label, dataset.below_class(file.path), _size(dataset, file)) for file in split}
    numbers = {_number(dataset, file) for file in split}
    for file in files:
        if not file.split and split:
            if _number(dataset, file) in numbers:
                continue
            if (file.label, dataset.below_class(file.path), _size(dataset, file)) in names:
                continue
        yield file


def _size(dataset: Dataset, file: PictureFile) -> int:
    try:
        return (dataset.root / file.path).stat().st_size
    except OSError:
        return -1


def _number(dataset: Dataset, file: PictureFile) -> tuple[int, int] | str:
    """What two names of one file have in common; the path of a file that is gone."""
    try:
        status = (dataset.root / file.path).stat()
    except OSError:
        return file.path
    return status.st_dev, status.st_ino


def sheet_of_pictures(dataset: Dataset, pictures: Sequence[PictureFile], names: Mapping[str, str]) -> Image.Image:
    """An RGB sheet of each picture with its class's name and its path; a broken one is a grey square that says why."""

    def tile(file: PictureFile) -> Tile:
        return _tile(dataset.root / file.path, names.get(file.label, file.label), file.path)

    return contact_sheet(_in_rows(list(ordered_map(tile, pictures)), _ACROSS), SIDE)


def sheet_of_plan(dataset: Dataset, lines: Sequence[PlanLine], count: int = DEFAULT_COUNT) -> Image.Image:
    """The first `count` decisions of a plan, RGB: what leaves, and right of it what stays in its place, if anything.

    A plan that was carried out is shown too: what it set aside is found in the quarantine. Raises UserError for a
    plan without a line, and for one with a path that leads out of the dataset.
    """
    if not lines:
        raise UserError("The plan sets nothing aside, so there is nothing to show: leave --plan out.")
    decisions = [line.decision for line in lines[:count]]
    went = {line.decision.path: line.decision.move_to for line in lines if line.decision.move_to}
    pairs = list(ordered_map(lambda decision: _pair(dataset, decision, went), decisions))
    return contact_sheet([[tile for pair in row for tile in pair] for row in _in_rows(pairs, _PAIRS_ACROSS)], SIDE)


def _pair(dataset: Dataset, decision: Decision, went: Mapping[str, str]) -> list[Tile]:
    """What leaves, and what stays; `went` has the new place of each picture that goes to another class."""
    place = _where(dataset, decision.path, went)
    if not os.path.lexists(place):
        place = inside(dataset.quarantine, f"{decision.reason}/{decision.path}")
    why = f"{decision.reason}: {decision.detail}" if decision.detail else decision.reason
    leaves = _tile(place, decision.path, why)
    if decision.move_to:
        return [leaves, Tile(None, f"goes to {decision.move_to}")]
    if not decision.keeper:
        return [leaves, Tile(None, "nothing stays in its place")]
    bits = f"stays; {decision.distance} bits away" if decision.distance >= 0 else "stays"
    return [leaves, _tile(_where(dataset, decision.keeper, went), decision.keeper, bits)]


def _where(dataset: Dataset, path: str, went: Mapping[str, str]) -> Path:
    """Where a picture lies that may have gone to another class."""
    place = inside(dataset.root, path)
    if path in went and not os.path.lexists(place):
        return inside(dataset.root, went[path])
    return place


def _tile(file: Path, title: str, text: str) -> Tile:
    try:
        return Tile(load_pixels(file, at_least=SIDE), title, text)
    except BrokenImage as broken:
        return Tile(None, title, text if broken.reason in text else f"{text}: {broken.reason}")


def _in_rows(tiles: Sequence[T], across: int) -> list[Sequence[T]]:
    return [tiles[start : start + across] for start in range(0, len(tiles), across)]
