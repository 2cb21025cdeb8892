"""What phash.py promises: imagehash's bits exactly, and every pair within a radius, once."""

import subprocess
import sys
import tracemalloc

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from curate import phash as module
from curate.phash import Pairs, coefficients, from_coefficients, pairs_within, phash, phashes

Hashes = NDArray[np.uint64]


def reference(picture: Image.Image) -> int:
    return int(str(imagehash.phash(picture)), 16)


def waves(width: int = 96, height: int = 64) -> Image.Image:
    """A picture from integers alone, so that no platform's sine moves its hash."""
    y, x = np.mgrid[:height, :width]
    red, green, blue = (x * x + 3 * y) % 251, (x * y // 7) % 253, (x + y * y // 5) % 256
    return Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8))


# ---- the hash


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "LA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2, 3), (32, 32), (31, 33), (2000, 3), (96, 64)], ids=str)
def test_equals_imagehash_in_every_mode_and_shape(mode: str, size: tuple[int, int]) -> None:
    picture = waves(*size).convert(mode)
    assert phash(picture) == reference(picture)


def test_equals_imagehash_on_every_flat_grey() -> None:
    """Rounding noise alone decides these bits, so the transform has to be the very same."""
    for grey in range(256):
        picture = Image.new("L", (40, 30), grey)
        assert phash(picture) == reference(picture), grey


@pytest.mark.parametrize("cell", range(1, 16))
def test_equals_imagehash_on_symmetric_drawings(cell: int) -> None:
    """Here coefficients tie but for rounding: the order of the two transforms and the median's own bits count."""
    y, x = np.mgrid[:32, :32]
    checks, box = (x // cell + y // cell) % 2, (x > cell) & (y > cell)
    for grey in range(1, 256, 2):
        for drawing in (checks * grey, box * grey, x * cell + y * grey):
            picture = Image.fromarray((drawing % 256).astype(np.uint8))
            assert phash(picture) == reference(picture), grey


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 30, 255]),
    st.integers(0, 2**32 - 1),
)
def test_equals_imagehash(width: int, height: int, level: int, noise: int, seed: int) -> None:
    spread = np.random.default_rng(seed).integers(-noise, noise + 1, (height, width, 3))
    picture = Image.fromarray((level + spread).clip(0, 255).astype(np.uint8))
    assert phash(picture) == reference(picture)


@pytest.mark.parametrize(
    ("picture", "golden"),
    [
        (waves(), 0x811C71664D5BD4AF),
        (waves().convert("L"), 0x811C71664D5BD4AF),
        (waves(640, 41), 0x8003173F3B7E7878),
        (Image.linear_gradient("L"), 0x8000800080008000),
        (Image.radial_gradient("L"), 0xEE989837E69AC819),
        (Image.new("RGB", (50, 50), "white"), 0x8000000000000000),
        (Image.new("RGB", (50, 50), "black"), 0x0000000000000000),
    ],
    ids=["waves", "grey", "wide", "linear", "radial", "white", "black"],
)
def test_golden_hashes_do_not_drift(picture: Image.Image, golden: int) -> None:
    assert f"{phash(picture):016x}" == f"{golden:016x}"


def test_odd_columns_negated_give_the_mirror() -> None:
    picture = waves()
    mirrored = from_coefficients(coefficients(picture) * np.array([1, -1] * 4))
    assert (mirrored ^ phash(ImageOps.mirror(picture))).bit_count() <= 2
    assert (mirrored ^ phash(picture)).bit_count() > 12


def test_start_is_quick() -> None:
    """Neither scipy nor imagehash is imported before a picture is hashed."""
    code = "import sys, curate.phash; print({'scipy', 'imagehash', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


# ---- pairs


def brute_force(hashes: Hashes, radius: int) -> dict[tuple[int, int], int]:
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    i, j = np.nonzero(np.triu(distances <= radius, 1))
    return dict(zip(zip(i.tolist(), j.tolist(), strict=True), distances[i, j].tolist(), strict=True))


def expanded(pairs: Pairs, batch: int = 1000) -> list[tuple[tuple[int, int], int]]:
    found: list[tuple[tuple[int, int], int]] = []
    for i, j, distance in pairs.expand(batch):
        assert 0 < len(i) <= batch
        assert [i.dtype.name, j.dtype.name, distance.dtype.name] == ["int32", "int32", "uint8"]
        found += zip(zip(i.tolist(), j.tolist(), strict=True), distance.tolist(), strict=True)
    return found


def check(hashes: Hashes, radius: int) -> Pairs:
    pairs = pairs_within(hashes, radius)
    found, truth = expanded(pairs), brute_force(hashes, radius)
    assert len(found) == len(truth) == pairs.total  # none twice
    assert dict(found) == truth
    assert np.array_equal(pairs.unique[pairs.inverse], hashes)
    assert (pairs.first < pairs.second).all()
    ordered = pairs.first.astype(np.int64) << 32 | pairs.second
    assert (np.diff(ordered) > 0).all()
    return pairs


def flipped(rng: np.random.Generator, hashes: Hashes, most: int) -> Hashes:
    """Flip 0 to `most` random bits of each hash."""
    places = rng.random((len(hashes), 64)).argsort(axis=1)[:, :most].astype(np.uint64)
    keep = np.arange(most) < rng.integers(0, most + 1, len(hashes))[:, None]
    bits = np.where(keep, np.uint64(1) << places, np.uint64(0))
    flips: Hashes = np.bitwise_xor.reduce(bits, axis=1)
    return hashes ^ flips


def scattered(rng: np.random.Generator, n: int) -> Hashes:
    return rng.integers(0, 2**64, n, dtype=np.uint64)


def planted(rng: np.random.Generator, n: int) -> Hashes:
    base = scattered(rng, n - n // 2)
    return np.concatenate([base, flipped(rng, base[: n // 2], 13)])


def clumped(rng: np.random.Generator, n: int) -> Hashes:
    """Many hashes that differ in 14 bits only, among strangers."""
    mask = np.bitwise_or.reduce(np.uint64(1) << rng.permutation(64)[:14].astype(np.uint64))
    return np.concatenate([scattered(rng, n // 3), scattered(rng, n - n // 3) & np.uint64(mask)])


def equal(rng: np.random.Generator, n: int) -> Hashes:
    few = flipped(rng, np.repeat(scattered(rng, 3), 4), 5)
    return rng.choice(few, n)


def runs(rng: np.random.Generator, n: int) -> Hashes:
    """Consecutive integers: what no block but the lowest tells apart."""
    return np.add(np.arange(n, dtype=np.uint64), scattered(rng, 1), dtype=np.uint64)


KINDS = [scattered, planted, clumped, equal, runs]


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(KINDS), st.integers(2, 300), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_every_pair_once(kind: object, n: int, radius: int, seed: int) -> None:
    assert callable(kind)
    rng = np.random.default_rng(seed)
    hashes = kind(rng, n)
    rng.shuffle(hashes)
    check(hashes, radius)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 12))
def test_every_pair_once_of_any_hashes(values: list[int], radius: int) -> None:
    check(np.array(values, np.uint64), radius)


@pytest.mark.parametrize("radius", range(13))
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_once_through_tables(kind: object, radius: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tables and threads made cheap and runs short, a small set takes every path of a million."""
    assert callable(kind)
    monkeypatch.setattr(module, "_TABLE_NS", 0.0)
    monkeypatch.setattr(module, "_SORT_NS", 0.0)
    monkeypatch.setattr(module, "_WIDE_RUN", 8)
    monkeypatch.setattr(module, "_SPLIT_RUN", 40)
    monkeypatch.setattr(module, "_CELLS", 128)
    monkeypatch.setattr(module, "_CHUNK", 100)
    monkeypatch.setattr(module, "_MOST_TABLES", 300)
    monkeypatch.setattr(module, "_GATHER", 50)
    monkeypatch.setattr(module, "_THREADED", 0)
    hashes = kind(np.random.default_rng(radius), 350)
    check(hashes, radius)


@pytest.mark.parametrize(("kind", "radius"), [(planted, 8), (planted, 12), (clumped, 3), (runs, 2)])
def test_every_pair_once_of_twenty_thousand(kind: object, radius: int) -> None:
    assert callable(kind)
    hashes = np.unique(kind(np.random.default_rng(7), 20_000))
    pairs = pairs_within(hashes, radius)
    truth = 0
    for top in range(0, len(hashes), 500):
        i, j = np.nonzero(np.bitwise_count(hashes[top : top + 500, None] ^ hashes) <= radius)
        i, j = i[top + i < j] + top, j[top + i < j]
        assert np.array_equal(pairs.first[truth : truth + len(i)], i)
        assert np.array_equal(pairs.second[truth : truth + len(i)], j)
        truth += len(i)
    assert pairs.total == truth > 0


def test_a_hash_borne_by_all_costs_nothing() -> None:
    """Two million pictures of two neighbouring hashes: 2·10¹² pairs, counted, not made."""
    n = 2_000_000
    hashes = np.full(n, 0xF0F0F0F0F0F0F0F0, np.uint64)
    hashes[::2] ^= 1
    tracemalloc.start()
    pairs = pairs_within(hashes, 8)
    assert pairs.total == n * (n - 1) // 2
    first = [next(pairs.expand(1000)) for _ in range(2)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(first[0][0]) == 1000
    assert peak < 400e6
    assert [len(pairs.unique), len(pairs.first)] == [2, 1]


def test_members_are_the_inputs_of_a_hash() -> None:
    pairs = pairs_within(np.array([9, 4, 9, 2**63, 4, 9], np.uint64), 4)
    assert pairs.unique.tolist() == [4, 9, 2**63]
    assert [pairs.members(u).tolist() for u in range(3)] == [[1, 4], [0, 2, 5], [3]]
    assert pairs.counts.tolist() == [2, 3, 1]
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist()) == (
        [0, 0, 1],
        [1, 2, 2],
        [3, 2, 3],
    )


@pytest.mark.parametrize("hashes", [[], [7]], ids=["none", "one"])
def test_too_few_for_a_pair(hashes: list[int]) -> None:
    pairs = pairs_within(np.array(hashes, np.uint64), 8)
    assert pairs.total == 0
    assert list(pairs.expand()) == []


@pytest.mark.parametrize("radius", [-1, 13])
def test_refuses_another_radius(radius: int) -> None:
    with pytest.raises(ValueError, match="radius"):
        pairs_within(np.zeros(2, np.uint64), radius)


@pytest.mark.parametrize("hashes", [np.zeros(2, np.int64), np.zeros((2, 2), np.uint64)], ids=["signed", "2d"])
def test_refuses_other_arrays(hashes: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="uint64"):
        pairs_within(hashes, 8)  # type: ignore[arg-type]


def test_many_reduced_pictures_are_hashed_as_each_alone() -> None:
    random = np.random.default_rng(7)
    reduced = random.integers(0, 256, (60, 32, 32), dtype=np.uint8)
    reduced[:20] = np.arange(20, dtype=np.uint8)[:, None, None]  # flat: the hash is the noise of rounding
    reduced[20:30] //= 100
    assert phashes(reduced) == [phash(Image.fromarray(picture)) for picture in reduced]
    assert phashes(reduced[:1]) == [phash(Image.fromarray(reduced[0]))]
