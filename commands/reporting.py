"""report: what all stages found and did, as one HTML file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import audit_reports, cleaning_reports, console, scraping_reports, training_reports, verifying_reports
from commands.options import Checkpoint, Data, Device, Models, chosen_checkpoint, tell_split
from commands.report_lines import class_and_name
from curate.defaults import DEFAULT_DATA, DEFAULT_DEVICE, DEFAULT_MODELS, DEFAULT_REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from curate.progress import Progress
    from pages.report.findings import ModelStory, ReportFindings, ReportOptions
    from pages.report.said import SaidByCommand
    from pages.report.written import WrittenReport


def report(
    data: Data = DEFAULT_DATA,
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    evaluation: Annotated[
        Path | None, typer.Option(help="Figures of `evaluate --out FOLDER`, on test too.  [default: measure on valid]")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Scores of an `audit --out`.  [default: audit.jsonl by the catalog]")
    ] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Leave the classifier out.")] = False,
    out: Annotated[Path, typer.Option(help="The HTML file that is written.")] = DEFAULT_REPORT,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is not ours.")] = False,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Write a report of the pictures and a classifier, as one HTML file.

    It opens from disk, prints, and needs no network. A stage that has not been is named with its
    command. Test is not opened: figures on it come from `evaluate --out`.

    Example: cli.py report flower_data --out flowers.html
    """
    from pages.report.document import require_report_place

    require_report_place(out, data, force=force)
    tell_split(data)
    options = report_options(
        data, checkpoint, models, evaluation=evaluation, audit=audit, data_only=data_only, device=device
    )
    written = make_report(data, options, out, force=force, progress=console.bars)
    console.say(report_in_words(written))


def report_options(
    data: Path,
    checkpoint: Path | None,
    models: Path,
    *,
    evaluation: Path | None,
    audit: Path | None,
    data_only: bool,
    device: str,
) -> ReportOptions:
    """What a report is made of: the checkpoint that is named or, without a word, the one that would answer."""
    from curate.errors import UserError
    from pages.report.findings import ReportOptions

    if data_only and (checkpoint or evaluation):
        raise UserError("--data-only leaves the classifier out: give it without --checkpoint and --evaluation.")
    chosen, without = checkpoint, "The classifier was left out, by --data-only."
    if not data_only and checkpoint is None and evaluation is None:
        try:
            chosen = chosen_checkpoint(None, models, data)
        except UserError as none:
            without = str(none)
    return ReportOptions(
        checkpoint=chosen, is_default=checkpoint is None, evaluation=evaluation, audit=audit, bank=models / "bank",
        device=device, without_model=without,
    )  # fmt: skip


def make_report(data: Path, options: ReportOptions, out: Path, *, force: bool, progress: Progress) -> WrittenReport:
    """Gather, have each command say what it says, and write."""
    from pages.report.document import write_report
    from pages.report.findings import gather

    found = gather(data, options, progress)
    return write_report(found, said_of(found), out, force=force, progress=progress)


def report_in_words(written: WrittenReport) -> str:
    """Where the report is, how large, and of how many pictures it shows some."""
    left_out = f", and leaves out {written.left_out:,} that would make it too large" if written.left_out else ""
    return (
        f"Wrote {written.file}, {written.bytes / 1e6:.1f} MB: it shows a picture in {written.shown:,} places, of "
        f"{written.pictures:,} in the dataset{left_out}. Next: open it in a browser."
    )


def said_of(found: ReportFindings) -> Mapping[str, SaidByCommand]:
    """What each stage's own command says of what was gathered, word for word."""
    said: dict[str, SaidByCommand] = {}
    with _saying(said, "scrape"):
        scraping_reports.yields(found.yields)
    with _saying(said, "clean"):
        cleaning_reports.cleaning(found.cleaning)
    with _saying(said, "verify"):
        verifying_reports.verification(found.verified)
    with _saying(said, "audit"):
        if found.audit is not None:
            called = {label: class_and_name(label, name) for label, name in found.names.items()}
            audit_reports.suspects(found.audit.pictures, called, found.audit.file, found.audit.kept)
            console.say(audit_reports.audit_in_words(found.audit.tally))
            if found.audit.kept:
                console.say(audit_reports.kept_in_words(found.audit.pictures, found.audit.kept))
    with _saying(said, "train"):
        if found.model is not None:
            _training(found.model)
    with _saying(said, "evaluate"):
        if found.model is not None and found.model.figures is not None:
            training_reports.evaluation_in_words(found.model.figures)
    return said


def _training(model: ModelStory) -> None:
    """Which checkpoint it is, what it was made of, and what it was on valid when it was made."""
    console.say(f"The checkpoint is {model.path}.")
    checkpoint = model.checkpoint
    if checkpoint is None:
        return
    networks = " + ".join(backbone.name for backbone in checkpoint.backbones)
    counts = checkpoint.dataset.get("pictures", {})
    learnt = ", ".join(f"{sum(one.values()):,} {split}" for split, one in counts.items())
    console.say(
        f"Made {checkpoint.created} with {networks}: {len(checkpoint.labels):,} classes"
        f"{f', from {learnt} pictures' if learnt else ''}."
    )
    if valid := checkpoint.metrics.get("valid"):
        figure = training_reports.accuracy_in_words(valid)
        console.say(f"Valid, when it was made: {figure}{training_reports.from_views(checkpoint.asked_views)}.")


@contextmanager
def _saying(said: dict[str, SaidByCommand], stage: str) -> Iterator[None]:
    from pages.report.said import SaidByCommand

    said[stage] = SaidByCommand()
    with console.onto(said[stage]):
        yield
