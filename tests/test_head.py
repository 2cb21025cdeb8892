"""The last layer: it learns, the same bits for the same seed, and tells true figures."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from train.head import FittedHead, fit_head
from train.optimising.layers import linears
from train.optimising.settings import FitSettings

QUICK = FitSettings(epochs=8, batch=32)


def clusters(
    n: int = 240, views: int = 2, dim: int = 24, classes: int = 4, seed: int = 0
) -> tuple[torch.Tensor, list[int]]:
    """Unbalanced clusters that overlap a little; a picture's views lie close to each other."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99)) * 1.2
    labels = torch.multinomial(torch.tensor([8.0, 4, 2, 1])[:classes], n, replacement=True, generator=generator)
    pictures = centres[labels] + torch.randn(n, dim, generator=generator)
    jitter = torch.randn(n, views, dim, generator=generator) * 0.2
    return pictures[:, None] + jitter, labels.tolist()


def last(fitted: FittedHead) -> nn.Linear:
    return linears(fitted.head)[-1]


def test_it_learns_and_says_how_well() -> None:
    """Trap: an optimiser's step inside `if use_cuda:` trains nothing on a CPU, and nothing says so."""
    features, labels = clusters()
    test, truth = clusters(seed=1, views=1)
    fitted = fit_head(features, labels, 4, QUICK, valid=(test[:, 0], truth))
    answers = fitted.head(test[:, 0]).argmax(dim=1)
    accuracy = float((answers == torch.tensor(truth)).double().mean())
    assert accuracy > 0.85
    assert fitted.history[-1].valid_accuracy == pytest.approx(accuracy)  # the folded layer answers alike
    assert [epoch.number for epoch in fitted.history] == list(range(1, 9))
    assert fitted.history[-1].loss < fitted.history[0].loss
    assert 0.3 < fitted.coverage < 0.7
    assert not fitted.balanced
    assert not fitted.head.training
    assert not last(fitted).weight.requires_grad


def test_the_loss_is_a_mean_over_samples() -> None:
    """Trap: a mean loss divided by the number of batches again, 0.0307 reported where 1.05 was true."""
    features, labels = clusters(n=210)  # the last batch is a short one
    standing_still = FitSettings(epochs=1, batch=32, learning_rate=1e-12, weight_decay=0, label_smoothing=0)
    fitted = fit_head(features[:, :1], labels, 4, standing_still)
    # A layer that has not moved answers as at the start, near log 4 for four classes
    from train.optimising.sampler import ClassBalancedSampler

    drawn = ClassBalancedSampler(labels, seed=0).draw(0)
    expected = functional.cross_entropy(fitted.head(features[drawn, 0]), torch.tensor(labels)[drawn])
    assert fitted.history[0].loss == pytest.approx(float(expected), rel=1e-4)
    assert 0.8 < fitted.history[0].loss < 2.5


def test_the_same_seed_gives_the_same_bits_and_no_global_state_matters() -> None:
    features, labels = clusters()
    torch.manual_seed(1)
    one = fit_head(features, labels, 4, QUICK)
    before = torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(3)
    two = fit_head(features, labels, 4, QUICK)
    torch.manual_seed(2)
    assert torch.equal(last(one).weight, last(two).weight)
    assert torch.equal(last(one).bias, last(two).bias)
    assert one.history == two.history
    other = fit_head(features, labels, 4, FitSettings(epochs=8, batch=32), seed=1)
    assert not torch.equal(last(one).weight, last(other).weight)
    torch.set_rng_state(before)
    fit_head(features, labels, 4, QUICK)
    assert torch.equal(before, torch.get_rng_state())


def test_valid_is_watched_and_never_chosen_on() -> None:
    """Trap: selecting the best epoch on the pictures that are then reported."""
    features, labels = clusters()
    test, truth = clusters(seed=1, views=1)
    with_valid = fit_head(features, labels, 4, QUICK, valid=(test[:, 0], truth))
    without = fit_head(features, labels, 4, QUICK)
    assert torch.equal(last(with_valid).weight, last(without).weight)
    assert without.history[-1].valid_accuracy is None


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_features_of_any_scale_train_alike(scale: float) -> None:
    """A network of random weights gives features of any size."""
    features, labels = clusters()
    fitted = fit_head(features * scale + 3 * scale, labels, 4, QUICK)
    answers = fitted.head(features[:, 0] * scale + 3 * scale).argmax(dim=1)
    assert float((answers == torch.tensor(labels)).double().mean()) > 0.85


def test_views_are_drawn_from_all_of_a_picture() -> None:
    """With labels told apart by the second view alone, a head that only saw the first would guess."""
    torch.manual_seed(0)
    labels = [0, 1] * 60
    features = torch.zeros(120, 2, 2)
    features[:, 0] = torch.randn(120, 2) * 0.01
    features[:, 1, 0] = torch.tensor(labels) * 2.0 - 1
    fitted = fit_head(features, labels, 2, FitSettings(epochs=60, batch=20))
    answers = fitted.head(features[:, 1]).argmax(dim=1)
    assert answers.tolist() == labels


def test_bfloat16_features_are_taken_as_they_are() -> None:
    features, labels = clusters()
    rough = features.to(torch.bfloat16)
    one, two = fit_head(rough, labels, 4, QUICK), fit_head(rough.float(), labels, 4, QUICK)
    assert torch.equal(last(one).weight, last(two).weight)


def test_balanced_classes_are_noticed() -> None:
    features, _ = clusters(n=40)
    assert fit_head(features, [0, 1, 2, 3] * 10, 4, QUICK).balanced


def test_features_and_losses_that_are_no_numbers_stop_the_training() -> None:
    features, labels = clusters()
    features[3, 0, 2] = math.nan
    with pytest.raises(UserError, match="not finite"):
        fit_head(features, labels, 4, QUICK)
    features, labels = clusters()
    with pytest.raises(UserError, match=r"The loss became (nan|inf) in epoch \d"):
        fit_head(features, labels, 4, FitSettings(epochs=5, learning_rate=3e37, weight_decay=0))


@pytest.mark.parametrize("fault", [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"label_smoothing": 1.0}])
def test_impossible_settings_are_refused(fault: dict[str, float]) -> None:
    with pytest.raises(UserError):
        FitSettings(**fault)  # type: ignore[arg-type]
