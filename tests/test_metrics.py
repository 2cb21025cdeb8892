"""Accuracy from integers: its interval, its floor, its classes."""

import dataclasses
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from train.metrics import (
    Accuracy,
    Confusion,
    Interval,
    floored_percent,
    measure_accuracy,
    most_confused,
    wilson_interval,
)


@pytest.mark.parametrize(("correct", "n"), [(8, 10), (0, 10), (10, 10), (218, 258), (1, 1), (779, 818)])
def test_wilson_agrees_with_scipy(correct: int, n: int) -> None:
    expected = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson_interval(correct, n)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_solves_its_equation(counts: tuple[int, int]) -> None:
    correct, n = counts
    interval, share = wilson_interval(correct, n), correct / n
    assert 0 <= interval.low <= share <= interval.high <= 1
    for bound in (interval.low, interval.high):
        # Wilson's bounds are the shares p from which the observed one lies exactly z deviations away
        if 0 < bound < 1:
            assert (share - bound) ** 2 == pytest.approx(1.959963984540054**2 * bound * (1 - bound) / n, rel=1e-6)


def test_none_and_all_have_a_bound_at_the_end() -> None:
    """Of none right the interval begins at 0 and of all it ends at 1, to the bit, whatever the number."""
    assert {wilson_interval(0, n).low for n in range(1, 500)} == {0.0}
    assert {wilson_interval(n, n).high for n in range(1, 500)} == {1.0}


@pytest.mark.parametrize("n", [2, 3, 10**6, 10**12])
def test_a_single_one_is_neither_none_nor_all(n: int) -> None:
    one, others = wilson_interval(1, n), wilson_interval(n - 1, n)
    assert 0 < one.low < one.high < 1
    assert 0 < others.low < others.high < 1


@pytest.mark.parametrize(
    ("correct", "n", "text"),
    [
        (29, 100, "29.00"), (28, 100, "28.00"), (57, 100, "57.00"), (946, 1000, "94.60"), (954, 1000, "95.40"),
        (99_999, 100_000, "99.99"), (1, 1, "100.00"), (0, 3, "0.00"), (2, 3, "66.66"), (779, 818, "95.23"),
    ],
)  # fmt: skip
def test_percentages_are_floored_from_integers(correct: int, n: int, text: str) -> None:
    """Trap: 100 * round(acc, 2) makes 0.946 to 0.954 all 95.0, and 0.29 reads 28.999999999999996."""
    assert str(floored_percent(correct, n)) == text


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_no_name_claims_more_than_was_reached(counts: tuple[int, int]) -> None:
    correct, n = counts
    percent = floored_percent(correct, n)
    assert percent * n <= 100 * correct < (percent + Decimal("0.01")) * n


def test_the_figures_of_a_small_table() -> None:
    scores = np.array(
        [
            [0.5, 0.3, 0.1, 0.1, 0, 0, 0],
            [0.1, 0.2, 0.3, 0.4, 0, 0, 0],
            [0, 0, 0, 0, 0.1, 0.5, 0.4],
            [0, 1, 0, 0, 0, 0, 0],
        ]
    )
    accuracy = measure_accuracy(scores, np.array([0, 2, 4, 1]), 7)
    assert (accuracy.n, accuracy.correct, accuracy.correct_top5) == (4, 2, 4)
    assert accuracy.confusion[2, 3] == accuracy.confusion[4, 5] == accuracy.confusion[0, 0] == 1
    assert accuracy.confusion.sum() == 4
    np.testing.assert_array_equal(accuracy.per_class, [1, 1, 0, np.nan, 0, np.nan, np.nan])
    assert accuracy.mean_per_class == 0.5
    assert accuracy.percent() == Decimal("50.00")
    again = Accuracy.from_dict(accuracy.to_dict())
    assert np.array_equal(again.confusion, accuracy.confusion)
    assert (again.n, again.correct, again.correct_top5) == (4, 2, 4)


@pytest.mark.parametrize(("place", "counts"), [(0, True), (3, True), (4, True), (5, False), (6, False)])
def test_the_first_five_answers_are_five(place: int, counts: bool) -> None:
    """The fifth answer counts, the sixth does not."""
    accuracy = measure_accuracy(np.linspace(1, 0, 7)[None], np.array([place]), 7)
    assert accuracy.correct_top5 == int(counts)


def test_top5_of_fewer_classes_is_all_of_them() -> None:
    accuracy = measure_accuracy(np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([0, 0]), 2)
    assert (accuracy.top1, accuracy.top5) == (0.0, 1.0)


def test_a_tie_goes_to_the_lower_class() -> None:
    """In the first answer and in the first five alike: of seven equals the first five are 0 to 4."""
    accuracy = measure_accuracy(np.ones((3, 7)), np.array([0, 4, 5]), 7)
    assert (accuracy.correct, accuracy.correct_top5) == (1, 2)
    assert accuracy.confusion[:, 0].tolist() == [1, 0, 0, 0, 1, 1, 0]


def test_the_pairs_most_often_confused() -> None:
    answers = np.array([1, 1, 0, 2, 2, 0, 0, 1])
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    accuracy = measure_accuracy(np.eye(4)[answers], truth, 4)
    found = [(one.truth, one.answer, one.count, one.n) for one in most_confused(accuracy)]
    assert found == [(0, 1, 2, 3), (1, 2, 2, 3), (2, 0, 1, 2), (2, 1, 1, 2), (1, 0, 1, 3)]
    assert len(most_confused(accuracy, 2)) == 2


def test_the_share_of_a_confusion_is_of_the_true_class() -> None:
    """One of one comes before one of five, however many got either answer."""
    accuracy = measure_accuracy(np.eye(3)[[0, 0, 0, 0, 1, 2]], np.array([0, 0, 0, 0, 0, 1]), 3)
    assert most_confused(accuracy) == [Confusion(1, 2, 1, 1), Confusion(0, 1, 1, 5)]


def test_ten_pairs_unless_more_are_asked_for() -> None:
    truth = np.arange(12)
    accuracy = measure_accuracy(np.eye(12)[(truth + 1) % 12], truth, 12)
    assert [one.truth for one in most_confused(accuracy)] == list(range(10))
    assert len(most_confused(accuracy, 100)) == 12


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (3, 3), (2, 2), (2, 4)])
def test_scores_that_do_not_belong_to_the_labels_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not belong to 2 labels of 3 classes"):
        measure_accuracy(np.ones(shape), np.array([0, 1]), 3)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 10), (11, 10), (1, 0), (0, -1)])
def test_what_is_no_share_has_no_interval(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{correct} of {n} is no share"):
        wilson_interval(correct, n)


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        (Interval(0, 1), "low"),
        (measure_accuracy(np.eye(2), np.array([0, 1]), 2), "correct"),
        (Confusion(0, 1, 2, 3), "count"),
    ],
    ids=["interval", "accuracy", "confusion"],
)
def test_what_was_counted_is_not_changed_afterwards(figure: object, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(figure, name, 1)


def test_nothing_measured_is_no_accuracy() -> None:
    with pytest.raises(ValueError, match="0 labels"):
        measure_accuracy(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), 3)
