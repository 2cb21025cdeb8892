"""What cleaning would take from a dataset, and what it has taken: by reason, with where each picture lies now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.class_moves import class_moves_done
from curate.catalog.quarantine_moves import records_done
from curate.clean import catalog_to_look
from curate.cleaning.planning import make_plan
from curate.companions import COMPANION_OF
from curate.dataset import Dataset, open_dataset
from curate.defaults import DEFAULT_RADIUS
from curate.files.inside import inside
from curate.phash import pairs_between
from curate.progress import Progress, silent
from curate.quality import CHECKS
from curate.quarantine import stored_files
from curate.scan import scan
from curate.splitting.whereabouts import dataset_split_into


@dataclass(frozen=True)
class SetAside:
    """One picture in the quarantine. `file` is where it lies, `path` where it lay, relative to its dataset.

    `split` is None where it lay in none. `held_out` says of such a picture that a split would not have drawn it into
    train: the copy that stayed, or a near-duplicate within the default radius, lies in valid or test, or nothing is on
    record that could tell. `kept` is the content of the copy that stayed in its place, "" where none did.
    """

    file: Path
    path: str
    label: str
    split: str | None
    sha256: str
    reason: str
    held_out: bool = False
    kept: str = ""


@dataclass(frozen=True)
class Removals:
    """`planned`: path → why `clean` would take the picture; `flagged`: quality flag → the paths of pictures that bear
    it; `set_aside`: what was taken and lies in the quarantine; `relabelled`: (sha256, label now) → (label before,
    why), of pictures that a plan moved to another class; `valid_leaks`: how many of valid `clean` would take as leaks.
    """

    planned: Mapping[str, str]
    flagged: Mapping[str, frozenset[str]]
    set_aside: list[SetAside]
    relabelled: Mapping[tuple[str, str], tuple[str, str]]
    valid_leaks: int = 0


def catalogued(dataset: Dataset) -> list[Dataset]:
    """The dataset, and the one whose split it is, where that is another."""
    owner = dataset_split_into(dataset.root)
    return [dataset] if owner is None else [dataset, open_dataset(owner)]


def read_removals(dataset: Dataset, progress: Progress = silent) -> Removals:
    """Scan a split dataset, make `clean`'s plan with its defaults, and read the quarantine. Nothing is moved, and
    nothing written but what the catalog knows.

    Raises `UserError` for a catalog that is damaged or not ours.
    """
    set_aside: list[SetAside] = []
    relabelled: dict[tuple[str, str], tuple[str, str]] = {}
    with catalog_to_look(dataset) as catalog:
        scan(dataset, catalog, progress)
        plan = make_plan(dataset, catalog, progress=progress)
        pictures = catalog.pictures()
        held = [picture for picture in pictures if picture.split not in ("", "train") and not picture.broken]
        known = _HeldOut({picture.sha256 for picture in held}, np.array([one.phash for one in held], dtype=np.uint64))
        for place in catalogued(dataset):
            if place is dataset:
                set_aside += _set_aside(place, catalog, known)
                relabelled |= _relabelled(place, catalog)
            elif place.catalog_path.exists():
                with Catalog.open_read_only(place.catalog_path) as other:
                    set_aside += _set_aside(place, other, known)
                    relabelled |= _relabelled(place, other)
    flagged = {
        check.flag: frozenset(one.path for one in pictures if one.scores and one.scores[number] < check.threshold)
        for number, check in enumerate(CHECKS)
    }
    planned = {decision.path: decision.reason for decision in plan.decisions if not decision.move_to}
    valid = {one.path for one in pictures if one.split == "valid"}
    valid_leaks = sum(reason == "leak" and path in valid for path, reason in planned.items())
    return Removals(planned, flagged, _once(set_aside), relabelled, valid_leaks)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """The contents and hashes of valid and test."""

    contents: set[str]
    hashes: NDArray[np.uint64]


def _set_aside(dataset: Dataset, catalog: Catalog, held: _HeldOut) -> Iterator[SetAside]:
    content = {picture.path: picture.sha256 for picture in catalog.pictures()}
    absent = {picture.path: picture for picture in catalog.absent()}
    keepers = {record.stored: record.keeper for record in records_done(catalog)}
    files = [file for file in stored_files(dataset, catalog) if not file.detail.startswith(COMPANION_OF)]
    hashes = np.array([absent[file.path].phash if file.path in absent else 0 for file in files], dtype=np.uint64)
    near = {int(at) for some, _, _ in pairs_between(hashes, held.hashes, DEFAULT_RADIUS) for at in some}
    for at, file in enumerate(files):
        split = dataset.split_of(file.path)
        keeper = content.get(keepers.get(file.stored, ""), "")
        unknown = file.path not in absent
        held_out = split is None and (unknown or at in near or bool({file.sha256, keeper} & held.contents))
        place = inside(dataset.quarantine, file.stored)
        yield SetAside(place, file.path, file.label, split, file.sha256, file.reason, held_out, keeper)


def _once(found: Sequence[SetAside]) -> list[SetAside]:
    """Without the pictures below raw/ whose placed copy left with them: in train they were one picture."""
    placed = {(one.sha256, one.label) for one in found if one.split is not None and one.sha256}
    return [one for one in found if one.split is not None or (one.sha256, one.label) not in placed]


def _relabelled(dataset: Dataset, catalog: Catalog) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (move.sha256, dataset.label_in(move.move_to)): (dataset.label_in(move.path), move.reason)
        for move in class_moves_done(catalog)
        if not move.detail.startswith(COMPANION_OF)
    }
