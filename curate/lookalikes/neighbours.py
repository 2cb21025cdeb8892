"""What a search has found among contents: what the next search need not find again."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import VARIANTS
from curate.lookalikes.second_look import COPY, NEAR

_FARTHEST = 100.0  # of a picture's width or height: no box of a placement reaches further
_SMALLEST = 1e-3  # of the same: no box is smaller


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What was found among different contents, which are numbered in order of their `sha256`, S64[c].

    `first`, `second` int32[p] are the pairs that are copies or near, by ascending numbers; `distance` uint8[p] is in
    bits, `verdict` int8[p] is `NEAR` or `COPY`, `variant` int8[p] and `placement` float32[p, 4] are as in
    `curate.duplicates`. `crowd` int32[q, 2] is (number of a group, content): flat contents of one group are one picture
    too, too many of them to list each pair.

    The rest is for the next search. `gathered` int32[c] is the number of the crowd whose pairs were thinned
    (`curate.lookalikes.crowds`), -1 for none, and `apart` int32[a, 2] the pairs within one that were told apart; `flat`
    int32[f, 3] is what close looks at flat contents found: (content, content, whether they agree).
    """

    sha256: NDArray[np.bytes_]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    verdict: NDArray[np.int8]
    variant: NDArray[np.int8]
    placement: NDArray[np.float32]
    crowd: NDArray[np.int32]
    gathered: NDArray[np.int32]
    apart: NDArray[np.int32]
    flat: NDArray[np.int32]

    @classmethod
    def of_pairs(
        cls,
        sha256: NDArray[np.bytes_],
        first: NDArray[np.int32],
        second: NDArray[np.int32],
        distance: NDArray[np.uint8],
        verdict: NDArray[np.int8],
        crowd: NDArray[np.int32] | None = None,
    ) -> "Neighbours":
        """Pairs of pictures that lie on each other whole; no crowd was thinned."""
        pairs = len(first)
        whole = np.tile(np.array([0, 1, 0, 1], np.float32), (pairs, 1))
        return cls(
            sha256, first, second, distance, verdict, np.full(pairs, -1, np.int8), whole,
            np.empty((0, 2), np.int32) if crowd is None else crowd,
            np.full(len(sha256), -1, np.int32), np.empty((0, 2), np.int32), np.empty((0, 3), np.int32),
        )  # fmt: skip

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which pairs are copies: bool[p]."""
        copies: NDArray[np.bool_] = self.verdict == COPY
        return copies

    def pair(self) -> NDArray[np.uint64]:
        """One number a pair of contents, whichever is first."""
        return pair_of(self.first, self.second)

    def first_of_group(self) -> NDArray[np.intp]:
        """Of each content itself, but of a flat one the first of its group, which are one picture: intp[c]."""
        stands_for = np.arange(len(self.sha256))
        order = np.lexsort((self.crowd[:, 1], self.crowd[:, 0]))
        group, content = self.crowd[order].T
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        stands_for[content] = np.repeat(content[starts], np.diff(np.append(starts, len(order))))
        return stands_for

    def is_sound(self) -> bool:
        """Whether the columns fit together, name no content that is not there, and say what a search can say."""
        pairs, contents = len(self.first), len(self.sha256)
        shapes = (
            (self.sha256, "S64", (contents,)), (self.first, "i4", (pairs,)), (self.second, "i4", (pairs,)),
            (self.distance, "u1", (pairs,)), (self.verdict, "i1", (pairs,)), (self.variant, "i1", (pairs,)),
            (self.placement, "f4", (pairs, 4)), (self.crowd, "i4", (len(self.crowd), 2)),
            (self.gathered, "i4", (contents,)), (self.apart, "i4", (len(self.apart), 2)),
            (self.flat, "i4", (len(self.flat), 3)),
        )  # fmt: skip
        if any(column.dtype != kind or column.shape != shape for column, kind, shape in shapes):
            return False
        numbers = [self.first, self.second, self.crowd[:, 1], self.apart.ravel(), self.flat[:, :2].ravel()]
        return (
            _within(np.concatenate(numbers), 0, contents)
            and _within(self.gathered, -1, max(1, contents))
            and _within(self.crowd[:, 0], 0, max(1, contents))
            and len(np.unique(self.crowd[:, 1])) == len(self.crowd)
            and bool(np.all(self.sha256[:-1] < self.sha256[1:]))
            and self._says_what_a_search_says()
        )

    def _says_what_a_search_says(self) -> bool:
        pair = self.pair()
        left, right, top, bottom = self.placement.T
        smallest = np.minimum(right - left, bottom - top)
        return (
            bool(np.all(self.first != self.second) and np.all(pair[:-1] < pair[1:]))
            and bool(np.all(np.isin(self.verdict, (NEAR, COPY))))
            and _within(self.distance, 0, 65)
            and _within(self.variant, -1, len(VARIANTS))
            and bool(np.all(np.abs(self.placement) <= _FARTHEST) and np.all(smallest >= _SMALLEST))  # nan is neither
            and bool(np.all(self.apart[:, 0] != self.apart[:, 1]))
            and _within(self.flat[:, 2], 0, 2)
        )

    def among(self, sha256: NDArray[np.bytes_]) -> "Neighbours | None":
        """What was found among some of the contents, S64[d] ascending; None where a search would say more.

        So it is where some were not searched, where a thinned crowd has lost a member, for whose sake another pair may
        not have been looked at, and where a flat picture that was looked at left, round which others were grouped. A
        set that becomes a crowd by what left it keeps all of its pairs, which are more than a search would look at.
        """
        moved = self.onto(sha256)
        gone = np.ones(len(self.sha256), np.bool_)
        gone[np.isin(self.sha256, sha256)] = False
        leads = np.zeros(len(self.sha256), np.bool_)
        leads[self.flat[:, :2].ravel()] = True
        complete = not moved.added.any() and not len(moved.lost) and not (gone & leads).any()
        return moved.found if complete else None

    def onto(self, sha256: NDArray[np.bytes_]) -> "Moved":
        """The same in the numbers of these contents, S64[d] ascending, without those that are not among them."""
        place = np.minimum(np.searchsorted(sha256, self.sha256), max(0, len(sha256) - 1)).astype(np.int32)
        there = sha256[place] == self.sha256 if len(sha256) else np.zeros(len(self.sha256), np.bool_)
        number = np.where(there, place, -1).astype(np.int32)
        added = np.ones(len(sha256), np.bool_)
        added[place[there]] = False
        gathered = np.full(len(sha256), -1, np.int32)
        gathered[place[there]] = self.gathered[there]
        lost = np.unique(self.gathered[~there & (self.gathered >= 0)])
        kept = (number[self.first] >= 0) & (number[self.second] >= 0)
        crowd = np.column_stack([self.crowd[:, 0], number[self.crowd[:, 1]]])
        flat = np.column_stack([number[self.flat[:, :2]], self.flat[:, 2]]).astype(np.int32)
        apart = number[self.apart]
        pairs = self.take(np.flatnonzero(kept))
        return Moved(
            replace(
                pairs,
                sha256=sha256,
                first=number[pairs.first],
                second=number[pairs.second],
                crowd=crowd[crowd[:, 1] >= 0],
                gathered=gathered,
                apart=apart[(apart >= 0).all(axis=1)],
                flat=flat[(flat >= 0).all(axis=1)],
            ),
            added,
            lost,
        )

    def take(self, chosen: NDArray[np.intp]) -> "Neighbours":
        """Some of the pairs, by index."""
        columns = ("first", "second", "distance", "verdict", "variant", "placement")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})


@dataclass(frozen=True, eq=False)
class Moved:
    """What was found, among contents of which some may be new: `added` bool[d]; `lost` are the crowds, by number, that
    had further members.
    """

    found: Neighbours
    added: NDArray[np.bool_]
    lost: NDArray[np.int32]


NOTHING = Neighbours.of_pairs(
    np.empty(0, "S64"), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int8)
)
"""Of no contents."""


def pair_of(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.uint64]:
    """One number a pair, whichever is first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    packed: NDArray[np.uint64] = low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)
    return packed


def _within(values: NDArray[np.integer], low: int, end: int) -> bool:
    return bool(np.all((values >= low) & (values < end)))
