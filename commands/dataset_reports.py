"""What a command says of its dataset before it begins: its layout, labels found, what its split lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.console import say
from commands.report_lines import MOST_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from curate.label import Labelled
    from curate.splitting.since_split import SinceSplit


def layout_in_words(data: Path) -> str:
    """Which folders were taken for what, and which were passed over; "" where their names say it."""
    from curate.fixed.opening import is_fixed_place
    from curate.labelling.arrangement import arranged_from
    from curate.layout import read_layout
    from curate.layout_reading import reading_of

    if is_fixed_place(data):
        return ""
    arranged = arranged_from(data)
    root = arranged[0] if arranged else data
    try:
        said = str(reading_of(root, read_layout(root)))
    except OSError:  # whoever opens the dataset says why
        said = ""
    by_label = f"Taken: {root} as {data} by --label-from {arranged[1]}" if arranged else ""
    line = "; ".join(filter(None, (by_label, said)))
    return f"{line}." if line else ""


def former_home_in_words(data: Path) -> str:
    """Which folder has what was decided and set aside of a flat dataset under a former name; "" for none."""
    from curate.dataset import open_dataset
    from curate.errors import UserError
    from curate.former_home import home_of_former_name

    try:
        dataset = open_dataset(data)
        home = None if dataset.is_fixed else home_of_former_name(dataset)
    except UserError:  # whoever opens the dataset says why
        return ""
    if home is None:
        return ""
    first = f"move {dataset.home} away and " if dataset.home.exists() else ""
    return (
        f"{home} is of no folder, and knows these pictures: if {data} was renamed, {first}rename it to {dataset.home}. "
        "Until then what was decided and set aside is not known here."
    )


def labelling(report: Labelled) -> None:
    """Where the pictures lie by their labels, how many each class has, and what was left out."""
    counts = [f"{label} {count:,}" for label, count in report.counts.items()]
    more = f" and {len(counts) - MOST_CLASSES:,} more classes" if len(counts) > MOST_CLASSES else ""
    say(f"By their labels in {report.out}: {', '.join(counts[:MOST_CLASSES])}{more}; new there: {report.placed:,}.")
    for line in report.notes:
        say(line)
    if report.unlabelled:
        say(f"Without labels, and so not learnt from: {report.unlabelled:,} pictures of a split.")
    if report.left_out:
        say(f"Left out, as nothing says what they show: {len(report.left_out):,}, such as {report.left_out[0]}.")


def since_split_in_words(found: SinceSplit) -> str:
    """What has become of a dataset's pictures since its split was made; "" where nothing has."""
    parts = [
        f"{found.new:,} {'picture is' if found.new == 1 else 'pictures are'} new" if found.new else "",
        f"{found.gone:,} of the split {'has' if found.gone == 1 else 'have'} gone" if found.gone else "",
    ]
    return ", ".join(part for part in parts if part)
