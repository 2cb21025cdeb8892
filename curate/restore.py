"""Bring pictures back, from the quarantine and from other classes: all, or those that meet what is asked for."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.class_moves import ClassMove, class_move_runs, class_moves_done
from curate.catalog.decisions import DecisionRow, withdraw_rows
from curate.catalog.quarantine_moves import runs_on_record
from curate.cleaning.audit_scores import REMOVABLE
from curate.cleaning.merging import MERGE
from curate.cleaning.planning import REASONS
from curate.credits import refresh_credits
from curate.dataset import Dataset, open_dataset, open_to_write
from curate.decisions import KEEP, RESTORE, DecisionRecord, PictureKey, decide, person
from curate.errors import UserError
from curate.files.inside import inside
from curate.files.reading import MAX_BYTES, sha256_of
from curate.former_home import homes_without_dataset
from curate.progress import Progress, silent
from curate.quarantine import RestoreReport, Stored, restore_files, stored_files

_MOST_LISTED = 40


def restore(
    root: Path,
    *,
    reasons: Collection[str] | None = None,
    pictures: Collection[str] | None = None,
    labels: Collection[str] | None = None,
    run: str | None = None,
    stored: Collection[str] | None = None,
    who: str | None = None,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> RestoreReport | None:
    """Bring back what `clean` set aside, under its old names; None where nothing ever was.

    `pictures` are where pictures lay, relative to `root`; `labels` their class folders; `run` names what one `clean`
    moved, by its time, or as "last"; `stored` are where single files lie in the quarantine. That they stay is on record
    as a decision of `who`, by default whoever runs this: `clean` proposes none of them again for the reason by which it
    left. `wait` is how many seconds to wait for another command at work in the dataset,
    None for as long as it takes. Raises `UserError`, before anything is moved, for a reason, class, run or picture
    that there never was, and where the quarantine is another's.
    """
    dataset = open_dataset(root)
    if not (dataset.catalog_path.exists() or dataset.quarantine.exists()):
        _check_choice(dataset, [], set(), reasons, labels, run)
        return None
    with (
        open_to_write(root, "restore", wait=wait, progress=progress) as dataset,
        Catalog.open(dataset.catalog_path) as catalog,
    ):
        files = stored_files(dataset, catalog)
        between = class_moves_done(catalog)
        former = [dataset.label_in(found.path) for found in between]
        runs = runs_on_record(catalog) | class_move_runs(catalog)
        _check_choice(dataset, files, runs, reasons, [label for label in labels or [] if label not in former], run)
        if run == "last":
            run = max([*(file.run for file in files), *(found.run for found in between)], default=None)
        kept = _Kept(dataset, catalog, person() if who is None else who)
        restored = restore_files(
            dataset, catalog, reasons, progress, paths=pictures, labels=labels, run=run, stored=stored,
            settle=kept.enter,
        )  # fmt: skip
        kept.withdraw(restored.occupied)
        if restored.restored:
            refresh_credits(dataset, catalog)
        return restored


class _Kept:
    """The decision that comes with bringing pictures back: each stays, for the reason by which it left.

    It is on record before the first picture moves: whoever is stopped in between has decided all the same.
    """

    def __init__(self, dataset: Dataset, catalog: Catalog, who: str) -> None:
        self._dataset = dataset
        self._catalog = catalog
        self._who = who
        self._batch = 0

    def enter(self, back: Sequence[Stored | ClassMove]) -> None:
        """Put it on record for these pictures. A class that was merged on demand is no proposal."""
        record = DecisionRecord.read(self._catalog)
        rows = [self._row(record, file) for file in back if file.reason != MERGE]
        if rows:
            self._batch = decide(self._catalog, record, self._who, RESTORE, lambda: rows)

    def _row(self, record: DecisionRecord, file: Stored | ClassMove) -> DecisionRow:
        sha256 = file.sha256
        if isinstance(file, Stored) and not file.run:  # the catalog does not know the file
            with suppress(OSError):
                sha256 = sha256_of(inside(self._dataset.quarantine, file.stored), MAX_BYTES)
        label = self._dataset.label_in(file.path)
        before = [row.batch for row in record.about(PictureKey(file.path, sha256)) if record.holds(row)]
        return DecisionRow(0, sha256, file.path, label, file.reason, KEEP, "", max(before, default=0))

    def withdraw(self, occupied: Collection[str]) -> None:
        """Take it back for those that could not come back."""
        if self._batch and occupied:
            withdraw_rows(self._catalog, self._batch, occupied)


def _check_choice(
    dataset: Dataset,
    files: Sequence[Stored],
    runs: set[str],
    reasons: Collection[str] | None,
    labels: Collection[str] | None,
    run: str | None,
) -> None:
    """Raise `UserError` for a reason, class or run that there never was, and where the quarantine is another's."""
    if not files and not runs:
        _say_where_it_may_lie(dataset)
    for what, wanted, there, known in (
        ("reason", reasons or [], {file.reason for file in files}, {*REASONS, MERGE, *REMOVABLE}),
        ("class", labels or [], {file.label for file in files}, set(dataset.labels())),
        ("run", [run] if run not in (None, "last") else [], runs, set[str]()),
    ):
        if unknown := set(wanted) - known - there:
            listed = sorted(there)[-_MOST_LISTED:]
            choice = f"choose among {', '.join(listed)}" if listed else "nothing is set aside"
            raise UserError(f"There is no {what} {min(unknown)!r} in the quarantine {dataset.quarantine}: {choice}.")


def _say_where_it_may_lie(dataset: Dataset) -> None:
    """Raise `UserError` where nothing was ever set aside under the dataset's name, but under one that nothing has."""
    others = homes_without_dataset(dataset, "quarantine")
    if others:
        first = f"move {dataset.home} away and " if dataset.home.exists() else ""
        more = f" (or {' or '.join(str(other) for other in others[1:])})" if others[1:] else ""
        raise UserError(
            f"Nothing was set aside in {dataset.root}: there is no quarantine {dataset.quarantine}. If the folder was "
            f"renamed, it is {others[0] / 'quarantine'}{more}: {first}rename {others[0]} to {dataset.home}, and run "
            "the command again."
        )
