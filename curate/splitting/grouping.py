"""What must not part in a split: copies, near pictures, one scene, one origin, a group of the user's; and the proof."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.origin_facts import observed_photos, origin_facts
from curate.dataset import SPLITS
from curate.defaults import Bind
from curate.lookalikes.cached_search import Neighbours
from curate.lookalikes.neighbours import pair_of
from curate.origins import nameless_origins, origins_of, unknown_origins
from curate.splitting.picture_table import NOWHERE, PictureTable

NO_PAIRS = np.empty((0, 2), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Links:
    """What holds contents together, as places in `PictureTable.sha256`, int32[p, 2] each.

    `copies` and `near` are pairs of contents: one picture twice, and two pictures of one thing; `scenes` are near
    pictures that no hash sees, which features proposed. `origins` and `groups` are pairs of a content and a number: of
    its origin (one observation, one source page), and of the user's group. `unknown` counts the contents of which no
    source told the observation, `nameless` those among them that name no author either.
    """

    copies: NDArray[np.int32]
    near: NDArray[np.int32]
    origins: NDArray[np.int32]
    groups: NDArray[np.int32]
    unknown: int = 0
    scenes: NDArray[np.int32] = field(default_factory=lambda: NO_PAIRS)
    nameless: int = 0

    def bound(self, bind: Bind) -> "Links":
        """The links that hold: all, or all but those of near pictures and scenes.

        What is near was registered pixel by pixel, so no chance pair is among it, and a chain of it is a series: a
        fixed camera's 600 frames are one group. So no size is too large for a group.
        """
        return self if bind == "near" else replace(self, near=NO_PAIRS, scenes=NO_PAIRS)

    def parting(self) -> NDArray[np.int32]:
        """The copies and the near pictures: of two that have their splits already, one leaves where these differ.

        Scenes are not among them. Whether there were features when a split was drawn is chance, and no reason to move.
        """
        return np.concatenate([self.copies, self.near])

    def pairs(self) -> NDArray[np.int32]:
        """The copies, the near pictures and those of one scene."""
        return np.concatenate([self.copies, self.near, self.scenes])

    def together(self) -> Iterator[list[int]]:
        """The contents of each origin, and of each group."""
        for relation in (self.origins, self.groups):
            members: dict[int, list[int]] = {}
            for content, number in relation.tolist():
                members.setdefault(number, []).append(content)
            yield from members.values()


@dataclass
class Group:
    """Contents that must not part, of which none has a split yet; `fixed` are the splits of what they belong to."""

    contents: list[int]
    fixed: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Proof:
    """Pairs of pictures across the splits, by what they are to each other.

    All are 0, but for those that a dataset arrived with, for `near` where a split binds copies alone, and for `scenes`
    that were found when both pictures had their splits. Of these there are `found` pairs of contents in all. Nothing is
    said of the `unknown` contents, whose observation no source told: they were kept with what else their author took,
    but for the `nameless` ones among them, which have none.
    """

    copies: int
    near: int
    origins: int
    groups: int
    pictures: int
    unknown: int = 0
    scenes: int = 0
    found: int = 0
    nameless: int = 0

    @property
    def near_duplicates(self) -> int:
        """Pairs of copies, of near pictures, and of one scene."""
        return self.copies + self.near + self.scenes

    @property
    def leaks(self) -> int:
        """Pairs that make a test worth less for certain. Near ones are other pictures, and often arrive so."""
        return self.copies + self.origins + self.groups


def links_of(
    table: PictureTable,
    catalog: Catalog,
    neighbours: Neighbours,
    groups: NDArray[np.int32] = NO_PAIRS,
    scenes: NDArray[np.int32] = NO_PAIRS,
) -> Links:
    """Put together what the pixels and the credits say, the user's `groups` and the `scenes`, as in `Links`.

    What is a copy or near by the hashes is no scene besides.
    """
    pairs = np.column_stack([neighbours.first, neighbours.second])
    # A crowd holds together by a link from each of its contents to the next.
    crowd = neighbours.crowd[np.argsort(neighbours.crowd[:, 0], kind="stable")]
    chained = crowd[1:, 0] == crowd[:-1, 0]
    chain = np.column_stack([crowd[:-1, 1], crowd[1:, 1]])[chained]
    copies = np.concatenate([pairs[neighbours.same], chain])
    facts, observed = origin_facts(catalog), observed_photos(catalog)
    held = {sha256.decode() for sha256 in table.sha256.tolist()}
    unknown, nameless = (len(of(facts, observed) & held) for of in (unknown_origins, nameless_origins))
    known = pair_of(*pairs.T)
    scenes = scenes[~np.isin(pair_of(*scenes.T), known)]
    origins = _origins(table, origins_of(facts, observed))
    return Links(copies, pairs[~neighbours.same], origins, groups, unknown, scenes, nameless)


def groups_of(links: Links, mask: NDArray[np.uint8]) -> Iterator[Group]:
    """Join the contents without a split that belong together; those that belong to nothing make no group.

    `mask` uint8[c] has bit s set where a picture of that content is in split s. What has a split joins nothing, so a
    picture between two splits is held back alone, and not with everything that belongs to one of them.
    """
    union = _UnionFind()
    for a, b in links.pairs().tolist():
        _link(union, mask, a, b)
    for contents in links.together():
        new = [content for content in contents if not mask[content]]
        fixed = _splits(mask, contents)
        for content in new:
            union.join(new[0], content)
        if new and fixed:
            union.fix(new[0], fixed)
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
        if len(self._group[a].contents) < len(self._group[b].contents):
            a, b = b, a
        self._parent[b] = a
        into, joined = self._group[a], self._group.pop(b)
        into.contents += joined.contents
        into.fixed |= joined.fixed

    def fix(self, at: int, splits: set[int]) -> None:
        self._group[self._root(at)].fixed.update(splits)

    def groups(self) -> Iterable[Group]:
        for group in self._group.values():
            group.contents.sort()
        return self._group.values()


def prove(table: PictureTable, links: Links, split: NDArray[np.int8], at: NDArray[np.int64] | None = None) -> Proof:
    """Count the pairs of pictures that lie in two splits, by what links them; one content twice is a pair of copies.

    `split` int8[n] is that of each picture, or with `at` int64[k] that of each file, int8[k], where `at` says which
    picture it is: so one picture may lie in several.
    """
    placed = split != NOWHERE
    content = table.content if at is None else table.content[at]
    counts = np.zeros((len(table.sha256), len(SPLITS)), dtype=np.int64)
    np.add.at(counts, (content[placed], split[placed]), 1)
    twice = _across(counts, counts).sum() // 2
    copies, near, scenes = (
        int(_across(counts[pairs[:, 0]], counts[pairs[:, 1]]).sum())
        for pairs in (links.copies, links.near, links.scenes)
    )
    origin, group = (_within(relation, counts) for relation in (links.origins, links.groups))
    return Proof(
        *(int(twice) + copies, near, origin, group, int(placed.sum()), links.unknown, scenes, len(links.scenes)),
        links.nameless,
    )


def _within(relation: NDArray[np.int32], counts: NDArray[np.int64]) -> int:
    """Pairs of pictures of one origin or group in different splits; `counts` int64[c, 3] are the contents' pictures."""
    members = np.zeros((int(relation[:, 1].max(initial=-1)) + 1, len(SPLITS)), dtype=np.int64)
    np.add.at(members, relation[:, 1], counts[relation[:, 0]])
    return int(_across(members, members).sum() // 2)


def _across(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of one of `some` with one of `others` in different splits: [k, 3] and [k, 3] → [k]."""
    pairs: NDArray[np.int64] = some.sum(axis=1) * others.sum(axis=1) - (some * others).sum(axis=1)
    return pairs


def _origins(table: PictureTable, rows: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
    if not rows or not len(table.sha256):
        return NO_PAIRS
    sha256 = np.array([row[0] for row in rows], dtype="S64")
    number = np.unique(np.array([row[1] for row in rows], dtype=object), return_inverse=True)[1]
    content, held = table.find(sha256)
    return np.column_stack([content[held], number[held]]).astype(np.int32)
