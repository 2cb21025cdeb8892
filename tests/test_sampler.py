"""Class-balanced sampling, seeded, with torchsampler's traps closed."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.optimising.sampler import ClassBalancedSampler

# Not imported by name: torchsampler warns when it is imported first, which train.optimising.sampler knows how to bear
TORCHSAMPLER = ClassBalancedSampler.__mro__[1]

UNBALANCED = [0] * 400 + [1] * 40 + [2] * 4


def test_every_class_is_drawn_as_often_as_the_next() -> None:
    sampler = ClassBalancedSampler(UNBALANCED, seed=1, num_samples=30_000)
    assert TORCHSAMPLER.__module__ == "torchsampler.imbalanced"
    drawn = Counter(UNBALANCED[index] for index in sampler)
    assert len(sampler) == 30_000
    # 10,000 each, with a deviation of 82
    assert all(abs(count - 10_000) < 500 for count in drawn.values())
    assert not sampler.is_balanced


def test_the_draws_follow_from_seed_and_epoch_and_touch_no_global_generator() -> None:
    """Trap: torchsampler has no generator, so its draws can't be seeded without reseeding everything."""
    torch.manual_seed(11)
    before = torch.get_rng_state()
    epochs = [list(ClassBalancedSampler(UNBALANCED, seed=7)) for _ in range(2)]
    torch.manual_seed(12)
    third = ClassBalancedSampler(UNBALANCED, seed=7)
    assert epochs[0] == epochs[1] == list(third)
    torch.manual_seed(11)
    assert torch.equal(before, torch.get_rng_state())
    third.set_epoch(1)
    assert list(third) != epochs[0]
    neighbours = [ClassBalancedSampler(UNBALANCED, seed=seed).draw(epoch) for seed in range(4) for epoch in range(4)]
    assert len({tuple(draw.tolist()) for draw in neighbours}) == 16


def test_unsorted_indices_keep_their_weights() -> None:
    """Trap: torchsampler pairs weights with unsorted indices wrongly, without a word."""
    indices = [443, 3, 402, 1, 2, 0]  # classes 2, 0, 1, 0, 0, 0
    theirs = TORCHSAMPLER(None, labels=[UNBALANCED[i] for i in indices], indices=indices, num_samples=9000)
    torch.manual_seed(0)
    wrong = Counter(UNBALANCED[index] for index in theirs)
    assert wrong[0] > 4500  # the trap is there: class 0 should have 3000
    ours = Counter(
        UNBALANCED[index] for index in ClassBalancedSampler(UNBALANCED, seed=1, indices=indices, num_samples=9000)
    )
    assert all(abs(count - 3000) < 300 for count in ours.values())
    assert set(ClassBalancedSampler(UNBALANCED, seed=1, indices=indices)) <= set(indices)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 2**40))
def test_weights_belong_to_labels_whatever_their_order(labels: list[int], seed: int) -> None:
    """Trap: labels guessed from the dataset's type; here they are given, so any dataset will do."""
    sampler = ClassBalancedSampler(labels, seed=seed)
    counts = Counter(labels)
    assert np.allclose(sampler.weights.numpy(), [1 / counts[label] for label in labels])
    assert all(0 <= index < len(labels) for index in sampler)
    assert sampler.is_balanced == (len(set(counts.values())) == 1)


def test_coverage_is_told() -> None:
    """Trap: drawing with replacement shows about 63% of a balanced set in an epoch, and less of an unbalanced one."""
    balanced = ClassBalancedSampler([0, 1] * 5000, seed=0)
    assert balanced.is_balanced
    assert balanced.coverage() == pytest.approx(1 - 1 / np.e, abs=0.02)
    unbalanced = ClassBalancedSampler(UNBALANCED, seed=0)
    assert unbalanced.coverage() == len(set(unbalanced)) / len(UNBALANCED)
    assert unbalanced.coverage() < 0.5


@pytest.mark.parametrize("indices", [[], [0, 0], [-1], [444]])
def test_impossible_indices_are_refused(indices: list[int]) -> None:
    with pytest.raises(ValueError, match=r"nothing to sample|distinct positions"):
        ClassBalancedSampler(UNBALANCED, seed=0, indices=indices)
