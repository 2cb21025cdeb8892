"""Heads that are fitted at once: each equals a slow direct solution, and folds choose among them without a leak."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from curate.errors import UserError
from tests.test_head import clusters
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.checkpoint_facts import plain
from train.evaluate import evaluate
from train.fold_assignment import NEVER, deal_out
from train.folds import LearningSet, _folds_of_the_rest, cross_validate, fit_fold, learning_set
from train.head import fit_head
from train.heads import choice, rows
from train.heads.choice import ChosenHead, HeadCandidate, choose_head
from train.heads.closed_form import discriminant, ridge
from train.heads.logistic import logistic
from train.heads.moments import Moments
from train.heads.rows import Rows, rows_of
from train.optimising.layers import SignedSqrt, describe_head, head_from_description
from train.optimising.settings import ConvexHead, FitSettings, Tuning
from train.predict import Prediction, Predictor, head_logits
from train.sweep import sweep
from train.training import TrainingReport, TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

Doubles = NDArray[np.float64]


def moments_of(found: Rows) -> Moments:
    return Moments.of(found.values, found.targets, found.classes, len(found.mean))


def prepared(**changes: Any) -> tuple[Rows, Doubles, NDArray[np.int64]]:
    """Clusters as rows, and the same rows and targets for a direct solution."""
    features, labels = clusters(**changes)
    found = rows_of(features, labels, 4)
    return found, found.values.double().numpy(), found.targets.numpy()


def chosen(features: torch.Tensor, labels: list[int], classes: int = 4, **settings: Any) -> ChosenHead:
    targets = np.array(labels)
    told = FitSettings(**{"head": "auto", **settings})
    return choose_head(features, targets, classes, told, deal_out(targets, 5, 0))


# ---- each against a slow direct solution


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_ridge_is_the_least_squares_solution(strength: float) -> None:
    found, x, y = prepared()
    (fit,) = ridge(moments_of(found), [strength])
    centred, onehot = x - x.mean(axis=0), np.eye(4)[y]
    # The penalty as rows of its own, at the mean variance, for lstsq
    weight = math.sqrt(strength * len(x) * centred.var(axis=0).mean())
    system = np.vstack([centred, weight * np.eye(x.shape[1])])
    wanted = np.linalg.lstsq(system, np.vstack([onehot - onehot.mean(axis=0), np.zeros((x.shape[1], 4))]))[0]
    np.testing.assert_allclose(fit.weight.numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(fit.logits(found.values).numpy(), centred @ wanted + onehot.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("strength", [0.05, 0.8, 1.0])
def test_lda_is_the_difference_of_log_densities(strength: float) -> None:
    found, x, y = prepared()
    (fit,) = discriminant(moments_of(found), [strength])
    means = np.stack([x[y == one].mean(axis=0) for one in range(4)])
    within = sum((row - means[one])[:, None] * (row - means[one]) for row, one in zip(x, y, strict=True)) / len(x)
    shrunk = (1 - strength) * within + strength * np.trace(within) / len(within) * np.eye(len(within))
    away = x[:, None] - means
    densities = -0.5 * np.einsum("nci,ij,ncj->nc", away, np.linalg.inv(shrunk), away)
    logits = fit.logits(found.values).double().numpy()
    np.testing.assert_allclose(logits - logits[:, :1], densities - densities[:, :1], atol=2e-3)


def test_logistic_regression_is_at_its_minimum() -> None:
    found, x, y = prepared(n=120, dim=6)
    path = [0.1, 0.01]
    *_, fit = logistic(found.values, found.targets, moments_of(found), path)
    penalty = path[-1] * x.var(axis=0).mean()

    def loss(flat: Doubles) -> float:
        weight, bias = flat[:24].reshape(6, 4), flat[24:]
        likely = log_softmax(x @ weight + bias, axis=1)[np.arange(len(y)), y]
        return float(penalty / 2 * (weight**2).sum() - likely.mean())

    slow = minimize(loss, np.zeros(28), method="BFGS", options={"gtol": 1e-7, "maxiter": 2000})
    ours = np.concatenate([fit.weight.numpy().ravel(), fit.bias.numpy()])
    assert loss(ours) <= slow.fun * (1 + 1e-4)
    there = softmax(x @ slow.x[:24].reshape(6, 4) + slow.x[24:], axis=1)
    np.testing.assert_allclose(softmax(fit.logits(found.values).numpy(), axis=1), there, atol=0.01)
    # Where the path began has no say
    (cold,) = logistic(found.values, found.targets, moments_of(found), path[-1:])
    np.testing.assert_allclose(softmax(cold.logits(found.values).numpy(), axis=1), there, atol=0.01)


def test_what_other_folds_say_follows_by_subtraction() -> None:
    found, _, _ = prepared()
    part, rest = slice(0, 100), slice(100, None)
    own, others = (Moments.of(found.values[at], found.targets[at], 4, len(found.mean)) for at in (part, rest))
    left = moments_of(found).without(own)
    for mine, theirs in zip(vars(left).values(), vars(others).values(), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), atol=1e-3)


@pytest.mark.parametrize("kind", get_args(ConvexHead))
@pytest.mark.parametrize(("dim", "most"), [(90, 70), (200, 8192)])
def test_more_features_than_rows_give_the_same_head(
    dim: int, most: int, kind: ConvexHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In coordinates along the rows, of the same strength."""
    features, labels = clusters(n=30, dim=dim)
    monkeypatch.setattr(rows, "WIDE", math.inf)
    plain = rows_of(features, labels, 4)
    monkeypatch.undo()
    monkeypatch.setattr(rows, "MOST_COLUMNS", most)
    along = rows_of(features, labels, 4)
    assert plain.values.shape == (60, dim)
    assert len(along.values) == 60 >= along.values.shape[1]
    new, _ = clusters(n=20, dim=dim, seed=3, views=1)
    answers = []
    for found in (plain, along):
        moments = moments_of(found)
        if kind == "logistic":
            (fit,) = logistic(found.values, found.targets, moments, [0.01])
        else:
            (fit,) = {"ridge": ridge, "lda": discriminant}[kind](moments, [0.1])
        answers.append(head_logits(found.head(fit.weight.double(), fit.bias), new[:, 0]))
    near = 1e-2 if kind == "logistic" else 1e-4  # L-BFGS stops near its minimum, not at it
    np.testing.assert_allclose(answers[0], answers[1], atol=near * np.abs(answers[0]).max())


def test_what_is_too_wide_and_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clusters(n=30, dim=90)
    monkeypatch.setattr(rows, "MOST_COLUMNS", 50)
    with pytest.raises(UserError, match=r"60 views of 90 features.*--head sgd"):
        rows_of(features, labels, 4)


# ---- chosen by folds


def held_out_fits(features: torch.Tensor, targets: NDArray[np.int64], fold: NDArray[np.int64]) -> list[Doubles]:
    """Every weight of every kind that is fitted with the first fold held out."""
    bench = choice._Bench(features, targets, choice._Jury(targets, fold, 4, 1.0), roots=False)
    return [
        fit.weight.numpy() / float(bench.rows.deviation)
        for kind, strengths in choice.STRENGTHS.items()
        for fit in bench.fits(kind, strengths, 0)
    ]


def test_a_head_knows_nothing_of_its_own_fold() -> None:
    """Other labels there change no bit, and other pictures nothing but the unit that all are measured in."""
    features, labels = clusters()
    targets = np.array(labels)
    fold = deal_out(targets, 5, 0)
    clean = held_out_fits(features, targets, fold)
    own = fold == 0
    shifted = targets.copy()
    shifted[own] = (targets[own] + 1) % 4
    for mine, theirs in zip(clean, held_out_fits(features, shifted, fold), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * np.abs(mine).max())
    other = features.clone()
    other[torch.from_numpy(own)] = clusters(seed=7)[0][: own.sum()]
    for mine, theirs in zip(clean, held_out_fits(other, targets, fold), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=0.02 * np.abs(mine).max())


def test_the_choice_and_the_head_are_the_same_every_time() -> None:
    features, labels = clusters()
    torch.manual_seed(1)
    one = chosen(features, labels)
    torch.manual_seed(2)
    np.random.seed(3)
    two = chosen(features, labels)
    assert one.judged == two.judged
    assert len(one.judged) == 7 * len(choice.ADJUSTMENTS)  # three kinds, and each mean of them
    for name, value in one.head.state_dict().items():
        assert torch.equal(value, two.head.state_dict()[name])


@pytest.mark.parametrize("kind", ["ridge", "lda", "logistic"])
def test_the_head_is_that_of_all_pictures(kind: str) -> None:
    features, labels = clusters()
    strength = 0.3
    found = chosen(features, labels, head=kind, strength=strength)
    best = found.best
    assert best.members == (HeadCandidate(kind, strength, best.members[0].roots),)  # type: ignore[arg-type]
    on = rows_of(features, labels, 4, roots=best.members[0].roots)
    fitted = {
        "ridge": lambda: ridge(moments_of(on), [strength]),
        "lda": lambda: discriminant(moments_of(on), [strength]),
        "logistic": lambda: logistic(on.values, on.targets, moments_of(on), [strength]),
    }[kind]()
    (fit,) = fitted
    prior = np.log(np.bincount(labels) / len(labels))
    wanted = fit.logits(on.values).numpy() / best.temperatures[0]
    wanted = wanted + ((kind == "lda") - best.adjustment) * prior
    got = head_logits(found.head, features.reshape(-1, features.shape[2]))
    np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max())


def test_adjusted_logits_move_the_boundary_to_where_the_classes_weigh_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two Gaussians, nine to one: Bayes' rule has log 9 in its logits, and Menon et al. take it off again."""
    monkeypatch.setattr(choice, "COORDINATES", (False,))
    source = np.random.default_rng(0)
    targets = (source.random(4000) < 0.1).astype(np.int64)
    x = source.normal(size=(4000, 2)) + targets[:, None] * np.array([2.0, 0.0])
    features = torch.from_numpy(x).float()[:, None]

    def boundary(balance: float) -> float:
        """Where on the first axis both classes are as likely."""
        found = chosen(features, targets.tolist(), 2, head="lda", strength=1e-6, balance=balance)
        assert found.best.adjustment == balance
        logits = head_logits(found.head, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        odds = logits[:, 1] - logits[:, 0]
        return float(-odds[0] / (odds[1] - odds[0]))

    share = targets.mean()
    assert boundary(0.0) == pytest.approx(1 + math.log((1 - share) / share) / 2, abs=0.15)
    assert boundary(1.0) == pytest.approx(1.0, abs=0.1)


def test_pictures_are_weighed_as_balance_says() -> None:
    labels = clusters()[1]
    counts = np.bincount(labels)
    for balance in (0.0, 0.5, 1.0):
        jury = choice._Jury(np.array(labels), deal_out(np.array(labels), 5, 0), 4, balance)
        weights = counts[jury.truth] ** -balance
        np.testing.assert_allclose(jury.weights, weights / weights.sum())


def test_skewed_features_are_fitted_on_their_roots_and_others_as_they_are() -> None:
    source = np.random.default_rng(1)
    targets = source.integers(4, size=400)
    even = np.random.default_rng(2).normal(size=(4, 12))[targets] * 0.8 + source.normal(size=(400, 12))
    skewed = np.sign(even) * even**2 * (1 + np.abs(even) ** 2)
    roots = []
    for x in (even, skewed):
        found = chosen(torch.from_numpy(x).float()[:, None], targets.tolist())
        roots.append(found.best.members[0].roots)
        assert any(isinstance(layer, SignedSqrt) for layer in found.head.modules()) == roots[-1]
    assert roots == [False, True]


# ---- odd data


def test_a_class_of_one_picture_is_learnt_and_never_held_out() -> None:
    features, labels = clusters()
    alone = labels.index(3)
    keep = [at for at, label in enumerate(labels) if label != 3 or at == alone]
    found = chosen(features[keep], [labels[at] for at in keep])
    assert found.best.held_out == len(keep) - 1
    logits = head_logits(found.head, features[keep, 0])
    assert logits[:, 3].argmax() == keep.index(alone)


def test_where_each_class_has_one_picture_nothing_is_chosen_and_that_is_said() -> None:
    features, _ = clusters(n=4, views=3)
    fitted = fit_head(features, [0, 1, 2, 3], 4, FitSettings(head="auto"))
    assert fitted.notes[0].startswith("No picture could be held out")
    assert head_logits(fitted.head, features[:, 0]).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_where_all_pictures_lie_in_one_fold_nothing_is_chosen() -> None:
    features, labels = clusters()
    found = choose_head(features, np.array(labels), 4, FitSettings(head="auto"), np.zeros(len(labels), np.int64))
    assert found.best.held_out == 0
    assert (head_logits(found.head, features[:, 0]).argmax(axis=1) == labels).mean() > 0.9


def test_two_classes_are_enough() -> None:
    features, labels = clusters(classes=2)
    found = chosen(features, labels, 2)
    assert found.best.accuracy > 0.9


@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_features_that_are_no_numbers_are_refused(fault: float) -> None:
    features, labels = clusters()
    features[3, 0, 2] = fault
    with pytest.raises(UserError, match="not finite"):
        chosen(features, labels)


def test_a_constant_feature_has_no_say_and_constant_features_alone_give_the_shares() -> None:
    features, labels = clusters()
    constant = torch.cat([features, torch.full_like(features[:, :, :1], 5.0)], dim=2)
    head = chosen(constant, labels).head
    assert torch.isfinite(head_logits_of(head, constant)).all()
    moved = constant.clone()
    moved[:, :, -1] += 1e-3
    np.testing.assert_allclose(head_logits_of(head, moved), head_logits_of(head, constant), atol=1e-3)
    nothing = chosen(torch.ones(len(labels), 1, 5), labels, balance=0.0)
    assert head_logits(nothing.head, torch.ones(1, 5)).argmax() == np.bincount(labels).argmax()


def head_logits_of(head: Any, features: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(head_logits(head, features[:, 0]))


def test_the_same_picture_twice_and_more_features_than_pictures_are_no_trouble() -> None:
    features, labels = clusters(n=20, dim=200)
    found = chosen(torch.cat([features, features]), labels + labels)
    assert torch.isfinite(head_logits_of(found.head, features)).all()
    assert (head_logits_of(found.head, features).argmax(dim=1).numpy() == labels).all()


# ---- the signed root as a layer


def test_the_root_describes_itself_and_comes_back() -> None:
    head = torch.nn.Sequential(SignedSqrt(0.25), torch.nn.Linear(3, 2)).eval()
    again = head_from_description(describe_head(head), head.state_dict())
    features = torch.tensor([[-4.0, 0.0, 9.0]])
    assert str(again) == str(head)
    np.testing.assert_array_equal(head_logits(again, features), head_logits(head, features))
    np.testing.assert_allclose(SignedSqrt(1e-9)(features), [[-2.0, 0.0, 3.0]])
    for knee in (0.0, -1.0, math.nan, "much"):
        with pytest.raises(ValueError, match=r"knee|could not"):
            head_from_description([{"kind": "signed_sqrt", "knee": knee}, *describe_head(head)[1:]], head.state_dict())


def test_the_root_has_a_slope_at_nothing() -> None:
    """Pooled features are often 0 exactly, and a heat map asks for the gradient there."""
    features = torch.zeros(1, 3, requires_grad=True)
    SignedSqrt(0.01)(features).sum().backward()
    assert features.grad is not None
    np.testing.assert_allclose(features.grad, [[10.0] * 3], rtol=1e-5)


# ---- the whole way


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 4})


def train(root: Path, models: Path, **changes: Any) -> TrainingReport:
    told = {"head": FitSettings(head="auto"), "views": 2, **changes}
    return train_head(root, TrainOptions(backbone=TINY, weights="none", models=models, device="cpu", **told))


@pytest.mark.thorough
@pytest.mark.parametrize("roots", [False, True])
def test_what_is_reported_is_what_the_checkpoint_predicts(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roots: bool
) -> None:
    monkeypatch.setattr(choice, "COORDINATES", (roots,))
    report = train(garden, tmp_path)
    assert report.valid.top1 > 0.7
    assert any(note.startswith("Folds within train chose ") for note in report.notes)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.recipe["head"]["head"] == "auto"
    assert checkpoint.recipe["chosen"] == plain(checkpoint.recipe["chosen"])
    assert {one["roots"] for one in checkpoint.recipe["chosen"]} == {roots}
    assert [epoch["number"] for epoch in checkpoint.history] == [1]
    assert checkpoint.history[0]["valid_accuracy"] == pytest.approx(report.valid.top1)
    measured = evaluate(report.checkpoint, garden, device="cpu")
    assert measured.accuracy.correct == report.valid.correct
    answers = Predictor(checkpoint, "cpu").predict_files([Path(path) for path in measured.paths], top_k=3)
    for answer, row in zip(answers, measured.probabilities, strict=True):
        assert isinstance(answer, Prediction)
        for guess in answer.guesses:
            assert guess.probability == pytest.approx(float(row[checkpoint.labels.index(guess.label)]), abs=1e-6)


@pytest.mark.thorough
def test_a_run_that_was_stopped_in_the_head_ends_as_if_it_had_not_been(garden: Path, tmp_path: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    whole = load_checkpoint(train(garden, tmp_path / "whole").checkpoint)
    with pytest.raises(KeyboardInterrupt):
        train(garden, tmp_path / "stopped", watch=stop)
    again = train(garden, tmp_path / "stopped")
    assert again.computed == 0  # the bank had it all
    there = load_checkpoint(again.checkpoint)
    assert there.recipe["chosen"] == whole.recipe["chosen"]
    for name, value in whole.head.state_dict().items():
        assert torch.equal(value, there.head.state_dict()[name])
    assert not list((tmp_path / "stopped" / "unfinished").glob("*"))


def test_folds_around_folds_hold_out_twice() -> None:
    """`train --folds 5 --head auto`: what chooses within a fold's head has not seen that fold either."""
    features, labels = clusters()
    targets = np.array(labels)
    data = LearningSet(features, targets, list("abcd"), deal_out(targets, 4, 0), 4, 0, [], [])
    poisoned = LearningSet(features, np.where(data.fold == 2, 0, targets), list("abcd"), data.fold, 4, 0, [], [])
    settings = FitSettings(head="lda")
    one, two = fit_fold(data, 2, settings), fit_fold(poisoned, 2, settings)
    assert one.accuracy.top1 > 0.9
    answered = one.accuracy.confusion.sum(axis=0)
    np.testing.assert_array_equal(answered, two.accuracy.confusion.sum(axis=0))


def test_within_one_of_two_folds_the_other_is_dealt_out_anew(garden: Path, tmp_path: Path) -> None:
    told = TrainOptions(backbone=TINY, weights="none", views=1, models=tmp_path, device="cpu")
    data = learning_set(garden, told, folds=2)
    learnt = data.fold != 0
    inner = _folds_of_the_rest(data, learnt)
    assert inner is not None
    assert len(set(inner.tolist()) - {NEVER}) > 1
    content = np.array(data.sha256)[learnt]
    numbers = [data.groups.get(one, one) for one in content]
    for number in set(numbers):  # nothing that belongs together is parted
        assert len({int(fold) for one, fold in zip(numbers, inner, strict=True) if one == number}) == 1
    found = cross_validate(garden, replace(told, head=FitSettings(head="ridge")), folds=2)
    assert found.held_out == len(data.targets)


# ---- what cannot be


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "auto", "hidden": (8,)}, "one layer"),
        ({"head": "auto", "strength": 0.1}, "chooses a strength"),
        ({"head": "lda", "strength": 1.5}, "no share"),
        ({"head": "svm"}, "none of sgd, auto"),
        ({"head": "ridge", "strength": -1.0}, "strength"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        FitSettings(**settings)


def test_what_steps_alone_can_do_says_so(garden: Path, tmp_path: Path) -> None:
    from train.finetune import train_network

    told = TrainOptions(
        backbone=TINY, weights="none", models=tmp_path, device="cpu", head=FitSettings(head="auto"), views=1
    )
    with pytest.raises(UserError, match="A sweep is for head = sgd"):
        sweep(garden, told)
    unfrozen = TrainOptions(
        backbone=TINY, weights="none", models=tmp_path, device="cpu", head=FitSettings(head="auto"),
        tuning=Tuning(unfreeze="all"),
    )  # fmt: skip
    with pytest.raises(UserError, match="--set probe=true"):
        train_network(garden, unfrozen)
