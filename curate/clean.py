"""Facts → plan → quarantine: which pictures leave a dataset, and why.

The plan says for each picture that leaves what is wrong with it and, for a copy, which picture stays in its place
and why that one. Nothing is deleted: `curate.quarantine` moves the files and can bring each of them back.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from curate.catalog import Catalog, Picture
from curate.dataset import SPLITS, Dataset, natural_key, open_dataset
from curate.duplicates import DEFAULT_RADIUS, Cluster, NearDuplicates, clusters, find_near_duplicates
from curate.inspect import ScanReport, scan
from curate.progress import Progress, silent
from curate.quarantine import Decision, finish_moves, pending, set_aside

REASONS = ("broken", "duplicate", "leak", "conflict")
"""Why a picture leaves: no pixels; a better copy in the same split; a copy in a split that must stay apart from this
one; a copy under another label, where both leave, because nobody knows which label is right.
"""


@dataclass(frozen=True)
class Leak:
    """One picture in two splits: the paths of both copies."""

    first: str
    second: str


@dataclass(frozen=True)
class Plan:
    """What is to leave, in order of path, and what was found leaking across the splits that are there."""

    decisions: list[Decision]
    leaks: list[Leak]


@dataclass(frozen=True)
class CleanReport:
    """`moved` counts what this run set aside; `resumed`, moves that an interrupted run had left undone."""

    dataset: Dataset
    scan: ScanReport
    plan: Plan
    moved: int
    resumed: int


def clean(
    root: Path, *, dry_run: bool = False, radius: int = DEFAULT_RADIUS, progress: Progress = silent
) -> CleanReport:
    """Scan a dataset, plan what leaves it and, unless `dry_run`, move that to the quarantine.

    Safe to stop at any instant: the whole plan is on record before the first file moves, and the next run carries
    it to its end. Raises `UserError` for what the user can put right.
    """
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        resumed = 0 if dry_run else finish_moves(dataset, catalog)
        scanned = scan(dataset, catalog, progress)
        plan = make_plan(dataset, catalog, radius, progress)
        moved = 0
        if not dry_run and plan.decisions:
            run = datetime.now(UTC).isoformat(timespec="seconds")
            moved = set_aside(dataset, catalog, plan.decisions, run, progress)
        return CleanReport(dataset, scanned, plan, moved, resumed)


def make_plan(dataset: Dataset, catalog: Catalog, radius: int = DEFAULT_RADIUS, progress: Progress = silent) -> Plan:
    """Decide from the catalog what leaves. Moves that an interrupted run left undone are decided already."""
    decided = {decision.path: decision for decision in pending(catalog)}
    pictures = [picture for picture in catalog.pictures() if picture.path not in decided]
    sources, placed = part_placements(pictures)
    decisions = [_broken(picture) for picture in sources if picture.broken]
    intact = [picture for picture in sources if not picture.broken]
    found = find_near_duplicates(dataset.root, intact, radius, progress)
    credited = catalog.credited()
    for cluster in clusters(found, lambda position: _rank(intact[position], credited)):
        decisions += _judge(cluster, intact, credited)
    decisions += [
        replace(decision, path=copy, detail=f"placed copy of {decision.path}: {decision.detail}")
        for decision in decisions
        for copy in placed.get(decision.path, ())
    ]
    everything = sorted([*decided.values(), *decisions], key=lambda decision: natural_key(decision.path))
    return Plan(everything, find_leaks(found, intact))


def part_placements(pictures: Sequence[Picture]) -> tuple[list[Picture], dict[str, list[str]]]:
    """Tell pictures from the copies of them that `split` has placed.

    A file in a split folder whose bytes and label are those of a picture below `raw/` is that picture once more,
    not a duplicate. Returns the pictures proper, and for each raw path the paths where it is placed.
    """
    raw = {(picture.sha256, picture.label): picture.path for picture in pictures if not picture.split}
    sources, placed = [], defaultdict(list)
    for picture in pictures:
        origin = raw.get((picture.sha256, picture.label)) if picture.split else None
        if origin is None:
            sources.append(picture)
        else:
            placed[origin].append(picture.path)
    return sources, dict(placed)


def find_leaks(found: NearDuplicates, pictures: Sequence[Picture]) -> list[Leak]:
    """Every pair of near-duplicates that lies in two different splits."""
    leaks = []
    for positions in found.contents:
        leaks += _across(positions, positions, pictures)
    for first, second, _ in found.verified():
        leaks += _across(found.contents[first], found.contents[second], pictures)
    return leaks


def _across(some: list[int], others: list[int], pictures: Sequence[Picture]) -> list[Leak]:
    return [
        Leak(pictures[a].path, pictures[b].path)
        for a in some
        for b in others
        if pictures[a].split and pictures[b].split and (some is not others or a < b)
        and pictures[a].split != pictures[b].split
    ]  # fmt: skip


def _broken(picture: Picture) -> Decision:
    return Decision(picture.path, picture.sha256, "broken", picture.broken)


def _rank(picture: Picture, credited: set[str]) -> tuple[object, ...]:
    """Best first: held-out splits stay as they are; then resolution, credit, the least compressed, the first name."""
    split = ("test", "valid", "train", "").index(picture.split)
    pixels = picture.width * picture.height
    return (split, -pixels, picture.sha256 not in credited, -picture.size, natural_key(picture.path))


def _judge(cluster: Cluster, pictures: Sequence[Picture], credited: set[str]) -> list[Decision]:
    keeper = pictures[cluster.keeper]
    copies = [pictures[position] for position in cluster.duplicates]
    if {copy.label for copy in copies} != {keeper.label}:
        return _conflict([keeper, *copies], (0, *cluster.distances))
    return [
        Decision(
            copy.path,
            copy.sha256,
            "leak" if copy.split and keeper.split and copy.split != keeper.split else "duplicate",
            f"{_sameness(copy, keeper, distance)}; that one stays: {_why(keeper, copy, credited)}",
            keeper.path,
            distance,
        )
        for copy, distance in zip(copies, cluster.distances, strict=True)
    ]


def _conflict(members: list[Picture], distances: tuple[int, ...]) -> list[Decision]:
    labels = sorted({member.label for member in members}, key=natural_key)
    listed = ", ".join(f"“{label}”" for label in labels)
    decisions = []
    for member, distance in zip(members, distances, strict=True):
        other = next(other for other in members if other.label != member.label)
        detail = f"one picture under the labels {listed}: also {other.path}"
        decisions.append(Decision(member.path, member.sha256, "conflict", detail, "", distance))
    return decisions


def _sameness(copy: Picture, keeper: Picture, distance: int) -> str:
    if copy.sha256 == keeper.sha256:
        return f"the same bytes as {keeper.path}"
    return f"the same picture as {keeper.path} (pHash {distance} of 64 bits apart)"


def _why(keeper: Picture, copy: Picture, credited: set[str]) -> str:
    """The first point of `_rank` in which the keeper wins, in words."""
    if keeper.split != copy.split:
        return f"it is in {keeper.split}" if keeper.split in SPLITS else "it came first"
    if keeper.width * keeper.height != copy.width * copy.height:
        return f"it is larger ({keeper.width} × {keeper.height} against {copy.width} × {copy.height})"
    if (keeper.sha256 in credited) != (copy.sha256 in credited):
        return "its source is known"
    if keeper.size != copy.size:
        return f"it is less compressed ({keeper.size:,} bytes against {copy.size:,})"
    return "its name comes first"
