"""What is remembered of a search is believed only where it says what a search can say."""

from dataclasses import replace

import numpy as np
import pytest

from curate.lookalikes.neighbours import _FARTHEST as FARTHEST
from curate.lookalikes.neighbours import NOTHING, Neighbours
from curate.lookalikes.second_look import COPY, DIFFERENT, NEAR

DIGESTS = np.array([f"{number:064x}" for number in range(6)], "S64")


def sound() -> Neighbours:
    """Two pairs, a flat group, and a crowd of two with a pair that was told apart."""
    pairs = Neighbours.of_pairs(
        DIGESTS, np.array([0, 2], np.int32), np.array([1, 1], np.int32), np.array([3, 0], np.uint8),
        np.array([COPY, NEAR], np.int8), np.array([[0, 3], [0, 4]], np.int32),
    )  # fmt: skip
    return replace(
        pairs,
        gathered=np.array([0, -1, 0, -1, -1, -1], np.int32),
        apart=np.array([[0, 2]], np.int32),
        flat=np.array([[3, 4, 1]], np.int32),
    )


def test_what_a_search_says_is_sound() -> None:
    assert sound().is_sound()
    assert NOTHING.is_sound()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sha256", DIGESTS[::-1]),
        ("sha256", DIGESTS.astype("S65")),
        ("first", np.array([1, 2], np.int32)),  # a pair of one content
        ("first", np.array([0, 6], np.int32)),
        ("first", np.array([-1, 2], np.int32)),
        ("first", np.array([2, 0], np.int32)),  # the pairs out of order
        ("first", np.array([2, 2], np.int32)),  # one pair twice
        ("first", np.array([0, 2], np.int64)),
        ("distance", np.array([3, 65], np.uint8)),
        ("distance", np.array([3], np.uint8)),
        ("verdict", np.array([COPY, DIFFERENT], np.int8)),
        ("verdict", np.array([COPY, 3], np.int8)),
        ("variant", np.array([-2, 0], np.int8)),
        ("variant", np.array([0, 99], np.int8)),
        ("placement", np.array([[0, 1, 0, 1], [0, np.nan, 0, 1]], np.float32)),
        ("placement", np.array([[0, 1, 0, 1], [0, np.inf, 0, 1]], np.float32)),
        ("placement", np.array([[0, 1, 0, 1], [0.5, 0.5, 0, 1]], np.float32)),  # of no width: there is no inverse
        ("placement", np.array([[0, 1, 0, 1], [1, 0, 0, 1]], np.float32)),
        ("placement", np.zeros((2, 3), np.float32)),
        ("crowd", np.array([[0, 3], [0, 6]], np.int32)),
        ("crowd", np.array([[0, 3], [1, 3]], np.int32)),  # in two groups
        ("crowd", np.array([[-1, 3], [-1, 4]], np.int32)),
        ("gathered", np.array([0, -2, 0, -1, -1, -1], np.int32)),
        ("gathered", np.full(6, 2**31 - 1, np.int32)),  # counting by it would take all memory
        ("gathered", np.array([0], np.int32)),
        ("apart", np.array([[0, 9]], np.int32)),
        ("apart", np.array([[2, 2]], np.int32)),
        ("flat", np.array([[3, 4, 2]], np.int32)),
        ("flat", np.array([[3, -4, 1]], np.int32)),
    ],
)
def test_what_no_search_says_is_not(column: str, value: object) -> None:
    assert not replace(sound(), **{column: value}).is_sound()  # type: ignore[arg-type]


def test_numbers_follow_the_contents_that_are_left() -> None:
    moved = sound().onto(np.array([*DIGESTS[1:5], b"f" * 64], "S64"))
    found = moved.found
    assert found.is_sound()
    assert (found.first.tolist(), found.second.tolist(), found.verdict.tolist()) == ([1], [0], [NEAR])
    assert found.crowd.tolist() == [[0, 2], [0, 3]]
    assert found.flat.tolist() == [[2, 3, 1]]
    assert found.apart.tolist() == []
    assert moved.added.tolist() == [False, False, False, False, True]
    assert moved.lost.tolist() == [0], "the crowd had another member"


@pytest.mark.parametrize(("gone", "serves"), [(1, True), (5, True), (0, False), (2, False), (3, False), (4, False)])
def test_it_serves_where_neither_a_crowd_nor_a_flat_group_has_lost_a_member(gone: int, *, serves: bool) -> None:
    among = sound().among(np.delete(DIGESTS, gone))
    assert (among is not None) == serves


def test_the_first_of_a_flat_group_stands_for_it() -> None:
    assert sound().first_of_group().tolist() == [0, 1, 2, 3, 3, 5]


def test_the_first_content_keeps_its_group_its_crowd_and_what_it_was_told_apart_from() -> None:
    """Its number is 0, as that of no other is."""
    pairs = Neighbours.of_pairs(
        DIGESTS, np.array([0], np.int32), np.array([1], np.int32), np.array([3], np.uint8), np.array([NEAR], np.int8),
        np.array([[1, 0], [1, 5]], np.int32),
    )  # fmt: skip
    told = replace(
        pairs,
        gathered=np.array([-1, -1, 0, 4, 4, -1], np.int32),
        apart=np.array([[0, 2]], np.int32),
        flat=np.array([[0, 5, 1]], np.int32),
    )
    assert told.is_sound()
    found = told.onto(DIGESTS)
    assert not found.added.any()
    assert not len(found.lost)
    for column in ("first", "second", "crowd", "gathered", "apart", "flat"):
        assert getattr(found.found, column).tolist() == getattr(told, column).tolist(), column
    assert told.onto(np.delete(DIGESTS, 4)).lost.tolist() == [4]
    alone = told.onto(DIGESTS[:1])
    assert (alone.found.crowd.tolist(), alone.added.tolist(), len(alone.found.first)) == ([[1, 0]], [False], 0)


def test_pictures_lie_whole_on_each_other_where_nothing_else_is_said() -> None:
    pairs = sound()
    assert pairs.placement.tolist() == [[0, 1, 0, 1]] * 2
    assert pairs.variant.tolist() == [-1, -1]


def test_an_edge_of_what_a_placement_may_be_is_sound() -> None:
    """As far out, and as small, as `is_sound` allows; a step further is not."""
    pairs = sound()
    for edge, step in (((0, FARTHEST, 0, 1), 0.1), ((-FARTHEST, 1, 0, 1), -0.1)):
        placed = pairs.placement.copy()
        placed[0] = edge
        assert replace(pairs, placement=placed).is_sound()
        placed[0, int(step > 0)] += step
        assert not replace(pairs, placement=placed).is_sound()


def test_pairs_alone_are_sound_and_so_is_a_flat_pair_that_does_not_agree() -> None:
    at = np.array([0], np.int32)
    pairs = Neighbours.of_pairs(DIGESTS, at, at + 1, np.array([3], np.uint8), np.array([COPY], np.int8))
    assert pairs.is_sound()
    assert pairs.gathered.tolist() == [-1] * len(DIGESTS)
    assert replace(pairs, flat=np.array([[3, 4, 0]], np.int32)).is_sound()
