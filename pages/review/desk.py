"""What the page asks for and tells: the one place that knows the pictures, the queues and what was decided.

Everything here runs in one thread, which has the catalog open: what it answers is of one moment, and decisions come one
after the other.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from curate.carry_out import intended, note_carried_out
from curate.catalog import Catalog
from curate.catalog.decisions import DecisionRow
from curate.catalog.files import file_numbers
from curate.catalog.overview import changes_by_others, state_in_short
from curate.cleaning.plan import PlanLine
from curate.cleaning.planning import REASONS
from curate.cleaning.suspects import IRRELEVANT, MISLABELLED
from curate.credits import recorded_names
from curate.dataset import Dataset
from curate.decisions import (
    ACTIONS,
    ASIDE,
    KEEP,
    DecisionRecord,
    PictureKey,
    decide,
    undo,
)
from curate.errors import UserError
from curate.lapses import Lapses, lapses_of
from curate.names import names_for
from curate.plurals import with_noun
from curate.quality import CHECKS
from curate.quarantine import pending as pending_moves
from pages.review.deciding import Ask, Deciding
from pages.review.facts import credit_in_words, differing, facts_of
from pages.review.gallery import ReviewGallery
from pages.review.history import batch_in_words
from pages.review.listing import Listing, Wanted, arrange
from pages.review.queues import (
    ALL,
    QUARANTINE,
    TITLES,
    Entry,
    Queue,
    ReviewedPlan,
    build_queues,
)
from pages.review.view import Unprocessable, View

MOST_ITEMS: Final = 500

_KEPT_LISTINGS: Final = 12
_GONE: Final = "There is no such picture: load the queue again."
_OWN_REASONS: Final = ("irrelevant", "ugly", "watermark", "drawing", "private")


class Gone(UserError):
    """There is no such picture, or no longer."""


class Departed(UserError):
    """The dataset no longer lies where this server found it: whatever is written would go astray."""


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
        self._folder = file_numbers(dataset.root)
        self._catalog = Catalog.open(dataset.catalog_path)
        self._file = file_numbers(dataset.catalog_path)
        self._seen_others = changes_by_others(self._catalog)
        self.note_done()
        self.record = DecisionRecord.read(self._catalog)
        self._read_pictures()

    def note_done(self) -> None:
        """Put on record what was carried out without a word: by another command, or just before a kill."""
        note_carried_out(self.dataset, self._catalog, self.who)

    def require_here(self) -> None:
        """Raise `Departed` where the dataset was renamed or removed since. Safe to be called by any thread."""
        if self._folder is None or file_numbers(self.dataset.root) != self._folder:
            raise Departed(
                f"The dataset {self.dataset.root} was renamed or removed, or another one has its name now: run "
                "`review` where it lies."
            )

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.__exit__(None, None, None)

    def _read_pictures(self) -> None:
        catalog = self._catalog
        self._state = state_in_short(catalog)
        self.gallery = ReviewGallery.read(self.dataset, catalog)
        self.queues, self.notes = build_queues(self.gallery, catalog, self._find())
        labels = self.dataset.labels()
        self.names = dict.fromkeys(labels, "")
        with suppress(UserError):  # a names file that cannot be used is no reason to show nothing
            self.names |= names_for(self.dataset.root, labels, recorded=recorded_names(self.dataset, catalog))[0]
        self._listings: OrderedDict[tuple[str, Wanted, int], Listing] = OrderedDict()
        self.view = View(self.gallery, self.queues, self.record)
        self._decided: dict[str, set[int]] = {name: set() for name in self.queues}
        self._actions: dict[int, str] = {}
        by_content: dict[str, list[int]] = {}
        for number in range(len(self.gallery)):
            key = self.gallery.key(number)
            if self.record.about(key):
                by_content.setdefault(key.sha256, []).append(number)
        self._note(number for numbers in by_content.values() for number in numbers)
        self._used_reasons = {entry.reason for queue in self.queues.values() for entry in queue.entries} - {""}
        self._note_reasons(self.record.batches)
        aside = {self.gallery.key(number): file.reason for number, file in self.gallery.stored.items()}
        begun = {PictureKey(one.path, one.sha256) for one in pending_moves(catalog)}
        self._lapses = Lapses(self.view.standings, aside, begun)
        self._lapsed = {PictureKey(one.row.path, one.row.sha256) for one in lapses_of(self.record, self._lapses)}
        self._noted = self.record.last
        self._surroundings = self._look_round()

    def refresh(self) -> None:
        """Read what other windows and commands have written since the last question. Raises `Departed`."""
        self.require_here()
        file = file_numbers(self.dataset.catalog_path)
        if file is None:
            raise UserError(f"The catalog {self.dataset.catalog_path} is gone, or is just being rebuilt: ask again.")
        if file != self._file:  # it was put aside, and another stands in its place
            self._catalog.__exit__(None, None, None)
            self._catalog = Catalog.open(self.dataset.catalog_path)
            self._file = file_numbers(self.dataset.catalog_path)
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
            self.record.update(self._catalog)
            self._catch_up()

    def _catch_up(self) -> list[int]:
        """Note what follows from the batches that are new in the record; the numbers of the pictures they touch."""
        batches = list(takewhile(lambda number: number > self._noted, reversed(self.record.batches)))
        self._noted = self.record.last
        self._note_reasons(batches)
        keys = self.record.touched(reversed(batches))
        touched = self.view.numbers_of(keys)
        self._note(touched)
        self._lapsed.difference_update(keys)
        self._lapsed.update(PictureKey(one.row.path, one.row.sha256) for one in self._lapses.of(keys))
        return touched

    def _note_reasons(self, batches: Iterable[int]) -> None:
        rows = (row for number in batches for row in self.record.rows.get(number, ()))
        self._used_reasons |= {row.value for row in rows if row.action == ASIDE}

    def _note(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.view.chosen.discard(number)
            if self.view.standing(number).chosen is not None and self.gallery.is_present(number):
                self.view.chosen.add(number)
            for name, queue in self.queues.items():
                entry = queue.of_picture.get(number)
                if entry is not None and self.view.row(number, entry, name) is not None:
                    self._decided[name].add(number)
                else:
                    self._decided[name].discard(number)
            row = self.view.row(number, Entry(number), QUARANTINE if number >= self.gallery.present else ALL)
            if row is None:
                self._actions.pop(number, None)
            else:
                self._actions[number] = row.action

    @property
    def revision(self) -> int:
        """A number that grows with every decision."""
        return self.record.last

    def state(self) -> dict[str, Any]:
        """What the page shows around its pictures."""
        self.refresh()
        return {
            **self._surroundings,
            "notes": [*self.notes, *self._lapsed_in_words()],
            "who": self.who,
            "revision": self.revision,
            "reasons": [{"name": name, "title": name.replace("-", " ")} for name in self._reasons()],
            "queues": [
                {
                    "name": name,
                    "title": TITLES[name],
                    "count": queue.proposing,
                    "open": self._open(queue),
                    "scores": queue.scores,
                }
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
            "splits": sorted({gallery.split_of(number) for number in present} - {""}),
            "classes": [
                {"name": label, "title": self.names.get(label) or label, "count": counts[label]}
                for label in self.dataset.labels()
            ],
            "sources": sorted({gallery.source_of(number) for number in present} - {""}),
            "licences": sorted({gallery.licence_of(number) for number in present} - {""}),
        }

    def _lapsed_in_words(self) -> list[str]:
        if not self._lapsed:
            return []
        are = "is about a picture" if len(self._lapsed) == 1 else "are about pictures"
        which = f"{min(self._lapsed).path}: " if len(self._lapsed) == 1 else ""
        said = (
            f"{which}{with_noun(len(self._lapsed), 'decision')} {are} that changed, moved or went since, and cannot be "
            "carried out: “Carry out” says why."
        )
        return [said]

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
        found = self.view.queue(queue)
        key = (queue, wanted, self.revision)
        if key not in self._listings:
            decided = self._decided[queue] if wanted.state != "any" else set[int]()
            self._listings[key] = arrange(found, self.gallery, wanted, decided, self.view.chosen)
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
            "items": [self.view.item(entry, queue) for entry in entries[offset : offset + limit]],
        }

    def identifiers(self, queue: str, wanted: Wanted) -> dict[str, Any]:
        """The identifiers of all that are wanted, which of them have a decision, and how many propose something."""
        entries = self.listing(queue, wanted)
        ids = self.gallery.ids
        decided = self._decided[queue]
        rows = ((entry, self.view.row(entry.number, entry, queue)) for entry in entries if entry.number in decided)
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
        return {"revision": self.revision, "items": self.view.items(numbers, queue)}

    def changes(self, since: int, queue: str) -> dict[str, Any]:
        """What was decided after a revision."""
        self.refresh()
        batches = [number for number in self.record.batches if number > since]
        numbers = self.view.numbers_of(self.record.touched(batches))
        return {
            "revision": self.revision,
            "items": self.view.items(numbers[:MOST_ITEMS], queue),
            "more": max(0, len(numbers) - MOST_ITEMS),
        }

    def decide(self, ask: Ask) -> dict[str, Any]:
        """Put decisions on record, as one batch. Raises `Overtaken` where the page showed what no longer holds, and
        `Unprocessable` for what cannot be.
        """
        self.refresh()
        deciding = Deciding(self.view, ask, self.names)
        numbers = deciding.numbers()

        def rows() -> list[DecisionRow]:
            self.require_here()  # others may have been waited for
            self._catch_up()
            deciding.require_seen(numbers)
            made = [row for number in numbers for row in deciding.rows_for(number)]
            if not made:
                raise Unprocessable("Nothing is proposed for these pictures, so there is nothing to accept.")
            return made

        batch = decide(self._catalog, self.record, self.who, ask.action, rows)
        return self._outcome(batch, [*numbers, *self._catch_up()], deciding.queue)

    def _outcome(self, batch: int, numbers: Iterable[int], queue: str) -> dict[str, Any]:
        """What a new batch has changed: the pictures, of very many the first alone, and how many there are more."""
        shown = list(dict.fromkeys(numbers))
        return {
            "batch": batch,
            "revision": self.revision,
            "items": self.view.items(shown[:MOST_ITEMS], queue),
            "more": max(0, len(shown) - MOST_ITEMS),
        }

    def undo(self, batch: int, queue: str) -> dict[str, Any]:
        """Take a batch back. Raises `Overtaken` where that cannot be, and `UserError` where there is none."""
        self.refresh()
        number = undo(self._catalog, self.record, self.who, batch)
        return self._outcome(number, self._catch_up(), queue)

    def shown_of(self, keys: Iterable[PictureKey], queue: str) -> list[dict[str, Any]]:
        """The pictures that decisions are about, as they are now; of very many the first."""
        return self.view.items(self.view.numbers_of(keys)[:MOST_ITEMS], queue)

    def history(self, offset: int, limit: int) -> dict[str, Any]:
        """The batches, the newest first."""
        self.refresh()
        batches = sorted(self.record.batches, reverse=True)
        return {
            "total": len(batches),
            "batches": [batch_in_words(self.record, number) for number in batches[offset : offset + limit]],
        }

    def picture(self, identifier: str, queue: str) -> dict[str, Any]:
        """All that is known of one picture and of its copies. Raises `Gone` where it is not there."""
        self.refresh()
        number = self.gallery.by_id.get(identifier)
        if number is None:
            raise Gone(_GONE)
        name, cluster = self.view.copies_of(number, queue)
        facts = {
            self.gallery.ids[one]: facts_of(self._catalog, self.gallery.pictures[one], self.gallery.split_of(one))
            for one in dict.fromkeys([number, *cluster])
        }
        return {
            **self.view.item(self.view.entry(number, queue), queue),
            "facts": facts[identifier],
            "credit": credit_in_words(self._catalog, self.gallery.pictures[number].sha256),
            "cluster_items": self.view.items(cluster, name),
            "differing": differing(facts) if len(facts) > 1 else [],
            "history": self.view.history_of(number),
        }

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
            "lapsed": len(found.lapses),
            "unfinished": found.unfinished,
            "warnings": found.warnings,
            "token": found.token,
        }

    @property
    def lines(self) -> Sequence[PlanLine]:
        """Those of the plan, read anew. Raises `UserError` where it can no longer be read."""
        return self._find().lines
