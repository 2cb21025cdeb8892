"""How an ablation is shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.console import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.ablating.report import AblationReport, AblationRow, LeakFlattery, MeanAccuracy


def ablation(report: AblationReport) -> None:
    """Say the baseline, a row for each step, what was skipped, and the flattery of leaks."""
    for sentence in report.notes:
        say(f"Note: {sentence}")
    say(
        f"As the dataset is now: {_in_words(report.baseline)} of {report.valid_pictures:,} valid pictures, learnt from "
        f"{report.train_pictures:,} of {report.classes:,} classes; mean over {report.seeds} seeds."
    )
    if report.rows:
        _steps(report.rows)
    for sentence in report.skipped:
        say(f"Not measured: {sentence}.")
    if report.flattery:
        _flattery(report.flattery)
    say(f"{report.fits:,} heads, {report.seconds:.1f} s.")


def _steps(rows: Sequence[AblationRow]) -> None:
    columns = ["step", "what", "pictures", "with", "without", "bought", "95% interval"]
    cells = [_cells(row) for row in rows]
    if any(row.set_aside for row in rows):
        columns.append("set aside")
        cells = [(*cell, f"{row.set_aside:,}") for cell, row in zip(cells, rows, strict=True)]
    if any(row.per_hundred is not None for row in rows):
        columns.append("per 100")
        cells = [(*cell, _worth(row)) for cell, row in zip(cells, rows, strict=True)]
    table("What each step bought, in points of accuracy on valid", columns, cells)
    for row in rows:
        if row.remark:
            say(f"{row.step if row.what == row.step else f'{row.step}, {row.what}'}: {row.remark}.")
    say(
        "Both arms of a row are measured on the same pictures of valid. Cleaning: with is train without the pictures "
        "that the step takes or has taken, without is train with them, under their old labels. Sources and queries: "
        "without is train without their pictures. Balance: without is every class as it comes. Views: without is the "
        "clean view alone. * The interval of the paired difference excludes 0."
    )


def _cells(row: AblationRow) -> tuple[object, ...]:
    gain = row.gain
    return (
        row.step, "" if row.what == row.step else row.what, f"{row.pictures:,}" if row.pictures else "",
        f"{row.with_step.mean:.2%}", f"{row.without_step.mean:.2%}", f"{100 * gain.mean:+.2f}",
        f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}{' *' if gain.is_told else ''}",
    )  # fmt: skip


def _worth(row: AblationRow) -> str:
    return "" if row.per_hundred is None else f"{100 * row.per_hundred:+.2f}"


def _flattery(found: LeakFlattery) -> None:
    say(
        f"The flattery of leaks, on {found.pictures:,} pictures of train and valid in {found.folds} folds: drawn "
        f"picture by picture, {_in_words(found.naive)}; with groups kept whole, {_in_words(found.ours)}."
    )
    groups = f"{found.groups:,} groups of several pictures"
    points = f"{100 * found.gain.mean:+.2f} points ({100 * found.gain.low:+.2f} to {100 * found.gain.high:+.2f})"
    if found.gain.is_told:
        say(f"A naive split of them tells a figure that is off by {points}: it parts {groups}.")
    else:
        say(f"The difference is {points}, which may be chance; there are {groups}.")
    if found.disputed:
        say(f"{found.disputed:,} of these groups have pictures of two classes, which mislead a naive split.")


def _in_words(accuracy: MeanAccuracy) -> str:
    return f"{accuracy.mean:.2%} right (95% interval {accuracy.low:.1%} to {accuracy.high:.1%})"
