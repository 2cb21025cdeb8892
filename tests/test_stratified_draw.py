"""The draw: how many pictures each split gets, and which splits take what."""

import numpy as np
import pytest

from curate.splitting.assignment import Draw, Ratio, Rules, Splits
from curate.splitting.picture_table import NOWHERE, PictureTable
from curate.splitting.split_folders import draw_with_split_folders
from curate.splitting.stratified_draw import draw_stable, quota

TRAIN, VALID, TEST = range(3)
DRAWS = pytest.mark.parametrize("draw", [draw_stable, draw_with_split_folders])


def table(labels: list[int]) -> PictureTable:
    """A picture of its own content for each entry, under the label that it names."""
    count = len(labels)
    return PictureTable(
        paths=[f"raw/{label}/{at}.jpg" for at, label in enumerate(labels)],
        labels=[str(label) for label in range(max(labels) + 1)],
        label=np.array(labels, np.int32),
        sha256=np.array([f"{at:064d}" for at in range(count)], dtype="S64"),
        content=np.arange(count, dtype=np.int32),
        split=np.full(count, NOWHERE, np.int8),
        arrived=np.zeros(count, np.bool_),
        orphaned=[],
        broken=[],
    )


def drawn(draw: Draw, labels: list[int], units: list[int], rules: Rules, split: list[int] | None = None) -> Splits:
    """Draw pictures of these labels in these units; NOWHERE is for those that have their split already."""
    before = np.full(len(labels), NOWHERE, np.int8) if split is None else np.array(split, np.int8)
    return draw(table(labels), np.array(units, np.int32), before, rules)


@pytest.mark.parametrize(
    ("total", "ratio", "least", "expected"),
    [
        (100, (0.8, 0.1, 0.1), 1, (80, 10, 10)),
        (14, (0.8, 0.1, 0.1), 1, (12, 1, 1)),  # 1.4 is nearer to 1
        (15, (0.8, 0.1, 0.1), 1, (11, 2, 2)),  # 1.5 is rounded up
        (3, (0.8, 0.1, 0.1), 1, (1, 1, 1)),
        (3, (0.9, 0.1, 0.0), 1, (2, 1, 0)),
        (2, (0.8, 0.1, 0.1), 1, (1, 1, 0)),  # of two one is held out
        (2, (0.8, 0.0, 0.2), 1, (1, 0, 1)),
        (2, (1.0, 0.0, 0.0), 1, (2, 0, 0)),
        (1, (0.2, 0.4, 0.4), 1, (1, 0, 0)),  # one alone is for train
        (0, (0.8, 0.1, 0.1), 1, (0, 0, 0)),
        (30, (0.8, 0.1, 0.1), 5, (20, 5, 5)),
        (9, (0.8, 0.1, 0.1), 5, (3, 3, 3)),  # fewer than three times five: a third each
        (8, (0.8, 0.1, 0.1), 5, (4, 2, 2)),
        (9, (0.9, 0.0, 0.1), 5, (6, 0, 3)),  # a share of nothing stays nothing
        (10, (0.0, 0.5, 0.5), 1, (1, 4, 5)),  # train is never empty
        (10, (0.0, 0.4, 0.6), 1, (1, 4, 5)),
        (3, (0.0, 0.9, 0.1), 1, (1, 1, 1)),
    ],
)  # fmt: skip
def test_quotas_are_by_ratio_and_leave_no_split_short(
    total: int, ratio: Ratio, least: int, expected: tuple[int, int, int]
) -> None:
    assert quota(total, ratio, least) == expected


def test_without_more_rules_three_pictures_are_enough_for_all_splits() -> None:
    assert sorted(drawn(draw_stable, [0] * 3, [0, 1, 2], Rules((0.96, 0.02, 0.02), 1)).tolist()) == [TRAIN, VALID, TEST]


@DRAWS
def test_what_has_a_split_keeps_it_and_nothing_frozen_is_filled(draw: Draw) -> None:
    units = [*range(30), *[NOWHERE] * 10]
    before = [NOWHERE] * 30 + [VALID] * 5 + [TEST] * 5
    split = drawn(draw, [0] * 40, units, Rules((0.4, 0.3, 0.3), 1, frozenset({VALID})), before)
    assert split[30:].tolist() == [VALID] * 5 + [TEST] * 5
    assert set(split[:30].tolist()) == {TRAIN, TEST}
    frozen = drawn(draw, [0] * 40, units, Rules((0.4, 0.3, 0.3), 1, frozenset({VALID, TEST})), before)
    assert frozen[:30].tolist() == [TRAIN] * 30


def test_what_is_in_a_split_counts_towards_its_quota() -> None:
    """Of 40 pictures 12 are for each of valid and test; valid has 5 of them, test has 9."""
    units = [*range(26), *[NOWHERE] * 14]
    before = [NOWHERE] * 26 + [VALID] * 5 + [TEST] * 9
    split = drawn(draw_stable, [0] * 40, units, Rules((0.4, 0.3, 0.3), 1), before)
    assert np.bincount(split).tolist() == [16, 12, 12]


def test_a_unit_goes_where_all_its_labels_have_room() -> None:
    """Two pictures of label 0 for each of valid and test, and none of label 1, of which there is a single one."""
    labels = [0] * 20 + [1]
    rules = Rules((0.8, 0.1, 0.1), 1)
    for seed in range(20):
        split = drawn(draw_stable, labels, [*range(20), 0], Rules(rules.ratio, seed))
        assert split[0] == split[20] == TRAIN
        assert np.bincount(split[:20]).tolist() == [16, 2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_a_split_left_short_by_large_units_gets_the_smallest_that_train_can_spare(seed: int) -> None:
    """Units of 8, 6, 3 and 3 pictures: none fits into a quota of two, and yet no split stays empty."""
    units = [0] * 8 + [8] * 6 + [14] * 3 + [17] * 3
    split = drawn(draw_stable, [0] * 20, units, Rules((0.8, 0.1, 0.1), seed))
    assert np.bincount(split).tolist() == [14, 3, 3]
    assert {len(set(split[np.array(units) == unit].tolist())) for unit in (0, 8, 14, 17)} == {1}


def test_train_spares_nothing_that_would_leave_it_empty() -> None:
    """Two units: one split stays empty, and it is not train. One unit: it is train's."""
    for seed in range(5):
        two = drawn(draw_stable, [0] * 6, [0] * 3 + [3] * 3, Rules((0.34, 0.33, 0.33), seed))
        assert TRAIN in two.tolist()
        assert drawn(draw_stable, [0] * 6, [0] * 6, Rules((0.8, 0.1, 0.1), seed)).tolist() == [TRAIN] * 6


@DRAWS
def test_a_unit_stays_whole_and_a_share_of_nothing_gets_nothing(draw: Draw) -> None:
    units = [at - at % 3 for at in range(60)]
    for ratio in ((0.5, 0.5, 0.0), (0.5, 0.0, 0.5)):
        split = drawn(draw, [0] * 60, units, Rules(ratio, 3))
        assert all(len(set(split[at : at + 3].tolist())) == 1 for at in range(0, 60, 3))
        assert np.bincount(split, minlength=3)[1:].tolist() in ([30, 0], [0, 30])


@DRAWS
def test_an_empty_draw_is_none(draw: Draw) -> None:
    assert drawn(draw, [0, 0], [NOWHERE, NOWHERE], Rules((0.8, 0.1, 0.1), 1), [VALID, TEST]).tolist() == [VALID, TEST]


def test_split_folders_draws_a_unit_with_the_label_that_most_of_its_pictures_have() -> None:
    """Label 1 has nine units of its own and two pictures of a unit of three; label 0 has the third alone, which by
    itself would go to train.
    """
    labels = [1] * 9 + [1, 1, 0]
    units = [*range(9), 9, 9, 9]
    found = {int(drawn(draw_with_split_folders, labels, units, Rules((0.4, 0.3, 0.3), seed))[11]) for seed in range(12)}
    assert found == {TRAIN, VALID, TEST}


def test_split_folders_leaves_a_class_that_is_too_small_to_train() -> None:
    """Of one picture, and of two at a share of 0.4, the library would leave train nothing."""
    for count in (1, 2):
        split = drawn(draw_with_split_folders, [0] * count, list(range(count)), Rules((0.4, 0.3, 0.3), 1))
        assert split.tolist() == [TRAIN] * count
    enough = drawn(draw_with_split_folders, [0] * 3, [0, 1, 2], Rules((0.4, 0.3, 0.3), 1))
    assert sorted(set(enough.tolist())) == [TRAIN, TEST]  # its own cut of three: 1.2 and 0.9 rounded down, and the rest
