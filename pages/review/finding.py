"""What there is to review: the newest plan, which is made where there is none; nothing is moved."""

import os
from functools import partial
from pathlib import Path

from curate.catalog import Catalog
from curate.clean import clean
from curate.cleaning.plan import read_plan
from curate.dataset import open_dataset, still_there
from curate.errors import UserError
from curate.progress import Progress, silent
from curate.scan import scan
from pages.review.desk import Desk
from pages.review.queues import ReviewedPlan


def prepare(root: Path, who: str, plan: Path | None = None, progress: Progress = silent) -> "partial[Desk]":
    """Bring the catalog up to date, make a plan where none was made, and give what opens the desk.

    Needs no lock, as `clean --dry-run` needs none. Raises `UserError` for a dataset whose files stay as they lie,
    for one whose catalog cannot be written, which is where decisions go, and for a plan that cannot be read.
    """
    dataset = open_dataset(root)
    if dataset.is_fixed:  # said before hours of decisions, not by the button that moves files
        raise UserError(
            f"{root} stays as it is, so `review` has no place for files there: give a folder, or look at the plan with "
            "`show --plan`."
        )
    place = dataset.home if dataset.home.exists() else dataset.home.parent
    if not os.access(place, os.W_OK):
        raise UserError(
            f"Decisions are kept in {dataset.catalog_path}, and {place} cannot be written: review a copy of the "
            "dataset, or look at the plan with `show --plan`."
        )
    file = plan or dataset.home / "plan.jsonl"
    if plan is None and not file.exists():
        clean(root, dry_run=True, progress=progress)
    else:
        read_plan(file)
        with still_there(dataset.root), Catalog.open(dataset.catalog_path) as catalog:
            scan(dataset, catalog, progress)
    return partial(Desk, dataset, who, partial(_read, file))


def _read(file: Path) -> ReviewedPlan:
    return ReviewedPlan(read_plan(file), file)
