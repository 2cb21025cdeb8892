"""Which entries of a queue are shown, and in which order."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from curate.dataset import natural_key
from pages.review.gallery import ReviewGallery
from pages.review.queues import Entry, Queue

Listing = list[Entry]

Sort = Literal["", "score", "path", "class", "size"]
State = Literal["open", "decided", "any"]

SORTS: Final = ("score", "path", "class", "size")
STATES: Final = ("open", "decided", "any")


@dataclass(frozen=True)
class Wanted:
    """What is asked for: "" or None for all. `text` is a part of a path, without regard to case.

    `least` and `most` bound the score, from 0 to 1, as it is shown, which is in two decimals; with either, what has no
    score is left out.
    """

    label: str | None = None
    split: str | None = None
    reason: str = ""
    source: str = ""
    licence: str = ""
    least: float | None = None
    most: float | None = None
    state: str = "any"
    text: str = ""
    sort: str = ""
    descending: bool = False


def arrange(
    queue: Queue, gallery: ReviewGallery, wanted: Wanted, decided: AbstractSet[int], chosen: AbstractSet[int]
) -> Listing:
    """The entries that are wanted. A cluster stays together and keeps the copy that stays, which comes first.

    `decided` are the pictures that have a decision, `chosen` those that a person has chosen to stay.
    """
    entries = [entry for entry in queue.entries if _is_wanted(entry, gallery, wanted, decided)]
    if not queue.clusters:
        return _sorted(entries, gallery, wanted)
    shown = {entry.cluster for entry in entries if entry.reason or wanted.state == "decided"}
    in_clusters = [entry for entry in queue.entries if entry.cluster in shown]
    passing = {entry.number for entry in entries}
    groups = []
    for _, members in groupby(in_clusters, key=lambda entry: entry.cluster):
        whole = list(members)
        whole.sort(key=lambda entry: (entry.number not in chosen, bool(entry.reason), entry.number))
        groups.append([entry for at, entry in enumerate(whole) if entry.number in passing or at == 0])
    if wanted.sort:
        best = max if wanted.descending else min
        groups.sort(
            key=lambda group: best(_key(one, gallery, wanted.sort) for one in group if one.number in passing),
        )
    if wanted.descending:
        groups.reverse()
    return [entry for group in groups for entry in group]


def _is_wanted(entry: Entry, gallery: ReviewGallery, wanted: Wanted, decided: AbstractSet[int]) -> bool:
    number = entry.number
    picture = gallery.pictures[number]
    return (
        (wanted.state == "any" or (number in decided) == (wanted.state == "decided"))
        and (wanted.label is None or picture.label == wanted.label)
        and (wanted.split is None or gallery.split_of(number) == wanted.split)
        and (not wanted.reason or wanted.reason == entry.reason or wanted.reason in entry.causes)
        and (not wanted.source or gallery.source_of(number) == wanted.source)
        and (not wanted.licence or gallery.licence_of(number) == wanted.licence)
        and (not wanted.text or wanted.text in picture.path.casefold())
        and _is_within(entry.score, wanted)
    )


def _is_within(score: float | None, wanted: Wanted) -> bool:
    """Whether a score lies within the bounds that are asked for: as the page shows it, rounded half up."""
    if wanted.least is None and wanted.most is None:
        return True
    if score is None:
        return False
    shown = math.floor(100 * score + 0.5) / 100
    return (wanted.least is None or shown >= wanted.least) and (wanted.most is None or shown <= wanted.most)


def _sorted(entries: Listing, gallery: ReviewGallery, wanted: Wanted) -> Listing:
    if wanted.sort:
        entries.sort(key=lambda entry: _key(entry, gallery, wanted.sort))
    if wanted.descending:
        entries.reverse()
    return entries


def _key(entry: Entry, gallery: ReviewGallery, sort: str) -> tuple[object, ...]:
    """A sort key; of two that are alike in it, the one whose path comes first."""
    if sort == "score":
        return -1.0 if entry.score is None else entry.score, entry.number
    if sort == "class":
        return natural_key(gallery.pictures[entry.number].label), entry.number
    if sort == "size":
        return gallery.pictures[entry.number].size, entry.number
    return (entry.number,)
