"""What a report says of pictures: classes, origins, what was set aside, quality, suspects, the proof of the split."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from curate.catalog import Picture
from curate.cleaning.audit_scores import AuditedPicture
from curate.cleaning.audit_tally import worst_of_each_class
from curate.counts import RAW
from curate.dataset import SPLITS
from curate.defaults import SUSPECT
from curate.errors import UserError
from curate.files.inside import inside
from curate.plurals import with_noun
from curate.quality import CHECKS, Check
from curate.quarantine import Decision
from curate.shell import as_command
from curate.show import pictures_to_show
from curate.splitting.since_split import since_split
from pages.report.blocks import (
    ChartRow,
    MissingStage,
    PictureGallery,
    PictureGroup,
    ReportBlock,
    ReportSection,
    ShownPicture,
    TableBlock,
    Tone,
    Words,
)
from pages.report.charts.bars import BarRow, class_sizes, histogram, lying_bars
from pages.report.charts.svg import ChartFigure, rect
from pages.report.findings import ReportFindings, SetAsidePicture
from pages.report.said import SaidByCommand, table_of

FOLDED: Final = 16
"""Rows from which on a table is folded."""

_COLUMNS: Final = (*SPLITS, RAW)
_NAMED: Final = 24  # classes that have room for their names in the chart
_OF_A_CLASS: Final = 4
_SAMPLES: Final = 300
_PAIRS: Final = 48
_PLANNED: Final = 24
_CONFLICTS: Final = 16
_CROSSINGS: Final = 12
_WORST: Final = 6  # pictures of each quality check
_SUSPECTS: Final = 32
_NEAREST: Final = 3
_BINS: Final = 25


class PlacesOf:
    """Where pictures lie by now, and what is known of them, by their paths relative to the dataset."""

    def __init__(self, found: ReportFindings) -> None:
        self.root = found.dataset.root
        self.digests = found.digests
        self._went = {move.path: move.move_to for move in reversed(found.relabelled)}
        self._aside = {one.path: one for one in found.set_aside}
        self._sha256 = {picture.path: picture.sha256 for picture in found.pictures}

    def file(self, path: str) -> Path:
        """The file of a picture: in its place, in the class it went to, or in the quarantine."""
        if path not in self._sha256 and path in self._went:
            path = self._went[path]
        if path not in self._sha256 and path in self._aside:
            return self._aside[path].file
        return inside(self.root, path)

    def sha256(self, path: str) -> str:
        """Its content; "" where nobody knows it."""
        if path not in self._sha256 and path in self._aside:
            return self._aside[path].sha256
        return self._sha256.get(path, "") or self.digests.get(str(self.root.resolve() / path), "")

    def shown(self, path: str, *words: str, tone: Tone = "") -> ShownPicture:
        """The picture, to be drawn."""
        return ShownPicture(self.file(path), self.sha256(path), path, words, tone)


def data_sections(found: ReportFindings, said: Mapping[str, SaidByCommand]) -> list[ReportSection]:
    """The sections on the data; `said` has what the commands say: "scrape", "clean", "audit" and "verify"."""
    places = PlacesOf(found)
    return [
        ReportSection("classes", "Classes and splits", list(_classes(found))),
        ReportSection("origins", "Where the pictures come from", list(_origins(found, said))),
        ReportSection("set-aside", "What was set aside", list(_set_aside(found, places))),
        ReportSection("to-clean", "What clean would do now", list(_to_clean(found, said, places))),
        ReportSection("quality", "Quality", list(_quality(found, places))),
        ReportSection("audit", "What does not seem to belong", list(_audit(found, said, places))),
        ReportSection("split", "The split and its proof", list(_split(found, said, places))),
        ReportSection("samples", "Some pictures of each class", list(_samples(found, places))),
    ]


def shown_of(some: int, of: int, what: str) -> str:
    """How many of how many are shown."""
    return f"Shown: {some:,} of {of:,} {what}." if some < of else f"Shown: all {what} ({of:,})."


def _classes(found: ReportFindings) -> Iterator[ReportBlock]:
    columns = [split for split in _COLUMNS if any(one[split] for one in found.counts.values())]
    # What lies in raw and is placed in a split is one picture
    drawn = [split for split in columns if split != RAW] or columns
    rows = [BarRow(found.name_of(label), [one[split] for split in drawn]) for label, one in found.counts.items()]
    most = max((row.total for row in rows), default=1) or 1
    totals = [sum(one[split] for one in found.counts.values()) for split in columns]
    chart = lying_bars if len(rows) <= _NAMED else class_sizes
    yield ChartRow([chart("class-sizes", "Files of each class", rows, drawn)])
    if columns != drawn and len(drawn) < len(columns):
        yield Words(["The bars show the splits; the table counts raw too, whose pictures may be placed in one or not."])
    cells = [
        (label, found.names.get(label, label), *(f"{one[split]:,}" for split in columns))
        for label, one in found.counts.items()
    ]
    table = table_of(
        "Files of each class", ("class", "name", *columns),
        [*cells, ("all", "", *(f"{total:,}" for total in totals))], last_is_total=True,
    )  # fmt: skip
    bars = [*(_bar(row, most) for row in rows), Markup("")] if chart is class_sizes else []
    yield TableBlock(table, folded=len(rows) > FOLDED, bars=bars)


def _samples(found: ReportFindings, places: PlacesOf) -> Iterator[ReportBlock]:
    try:
        samples = pictures_to_show(
            found.dataset, found.names, count=min(_SAMPLES, _OF_A_CLASS * max(len(found.counts), 1))
        )
    except UserError as error:
        yield MissingStage(str(error))
        return
    by_class = defaultdict[str, list[ShownPicture]](list)
    for picture in samples:
        by_class[picture.label].append(places.shown(picture.path))
    groups = [PictureGroup(pictures, found.name_of(label)) for label, pictures in by_class.items()]
    words = shown_of(len(samples), found.different, "different pictures, drawn by chance, as evenly as can be")
    yield PictureGallery("Drawn by chance", groups, words, compact=True)


def _bar(row: BarRow, most: int) -> Markup:
    drawn, x = Markup(""), 0.0
    for part, count in enumerate(row.parts):
        width = 100 * count / most
        drawn += rect(x, 0, width, 10, f"s{part}")
        x += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(drawn)


def _origins(found: ReportFindings, said: Mapping[str, SaidByCommand]) -> Iterator[ReportBlock]:
    if found.yields:
        stages = ("unique", "intact", "fetched", "allowed", "found")
        sums = defaultdict[str, Counter[str]](Counter)
        for one in found.yields:
            sums[one.source].update({stage: getattr(one, stage) for stage in stages})
        series = ("kept", "held already", "broken or too small", "not fetched")
        rows = [
            BarRow(
                source,
                [
                    of["unique"], of["intact"] - of["unique"], of["fetched"] - of["intact"],
                    of["found"] - of["fetched"],
                ],
            )
            for source, of in sums.items()
        ]  # fmt: skip
        yield ChartRow([lying_bars("yield", "Candidates of each source", rows, series)], "Candidates of each source")
        yield Words(said["scrape"].lines)
        yield from (TableBlock(table, folded=len(table.rows) > FOLDED) for table in said["scrape"].tables)
    else:
        yield MissingStage("Nothing was scraped into this dataset, as far as its catalog knows.",
                           as_command("scrape", "--out", found.root))  # fmt: skip
    if found.licences:
        by_licence = Counter[str]()
        for _, licence, count in found.licences:
            by_licence[licence or "unknown"] += count
        rows = [BarRow(licence, [count]) for licence, count in by_licence.most_common()]
        table = table_of(
            "Licences", ("source", "licence", "pictures"),
            [(source, licence or "unknown", f"{count:,}") for source, licence, count in found.licences],
        )  # fmt: skip
        yield ChartRow([lying_bars("licences", "Pictures by licence", rows, table=table)], "Licences")


def _set_aside(found: ReportFindings, places: PlacesOf) -> Iterator[ReportBlock]:
    if not found.set_aside and not found.relabelled:
        yield MissingStage("Nothing lies in the quarantine: `clean` has set nothing aside, or all of it was restored.",
                           as_command("clean", found.root, "--dry-run"))  # fmt: skip
        return
    counts = Counter(one.reason for one in found.set_aside)
    rows = [BarRow(reason, [count]) for reason, count in counts.most_common()]
    if rows:
        lie = "lies" if len(found.set_aside) == 1 else "lie"
        aside = with_noun(len(found.set_aside), "picture")
        yield Words([f"In the quarantine {lie} {aside}; `restore` brings any of them back."])
        table = table_of("Set aside", ("reason", "pictures"), [(row.name, f"{row.total:,}") for row in rows])
        yield ChartRow([lying_bars("set-aside-reasons", "Pictures set aside, by reason", rows, table=table)])
    if found.relabelled:
        yield Words([f"Moved to another class: {with_noun(len(found.relabelled), 'picture')}."])
    chosen = _spread(found.set_aside, _PAIRS)
    groups = [_pair(one, places) for one in chosen]
    if groups:
        yield PictureGallery(
            "What left beside what it duplicates", groups,
            shown_of(len(groups), len(found.set_aside), "pictures that were set aside"),
        )  # fmt: skip
    moves = found.relabelled[:_PLANNED]
    if moves:
        moved = [
            PictureGroup([places.shown(move.move_to, f"lay at {move.path}")], f"{move.reason}: {move.detail}")
            for move in moves
        ]
        yield PictureGallery("What went to another class", moved, shown_of(len(moved), len(found.relabelled), "moves"))


def _spread(everything: Sequence[SetAsidePicture], most: int) -> list[SetAsidePicture]:
    """At most so many, of each reason in turn, in the order given."""
    piles = defaultdict[str, list[SetAsidePicture]](list)
    for one in everything:
        piles[one.reason].append(one)
    turns = range(max(map(len, piles.values()), default=0))
    in_turn = [pile[turn] for turn in turns for pile in piles.values() if turn < len(pile)]
    kept = {id(one) for one in in_turn[:most]}
    return [one for pile in piles.values() for one in pile if id(one) in kept]


def _pair(one: SetAsidePicture, places: PlacesOf) -> PictureGroup:
    leaves = ShownPicture(one.file, one.sha256, one.path, ("set aside",), "leaves")
    words = f"{one.reason}: {one.detail}" if one.detail else one.reason
    if not one.counterpart:
        return PictureGroup([leaves], words)
    stayed = places.sha256(one.counterpart) and one.reason != "conflict"
    other = places.shown(one.counterpart, "stays" if stayed else "left too", tone="stays" if stayed else "leaves")
    return PictureGroup([leaves, other], words)


def _to_clean(found: ReportFindings, said: Mapping[str, SaidByCommand], places: PlacesOf) -> Iterator[ReportBlock]:
    report = found.cleaning
    yield Words(said["clean"].lines or [f"Nothing to set aside among {with_noun(report.scan.files, 'file')}."])
    yield from (TableBlock(table, folded=len(table.rows) > FOLDED) for table in said["clean"].tables)
    decisions = report.plan.decisions
    if decisions:
        yield Words([f"To look at all of it: `{as_command('clean', found.root, '--dry-run')}`."])
        groups = [_planned(decision, places) for decision in decisions[:_PLANNED]]
        yield PictureGallery("What would leave", groups, shown_of(len(groups), len(decisions), "pictures of the plan"))
    conflicts = report.plan.conflicts
    if conflicts:
        pairs = [
            PictureGroup(
                [
                    places.shown(one.first, f"under {found.name_of(one.first_label)}", tone="wrong"),
                    places.shown(one.second, f"under {found.name_of(one.second_label)}", tone="wrong"),
                ],
                f"one picture under two labels, {one.distance} bits apart",
            )
            for one in conflicts[:_CONFLICTS]
        ]
        yield PictureGallery("Conflicts", pairs, shown_of(len(pairs), len(conflicts), "conflicts"))


def _planned(decision: Decision, places: PlacesOf) -> PictureGroup:
    words = f"{decision.reason}: {decision.detail}" if decision.detail else decision.reason
    shown = [places.shown(decision.path, "would leave", tone="leaves")]
    if decision.move_to:
        shown = [places.shown(decision.path, f"would go to {decision.move_to}", tone="leaves")]
    elif decision.keeper:
        shown.append(places.shown(decision.keeper, "stays", tone="stays"))
    return PictureGroup(shown, words)


def _quality(found: ReportFindings, places: PlacesOf) -> Iterator[ReportBlock]:
    judged = [picture for picture in found.pictures if picture.scores]
    broken = sum(bool(picture.broken) for picture in found.pictures)
    if not judged:
        yield MissingStage("No picture gives pixels to be judged by.", as_command("clean", found.root, "--dry-run"))
        return
    flagged = found.cleaning.flagged
    told = ", ".join(f"{count:,} {flag}" for flag, count in flagged.items())
    files = f"{with_noun(len(judged), 'file')} with pixels"
    lines = [f"Of {files} are flagged: {told}." if told else f"Of {files} none is flagged."]
    lines += [f"Files that give no pixels: {broken:,}."] if broken else []
    lines.append(
        "A flag is a hint: nothing leaves for it unless `clean --remove` names it. Scores run from 0 to 1, and lower "
        "is worse; the dashed line is the threshold."
    )
    yield Words(lines)
    scores = np.array([picture.scores for picture in judged])
    charts = [_distribution(check, scores[:, at], flagged.get(check.flag, 0)) for at, check in enumerate(CHECKS)]
    yield ChartRow(charts, "Distributions", small=True)
    for at, check in enumerate(CHECKS):
        yield from _worst(check, at, judged, flagged.get(check.flag, 0), places)


def _distribution(check: Check, scores: NDArray[np.float64], flagged: int) -> ChartFigure:
    counts = np.histogram(scores, bins=_BINS, range=(0.0, 1.0))[0].tolist()
    title = f"{check.flag}: {flagged:,} flagged"
    below = f"{flagged:,} {'lies' if flagged == 1 else 'lie'} below {check.threshold:g}"
    told = f"Scores of {with_noun(len(scores), 'file')}; {below}: {check.means}."
    drawn = histogram(
        f"quality-{check.flag}", title, counts, low=0.0, high=1.0, threshold=check.threshold, description=told
    )
    return ChartFigure(drawn.svg, f"{title} ({check.means})")


def _worst(
    check: Check, at: int, judged: Sequence[Picture], flagged: int, places: PlacesOf
) -> Iterator[PictureGallery]:
    """The pictures with the lowest scores, of those that are flagged; nothing where none is."""
    if not flagged:
        return
    below = sorted(
        (picture for picture in judged if picture.scores[at] < check.threshold),
        key=lambda picture: (picture.scores[at], picture.path),
    )
    once = list({picture.sha256: picture for picture in reversed(below)}.values())[::-1][:_WORST]
    pictures = [places.shown(picture.path, f"score {picture.scores[at]:g}") for picture in once]
    words = shown_of(
        len(pictures), flagged, f"flagged files, the lowest scores first, each content once: {check.means}"
    )
    yield PictureGallery(f"The worst: {check.flag}", [PictureGroup([one]) for one in pictures], words)


def _audit(found: ReportFindings, said: Mapping[str, SaidByCommand], places: PlacesOf) -> Iterator[ReportBlock]:
    audit = found.audit
    if audit is None:
        yield MissingStage("No audit yet.", as_command("audit", found.root))
        return
    lines = [*said["audit"].lines, f"That is what {audit.file} says."]
    if audit.stale:
        lines.append(
            f"{audit.stale:,} of its pictures have changed, gone or another class since; to judge anew: "
            f"`{as_command('audit', found.root)}`."
        )
    if audit.plan is None:
        lines.append(f"Its plan, {audit.plan_file}, is not there.")
    else:
        moving = sum(bool(line.decision.move_to) for line in audit.plan)
        lines.append(
            f"The plan {audit.plan_file} takes out {len(audit.plan) - moving:,} and gives {moving:,} another label."
        )
    yield Words(lines)
    yield from (TableBlock(table, folded=len(table.rows) > FOLDED) for table in said["audit"].tables)
    suspects = list(worst_of_each_class(audit.pictures, len(audit.pictures), without=audit.kept))
    typical = _most_typical(audit.pictures)
    groups = [_suspect(one, typical, found, places) for one in suspects[:_SUSPECTS]]
    if groups:
        yield PictureGallery(
            "Suspects beside what is nearest to them in their class", groups,
            shown_of(len(groups), len(suspects), f"with a chance of {SUSPECT:.0%} or more, the surest first"),
        )  # fmt: skip


def _most_typical(audited: Sequence[AuditedPicture]) -> dict[str, str]:
    """Class → the path of the picture to which fewest of its class are nearer, among those that belong."""
    ordered = sorted((one for one in audited if one.chance < SUSPECT), key=lambda one: (one.outlier, one.path))
    return {one.label: one.path for one in reversed(ordered)}


def _suspect(one: AuditedPicture, typical: Mapping[str, str], found: ReportFindings, places: PlacesOf) -> PictureGroup:
    shows = "none of the classes" if one.shows_no_class else found.name_of(one.proposed)
    words = f"seems to show {shows} and not {found.name_of(one.label)}, {one.chance:.1%} sure"
    nearest = [places.shown(path, f"near, of {found.name_of(one.label)}") for path in one.nearest[:_NEAREST]]
    other = typical.get(one.proposed) if not one.shows_no_class else None
    more = [places.shown(other, f"typical of {found.name_of(one.proposed)}", tone="stays")] if other else []
    return PictureGroup([places.shown(one.path, "suspect", tone="wrong"), *nearest, *more], words)


def _split(found: ReportFindings, said: Mapping[str, SaidByCommand], places: PlacesOf) -> Iterator[ReportBlock]:
    proofs = found.verified.splits
    if not proofs:
        yield MissingStage("Not split yet.", as_command("split", found.root))
    yield Words([*said["verify"].lines, *([found.verified.order_in_words] if found.verified.in_order else [])])
    since = since_split(found.dataset)
    if since.new or since.gone or since.relabelled:
        yield MissingStage("The pictures have changed since the split.", as_command("split", found.root))
    for number, proof in enumerate(proofs):
        rows = [BarRow(split, [count]) for split, count in proof.counts.items()]
        words = (
            f"Pictures that cross splits: {with_noun(len(proof.leaks), 'pair leaks', 'pairs leak')}, "
            f"{with_noun(len(proof.crossings) - len(proof.leaks), 'pair is', 'pairs are')} near and free to."
        )
        yield ChartRow([lying_bars(f"split-{number}", f"Pictures in {proof.folder}", rows, caption=words)])
        crossing = [
            PictureGroup(
                [places.shown(one.first, tone="wrong"), places.shown(one.second, tone="wrong")],
                f"{one.kind}, {one.distance} bits apart" if one.distance >= 0 else f"of one {one.kind}",
            )
            for one in [*proof.leaks, *(one for one in proof.crossings if one not in proof.leaks)][:_CROSSINGS]
        ]
        if crossing:
            yield PictureGallery(
                "What crosses splits", crossing, shown_of(len(crossing), len(proof.crossings), "pairs")
            )
