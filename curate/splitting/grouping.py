"""What must not part in a split: near-duplicates, and pictures of one origin; and the proof that none did."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.credits import origins
from curate.dataset import SPLITS
from curate.lookalikes.cached_search import Neighbours
from curate.splitting.picture_table import NOWHERE, PictureTable

MOST_BOUND = 50
"""Pictures that only their hashes hold together stay together up to groups of this size, so that no pair within the
radius crosses at all. Without the bound, chance pairs among millions would chain up into one heap.
"""


@dataclass(frozen=True, eq=False)
class Links:
    """What holds contents together, as pairs of places in `PictureTable.sha256`, int32[p, 2] each.

    `same`: one picture twice. `told_apart`: hashes within the radius, yet other pixels. `origins` int32[q, 2] is
    (content, number of its origin): one observation, one source page.
    """

    same: NDArray[np.int32]
    told_apart: NDArray[np.int32]
    origins: NDArray[np.int32]

    def by_origin(self) -> Iterable[list[int]]:
        """The contents of each origin."""
        members: dict[int, list[int]] = {}
        for content, origin in self.origins.tolist():
            members.setdefault(origin, []).append(content)
        return members.values()


@dataclass
class Group:
    """Contents that must not part, of which none has a split yet. `fixed` are the splits of what they belong to,
    and `beside` those of pictures whose hashes alone are near.
    """

    contents: list[int]
    fixed: set[int] = field(default_factory=set)
    beside: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Proof:
    """Pairs across the splits. `near_duplicates` and `provenance` are 0, but for those that a dataset arrived with;
    `told_apart` counts pairs whose hashes are near while their pixels differ.
    """

    near_duplicates: int
    told_apart: int
    provenance: int
    pictures: int


def links_of(table: PictureTable, catalog: Catalog, neighbours: Neighbours) -> Links:
    """Put together what the pixels, the hashes and the credits say."""
    pairs = np.column_stack([neighbours.first, neighbours.second])
    # A crowd holds together by a link from each of its contents to the next.
    crowd = neighbours.crowd[np.argsort(neighbours.crowd[:, 0], kind="stable")]
    chained = crowd[1:, 0] == crowd[:-1, 0]
    chain = np.column_stack([crowd[:-1, 1], crowd[1:, 1]])[chained]
    return Links(np.concatenate([pairs[neighbours.same], chain]), pairs[~neighbours.same], _origins(table, catalog))


def groups_of(links: Links, mask: NDArray[np.uint8]) -> Iterator[Group]:
    """Join the contents without a split that belong together; those that belong to nothing make no group.

    `mask` uint8[c] has bit s set where a picture of that content is in split s. What has a split joins nothing, so a
    picture between two splits is held back alone, and not with everything that is near to one of them.
    """
    union = _UnionFind()
    for a, b in links.same.tolist():
        _link(union, mask, a, b)
    for contents in links.by_origin():
        new = [content for content in contents if not mask[content]]
        fixed = _splits(mask, contents)
        for content in new:
            union.join(new[0], content)
        if new and fixed:
            union.fix(new[0], fixed)
    # In the order of the contents, which are the sha256's: what is refused does not depend on any listing.
    for a, b in sorted(map(sorted, links.told_apart.tolist())):
        if mask[a] and mask[b]:
            continue
        if mask[a] or mask[b]:
            union.put_beside(b if mask[a] else a, _splits(mask, [a, b]))
        elif len(union.fixed(a) | union.fixed(b)) > 1:
            union.put_beside(a, union.fixed(b))
        elif union.size(a) + union.size(b) <= MOST_BOUND:
            union.join(a, b)
    yield from union.groups()


def _link(union: "_UnionFind", mask: NDArray[np.uint8], a: int, b: int) -> None:
    if mask[a] and mask[b]:
        return
    if mask[a] or mask[b]:
        union.fix(b if mask[a] else a, _splits(mask, [a, b]))
    else:
        union.join(a, b)


def _splits(mask: NDArray[np.uint8], contents: Iterable[int]) -> set[int]:
    together = int(np.bitwise_or.reduce(mask[list(contents)], initial=0))
    return {split for split in range(len(SPLITS)) if together >> split & 1}


class _UnionFind:
    """Disjoint sets of contents, by union of size with path halving (Tarjan 1975), made as they are mentioned."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._group: dict[int, Group] = {}

    def _root(self, at: int) -> int:
        parent = self._parent
        if at not in parent:
            parent[at] = at
            self._group[at] = Group([at])
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    def join(self, a: int, b: int) -> None:
        a, b = self._root(a), self._root(b)
        if a == b:
            return
        if self.size(a) < self.size(b):
            a, b = b, a
        self._parent[b] = a
        into, joined = self._group[a], self._group.pop(b)
        into.contents += joined.contents
        into.fixed |= joined.fixed
        into.beside |= joined.beside

    def fix(self, at: int, splits: set[int]) -> None:
        self._group[self._root(at)].fixed.update(splits)

    def put_beside(self, at: int, splits: set[int]) -> None:
        self._group[self._root(at)].beside.update(splits)

    def size(self, at: int) -> int:
        return len(self._group[self._root(at)].contents)

    def fixed(self, at: int) -> set[int]:
        return self._group[self._root(at)].fixed

    def groups(self) -> Iterable[Group]:
        for group in self._group.values():
            group.contents.sort()
        return self._group.values()


def prove(table: PictureTable, links: Links, split: NDArray[np.int8], at: NDArray[np.int64] | None = None) -> Proof:
    """Count the pairs of pictures that lie in two splits: of one content, of near hashes, of one origin.

    `split` int8[n] is that of each picture, or with `at` int64[k] that of each file, int8[k], where `at` says which
    picture it is: so one picture may lie in several.
    """
    placed = split != NOWHERE
    content = table.content if at is None else table.content[at]
    counts = np.zeros((len(table.sha256), len(SPLITS)), dtype=np.int64)
    np.add.at(counts, (content[placed], split[placed]), 1)
    twice = _across(counts, counts).sum() // 2
    near, apart = (_across(counts[pairs[:, 0]], counts[pairs[:, 1]]).sum() for pairs in (links.same, links.told_apart))
    origins = np.zeros((int(links.origins[:, 1].max(initial=-1)) + 1, len(SPLITS)), dtype=np.int64)
    np.add.at(origins, links.origins[:, 1], counts[links.origins[:, 0]])
    return Proof(int(twice + near), int(apart), int(_across(origins, origins).sum() // 2), int(placed.sum()))


def _across(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of one of `some` with one of `others` in different splits: [k, 3] and [k, 3] → [k]."""
    pairs: NDArray[np.int64] = some.sum(axis=1) * others.sum(axis=1) - (some * others).sum(axis=1)
    return pairs


def _origins(table: PictureTable, catalog: Catalog) -> NDArray[np.int32]:
    rows = origins(catalog)
    if not rows or not len(table.sha256):
        return _NO_PAIRS
    sha256 = np.array([row[0] for row in rows], dtype="S64")
    number = np.unique(np.array([row[1] for row in rows], dtype=object), return_inverse=True)[1]
    content, held = table.find(sha256)
    return np.column_stack([content[held], number[held]]).astype(np.int32)


_NO_PAIRS = np.empty((0, 2), dtype=np.int32)
