"""Crowds: pictures of which so many lie near each other that not every pair can be looked at.

Frames of one camera, handwritten digits and icons fill a corner of the hashes, where n pictures make n² / 2 pairs. Of
such a crowd each picture is held against those few that look most like it, which is where its copies are; and chains of
these hold together what is near.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import SIDE, Luma
from curate.parallel import ordered_map
from curate.phash import Hashes, Pairs, pairs_within

MOST_ALIKE = 6
"""Pictures of its crowd that each picture is held against."""

_CROWD = 32  # pictures
_PAIRS_EACH = 16  # pairs for each picture: with more of them, it is a crowd
_LARGE = 10_000  # pictures, beyond which they are compared at 16 × 16 and not at 32 × 32
_TWINS = 1e-5  # squared distance of normed lumas
_BLOCK = 1024  # pictures compared with all at once
_SPARSE = 16  # with fewer of all pairs than one in so many within the radius, these are compared one by one
_AT_ONCE = 1 << 14  # such pairs
_HELD = 1 << 22  # and those of them that are held, until all but the nearest are dropped
_SMALL_APART = 0.2  # squared distance of small pictures' normed lumas: beyond, they are no copies

Vectors = NDArray[np.float32]


def crowds_of(pairs: Pairs) -> NDArray[np.int32]:
    """The number of the crowd that each of n hashes belongs to, -1 for none: int32[n].

    A crowd hangs together by pairs within the radius, and has more than sixteen of them for each of its pictures.
    """
    if pairs.total <= _PAIRS_EACH * _CROWD // 2:
        return np.full(len(pairs.inverse), -1, np.int32)
    from scipy.sparse import coo_array  # takes a while to import
    from scipy.sparse.csgraph import connected_components

    n = len(pairs.unique)
    graph = coo_array((np.ones(len(pairs.first), np.bool_), (pairs.first, pairs.second)), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    counts = pairs.counts.astype(np.float64)
    members = np.bincount(component, counts)
    total = np.bincount(component, counts * (counts - 1) / 2)
    total += np.bincount(component[pairs.first], counts[pairs.first] * counts[pairs.second], minlength=len(members))
    crowded = (members > _CROWD) & (total > _PAIRS_EACH * members)
    number = np.where(crowded, np.cumsum(crowded) - 1, -1).astype(np.int32)
    crowd: NDArray[np.int32] = number[component][pairs.inverse]
    return crowd


def most_alike(
    members: NDArray[np.intp],
    hashes: Hashes,
    radius: int,
    small: NDArray[np.bool_],
    luma: Callable[[int], Luma | None],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each member of a crowd, the members within the radius that look most like it: pairs (i, j), i < j.

    `hashes` uint64[n] and `small` bool[n] are of all pictures; `luma` gives a picture's reduced luma. Small pictures
    are paired only where they may be copies.
    """
    side = SIDE // 4 if len(members) > _LARGE else SIDE // 2
    vectors, seen = _vectors(members, luma, side)
    members = members[seen]
    near = pairs_within(hashes[members], radius)
    if near.total * _SPARSE < len(members) * len(members) // 2:
        pairs = _of_some(near, vectors, small[members])
    else:
        pairs = _of_all(hashes[members], radius, vectors, small[members])
    first, second = np.unique(np.sort(members[pairs], axis=1), axis=0).astype(np.int32).T
    return first, second


def _of_some(near: Pairs, vectors: Vectors, small: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The pairs of the most alike, where few are near each other: places intp[p, 2]."""
    leader = np.arange(len(vectors))
    held = [_Near(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))]
    for i, j, _ in near.expand(_AT_ONCE):
        apart = ((vectors[i] - vectors[j]) ** 2).sum(axis=1)
        twins = apart < _TWINS
        np.minimum.at(leader, j[twins], i[twins])
        chosen = ~twins & ((apart <= _SMALL_APART) | ~(small[i] | small[j]))
        i, j, apart = i[chosen], j[chosen], apart[chosen]
        held.append(_Near(np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([apart, apart])))
        if sum(len(part.row) for part in held) > _HELD:
            held = [_nearest(held)]
    nearest = _nearest(held)
    followers = np.flatnonzero(leader != np.arange(len(leader)))
    pairs = [(nearest.row, nearest.other), (followers, leader[followers])]
    return np.concatenate([np.column_stack(pair) for pair in pairs])


class _Near(NamedTuple):
    """Pairs of places, intp[p] each, and their squared distances, float32[p]."""

    row: NDArray[np.intp]
    other: NDArray[np.intp]
    apart: Vectors


def _nearest(parts: Sequence[_Near]) -> _Near:
    """Of each row's pairs the nearest few."""
    row, other, apart = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((other, apart, row))
    row, other, apart = row[order], other[order], apart[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    nearest = rank < MOST_ALIKE
    return _Near(row[nearest], other[nearest], apart[nearest])


def _of_all(hashes: Hashes, radius: int, vectors: Vectors, small: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The pairs of the most alike among all members, most of whom are near each other: places intp[p, 2]."""
    n = len(vectors)
    found = [np.empty((0, 2), np.intp)]
    lengths = (vectors**2).sum(axis=1)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        apart = lengths[rows, None] + lengths - 2 * (vectors[rows] @ vectors.T)
        apart[np.arange(len(rows)), rows] = np.inf
        apart[np.bitwise_count(hashes[rows, None] ^ hashes) > radius] = np.inf
        apart[(small[rows, None] | small) & (apart > _SMALL_APART)] = np.inf
        # Those that look the same to the last digit are all held against the first of them.
        twins = apart < _TWINS
        leader = np.minimum(np.where(twins.any(axis=1), twins.argmax(axis=1), rows), rows)
        found.append(np.column_stack([rows, leader])[leader != rows])
        apart[twins] = np.inf
        most = min(MOST_ALIKE, n - 1)
        nearest = np.argpartition(apart, most - 1, axis=1)[:, :most]
        row, place = np.nonzero(np.isfinite(np.take_along_axis(apart, nearest, axis=1)))
        found.append(np.column_stack([rows[row], nearest[row, place]]))
    return np.concatenate(found)


def _vectors(
    members: NDArray[np.intp], luma: Callable[[int], Luma | None], side: int
) -> tuple[Vectors, NDArray[np.bool_]]:
    """Lumas of mean 0 and length 1, less what all have in common: float32[m, side²]; and which could be seen, bool[m].

    What a crowd shares is most of each picture; without it, small differences keep their digits.
    """
    step = SIDE // side
    vectors, seen = np.zeros((len(members), side * side), np.float32), np.zeros(len(members), np.bool_)
    for at, plane in enumerate(ordered_map(luma, members.tolist())):
        if plane is not None:
            reduced = plane.reshape(side, step, side, step).mean(axis=(1, 3), dtype=np.float32).ravel()
            vectors[at], seen[at] = reduced - reduced.mean(), True
    vectors = vectors[seen]
    if not len(vectors):
        return vectors, seen
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors - vectors.mean(axis=0), seen
