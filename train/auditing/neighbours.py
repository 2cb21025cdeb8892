"""Which pictures of a class lie nearest to a picture: exactly, or by cells where a class is large."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.auditing.gaussians import Floats

NEAREST: Final = 3

LARGE: Final = 16_384
"""Pictures of a class from which on cells are searched in the place of all.

Of features in clusters 97% of the nearest are found then, of noise without any 88%.
"""

_PROBED: Final = 12  # cells that are searched for each picture
_BLOCK: Final = 2_048  # pictures that are held against others at once


def unit(rows: Floats) -> Floats:
    """Rows (n, k) at length 1, of which products are cosines."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    ones: Floats = rows / lengths
    return ones


def nearest_of_own(
    rows: Floats, targets: NDArray[np.int64], groups: NDArray[np.int64], *, large: int = LARGE, seed: int = 0
) -> tuple[NDArray[np.int64], Floats]:
    """(places (n, NEAREST), cosines (n, NEAREST)) of the nearest pictures of the same class, nearest first.

    `rows` are of length 1, (n, k). Pictures of one group, (n,) with a number of its own for each that is in none, are
    no neighbours of each other: what is copied says nothing. Where a class has too few, the place is −1 and the cosine
    −1. Classes of more than `large` pictures are searched by cells of k-means (J. Sivic, A. Zisserman, "Video Google",
    ICCV 2003).
    """
    places = np.full((len(rows), NEAREST), -1, np.int64)
    cosines = np.full((len(rows), NEAREST), -1, np.float32)
    for label in np.unique(targets):
        own = np.flatnonzero(targets == label)
        for asked, among in _searches(rows, own, large, seed):
            found, near = _nearest(rows, asked, among, groups)
            places[asked], cosines[asked] = found, near
    return places, cosines


def nearest_to(rows: Floats, asked: NDArray[np.intp], among: NDArray[np.intp]) -> NDArray[np.int64]:
    """The places (a, NEAREST) of the nearest of `among` to each of `asked`, −1 where there are too few."""
    return _nearest(rows, asked, among, np.arange(len(rows)))[0]


def _searches(
    rows: Floats, own: NDArray[np.intp], large: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Parts of a class, each with the pictures that it is to be held against."""
    if len(own) <= large:
        for start in range(0, len(own), _BLOCK):
            yield own[start : start + _BLOCK], own
        return
    centres = _centres(rows, own, seed)
    closeness = [rows[own[start : start + _BLOCK]] @ centres.T for start in range(0, len(own), _BLOCK)]
    cell = np.concatenate([np.argmax(part, axis=1) for part in closeness])
    members = [own[cell == number] for number in range(len(centres))]
    between = centres @ centres.T
    for number, asked in enumerate(members):
        probed = np.argsort(-between[number], kind="stable")[:_PROBED]
        among = np.concatenate([members[at] for at in probed])
        for start in range(0, len(asked), _BLOCK):
            yield asked[start : start + _BLOCK], among


def _centres(rows: Floats, own: NDArray[np.intp], seed: int) -> Floats:
    """Some √n centres of a class's pictures, by a few rounds of spherical k-means on a sample."""
    rng = np.random.default_rng(seed)
    count = int(np.sqrt(len(own)) / 2)
    sample = rows[rng.permutation(own)[: 64 * count]]
    centres = sample[:count]
    for _ in range(5):
        nearest = (sample @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        centres = np.where(np.bincount(nearest, minlength=count)[:, None] > 0, unit(sums), centres)
    found: Floats = centres
    return found


def _nearest(
    rows: Floats, asked: NDArray[np.intp], among: NDArray[np.intp], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats]:
    places = np.full((len(asked), NEAREST), -1, np.int64)
    cosines = np.full((len(asked), NEAREST), -1, np.float32)
    if not len(among):
        return places, cosines
    near = rows[asked] @ rows[among].T
    near[groups[asked][:, None] == groups[among][None]] = -2  # itself too
    most = min(NEAREST, len(among))
    at = np.argpartition(-near, most - 1, axis=1)[:, :most]
    found = np.take_along_axis(near, at, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    found, at = np.take_along_axis(found, order, axis=1), np.take_along_axis(at, order, axis=1)
    places[:, :most] = np.where(found > -2, among[at], -1)
    cosines[:, :most] = np.maximum(found, -1)
    return places, cosines
