"""What features say of pictures and labels: held out is held out, errors come first, chances mean what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.auditing import evidence as evidence_of
from train.auditing.evidence import fit_temperatures, gather_evidence
from train.auditing.findings import FOLDS, Findings, find
from train.auditing.gaussians import coordinates, fit, held_out
from train.auditing.neighbours import nearest_of_own, nearest_to, unit

CLASSES = 8
EACH = 40
DIMENSIONS = 64


class Planted:
    """Classes as clouds in 64 dimensions, some labels wrong, some pictures far from all classes."""

    def __init__(self, seed: int, *, wrong: int = 0, strays: int = 0, apart: float = 3.0) -> None:
        rng = np.random.default_rng(seed)
        # Angles between classes as networks give them: one direction is shared
        means = rng.standard_normal((CLASSES, DIMENSIONS)) + 0.5
        truth = np.repeat(np.arange(CLASSES), EACH)
        x = apart * means[truth] / np.sqrt(DIMENSIONS) * 2 + rng.standard_normal((len(truth), DIMENSIONS))
        far = 7 * rng.standard_normal((strays, DIMENSIONS)) / np.sqrt(2)
        self.x = np.concatenate([x, far]).astype(np.float32)
        self.targets = np.concatenate([truth, rng.integers(CLASSES, size=strays)])
        self.stray = np.arange(len(self.x)) >= len(x)
        self.truth = np.concatenate([truth, np.full(strays, -1)])
        self.wrong = np.zeros(len(self.x), bool)
        self.wrong[rng.permutation(len(x))[:wrong]] = True
        self.targets[self.wrong] = (self.targets[self.wrong] + rng.integers(1, CLASSES, wrong)) % CLASSES
        self.fold = rng.integers(FOLDS, size=len(self.x))

    def find(self, groups: NDArray[np.int64] | None = None) -> Findings:
        labels = [f"class {number}" for number in range(CLASSES)]
        groups = np.arange(len(self.x)) if groups is None else groups
        return find(self.x, self.targets, labels, self.fold, groups)


def test_wrong_labels_come_first_with_their_right_class_proposed() -> None:
    planted = Planted(1, wrong=20)
    found = planted.find().scores
    order = np.argsort(-found.mislabelled)
    assert planted.wrong[order[:20]].mean() >= 0.95
    assert (found.proposed == planted.truth)[planted.wrong].mean() >= 0.95
    assert (found.proposed != planted.targets).all()
    assert found.irrelevant[planted.wrong].max() < 0.5


def test_strays_are_irrelevant_and_not_of_another_class() -> None:
    planted = Planted(2, wrong=10, strays=20)
    found = planted.find().scores
    ordinary = ~planted.stray & ~planted.wrong
    assert found.irrelevant[ordinary].max() < 0.5
    assert (found.irrelevant[planted.stray] > np.quantile(found.irrelevant[ordinary], 0.99)).mean() >= 0.9
    surer = found.irrelevant[planted.stray] > found.mislabelled[planted.stray]
    assert surer.mean() >= 0.8
    assert (found.mislabelled[planted.wrong] > found.irrelevant[planted.wrong]).mean() >= 0.9


def test_where_nothing_is_wrong_nearly_nothing_is_suspected() -> None:
    found = Planted(3).find().scores
    assert (np.maximum(found.irrelevant, found.mislabelled) >= 0.5).sum() <= 1
    assert (found.mislabelled + found.irrelevant).sum() <= 3


@pytest.mark.thorough
@pytest.mark.parametrize("wrong", [4, 16, 48])
def test_chances_add_up_to_what_is_wrong(wrong: int) -> None:
    """A chance of 80% is right four times of five, so the sum of all is the number of errors."""
    expected, errors, sure, so = 0.0, 0, 0, 0
    for seed in range(4):
        planted = Planted(seed, wrong=wrong, apart=1.6)
        found = planted.find().scores.mislabelled
        expected, errors = expected + float(found.sum()), errors + wrong
        sure, so = sure + int((found >= 0.9).sum()), so + int(planted.wrong[found >= 0.9].sum())
    assert 0.5 * errors - 4 <= expected <= 1.6 * errors + 4
    assert so >= 0.85 * sure


def test_scores_are_chances_and_shares() -> None:
    planted = Planted(4, wrong=12, strays=6)
    found = planted.find()
    for values in (*(vars(found.scores)[name] for name in ("irrelevant", "mislabelled", "outlier", "ambiguous")),
                   found.redundant):  # fmt: skip
        assert ((values >= 0) & (values <= 1)).all()
    assert (found.scores.irrelevant + found.scores.mislabelled <= 1 + 1e-9).all()


@pytest.mark.thorough
def test_an_outlier_is_one_among_its_class() -> None:
    """Of pictures as they should be, one in a hundred has an outlier score of .99: the score is a share."""
    scores = np.concatenate([Planted(seed).find().scores.outlier for seed in range(5)])
    for level in (0.5, 0.9, 0.99):
        assert abs((scores >= level).mean() - (1 - level)) <= 0.02


def test_what_lies_between_two_classes_is_ambiguous() -> None:
    planted = Planted(5)
    first, second = (planted.x[planted.truth == label].mean(axis=0) for label in (0, 1))
    planted.x[0] = (first + second) / 2
    found = planted.find().scores.ambiguous
    assert found[0] > np.quantile(found, 0.95)
    assert np.median(found) < 0.05


def test_a_picture_beside_others_is_redundant_and_a_copy_makes_none() -> None:
    planted = Planted(6)
    rng = np.random.default_rng(0)
    for at in (1, 2):
        planted.x[at] = planted.x[0] + 0.05 * rng.standard_normal(DIMENSIONS)
    alone = planted.find()
    assert alone.redundant[:3].min() > 0.8
    assert np.median(alone.redundant) < 0.2
    assert set(alone.nearest[0][:2]) == {1, 2}
    groups = np.arange(len(planted.x))
    groups[[1, 2]] = 0
    bound = planted.find(groups)
    assert bound.redundant[0] < 0.5
    assert not {1, 2} & set(bound.nearest[0])


def test_a_picture_does_not_judge_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fold is like says nothing of it: its labels may all be changed, and its figures under them stay."""
    monkeypatch.setattr(evidence_of, "ROUNDS", 1)
    planted = Planted(7)
    rows = coordinates(planted.x)
    models = dict(enumerate(held_out(rows, planted.targets, np.ones(len(rows), np.float32), planted.fold, CLASSES)))
    changed = np.where(planted.fold == 3, (planted.targets + 1) % CLASSES, planted.targets)
    again = dict(enumerate(held_out(rows, changed, np.ones(len(rows), np.float32), planted.fold, CLASSES)))
    places = models[3][0]
    assert np.allclose(models[3][1].logits(rows[places])[0], again[3][1].logits(rows[places])[0], atol=1e-2)
    other = models[4][0]
    assert not np.allclose(models[4][1].logits(rows[other])[0], again[4][1].logits(rows[other])[0], atol=1e-2)


def test_two_copies_with_one_wrong_label_do_not_vouch_for_each_other() -> None:
    planted = Planted(8)
    planted.x[1] = planted.x[0]
    planted.targets[[0, 1]] = 5
    planted.fold[[0, 1]] = 2
    assert planted.find().scores.mislabelled[[0, 1]].min() > 0.5


@given(st.integers(0, 10_000))
def test_the_others_are_all_but_the_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((60, 5)).astype(np.float32)
    targets = rng.integers(3, size=60)
    weights = rng.uniform(0.1, 1, 60).astype(np.float32)
    fold = rng.integers(-1, 4, size=60)
    fold[:4] = [0, 1, 2, 3]
    seen = set()
    for places, model in held_out(rows, targets, weights, fold, 3):
        (number,) = set(fold[places].tolist())
        seen.add(number)
        assert places.tolist() == np.flatnonzero(fold == number).tolist()
        rest = fold != number
        alone = fit(rows[rest], targets[rest], weights[rest], 3)
        assert np.allclose(model.logits(rows)[0], alone.logits(rows)[0], rtol=1e-2, atol=1e-2)
    assert seen == {0, 1, 2, 3}


def test_a_class_that_a_fold_has_alone_is_never_proposed() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    targets = np.repeat([0, 1, 2, 2], 10)
    fold = np.where(targets == 2, 0, np.tile([0, 1], 20))
    for places, model in held_out(rows, targets, np.ones(40, np.float32), fold, 3):
        if fold[places[0]] == 0:
            logits, cosines = model.logits(rows)
            assert (logits.argmax(axis=1) != 2).all()
            assert (cosines[:, 2] == -1).all()


@pytest.mark.thorough
def test_temperatures_tell_wrong_labels_from_an_unsure_model() -> None:
    """A model that is right as often as it says needs no wrong labels; one that is contradicted when sure does."""
    rng = np.random.default_rng(0)
    logits = (6 * rng.standard_normal((4_000, 5))).astype(np.float32)
    chances = np.exp(logits / 3 - np.log(np.exp(logits / 3).sum(axis=1, keepdims=True)))
    labels = (chances.cumsum(axis=1) > rng.random((4_000, 1))).argmax(axis=1)
    honest = fit_temperatures(logits, labels)
    assert honest.errors < 0.04
    assert honest.sharp == pytest.approx(1 / 3, rel=0.15)
    noisy = np.where(rng.random(4_000) < 0.1, rng.integers(5, size=4_000), labels)
    assert fit_temperatures(logits, noisy).errors == pytest.approx(0.08, abs=0.03)


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_the_nearest_of_a_class_are_the_nearest(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    rows = unit(rng.standard_normal((50, 6)).astype(np.float32))
    targets = rng.integers(classes, size=50)
    groups = rng.integers(30, size=50)
    places, cosines = nearest_of_own(rows, targets, groups)
    near = rows @ rows.T
    for at in range(50):
        others = np.flatnonzero((targets == targets[at]) & (groups != groups[at]))
        best = others[np.argsort(-near[at, others], kind="stable")][:3]
        assert np.allclose(cosines[at][: len(best)], near[at, best], atol=1e-5)
        assert (places[at][len(best) :] == -1).all()
        assert set(places[at][: len(best)]) <= set(others)
    asked = np.flatnonzero(targets == 0)
    among = np.flatnonzero(targets == 1)
    for one, found in zip(asked, nearest_to(rows, asked, among), strict=True):
        assert set(found[found >= 0]) <= set(among)
        assert np.allclose(near[one, found[: min(3, len(among))]], -np.sort(-near[one, among])[:3], atol=1e-5)


def test_a_large_class_is_searched_by_cells_with_little_loss() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 16))
    rows = unit((centres[rng.integers(60, size=4_000)] + 0.4 * rng.standard_normal((4_000, 16))).astype(np.float32))
    one = np.zeros(4_000, np.int64)
    by_cells, _ = nearest_of_own(rows, one, np.arange(4_000), large=1_000)
    exactly, _ = nearest_of_own(rows, one, np.arange(4_000))
    recall = np.mean([len(set(a) & set(b)) / 3 for a, b in zip(by_cells, exactly, strict=True)])
    assert recall >= 0.97


def test_the_same_seed_gives_the_same_bits() -> None:
    planted = Planted(9, wrong=10, strays=5)
    first, second = planted.find(), planted.find()
    for name, values in vars(first.scores).items():
        assert np.array_equal(values, vars(second.scores)[name]), name


def test_what_a_class_is_like_is_told() -> None:
    """Two classes of one cloud overlap with each other, and others do not; a spoilt class has suspects."""
    planted = Planted(10)
    planted.targets[planted.truth == 1] = 0
    half = np.flatnonzero(planted.targets == 0)[::2]
    planted.x[planted.targets == 0] = planted.x[planted.truth == 2].mean(axis=0) + np.random.default_rng(
        0
    ).standard_normal((2 * EACH, DIMENSIONS)).astype(np.float32)
    planted.targets[half] = 1
    found = {one.label: one for one in planted.find().classes}
    assert {found["class 0"].nearest, found["class 1"].nearest, found["class 2"].nearest} <= {
        "class 0", "class 1", "class 2"
    }  # fmt: skip
    assert found["class 0"].overlap > 0.25
    assert found["class 6"].overlap < 0.1
    assert found["class 0"].pictures == EACH
    assert found["class 0"].gain >= 0
    assert found["class 6"].right > 0.9


def test_weights_let_go_of_wrong_labels() -> None:
    planted = Planted(11, wrong=30)
    rows = coordinates(planted.x)
    found = gather_evidence(rows, planted.targets, planted.fold, CLASSES)
    assert np.median(found.weights[planted.wrong]) < 0.2
    assert np.median(found.weights[~planted.wrong]) > 0.8
