"""What phash.py promises: imagehash's bits exactly, and every pair within a radius, once."""

import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import combinations

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from curate import phash as module
from curate.parallel import ordered_map
from curate.phash import Pairs, coefficients, from_coefficients, pairs_between, pairs_within, phash, phashes

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


@pytest.mark.thorough
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


# ---- what the search costs


@pytest.mark.parametrize("radius", [1, 4, 8, 12])
@pytest.mark.parametrize("n", [10, 3_000, 60_000, 400_000])
def test_no_other_plan_would_be_cheaper(n: int, radius: int) -> None:
    """Of hashes without structure, so many pairs agree in a table's bits as chance says."""
    tables, blocks = module._plan(scattered(np.random.default_rng(n), n), 64, radius)

    def costs(k: int) -> float:
        """In nanoseconds, of all tables of k blocks of so equal widths as can be."""
        widths = [64 // (radius + k) + (at < 64 % (radius + k)) for at in range(radius + k)]
        alike = [2.0 ** -sum(widths[b] for b in table) for table in combinations(range(radius + k), k)]
        one = n * module._SORT_NS + module._TABLE_NS
        return float(sum(one + n * (n - 1) / 2 * chance * module._COMPARE_NS for chance in alike))

    k = len(tables[0])
    all_with_all = n * (n - 1) / 2 * module._COMPARE_NS
    others = [all_with_all, *(costs(other) for other in range(1, 5) if math.comb(radius + other, other) <= 2_000)]
    assert (costs(k) if k else all_with_all) <= 1.1 * min(others)
    if k:
        assert len(blocks) == radius + k
        assert sorted(tables) == sorted(combinations(range(radius + k), k))
        bits = sorted(bit for low, width in blocks for bit in range(low, low + width))
        assert bits == list(range(64))  # each bit is in one block


def test_the_chance_of_agreeing_is_counted_on_the_hashes_themselves() -> None:
    """Of six hashes three agree in the lowest byte: 3 of 15 pairs; where none do, chance is what remains."""
    sample = np.array([0x101, 0x201, 0x301, 0x402, 0x503, 0x604], np.uint64)
    assert module._collisions(sample, [(0, 8)]) == pytest.approx(3 / 15)
    assert module._collisions(sample, [(8, 8)]) == 2.0**-8
    assert module._collisions(sample, [(8, 8), (0, 8)]) == 2.0**-16
    assert module._collisions(sample, [(60, 4)]) == 1.0


def test_few_pairs_are_compared_of_hashes_that_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time grows about linearly: of 200 million pairs not one in a hundred is looked at in all the tables together."""
    compared = 0
    real = np.bitwise_count

    def counting(hashes: NDArray[np.uint64], **options: object) -> object:
        nonlocal compared
        compared += hashes.size
        return real(hashes, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "bitwise_count", counting)
    pairs_within(scattered(np.random.default_rng(1), 20_000), 4)
    assert 0 < compared < 2_000_000


def test_so_many_distances_as_the_cache_holds_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles, of which the most are as large as they may be."""
    tiles: list[int] = []
    real = np.bitwise_count

    def measured(hashes: NDArray[np.uint64]) -> object:
        tiles.append(hashes.size)
        return real(hashes)

    monkeypatch.setattr(np, "bitwise_count", measured)
    run = scattered(np.random.default_rng(1), 3_000)
    assert list(module._compare_run(run, 0)) != []  # tiles without a pair: nothing but empty parts
    assert max(tiles) == module._CELLS
    assert sum(tiles) < 0.75 * len(run) ** 2


def test_equal_pieces_of_hashes_lie_far_from_one_another() -> None:
    """Bits that tell nothing go to the top, and those that tell little are spread over all blocks."""
    rng = np.random.default_rng(3)
    # Of the lowest 16 half are nearly always 0 and half nearly always 1.
    bits = rng.random((4_000, 64)) < np.select([np.arange(64) < 8, np.arange(64) < 16], [0.02, 0.98], 0.5)
    bits[:, 60:] = True
    hashes = np.unique(np.packbits(bits, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64))
    arranged, free = module._arrange(hashes)
    assert free == 60
    assert len(np.unique(arranged >> np.uint64(60))) == 1
    set_in = np.unpackbits(arranged.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    uneven = np.flatnonzero(np.abs(set_in[:, :60].mean(axis=0) - 0.5) > 0.3)
    assert len(uneven) == 16
    assert {len(np.flatnonzero(uneven // 15 == quarter)) for quarter in range(4)} <= {3, 4, 5}
    distances = [np.bitwise_count(of[:50, None] ^ of[:50]) for of in (hashes, arranged)]
    assert np.array_equal(*distances)  # all are permuted alike


def test_runs_of_about_the_same_length_are_compared_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those much shorter would be padded in vain, and those beyond a length are compared one by one."""
    together: list[list[int]] = []
    alone: list[int] = []

    def several(_: Hashes, __: object, sizes: NDArray[np.intp], ___: int) -> list[object]:
        together.append(sizes.tolist())
        return []

    def one(run: Hashes, _: int) -> list[object]:
        alone.append(len(run))
        return []

    def searched(run: Hashes, _: int) -> Hashes:
        alone.append(-len(run))
        return np.empty(0, np.uint64)

    monkeypatch.setattr(module, "_compare_runs", several)
    monkeypatch.setattr(module, "_compare_run", one)
    monkeypatch.setattr(module, "_search", searched)
    monkeypatch.setattr(module, "_WIDE_RUN", 20)
    monkeypatch.setattr(module, "_SPLIT_RUN", 40)
    monkeypatch.setattr(module, "_CELLS", 100)

    def compared(*sizes: int) -> list[list[int]]:
        together.clear()
        alone.clear()
        lifted = np.repeat(np.arange(len(sizes), dtype=np.uint64) << np.uint64(48), sizes)
        assert list(module._scan(lifted, 16, 3)) == []
        return together

    assert compared(10, 7, 8, 1, 10, 9) == [[8, 9, 10, 10], [7]]
    assert compared(*[10] * 12) == [[10] * 10, [10] * 2]  # no more than fit in the cache
    assert compared(20, 21, 40, 41) == [[20]]
    assert sorted(alone) == [-41, 21, 40]


def test_a_long_run_is_searched_like_a_set_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its pairs are found, from the first to the last, a few at once."""
    monkeypatch.setattr(module, "_WIDE_RUN", 20)
    monkeypatch.setattr(module, "_SPLIT_RUN", 40)
    monkeypatch.setattr(module, "_GATHER", 2)
    run = np.unique(planted(np.random.default_rng(4), 60) >> np.uint64(16))
    found = [(int(a), int(b)) for first, second in module._scan(run, 16, 8) for a, b in zip(first, second, strict=True)]
    truth = {(int(run[i]), int(run[j])) for i, j in brute_force(run, 8)}
    assert len(found) == len(truth) > 4
    assert set(found) == truth


def test_pairs_are_given_a_million_at_once() -> None:
    pairs = pairs_within(np.zeros(2_000, np.uint64), 1)
    assert [len(i) for i, _, _ in pairs.expand()] == [2**20, 2_000 * 1_999 // 2 - 2**20]


def test_small_parts_are_joined_and_none_grows_beyond_what_was_found_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GATHER", 50)
    parts = [(np.full(20, at, np.uint64), np.full(20, -at % 97, np.uint64)) for at in range(7)]
    joined = list(module.gathered(iter(parts)))
    assert [len(a) for a, _ in joined] == [60, 60, 20]
    for side in (0, 1):
        assert np.array_equal(np.concatenate([part[side] for part in joined]), np.concatenate([p[side] for p in parts]))
    exact = [(np.zeros(size, np.uint64),) * 2 for size in (49, 1, 50, 49, 1)]
    assert [len(a) for a, _ in module.gathered(iter(exact))] == [50, 50, 50]
    assert list(module.gathered(iter([]))) == []


def test_threads_are_for_large_sets_and_more_than_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search within a search has one worker: its threads would only wait for each other."""
    started: list[int] = []
    real = ordered_map

    def counted(*arguments: object, workers: int) -> object:
        started.append(workers)
        return real(*arguments, workers=workers)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "ordered_map", counted)
    monkeypatch.setattr(module, "_TABLE_NS", 0.0)  # else so few are all compared with all
    monkeypatch.setattr(module, "_SORT_NS", 1.0)
    strangers = scattered(np.random.default_rng(5), 5_900)
    hashes = np.unique(np.concatenate([strangers, strangers[:100] ^ np.uint64(5)]))
    alone = np.sort(module._search(hashes, 8))
    assert (len(alone), started) == (100, [])
    assert np.array_equal(np.sort(module._search(hashes, 8, workers=2)), alone)
    assert started == [2]
    module._search(hashes[:5_000], 8, workers=2)
    assert started == [2]


@pytest.mark.parametrize("width", [1, 63])
def test_pairs_of_two_and_of_neighbouring_hashes(width: int) -> None:
    """The smallest sets: two hashes that differ in one bit, the lowest or the highest."""
    pairs = pairs_within(np.array([0, 1 << (width if width > 1 else 0)], np.uint64), 1)
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist()) == ([0], [1], [1])


def test_many_are_hashed_as_each_alone_where_rounding_decides() -> None:
    """Checks and boxes: coefficients tie but for rounding, and the median lies between neighbouring numbers."""
    y, x = np.mgrid[:32, :32]
    drawings = [
        ((x // cell + y // cell) % 2 if checks else (x > cell) & (y > cell)) * grey
        for cell in range(1, 16)
        for checks in (True, False)
        for grey in (1, 7, 100, 255)
    ]
    reduced = np.array(drawings, dtype=np.uint8)
    assert phashes(reduced) == [phash(Image.fromarray(picture)) for picture in reduced]


# ---- pairs between a few and many


def check_between(few: Hashes, many: Hashes, radius: int, batch: int = 1000) -> None:
    distances = np.bitwise_count(few[:, None] ^ many[None])
    i, j = np.nonzero(distances <= radius)
    truth = sorted(zip(i.tolist(), j.tolist(), distances[i, j].tolist(), strict=True))
    found: list[tuple[int, int, int]] = []
    for row, column, distance in pairs_between(few, many, radius, batch):
        assert [row.dtype.name, column.dtype.name, distance.dtype.name] == ["int32", "int32", "uint8"]
        found += zip(row.tolist(), column.tolist(), distance.tolist(), strict=True)
    assert sorted(found) == truth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", [0, 1, 4, 6, 8, 12])
@pytest.mark.parametrize("through_tables", [False, True])
def test_every_pair_between_two_sets_once(
    kind: Callable[[np.random.Generator, int], Hashes],
    radius: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    through_tables: bool,
) -> None:
    if through_tables:
        monkeypatch.setattr(module, "_FEW_CELLS", 0)
        monkeypatch.setattr(module, "_COMPARE_NS", 1e9)
        assert module._plan_between(scattered(np.random.default_rng(0), 900), 100, 64, radius)
    rng = np.random.default_rng(radius)
    hashes = rng.permutation(kind(rng, 900))
    check_between(hashes[:100], hashes[100:], radius)


@pytest.mark.parametrize(("few", "many"), [(0, 0), (0, 9), (9, 0), (1, 1), (1, 900), (900, 1)])
@pytest.mark.parametrize("cells", [0, 1 << 26])
def test_pairs_between_few_and_none(few: int, many: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW_CELLS", cells)
    hashes = planted(np.random.default_rng(few), few + many)
    check_between(hashes[:few], hashes[few:], 8)


def test_few_hashes_are_not_compared_with_all_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred thousand times two thousand would be 600 million distances."""
    rng = np.random.default_rng(1)
    many = scattered(rng, 300_000)
    few = flipped(rng, many[:2000], 6)
    compared = 0
    real = module._met

    def counted(*keys: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        nonlocal compared
        for i, j in real(*keys):
            compared += len(i)
            yield i, j

    monkeypatch.setattr(module, "_met", counted)
    found = np.concatenate([i for i, _, _ in pairs_between(few, many, 6)])
    assert set(found.tolist()) == set(range(2000))
    assert 2000 <= compared < 600_000_000 / 20


@pytest.mark.thorough
def test_pairs_between_come_in_parts() -> None:
    same = np.zeros(9_000, np.uint64)
    sizes = [len(i) for i, _, _ in pairs_between(same, same, 1, batch=1 << 20)]
    assert sum(sizes) == 81_000_000
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("radius", [-1, 13])
def test_pairs_between_refuses_another_radius(radius: int) -> None:
    with pytest.raises(ValueError, match="radius"):
        next(pairs_between(np.zeros(2, np.uint64), np.zeros(2, np.uint64), radius))


@pytest.mark.parametrize("wrong", [np.zeros(2, np.int64), np.zeros((2, 2), np.uint64)], ids=["signed", "2d"])
def test_pairs_between_refuses_other_arrays_on_either_side(wrong: NDArray[np.generic]) -> None:
    hashes = np.zeros(2, np.uint64)
    for few, many in ((wrong, hashes), (hashes, wrong)):
        with pytest.raises(ValueError, match="uint64"):
            next(pairs_between(few, many, 8))  # type: ignore[arg-type]
