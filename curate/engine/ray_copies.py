"""What is done about copies, on Ray: the search for them, the second look, and the choice of which stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from curate.engine.parts import ordered_parts
from curate.engine.ray_engine import enter, require_seen
from curate.engine.ray_join import join_on_ray, joined_between
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import CANDIDATES_AT_ONCE, look_again, look_at_part
from curate.phash import pairs_between, pairs_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from curate.cleaning.choosing import Choice
    from curate.engine.ray_engine import RayEngine
    from curate.lookalikes.candidates import CandidatePairs
    from curate.lookalikes.clusters import Cluster
    from curate.lookalikes.pair_search import FoundPairs
    from curate.lookalikes.second_look import Verdicts
    from curate.phash import Hashes, Pairs
    from curate.progress import Progress

WORTH_SENDING: Final = 4_000_000
"""Hashes, below which this machine has found their pairs before tasks are under way."""

_MOST_CANDIDATES: Final = 8_192  # of a task: at most 64 MiB of luma
_TASKS_EACH: Final = 2  # for each processor, so that none waits long for the last


class RayCopies:
    """Finds copies and chooses among them on Ray, with the answers of `curate.cleaning.choosing.LocalCopies`.

    Where a picture lies in another may differ in the last digits: it is worked out of many pictures at once, and of
    others together than on one machine.
    """

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine

    def within(self, hashes: Hashes, radius: int) -> Pairs:
        """All pairs of these hashes."""
        if len(hashes) < WORTH_SENDING:
            return pairs_within(hashes, radius)
        return join_on_ray(self._engine, hashes, radius)[0]

    def between(self, few: Hashes, many: Hashes, radius: int) -> FoundPairs:
        """All pairs of one of a few and one of many."""
        if len(few) + len(many) < WORTH_SENDING:
            return pairs_between(few, many, radius)
        return joined_between(self._engine, few, many, radius)

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """The verdict on each candidate; a part of them a task. Pictures that have no files are looked at here."""
        path = looks.path
        if path is None or not len(candidates):
            return look_again(candidates, looks, progress)

        def looking(parts: Iterable[CandidatePairs]) -> Iterator[Verdicts]:
            sent = (_Part(part, {at: path(at) for at in _pictures(part)}) for part in parts)
            for (found, unread), _ in ordered_parts(self._engine, _look, sent, ahead=self._ahead()):
                for at in unread:
                    require_seen(path(at), _UNREAD)
                looks.unread.update(unread)
                yield found

        share = len(candidates) // self._ahead()
        at_once = min(max(share, CANDIDATES_AT_ONCE), _MOST_CANDIDATES)
        return look_again(candidates, looks, progress, looking=looking, at_once=at_once)

    def keepers(self, choice: Choice) -> list[Cluster]:
        """Of each picture's copies one stays; a large cluster or many small ones a task."""
        return choice.joined(self._chosen(choice))

    def _chosen(self, choice: Choice) -> Iterator[tuple[Choice, list[Cluster]]]:
        parts = list(choice.parts())
        if parts:
            for chosen, _ in ordered_parts(self._engine, _choose, parts, ahead=self._ahead()):
                yield chosen

    def _ahead(self) -> int:
        return _TASKS_EACH * max(self._engine.count("CPU"), 1)


_UNREAD: Final = "cannot be read"


@dataclass(frozen=True)
class _Part:
    """Some candidates, and the files of their pictures."""

    candidates: CandidatePairs
    paths: Mapping[int, Path]


def _look(part: _Part) -> tuple[tuple[Verdicts, set[int]], None]:
    """((the verdicts, the pictures that could not be read), nothing that stays with Ray)."""
    looks = Looks.at_files(part.paths.__getitem__)
    return (look_at_part(part.candidates, looks), looks.unread), None


def _choose(part: Choice) -> tuple[tuple[Choice, list[Cluster]], None]:
    """((the part, with what it has learnt of its pictures; the clusters), nothing that stays with Ray)."""
    enter(Path.cwd(), part.root)
    return (part, part.keepers()), None


def _pictures(part: CandidatePairs) -> list[int]:
    pictures: list[int] = np.unique(np.concatenate([part.first, part.second])).tolist()
    return pictures
