"""What the API's functions return: the reports of `curate`, each of which draws itself in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from commands import (
    ablation_reports,
    audit_reports,
    cleaning_reports,
    comparing_reports,
    scraping_reports,
    splitting_reports,
    verifying_reports,
)
from commands.console import onto, say
from commands.report_lines import MOST_ROWS
from commands.reporting import report_in_words
from curate.clean import CleanReport, clean
from curate.cleaning.plan import PlanLine
from curate.cleaning.planning import CleaningPlan
from curate.compare import CompareReport
from curate.errors import UserError
from curate.export import DatasetExportReport
from curate.printable import printable
from curate.quarantine import RestoreReport
from curate.scrape import Scraped
from curate.show import sheet_of_plan
from curate.split import SplitReport
from curate.verify import VerifyReport
from florilegium.arguments import checked
from florilegium.page import HtmlPage
from florilegium.progress import AUTO, Watch, chosen
from pages.report.written import WrittenReport
from train.ablating.report import AblationReport
from train.auditing.report import AuditReport

if TYPE_CHECKING:
    from collections.abc import Collection

_PAIRS = 12  # of a plan, drawn in a notebook


class Result(ABC):
    """A report that draws itself: in a notebook as tables and pictures, elsewhere as one line."""

    @classmethod
    def of(cls, report: Any, **more: Any) -> Self:
        """The same report, as one that draws itself."""
        return cls(**{field.name: getattr(report, field.name) for field in fields(report)}, **more)

    @property
    @abstractmethod
    def summary(self) -> str:
        """The report in one line."""

    @abstractmethod
    def report(self) -> None:
        """Say what the command line says of it."""

    def draw(self, page: HtmlPage) -> None:  # noqa: B027  (not every report has something to look at)
        """Add what is to be looked at."""

    def __repr__(self) -> str:
        return printable(f"{type(self).__name__}: {self.summary}")

    def _repr_html_(self) -> str:
        page = HtmlPage()
        page.say(self.summary)
        with onto(page):
            self.report()
        try:
            self.draw(page)
        except UserError as error:  # the pictures are no longer as they were: the report still tells what was done
            page.say(str(error))
        return page.html


@dataclass(frozen=True, repr=False)
class ScrapeResult(Result, Scraped):
    """What a scrape has brought; see `curate.scrape.Scraped`."""

    @property
    def summary(self) -> str:
        """How many pictures are new, and where they are credited."""
        return f"{self.new:,} new pictures in {self.dataset.root}, credited in {self.credits}."

    def report(self) -> None:
        """Say the yield of each class and source."""
        scraping_reports.scraping(self)


@dataclass(frozen=True, repr=False)
class CleanPlan(Result, CleanReport):
    """What would leave a dataset, and why. Nothing has moved: look at it, then `carry_out`.

    `plan.decisions` are the pictures that leave; `plan.conflicts` and `plan.leaks` what was found besides.
    """

    @property
    def summary(self) -> str:
        """How many pictures would leave."""
        leaving = sum(not one.move_to for one in self.plan.decisions)
        merging = len(self.plan.decisions) - leaving
        merged = f", and {merging:,} would move to another class" if merging else ""
        return (
            f"{leaving:,} of {self.scan.files:,} pictures would leave {self.dataset.root}{merged}; nothing was moved."
        )

    def report(self) -> None:
        """Say what leaves and why."""
        cleaning_reports.cleaning(self)

    def draw(self, page: HtmlPage) -> None:
        """Draw what leaves beside what stays, the first of them."""
        decisions = self.plan.decisions
        if decisions:
            lines = [PlanLine(decision, "the plan") for decision in decisions]
            count = min(_PAIRS, len(lines))
            page.say(f"What leaves beside what stays: {count:,} of {len(lines):,}.")
            page.draw(sheet_of_plan(self.dataset, lines, count), "What leaves beside what stays")

    @checked
    def without(self, *, pictures: Collection[str] = (), reasons: Collection[str] = ()) -> CleanPlan:
        """The plan in which these pictures stay, given by their paths relative to the dataset or by reason to leave.

        Raises `UserError` for a picture or a reason that the plan does not name.
        """
        decisions = self.plan.decisions
        named = ("picture", pictures, {one.path for one in decisions}), ("reason", reasons, {*_reasons(self)})
        for what, given, known in named:
            if unknown := set(_listed(given)) - known:
                raise UserError(f"The plan names no {what} {min(unknown)!r}: look at plan.decisions.")
        staying, passed = set(_listed(pictures)), set(_listed(reasons))
        kept = [one for one in decisions if one.path not in staying and one.reason not in passed]
        return replace(self, plan=replace(self.plan, decisions=kept))

    @checked
    def carry_out(self, *, yes: bool = False, wait: float | None = 0.0, progress: Watch = AUTO) -> CleanResult:
        """Move what the plan names to the quarantine, from where `Dataset.restore` brings it back.

        A plan that empties a class, or takes more than a tenth of one, needs `yes`: `plan.losses` names the classes.
        `wait` is how many seconds to wait for another command at work in the dataset; None for as long as it takes.
        Safe to stop at any instant. Raises `UserError`, before anything is moved, where `yes` is needed, and where a
        picture has changed since the plan was made.
        """
        report = clean(self.dataset.root, plan=self.plan, yes=yes, wait=wait, progress=chosen(progress))
        return CleanResult.of(report)


@dataclass(frozen=True, repr=False)
class CleanResult(Result, CleanReport):
    """What was moved to the quarantine; `run` names it for `Dataset.restore`."""

    @property
    def summary(self) -> str:
        """How many pictures were moved, and where to."""
        stayed = f"; {len(self.unmoved):,} could not be moved" if self.unmoved else ""
        merged = f"; {self.merged:,} moved to another class" if self.merged else ""
        return f"{self.moved + self.resumed:,} files moved to {self.dataset.quarantine}{merged}{stayed}."

    def report(self) -> None:
        """Say what left and why, and what could not be moved."""
        cleaning_reports.cleaning(self)
        cleaning_reports.unmoved(self.unmoved)


@dataclass(frozen=True, repr=False)
class RestoreResult(Result, RestoreReport):
    """What was brought back; paths are relative to the dataset."""

    @property
    def summary(self) -> str:
        """How many files were brought back."""
        said = f"{len(self.restored):,} files brought back"
        if self.occupied:
            said += f"; {len(self.occupied):,} could not be, because another file has taken their place"
        if self.called_off:
            said += f"; {len(self.called_off):,} that were about to leave stay"
        return f"{said}."

    def report(self) -> None:
        """Say what is still in the quarantine."""
        for path in self.occupied[:MOST_ROWS]:
            say(f"Left in the quarantine: {path}")


@dataclass(frozen=True, repr=False)
class SplitResult(Result, SplitReport):
    """Where each class's pictures went, and the proof that nothing leaks; `out` holds train/, valid/ and test/."""

    @property
    def summary(self) -> str:
        """How many pictures each split has, and the proof."""
        totals = {split: sum(counts[split] for counts in self.counts.values()) for split in ("train", "valid", "test")}
        counted = ", ".join(f"{count:,} {split}" for split, count in totals.items())
        placed = "" if self.placement else "; nothing was placed"
        return f"{counted} in {self.out}; near-duplicate pairs across splits: {self.proof.near_duplicates}{placed}."

    def report(self) -> None:
        """Say the counts of each class, what was held back, and the proof."""
        splitting_reports.splitting(self)


@dataclass(frozen=True, repr=False)
class VerifyResult(Result, VerifyReport):
    """Whether all is as the catalog says, and nothing leaks: `in_order`."""

    @property
    def summary(self) -> str:
        """Whether all is in order."""
        if self.in_order:
            return self.order_in_words
        if self.unfinished:
            return " ".join(self.unfinished)
        what = "has no catalog to compare with" if self.no_catalog else "is not as the catalog says, or leaks"
        return f"{self.root} {what}."

    def report(self) -> None:
        """Say what has changed, is missing, new or broken, and each split's proof."""
        verifying_reports.verification(self)


@dataclass(frozen=True, repr=False)
class CompareResult(Result, CompareReport):
    """What two datasets share: `shared`, `leaks`, `classes`, and how many pairs are `near`."""

    @property
    def summary(self) -> str:
        """How many pictures are in both, and how many of them leak."""
        return (
            f"{self.in_both:,} of {self.pictures[0]:,} pictures in {self.first} are among the {self.pictures[1]:,} in "
            f"{self.second}; {len(self.leaks):,} leak between their splits."
        )

    def report(self) -> None:
        """Say which class is which, what leaks, and how many pairs are near."""
        comparing_reports.comparison(self)


@dataclass(frozen=True, repr=False)
class ExportResult(Result, DatasetExportReport):
    """What was written for other tools, below `out`."""

    @property
    def summary(self) -> str:
        """How many files were written, and how many pictures of each split."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.counts.items())
        return f"{self.files:,} files in {self.out}: {counts} pictures of {self.labels} classes."

    def report(self) -> None:
        """Say which classes were given another folder name, and what was left out."""
        for label, folder in self.renamed.items():
            say(f"The class {label} lies in {folder}.")
        for remark in self.remarks():
            say(remark)
        for path in self.broken[:MOST_ROWS]:
            say(f"Left out, because it gives no pixels: {path}")


@dataclass(frozen=True, repr=False)
class AuditResult(Result, AuditReport):
    """What an audit has found: `pictures` with scores, `classes`, `purity` of searches, and the plan, `decisions`.

    Nothing has moved: look at it, then `carry_out`.
    """

    @property
    def summary(self) -> str:
        """How many pictures the plan would change."""
        leaving = sum(not one.move_to for one in self.decisions)
        return (
            f"Of {len(self.pictures):,} pictures in {self.dataset.root} the plan takes out {leaving:,} and gives "
            f"{len(self.decisions) - leaving:,} another label; nothing was moved."
        )

    def report(self) -> None:
        """Say the worst of each class, and what each class is like."""
        audit_reports.audit(self)

    def draw(self, page: HtmlPage) -> None:
        """Draw the first suspects."""
        if self.decisions:
            lines = [PlanLine(decision, "the plan") for decision in self.decisions]
            count = min(_PAIRS, len(lines))
            page.draw(sheet_of_plan(self.dataset, lines, count), f"Suspects: {count:,} of {len(lines):,}")

    @checked
    def carry_out(self, *, yes: bool = False, wait: float | None = 0.0, progress: Watch = AUTO) -> CleanResult:
        """Move what the plan names: to the quarantine, or to the class that it shows. `Dataset.restore` takes it back.

        `yes` is needed where that empties a class, or takes more than a tenth of one. Raises `UserError` where a
        picture has changed since.
        """
        plan = CleaningPlan(self.decisions, [], [])
        return CleanResult.of(clean(self.dataset.root, plan=plan, yes=yes, wait=wait, progress=chosen(progress)))


@dataclass(frozen=True, repr=False)
class AblationResult(Result, AblationReport):
    """What each step bought: `rows`, and `flattery`, what leaks would add to the figure."""

    @property
    def summary(self) -> str:
        """How many steps were measured, and how many told."""
        told = sum(row.gain.is_told for row in self.rows)
        return (
            f"{len(self.rows)} comparisons on {self.valid_pictures:,} valid pictures of {self.root}, {self.seeds} "
            f"seeds each; {told} differ by more than chance."
        )

    def report(self) -> None:
        """Say the table, what was not measured, and the flattery of leaks."""
        ablation_reports.ablation(self)


@dataclass(frozen=True, repr=False)
class ReportResult(Result, WrittenReport):
    """Where the report is: `file`, of so many `bytes`, that shows a picture in so many places, `shown`."""

    @property
    def summary(self) -> str:
        """The file, its size, and how much of the dataset it shows."""
        return report_in_words(self)

    def report(self) -> None:
        """Say nothing more: the file tells it all."""


def _listed(words: Collection[str]) -> Collection[str]:
    return [words] if isinstance(words, str) else words


def _reasons(plan: CleanReport) -> list[str]:
    return [decision.reason for decision in plan.plan.decisions]
