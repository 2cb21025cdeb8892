"""The report as one HTML file: its sections, the pictures in them, their credits, and a policy that allows no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from markupsafe import Markup

from curate.catalog.credits import Credit
from curate.errors import UserError
from curate.files.ours import is_signed, require_ours, signed, write_ours
from curate.files.reading import sha256_of
from curate.program import __version__
from curate.progress import Progress, silent
from pages.html import hash_source, html, static_text
from pages.report.blocks import PictureGallery, ReportSection, ShownPicture
from pages.report.data_sections import data_sections
from pages.report.findings import ReportFindings
from pages.report.model_sections import model_sections
from pages.report.said import SaidByCommand
from pages.report.thumbnails import make_thumbnails
from pages.report.written import WrittenReport

_STYLES: Final = ("base.css", "report.css")
_SCRIPT: Final = "report.js"
_ENDINGS: Final = {".html", ".htm"}


@dataclass(frozen=True)
class ReportTile:
    """One figure that stands at the top."""

    name: str
    value: str
    remark: str = ""


@dataclass
class _Credits:
    """The credits of pictures that are shown, numbered in the order in which they are first shown."""

    known: Mapping[str, Credit]
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, sha256: str) -> int:
        """The number of a picture's credit; 0 where it has none on record."""
        if sha256 not in self.known:
            return 0
        return self.numbers.setdefault(sha256, len(self.numbers) + 1)

    def listed(self) -> list[tuple[int, Credit]]:
        """Each with its number."""
        return [(number, self.known[sha256]) for sha256, number in self.numbers.items()]


def require_report_place(out: Path, found: Path, *, force: bool = False) -> None:
    """Raise `UserError` where no report can go: no name of an HTML file, among the pictures, or in the place of what
    somebody else wrote, unless `force`. `found` is the dataset's folder.
    """
    from curate.dataset import open_dataset

    if out.suffix.lower() not in _ENDINGS:
        raise UserError(f"{out} does not end in .html, which is what a report is: give it another name.")
    dataset = open_dataset(found)
    kept = [(dataset.root / folder.path).resolve() for folder in dataset.folders()]
    if any(out.resolve().is_relative_to(folder) for folder in (*kept, dataset.quarantine.resolve())):
        raise UserError(f"{out} is a place of pictures: name a file elsewhere with --out.")
    require_ours(out, known=_known(out), force=force)


def write_report(
    found: ReportFindings,
    said: Mapping[str, SaidByCommand],
    out: Path,
    *,
    force: bool = False,
    progress: Progress = silent,
) -> WrittenReport:
    """Write the report of what was gathered, whole or not at all; `said` has what the commands say of each stage.

    The last line tells whether the file is still as it was written: any other is not replaced, unless `force`. Raises
    `UserError` as `require_report_place` does, and where the file cannot be written.
    """
    require_report_place(out, found.root, force=force)
    sections = [*data_sections(found, said), *model_sections(found, said)]
    shown = _pictures(sections)
    thumbnails, left_out = make_thumbnails([picture.file for picture in shown if picture.file is not None], progress)
    credits_ = _Credits(found.credits)
    for picture in shown:
        credits_.number(picture.sha256)
    style, script = "".join(map(static_text, _STYLES)), static_text(_SCRIPT)
    text = html(
        "report.html",
        policy=_policy(style, script), style=Markup(style), script=Markup(script),  # noqa: S704 - files of ours
        title=f"Report of {found.root.name or found.root.resolve().name}", folder=str(found.root),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", version=__version__, tiles=_tiles(found), sections=sections,
        thumbnails=thumbnails, credit_number=credits_.number, credits=credits_.listed(), web=_web, shown=len(shown),
        uncredited=sum(not credits_.number(picture.sha256) for picture in shown), pictures=found.different,
        left_out=left_out,
    )  # fmt: skip
    data = signed(text)
    write_ours(out, data, known=_known(out), force=force)
    return WrittenReport(out, len(data.encode()), len(shown), found.different, left_out)


def _pictures(sections: Sequence[ReportSection]) -> list[ShownPicture]:
    return [
        picture
        for section in sections
        for block in section.blocks
        if isinstance(block, PictureGallery)
        for group in block.groups
        for picture in group.pictures
    ]


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style, this script and pictures in the page; nothing from anywhere."""
    return (
        f"default-src 'none'; img-src data:; style-src {hash_source(style)}; script-src {hash_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _web(url: str) -> str:
    """An address that a link may lead to: one of the web, or ""."""
    return url if url.startswith(("http://", "https://")) else ""


def _tiles(found: ReportFindings) -> list[ReportTile]:
    tiles = [
        ReportTile("pictures", f"{found.different:,}", "no two alike to the byte"),
        ReportTile("classes", f"{len(found.counts):,}"),
    ]
    for proof in found.verified.splits:
        counted = ", ".join(f"{count:,} {split}" for split, count in proof.counts.items())
        tiles.append(ReportTile("split", f"{sum(proof.counts.values()):,}", counted))
    if found.set_aside:
        tiles.append(ReportTile("set aside", f"{len(found.set_aside):,}", "in the quarantine"))
    flagged = sum(found.cleaning.flagged.values())
    tiles.append(ReportTile("quality flags", f"{flagged:,}", "by file, placed copies too"))
    if found.audit is not None:
        tally = found.audit.tally
        tiles.append(ReportTile("suspects", f"{tally.irrelevant + tally.mislabelled:,}", "by the audit"))
    tiles += [ReportTile("pairs that leak", f"{len(one.leaks):,}", "across splits") for one in found.verified.splits]
    if found.model is not None and found.model.figures is not None:
        figures = found.model.figures
        interval = figures.accuracy.interval
        tiles.append(
            ReportTile(
                f"right on {figures.split or 'all'}", f"{figures.accuracy.percent()}%",
                f"95% interval {interval.low:.1%} to {interval.high:.1%}",
            )
        )  # fmt: skip
    return tiles


def _known(out: Path) -> str | None:
    try:
        return sha256_of(out) if out.is_file() and is_signed(out) else None
    except OSError:
        return None
