"""Clusters of copies: which of them is the source and stays, and that each that leaves was verified against it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from curate.duplicates import NearDuplicates
from curate.lookalikes.alignment import Alignment
from curate.lookalikes.looks import Looks
from curate.lookalikes.relation import CopyLooks, Relation, relate
from curate.lookalikes.second_look import COPY, compared, look_closer

_MOST_MATCHES = 8  # contents of a cluster, up to which all pairs are related
_MOST_SOURCES = 32  # contents of a cluster, the best-ranked, that its source is sought among
_UNKNOWN = -1  # bits: the hashes of the two were not compared


@dataclass(frozen=True)
class Copy:
    """A picture that leaves for a keeper, by position.

    `distance` is that of their hashes in bits, -1 where they met through a third; `relation` is how the copy relates to
    the keeper, None for the same bytes and where nothing but their likeness is known.
    """

    position: int
    distance: int
    relation: Relation | None = None


@dataclass(frozen=True)
class Cluster:
    """A picture that stays, and its copies, each of which was verified against it."""

    keeper: int
    copies: tuple[Copy, ...]


def clusters(
    found: NearDuplicates,
    rank: Callable[[int], Any],
    looks: Looks | None = None,
    *,
    by_source: bool = True,
    chosen: Mapping[int, int] | None = None,
) -> list[Cluster]:
    """Of each picture's copies one stays: its source, and where nothing tells, the first by `rank`.

    `rank` is a sort key for positions, best first; without `by_source` it alone decides. `chosen` are the positions
    that a person chose to stay, whatever else holds; of several in one place that with the greatest number. With
    `looks` at the contents, members that met through a third are verified against the one that stays; without, it takes
    the copies that were found of it. No two keepers are copies of each other.
    """
    family = _Families(found, rank, looks, by_source=by_source and looks is not None)
    chosen = chosen or {}
    result = []
    for contents in family.connected():
        left = contents
        while left:
            wanted = [(max(chosen.get(at, 0) for at in found.contents[content]), -content) for content in left]
            keeper = -max(wanted)[1] if max(wanted)[0] else family.source(left)
            copies = {content: link for content in left if content != keeper and (link := family.link(content, keeper))}
            members = found.contents[keeper]
            stays, *same = sorted(members, key=lambda at: (-chosen.get(at, 0), rank(at)))
            leaving = [Copy(position, 0) for position in same]
            for content, (distance, relation) in copies.items():
                leaving += [Copy(position, distance, relation) for position in found.contents[content]]
            if leaving:
                leaving.sort(key=lambda copy: rank(copy.position))
                result.append(Cluster(stays, tuple(leaving)))
            left = [content for content in left if content != keeper and content not in copies]
    return sorted(result, key=lambda cluster: rank(cluster.keeper))


class _Families:
    """The contents that hang together by copies, and how any two of them relate."""

    def __init__(
        self, found: NearDuplicates, rank: Callable[[int], Any], looks: Looks | None, *, by_source: bool
    ) -> None:
        self.found = found
        self.by_source = by_source
        self.looks = looks
        self.links = found.placements()
        self.neighbours: dict[int, dict[int, int]] = defaultdict(dict)
        for one, other, distance in found.copies():
            self.neighbours[one][other] = self.neighbours[other][one] = distance
        crowded = {content for content, positions in enumerate(found.contents) if len(positions) > 1}
        # Only of what is double: to rank a picture may mean to decode it.
        self.rank = {
            content: min(rank(position) for position in found.contents[content])
            for content in crowded | self.neighbours.keys()
        }
        self.placed: dict[tuple[int, int], Alignment | None] = {}
        self.ways: tuple[int, dict[int, Alignment]] = (-1, {})
        self.relations: dict[tuple[int, int], Relation | None] = {}

    def connected(self) -> Iterator[list[int]]:
        """The contents that hang together by copies, and those that several pictures have; best-ranked first."""
        done: set[int] = set()
        for start in sorted(self.rank, key=self.rank.__getitem__):
            if start in done:
                continue
            done.add(start)
            members = [start]
            for content in members:
                fresh = [near for near in self.neighbours[content] if near not in done]
                done.update(fresh)
                members += fresh
            yield sorted(members, key=self.rank.__getitem__)

    def source(self, contents: Sequence[int]) -> int:
        """The content that most of the others were made from; the best-ranked where nothing tells."""
        if not self.by_source:
            return contents[0]
        contents = contents[:_MOST_SOURCES]
        if len(contents) <= _MOST_MATCHES:  # each is held against each, and the one that wins most often stays
            wins = dict.fromkeys(contents, 0)
            for one, other in combinations(contents, 2):
                wins[one if self._is_before(one, other) else other] += 1
            return min(contents, key=lambda content: (-wins[content], self.rank[content]))
        best = contents[0]
        for content in [*contents[1:], *contents]:
            if content != best and self._is_before(content, best):
                best = content
        return best

    def _is_before(self, content: int, best: int) -> bool:
        """Whether a content is the source of the best so far, or is the hub where they are no copies of each other."""
        relation = self.relation(content, best)
        if relation is None:
            degree = len(self.neighbours[content]), len(self.neighbours[best])
            return degree[0] > degree[1] or (degree[0] == degree[1] and bool(self.rank[content] < self.rank[best]))
        if self._in_split(content) != self._in_split(best):
            return bool(self.rank[content] < self.rank[best])
        return relation.source == "first" or (not relation.source and bool(self.rank[content] < self.rank[best]))

    def _in_split(self, content: int) -> object:
        """The first point of every rank: which split holds it."""
        rank = self.rank[content]
        return rank[0] if isinstance(rank, tuple) else None

    def link(self, content: int, keeper: int) -> tuple[int, Relation | None] | None:
        """(distance of the hashes, relation) of a copy to the one that stays; None where it is no copy of it."""
        distance = self.neighbours[content].get(keeper, _UNKNOWN)
        if self.looks is None:
            return None if distance == _UNKNOWN else (distance, None)
        relation = self.relation(content, keeper)
        # What was found to be a copy is one, also where its file has gone since.
        return None if relation is None and distance == _UNKNOWN else (distance, relation)

    def relation(self, one: int, other: int) -> Relation | None:
        """How a content relates to another; None where they are no copies of each other."""
        if (other, one) in self.relations:
            found = self.relations[other, one]
            return None if found is None else found.inverse()
        if (one, other) not in self.relations:
            self.relations[one, other] = self._relate(one, other)
        return self.relations[one, other]

    def _relate(self, one: int, other: int) -> Relation | None:
        assert self.looks is not None
        placement = self.placement(one, other)
        if placement is None:
            return None
        comparison = compared(one, other, placement, self.looks)
        sights = [self._seen(content) for content in (one, other)]
        if comparison is None or sights[0] is None or sights[1] is None:
            return None
        return relate(sights[0], sights[1], placement.turn, comparison)

    def _seen(self, content: int) -> CopyLooks | None:
        assert self.looks is not None
        close, full = self.looks.close(content), self.looks.full(content)
        return None if close is None or full is None else CopyLooks(close, full)

    def placement(self, one: int, other: int) -> Alignment | None:
        """Where a content lies in another: as they were found, or else through others, verified; None: no copies."""
        if (one, other) in self.links:
            return self.links[one, other][0]
        if (other, one) in self.links:
            return self.links[other, one][0].inverse()
        if (one, other) not in self.placed:
            guess = self._through_others(one, other)
            verified = None
            if guess is not None and self.looks is not None:
                verdict, box = look_closer(one, other, guess, self.looks)
                verified = Alignment(guess.turn, box) if verdict == COPY else None
            self.placed[one, other] = verified
            self.placed[other, one] = None if verified is None else verified.inverse()
        return self.placed[one, other]

    def _through_others(self, one: int, other: int) -> Alignment | None:
        """Compose the placements along the shortest way from one to the other."""
        if self.ways[0] != other:
            self.ways = other, self._ways_from(other)
        way = self.ways[1].get(one)
        return None if way is None else way.inverse()

    def _ways_from(self, start: int) -> dict[int, Alignment]:
        """Where a content lies in each that it hangs together with, along the shortest way."""
        ways = {start: Alignment()}
        border = [start]
        while border:
            reached = []
            for content in border:
                for near in self.neighbours[content]:
                    step = self._step(content, near)
                    if near not in ways and step is not None:
                        ways[near] = ways[content].then(step)
                        reached.append(near)
            border = reached
        return ways

    def _step(self, one: int, other: int) -> Alignment | None:
        if (one, other) in self.links:
            return self.links[one, other][0]
        link = self.links.get((other, one))
        return None if link is None else link[0].inverse()
