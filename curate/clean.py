"""Facts → plan → quarantine: clean a dataset, or say what cleaning it would do.

Nothing is deleted: `curate.quarantine` moves the files and can bring each of them back.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.catalog import Catalog
from curate.cleaning.conflicts import ConflictMode
from curate.cleaning.judging import REASONS, Plan, make_plan, part_placements
from curate.cleaning.keepers import DEFAULT_POLICY, PolicyName
from curate.cleaning.plan import check_plan, read_plan, write_plan
from curate.cleaning.settled import is_settled, settle
from curate.dataset import Dataset, open_dataset
from curate.duplicates import DEFAULT_RADIUS
from curate.progress import Progress, silent
from curate.quality import CHECKS
from curate.quarantine import finish_moves, set_aside
from curate.scan import ScanReport, scan

__all__ = ["REASONS", "CleanReport", "Plan", "clean", "make_plan", "part_placements"]


@dataclass(frozen=True)
class CleanReport:
    """What a run found and did.

    `moved` counts what this run decided upon and set aside, `resumed` the moves of an interrupted run that it ended;
    `flagged` counts, for each quality flag, the pictures that bore it before this run; `run` names it for `restore`,
    "" where nothing was moved; `plan_file` is where a dry run wrote the plan.
    """

    dataset: Dataset
    scan: ScanReport
    plan: Plan
    moved: int
    resumed: int
    flagged: dict[str, int]
    run: str = ""
    plan_file: Path | None = None


def clean(
    root: Path,
    *,
    dry_run: bool = False,
    radius: int = DEFAULT_RADIUS,
    keep: PolicyName = DEFAULT_POLICY,
    conflicts: ConflictMode = "quarantine",
    geometry: bool = False,
    remove: Sequence[str] = (),
    plan: Path | None = None,
    save_plan: Path | None = None,
    progress: Progress = silent,
) -> CleanReport:
    """Scan a dataset, plan what leaves it and, unless `dry_run`, move that to the quarantine.

    `keep` names the policy that says which copy stays, `conflicts` says what becomes of one picture under two labels;
    with `geometry` turned and mirrored copies are found too, and pictures with one of the quality flags in `remove`
    leave as well.
    A dry run writes its plan to `save_plan`, or to plan.jsonl where the catalog is. With `plan`, that file is carried
    out instead, once all of it has been checked.

    Safe to stop at any instant: the whole plan is on record before the first file moves, and the next run carries
    it to its end. Raises `UserError` for what the user can put right.
    """
    dataset = open_dataset(root)
    lines = None if plan is None else read_plan(plan)
    with _open_catalog(dataset, dry_run) as catalog:
        # A plan by hand is checked before anything moves, be it the rest of an interrupted run.
        resumed = finish_moves(dataset, catalog, progress) if lines is None and not dry_run else 0
        scanned = scan(dataset, catalog, progress)
        options = judged_by(radius, keep, conflicts, geometry, remove)
        if lines is None and is_settled(catalog, options):
            planned = Plan([], [], [])
        elif lines is None:
            planned = make_plan(
                dataset, catalog, radius, progress, keep=keep, conflicts=conflicts, geometry=geometry, remove=remove
            )
            if planned == Plan([], [], []):
                settle(catalog, options)
        else:
            planned = Plan(check_plan(lines, dataset, catalog), [], [])
        flagged = count_flags(catalog)
        if dry_run:
            return CleanReport(dataset, scanned, planned, 0, 0, flagged, plan_file=_save(planned, dataset, save_plan))
        if lines is not None:
            resumed = finish_moves(dataset, catalog, progress)
        run = datetime.now(UTC).isoformat(timespec="milliseconds")
        moved = set_aside(dataset, catalog, planned.decisions, run, progress)
        return CleanReport(dataset, scanned, planned, moved, resumed, flagged, run if moved else "")


def judged_by(
    radius: int = DEFAULT_RADIUS,
    keep: PolicyName = DEFAULT_POLICY,
    conflicts: ConflictMode = "quarantine",
    geometry: bool = False,
    remove: Sequence[str] = (),
) -> str:
    """What a plan depends on besides the pictures, in words."""
    return f"radius {radius}, keep {keep}, conflicts {conflicts}, geometry {geometry}, remove {sorted(remove)}"


def count_flags(catalog: Catalog) -> dict[str, int]:
    """How many present pictures bear each quality flag; flags that none bears are left out."""
    sums = ", ".join(f"TOTAL({check.column} < {check.threshold})" for check in CHECKS)
    counts = catalog.db.execute(f"SELECT {sums} FROM pictures WHERE state = 'present'").fetchone()
    return {check.flag: int(count) for check, count in zip(CHECKS, counts, strict=True) if count}


def _save(plan: Plan, dataset: Dataset, file: Path | None) -> Path | None:
    """Where the plan was written: nowhere, for a dataset on a read-only disk and no other place named."""
    if file is None and not os.access(dataset.home, os.W_OK):
        return None
    file = file or dataset.home / "plan.jsonl"
    write_plan(file, plan.decisions)
    return file


@contextmanager
def _open_catalog(dataset: Dataset, dry_run: bool) -> Iterator[Catalog]:
    """The dataset's catalog or, to look at pictures where nothing may be written, one for the moment."""
    place = dataset.home if dataset.home.exists() else dataset.home.parent
    with ExitStack() as stack:
        path = dataset.catalog_path
        if dry_run and not os.access(place, os.W_OK):
            path = Path(stack.enter_context(TemporaryDirectory())) / "catalog.sqlite"
        yield stack.enter_context(Catalog.open(path))
