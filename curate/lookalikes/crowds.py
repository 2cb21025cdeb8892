"""Crowds: pictures of which so many lie near each other that not every pair can be looked at.

Frames of one camera, handwritten digits and icons fill a corner of the hashes, where n pictures make n² / 2 pairs. Of
such a crowd each picture is held against those few that look most like it, which is where its copies are; and chains of
these hold together what is near.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import SIDE, Luma
from curate.parallel import ordered_map
from curate.phash import Hashes, Pairs

MOST_ALIKE = 6
"""Pictures of its crowd that each picture is held against."""

_CROWD = 32  # pictures
_PAIRS_EACH = 16  # pairs for each picture: with more of them, it is a crowd
_LARGE = 10_000  # pictures, beyond which they are compared at 16 × 16 and not at 32 × 32
_TWINS = 1e-5  # squared distance of normed lumas
_BLOCK = 1024  # pictures compared with all at once
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
    found = []
    lengths = (vectors**2).sum(axis=1)
    for start in range(0, len(members), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(members)))
        apart = lengths[rows, None] + lengths - 2 * (vectors[rows] @ vectors.T)
        apart[np.arange(len(rows)), rows] = np.inf
        apart[np.bitwise_count(hashes[members[rows], None] ^ hashes[members]) > radius] = np.inf
        apart[(small[members[rows], None] | small[members]) & (apart > _SMALL_APART)] = np.inf
        # Those that look the same to the last digit are all held against the first of them.
        twins = apart < _TWINS
        leader = np.minimum(np.where(twins.any(axis=1), twins.argmax(axis=1), rows), rows)
        found.append(np.column_stack([members[rows], members[leader]])[leader != rows])
        apart[twins] = np.inf
        most = min(MOST_ALIKE, len(members) - 1)
        nearest = np.argpartition(apart, most - 1, axis=1)[:, :most]
        row, place = np.nonzero(np.isfinite(np.take_along_axis(apart, nearest, axis=1)))
        found.append(np.column_stack([members[rows[row]], members[nearest[row, place]]]))
    pairs = np.sort(np.concatenate(found), axis=1) if found else np.empty((0, 2), np.intp)
    first, second = np.unique(pairs, axis=0).astype(np.int32).T
    return first, second


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
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors - vectors.mean(axis=0), seen
