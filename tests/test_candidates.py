"""The candidates of pictures that were added are those of all pictures that hold one of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.lookalikes.candidates import CandidatePairs, Hashed, candidates_among, candidates_of
from curate.lookalikes.fingerprint import FRAMED, VARIANTS
from curate.phash import Hashes

COLUMNS = ("first", "second", "variant", "both", "distance")


def flipped(hashes: Hashes, most: int, rng: np.random.Generator) -> Hashes:
    """With up to so many bits changed."""
    changed = hashes.copy()
    for _ in range(most):
        bit = np.uint64(1) << rng.integers(0, 64, hashes.shape, dtype=np.uint64)
        changed ^= np.where(rng.random(hashes.shape) < 0.5, bit, np.uint64(0))
    return changed


def hashed(rng: np.random.Generator, n: int = 240) -> Hashed:
    """Wholes and windows of which some lie near each other in every way that there is."""
    windows = rng.integers(0, 2**64, (n, len(VARIANTS)), dtype=np.uint64)
    windows[n // 2 :] = flipped(windows[: n // 2], 12, rng)
    wholes = rng.integers(0, 2**64, n, dtype=np.uint64)
    wholes[:50] = flipped(windows[100:150, 3], 9, rng)
    wholes[50:80] = flipped(windows[150:180, len(FRAMED) + 1], 9, rng)
    wholes[80:110] = flipped(wholes[:30], 14, rng)
    wholes[110:120] = wholes[0]
    windows[:100, len(FRAMED) - 1] = flipped(wholes[:100], 9, rng)
    known = np.flatnonzero(rng.random(n) < 0.8).astype(np.int32)
    return Hashed(wholes, known, windows[known], np.zeros(n, np.bool_))


def columns(found: CandidatePairs) -> list[list[object]]:
    return [getattr(found, name).tolist() for name in COLUMNS]


def some(rng: np.random.Generator, n: int, count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(n, np.bool_)
    chosen[rng.choice(n, count, replace=False)] = True
    return chosen


@pytest.mark.parametrize("geometry", [False, True])
@pytest.mark.parametrize("count", [0, 1, 12, 120, 240])
@pytest.mark.parametrize("radius", [3, 8])
def test_the_candidates_of_what_was_added(count: int, radius: int, *, geometry: bool) -> None:
    rng = np.random.default_rng(count)
    pictures = hashed(rng)
    everything = candidates_among(pictures, radius, geometry=geometry)
    assert len(everything) > 100
    added = some(rng, len(pictures), count)
    wanted = everything.take(np.flatnonzero(added[everything.first] | added[everything.second]))
    assert columns(candidates_of(added, pictures, radius, geometry=geometry)) == columns(wanted)


def test_some_of_the_pictures_have_the_candidates_among_them() -> None:
    rng = np.random.default_rng(3)
    pictures = hashed(rng)
    chosen = np.flatnonzero(some(rng, len(pictures), 90))
    everything = candidates_among(pictures, 8)
    inside = np.isin(everything.first, chosen) & np.isin(everything.second, chosen)
    found = candidates_among(pictures.take(chosen), 8).of(chosen.astype(np.int32))
    assert inside.any()
    assert columns(found) == columns(everything.take(np.flatnonzero(inside)))
