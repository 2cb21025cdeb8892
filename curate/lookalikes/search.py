"""The search for copies among contents: what is new is searched for, and what was found before stays.

Whether two contents are one picture never changes, so a pair that was looked at is not looked at again. The answer is
that of a search from scratch, whatever came and went before. Of a crowd this needs care, for which of its pairs are
looked at depends on all of its members: a crowd that gains or loses a member is thinned anew, and of the pairs that are
then chosen those are looked at that never were.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curate.blas import blas_by_one_thread
from curate.engine.engines import current_engine
from curate.lookalikes.candidates import CandidatePairs, Hashed, candidates_among, candidates_of
from curate.lookalikes.contents import Contents
from curate.lookalikes.crowds import crowds_of
from curate.lookalikes.fingerprint import Luma
from curate.lookalikes.flat import group_flat
from curate.lookalikes.looks import Looks
from curate.lookalikes.neighbours import NOTHING, Neighbours, pair_of
from curate.lookalikes.pair_search import PairSearch
from curate.lookalikes.search_engine import SearchEngine
from curate.lookalikes.second_look import DIFFERENT, Verdicts
from curate.progress import Progress, silent

_MANY = 4  # with more than one picture in so many new, all are searched and what is known is left out

Flags = NDArray[np.bool_]


@blas_by_one_thread()
def search(
    contents: Contents,
    looks: Looks,
    radius: int,
    *,
    framed: bool = True,
    geometry: bool = False,
    known: Neighbours | None = None,
    engine: SearchEngine | None = None,
    progress: Progress = silent,
) -> Neighbours:
    """Find all copies and near pictures among the contents; `looks` are at these, by their numbers.

    `known` is what a search with the same options found among others, of which some may be there still. The answer does
    not depend on the `engine`, by default that of `on_engine`.
    """
    engine = engine or current_engine().copies()
    moved = (known or NOTHING).onto(contents.sha256)
    before = moved.found
    structured = contents.structured
    hashed = contents.hashed(structured)
    crowd = np.full(len(contents.sha256), -1, np.int32)
    crowd[structured] = crowds_of(engine.within(hashed.wholes, radius))
    changed = _changed(before.gathered, moved.lost, crowd)

    def luma(at: int) -> Luma | None:
        look = looks.coarse(int(structured[at]))
        return look.luma if look else None

    candidates = _candidates(
        hashed, radius, moved.added[structured], changed[structured], crowd[structured], luma,
        framed=framed, geometry=geometry, pairs=engine, progress=progress,
    ).of(structured)  # fmt: skip

    # What was told of a pair of one crowd, by its wholes alone, holds while both are in one crowd.
    def told(first: NDArray[np.int32], second: NDArray[np.int32]) -> Flags:
        return _together(before.gathered, first, second) & _together(crowd, first, second)

    anew = changed[before.first] & changed[before.second]
    listed = np.concatenate([before.pair()[told(before.first, before.second)], pair_of(*before.apart.T)])
    sought = candidates.pair()
    todo = candidates.take(np.flatnonzero(~np.isin(sought, listed) | ~told(candidates.first, candidates.second)))
    verdicts = engine.verdicts(todo, looks, progress)
    kept = ~anew | (told(before.first, before.second) & np.isin(before.pair(), sought))
    groups, flat = group_flat(contents, looks, before.flat)
    found = _merged(before.take(np.flatnonzero(kept)), _decided(contents.sha256, todo, verdicts))
    return replace(
        found, crowd=groups, gathered=crowd, apart=_apart(before.apart, candidates, found, crowd, changed), flat=flat
    )


def _changed(before: NDArray[np.int32], lost: NDArray[np.int32], crowd: NDArray[np.int32]) -> Flags:
    """Which contents are, or were, in a crowd that is not the very one it was: bool[c].

    `before` and `crowd` int32[c] are the crowds then and now; `lost` are those of then that had further members.
    """
    size = np.bincount(crowd[crowd >= 0], minlength=1)
    was = np.zeros(int(before.max(initial=-1)) + 1, np.bool_)  # which crowds of then are as they were
    now = np.zeros(len(size), np.bool_)
    order = np.argsort(before, kind="stable")[np.count_nonzero(before < 0) :]
    cuts = np.flatnonzero(np.diff(before[order])) + 1
    for members in np.split(order, cuts) if len(order) else []:
        numbers = crowd[members]
        if numbers[0] >= 0 and np.all(numbers == numbers[0]) and size[numbers[0]] == len(members):
            number = int(before[members[0]])
            was[number] = now[numbers[0]] = number not in lost
    changed: Flags = (before >= 0) & ~np.append(was, [False])[before] | (crowd >= 0) & ~now[crowd]
    return changed


def _candidates(
    hashed: Hashed,
    radius: int,
    added: Flags,
    changed: Flags,
    crowd: NDArray[np.int32],
    luma: Callable[[int], Luma | None],
    *,
    framed: bool,
    geometry: bool,
    pairs: PairSearch,
    progress: Progress,
) -> CandidatePairs:
    """The candidates within what changed in crowds, and those of the pictures that were added beside."""
    fresh = added & ~changed
    if np.count_nonzero(fresh) * _MANY > len(hashed):
        found = candidates_among(
            hashed, radius, crowd=crowd, luma=luma, framed=framed, geometry=geometry, pairs=pairs, progress=progress
        )
        of_fresh = fresh[found.first] | fresh[found.second]
        return found.take(np.flatnonzero(of_fresh | changed[found.first] & changed[found.second]))
    members = np.flatnonzero(changed)
    again = candidates_among(
        hashed.take(members), radius, crowd=crowd[members], luma=lambda at: luma(int(members[at])),
        framed=framed, geometry=geometry, pairs=pairs,
    ).of(members.astype(np.int32))  # fmt: skip
    others = candidates_of(fresh, hashed, radius, framed=framed, geometry=geometry, pairs=pairs, progress=progress)
    return again.joined(others)


def _decided(sha256: NDArray[np.bytes_], candidates: CandidatePairs, found: Verdicts) -> Neighbours:
    """One row a pair that is no two different pictures: the guess with the best verdict, else the nearest."""
    listed = np.flatnonzero(found.verdict != DIFFERENT)
    pair = candidates.pair()[listed]
    order = np.lexsort((-found.verdict[listed], pair))
    chosen = listed[order[np.unique(pair[order], return_index=True)[1]]]
    best = candidates.take(chosen)
    pairs = Neighbours.of_pairs(sha256, best.first, best.second, best.distance, found.verdict[chosen])
    return replace(pairs, variant=best.variant, placement=found.placement[chosen])


def _merged(some: Neighbours, others: Neighbours) -> Neighbours:
    """The pairs of both, in order."""
    columns = ("first", "second", "distance", "verdict", "variant", "placement")
    joined = {name: np.concatenate([getattr(some, name), getattr(others, name)]) for name in columns}
    order = np.argsort(pair_of(joined["first"], joined["second"]), kind="stable")
    return replace(some, **{name: column[order] for name, column in joined.items()})


def _apart(
    before: NDArray[np.int32], candidates: CandidatePairs, found: Neighbours, crowd: NDArray[np.int32], changed: Flags
) -> NDArray[np.int32]:
    """The pairs within a crowd that were looked at and told apart: int32[a, 2], in order."""
    stay = before[~changed[before[:, 0]]]
    fresh = _together(crowd, candidates.first, candidates.second) & ~np.isin(candidates.pair(), found.pair())
    pairs = np.concatenate([stay, np.column_stack([candidates.first, candidates.second])[fresh]])
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int32).reshape(-1, 2)


def _together(crowd: NDArray[np.int32], first: NDArray[np.int32], second: NDArray[np.int32]) -> Flags:
    together: Flags = (crowd[first] == crowd[second]) & (crowd[first] >= 0)
    return together
