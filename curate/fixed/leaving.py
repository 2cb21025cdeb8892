"""Pictures leave a dataset whose files stay as they lie, and come back: on record and in a manifest, without a move."""

from collections.abc import Callable, Collection, Iterable, Sequence

from curate.catalog import Catalog
from curate.catalog.class_moves import ClassMove
from curate.catalog.quarantine_moves import (
    MoveRecord,
    intend_moves,
    moves_done,
    moves_under_way,
    note_moves,
    note_restored,
    records_done,
)
from curate.dataset import Dataset
from curate.errors import UserError
from curate.fixed.fixed_dataset import FixedDataset
from curate.fixed.manifest import ManifestRow, manifest_schema, write_manifest
from curate.quarantine import Decision, Moves, RestoreReport, Stored


def leave_out(dataset: Dataset, catalog: Catalog, decisions: Sequence[Decision], run: str) -> Moves:
    """Put on record that pictures have left, and write the manifest anew; to be called by the holder of the lock.

    Raises `UserError`, before anything is on record, for one that is to go to another class.
    """
    manifest_schema("quarantine")
    if moving := next((decision for decision in decisions if decision.move_to), None):
        raise UserError(
            f"{moving.path} cannot move to {moving.move_to}, for the files of {dataset.root} stay as they lie: rename "
            "it there, or leave that out."
        )
    with catalog.transaction():
        under_way = {found.path for found in moves_under_way(catalog)}
        intend_moves(catalog, (
            MoveRecord(run, one.path, f"{one.reason}/{one.path}", one.sha256, one.reason, one.detail, one.keeper,
                       one.distance)
            for one in decisions if one.path not in under_way
        ))  # fmt: skip
    return finish_leaving(dataset, catalog)


def finish_leaving(dataset: Dataset, catalog: Catalog) -> Moves:
    """Say of all that is on record to leave that it has left, and write the manifest anew."""
    leaving = moves_under_way(catalog)
    note_moves(catalog, leaving)
    if leaving:
        _write(dataset, catalog)
    return Moves([found.path for found in leaving], [])


def left_files(dataset: Dataset, catalog: Catalog) -> list[Stored]:
    """Every picture that has left, in order of path."""
    found = [
        Stored(one.stored, one.path, dataset.label_in(one.path), one.sha256, one.reason, one.detail, one.run)
        for one in records_done(catalog)
    ]
    return sorted(found, key=lambda file: (file.path, file.stored))


def take_back(
    dataset: Dataset,
    catalog: Catalog,
    is_wanted: Callable[[Stored], bool],
    paths: Collection[str] | None,
    settle: Callable[[Sequence[Stored | ClassMove]], None],
) -> RestoreReport:
    """Say of pictures that left that they are there again, and write the manifest anew.

    Raises `UserError` for one of `paths` that has not left.
    """
    files = left_files(dataset, catalog)
    listed = {file.path for file in dataset.files()}
    for path in sorted(set(paths or ()) - {file.path for file in files} - listed):
        raise UserError(f"{path} has not left {dataset.root}: give the path of one that {dataset.quarantine} names.")
    chosen = [file for file in files if is_wanted(file)]
    settle(chosen)
    stored = {file.stored for file in chosen}
    note_restored(catalog, [found for found in moves_done(catalog) if found.stored in stored])
    if chosen:
        _write(dataset, catalog)
    return RestoreReport([file.path for file in chosen], [])


def _write(dataset: Dataset, catalog: Catalog) -> None:
    assert isinstance(dataset, FixedDataset)
    write_manifest(dataset.quarantine, "quarantine", _rows(dataset, left_files(dataset, catalog)))


def _rows(dataset: Dataset, files: Iterable[Stored]) -> Iterable[ManifestRow]:
    for file in files:
        yield ManifestRow(file.path, file.label, dataset.split_of(file.path) or "", file.reason, file.sha256)
