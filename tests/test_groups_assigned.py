"""Who goes where: what has a split keeps it, what belongs to it follows, and what stands between two is held back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.splitting.assignment import Rules, Splits, assign
from curate.splitting.grouping import Links
from curate.splitting.picture_table import NOWHERE, PictureTable
from tests.test_grouping import TEST, TRAIN, VALID, links, pairs, table

RULES = Rules((0.8, 0.1, 0.1), 1)


def all_to_train(_: PictureTable, unit: NDArray[np.int32], split: Splits, __: Rules) -> Splits:
    """A draw that sends every unit to train."""
    drawn = split.copy()
    drawn[unit != NOWHERE] = TRAIN
    return drawn


def assigned(
    found: Links, splits: list[int], *, frozen: tuple[int, ...] = (), pictures: PictureTable | None = None
) -> tuple[list[int], dict[int, str]]:
    """A picture of each content with the splits they had: (the splits they get, why some are held back)."""
    pictures = pictures or table(*range(len(splits)))
    rules = Rules((0.8, 0.1, 0.1), 1, frozenset(frozen))
    split, held_back = assign(pictures, found, np.array(splits, np.int8), rules, all_to_train)
    return split.tolist(), held_back


def test_units_are_what_the_draw_is_shown() -> None:
    """One number for pictures that belong together, and for copies of one content; none for what has its split."""
    shown: list[list[int]] = []

    def draw(_: PictureTable, unit: NDArray[np.int32], split: Splits, __: Rules) -> Splits:
        shown.append(unit.tolist())
        return split

    pictures = table(0, 0, 1, 2, 3)
    assign(pictures, links(copies=pairs((2, 1))), np.array([NOWHERE] * 4 + [TEST], np.int8), RULES, draw)
    assert shown == [[0, 0, 1, 1, NOWHERE]]


@pytest.mark.parametrize("to", [TRAIN, VALID, TEST])
def test_what_belongs_to_a_picture_with_a_split_follows_it(to: int) -> None:
    one = pairs((0, 0), (1, 0))
    for found in (links(pairs((0, 1))), links(near=pairs((0, 1))), links(origins=one), links(groups=one)):
        assert assigned(found, [to, NOWHERE]) == ([to, to], {})


def test_another_copy_of_a_content_follows_the_one_that_has_a_split() -> None:
    for to in (TRAIN, VALID, TEST):
        assert assigned(links(), [to, NOWHERE], pictures=table(0, 0)) == ([to, to], {})
    split, held_back = assigned(links(), [TEST, NOWHERE], pictures=table(0, 0), frozen=(TEST,))
    assert (split, list(held_back)) == ([TEST, NOWHERE], [1])


def test_what_stands_between_two_splits_is_held_back_and_says_so() -> None:
    split, held_back = assigned(links(copies=pairs((0, 1), (1, 2))), [TEST, NOWHERE, TRAIN])
    assert split == [TEST, NOWHERE, TRAIN]
    assert held_back == {1: "it belongs together with pictures of train and test"}


@pytest.mark.parametrize("frozen", [VALID, TEST])
def test_what_belongs_to_a_frozen_split_is_held_back_and_says_so(frozen: int) -> None:
    split, held_back = assigned(links(copies=pairs((0, 1))), [frozen, NOWHERE], frozen=(frozen,))
    assert split == [frozen, NOWHERE]
    assert held_back == {
        1: f"it belongs together with a picture in {('train', 'valid', 'test')[frozen]}, which is frozen"
    }


def test_what_belongs_to_two_splits_is_held_back_however_many_there_are() -> None:
    many = range(1, 13)
    split, held_back = assigned(links(copies=pairs(*((0, at) for at in many))), [TEST, *[NOWHERE] * 12], frozen=(TEST,))
    assert (split, list(held_back)) == ([TEST, *[NOWHERE] * 12], [*many])
    both = links(copies=pairs(*((0, at) for at in many), *((13, at) for at in many)))
    split, held_back = assigned(both, [TEST, *[NOWHERE] * 12, VALID])
    assert (split, list(held_back)) == ([TEST, *[NOWHERE] * 12, VALID], [*many])


@pytest.mark.parametrize(
    "found",
    [
        links(copies=pairs((0, 1))),
        links(copies=pairs((1, 0))),
        links(near=pairs((0, 1))),
        links(origins=pairs((0, 0), (1, 0))),
        links(groups=pairs((0, 0), (1, 0))),
    ],
    ids=["copies", "the other way", "near", "origin", "group"],
)
@pytest.mark.parametrize(("near", "far"), [(TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)])
def test_of_two_that_turn_out_to_belong_together_the_one_further_out_stays(found: Links, near: int, far: int) -> None:
    split, held_back = assigned(found, [near, far])
    assert split == [NOWHERE, far]
    assert held_back == {0: f"it belongs together with a picture in {('train', 'valid', 'test')[far]}"}


def test_of_one_content_in_two_splits_the_one_further_out_stays() -> None:
    split, held_back = assigned(links(), [VALID, TEST, VALID], pictures=table(0, 0, 1))
    assert (split, list(held_back)) == ([NOWHERE, TEST, VALID], [0])


def test_what_lies_in_one_split_stays_and_so_does_what_is_near_where_copies_alone_are_bound() -> None:
    assert assigned(links(copies=pairs((0, 1))), [TEST, TEST]) == ([TEST, TEST], {})
    assert assigned(links(near=pairs((0, 1))).bound("copies"), [TRAIN, TEST]) == ([TRAIN, TEST], {})


def test_what_arrived_stays_where_it_is_and_what_was_drawn_gives_way() -> None:
    pictures = table(0, 1)
    pictures.arrived[0] = True
    split, held_back = assigned(links(copies=pairs((0, 1))), [TRAIN, TEST], pictures=pictures)
    assert split == [TRAIN, NOWHERE]
    assert held_back == {1: "it belongs together with a picture in train"}
    pictures.arrived[1] = True  # a leak that the dataset arrived with is its own
    assert assigned(links(copies=pairs((0, 1))), [TRAIN, TEST], pictures=pictures) == ([TRAIN, TEST], {})


def test_what_is_held_back_is_not_drawn_in_the_same_run() -> None:
    """Nor is what belongs to it, for that would follow into the split where the other stays."""
    split, held_back = assigned(links(copies=pairs((0, 1), (0, 2))), [TRAIN, TEST, NOWHERE])
    assert split[:2] == [NOWHERE, TEST]
    assert list(held_back) == [0]


def test_remembered_splits_are_not_written_to() -> None:
    remembered = np.array([TRAIN, TEST], np.int8)
    assign(table(0, 1), links(copies=pairs((0, 1))), remembered, RULES, all_to_train)
    assert remembered.tolist() == [TRAIN, TEST]
