"""What is asked of a person: of each queue its pictures, and why each of them is in it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from curate.catalog import Catalog
from curate.catalog.overview import Flagged, count_changed_since, flagged, phashes_of
from curate.cleaning.audit_scores import AUDIT_FILE, AuditedPicture, read_scores
from curate.cleaning.plan import PlanLine
from curate.cleaning.suspects import IRRELEVANT, MISLABELLED, speaks_of, suspicion_in_words
from curate.dataset import UNLABELLED
from curate.decisions import COPY_CAUSES
from curate.defaults import DEFAULT_RADIUS, SUSPECT
from curate.errors import UserError
from curate.phash import pairs_within
from curate.plurals import with_noun
from curate.quality import CHECKS
from pages.review.gallery import NO_NUMBER, ReviewGallery

PROPOSALS: Final = "proposals"
QUARANTINE: Final = "quarantine"
ALL: Final = "all"
OUTLIER: Final = "outlier"

ODD: Final = 0.9
"""The outlier score from which on a picture is shown to a person: nine tenths of its class lie nearer to the class."""

TITLES: Final[Mapping[str, str]] = {
    PROPOSALS: "All proposals",
    "broken": "Broken files",
    "duplicate": "Copies",
    "leak": "Leaks between splits",
    "conflict": "One picture, two labels",
    "quality": "Poor quality",
    IRRELEVANT: "Shows no class",
    MISLABELLED: "Wrong label",
    OUTLIER: "Odd for its class",
    QUARANTINE: "Set aside",
    ALL: "All pictures",
}
"""Queue → what it is called, in their order."""

_PLANNED: Final = ("broken", "duplicate", "leak", "conflict")
_FLAGS: Final = tuple(check.flag for check in CHECKS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture in one queue, by its number.

    `reason` is "" for a picture that is shown beside others and that nothing is proposed for; `causes` are all that its
    keeping would answer. `score` is greater the surer the program is. `keeper` is the number of the copy that stays,
    `cluster` the name of the copies that belong together.
    """

    number: int
    reason: str = ""
    causes: tuple[str, ...] = ()
    score: float | None = None
    detail: str = ""
    proposed: str = ""
    keeper: int = NO_NUMBER
    cluster: str = ""
    distance: int = -1
    verdict: str = ""


@dataclass(frozen=True)
class Queue:
    """The entries of one queue; those of one cluster follow each other, and first comes the copy that stays."""

    name: str
    entries: Sequence[Entry]

    @cached_property
    def of_picture(self) -> Mapping[int, Entry]:
        """Number → its entry; of several the one that proposes something."""
        found: dict[int, Entry] = {}
        for entry in self.entries:
            if entry.reason or entry.number not in found:
                found[entry.number] = entry
        return found

    @cached_property
    def proposing(self) -> int:
        """How many entries propose something or, in a queue without proposals, how many there are."""
        return (
            sum(bool(entry.reason) for entry in self.entries)
            if self.name not in (QUARANTINE, ALL)
            else len(self.entries)
        )

    @cached_property
    def scores(self) -> tuple[float, float] | None:
        """The lowest and the highest score; None in a queue without scores."""
        found = [entry.score for entry in self.entries if entry.score is not None]
        return (min(found), max(found)) if found else None

    @cached_property
    def clusters(self) -> Mapping[str, list[Entry]]:
        """The name of each cluster → its entries; none in the queue of all proposals, which has each picture alone."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries if self.name != PROPOSALS else ():
            if entry.cluster:
                found[entry.cluster].append(entry)
        return found


@dataclass(frozen=True)
class ReviewedPlan:
    """What the queues are made of: the lines of a plan, and where they stand; with what there is to say about them."""

    lines: Sequence[PlanLine]
    file: Path | None = None
    notes: list[str] = field(default_factory=list)


def build_queues(
    gallery: ReviewGallery, catalog: Catalog, findings: ReviewedPlan
) -> tuple[dict[str, Queue], list[str]]:
    """All queues, and what is to be said about them, in sentences."""
    notes = [*findings.notes]
    planned, gone = _planned(gallery, catalog, findings.lines)
    if findings.file is not None:
        notes += _age(catalog, findings.file, gone)
    audited = _audited(gallery, notes)
    poor = _poor(gallery, flagged(catalog))
    queues = {name: planned.get(name, []) for name in _PLANNED}
    for name, found in {"quality": poor, **audited}.items():
        proposed = planned.get(name, [])
        numbers = {entry.number for entry in proposed}
        queues[name] = sorted(
            [*proposed, *(entry for entry in found if entry.number not in numbers)], key=lambda entry: entry.number
        )
    seen: dict[int, Entry] = {}
    for entries in queues.values():
        for entry in entries:
            if entry.reason:
                seen.setdefault(entry.number, entry)
    first = [seen[number] for number in sorted(seen)]
    aside = [_from_quarantine(gallery, number) for number in range(gallery.present, len(gallery))]
    everything = [Entry(number) for number in range(gallery.present)]
    named = {PROPOSALS: first, **queues, QUARANTINE: aside, ALL: everything}
    return {name: Queue(name, named[name]) for name in TITLES}, notes


def _age(catalog: Catalog, file: Path, gone: int) -> list[str]:
    try:
        changed = count_changed_since(catalog, file.stat().st_mtime_ns)
    except OSError:
        return []
    said = []
    if gone:
        lines = "line of the plan is about a picture that has", "lines of the plan are about pictures that have"
        left = "is" if gone == 1 else "are"
        said.append(f"{with_noun(gone, *lines)} gone or changed since, and {left} left out.")
    if changed:
        said.append(
            f"{with_noun(changed, 'picture is', 'pictures are')} newer than the plan {file.name}, and may be proposed "
            "for nothing yet: `clean --dry-run` makes a new one."
        )
    return said


def _planned(gallery: ReviewGallery, catalog: Catalog, lines: Sequence[PlanLine]) -> tuple[dict[str, list[Entry]], int]:
    """Queue → its entries, of a plan; and how many of its lines are about no picture that is there."""
    found: dict[str, list[Entry]] = defaultdict(list)
    gone = 0
    for line in lines:
        decision = line.decision
        number = gallery.number_at.get(decision.path)
        if number is None or gallery.contents[decision.path] != decision.sha256:
            gone += 1
            continue
        if decision.path in gallery.origin and decision.detail.startswith(
            f"placed copy of {gallery.origin[decision.path]}"
        ):
            continue  # it leaves with the picture that it is a copy of
        queue = decision.reason
        if queue in _FLAGS or queue not in (*_PLANNED, IRRELEVANT, MISLABELLED):
            queue = "quality"
        keeper = gallery.number_at.get(decision.keeper, NO_NUMBER) if decision.keeper else NO_NUMBER
        score = 1 - decision.distance / 64 if decision.distance >= 0 else None
        into = gallery.dataset.label_in(decision.move_to) if decision.move_to else ""
        found[queue].append(
            Entry(
                number, decision.reason, (decision.reason,), score, decision.detail, into,
                keeper if keeper != number else NO_NUMBER, "", decision.distance, decision.verdict,
            )
        )  # fmt: skip
    for name in COPY_CAUSES & found.keys():
        found[name] = _clustered(gallery, catalog, found[name])
    return found, gone


def _clustered(gallery: ReviewGallery, catalog: Catalog, entries: Sequence[Entry]) -> list[Entry]:
    """The entries with the copies that stay, cluster by cluster in order of their first pictures."""
    kept = {entry.keeper for entry in entries} - {NO_NUMBER}
    alone = [entry for entry in entries if entry.keeper == NO_NUMBER]
    groups = _alike(gallery, catalog, alone)
    clusters: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        clusters[groups[entry.number] if entry.keeper == NO_NUMBER else entry.keeper].append(entry)
    arranged = []
    for first in sorted(clusters):
        members = sorted(clusters[first], key=lambda entry: entry.number)
        name = gallery.ids[first]
        if first in kept and all(entry.number != first for entry in members):
            arranged.append(Entry(first, cluster=name))
        arranged += [replace(entry, cluster=name) for entry in members]
    return arranged


def _alike(gallery: ReviewGallery, catalog: Catalog, entries: Sequence[Entry]) -> dict[int, int]:
    """Number → the least number of the pictures that hang together with it, where no copy stays and none is named."""
    leader = {entry.number: entry.number for entry in entries}
    hashes = phashes_of(catalog, (gallery.pictures[number].path for number in leader))
    numbers = [number for number in leader if gallery.pictures[number].path in hashes]
    if len(numbers) < 2:
        return leader

    pairs = pairs_within(
        np.array([hashes[gallery.pictures[number].path] for number in numbers], np.uint64), DEFAULT_RADIUS
    )
    least = list(range(len(pairs.unique)))

    def first(place: int) -> int:
        while least[place] != place:
            least[place] = place = least[least[place]]
        return place

    for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((first(one), first(other)))
        least[high] = low
    groups: dict[int, int] = {}
    for number, place in sorted(zip(numbers, pairs.inverse.tolist(), strict=True)):
        leader[number] = groups.setdefault(first(place), number)
    return leader


def _poor(gallery: ReviewGallery, flags: Mapping[str, list[Flagged]]) -> list[Entry]:
    """The pictures that fail a check of quality, by the check that they fail worst."""
    found = []
    for number in range(gallery.present):
        failed = flags.get(gallery.pictures[number].path)
        if failed:
            worst = min(failed, key=lambda one: one.score / one.threshold)
            detail = "; ".join(f"{one.means} (score {one.score:g}, below {one.threshold:g})" for one in failed)
            sure = 1 - worst.score / worst.threshold
            found.append(Entry(number, worst.flag, tuple(one.flag for one in failed), round(sure, 4), detail))
    return found


def _audited(gallery: ReviewGallery, notes: list[str]) -> dict[str, list[Entry]]:
    """What the audit on record suspects of pictures that are as they were then, the surest first within each queue."""
    found: dict[str, list[Entry]] = {IRRELEVANT: [], MISLABELLED: [], OUTLIER: []}
    for number, line in sorted(audited_pictures(gallery, notes).items()):
        if line.irrelevant >= SUSPECT:
            detail = suspicion_in_words(line, IRRELEVANT)
            found[IRRELEVANT].append(Entry(number, IRRELEVANT, (IRRELEVANT,), line.irrelevant, detail))
        if line.mislabelled >= SUSPECT:
            detail = suspicion_in_words(line, MISLABELLED)
            found[MISLABELLED].append(
                Entry(number, MISLABELLED, (MISLABELLED,), line.mislabelled, detail, line.proposed)
            )
        if line.outlier >= ODD:
            detail = f"{line.outlier:.0%} of {line.label} lie nearer to the class"
            found[OUTLIER].append(Entry(number, OUTLIER, (OUTLIER,), line.outlier, detail))
    return found


def audited_pictures(gallery: ReviewGallery, notes: list[str] | None = None) -> dict[int, AuditedPicture]:
    """Number → what the audit on record says of a picture; nothing where there was none. `notes` gets what is odd."""
    file = gallery.dataset.home / AUDIT_FILE
    try:
        lines = read_scores(file) if file.exists() else []
    except UserError as error:
        if notes is not None:
            notes.append(str(error))
        return {}
    found = dict[int, AuditedPicture]()
    stale = 0
    for line in lines:
        number = gallery.number_at.get(line.path)
        if (
            number is None
            or gallery.pictures[number].label == UNLABELLED
            or not speaks_of(line, gallery.pictures[number])
        ):
            stale += 1
        else:
            found.setdefault(number, line)
    if stale and notes is not None:
        have = with_noun(stale, "picture of the audit has", "pictures of the audit have")
        left = "is" if stale == 1 else "are"
        notes.append(f"{have} gone, changed or moved since, and {left} left out: `audit` judges anew.")
    return found


def _from_quarantine(gallery: ReviewGallery, number: int) -> Entry:
    file = gallery.stored[number]
    return Entry(number, file.reason, (file.reason,), detail=file.detail)


def own_proposals(queues: Mapping[str, Queue], number: int) -> Iterator[Entry]:
    """What is proposed for a picture, in the order of the queues."""
    for name, queue in queues.items():
        if name not in (PROPOSALS, QUARANTINE, ALL):
            entry = queue.of_picture.get(number)
            if entry is not None and entry.reason:
                yield entry
