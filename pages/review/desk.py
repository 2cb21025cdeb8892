"""What the page asks for and tells: the one place that knows the pictures, the queues and what was decided.

Everything here runs in one thread, which has the catalog open: what it answers is of one moment, and decisions come one
after the other.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypedDict

from curate.carry_out import intended, note_carried_out
from curate.catalog import Catalog
from curate.catalog.decisions import CARRY_OUT, UNDO, DecisionRow
from curate.catalog.overview import changes_by_others, state_in_short
from curate.cleaning.plan import PlanLine
from curate.cleaning.planning import REASONS
from curate.cleaning.suspects import IRRELEVANT, MISLABELLED
from curate.credits import names_on_record
from curate.dataset import UNLABELLED, Dataset
from curate.decisions import (
    ACTIONS,
    ASIDE,
    COPY_CAUSES,
    EVERY_CAUSE,
    KEEP,
    KEEPER,
    RELABEL,
    RESTORE,
    DecisionRecord,
    Overtaken,
    PictureKey,
    PictureStanding,
    Standings,
    decide,
    restoring,
    undo,
)
from curate.errors import UserError
from curate.names import names_for
from curate.quality import CHECKS
from pages.review.facts import credit_in_words, differing, facts_of
from pages.review.gallery import NO_NUMBER, Gallery
from pages.review.listing import Listing, Wanted, arrange
from pages.review.queues import (
    ALL,
    PROPOSALS,
    QUARANTINE,
    TITLES,
    Entry,
    Queue,
    ReviewedPlan,
    build_queues,
    own_proposals,
)

ACCEPT: Final = "accept"
"""What is decided is what was proposed."""

MOST_ITEMS: Final = 500

_REASON: Final = re.compile(r"[a-z][a-z-]{0,30}")
_KEPT_LISTINGS: Final = 12
_MOST_COPIES: Final = 60
_GONE: Final = "There is no such picture: load the queue again."
_OWN_REASONS: Final = ("irrelevant", "ugly", "watermark", "drawing", "private")


class Unprocessable(UserError):
    """What was asked for cannot be done with these pictures."""


class Gone(UserError):
    """There is no such picture, or no longer."""


class Shown(TypedDict):
    """A decision as the page shows it."""

    batch: int
    action: str
    reason: str
    label: str
    who: str
    when: str


@dataclass(frozen=True)
class Ask:
    """One request to decide: the pictures' identifiers, what, and what the page showed as decided about them."""

    ids: Sequence[str]
    action: str
    reason: str = ""
    label: str = ""
    seen: Mapping[str, int] = field(default_factory=dict)
    queue: str = ""


@dataclass(frozen=True)
class PicturePlace:
    """Where a picture is read from: `path` relative to `root`; whether it gives pixels."""

    root: Path
    path: str
    sha256: str
    is_whole: bool


class Desk:
    """The pictures, queues and decisions of one dataset; `find` gives the plan that the queues are made of."""

    def __init__(self, dataset: Dataset, who: str, find: Callable[[], ReviewedPlan]) -> None:
        self.dataset = dataset
        self.who = who
        self._find = find
        self._catalog = Catalog.open(dataset.catalog_path)
        self._file = _numbers(dataset.catalog_path)
        self._seen_others = changes_by_others(self._catalog)
        self.note_done()
        self.record = DecisionRecord.read(self._catalog)
        self._read_pictures()

    def note_done(self) -> None:
        """Put on record what was carried out without a word: by another command, or just before a kill."""
        note_carried_out(self.dataset, self._catalog, self.who)

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.__exit__(None, None, None)

    def _read_pictures(self) -> None:
        catalog = self._catalog
        self._state = state_in_short(catalog)
        self.gallery = Gallery.read(self.dataset, catalog)
        self.queues, self.notes = build_queues(self.gallery, catalog, self._find())
        labels = self.dataset.labels()
        with suppress(UserError):  # a names file that cannot be used is no reason to show nothing
            self.names = (
                dict.fromkeys(labels, "") | names_for(self.dataset.root, labels, recorded=names_on_record(catalog))[0]
            )
        self._listings: OrderedDict[tuple[str, Wanted, int], Listing] = OrderedDict()
        self._standings = Standings(self.record, self.gallery.contents, self.gallery.origin)
        self._decided: dict[str, set[int]] = {name: set() for name in self.queues}
        self._actions: dict[int, str] = {}
        self.chosen: set[int] = set()
        by_content: dict[str, list[int]] = {}
        for number in range(len(self.gallery)):
            key = self.gallery.key(number)
            if self.record.about(key):
                by_content.setdefault(key.sha256, []).append(number)
        self._note(number for numbers in by_content.values() for number in numbers)
        self._used_reasons = {entry.reason for queue in self.queues.values() for entry in queue.entries} - {""}
        self._note_reasons(self.record.batches)
        self._surroundings = self._look_round()

    def refresh(self) -> None:
        """Read what other windows and commands have written since the last question."""
        file = _numbers(self.dataset.catalog_path)
        if file is None:
            raise UserError(f"The catalog {self.dataset.catalog_path} is gone, or is just being rebuilt: ask again.")
        if file != self._file:  # it was put aside, and another stands in its place
            self._catalog.__exit__(None, None, None)
            self._catalog = Catalog.open(self.dataset.catalog_path)
            self._file = _numbers(self.dataset.catalog_path)
            self.record = DecisionRecord.read(self._catalog)
            self._read_pictures()
            return
        others = changes_by_others(self._catalog)
        if others == self._seen_others:
            return
        self._seen_others = others
        if state_in_short(self._catalog) != self._state:
            self.note_done()
            self.record.update(self._catalog)
            self._read_pictures()
        else:
            self._take(self.record.update(self._catalog))

    def _take(self, batches: Iterable[int]) -> None:
        """Note what follows from new batches."""
        batches = list(batches)
        self._note_reasons(batches)
        self._note(self._numbers_of(self.record.touched(batches)))

    def _note_reasons(self, batches: Iterable[int]) -> None:
        rows = (row for number in batches for row in self.record.rows.get(number, ()))
        self._used_reasons |= {row.value for row in rows if row.action == ASIDE}

    def _numbers_of(self, keys: Iterable[PictureKey]) -> list[int]:
        """The numbers of the pictures that decisions are about, in the dataset and in the quarantine."""
        wanted = set(keys)
        found = []
        for key in wanted:
            number = self.gallery.number_at.get(key.path)
            if number is not None and self.gallery.pictures[number].sha256 == key.sha256:
                found.append(number)
        found += [number for number in self.gallery.stored if self.gallery.key(number) in wanted]
        return sorted(set(found))

    def _note(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            standing = self._standing(number)
            self.chosen.discard(number)
            if standing.chosen is not None and self.gallery.is_present(number):
                self.chosen.add(number)
            for name, queue in self.queues.items():
                entry = queue.of_picture.get(number)
                if entry is not None and self._row(number, entry, name) is not None:
                    self._decided[name].add(number)
                else:
                    self._decided[name].discard(number)
            row = self._row(number, Entry(number), QUARANTINE if number >= self.gallery.present else ALL)
            if row is None:
                self._actions.pop(number, None)
            else:
                self._actions[number] = row.action

    def _standing(self, number: int) -> PictureStanding:
        return self._standings.of(self.gallery.key(number))

    def _row(self, number: int, entry: Entry, queue: str) -> DecisionRow | None:
        """The decision that an entry of a queue shows; None for an open question."""
        key = self.gallery.key(number)
        if not self.record.about(key):
            return None
        if not self.gallery.is_present(number):
            return restoring(self.record, key)
        standing = self._standing(number)
        if standing.pending is not None:
            return standing.pending
        cause = entry.reason or (queue if queue in COPY_CAUSES else "")
        if standing.chosen is not None and (not cause or cause in COPY_CAUSES):
            return standing.chosen
        if not cause:
            rows = [row for by_label in standing.kept.values() for row in by_label.values()]
            return max((row for row in rows if row.action == KEEP), key=lambda row: row.batch, default=None)
        return standing.keeps(cause, self.gallery.pictures[number].label)

    @property
    def revision(self) -> int:
        """A number that grows with every decision."""
        return self.record.last

    def state(self) -> dict[str, Any]:
        """What the page shows around its pictures."""
        self.refresh()
        return {
            **self._surroundings,
            "who": self.who,
            "revision": self.revision,
            "reasons": [{"name": name, "title": name.replace("-", " ")} for name in self._reasons()],
            "queues": [
                {"name": name, "title": TITLES[name], "count": queue.proposing, "open": self._open(queue)}
                for name, queue in self.queues.items()
            ],
            "decided": dict.fromkeys(ACTIONS, 0) | Counter(self._actions.values()),
        }

    def _look_round(self) -> dict[str, Any]:
        """Of the state what stays the same as long as no picture comes or goes."""
        gallery = self.gallery
        present = range(gallery.present)
        counts = Counter(gallery.pictures[number].label for number in present)
        return {
            "dataset": str(self.dataset.root),
            "notes": self.notes,
            "splits": sorted({gallery.split_of(number) for number in present} - {""}),
            "classes": [
                {"name": label, "title": self.names.get(label) or label, "count": counts[label]}
                for label in self.dataset.labels()
            ],
            "sources": sorted({gallery.source_of(number) for number in present} - {""}),
            "licences": sorted({gallery.licence_of(number) for number in present} - {""}),
        }

    def _open(self, queue: Queue) -> int:
        decided = self._decided[queue.name]
        if queue.name in (QUARANTINE, ALL):
            return queue.proposing - len(decided)
        return queue.proposing - sum(bool(queue.of_picture[number].reason) for number in decided)

    def _reasons(self) -> list[str]:
        offered = [*REASONS, IRRELEVANT, MISLABELLED, *(check.flag for check in CHECKS), *_OWN_REASONS]
        return list(dict.fromkeys([*offered, *sorted(self._used_reasons)]))

    def listing(self, queue: str, wanted: Wanted) -> Listing:
        """The entries of a queue that are wanted, in their order. Raises `UserError` for a queue that there is not."""
        self.refresh()
        found = self._queue(queue)
        key = (queue, wanted, self.revision)
        if key not in self._listings:
            decided = self._decided[queue] if wanted.state != "any" else set[int]()
            self._listings[key] = arrange(found, self.gallery, wanted, decided, self.chosen)
            while len(self._listings) > _KEPT_LISTINGS:
                self._listings.popitem(last=False)
        self._listings.move_to_end(key)
        return self._listings[key]

    def page(self, queue: str, wanted: Wanted, offset: int, limit: int) -> dict[str, Any]:
        """A part of a queue."""
        entries = self.listing(queue, wanted)
        return {
            "revision": self.revision,
            "total": len(entries),
            "offset": offset,
            "items": [self.item(entry, queue) for entry in entries[offset : offset + limit]],
        }

    def identifiers(self, queue: str, wanted: Wanted) -> dict[str, Any]:
        """The identifiers of all that are wanted, which of them have a decision, and how many propose something."""
        entries = self.listing(queue, wanted)
        ids = self.gallery.ids
        decided = self._decided[queue]
        rows = ((entry, self._row(entry.number, entry, queue)) for entry in entries if entry.number in decided)
        return {
            "revision": self.revision,
            "total": len(entries),
            "ids": [ids[entry.number] for entry in entries],
            "seen": {ids[entry.number]: row.batch for entry, row in rows if row is not None},
            "proposals": sum(bool(entry.reason) for entry in entries),
        }

    def items(self, queue: str, identifiers: Sequence[str]) -> dict[str, Any]:
        """These pictures as a queue shows them; what is gone is left out."""
        self.refresh()
        numbers = [self.gallery.by_id[one] for one in identifiers if one in self.gallery.by_id]
        return {"revision": self.revision, "items": self._items(numbers, queue)}

    def changes(self, since: int, queue: str) -> dict[str, Any]:
        """What was decided after a revision."""
        self.refresh()
        batches = [number for number in self.record.batches if number > since]
        numbers = self._numbers_of(self.record.touched(batches))
        return {
            "revision": self.revision,
            "items": self._items(numbers[:MOST_ITEMS], queue),
            "more": max(0, len(numbers) - MOST_ITEMS),
        }

    def _items(self, numbers: Iterable[int], queue: str) -> list[dict[str, Any]]:
        return [self.item(self._entry(number, queue), queue) for number in numbers]

    def _entry(self, number: int, queue: str) -> Entry:
        """The entry of a picture in a queue; one without a proposal where it is not in it."""
        found = self._queue(queue).of_picture.get(number)
        if found is None and number in self.gallery.stored:
            found = self.queues[QUARANTINE].of_picture.get(number)
        return found or Entry(number)

    def _queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise Unprocessable(f"There is no queue of that name: choose among {', '.join(TITLES)}.")
        return self.queues[name]

    def item(self, entry: Entry, queue: str) -> dict[str, Any]:
        """One picture as the page shows it in a queue."""
        gallery = self.gallery
        picture = gallery.pictures[entry.number]
        row = self._row(entry.number, entry, queue)
        chosen = self._chosen_in(entry, queue)
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

    def _chosen_in(self, entry: Entry, queue: str) -> int | None:
        """The copy of a cluster that a person chose to stay."""
        if not (entry.cluster and self.chosen):
            return None
        rows = [
            (row.batch, one.number)
            for one in self._cluster(entry, queue)
            if one.number in self.chosen and (row := self._standing(one.number).chosen) is not None
        ]
        return max(rows)[1] if rows else None

    def _cluster(self, entry: Entry, queue: str) -> Sequence[Entry]:
        """The copies that belong together with a picture, itself among them."""
        if not entry.cluster:
            return ()
        return self._queue(entry.reason if queue == PROPOSALS else queue).clusters.get(entry.cluster, ())

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

    def decide(self, ask: Ask) -> dict[str, Any]:
        """Put decisions on record, as one batch. Raises `Overtaken` where the page showed what no longer holds, and
        `Unprocessable` for what cannot be.
        """
        self.refresh()
        numbers = self._asked(ask)
        queue = ask.queue or ALL

        def rows() -> list[DecisionRow]:
            self._take(self.record.update(self._catalog))
            self._require_seen(numbers, ask, queue)
            made = [row for number in numbers for row in self._answer(number, ask)]
            if not made:
                raise Unprocessable("Nothing is proposed for these pictures, so there is nothing to accept.")
            return made

        batch = decide(self._catalog, self.record, self.who, ask.action, rows)
        self._note_reasons([batch])
        touched = self._numbers_of(self.record.touched([batch]))
        self._note(touched)
        return self._outcome(batch, [*numbers, *touched], queue)

    def _outcome(self, batch: int, numbers: Iterable[int], queue: str) -> dict[str, Any]:
        """What a new batch has changed: the pictures, of very many the first alone, and how many there are more."""
        shown = list(dict.fromkeys(numbers))
        return {
            "batch": batch,
            "revision": self.revision,
            "items": self._items(shown[:MOST_ITEMS], queue),
            "more": max(0, len(shown) - MOST_ITEMS),
        }

    def _asked(self, ask: Ask) -> list[int]:
        """The numbers of the pictures that are asked about; raises `Unprocessable` for one that is not there."""
        by_id = self.gallery.by_id
        numbers = [by_id.get(one, NO_NUMBER) for one in dict.fromkeys(ask.ids)]
        if not numbers or NO_NUMBER in numbers:
            raise Unprocessable("One of these pictures is no longer there: load the queue again.")
        if ask.queue:
            self._queue(ask.queue)
        if ask.action == KEEPER and len(numbers) > 1:
            raise Unprocessable("Only one copy can stay: choose one picture.")
        for number in numbers:
            if self.gallery.is_present(number) == (ask.action == RESTORE):
                where = "in the dataset" if ask.action == RESTORE else "in the quarantine"
                raise Unprocessable(
                    f"{self.gallery.pictures[number].path} lies {where}, so {ask.action!r} says nothing."
                )
        return numbers

    def _require_seen(self, numbers: Sequence[int], ask: Ask, queue: str) -> None:
        overtaken = []
        for number in numbers:
            row = self._row(number, self._entry(number, queue), queue)
            if (row.batch if row else 0) != ask.seen.get(self.gallery.ids[number], 0):
                overtaken.append(number)
        if overtaken:
            names = ", ".join(self.gallery.pictures[number].path for number in overtaken[:3])
            raise Overtaken(
                f"Somebody decided on {len(overtaken):,} of these pictures meanwhile ({names}): nothing was written.",
                [self.gallery.key(number) for number in overtaken],
            )

    def _answer(self, number: int, ask: Ask) -> list[DecisionRow]:
        """The rows by which one picture is decided on."""
        proposals = self._proposals(number, ask.queue)
        first = proposals[0] if proposals else Entry(number)
        action, value = ask.action, ""
        if action == ACCEPT:
            if not first.reason:  # nothing is proposed: the copy that stays
                return []
            action = RELABEL if first.proposed else ASIDE
        if action == ASIDE:
            value = ask.reason or first.reason
            if not _REASON.fullmatch(value):
                what = (
                    f"{self.gallery.pictures[number].path} has no reason to leave"
                    if not value
                    else f"{value!r} is no reason"
                )
                raise Unprocessable(f"{what}: give one word of the letters a to z.")
        elif action == RELABEL:
            value = self._target(number, ask.label if ask.action == RELABEL and ask.label else first.proposed)
        causes = " ".join(dict.fromkeys(cause for entry in proposals for cause in entry.causes)) or EVERY_CAUSE
        made = [self._new_row(number, causes, action, value, ask.queue)]
        if action == KEEPER:
            made += self._demoted(number, ask.queue)
        return made

    def _proposals(self, number: int, queue: str) -> list[Entry]:
        """What is proposed for a picture: by one queue, or by all."""
        if queue in ("", PROPOSALS):
            return list(own_proposals(self.queues, number))
        if queue == ALL:
            return []
        entry = self._queue(queue).of_picture.get(number)
        if entry is None:
            return []
        # The copy that stays is kept as such
        return [entry] if entry.reason else [Entry(number, "", (queue,))]

    def _target(self, number: int, label: str) -> str:
        picture = self.gallery.pictures[number]
        if not label:
            raise Unprocessable(f"Which class {picture.path} belongs to is not said: give its label.")
        if label not in self.names:
            raise Unprocessable("There is no class of that name in the dataset: make its folder first.")
        if picture.label == UNLABELLED:
            raise Unprocessable(f"{picture.path} lies in no class folder, so that there is none to move it from.")
        if label == picture.label:
            raise Unprocessable(f"{picture.path} has that label already: keep it instead.")
        return label

    def _demoted(self, number: int, queue: str) -> list[DecisionRow]:
        """The rows by which the copy that was to stay leaves for the one that a person chose."""
        names = [queue] if queue in COPY_CAUSES else sorted(COPY_CAUSES)
        found = [(name, entry) for name in names if (entry := self.queues[name].of_picture.get(number))]
        if not found:
            raise Unprocessable(f"{self.gallery.pictures[number].path} has no copies that it could stay in place of.")
        name, entry = found[0]
        chosen = self._chosen_in(entry, name)
        staying = entry.keeper if chosen is None else chosen
        if (staying == NO_NUMBER and not entry.reason) or staying == number:
            raise Unprocessable(f"{self.gallery.pictures[number].path} is the copy that stays already.")
        if staying == NO_NUMBER:  # one picture under two labels: all copies were to leave
            return []
        return [self._new_row(staying, name, ASIDE, entry.reason or name, name)]

    def _new_row(self, number: int, causes: str, action: str, value: str, queue: str) -> DecisionRow:
        picture = self.gallery.pictures[number]
        shown = self._row(number, self._entry(number, queue or ALL), queue or ALL)
        replaced = shown.batch if shown else 0
        return DecisionRow(0, picture.sha256, picture.path, picture.label, causes, action, value, replaced)

    def undo(self, batch: int, queue: str) -> dict[str, Any]:
        """Take a batch back. Raises `Overtaken` where that cannot be, and `UserError` where there is none."""
        self.refresh()
        number = undo(self._catalog, self.record, self.who, batch)
        touched = self._numbers_of(self.record.touched([number]))
        self._note(touched)
        return self._outcome(number, touched, queue)

    def shown_of(self, keys: Iterable[PictureKey], queue: str) -> list[dict[str, Any]]:
        """The pictures that decisions are about, as they are now; of very many the first."""
        return self._items(self._numbers_of(keys)[:MOST_ITEMS], queue)

    def history(self, offset: int, limit: int) -> dict[str, Any]:
        """The batches, the newest first."""
        self.refresh()
        batches = sorted(self.record.batches, reverse=True)
        return {
            "total": len(batches),
            "batches": [self._in_words(number) for number in batches[offset : offset + limit]],
        }

    def _in_words(self, number: int) -> dict[str, Any]:
        batch = self.record.batches[number]
        rows = self.record.rows.get(number, [])
        return {
            "batch": number,
            "when": batch.made_at,
            "who": batch.who,
            "action": batch.action,
            "count": len(self.record.rows.get(batch.undoes, [])) if batch.action == UNDO else len(rows),
            "words": _words(batch.action, batch.undoes, rows),
            "undone": number in self.record.undone,
        }

    def _history_of(self, number: int) -> list[dict[str, Any]]:
        """All that was decided about one picture, the newest first."""
        key = self.gallery.key(number)
        place = self.gallery.origin.get(key.path, key.path)
        rows = [row for row in self.record.about(key) if self.gallery.origin.get(row.path, row.path) == place]
        return [{**self._shown(row), "undone": not self.record.holds(row)} for row in reversed(rows)]

    def picture(self, identifier: str, queue: str) -> dict[str, Any]:
        """All that is known of one picture and of its copies. Raises `Gone` where it is not there."""
        self.refresh()
        number = self.gallery.by_id.get(identifier)
        if number is None:
            raise Gone(_GONE)
        entry = self._entry(number, queue)
        name, cluster = self._copies_of(number, queue)
        facts = {
            self.gallery.ids[one]: facts_of(self._catalog, self.gallery.pictures[one], self.gallery.split_of(one))
            for one in dict.fromkeys([number, *cluster])
        }
        return {
            **self.item(entry, queue),
            "facts": facts[identifier],
            "credit": credit_in_words(self._catalog, self.gallery.pictures[number].sha256),
            "cluster_items": self._items(cluster, name),
            "differing": differing(facts) if len(facts) > 1 else [],
            "history": self._history_of(number),
        }

    def _copies_of(self, number: int, queue: str) -> tuple[str, list[int]]:
        """The queue in which a picture has copies, and their numbers, itself among them, that which stays first."""
        for name in (queue, *sorted(COPY_CAUSES)):
            entry = self._queue(name).of_picture.get(number)
            if entry is not None and entry.cluster and name != PROPOSALS:
                members = [one.number for one in self._cluster(entry, name)]
                stays = self._chosen_in(entry, name)
                members.sort(key=lambda one: one != stays)
                return name, members[:_MOST_COPIES]
        return queue, []

    def place_of(self, identifier: str) -> PicturePlace:
        """Where a picture lies. Raises `Unprocessable` for one that is not there. Safe to be called by any thread."""
        gallery = self.gallery
        number = gallery.by_id.get(identifier)
        if number is None:
            raise Gone(_GONE)
        picture = gallery.pictures[number]
        if number in gallery.stored:
            place = self.dataset.quarantine, gallery.stored[number].stored
        else:
            place = self.dataset.root, picture.path
        return PicturePlace(*place, picture.sha256, not picture.broken)

    def intended(self) -> dict[str, Any]:
        """What carrying out would do."""
        self.refresh()
        found = intended(self.dataset, self._catalog, self.lines)
        return {
            "aside": len(found.paths(moving=False)),
            "relabel": len(found.paths(moving=True)),
            "restore": len(found.back),
            "keep": sum(action == KEEP for action in self._actions.values()),
            "by_reason": found.by_reason,
            "warnings": found.warnings,
            "token": found.token,
        }

    @property
    def lines(self) -> Sequence[PlanLine]:
        """Those of the plan, read anew. Raises `UserError` where it can no longer be read."""
        return self._find().lines

    def numbers_shown(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """These pictures, as among all."""
        return self._items(numbers, ALL)


def _words(action: str, undoes: int, rows: Sequence[DecisionRow]) -> str:
    """A batch in a few words."""
    if action == UNDO:
        return f"took back batch {undoes}"
    if action == CARRY_OUT:
        return f"carried out {len(rows):,} decisions"
    if not rows:
        return action
    first = rows[0].path
    pictures = first if len(rows) == 1 else f"{first} and {len(rows) - 1:,} more"
    values = sorted({row.value for row in rows if row.value and row.action in (ASIDE, RELABEL)})
    said = {KEEP: "keeps", ASIDE: "sets aside", RELABEL: "moves", KEEPER: "has stay", RESTORE: "brings back"}
    as_what = f": {', '.join(values[:3])}" if values else ""
    return f"{said.get(action, action)} {pictures}{as_what}"


def _numbers(file: Path) -> tuple[int, int] | None:
    """What tells a file from another of its name."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
