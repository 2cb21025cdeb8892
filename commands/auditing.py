"""audit: what does not belong, and what is labelled wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import audit_reports, console
from commands.option_flags import on_an_engine
from commands.options import Checkpoint, Data, Device, judge_of, names_of, tell_layout
from commands.shell import command_line
from curate.defaults import (
    DEFAULT_AUDIT_AT,
    DEFAULT_DATA,
    DEFAULT_DEVICE,
    DEFAULT_MODELS,
    DEFAULT_WEIGHTS,
    MOST_SEED,
    SUSPECT,
)


@on_an_engine
def audit(
    data: Data = DEFAULT_DATA,
    *,
    backbone: Annotated[
        str | None, typer.Option(help="The network that judges, or several joined by +.  [default: the checkpoint's]")
    ] = None,
    weights: Annotated[str, typer.Option(help="Its weights, as `train` takes them.")] = DEFAULT_WEIGHTS,
    checkpoint: Checkpoint = None,
    models: Annotated[Path, typer.Option(help="The folder of checkpoints, and of bank/.")] = DEFAULT_MODELS,
    at: Annotated[
        float, typer.Option(min=0.5, max=1, help="The chance from which on a picture goes into the plan.")
    ] = DEFAULT_AUDIT_AT,
    splits: Annotated[str, typer.Option(help="Splits that the plan may change too: valid, test or valid,test.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Every picture's scores.  [default: audit.jsonl by the catalog]")
    ] = None,
    save_plan: Annotated[Path | None, typer.Option(help="The plan.  [default: audit-plan.jsonl there]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are not ours.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the parts that judge each other.")] = 0,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Find what does not belong, and what is labelled wrong.

    Each picture is judged by the others, with a network's features. Nothing is moved: suspects go
    into a plan, for you to look at and for `clean --plan` to carry out.

    Example: cli.py audit flower_data --backbone efficientnet_lite0
    """
    tell_layout(data)
    if backbone is None and checkpoint is None:
        backbone, checkpoint = judge_of(data, models)
    from train.audit import AuditOptions
    from train.audit import audit as run

    options = AuditOptions(
        backbone=backbone or "", weights=weights, checkpoint=checkpoint, models=models,
        device=device, at=at, splits=[split.strip() for split in splits.split(",") if split.strip()], seed=seed,
    )  # fmt: skip
    report = run(data, options, out=out, save_plan=save_plan, force=force, progress=console.bars)
    audit_reports.audit(report, _names(data))
    wrote = f"Every picture's scores are in {report.file}. Nothing was moved"
    if not report.decisions:
        more = any(max(one.irrelevant, one.mislabelled) >= SUSPECT for one in report.pictures)
        lower = f"; --at {SUSPECT:g} takes more into the plan" if more and at > SUSPECT else ""
        console.say(f"{wrote}, and nothing is sure enough to be{lower}. Next: {command_line('split', data)}")
        return
    look = command_line("show", data, "--plan", report.plan_file)
    carry_out = command_line("clean", data, "--plan", report.plan_file)
    console.say(f"{wrote}: the plan is {report.plan_file}. To look at it: {look}. Next: {carry_out}")


def _names(data: Path) -> dict[str, str]:
    """What the classes are called; nothing where no names file has all of them."""
    from curate.errors import UserError

    try:
        return names_of(data, None)
    except UserError:
        return {}
