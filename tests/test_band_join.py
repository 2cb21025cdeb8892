"""What the pieces of a join promise: put together, all pairs within the radius, each once, however they were cut."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.lookalikes import band_join as module
from curate.lookalikes.band_join import JoinPlan, deal, plan_join, verified, verified_tile
from curate.phash import Hashes, pairs_within
from tests.test_phash import KINDS, clumped, flipped, planted, scattered

Kind = Callable[[np.random.Generator, int], Hashes]


def flat(rng: np.random.Generator, n: int) -> Hashes:
    """Hashes of pictures with next to nothing on them: most differ from one of two in few bits, and few do not."""
    some = flipped(rng, np.repeat(np.array([0, 2**63], np.uint64), n // 3), 4)
    return np.concatenate([some, scattered(rng, n - len(some))])


def joined(hashes: Hashes, plan: JoinPlan, blocks: int = 3, tile: int = 40) -> Counter[tuple[int, int]]:
    """The pairs of different hashes that the pieces find, and how often."""
    dealt = [deal(block, plan) for block in np.array_split(hashes, blocks)]
    pieces = {piece: [part.parts[at] for part in dealt] for at, piece in enumerate(plan.pieces)}
    found: Counter[tuple[int, int]] = Counter()

    def put(pairs: Hashes) -> None:
        found.update((min(pair), max(pair)) for pair in map(tuple, pairs.tolist()))

    for band, number in plan.pieces:
        needed = [np.concatenate(pieces[band, other]) for other in plan.needed(number)]
        for pairs in verified(plan, band, needed):
            put(pairs)
    for at, (band, _) in enumerate(plan.hot_values):
        members = np.concatenate([part.members[at] for part in dealt])
        visitors = np.concatenate([part.visitors[at] for part in dealt])
        tiles = [members[start : start + tile] for start in range(0, len(members), tile)]
        for place, some in enumerate(tiles):
            for others in [None, *tiles[place + 1 :], visitors]:
                for pairs in verified_tile(plan, band, some, others):
                    put(pairs)
    return found


def truth(hashes: Hashes, radius: int) -> set[tuple[int, int]]:
    pairs = pairs_within(hashes, radius)
    return set(zip(pairs.unique[pairs.first].tolist(), pairs.unique[pairs.second].tolist(), strict=True))


def check(hashes: Hashes, plan: JoinPlan) -> None:
    found = joined(hashes, plan)
    assert set(found) == truth(hashes, plan.radius)
    assert set(found.values()) <= {1}, "each pair is given once"


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from([*KINDS, flat]), st.integers(0, 300), st.integers(0, 12), st.integers(0, 4),
    st.sampled_from([2, 10, 10**9]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_all_pairs_however_the_hashes_are_cut(
    kind: Kind, n: int, radius: int, class_bits: int, hot_from: int, seed: int
) -> None:
    hashes = np.unique(kind(np.random.default_rng(seed), n))
    check(hashes, plan_join(hashes, radius, class_bits, hot_from=hot_from))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=12, unique=True), st.integers(0, 12), st.integers(0, 3))
def test_all_pairs_of_any_hashes(values: list[int], radius: int, class_bits: int) -> None:
    hashes = np.array(sorted(values), np.uint64)
    check(hashes, plan_join(hashes, radius, class_bits, hot_from=1))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [planted, clumped, flat])
@pytest.mark.parametrize("class_bits", [0, 2])
@pytest.mark.parametrize("hot_from", [5, 10**9])
def test_all_pairs_a_few_rows_at_once(
    kind: Kind, class_bits: int, hot_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows sorted a few at once and runs held to be long, small sets take every path of large ones."""
    hashes = np.unique(kind(np.random.default_rng(5), 400))
    for held, longest in ((0, 8), (10**9, 8), (0, 10**9)):
        monkeypatch.setattr(module, "_ROWS", 300)
        monkeypatch.setattr(module, "_LONG_RUN", longest)
        monkeypatch.setattr(module, "_CELLS", 100)
        monkeypatch.setattr(module, "_HELD", held)
        check(hashes, plan_join(hashes, 8, class_bits, hot_from=hot_from))


@pytest.mark.thorough
def test_hashes_of_hot_values_lie_in_tiles_and_under_no_key() -> None:
    """Of a thousand pictures with next to nothing on them none is put under a key, and all their pairs are found."""
    rng = np.random.default_rng(2)
    alike = clumped(rng, 1_500)[500:]
    hashes = np.unique(np.concatenate([alike, scattered(rng, 500)]))
    plan = plan_join(hashes, 8, 1, hot_from=5)
    dealt = deal(hashes, plan)
    for band in range(3):
        apart = sum(map(len, dealt.parts[2 * band : 2 * band + 2]))
        members = sum(len(dealt.members[at]) for at, (of, _) in enumerate(plan.hot_values) if of == band)
        assert apart + members == len(hashes)
        assert apart < 600
    check(hashes, plan)


def test_what_is_near_a_hot_value_visits_it_once() -> None:
    """A hash 2 bits from a hot value in a band is a visitor; of two hot values the greater visits the smaller."""
    bands = plan_join(np.arange(10, dtype=np.uint64), 8, 0).bands
    hot = np.array([0b0001, 0b0100], np.uint32)
    plan = JoinPlan(bands, 8, 1, (hot, hot[:0], hot[:0]))
    values = [0b0001, 0b0100, 0b0101, 0b1000, 0b11110]
    dealt = deal(bands.restored(np.array(values, np.uint64)), plan)
    members = [bands.arranged(part).tolist() for part in map(bands.restored, dealt.members)]
    assert members == [[0b0001], [0b0100]]
    assert [part.tolist() for part in dealt.visitors] == [[0b0100, 0b0101, 0b1000], [0b0101, 0b1000]]
    assert sorted(np.concatenate(dealt.parts[:2]).tolist()) == [0b0101, 0b1000, 0b11110]


def test_what_is_dealt_is_little_and_even() -> None:
    """Each hash once for each band, in classes of about the same size, of which each reads one more than bits name."""
    hashes = np.unique(scattered(np.random.default_rng(3), 40_000))
    plan = plan_join(hashes, 8, 4)
    dealt = deal(hashes, plan)
    sizes = np.array([len(part) for part in dealt.parts]).reshape(3, 16)
    assert sizes.sum(axis=1).tolist() == [len(hashes)] * 3
    assert sizes.max() < 1.1 * sizes.min()
    assert all(len(plan.needed(number)) == 5 for number in range(16))


def test_classes_cannot_be_more_than_keys() -> None:
    with pytest.raises(ValueError, match="classes"):
        plan_join(np.arange(3, dtype=np.uint64), 12, 13)


@pytest.mark.thorough
def test_a_dense_run_is_compared_so_many_at_once_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of hashes all of which lie near each other no list of all pairs is made: a part of them at once is given."""
    monkeypatch.setattr(module, "_CELLS", 10_000)
    monkeypatch.setattr(module, "_HELD", 1_000)
    monkeypatch.setattr("curate.phash._GATHER", 5_000)
    monkeypatch.setattr("curate.phash._CELLS", 1_000)
    hashes = np.arange(2_000, dtype=np.uint64)
    plan = plan_join(hashes, 11, 0, hot_from=10**9)
    batches = [pairs for band, part in enumerate(deal(hashes, plan).parts) for pairs in verified(plan, band, [part])]
    assert sum(map(len, batches)) == 2_000 * 1_999 // 2
    assert max(map(len, batches)) <= 5_000 + 1_000
