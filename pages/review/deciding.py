"""One request to decide → what goes on record: for each picture what, for which cause, and what it replaces."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from curate.catalog.decisions import DecisionRow
from curate.dataset import UNLABELLED
from curate.decisions import ASIDE, COPY_CAUSES, EVERY_CAUSE, KEEPER, RELABEL, RESTORE, Overtaken
from pages.review.gallery import NO_NUMBER
from pages.review.queues import ALL, Entry, own_proposals
from pages.review.view import Unprocessable, View

ACCEPT: Final = "accept"
"""What is decided is what was proposed."""

_REASON: Final = re.compile(r"[a-z][a-z-]{0,30}")


@dataclass(frozen=True)
class Ask:
    """One request to decide: the pictures' identifiers, what, and what the page showed as decided about them."""

    ids: Sequence[str]
    action: str
    reason: str = ""
    label: str = ""
    seen: Mapping[str, int] = field(default_factory=dict)
    queue: str = ""


class Deciding:
    """How one request is answered; `labels` are the classes that a picture may go to."""

    def __init__(self, view: View, ask: Ask, labels: Collection[str]) -> None:
        self.view = view
        self.ask = ask
        self.queue = ask.queue or ALL
        self._labels = labels

    def numbers(self) -> list[int]:
        """The numbers of the pictures that are asked about; raises `Unprocessable` for one that is not there."""
        by_id = self.view.gallery.by_id
        numbers = [by_id.get(one, NO_NUMBER) for one in dict.fromkeys(self.ask.ids)]
        if not numbers or NO_NUMBER in numbers:
            raise Unprocessable("One of these pictures is no longer there: load the queue again.")
        if self.ask.queue:
            self.view.queue(self.ask.queue)
        if self.ask.action == KEEPER and len(numbers) > 1:
            raise Unprocessable("Only one copy can stay: choose one picture.")
        for number in numbers:
            if self.view.gallery.is_present(number) == (self.ask.action == RESTORE):
                where = "in the dataset" if self.ask.action == RESTORE else "in the quarantine"
                raise Unprocessable(
                    f"{self.view.gallery.pictures[number].path} lies {where}, so {self.ask.action!r} says nothing."
                )
        return numbers

    def require_seen(self, numbers: Sequence[int]) -> None:
        """Raise `Overtaken` where a picture has another decision by now than the page showed."""
        view = self.view
        overtaken = []
        for number in numbers:
            row = view.row(number, view.entry(number, self.queue), self.queue)
            if (row.batch if row else 0) != self.ask.seen.get(self.view.gallery.ids[number], 0):
                overtaken.append(number)
        if overtaken:
            names = ", ".join(self.view.gallery.pictures[number].path for number in overtaken[:3])
            which = "this picture" if len(numbers) == 1 else f"{len(overtaken):,} of these pictures"
            raise Overtaken(
                f"Somebody decided on {which} meanwhile ({names}): nothing was written.",
                [self.view.gallery.key(number) for number in overtaken],
            )

    def rows_for(self, number: int) -> list[DecisionRow]:
        """The rows by which one picture is decided on."""
        proposals = self._proposals(number)
        first = proposals[0] if proposals else Entry(number)
        action, value = self.ask.action, ""
        if action == ACCEPT:
            if not first.reason:  # nothing is proposed: the copy that stays
                return []
            action = RELABEL if first.proposed else ASIDE
        if action == ASIDE:
            value = self.ask.reason or first.reason
            if not _REASON.fullmatch(value):
                what = (
                    f"{self.view.gallery.pictures[number].path} has no reason to leave"
                    if not value
                    else f"{value!r} is no reason"
                )
                raise Unprocessable(f"{what}: give one word of the letters a to z.")
        elif action == RELABEL:
            wanted = self.ask.label if self.ask.action == RELABEL else ""
            value = self._target(number, wanted or first.proposed)
        causes = " ".join(dict.fromkeys(cause for entry in proposals for cause in entry.causes)) or EVERY_CAUSE
        made = [self._new_row(number, causes, action, value, self.queue)]
        if action == KEEPER:
            made += self._demoted(number)
        return made

    def _proposals(self, number: int) -> list[Entry]:
        """What is proposed for a picture: by the queue that the page shows or, where it names none, by all."""
        queue = self.ask.queue
        if not queue:
            return list(own_proposals(self.view.queues, number))
        if queue == ALL:
            return []
        entry = self.view.queue(queue).of_picture.get(number)
        if entry is None:
            return []
        # The copy that stays is kept as such
        return [entry] if entry.reason else [Entry(number, "", (queue,))]

    def _target(self, number: int, label: str) -> str:
        picture = self.view.gallery.pictures[number]
        if not label:
            raise Unprocessable(f"Which class {picture.path} belongs to is not said: give its label.")
        if label not in self._labels:
            raise Unprocessable("There is no class of that name in the dataset: make its folder first.")
        if picture.label == UNLABELLED:
            raise Unprocessable(f"{picture.path} lies in no class folder, so that there is none to move it from.")
        if label == picture.label:
            raise Unprocessable(f"{picture.path} has that label already: keep it instead.")
        return label

    def _demoted(self, number: int) -> list[DecisionRow]:
        """The rows by which the copy that was to stay leaves for the one that a person chose."""
        names = [self.queue] if self.queue in COPY_CAUSES else sorted(COPY_CAUSES)
        found = [(name, entry) for name in names if (entry := self.view.queues[name].of_picture.get(number))]
        path = self.view.gallery.pictures[number].path
        if not found:
            raise Unprocessable(f"{path} has no copies that it could stay in place of.")
        name, entry = found[0]
        chosen = self.view.chosen_in(entry, name)
        staying = entry.keeper if chosen is None else chosen
        if (staying == NO_NUMBER and not entry.reason) or staying == number:
            raise Unprocessable(f"{path} is the copy that stays already.")
        if staying == NO_NUMBER:  # one picture under two labels: all copies were to leave
            return []
        return [self._new_row(staying, name, ASIDE, entry.reason or name, name)]

    def _new_row(self, number: int, causes: str, action: str, value: str, queue: str) -> DecisionRow:
        picture = self.view.gallery.pictures[number]
        shown = self.view.row(number, self.view.entry(number, queue), queue)
        replaced = shown.batch if shown else 0
        return DecisionRow(0, picture.sha256, picture.path, picture.label, causes, action, value, replaced)
