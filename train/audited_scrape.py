"""Pictures that a scrape has brought, judged at once: suspects go to the quarantine in the place of raw."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from curate.catalog import Catalog
from curate.clean import clean
from curate.cleaning.planning import CleaningPlan
from curate.dataset import UNLABELLED, open_dataset
from curate.errors import UserError
from curate.progress import Progress, silent
from curate.quarantine import Decision
from train.audit import FEWEST, AuditOptions, audit
from train.auditing.report import AuditReport


@dataclass(frozen=True)
class AuditedScrape:
    """The audit of the whole dataset, and the decisions on new pictures, which were carried out."""

    audit: AuditReport
    set_aside: list[Decision]


def present_paths(root: Path) -> frozenset[str]:
    """The paths of a dataset's pictures as the catalog knows them; none where there is no dataset yet."""
    if not root.is_dir() or not any(root.iterdir()):
        return frozenset()
    dataset = open_dataset(root)
    if not dataset.catalog_path.exists():
        return frozenset(file.path for file in dataset.files())
    with Catalog.open(dataset.catalog_path) as catalog:
        return frozenset(picture.path for picture in catalog.pictures())


def require_judges(root: Path, labels: Sequence[str], limit: int) -> None:
    """Raise `UserError` where a scrape of so many pictures for these classes cannot bring what an audit needs.

    That is two classes of five pictures, of those that are there and those that come.
    """
    there: Counter[str] = Counter()
    if root.is_dir() and any(root.iterdir()):
        there.update(file.label for file in open_dataset(root).files() if file.label != UNLABELLED)
    there.update(dict.fromkeys(labels, limit))
    if sum(count >= FEWEST for count in there.values()) < 2:
        raise UserError(
            f"--audit needs two classes of {FEWEST} pictures that judge each other, and {root} will have fewer: ask "
            "for more classes or pictures, or leave out --audit."
        )


def set_aside_suspects(
    root: Path,
    before: AbstractSet[str],
    options: AuditOptions,
    *,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> AuditedScrape:
    """Audit a dataset and move to the quarantine what is suspected of the pictures that are not among `before`.

    Those of another class are set aside too: a search that brings them is no judge of what they are. `restore` brings
    them back. Raises `UserError` as `audit` and `clean` do.
    """
    report = audit(root, options, progress=progress)
    decisions = [replace(decision, move_to="") for decision in report.decisions if decision.path not in before]
    if decisions:
        clean(root, plan=CleaningPlan(decisions, [], []), yes=True, wait=wait, progress=progress)
    return AuditedScrape(report, decisions)
