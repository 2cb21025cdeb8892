"""A plan's heavy parts on Ray: the search for copies, the second look at them, and the choice of which stays."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from curate.cleaning.choosing import Choice
from curate.engine.ray_join import join_on_ray, joined_between
from curate.engine.ray_tasks import map_on_ray, processors_of_cluster
from curate.lookalikes.candidates import CandidatePairs
from curate.lookalikes.clusters import Cluster
from curate.lookalikes.looks import Looks
from curate.lookalikes.pair_search import FoundPairs
from curate.lookalikes.second_look import CANDIDATES_AT_ONCE, Verdicts, look_again, look_at_part
from curate.phash import Hashes, Pairs, pairs_between, pairs_within
from curate.progress import Progress

WORTH_SENDING: Final = 4_000_000
"""Hashes, below which this machine has found their pairs before tasks are under way."""

_FEWEST_CANDIDATES: Final = 512  # of a task: it begins by importing and decoding
_TASKS_EACH: Final = 2  # for each processor, so that none waits long for the last


class RayPlanning:
    """Runs on the Ray that is connected (`curate.engine.connecting`), with the answers of `LocalPlanning`.

    From `worth_sending` hashes on their pairs are found by tasks. Where a picture lies in another may differ in the
    last digits: it is worked out of many pictures at once, and of others together than here.
    """

    def __init__(self, worth_sending: int = WORTH_SENDING) -> None:
        self._worth_sending = worth_sending

    def within(self, hashes: Hashes, radius: int) -> Pairs:
        """All pairs of these hashes."""
        if len(hashes) < self._worth_sending:
            return pairs_within(hashes, radius)
        return join_on_ray(hashes, radius)[0]

    def between(self, few: Hashes, many: Hashes, radius: int) -> FoundPairs:
        """All pairs of one of a few and one of many."""
        if len(few) + len(many) < self._worth_sending:
            return pairs_between(few, many, radius)
        return joined_between(few, many, radius)

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """The verdict on each candidate; a part of them a task. Pictures that have no files are looked at here."""
        path = looks.path
        if path is None:
            return look_again(candidates, looks, progress)

        def looking(parts: Iterable[CandidatePairs]) -> Iterator[Verdicts]:
            sent = (_Part(part, {at: path(at) for at in _pictures(part)}) for part in parts)
            for found, unread in map_on_ray(_look, sent):
                looks.unread.update(unread)
                yield found

        share = len(candidates) // (_TASKS_EACH * processors_of_cluster())
        at_once = min(max(share, _FEWEST_CANDIDATES), CANDIDATES_AT_ONCE)
        return look_again(candidates, looks, progress, looking=looking, at_once=at_once)

    def keepers(self, choice: Choice) -> list[Cluster]:
        """Of each picture's copies one stays; a large cluster or many small ones a task."""
        return choice.joined(map_on_ray(_choose, choice.parts()))


@dataclass(frozen=True)
class _Part:
    """Some candidates, and the files of their pictures."""

    candidates: CandidatePairs
    paths: Mapping[int, Path]


def _look(part: _Part) -> tuple[Verdicts, set[int]]:
    looks = Looks.at_files(part.paths.__getitem__)
    return look_at_part(part.candidates, looks), looks.unread


def _choose(part: Choice) -> tuple[Choice, list[Cluster]]:
    """The part comes back for what it has learnt of its pictures."""
    return part, part.keepers()


def _pictures(part: CandidatePairs) -> list[int]:
    pictures: list[int] = np.unique(np.concatenate([part.first, part.second])).tolist()
    return pictures
