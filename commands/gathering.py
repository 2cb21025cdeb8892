"""scrape, download: pictures from the web, with their credits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import console, scraping_reports
from commands.options import Wait, judge_of, patience
from commands.report_lines import MOST_ROWS
from commands.shell import command_line
from curate.defaults import (
    DEFAULT_DATA,
    DEFAULT_LICENSES,
    DEFAULT_LIMIT,
    DEFAULT_MIN_SIZE,
    DEFAULT_MODELS,
    DEFAULT_OFFICIAL,
    DEFAULT_SOURCES,
    OfficialSplit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMED = 20


def scrape(
    out: Annotated[Path, typer.Option(help="The dataset to add to; new pictures go below its raw/.")] = DEFAULT_DATA,
    *,
    names: Annotated[Path | None, typer.Option(help="JSON: class folder → [name, query].  [default: Oxford's]")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these, by folder or name: 1,5,moon orchid")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pictures wanted per class.")] = DEFAULT_LIMIT,
    source: Annotated[
        list[str] | None, typer.Option(help=f"auto, or a source by name; repeatable.  [default: {DEFAULT_SOURCES[0]}]")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="open, codes such as by,by-sa, or any.")
    ] = DEFAULT_LICENSES,
    min_size: Annotated[int, typer.Option(min=1, help="Pixels of the shorter side.")] = DEFAULT_MIN_SIZE,
    per_author: Annotated[
        int | None,
        typer.Option(
            min=0, help="Most pictures of a class by one author; 0: any.  [default: a fifth, while others last]"
        ),
    ] = None,
    specimens: Annotated[bool, typer.Option("--specimens", help="Herbarium sheets and other dead ones too.")] = False,
    contact: Annotated[
        str, typer.Option(envvar="FLORILEGIUM_CONTACT", help="Your address, for the services to write to; kept.")
    ] = "",
    ignore_robots: Annotated[bool, typer.Option("--ignore-robots", help="Fetch what robots.txt forbids.")] = False,
    ignore_noai: Annotated[
        bool, typer.Option("--ignore-noai", help="Fetch what is marked noai, noimageai or noindex.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a CREDITS.md and metadata.csv that scrape did not write.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List URLs and licences; fetch nothing.")] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Judge what came by a network; suspects go to the quarantine.")
    ] = False,
    backbone: Annotated[
        str | None, typer.Option(help="With --audit: the network that judges.  [default: the checkpoint's]")
    ] = None,
    models: Annotated[Path, typer.Option(help="With --audit: the folder of checkpoints and bank/.")] = DEFAULT_MODELS,
    wait: Wait = False,
) -> None:
    """Find more pictures per class on the web, with their credits.

    Polite, and resumable: stopped at any time, the same command goes on. Openly licensed pictures
    only, unless --license says otherwise.

    Sources: openverse, wikimedia, commons_category, inaturalist, gbif, flickr, pexels, pixabay,
    unsplash, duckduckgo, google, inaturalist_open_data, gbif_download:FILE, hf:DATASET,
    urls:FILE, folder:DIR.

    In a pipe, --dry-run gives a line of JSON for each candidate, which `--source urls:FILE.jsonl` takes.

    Example: cli.py scrape --classes "fire lily,21" --limit 50
    """
    from curate.scraping.contact import contact_wanted, known_contact
    from curate.scraping.scrape_options import ScrapeOptions, chosen_sources, plan_queries, warnings_for
    from curate.sources.protocol.licenses import allowed_licenses
    from curate.web.network import Network

    queries = plan_queries(names, classes)
    options = ScrapeOptions(limit, allowed_licenses(license_), min_size, per_author, specimens, ignore_noai)
    sources = tuple(source or DEFAULT_SOURCES)
    contact = known_contact(out, contact)
    asked_for = contact_wanted(chosen_sources(sources, os.environ, options), contact)
    for warning in [*warnings_for(sources, os.environ, options), *filter(None, [asked_for])]:
        console.heading(f"Note on {warning}")
    network = Network(contact=contact, obey_robots=not ignore_robots, obey_robots_tag=not ignore_noai)
    if dry_run:
        from curate.scraping.preview import preview

        shown = preview(out, queries, options, sources=sources, network=network, progress=console.bars)
        if not sys.stdout.isatty():
            scraping_reports.piped_preview(shown, {query.label: query.name for query in queries})
        else:
            scraping_reports.scrape_preview(shown)
        if shown.problems and not shown.listed:
            console.note("Nothing would be tried: no source gave a picture. See what it says above, and try others.")
            raise typer.Exit(1)
        console.note(
            f"Nothing was fetched: {len(shown.listed):,} pictures would be tried. Next: the same without --dry-run"
        )
        return
    from curate.scrape import scrape as run_scrape

    before = _present_before_an_audit(out, [query.label for query in queries], options.limit) if audit else frozenset()
    known = {query.label: query.name for query in plan_queries(names)}
    report = run_scrape(
        out, queries, options, sources=sources, network=network, names=known, force=force, wait=patience(wait),
        progress=console.bars, say=console.heading,
    )  # fmt: skip
    scraping_reports.scraping(report)
    if audit and report.new:
        _audit(out, before, backbone, models, wait=wait)
    if report.new:
        credited = f"credited in {report.credits}. Next: {command_line('clean', out)}"
        console.say(f"Brought {_pictures(report.new)} into {out}, {credited}")
    else:
        console.say(f"Brought no picture into {out}.")
    if report.problems and not report.new:
        raise typer.Exit(1)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _present_before_an_audit(out: Path, labels: Sequence[str], limit: int) -> frozenset[str]:
    """The pictures that are there, before any is fetched; raises UserError where nothing could be judged."""
    from train.audited_scrape import present_paths, require_judges

    require_judges(out, labels, limit)
    return present_paths(out)


def _audit(out: Path, before: frozenset[str], backbone: str | None, models: Path, *, wait: bool) -> None:
    """Judge the pictures that came, and say what was set aside."""
    from train.audit import AuditOptions
    from train.audited_scrape import set_aside_suspects

    checkpoint = None
    if backbone is None:
        backbone, checkpoint = judge_of(out, models)
    options = AuditOptions(backbone=backbone or "", checkpoint=checkpoint, models=models)
    audited = set_aside_suspects(out, before, options, wait=patience(wait), progress=console.bars)
    for decision in audited.set_aside[:MOST_ROWS]:
        console.say(f"Set aside: {decision.path}: {decision.detail}")
    count = len(audited.set_aside)
    if not count:
        console.say("Of what came nothing is suspected.")
        return
    suspects = "1 picture is a suspect and lies" if count == 1 else f"{count:,} pictures are suspects and lie"
    back = command_line("restore", out, "--run", "last")
    console.say(f"Of what came {suspects} in the quarantine; to take it back: {back}.")


def download(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="flowers102, flower-photos, landmarks, an archive's URL or file.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="A new or empty folder; a README.md may be there.")] = DEFAULT_DATA,
    split: Annotated[
        OfficialSplit, typer.Option(help="Of flowers102: 1,020/1,020/6,149, or 6,552/818/819.")
    ] = DEFAULT_OFFICIAL,
    wait: Wait = False,
) -> None:
    """Fetch a public dataset, checked, as train/, valid/, test/.

    An archive that was fetched once and handed round, as in a classroom, is laid out without a network.

    A broken transfer resumes: run the same command again.

    Example: cli.py download flowers102 --split udacity
    """
    from curate.download import download as run_download

    report = run_download(what, out, split=split, wait=patience(wait), progress=console.bars)
    counts = ", ".join(f"{count:,} in {name}" for name, count in report.counts.items())
    how = "checked against its published digest" if report.verified else "no digest of it is published"
    for said, files in (("Renamed, as its name was taken or too long", report.renamed), ("No picture", report.dropped)):
        for file in files[:MOST_NAMED]:
            console.say(f"{said}: {file}")
        if len(files) > MOST_NAMED:
            console.say(f"… and {len(files) - MOST_NAMED:,} more.")
    drawn = "; it came without a split, so one was drawn" if report.drawn else ""
    console.say(f"Laid out {counts} ({how}{drawn}) in {out}. Next: {command_line('clean', out, '--dry-run')}")
