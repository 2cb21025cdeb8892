"""Facts → plan → quarantine: clean a dataset, or say what cleaning it would do.

Nothing is deleted: `curate.quarantine` moves the files and can bring each of them back.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.catalog import Catalog
from curate.catalog.beginning_anew import begin_anew
from curate.catalog.decisions import last_batch
from curate.catalog.files import copy_catalog
from curate.cleaning.audit_scores import thresholds_of
from curate.cleaning.clean_cache import found_if_clean, remember_clean
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.losses import Tally, require_confirmed, tally
from curate.cleaning.merging import MERGE, merges_of, require_classes
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.plan import PlanLine, check_plan, read_plan, write_plan
from curate.cleaning.planning import REASONS, CleaningPlan, make_plan
from curate.cleaning.suspects import audit_in_words, count_unaudited
from curate.credits import refresh_credits
from curate.dataset import Dataset, open_dataset, open_to_write, still_there
from curate.decisions import Answers, count_waiting
from curate.defaults import (
    DEFAULT_CONFLICTS,
    DEFAULT_ONLY,
    DEFAULT_POLICY,
    DEFAULT_RADIUS,
    ConflictMode,
    CopyKind,
    PolicyName,
)
from curate.errors import UserError
from curate.files.addresses import is_remote, located
from curate.not_copies import add_not_copies, read_not_copies
from curate.progress import Progress, silent
from curate.quarantine import Moves, finish_moves, set_aside
from curate.scan import ScanReport, scan
from curate.written import require_own

__all__ = ["REASONS", "CleanReport", "CleaningPlan", "clean", "make_plan", "part_placements"]


@dataclass(frozen=True)
class CleanReport:
    """What a run found and did.

    `moved` counts what this run decided upon and set aside, `resumed` the moves of an interrupted run that it ended,
    `merged` what went to another class by either; `unmoved` are the paths of what was to leave by either and stayed: it
    had changed, or its place was taken; `flagged` counts, for each quality flag, the pictures that bore it before this
    run; `run` names it for `restore`, "" where nothing was moved; `plan_file` is where a dry run wrote the plan;
    `companions` counts the files that went with the pictures they belong to, and are not in `moved`; `unreadable` are
    (path, why) of files that may be whole and stay, though nothing here reads them; `waiting` counts the pictures that
    are still to leave, or to change their class, because a person decided so on the review page; `unaudited` counts
    those that have come or changed since the audit, where its scores were asked for.
    """

    dataset: Dataset
    scan: ScanReport
    plan: CleaningPlan
    moved: int
    resumed: int
    unmoved: list[str]
    flagged: dict[str, int]
    run: str = ""
    plan_file: Path | None = None
    merged: int = 0
    companions: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    waiting: int = 0
    unaudited: int = 0


def clean(
    root: Path,
    *,
    dry_run: bool = False,
    radius: int = DEFAULT_RADIUS,
    keep: PolicyName = DEFAULT_POLICY,
    conflicts: ConflictMode = DEFAULT_CONFLICTS,
    geometry: bool = False,
    remove: Sequence[str] = (),
    only: CopyKind = DEFAULT_ONLY,
    merge: Sequence[str] = (),
    not_copies: Sequence[tuple[str, str]] = (),
    again: bool = False,
    yes: bool = False,
    plan: Path | CleaningPlan | None = None,
    save_plan: Path | None = None,
    force: bool = False,
    rebuild_catalog: bool = False,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> CleanReport:
    """Scan a dataset, plan what leaves it and, unless `dry_run`, move that to the quarantine.

    `keep` names the policy that says which copy stays, `conflicts` says what becomes of one picture under two labels;
    with `geometry` turned and mirrored copies are found too, and pictures with one of the quality flags in `remove`
    leave as well. `only` says whether what was made from one picture is a copy, or "exact", the same bytes alone.
    `merge` names classes that become another, as "c1=42": pictures of the first move to the second. `not_copies` are
    pairs of paths, relative to the dataset, of pictures that are no copies; they are written down for good.
    What a person kept, or brought back by `restore`, is not proposed again for the same cause, unless `again`; nor does
    a plan's file take what was kept after it was written.
    A plan that empties a class or takes more than a tenth of its pictures needs `yes`, unless it comes from a file:
    whoever names a plan's file has been told what it costs when it was written. Broken files are not counted.
    A dry run writes its plan to `save_plan`, or to plan.jsonl where the catalog is, over nothing but a plan that it
    wrote itself, unless `force`. With `plan`, a file or the plan of an earlier report, that is carried out instead,
    once all of it has been checked.
    With `rebuild_catalog` the catalog is put aside first, and made anew from the pictures. `wait` is how long to wait
    for another command that is at work in the dataset, in seconds; None for as long as it takes.

    Safe to stop at any instant: the whole plan is on record before the first file moves, and the next run carries
    it to its end. Raises `UserError` for what the user can put right, `DrasticPlan` where `yes` is needed.
    """
    options = CleanOptions(radius, keep, conflicts, geometry, tuple(remove), only, tuple(merge), again)
    lines = None if plan is None else _lines(plan)
    if dry_run and not (rebuild_catalog or not_copies):
        return _look(open_dataset(root), options, lines, save_plan, progress, force=force)
    with open_to_write(root, "clean", wait=wait, progress=progress) as dataset:
        if rebuild_catalog:
            begin_anew(dataset.catalog_path)
        add_not_copies(dataset, not_copies)
        if dry_run:
            return _look(dataset, options, lines, save_plan, progress, force=force)
        with Catalog.open(dataset.catalog_path) as catalog:
            return _carry_out(dataset, catalog, options, lines, progress, confirmed=yes or isinstance(plan, Path))


def _lines(plan: Path | CleaningPlan) -> list[PlanLine]:
    if isinstance(plan, CleaningPlan):
        return [PlanLine(decision, f"the plan, line {at}") for at, decision in enumerate(plan.decisions, start=1)]
    return read_plan(plan)


def _look(
    dataset: Dataset,
    options: CleanOptions,
    lines: Sequence[PlanLine] | None,
    save_plan: Path | None,
    progress: Progress,
    *,
    force: bool,
) -> CleanReport:
    """Scan and plan, and move nothing. Needs no lock: it changes nothing but what the catalog knows, and the plan."""
    with still_there(dataset.root), catalog_to_look(dataset) as catalog:
        file = _plan_file(dataset, save_plan)
        if file and not is_remote(file):
            require_own(catalog, file, force=force)
        found = _found(dataset, catalog, options, lines, progress)
        if file:
            _require_there(dataset)
            write_plan(file, found.plan.decisions, catalog, force=force)
        return replace(found, plan_file=file)


def find_to_clean(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> CleanReport:
    """What a dry run with the options by default reports, without the file of its plan: nothing is written but what the
    catalog knows.
    """
    return _found(dataset, catalog, CleanOptions(), None, progress)


def _found(
    dataset: Dataset,
    catalog: Catalog,
    options: CleanOptions,
    lines: Sequence[PlanLine] | None,
    progress: Progress,
) -> CleanReport:
    scanned = scan(dataset, catalog, progress)
    planned = _plan(dataset, catalog, options, lines, progress)
    return CleanReport(
        dataset, scanned, planned, 0, 0, [], catalog.count_flags(), unreadable=catalog.unreadable(),
        waiting=_waiting(catalog), unaudited=count_unaudited(dataset, catalog, thresholds_of(options.remove)),
    )  # fmt: skip


def _waiting(catalog: Catalog) -> int:
    return count_waiting(catalog, *part_placements(catalog.pictures())) if last_batch(catalog) else 0


def _require_there(dataset: Dataset) -> None:
    """Raise `UserError` where the dataset was removed or renamed meanwhile: writing would make its folder anew."""
    if not dataset.root.is_dir():
        raise UserError(f"The folder {dataset.root} is no longer there: it was removed or renamed meanwhile.")


def _carry_out(
    dataset: Dataset,
    catalog: Catalog,
    options: CleanOptions,
    lines: Sequence[PlanLine] | None,
    progress: Progress,
    *,
    confirmed: bool,
) -> CleanReport:
    # A plan by hand is checked before anything moves, be it the rest of an interrupted run.
    resumed = finish_moves(dataset, catalog, progress) if lines is None else Moves([], [])
    scanned = scan(dataset, catalog, progress)
    planned = _plan(dataset, catalog, options, lines, progress)
    if not confirmed:
        require_confirmed(dataset, planned)
    flagged = catalog.count_flags()
    unaudited = count_unaudited(dataset, catalog, thresholds_of(options.remove))
    if lines is not None:
        resumed = finish_moves(dataset, catalog, progress)
    run = datetime.now(UTC).isoformat(timespec="milliseconds")
    moves = set_aside(dataset, catalog, planned.decisions, run, progress)
    if moves.moved or resumed.moved or moves.to_other_classes or resumed.to_other_classes:
        refresh_credits(dataset, catalog)
    return CleanReport(
        dataset, scanned, planned, len(moves.moved), len(resumed.moved), [*resumed.unmoved, *moves.unmoved], flagged,
        run if moves.moved or moves.to_other_classes else "",
        merged=len(moves.to_other_classes) + len(resumed.to_other_classes),
        companions=len(resumed.companions) + len(moves.companions),
        unreadable=catalog.unreadable(),
        waiting=_waiting(catalog),
        unaudited=unaudited,
    )  # fmt: skip


def _plan(
    dataset: Dataset, catalog: Catalog, options: CleanOptions, lines: Sequence[PlanLine] | None, progress: Progress
) -> CleaningPlan:
    if lines is not None:
        lines, held_back = (lines, 0) if options.again else _still_wanted(lines, catalog)
        decisions = check_plan(lines, dataset, catalog)
        classes = tally(decisions, part_placements(catalog.pictures())[0]) if decisions else Tally()
        return CleaningPlan(decisions, [], [], classes, held_back=held_back)
    require_classes(dataset, catalog, merges_of(options.merge))
    decided = f"decisions {last}" if (last := last_batch(catalog)) else ""
    asked = ", ".join(filter(None, (str(options), str(read_not_copies(dataset)), _audit(dataset, options), decided)))
    found = found_if_clean(catalog, asked)
    if found is not None:
        return CleaningPlan([], [], [], near=found.near, held_back=found.held_back)
    planned = make_plan(dataset, catalog, options, progress)
    if planned == CleaningPlan([], [], []):
        remember_clean(catalog, asked, planned.near, planned.held_back)
    return planned


def _still_wanted(lines: Sequence[PlanLine], catalog: Catalog) -> tuple[Sequence[PlanLine], int]:
    """The lines of a plan but for those about pictures that a person has kept since it was written; and how many."""
    written = [line.written for line in lines if line.written is not None]
    if not written:
        return lines, 0
    pictures = catalog.pictures()
    answers = Answers.of(catalog, pictures, part_placements(pictures)[1], after=min(written))
    wanted = [
        line
        for line in lines
        if line.decision.reason == MERGE
        or not answers.stays(line.decision.path, line.decision.sha256, line.decision.reason)
    ]
    return wanted, len(answers.held_back)


def _audit(dataset: Dataset, options: CleanOptions) -> str:
    """What the audit said that the options ask for: "" where they ask for none."""
    return ", ".join(sorted(audit_in_words(dataset, thresholds_of(options.remove))))


def _plan_file(dataset: Dataset, file: Path | None) -> Path | None:
    """Where the plan goes: nowhere, for a dataset on a read-only disk and no other place named."""
    if file is None and not os.access(dataset.home, os.W_OK):
        return None
    return located(file or dataset.home / "plan.jsonl")


@contextmanager
def catalog_to_look(dataset: Dataset) -> Iterator[Catalog]:
    """The dataset's catalog or, to look at pictures where nothing may be written, a copy of it for the moment."""
    place = dataset.home if dataset.home.exists() else dataset.home.parent
    with ExitStack() as stack:
        path = dataset.catalog_path
        if not os.access(place, os.W_OK):
            path = Path(stack.enter_context(TemporaryDirectory())) / "catalog.sqlite"
            if dataset.catalog_path.exists():
                copy_catalog(dataset.catalog_path, path)
        yield stack.enter_context(Catalog.open(path))
