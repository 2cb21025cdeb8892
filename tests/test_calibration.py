"""Calibration: the error as defined, a temperature that is the minimum, a threshold that keeps its word on valid."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from curate.errors import UserError
from train.calibration import (
    BINS,
    Abstention,
    Calibration,
    abstention,
    answered_right,
    calibrate_confidence,
    calibrate_probabilities,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    lower_bounds,
    reliability,
)


def drawn(n: int, classes: int = 10, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose softmax is the very probability with which each label was drawn."""
    source = np.random.default_rng(seed)
    logits = source.normal(size=(n, classes)) * 2
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    truth = (source.random((n, 1)) > cumulative).sum(axis=1).clip(max=classes - 1)
    return logits, truth.astype(np.int64)


def test_the_error_of_a_table_worked_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.3, 0.7], [0.55, 0.45]])
    truth = np.array([0, 1, 1, 0])
    # (13/15, 14/15]: 0.9 and 0.92, one of two right; (10/15, 11/15]: 0.7, right; (8/15, 9/15]: 0.55, right
    expected = (2 * abs(0.91 - 0.5) + abs(0.7 - 1) + abs(0.55 - 1)) / 4
    assert expected_calibration_error(probabilities, truth) == pytest.approx(expected)
    bins = reliability(probabilities, truth)
    assert [one.n for one in bins] == [0] * 8 + [1, 0, 1, 0, 0, 2, 0]
    assert bins[13].confidence == pytest.approx(0.91)
    assert bins[13].accuracy == 0.5
    assert np.isnan(bins[0].accuracy)


@pytest.mark.parametrize(("confidence", "number"), [(0.2, 2), (0.2000001, 3), (1.0, 14), (0.5, 7)])
def test_a_bin_holds_its_upper_bound(confidence: float, number: int) -> None:
    rest = (1 - confidence) / 9
    bins = reliability(np.array([[confidence, *[rest] * 9]]), np.array([0]))
    assert [one.n for one in bins].index(1) == number


def test_the_bins_share_0_to_1_among_them() -> None:
    bins = reliability(np.array([[0.5, 0.5]]), np.array([0]))
    assert [(one.low, one.high) for one in bins] == [(number / 15, (number + 1) / 15) for number in range(15)]
    assert len(bins) == BINS


@pytest.mark.parametrize(("confidence", "number"), [(0.0, 0), (1 / 102, 0), (1 + 1e-6, 14)])
def test_every_answer_is_in_a_bin(confidence: float, number: int) -> None:
    """As one of many classes that are all alike; and where a network or a rounding leaves 0 to 1."""
    bins = reliability(np.array([[confidence] + [0.0] * 101]), np.array([0]))
    assert [one.n for one in bins] == [int(index == number) for index in range(15)]
    assert (bins[number].confidence, bins[number].accuracy) == (confidence, 1)


def test_honest_probabilities_have_little_error_and_need_no_temperature() -> None:
    logits, truth = drawn(40_000)
    assert expected_calibration_error(softmax(logits, axis=1), truth) < 0.01
    assert fit_temperature(logits, truth) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale", [0.2, 0.7, 1.5, 4.0])
def test_a_temperature_that_was_put_in_is_found(scale: float) -> None:
    logits, truth = drawn(20_000)
    assert fit_temperature(logits * scale, truth) == pytest.approx(scale, rel=0.03)
    found = calibrate_confidence(logits * scale, truth)
    assert found.error_after < 0.015 < found.error_before


@given(st.integers(2, 60), st.integers(2, 6), st.integers(0, 10**6))
def test_it_is_the_minimum_of_the_cross_entropy(n: int, classes: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    logits, truth = source.normal(size=(n, classes)) * source.uniform(0.1, 8), source.integers(classes, size=n)
    doubt = 1 / (n + 2)
    targets = np.full((n, classes), doubt / (classes - 1))
    targets[np.arange(n), truth] = 1 - doubt

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    found = fit_temperature(logits, truth)
    best = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-10})
    assert loss(np.log(found)) <= best.fun + 1e-9


def test_every_first_answer_is_noted_from_sure_to_unsure() -> None:
    """With the confidence that it has at the temperature, and whether it was right."""
    logits = np.array([[0.0, 0.0, 1.0], [4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 3.0, 0.0], [0.5, 0.0, 0.0]])
    truth = np.array([2, 0, 0, 1, 1])
    found = calibrate_confidence(logits, truth)
    assert found.right.tolist() == [True, True, False, True, False]  # of 4, 3, 2, 1 and ½
    expected = [1 / (1 + 2 * np.exp(-size / found.temperature)) for size in (4, 3, 2, 1, 0.5)]
    assert found.confidence == pytest.approx(expected, rel=1e-6)
    assert found.error_before == expected_calibration_error(softmax(logits, axis=1), truth)
    assert found.error_after == expected_calibration_error(softmax(logits / found.temperature, axis=1), truth)


@pytest.mark.parametrize(("pictures", "labels"), [(0, 0), (3, 2), (3, 4), (0, 1), (1, 0)])
def test_logits_without_their_labels_are_refused(pictures: int, labels: int) -> None:
    with pytest.raises(ValueError, match=f"do not belong to {labels} labels"):
        fit_temperature(np.ones((pictures, 3)), np.zeros(labels, dtype=np.int64))


def test_one_picture_is_enough() -> None:
    """One right answer: it is as sure as Platt's target for one picture, two thirds."""
    logits = np.array([[3.0, 1.0]])
    assert softmax(logits / fit_temperature(logits, np.array([0]))).max() == pytest.approx(2 / 3)


def test_probabilities_do_where_logits_are_gone() -> None:
    logits, truth = drawn(2_000)
    found = calibrate_probabilities(softmax(logits * 3, axis=1).astype(np.float32), truth)
    assert found.temperature == pytest.approx(fit_temperature(logits * 3, truth), rel=1e-4)


def test_a_faultless_classifier_is_not_declared_infallible() -> None:
    """Plain cross-entropy would fall for ever as the temperature goes to 0."""
    truth = np.arange(30) % 3
    logits = np.eye(3)[truth] * 5.0
    sure = softmax(logits / fit_temperature(logits, truth), axis=1).max()
    assert sure == pytest.approx(1 - 1 / 32, abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [(np.zeros((4, 3)), 1.0), (np.full((4, 3), 7.0), 1.0), (np.zeros((4, 1)), 1.0)],
    ids=["all alike", "all alike and large", "one class"],
)
def test_logits_that_say_nothing_keep_their_temperature(logits: NDArray[np.float64], expected: float) -> None:
    assert fit_temperature(logits, np.array([0] * 4)) == expected


@pytest.mark.parametrize("size", [0.1, 5.0])
def test_a_classifier_that_is_always_wrong_gets_the_flattest_answers(size: float) -> None:
    logits = np.tile([size, 0.0], (20, 1))
    assert fit_temperature(logits, np.ones(20, dtype=np.int64)) == pytest.approx(100)


def test_a_faultless_classifier_whose_logits_hardly_differ_gets_the_sharpest() -> None:
    logits = np.tile([1e-5, 0.0], (20, 1))
    assert fit_temperature(logits, np.zeros(20, dtype=np.int64)) == pytest.approx(0.01)


def test_logits_of_any_size_are_taken() -> None:
    logits, truth = drawn(500)
    expected = fit_temperature(logits, truth)
    assert fit_temperature(logits + 1e5, truth) == pytest.approx(expected, rel=1e-6)
    huge = fit_temperature((logits * 20).astype(np.float32), truth)
    assert huge == pytest.approx(20 * expected, rel=1e-4)


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_the_temperature_of_several_views_is_the_best_for_their_mean(scale: float) -> None:
    """By a row of ten thousand temperatures; and of views that are all alike it is that of one."""
    source = np.random.default_rng(3)
    truth = source.integers(4, size=80)
    logits = scale * (np.eye(4)[truth][:, None] * 1.2 + source.normal(size=(80, 3, 4)))
    doubt = 1 / 82
    targets = np.full((80, 4), doubt / 3)
    targets[np.arange(80), truth] = 1 - doubt

    def loss(temperature: float) -> float:
        mean = softmax(logits / temperature, axis=2).mean(axis=1)
        return float(-(targets * np.log(np.maximum(mean, 1e-300))).sum(axis=1).mean())

    found = fit_temperature(logits, truth)
    assert loss(found) <= min(loss(one) for one in np.geomspace(0.011, 99, 10_000)) + 1e-9
    assert abs(np.log(found / fit_temperature(logits[:, 0], truth))) > 0.05  # the clean view's would be another
    alike = np.repeat(logits[:, :1], 3, axis=1)
    assert fit_temperature(alike, truth) == pytest.approx(fit_temperature(logits[:, 0], truth), rel=1e-4)
    assert fit_temperature(logits[:, :1], truth) == fit_temperature(logits[:, 0], truth)
    noted = calibrate_confidence(logits, truth)
    assert noted.temperature == found
    mean = softmax(logits / found, axis=2).mean(axis=1)
    np.testing.assert_allclose(noted.confidence, np.sort(mean.max(axis=1))[::-1], rtol=1e-5)
    assert noted.right.sum() == (mean.argmax(axis=1) == truth).sum()
    assert fit_temperature(np.zeros((80, 3, 4)), truth) == 1.0
    with pytest.raises(ValueError, match="do not belong to 79 labels"):
        fit_temperature(logits, truth[:79])


# Not subnormal numbers: divided by a temperature they vanish, and no network in float32 tells them from zero.
LOGITS = st.floats(-30, 30, allow_subnormal=False)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(2, 5)), elements=LOGITS))
def test_no_temperature_makes_an_answer_another_one(logits: NDArray[np.float64]) -> None:
    temperature = fit_temperature(logits, np.zeros(len(logits), dtype=np.int64))
    best = np.take_along_axis(logits, (logits / temperature).argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(best, logits.max(axis=1), rtol=1e-14)


def test_cross_entropy_is_finite_where_the_true_class_was_ruled_out() -> None:
    assert cross_entropy(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 0])) == pytest.approx(np.log(2) / 2)
    assert np.isfinite(cross_entropy(np.array([[1.0, 0.0]]), np.array([1])))


def known(*answers: tuple[float, bool]) -> Calibration:
    confidence, right = zip(*sorted(answers, reverse=True), strict=True)
    return Calibration(1.0, np.array(confidence, np.float32), np.array(right), 0.1, 0.1)


def binomial_bound(right: int, n: int) -> float:
    """Clopper and Pearson's lower bound by its definition: the share at which so many right are seen once in 20."""
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        seen = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(right, n + 1))
        low, high = (share, high) if seen < 0.05 else (low, share)
    return low


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (2, 2), (4, 6), (50, 50), (57, 60)])
def test_the_bound_is_that_of_its_definition(right: int, n: int) -> None:
    (found,) = lower_bounds(np.array([right]), np.array([n]))
    assert found == pytest.approx(binomial_bound(right, n) if right else 0.0, abs=1e-9)


def test_the_threshold_of_a_table_worked_by_hand() -> None:
    """The bounds of 1 of 1, 2 of 2, …: 5.0, 22.4, 13.5, 24.9, 34.3 and 27.1%."""
    table = known((0.9, True), (0.8, True), (0.7, False), (0.6, True), (0.5, True), (0.4, False))
    at = {share: abstention(table, share) for share in (0.3, 0.25)}
    assert [(one.answered, one.right) for one in at.values()] == [(5, 4), (6, 4)]
    assert [(one.wanted, one.n) for one in at.values()] == [(0.3, 6), (0.25, 6)]
    assert at[0.3].threshold == pytest.approx(0.45)
    assert at[0.25].threshold == pytest.approx(0.4, abs=1e-3)  # all of valid is answered, and nothing less sure than it
    assert at[0.25].threshold < 0.4
    assert (at[0.3].coverage, at[0.3].precision) == (5 / 6, 0.8)
    assert at[0.3].interval.low < 0.8 < at[0.3].interval.high


def test_a_faultless_valid_set_shows_no_more_than_its_size_allows() -> None:
    """148 right answers out of 148 are no proof of 98%; 149 are, and then all are given."""
    few, enough = (known(*((0.9 + index / 10_000, True) for index in range(n))) for n in (148, 149))
    with pytest.raises(UserError, match=r"The 148 valid pictures can't show a precision of 98.0% .* the most is 97.9%"):
        abstention(few, 0.98)
    assert abstention(few, 0.979).answered == 148  # what the sentence offers can be had
    assert abstention(enough, 0.98).answered == 149
    assert 0.899 < abstention(enough, 0.98).threshold < 0.9, "a stray that is less sure than any of valid is refused"


def test_the_promise_is_kept_on_pictures_that_nobody_saw() -> None:
    """Of 300 valid sets no more than a few find a threshold whose true precision lies below what was promised."""
    source = np.random.default_rng(5)
    broken = 0
    for _ in range(300):
        confidence = np.sort(source.beta(4, 0.7, 250))[::-1]
        chance = confidence**1.15  # of being right: it is more sure than it should be
        table = Calibration(1.0, confidence.astype(np.float32), source.random(250) < chance, 0.1, 0.1)
        try:
            found = abstention(table, 0.9)
        except UserError:
            continue
        broken += bool(chance[: found.answered].mean() < 0.9)
    assert broken <= 20


def test_answers_of_one_confidence_stay_together() -> None:
    table = known((0.9, True), (0.8, True), (0.5, True), (0.5, False), (0.5, False))
    assert abstention(table, 0.2).answered == 2
    assert abstention(table, 0.18).answered == 5


@given(
    st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=60),
    st.floats(0.01, 1),
)
def test_a_threshold_keeps_its_word_and_no_lower_one_would(answers: list[tuple[float, bool]], wanted: float) -> None:
    table = known(*answers)
    confidence, right = table.confidence, table.right

    def kept(threshold: float) -> tuple[int, int]:
        return int((confidence >= threshold).sum()), int(right[confidence >= threshold].sum())

    counts = [kept(float(value)) for value in set(confidence)]
    possible = [(n, r) for n, r in counts if n and lower_bounds(np.array([r]), np.array([n]))[0] >= wanted]
    if not possible:
        with pytest.raises(UserError, match="can't show a precision"):
            abstention(table, wanted)
        return
    found = abstention(table, wanted)
    assert kept(found.threshold) == (found.answered, found.right) == max(possible)


def test_without_answers_there_is_no_threshold() -> None:
    with pytest.raises(UserError, match=r"The 0 valid pictures .* the most is 0\.0%.* Leave --abstain out"):
        abstention(Calibration(1.0, np.zeros(0, np.float32), np.zeros(0, np.bool_), 0.0, 0.0), 0.9)


def test_a_precision_out_of_reach_is_told_the_best() -> None:
    """The surest picture alone would be right, but the second is as sure as it, and both are answered or none."""
    table = known((0.9, True), (0.9, False), (0.8, True), (0.7, False), (0.6, False))
    with pytest.raises(UserError, match=r"5 valid pictures .* of 90\.0% at any threshold: the most is 13\.5%"):
        abstention(table, 0.9)
    assert abstention(table, 0.135).answered == 3
    with pytest.raises(UserError, match=r"the most is 0\.0%"):
        abstention(known((0.9, False), (0.8, False)), 0.9)


@pytest.mark.parametrize("wanted", [0, -0.5, 1.01, 98, float("nan")])
def test_what_is_no_share_is_refused(wanted: float) -> None:
    with pytest.raises(UserError, match="is no share"):
        abstention(known((0.9, True)), wanted)


def test_answers_are_counted_on_another_split() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert answered_right(probabilities, np.array([0, 1, 0]), 0.7) == (2, 1)
    assert answered_right(probabilities, np.array([0, 1, 0]), 0.95) == (0, 0)
    assert answered_right(probabilities, np.array([0, 1, 0]), 0.8) == (2, 1)  # the threshold reached is enough
    strange = np.array([False, True, True])
    assert answered_right(probabilities, np.array([0, 1, 0]), 0.7, strange) == (1, 0)  # the first is like no class


def test_it_comes_back_from_plain_types() -> None:
    found = calibrate_confidence(*drawn(50))
    again = Calibration.from_dict(found.to_dict())
    assert again.temperature == found.temperature
    np.testing.assert_array_equal(again.confidence, found.confidence)
    np.testing.assert_array_equal(again.right, found.right)
    sharp = dataclasses.replace(found, temperature=0.01)
    assert Calibration.from_dict(sharp.to_dict()).temperature == 0.01
    assert (again.error_before, again.error_after) == (found.error_before, found.error_after)


@pytest.mark.parametrize(
    "fault",
    [
        {"temperature": 0.0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"temperature": float("inf")},
        {"right": torch.ones(49, dtype=torch.bool)}, {"right": torch.ones(50)},
        {"right": torch.ones(25, 2, dtype=torch.bool), "confidence": torch.ones(25, 2)},
    ],
)  # fmt: skip
def test_what_is_no_calibration_does_not_come_back(fault: dict[str, object]) -> None:
    plain = calibrate_confidence(*drawn(50)).to_dict()
    with pytest.raises(ValueError, match=r"is no temperature|answers differ in number"):
        Calibration.from_dict({**plain, **fault})


def test_what_was_learnt_is_not_changed_afterwards() -> None:
    """And it may be compared and be a key, arrays and all: each is equal to itself alone."""
    found, again = calibrate_confidence(*drawn(5)), calibrate_confidence(*drawn(5))
    assert len({found, again}) == 2
    first_bin = reliability(np.array([[0.5, 0.5]]), np.array([0]))[0]
    for figure, name in ((found, "temperature"), (first_bin, "n"), (Abstention(0.9, 0.5, 4, 2, 2), "threshold")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(figure, name, 1)
