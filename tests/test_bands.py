"""What bands promise: two hashes within the radius meet, whichever bits they differ in, and count once."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.lookalikes.bands import MOST_APART, Bands, band_count, counted_at
from curate.phash import Hashes

HASH = st.integers(0, 2**64 - 1)


def bands(radius: int, seed: int) -> Bands:
    """Bands whose bits lie anywhere: those that are chosen for hashes with bits of all kinds."""
    rng = np.random.default_rng(seed)
    set_in = rng.random((500, 64)) < rng.random(64)
    return Bands.of(np.packbits(set_in, axis=1).view(">u8").ravel().astype(np.uint64), radius)


def keys(of: Bands, value: int, band: int) -> set[int]:
    """The keys that a hash is put under in a band, as the module's text says: its value, and each one bit away."""
    return {value, *(value ^ 1 << bit for bit in range(of.widths[band]))}


def both(first: int, second: int) -> tuple[Hashes, Hashes]:
    return np.array([first], np.uint64), np.array([second], np.uint64)


def counts_at(of: Bands, first: int, second: int) -> list[tuple[int, int]]:
    """(band, key) of all places at which two arranged hashes meet and count."""
    one, other = both(first, second)
    found = []
    for band in range(len(of.widths)):
        values = of.values(one, band), of.values(other, band)
        met = keys(of, int(values[0][0]), band) & keys(of, int(values[1][0]), band)
        if met and of.count_in(one, other, band)[0] and int(counted_at(*values)[0]) in met:
            found.append((band, int(counted_at(*values)[0])))
    return found


def meet(of: Bands, first: int, second: int) -> bool:
    one, other = both(first, second)
    values = [(int(of.values(one, band)[0]), int(of.values(other, band)[0])) for band in range(len(of.widths))]
    return any(keys(of, a, band) & keys(of, b, band) for band, (a, b) in enumerate(values))


@settings(deadline=None, max_examples=300)
@given(HASH, st.sets(st.integers(0, 63), max_size=12), st.integers(0, 12), st.integers(0, 9))
def test_every_pair_within_the_radius_meets_and_counts_once(
    value: int, flips: set[int], radius: int, seed: int
) -> None:
    flips = set(sorted(flips)[:radius])
    other = value ^ sum(1 << bit for bit in flips)
    of = bands(radius, seed)
    assert meet(of, value, other)
    assert len(counts_at(of, value, other)) == 1


@settings(deadline=None, max_examples=200)
@given(HASH, st.integers(0, 12), st.integers(0, 9), st.data())
def test_every_pair_meets_where_the_flips_are_spread_worst(
    value: int, radius: int, seed: int, data: st.DataObject
) -> None:
    """As evenly as can be over the bands: in none of them fewer than the radius by the number of bands."""
    of = bands(radius, seed)
    count = len(of.widths)
    flips = 0
    for band in range(count):
        share = radius // count + (band < radius % count)
        bits = data.draw(st.lists(st.integers(0, of.widths[band] - 1), min_size=share, max_size=share, unique=True))
        flips |= sum(1 << of.lows[band] + bit for bit in bits)
    assert flips.bit_count() == radius
    assert len(counts_at(of, value, value ^ flips)) == 1


def test_one_bit_more_in_each_band_and_no_pair_would_meet() -> None:
    """So no fewer keys would do: three bands serve up to 8 bits, and 9 bits, three in each, are missed."""
    of = bands(8, 0)
    assert of.widths == (22, 21, 21)
    assert sum(width + 1 for width in of.widths) == 67
    assert not meet(of, 0, sum(0b111 << low for low in of.lows))


@pytest.mark.parametrize("radius", range(13))
def test_there_are_bands_enough(radius: int) -> None:
    """Hashes that differ in 3 bits of every band are further apart than the radius."""
    assert (MOST_APART + 1) * band_count(radius) > radius
    of = bands(radius, radius)
    assert len(of.widths) == band_count(radius)
    assert sum(of.widths) == 64
    assert sorted(of.order) == list(range(64))


def test_a_pair_counts_under_a_key_of_both() -> None:
    """Of all values of five bits, those that differ in up to two."""
    values = np.arange(32, dtype=np.uint32)
    first, second = (side.ravel() for side in np.meshgrid(values, values))
    near = np.bitwise_count(first ^ second) <= MOST_APART
    key = counted_at(first[near], second[near])
    for a, b, at in zip(first[near].tolist(), second[near].tolist(), key.tolist(), strict=True):
        assert (a ^ at).bit_count() <= 1
        assert (b ^ at).bit_count() <= 1
    assert np.array_equal(key, counted_at(second[near], first[near]))


@settings(deadline=None, max_examples=100)
@given(st.lists(HASH, max_size=20), st.integers(0, 9))
def test_hashes_are_arranged_and_restored(values: list[int], seed: int) -> None:
    of = bands(8, seed)
    hashes = np.array(values, np.uint64)
    arranged = of.arranged(hashes)
    assert np.array_equal(of.restored(arranged), hashes)
    for value, found in zip(values, arranged.tolist(), strict=True):
        assert found == sum((value >> bit & 1) << place for place, bit in enumerate(of.order))
    joined = np.zeros(len(hashes), np.uint64)
    for band, low in enumerate(of.lows):
        joined |= of.values(arranged, band).astype(np.uint64) << np.uint64(low)
    assert np.array_equal(joined, arranged)


def test_bits_that_tell_little_are_dealt_to_all_bands() -> None:
    rng = np.random.default_rng(1)
    set_in: NDArray[np.bool_] = rng.random((4_000, 64)) < np.where(np.arange(64) < 21, 0.02, 0.5)
    of = Bands.of(np.packbits(set_in, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64), 8)
    ends = [*of.lows[1:], 64]
    shares = [sum(bit < 21 for bit in of.order[low:end]) for low, end in zip(of.lows, ends, strict=True)]
    assert shares == [7, 7, 7]


def test_a_key_is_shared_within_two_bits_and_no_further() -> None:
    """The sum behind the method, over every way in which two values of six bits may differ."""
    of = Bands(tuple(range(64)), (6, 29, 29))
    for apart in range(7):
        for bits in combinations(range(6), apart):
            other = sum(1 << bit for bit in bits)
            assert bool(keys(of, 0, 0) & keys(of, other, 0)) == (apart <= MOST_APART)
