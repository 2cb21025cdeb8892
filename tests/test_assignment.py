"""Properties of the assignment, for any pictures, labels, pairs and origins."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.splitting.assignment import Draw, Rules, Splits, assign
from curate.splitting.grouping import Links, prove
from curate.splitting.picture_table import NOWHERE, PictureTable
from curate.splitting.split_folders import draw_with_split_folders
from curate.splitting.stratified_draw import draw_stable, quota

RATIO = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class World:
    """Pictures as (content, label), and what links the contents."""

    pictures: list[tuple[int, int]]
    copies: list[tuple[int, int]]
    near: list[tuple[int, int]]
    origins: list[tuple[int, int]]
    groups: list[tuple[int, int]]

    def part(self, count: int) -> "World":
        """The world of the first pictures alone."""
        return World(self.pictures[:count], self.copies, self.near, self.origins, self.groups)


CONTENTS = 40


@st.composite
def worlds(draw: st.DrawFn) -> World:
    content = st.integers(0, CONTENTS - 1)
    pair = st.tuples(content, content).filter(lambda pair: pair[0] != pair[1])
    return World(
        draw(st.lists(st.tuples(content, st.integers(0, 3)), min_size=1, max_size=120)),
        draw(st.lists(pair, max_size=12)),
        draw(st.lists(pair, max_size=12)),
        draw(st.lists(st.tuples(content, st.integers(0, 8)), max_size=12)),
        draw(st.lists(st.tuples(content, st.integers(0, 8)), max_size=12)),
    )


def digest(content: int) -> bytes:
    return sha256(str(content).encode()).hexdigest().encode()


def build(world: World) -> tuple[PictureTable, Links]:
    there = sorted({content for content, _ in world.pictures}, key=digest)
    place = {content: at for at, content in enumerate(there)}
    count = len(world.pictures)
    table = PictureTable(
        paths=[f"{at}.jpg" for at in range(count)],
        labels=["0", "1", "2", "3"],
        label=np.array([label for _, label in world.pictures], dtype=np.int32),
        sha256=np.array([digest(content) for content in there], dtype="S64"),
        content=np.array([place[content] for content, _ in world.pictures], dtype=np.int32),
        split=np.full(count, NOWHERE, dtype=np.int8),
        arrived=np.zeros(count, dtype=np.bool_),
        orphaned=[],
        broken=[],
    )

    def pairs(found: list[tuple[int, int]]) -> NDArray[np.int32]:
        known = [(place[a], place[b]) for a, b in found if a in place and b in place]
        return np.array(known, dtype=np.int32).reshape(-1, 2)

    def numbered(found: list[tuple[int, int]]) -> NDArray[np.int32]:
        known = [(place[content], number) for content, number in sorted(set(found)) if content in place]
        return np.array(known, dtype=np.int32).reshape(-1, 2)

    return table, Links(pairs(world.copies), pairs(world.near), numbered(world.origins), numbered(world.groups))


def none_yet(table: PictureTable) -> Splits:
    return np.full(len(table), NOWHERE, dtype=np.int8)


DRAWS = pytest.mark.parametrize("draw", [draw_stable, draw_with_split_folders])


@DRAWS
@given(world=worlds(), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_belongs_together_never_parts(draw: Draw, world: World, seed: int) -> None:
    table, links = build(world)
    split, held_back = assign(table, links, none_yet(table), Rules(RATIO, seed), draw)
    assert not held_back
    assert (split != NOWHERE).all()
    of_content: dict[int, set[int]] = {}
    for content, to in zip(table.content.tolist(), split.tolist(), strict=True):
        of_content.setdefault(content, set()).add(to)
    for a, b in links.pairs().tolist():
        assert len(of_content[a] | of_content[b]) == 1
    for contents in links.together():
        assert len(set().union(*(of_content[content] for content in contents))) == 1


@given(world=worlds(), seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_listing_does_not_count(world: World, seed: int, order: object) -> None:
    table, links = build(world)
    split, _ = assign(table, links, none_yet(table), Rules(RATIO, seed), draw_stable)
    shuffled = World(*(list(column) for column in vars(world).values()))
    for column in vars(shuffled).values():
        order.shuffle(column)  # type: ignore[attr-defined]
    flipped = replace(shuffled, copies=[(b, a) for a, b in shuffled.copies])
    again, _ = assign(*build(flipped), none_yet(table), Rules(RATIO, seed), draw_stable)
    before = dict(zip(world.pictures, split.tolist(), strict=True))
    assert dict(zip(flipped.pictures, again.tolist(), strict=True)) == before


@pytest.mark.thorough
@given(world=worlds(), share=st.floats(0.1, 0.9), frozen=st.frozensets(st.sampled_from([1, 2])))
@settings(max_examples=150, deadline=None)
def test_more_pictures_move_none_and_leak_none(world: World, share: float, frozen: frozenset[int]) -> None:
    few = max(1, int(share * len(world.pictures)))
    table, links = build(world.part(few))
    first, _ = assign(table, links, none_yet(table), Rules(RATIO, 1), draw_stable)
    # What lies under one (content, label) twice has one split.
    known = dict(zip(world.pictures[:few], first.tolist(), strict=True))
    table, links = build(world)
    remembered = np.array([known.get(key, NOWHERE) for key in world.pictures], dtype=np.int8)
    split, held_back = assign(table, links, remembered, Rules(RATIO, 1, frozen), draw_stable)
    had = remembered != NOWHERE
    # An origin or a pair of two old contents was known before, so no old picture is to be held back.
    assert (split[had] == remembered[had]).all()
    assert set(np.flatnonzero(split == NOWHERE).tolist()) == held_back.keys()
    proof = prove(table, links, split)
    assert (proof.copies, proof.near, proof.origins, proof.groups) == (0, 0, 0, 0)
    for number in frozen:
        assert (split[~had] != number).all()


@given(
    totals=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    ratio=st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.34, 0.33, 0.33), (0.9, 0.1, 0.0), (0.7, 0.0, 0.3)]),
    least=st.integers(0, 5),
    seed=st.integers(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_single_pictures_meet_their_quota_to_the_last(
    totals: list[int], ratio: tuple[float, float, float], least: int, seed: int
) -> None:
    pictures = [(sum(totals[:label]) + at, label) for label, total in enumerate(totals) for at in range(total)]
    table, links = build(World(pictures, [], [], [], []))
    split, _ = assign(table, links, none_yet(table), Rules(ratio, seed, least=least), draw_stable)
    for label, total in enumerate(totals):
        counts = np.bincount(split[table.label == label], minlength=3)
        assert tuple(counts) == quota(total, ratio, least)


@given(total=st.integers(1, 500), least=st.integers(0, 20), valid=st.floats(0, 0.45), test=st.floats(0, 0.45))
def test_a_quota_is_near_the_ratio_and_spares_train(total: int, least: int, valid: float, test: float) -> None:
    shares = (1 - valid - test, valid, test)
    quotas = quota(total, shares, least)
    assert sum(quotas) == total
    assert quotas[0] >= 1
    for share, count in zip(shares[1:], quotas[1:], strict=True):
        floor = min(least, total // 3)
        assert count >= floor or not share or total < 3
        assert abs(count - total * share) <= max(1, floor) or total < 3


def test_another_seed_draws_otherwise_and_the_draw_is_uniform() -> None:
    table, links = build(World([(at, 0) for at in range(100)], [], [], [], []))
    drawn = np.array(
        [assign(table, links, none_yet(table), Rules((0.8, 0.1, 0.1), seed), draw_stable)[0] for seed in range(200)]
    )
    in_test = (drawn == 2).sum(axis=0)
    # 200 draws at 10%: mean 20, standard deviation 4.2; the extremes of 100 lie within 4 of them.
    assert in_test.min() >= 4
    assert in_test.max() <= 38
    assert len({tuple(row) for row in drawn.tolist()}) == 200


def test_a_class_that_is_one_series_stays_in_one_split_and_is_divided_where_copies_alone_are_bound() -> None:
    series = [(at, at + 1) for at in range(199)]
    table, links = build(World([(at, 0) for at in range(200)], [], series, [], []))
    rules = Rules((0.8, 0.1, 0.1), 1)
    whole, held_back = assign(table, links.bound("near"), none_yet(table), rules, draw_stable)
    assert (set(whole.tolist()), held_back) == ({0}, {})
    free, held_back = assign(table, links.bound("copies"), none_yet(table), rules, draw_stable)
    assert (np.bincount(free).tolist(), held_back) == ([160, 20, 20], {})
    assert prove(table, links, free).near > 0
