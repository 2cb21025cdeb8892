"""review: look at what is proposed, and decide, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import console
from commands.options import Bank, Data, tell_layout
from commands.shell import command_line
from curate.defaults import DEFAULT_DATA, DEFAULT_MODELS, MOST_PORT


def review(
    data: Data = DEFAULT_DATA,
    *,
    plan: Annotated[Path | None, typer.Option(help="Review this plan.  [default: the newest of `clean`]")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=MOST_PORT, help="Where it listens; 0 takes a free port.  [default: the dataset's own, if free]"
        ),
    ] = None,
    as_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who decides, on record.  [default: your login]")
    ] = None,
    models: Bank = DEFAULT_MODELS,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address, and open no browser.")] = False,
) -> None:
    """Look at what is proposed, and decide, in the browser.

    Serves one page on this machine alone. Each decision is on record in the catalog at once, and
    `clean` and `audit` keep to it. Files move when you press the button.

    Example: cli.py review flower_data --as Ada
    """
    tell_layout(data)
    from curate.decisions import person
    from pages.guard import Access, new_token
    from pages.loopback import listen, listen_again, run
    from pages.review.app import Review
    from pages.review.finding import prepare
    from pages.review.requests import MOST_BYTES, who_decides

    who = person() if as_name is None else who_decides(as_name)
    listening = listen_again(str(data.resolve())) if port is None else listen(port)
    try:
        page = Review(prepare(data, who, plan, console.bars), models / "bank")
        page.start()
    except BaseException:
        listening.close()
        raise
    token = new_token()
    address = f"{listening.url}?token={token}"

    def tell() -> None:
        console.say(f"Review {data} at {address}")
        console.say(f"Ctrl-C ends it; decisions are kept. Next: {command_line('clean', data, '--dry-run')}")

    app = page.application(Access(listening.hosts, token, MOST_BYTES))
    run(app, listening, started=tell, open_at="" if no_open else address)
