"""Decisions that cannot be carried out: their pictures have changed, moved or gone since a person looked at them."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from curate.catalog.decisions import DecisionRow
from curate.decisions import ASIDE, RESTORE, DecisionRecord, PictureKey, Standings, open_rows

_INTENDED: Final = {RESTORE: "brought back"}


@dataclass(frozen=True)
class Lapse:
    """One decision, and in a clause why it is not carried out."""

    row: DecisionRow
    why: str

    def __str__(self) -> str:
        """As a sentence that names the picture and what was decided."""
        row = self.row
        if row.action == ASIDE:
            intended = f"set aside ({row.value})"
        else:
            intended = _INTENDED.get(row.action, f"moved to the class {row.value}")
        return f"{row.path} is not {intended}: {self.why}."


class Lapses:
    """Which decisions have lapsed, as things are.

    `aside` are the pictures in the quarantine, with the reason by which each left; `under_way` are those that an
    interrupted run has on record to move.
    """

    def __init__(
        self, standings: Standings, aside: Mapping[PictureKey, str], under_way: AbstractSet[PictureKey] = frozenset()
    ) -> None:
        self._standings = standings
        self._aside = aside
        self._under_way = under_way

    def of(self, keys: Iterable[PictureKey]) -> list[Lapse]:
        """Those among the decisions that were made on these very pictures."""
        record = self._standings.record
        return [Lapse(row, why) for key in keys for row in open_rows(record, key) if (why := self._why(key, row))]

    def _why(self, key: PictureKey, row: DecisionRow) -> str:
        """Why a decision is not carried out; "" for one that is to be."""
        standings = self._standings
        there = standings.content_at(key.path)
        if key in self._under_way:
            return ""
        if row.action == RESTORE:
            return "" if key in self._aside or there == key.sha256 else "it lies in the quarantine no longer"
        if there == key.sha256 or standings.follower(row):
            return ""
        if self._is_done(key, row):
            return ""
        if key in self._aside:
            return f"it lies in the quarantine already ({self._aside[key]})"
        if there is not None:
            return "the file was changed since"
        places = standings.places_of(key.sha256)
        if not places:
            return "the file has gone since"
        more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
        return f"it was moved or removed since, and the same picture lies at {places[0]}{more}, so decide there"

    def _is_done(self, key: PictureKey, row: DecisionRow) -> bool:
        """Whether the picture has left for this reason, or lies in this class, and that is not on record yet."""
        if row.action == ASIDE:
            return self._aside.get(key) == row.value
        places = self._standings.places_of(key.sha256)
        return bool(places) and all(PurePosixPath(place).parent.name == row.value for place in places)


def lapses_of(record: DecisionRecord, lapses: Lapses) -> list[Lapse]:
    """All decisions that have lapsed, in the order in which they were made."""
    return lapses.of(record.keys())
