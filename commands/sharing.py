"""import-facts: what another machine, or an earlier catalog, knew of the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console
from commands.options import Data, Wait, patience, tell_layout
from commands.report_lines import MOST_ROWS
from commands.shell import command_line
from curate.defaults import DEFAULT_DATA
from curate.files.addresses import located


def import_facts(
    data: Data = DEFAULT_DATA,
    *,
    facts: Annotated[
        Path,
        typer.Option("--from", parser=located, help="The folder that `export --format facts` wrote, or a file."),
    ],
    wait: Wait = False,
) -> None:
    """Take over what is known of the pictures, so that they need not be decoded again.

    A file's facts are taken where it is proved to be the one they were told of, by what the disk says of it or by its
    bytes; and of each few thousand some pictures are decoded all the same. Nothing is taken of facts that are not true.

    Example: cli.py import-facts flower_data --from flower_data_facts
    """
    from curate.facts import import_facts as run

    tell_layout(data)
    report = run(data, facts, wait=patience(wait), progress=console.bars)
    for refused in report.refused[:MOST_ROWS]:
        console.say(f"Not taken: {refused.path}: {refused.reason}")
    if len(report.refused) > MOST_ROWS:
        console.say(f"… and {len(report.refused) - MOST_ROWS:,} more.")
    said = [f"{report.known:,} were known already"] if report.known else []
    said += [f"{report.elsewhere:,} are not there"] if report.elsewhere else []
    said += [f"{len(report.refused):,} are other pictures now"] if report.refused else []
    more = f"; {', '.join(said)}" if said else ""
    console.say(
        f"Took the facts of {report.taken:,} pictures ({report.by_stamp:,} proved by their stamps, {report.decoded:,} "
        f"decoded as a sample){more}. Next: {command_line('clean', data, '--dry-run')}"
    )
