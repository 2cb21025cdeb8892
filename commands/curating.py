"""clean, restore, split, verify, compare: from pictures to a split dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import cleaning_reports, comparing_reports, console, splitting_reports, verifying_reports
from commands.option_flags import on_an_engine
from commands.options import (
    Bank,
    Data,
    LabelFrom,
    Radius,
    Wait,
    lacks_classes,
    lay_out_by_label,
    next_step,
    patience,
    tell_layout,
)
from commands.report_lines import MOST_ROWS
from commands.shell import command_line
from curate.defaults import (
    DEFAULT_BIND,
    DEFAULT_CONFLICTS,
    DEFAULT_DATA,
    DEFAULT_METHOD,
    DEFAULT_MIN_PER_CLASS,
    DEFAULT_MODELS,
    DEFAULT_ONLY,
    DEFAULT_POLICY,
    DEFAULT_RADIUS,
    DEFAULT_RATIO,
    DEFAULT_SEED,
    MOST_SEED,
    Bind,
    ConflictMode,
    CopyKind,
    Method,
    Mode,
    PolicyName,
)
from curate.files.addresses import located

if TYPE_CHECKING:
    from curate.split import SplitReport

RATIO = ",".join(f"{share:g}".removeprefix("0") for share in DEFAULT_RATIO)


@on_an_engine
def clean(
    data: Data = DEFAULT_DATA,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the plan and move nothing.")] = False,
    radius: Radius = DEFAULT_RADIUS,
    keep: Annotated[PolicyName, typer.Option(help="Which of several copies stays.")] = DEFAULT_POLICY,
    conflicts: Annotated[
        ConflictMode, typer.Option(help="What becomes of one picture under two labels.")
    ] = DEFAULT_CONFLICTS,
    geometry: Annotated[bool, typer.Option("--geometry", help="Find turned and mirrored copies too.")] = False,
    remove: Annotated[str, typer.Option(help="Quality flags that make a picture leave, such as blurred,text.")] = "",
    only: Annotated[
        CopyKind, typer.Option(help="What is a copy: the same bytes, or also what was edited.")
    ] = DEFAULT_ONLY,
    merge: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=CLASS", help="Pictures of the first move to the second; repeatable."),
    ] = None,
    not_a_copy: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="PICTURE PICTURE", help="Remember that these two, by their paths below DATA, are no copies."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Propose again what a person kept, or brought back.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where that empties a class, or takes over a tenth of one.")
    ] = False,
    plan: Annotated[Path | None, typer.Option(parser=located, help="Carry out this plan, edited or not.")] = None,
    save_plan: Annotated[
        Path | None, typer.Option(parser=located, help="Where --dry-run writes the plan, as JSON Lines.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the plan over a file that is no plan of ours.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild-catalog", help="Put the catalog aside; make it anew from the files.")
    ] = False,
    label_from: LabelFrom = None,
    wait: Wait = False,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure thresholds on DATA; move nothing.")] = False,
) -> None:
    """Set broken files, copies and mislabelled pictures aside.

    Nothing is deleted: what leaves lies in quarantine/ with its reason, and `restore` brings it back.

    Example: cli.py clean flower_data --dry-run
    """
    lay_out_by_label(data, label_from, wait)
    if calibrate:
        from curate.radius_calibration import calibrate_radius

        measured = calibrate_radius(data, radius=radius, progress=console.bars)
        cleaning_reports.calibration(measured)
        console.say(f"Nothing was moved. Next: {command_line('clean', data, '--radius', measured.radius)}")
        return
    tell_layout(data)
    from curate.clean import clean as run_clean
    from curate.cleaning.losses import DrasticPlan
    from curate.plurals import with_noun

    try:
        report = run_clean(
            data, dry_run=dry_run, radius=radius, keep=keep, conflicts=conflicts, geometry=geometry,
            remove=_words(remove), only=only, merge=merge or [], not_copies=[not_a_copy] if not_a_copy else [],
            again=again, yes=yes, plan=plan, save_plan=save_plan, force=force, rebuild_catalog=rebuild,
            wait=patience(wait), progress=console.bars,
        )  # fmt: skip
    except DrasticPlan as refused:
        cleaning_reports.costs(refused.dataset, refused.plan.losses)
        cleaning_reports.shared_pictures(refused.dataset, refused.plan.pairs)
        raise
    cleaning_reports.cleaning(report)
    if dry_run and report.plan.decisions:
        planned = ("--plan", report.plan_file) if report.plan_file else ()
        written = "Nothing was moved. "
        if report.plan_file:
            look = command_line("show", data, *planned)
            written = f"The plan is {report.plan_file}; nothing was moved. To look at it: {look}. "
        confirmed = ("--yes",) if report.plan.losses and not planned else ()
        console.say(f"{written}Next: {command_line('clean', data, *planned, *confirmed)}")
        return
    cleaning_reports.unmoved(report.unmoved)
    moved = report.moved + report.resumed
    if report.merged:
        console.say(f"Moved to their new class: {report.merged:,} pictures.")
    take_back = command_line("restore", data)
    if report.unmoved:
        console.say(
            f"{with_noun(moved, 'file was', 'files were')} moved to {report.dataset.quarantine}, and "
            f"{len(report.unmoved):,} could not be. "
            f"Next: the same command again, or {take_back}"
        )
        raise typer.Exit(1)
    if moved:
        how = "Noted as left in" if report.dataset.is_fixed else "Moved to"
        console.say(
            f"{how} {report.dataset.quarantine}: {with_noun(moved, 'file')}. To take it back: {take_back}. "
            f"{_after_cleaning(data)}"
        )
    elif report.merged:
        console.say(f"Nothing left {data}. To take it back: {take_back}. {_after_cleaning(data)}")
    else:
        console.say(f"Nothing to set aside among {report.scan.files:,} files in {data}. {_as_it_stands(data)}")


def _as_it_stands(data: Path) -> str:
    """What comes next where nothing has moved: a split that was made stands; one that came along is yet to prove."""
    from curate.catalog.known_files import was_split
    from curate.dataset import open_dataset

    if not was_split(open_dataset(data).catalog_path):
        return _after_cleaning(data)
    return lacks_classes(data) or f"Next: {next_step(data)}"


def _after_cleaning(data: Path) -> str:
    """What comes next where pictures have left or moved or, where there are not two classes yet, what is lacking."""
    return lacks_classes(data) or f"Next: {command_line('split', data)}"


def restore(
    data: Data = DEFAULT_DATA,
    *,
    reason: Annotated[list[str] | None, typer.Option(help="Only what left for this reason; repeatable.")] = None,
    picture: Annotated[list[str] | None, typer.Option(help="Only this picture, by its old path; repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option("--class", help="Only this class folder; repeatable.")] = None,
    run: Annotated[str | None, typer.Option(help="Only what one clean moved: its time, or last.")] = None,
    wait: Wait = False,
) -> None:
    """Bring pictures back from the quarantine.

    Example: cli.py restore flower_data --reason conflict
    """
    from curate.dataset import open_dataset
    from curate.plurals import with_noun
    from curate.restore import restore as run_restore

    report = run_restore(
        data, reasons=reason, pictures=picture, labels=label, run=run, wait=patience(wait), progress=console.bars
    )
    dataset = open_dataset(data)
    if report is None:
        console.say(f"Nothing was set aside in {data}: there is no quarantine {dataset.quarantine}.")
        return
    for path in report.occupied[:MOST_ROWS]:
        console.say(f"Left in the quarantine, because another file has taken its place: {path}")
    back = f"Brought {with_noun(len(report.restored), 'file')} back into {data}"
    if report.companions:
        back += f", and {with_noun(len(report.companions), 'companion')} with them"
    if report.occupied:
        back += f", and could not bring back {len(report.occupied):,}"
    if report.called_off:
        back += f"; {len(report.called_off):,} that were about to leave stay"
    if report.restored:
        back += "; `clean` proposes none of them again for the same reason"
    if not (report.restored or report.occupied or report.called_off):
        back += f": nothing of that is in the quarantine {dataset.quarantine}"
    if report.astray:
        console.say(
            f"{with_noun(len(report.astray), 'copy', 'copies')} placed by `split` still "
            f"{'lies' if len(report.astray) == 1 else 'lie'} under the class that a picture has come back from "
            f"({', '.join(report.astray[:3])}): run {command_line('split', data)}, as before."
        )
    console.say(f"{back}. Next: {command_line('clean', data, '--dry-run')}")
    if report.occupied:
        raise typer.Exit(1)


@on_an_engine
def split(
    data: Data = DEFAULT_DATA,
    *,
    out: Annotated[
        Path | None,
        typer.Option(parser=located, help="Where train/, valid/ and test/ go.  [default: DATA itself]"),
    ] = None,
    ratio: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = RATIO,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Another seed draws another split.")] = DEFAULT_SEED,
    freeze: Annotated[str | None, typer.Option(help="Splits that take nothing new, such as valid,test.")] = None,
    min_per_class: Annotated[
        int, typer.Option(min=0, help="Pictures of each class that valid and test need.")
    ] = DEFAULT_MIN_PER_CLASS,
    method: Annotated[Method, typer.Option(help="Our own draw, or split-folders given our groups.")] = DEFAULT_METHOD,
    radius: Radius = DEFAULT_RADIUS,
    bind: Annotated[Bind, typer.Option(help="Keep copies together, or also near pictures.")] = DEFAULT_BIND,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUPS", help="Keep groups together: parent (subfolders), a REGEX, or TABLE.csv[:column]."
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="Compute its features first: they tell which may be shots of one scene."),
    ] = None,
    models: Bank = DEFAULT_MODELS,
    label_from: LabelFrom = None,
    copy: Annotated[bool, typer.Option("--copy", help="Place copies.")] = False,
    symlink: Annotated[bool, typer.Option("--symlink", help="Place symbolic links.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Place hard links, where possible (the default).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the split and place nothing.")] = False,
    wait: Wait = False,
) -> None:
    """Split into train, valid and test without a leak.

    Copies, near pictures (frames, bursts) and pictures of one origin stay together, with
    --group-by those of one patient, slide or product too; where the bank of --models has
    their features, so do shots of one scene. Pictures added later never move an old one.
    Exits with code 1 where a dataset arrived with pictures that leak.

    Example: cli.py split slides --group-by "(slide[0-9]+)_"
    """
    from curate.errors import UserError
    from curate.split import split as run_split
    from train.alike import alike_in

    if copy + symlink + link > 1:
        raise UserError("--copy, --link and --symlink exclude each other: give one of them.")
    lay_out_by_label(data, label_from, wait)
    tell_layout(data)
    mode: Mode = "copy" if copy else "symlink" if symlink else "link"
    alike = alike_in(models / "bank", data, bind=bind, network=features, progress=console.bars)
    report = run_split(
        data, out=out, ratio=_shares(ratio), seed=seed, freeze=None if freeze is None else _words(freeze),
        min_per_class=min_per_class, method=method, radius=radius, bind=bind, group_by=group_by, mode=mode,
        alike=alike, dry_run=dry_run, wait=patience(wait), progress=console.bars,
    )  # fmt: skip
    splitting_reports.splitting(report)
    if report.proof.copies:
        console.say(
            "A picture on two sides makes the figures too good. Next: "
            f"{command_line('clean', data, *(('--radius', radius) if radius != DEFAULT_RADIUS else ()), '--dry-run')}"
        )
        raise typer.Exit(1)
    if report.proof.leaks:
        console.say(
            f"The folders that {data} arrived with part what belongs together. To have it drawn anew: move the class "
            f"folders' pictures to {data / 'raw'}, and run {command_line('split', data)}"
        )
        raise typer.Exit(1)
    if dry_run:
        console.say(f"Nothing was placed. Next: {command_line('split', data)}")
        return
    if report.placement is None:
        also = f" and to {out}" if out else ""
        following = _after_splitting(data, report, None)
        console.say(f"Wrote split.parquet to {report.out}{also}; no file was moved. {following}")
        return
    following = _after_splitting(data, report, out)
    if report.placement.linked or report.placement.copied or report.placement.symlinked:
        console.say(f"Wrote train/, valid/ and test/ in {report.out}. {following}")
    else:
        console.say(f"Every picture in {report.out} is in its place. {following}")


def _after_splitting(data: Path, report: SplitReport, out: Path | None) -> str:
    """What comes next or, where a split that is needed has no picture, what to do about it."""
    count = {split: sum(one[split] for one in report.counts.values()) for split in ("train", "valid", "test")}
    if not (count["train"] and count["valid"]):
        lacking = "valid" if count["train"] else "train"
        return (
            f"There is no picture in {lacking}, and training needs one: add pictures, three of each class or more, or "
            "give --ratio with a share for each."
        )
    following = f"Next: {command_line('train', data if out is None else report.out)}"
    if not count["test"] and "test" in report.frozen:
        carve = command_line("split", data, "--freeze", "valid")
        return (
            f"There is no test, so valid is what `evaluate` measures on; {carve} carves one out of train. {following}"
        )
    return following


@on_an_engine
def verify(data: Data = DEFAULT_DATA, *, radius: Radius = DEFAULT_RADIUS) -> None:
    """Read every file again and prove the split anew.

    Compares with the catalog. Exits with code 1 where something has changed, is missing, new or broken, or leaks.

    Example: cli.py verify flower_data
    """
    from curate.dataset import open_dataset
    from curate.verify import verify as run_verify

    tell_layout(data)
    report = run_verify(data, radius=radius, progress=console.bars)
    if report.root != open_dataset(data).root:
        console.say(f"{data} holds the split of {report.root}, which is verified with it.")
        data = report.root
    verifying_reports.verification(report)
    if report.in_order:
        following = lacks_classes(data) or f"Next: {next_step(data)}"
        console.say(f"{report.order_in_words} {following}")
        return
    if report.unfinished:
        raise typer.Exit(1)  # which command comes next was said with each
    following = command_line("clean", data, "--dry-run")
    what = "has no catalog to compare with" if report.no_catalog else "is not as the catalog says, or leaks"
    console.say(f"{data} {what}. Next: {following}")
    raise typer.Exit(1)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A dataset folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    *,
    radius: Radius = DEFAULT_RADIUS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Compare two datasets: pictures that both have, leaks between their splits, which class is which.

    Writes nothing. Copies are found as `clean` finds them; train of one and test of the other should share none.

    Example: cli.py compare flower_data other_flowers
    """
    from curate.compare import compare_datasets

    report = compare_datasets(first, second, radius=radius, progress=console.bars)
    if as_json:
        console.json_line(report.as_json())
        return
    comparing_reports.comparison(report)
    unite = "to unite them, put both into one folder and see what `clean --dry-run` says"
    console.say(f"Nothing was written. Next, {unite}." if report.in_both else "Nothing was written.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _shares(ratio: str) -> tuple[float, float, float]:
    from curate.errors import UserError

    try:
        train, valid, test = (float(share) for share in ratio.split(","))
    except ValueError:
        raise UserError(f"The ratio {ratio!r} is no split: give three shares such as .8,.1,.1.") from None
    return train, valid, test
