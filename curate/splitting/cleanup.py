"""What an earlier split placed and a later one does not want: removed, but never the last copy of a picture."""

import os
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.placements import IN_PLACE, forget_placed
from curate.catalog.quarantine_moves import MoveRecord, note_stored, stored_places
from curate.companions import is_picture
from curate.dataset import Dataset
from curate.files.inside import inside
from curate.files.moving import move
from curate.files.reading import sha256_of
from curate.splitting.picture_table import place_name

REASON = "orphaned"


def remove_stale(
    dataset: Dataset,
    catalog: Catalog,
    out: Path,
    stale: Mapping[str, str],
    wanted: Collection[str],
    anew: AbstractSet[str] = frozenset(),
) -> tuple[int, int]:
    """Remove files of `out` (path → the sha256 it was placed with), and forget those that are not among `wanted`.

    A file that was changed since is left alone. One whose bytes are nowhere else, because its original was deleted,
    is set aside in the quarantine; below the dataset itself it stays, and counts as a picture. Companions among `anew`
    are made again from an original that has changed. Returns how many pictures were removed and how many set aside.
    """
    removed, set_aside = 0, 0
    in_place = place_name(dataset, out) == IN_PLACE
    for path, sha256 in stale.items():
        file = inside(out, path)
        edited = _is_edited_companion(dataset, file, path)
        if file.is_symlink() or edited or (file.is_file() and sha256_of(file) == sha256):
            counts = int(is_picture(file))
            if edited or file.is_symlink() or path in anew or _is_elsewhere(dataset, catalog, file, path, sha256):
                file.unlink()
                removed += counts
            elif not in_place:
                _set_aside(dataset, catalog, file, path, sha256)
                set_aside += counts
            _prune(file.parent, out)
    gone = [path for path in stale if path not in wanted]
    with catalog.transaction():
        forget_placed(catalog, place_name(dataset, out), gone)
        if in_place:
            catalog.mark_missing(path for path in gone if not os.path.lexists(out / path))
    return removed, set_aside


def _is_elsewhere(dataset: Dataset, catalog: Catalog, file: Path, path: str, sha256: str) -> bool:
    """Whether another file of ours holds the same bytes."""
    others = [inside(dataset.root, path) for path in catalog.paths_of(sha256)]
    others += [inside(dataset.quarantine, stored) for stored in stored_places(catalog, sha256)]
    if not is_picture(file):  # of a companion the catalog has no row
        others.append(inside(dataset.root, _origin(dataset, path)))
    return any(_keeps(other, file, sha256) for other in others)


def _is_edited_companion(dataset: Dataset, file: Path, path: str) -> bool:
    """Whether it is a hard link to a companion that was edited since: its bytes stay under the original's name."""
    original = inside(dataset.root, _origin(dataset, path))
    try:
        return file != original and original.samefile(file) and not file.is_symlink() and not is_picture(file)
    except OSError:
        return False


def _keeps(other: Path, file: Path, sha256: str) -> bool:
    """Whether `other` has these bytes still when the name `file` is gone. A hard link is another name."""
    if other.is_symlink() or not other.is_file() or (other.parent.samefile(file.parent) and other.name == file.name):
        return False
    return other.samefile(file) or sha256_of(other) == sha256


def _set_aside(dataset: Dataset, catalog: Catalog, file: Path, path: str, sha256: str) -> None:
    """Move the last copy of a picture to the quarantine, from where `restore` puts it back into its class folder."""
    origin = _origin(dataset, path)
    stored, number = f"{REASON}/{origin}", 1
    while os.path.lexists(dataset.quarantine / stored):
        number += 1
        stored = f"{REASON} ({number})/{origin}"
    move(file, dataset.quarantine / stored)
    detail = f"the last copy, placed at {file}, of a picture that is gone from the dataset"
    run = datetime.now(UTC).isoformat(timespec="seconds")
    note_stored(catalog, MoveRecord(run, origin, stored, sha256, REASON, detail, keeper="", distance=-1))


def _origin(dataset: Dataset, path: str) -> str:
    """Where the original of a placed file lies, or lay: in the first folder that has it, `raw` or train at last."""
    _, label, name = path.split("/", 2)
    if dataset.layout == "flat":
        return f"{label}/{name}"
    tops = [top for top in dataset.tops() if top.labelled and top.split in (None, "train", path.split("/", 1)[0])]
    places = [f"{top.class_folder(label)}/{name}" for top in tops]
    there = (place for place in places if place != path and os.path.lexists(dataset.root / place))
    return next(there, places[0] if places else f"raw/{label}/{name}")


def _prune(folder: Path, out: Path) -> None:
    """Remove the folders that became empty."""
    while folder != out:
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent
