"""The choice of which copy stays, made for all clusters at once or for some of them at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.blas import blas_by_one_thread
from curate.catalog import Picture
from curate.cleaning.keepers import POLICIES, Evidence
from curate.duplicates import NearDuplicates, looks_at
from curate.forked import results_of
from curate.lookalikes.clusters import Cluster, Copy, clusters
from curate.lookalikes.search_engine import LocalSearch, SearchEngine, raise_killed

_CONTENTS: Final = 32  # contents of a part: those of one cluster, or of many small ones, some seconds of work


@dataclass(frozen=True, eq=False)
class Choice:
    """Pictures below `root`, the copies that were `found` among them, and by what is chosen among these.

    `policy` is a name of `POLICIES`; `chosen` are the positions that a person chose, as in
    `curate.lookalikes.clusters.clusters`. `positions` are those of the pictures in the choice that this is a part of.
    """

    root: Path
    pictures: Sequence[Picture]
    found: NearDuplicates
    policy: str
    evidence: Evidence
    chosen: Mapping[int, int]
    positions: Sequence[int] = ()

    def keepers(self) -> list[Cluster]:
        """Of each picture's copies one stays."""
        return clusters(
            self.found,
            self._rank,
            looks_at(self.root, self.pictures, self.found.contents),
            by_source=POLICIES[self.policy].by_source,
            chosen=self.chosen,
        )

    def parts(self) -> Iterator["Choice"]:
        """The same choice in parts that have no copies of each other; pictures without a copy are in none."""
        contents, part_of = _parted(self.found)
        same = np.flatnonzero(self.found.same)
        numbers = part_of[self.found.first[same]]
        order = np.argsort(numbers, kind="stable")
        pairs, ends = same[order], np.searchsorted(numbers[order], np.arange(len(contents) + 1))
        for part, members in enumerate(contents):
            yield self._part(members, pairs[ends[part] : ends[part + 1]])

    def joined(self, parts: Iterator[tuple["Choice", list[Cluster]]]) -> list[Cluster]:
        """What was chosen in all parts, as `keepers` gives it. What they learnt of the pictures is kept."""
        found = []
        for part, of_part in parts:
            self.evidence.learn(part.evidence)
            found += [_renumbered(cluster, part.positions) for cluster in of_part]
        return sorted(found, key=lambda cluster: self._rank(cluster.keeper))

    def _rank(self, at: int) -> tuple[object, ...]:
        return POLICIES[self.policy].rank(self.pictures[at], self.evidence)

    def _part(self, contents: NDArray[np.intp], pairs: NDArray[np.intp]) -> "Choice":
        """That of some contents, ascending, and of these pairs of copies among them."""
        held = [self.found.contents[content] for content in contents.tolist()]
        positions = sorted(position for members in held for position in members)
        place = {position: at for at, position in enumerate(positions)}
        pictures = [self.pictures[position] for position in positions]
        found = self.found
        some = NearDuplicates(
            [[place[position] for position in members] for members in held],
            np.searchsorted(contents, found.first[pairs]).astype(np.int32),
            np.searchsorted(contents, found.second[pairs]).astype(np.int32),
            found.distance[pairs],
            found.verdict[pairs],
            found.variant[pairs] if len(found.variant) else found.variant,
            found.placement[pairs] if len(found.placement) else found.placement,
        )
        return replace(
            self,
            pictures=pictures,
            found=some,
            evidence=self.evidence.of(pictures),
            chosen={place[position]: number for position, number in self.chosen.items() if position in place},
            positions=positions,
        )


class CopyEngine(SearchEngine, Protocol):
    """Where the heavy parts run of what is done about copies: the search for them, and the choice among them."""

    def keepers(self, choice: Choice) -> list[Cluster]:
        """As `Choice.keepers`."""
        ...


class LocalCopies(LocalSearch):
    """All on this machine, in as many processes as it has processors."""

    def keepers(self, choice: Choice) -> list[Cluster]:
        """Of each picture's copies one stays. Raises UserError where a process is killed."""
        with blas_by_one_thread(), results_of(_chosen, list(choice.parts()), raise_killed) as results:
            return choice.joined(results)


def _chosen(part: Choice) -> tuple[Choice, list[Cluster]]:
    """The part, with what it has learnt of its pictures, and its clusters."""
    return part, part.keepers()


def _parted(found: NearDuplicates) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """The contents of each part, ascending, and the part of each content, -1 for none.

    What hangs together by copies is in one part; contents alone are in one where several pictures have them.
    """
    from scipy.sparse import coo_array  # takes a while to import
    from scipy.sparse.csgraph import connected_components

    n = len(found.contents)
    first, second = found.first[found.same], found.second[found.same]
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(n, n))
    component = connected_components(graph, directed=False)[1] if n else np.empty(0, np.intp)
    matters = np.array([len(positions) > 1 for positions in found.contents], np.bool_)
    matters[first] = matters[second] = True
    members = np.flatnonzero(matters)
    members = members[np.argsort(component[members], kind="stable")]
    counts = np.bincount(component[members], minlength=1)
    # A component begins a new part where those before it fill one.
    begun = np.cumsum(counts) - counts
    part = (begun // _CONTENTS)[component[members]]
    number = np.unique(part, return_inverse=True)[1]
    part_of = np.full(n, -1, np.intp)
    part_of[members] = number
    cuts = np.flatnonzero(np.diff(number)) + 1
    return [np.sort(contents) for contents in np.split(members, cuts)] if len(members) else [], part_of


def _renumbered(cluster: Cluster, positions: Sequence[int]) -> Cluster:
    copies = tuple(Copy(positions[copy.position], copy.distance, copy.relation) for copy in cluster.copies)
    return Cluster(positions[cluster.keeper], copies)
