"""scrape, download: pictures from the web, with their credits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from commands import console, curation_reports
from commands.options import DEFAULT_DATA

Official = Literal["official", "udacity"]


def scrape(
    out: Annotated[Path, typer.Option(help="The dataset to add to; new pictures go below its raw/.")] = DEFAULT_DATA,
    *,
    names: Annotated[Path | None, typer.Option(help="JSON: class folder → [name, query].  [default: aux/]")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these, by folder or name: 1,5,orchid")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pictures wanted per class.")] = 100,
    source: Annotated[
        list[str] | None, typer.Option(help="auto, or a source by name; repeatable.  [default: auto]")
    ] = None,
    license_: Annotated[str, typer.Option("--license", help="open, codes such as by,by-sa, or any.")] = "open",
    min_size: Annotated[int, typer.Option(min=1, help="Pixels of the shorter side.")] = 224,
    contact: Annotated[str, typer.Option(help="An address for the services to complain to.")] = "",
    ignore_robots: Annotated[
        bool, typer.Option("--ignore-robots", help="Fetch what robots.txt asks to leave.")
    ] = False,
    ignore_robots_tag: Annotated[
        bool, typer.Option("--ignore-robots-tag", help="Keep pictures whose host says noai or noindex.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List URLs and licences; fetch nothing.")] = False,
) -> None:
    """Find more pictures per class on the web, with their credits.

    Polite, and resumable: a second run goes on where the first one was.

    Sources: openverse, wikimedia, inaturalist, gbif, flickr, duckduckgo, google, urls:FILE, folder:PATH.

    Example: cli.py scrape --classes 1,5,orchid --limit 100 --dry-run
    """
    from curate.licenses import allowed_licenses
    from curate.network import Network
    from curate.opening import warnings_for
    from curate.preview import preview
    from curate.queries import plan_queries
    from curate.scrape import scrape as run_scrape
    from curate.wish import Wish

    queries = plan_queries(names, classes)
    wish = Wish(limit, allowed_licenses(license_), min_size)
    sources = source or ["auto"]
    for warning in warnings_for(sources, os.environ, wish):
        console.heading(warning)
    network = Network(contact=contact, obey_robots=not ignore_robots, obey_robots_tag=not ignore_robots_tag)
    if dry_run:
        seen = preview(out, queries, wish, sources=sources, network=network)
        for listed in seen.listed:
            candidate = listed.candidate
            console.say(f"{listed.label}\t{listed.source}\t{candidate.license.name}\t{candidate.url}")
        curation_reports.scraping(seen.yields, seen.problems)
        console.say(f"Listed {len(seen.listed):,} pictures and fetched none. Next: the same without --dry-run")
        return
    report = run_scrape(out, queries, wish, sources=sources, network=network, progress=console.bars)
    curation_reports.scraping(report.yields, report.problems)
    console.say(f"Brought {report.new:,} new pictures into {out}; their credits are {report.credits}. "
                f"Next: cli.py clean {out}")  # fmt: skip


def download(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="flowers102, flower-photos, landmarks, or an archive's URL.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="A new or empty folder.")] = DEFAULT_DATA,
    split: Annotated[Official, typer.Option(help="Which split of flowers102.")] = "official",
) -> None:
    """Fetch a public dataset, checked, as train/, valid/, test/.

    Example: cli.py download flowers102 --split udacity
    """
    from curate.download import download as run_download

    report = run_download(what, out, split=split, progress=console.bars)
    counts = ", ".join(f"{count:,} {name}" for name, count in report.counts.items())
    checked = "its checksum agrees" if report.verified else "no checksum is published for it"
    console.say(f"Wrote {report.root}: {counts}; {checked}. Next: cli.py clean {report.root} --dry-run")
