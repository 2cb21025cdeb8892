"""The pictures, queues and decisions of one moment, put together as the page shows them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict

from curate.catalog.decisions import LAPSE, DecisionRow
from curate.decisions import (
    COPY_CAUSES,
    KEEP,
    RELABEL,
    DecisionRecord,
    PictureKey,
    PictureStanding,
    Standings,
    restoring,
)
from curate.errors import UserError
from pages.review.gallery import NO_NUMBER, ReviewGallery
from pages.review.queues import PROPOSALS, QUARANTINE, TITLES, Entry, Queue

_MOST_COPIES: Final = 60


class Unprocessable(UserError):
    """What was asked for cannot be done with these pictures."""


class Shown(TypedDict):
    """A decision as the page shows it."""

    batch: int
    action: str
    reason: str
    label: str
    who: str
    when: str


class View:
    """What the page shows of each picture. `chosen` has the numbers of those that people chose to stay."""

    def __init__(self, gallery: ReviewGallery, queues: Mapping[str, Queue], record: DecisionRecord) -> None:
        self.gallery = gallery
        self.queues = queues
        self.record = record
        self.chosen: set[int] = set()
        self.standings = Standings(record, gallery.contents, gallery.origin)

    def numbers_of(self, keys: Iterable[PictureKey]) -> list[int]:
        """The numbers of the pictures that decisions are about, in the dataset and in the quarantine."""
        wanted = set(keys)
        found = []
        for key in wanted:
            number = self.gallery.number_at.get(key.path)
            if number is not None and self.gallery.pictures[number].sha256 == key.sha256:
                found.append(number)
        found += [number for number in self.gallery.stored if self.gallery.key(number) in wanted]
        found += [number for key in wanted for number in self._renamed(key)]
        return sorted(set(found))

    def _renamed(self, key: PictureKey) -> list[int]:
        """The picture with which a decision goes that was made on another path."""
        rows = (row for row in self.record.about(key) if row.path == key.path)
        return [self.gallery.number_at[place] for row in rows if (place := self.standings.follower(row))]

    def standing(self, number: int) -> PictureStanding:
        """What holds for a picture, of all that was decided about it."""
        return self.standings.of(self.gallery.key(number))

    def row(self, number: int, entry: Entry, queue: str) -> DecisionRow | None:
        """The decision that an entry of a queue shows; None for an open question."""
        key = self.gallery.key(number)
        if not self.record.about(key):
            return None
        if not self.gallery.is_present(number):
            return restoring(self.record, key)
        standing = self.standing(number)
        if standing.pending is not None:
            return standing.pending
        cause = entry.reason or (queue if queue in COPY_CAUSES else "")
        if standing.chosen is not None and (not cause or cause in COPY_CAUSES):
            return standing.chosen
        if not cause:
            rows = [row for by_label in standing.kept.values() for row in by_label.values()]
            return max((row for row in rows if row.action == KEEP), key=lambda row: row.batch, default=None)
        return standing.keeps(cause, self.gallery.pictures[number].label)

    def items(self, numbers: Iterable[int], queue: str) -> list[dict[str, Any]]:
        """These pictures as a queue shows them."""
        return [self.item(self.entry(number, queue), queue) for number in numbers]

    def entry(self, number: int, queue: str) -> Entry:
        """The entry of a picture in a queue; one without a proposal where it is not in it."""
        found = self.queue(queue).of_picture.get(number)
        if found is None and number in self.gallery.stored:
            found = self.queues[QUARANTINE].of_picture.get(number)
        return found or Entry(number)

    def queue(self, name: str) -> Queue:
        """The queue of that name. Raises `Unprocessable` where there is none."""
        if name not in self.queues:
            raise Unprocessable(f"There is no queue of that name: choose among {', '.join(TITLES)}.")
        return self.queues[name]

    def item(self, entry: Entry, queue: str) -> dict[str, Any]:
        """One picture as the page shows it in a queue."""
        gallery = self.gallery
        picture = gallery.pictures[entry.number]
        row = self.row(entry.number, entry, queue)
        chosen = self.chosen_in(entry, queue)
        keeper = entry.keeper if chosen is None else chosen if chosen != entry.number else NO_NUMBER
        return {
            "id": gallery.ids[entry.number],
            "path": picture.path,
            "label": picture.label,
            "split": gallery.split_of(entry.number),
            "width": picture.width,
            "height": picture.height,
            "bytes": picture.size,
            "format": picture.format,
            "present": gallery.is_present(entry.number),
            "reason": entry.reason,
            "score": entry.score,
            "detail": entry.detail or picture.broken,
            "proposed": entry.proposed,
            "keeper": gallery.ids[keeper] if keeper != NO_NUMBER else "",
            "cluster": entry.cluster,
            "cluster_size": len(self._cluster(entry, queue)),
            "source": gallery.source_of(entry.number),
            "licence": gallery.licence_of(entry.number),
            "decision": None if row is None else self._shown(row),
        }

    def chosen_in(self, entry: Entry, queue: str) -> int | None:
        """The copy of a cluster that a person chose to stay."""
        if not (entry.cluster and self.chosen):
            return None
        rows = [
            (row.batch, one.number)
            for one in self._cluster(entry, queue)
            if one.number in self.chosen and (row := self.standing(one.number).chosen) is not None
        ]
        return max(rows)[1] if rows else None

    def _cluster(self, entry: Entry, queue: str) -> Sequence[Entry]:
        """The copies that belong together with a picture, itself among them."""
        if not entry.cluster:
            return ()
        return self.queue(entry.reason if queue == PROPOSALS else queue).clusters.get(entry.cluster, ())

    def _shown(self, row: DecisionRow) -> Shown:
        batch = self.record.batches[row.batch]
        return {
            "batch": row.batch,
            "action": row.action,
            "reason": row.causes if row.action == KEEP else "" if row.action == RELABEL else row.value,
            "label": row.value if row.action == RELABEL else "",
            "who": batch.who,
            "when": batch.made_at,
        }

    def copies_of(self, number: int, queue: str) -> tuple[str, list[int]]:
        """The queue in which a picture has copies, and their numbers, itself among them, that which stays first."""
        for name in (queue, *sorted(COPY_CAUSES)):
            entry = self.queue(name).of_picture.get(number)
            if entry is not None and entry.cluster and name != PROPOSALS:
                members = [one.number for one in self._cluster(entry, name)]
                stays = self.chosen_in(entry, name)
                members.sort(key=lambda one: one != stays)
                return name, members[:_MOST_COPIES]
        return queue, []

    def history_of(self, number: int) -> list[dict[str, Any]]:
        """All that was decided about one picture, the newest first."""
        key = self.gallery.key(number)
        place = self.gallery.origin.get(key.path, key.path)
        rows = [
            row
            for row in self.record.about(key)
            if place in (self.gallery.origin.get(row.path, row.path), self.standings.follower(row))
        ]
        return [{**self._past(row), "undone": not self.record.holds(row)} for row in reversed(rows)]

    def _past(self, row: DecisionRow) -> Mapping[str, Any]:
        """A row as the history of its picture lists it: of what was carried out or dropped that, and no decision."""
        if not self.record.is_carrying(row):
            return self._shown(row)
        action = self.record.batches[row.batch].action
        return {**self._shown(row), "action": action, "reason": row.value if action == LAPSE else "", "label": ""}
