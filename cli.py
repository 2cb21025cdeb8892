"""The commands: parse, call one function, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import console

if TYPE_CHECKING:
    from curate.clean import CleanReport
    from curate.split import SplitReport

# Plain help: rich's takes a quarter of a second to import, and --help should answer at once.
app = typer.Typer(
    name="florilegium",
    help="From class names and search queries to an image classifier one can trust.",
    epilog="Begin with: cli.py demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_DATA = Path("flower_data")
DEFAULT_MODELS = Path("models")

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The dataset folder: <class>/, raw/<class>/ or train/…")]


@app.command()
def clean(
    data: Data = DEFAULT_DATA,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and move nothing.")] = False,
    radius: Annotated[int, typer.Option(min=0, max=12, help="Bits in which near-duplicates' pHashes may differ.")] = 8,
) -> None:
    """Set broken files, near-duplicates and mislabelled copies aside.

    Nothing is deleted: what leaves lies in quarantine/ with its reason, and `restore` brings it back.

    Example: cli.py clean flower_data --dry-run
    """
    from curate.clean import clean as run_clean

    report = run_clean(data, dry_run=dry_run, radius=radius, progress=console.bars)
    _print_plan(report)
    plan = report.plan.decisions
    if not plan and not report.resumed:
        console.say(f"Nothing to set aside among {report.scan.files:,} files in {data}. Next: cli.py split {data}")
    elif dry_run:
        console.say(f"Nothing was moved: {len(plan):,} of {report.scan.files:,} files would be. "
                    f"Next: cli.py clean {data}")  # fmt: skip
    else:
        console.say(f"Moved {report.moved + report.resumed:,} files to {report.dataset.quarantine}. "
                    f"Next: cli.py split {data} (or take it back: cli.py restore {data})")  # fmt: skip


def _print_plan(report: CleanReport) -> None:
    decisions = report.plan.decisions
    if decisions:
        shown = [(d.reason, d.path, d.detail) for d in decisions[:40]]
        console.table("What leaves", ("reason", "picture", "why"), shown)
        if len(decisions) > len(shown):
            console.say(f"… and {len(decisions) - len(shown):,} more.")
        counts = {
            reason: sum(d.reason == reason for d in decisions) for reason in dict.fromkeys(d.reason for d in decisions)
        }
        console.say("In all: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) + ".")
    for leak in report.plan.leaks[:20]:
        console.say(f"Leak across the split: {leak.first} is the same picture as {leak.second}.")


@app.command()
def restore(
    data: Data = DEFAULT_DATA,
    *,
    reason: Annotated[list[str] | None, typer.Option(help="broken, duplicate, leak or conflict; repeatable.")] = None,
) -> None:
    """Bring pictures back from the quarantine, under their old names.

    Example: cli.py restore flower_data --reason conflict
    """
    from curate.catalog import Catalog
    from curate.clean import REASONS
    from curate.dataset import open_dataset
    from curate.errors import UserError
    from curate.quarantine import restore as run_restore

    if unknown := set(reason or ()) - set(REASONS):
        raise UserError(f"There is no reason {min(unknown)!r}: choose among {', '.join(REASONS)}.")
    dataset = open_dataset(data)
    with Catalog.open(dataset.catalog_path) as catalog:
        report = run_restore(dataset, catalog, reason, console.bars)
    for path in report.occupied[:20]:
        console.say(f"Left in the quarantine, because another file has taken its place: {path}")
    console.say(f"Brought {len(report.restored):,} files back into {data}. Next: cli.py clean {data} --dry-run")


@app.command()
def split(
    data: Data = DEFAULT_DATA,
    *,
    out: Annotated[Path | None, typer.Option(help="Where train/, valid/ and test/ go.  [default: DATA itself]")] = None,
    ratio: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = ".8,.1,.1",
    seed: Annotated[int, typer.Option(help="Another seed draws another split.")] = 1337,
    freeze: Annotated[str | None, typer.Option(help="Splits that take nothing new, such as valid,test.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the split and place nothing.")] = False,
) -> None:
    """Split into train, valid and test, so that nothing leaks and nothing moves later.

    Near-duplicates and pictures of one origin stay together; pictures added later never move an old one.

    Example: cli.py split flower_data --ratio .7,.15,.15
    """
    from curate.split import split as run_split

    report = run_split(
        data, out=out, ratio=_shares(ratio), seed=seed, dry_run=dry_run,
        freeze=None if freeze is None else [name for name in freeze.split(",") if name], progress=console.bars,
    )  # fmt: skip
    _print_split(report)
    if dry_run:
        console.say(f"Nothing was placed. Next: cli.py split {data}")
    else:
        console.say(f"Wrote {report.out}/train, valid and test. Next: cli.py train {report.out}")


def _shares(ratio: str) -> tuple[float, float, float]:
    from curate.errors import UserError

    try:
        train, valid, test = (float(share) for share in ratio.split(","))
    except ValueError:
        raise UserError(f"The ratio {ratio!r} is no split: give three shares such as .8,.1,.1.") from None
    return train, valid, test


def _print_split(report: SplitReport) -> None:
    splits = ("train", "valid", "test")
    rows = [(label, *(counts[split] for split in splits)) for label, counts in report.counts.items()]
    totals = ("all", *(sum(counts[split] for counts in report.counts.values()) for split in splits))
    console.table("Pictures", ("class", *splits), [*rows, totals], last_is_total=True)
    for held in report.held_back[:20]:
        console.say(f"Held back: {held.path}: {held.reason}.")
    if report.broken:
        console.say(f"Left out: {len(report.broken):,} broken files, such as {report.broken[0]}.")
    proof = report.proof
    console.say(
        f"Proof: among {proof.pictures:,} pictures, near-duplicate pairs across splits = {proof.near_duplicates}, "
        f"pairs of one origin = {proof.provenance}, look-alikes that their pixels tell apart = {proof.told_apart}."
    )


if __name__ == "__main__":
    console.run(app)
