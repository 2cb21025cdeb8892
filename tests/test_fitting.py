"""The steps of training, on numbers alone: each switch does what its paper or its name says."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from train.optimising.balance import Objective
from train.optimising.ema import WeightAverage
from train.optimising.fitting import Fitting, Measured, Work, best_epoch
from train.optimising.layers import build_head
from train.optimising.mixing import draw_mix
from train.optimising.optimiser import parameter_groups
from train.optimising.sampler import ClassBalancedSampler
from train.optimising.settings import FitSettings

SMALL = FitSettings(
    optimizer="sgd", learning_rate=0.05, weight_decay=0.0, epochs=2, batch=8, label_smoothing=0.0, balance=0.0
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Numbers:
    """Inputs that are there already."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.values = inputs
        self.seen: list[int] = []

    def inputs(self, _epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for part in parts:
            self.seen += drawn[part].tolist()
            yield self.values[drawn[part]]


def problem(n: int = 60, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, dim, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.8).long()


def fitting(settings: FitSettings, model: nn.Module | None = None, **changes: Any) -> Fitting:
    inputs, targets = problem()
    model = model or build_head(5, 3, hidden=[8], seed=1)
    groups = parameter_groups(model.parameters(), weight_decay=settings.weight_decay)
    work = Work(model=model, groups=groups, loader=Numbers(inputs), targets=targets, classes=3)
    return Fitting(replace(work, **changes), settings)


def weights(fitted: Fitting) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in fitted.work.model.parameters()])


def test_accumulated_batches_are_one_large_batch() -> None:
    runs = []
    for batch, accumulate in ((24, 1), (12, 2), (6, 4)):
        run = fitting(replace(SMALL, batch=batch, accumulate=accumulate, weight_decay=0.1))
        run.run()
        runs.append(run)
    assert [run.steps for run in runs] == [6, 6, 6]
    for run in runs[1:]:
        assert torch.allclose(weights(run), weights(runs[0]), atol=1e-6)
        assert [e.loss for e in run.history] == pytest.approx([e.loss for e in runs[0].history], rel=1e-5)


class Cramped(nn.Module):
    """Runs out of memory, in PyTorch's own words, beyond so many samples."""

    def __init__(self, inner: nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most
        self.largest = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > self.most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")
        self.largest = max(self.largest, len(inputs))
        answer: torch.Tensor = self.inner(inputs)
        return answer


def test_a_batch_that_does_not_fit_is_halved_and_said() -> None:
    roomy = fitting(replace(SMALL, batch=20))
    roomy.run()
    cramped = fitting(replace(SMALL, batch=20), Cramped(build_head(5, 3, hidden=[8], seed=1), most=6))
    cramped.run()
    assert torch.allclose(weights(cramped), weights(roomy), atol=1e-6)  # the steps are the same ones
    assert cramped.pictures_at_once == 5
    assert "Memory ran out at 20 pictures a batch: 5 went through at once" in cramped.notes[0]
    with pytest.raises(UserError, match="One picture alone does not fit"):
        fitting(SMALL, Cramped(build_head(5, 3), most=0)).run()
    with pytest.raises(RuntimeError, match="something else"):
        fitting(SMALL, Failing()).run()


class Failing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(5, 3)

    def forward(self, _inputs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")


def test_clipping_bounds_each_step() -> None:
    settings = replace(SMALL, learning_rate=1.0, clip=0.01, momentum=0.0, epochs=1, schedule="constant")
    run = fitting(settings)
    before = weights(run)
    run.run()
    assert 0 < float((weights(run) - before).norm()) <= run.steps * 0.01 + 1e-6


def test_steps_can_end_a_run_within_an_epoch() -> None:
    run = fitting(replace(SMALL, batch=8, steps=11))
    history = run.run()
    assert (run.steps_an_epoch, len(history)) == (8, 2)
    loader = run.work.loader
    assert isinstance(loader, Numbers)
    assert len(loader.seen) == 60 + 3 * 8


def test_a_last_step_of_one_sample_joins_the_one_before() -> None:
    run = fitting(replace(SMALL, batch=59, epochs=1))
    run.run()
    assert run.steps == 1


def scripted(accuracies: Sequence[float], losses: Sequence[float] | None = None) -> Callable[[nn.Module], Measured]:
    script = iter(zip(accuracies, losses or [1.0] * len(accuracies), strict=True))

    def validate(model: nn.Module) -> Measured:
        assert not model.training
        accuracy, loss = next(script)
        return Measured(100, round(100 * accuracy), 100 * loss)

    return validate


def test_the_epoch_of_the_lowest_loss_is_kept() -> None:
    """The first of equals; an epoch whose loss is no number is none."""
    nan, constant = float("nan"), replace(SMALL, epochs=4, schedule="constant")
    accuracies, losses = [0.5, 0.4, 0.4, 0.9], [nan, 0.3, 0.3, 0.8]
    lowest = fitting(replace(constant, keep="lowest_loss"), validate=scripted(accuracies, losses))
    history = lowest.run()
    two = fitting(replace(constant, epochs=2))
    two.run()
    assert torch.equal(weights(lowest), weights(two))
    told, most = best_epoch(history, "lowest_loss"), best_epoch(history, "best")
    assert told == history[1]
    assert most is None, "the last one was right most often"


def test_training_stops_early_and_keeps_the_best() -> None:
    accuracies = [0.5, 0.7, 0.7, 0.6, 0.9]
    stopped = fitting(replace(SMALL, epochs=9, early_stop=2, keep="best"), validate=scripted(accuracies))
    assert [epoch.valid_accuracy for epoch in stopped.run()] == accuracies[:4]
    second = fitting(replace(SMALL, epochs=9, steps=16), validate=scripted(accuracies))
    second.run()
    # The weights are those of epoch 2, the first of the equals; the cosine is of nine epochs, so compare by hand
    longer = fitting(
        replace(SMALL, epochs=9, schedule="constant", early_stop=2, keep="best"), validate=scripted(accuracies)
    )
    longer.run()
    two = fitting(replace(SMALL, epochs=2, schedule="constant"))
    two.run()
    assert torch.equal(weights(longer), weights(two))
    last = fitting(replace(SMALL, epochs=9, schedule="constant", early_stop=2), validate=scripted(accuracies))
    last.run()
    assert not torch.equal(weights(last), weights(two))


def test_the_plateau_lowers_the_rate() -> None:
    settings = replace(SMALL, schedule="plateau", patience=1, factor=0.5, epochs=6)
    run = fitting(settings, validate=scripted([0.5] * 6, [1, 0.5, 0.6, 0.6, 0.6, 0.6]))
    assert [epoch.learning_rate for epoch in run.run()] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.025, 0.025])


def test_the_average_of_weights_is_what_is_measured_and_kept() -> None:
    run = fitting(replace(SMALL, ema=0.9, epochs=3))
    seen: list[torch.Tensor] = []

    def remember(_model: nn.Module) -> Measured:
        seen.append(weights(run))
        return Measured(1, 1, 0.0)

    run.work = replace(run.work, validate=remember)
    run.run()
    assert torch.equal(seen[-1], weights(run))
    plain = fitting(replace(SMALL, epochs=3))
    plain.run()
    assert not torch.equal(weights(plain), weights(run))


def test_the_average_follows_its_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    average = WeightAverage([parameter], 0.8)
    expected = parameter.detach().clone()
    for step in range(1, 60):
        with torch.no_grad():
            parameter.add_(step)
        average.update()
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
    with average.in_place():
        assert torch.allclose(parameter.detach(), expected)
        assert not torch.equal(parameter.detach(), torch.tensor([1.0, 2.0]) + 1770)
    assert torch.equal(parameter.detach(), torch.tensor([1.0, 2.0]) + 1770)


# ---- mixing and balance


def test_mixup_blends_and_cutmix_pastes() -> None:
    pictures = torch.arange(6, dtype=torch.float32)[:, None, None, None].expand(6, 10, 12, 3).clone()
    blend = draw_mix(replace(SMALL, mixup=0.5), pictures, seed=4)
    assert blend is not None
    mixed = blend.apply(pictures, slice(0, 6))
    expected = blend.kept * torch.arange(6.0) + (1 - blend.kept) * blend.partner
    assert torch.allclose(mixed[:, 3, 4, 1], expected)
    # So many at once or so many: the same mix
    assert torch.equal(torch.cat([blend.apply(pictures, slice(0, 4)), blend.apply(pictures, slice(4, 6))]), mixed)
    for seed in range(20):
        cut = draw_mix(replace(SMALL, cutmix=1.0), pictures, seed)
        assert cut is not None
        pasted = cut.apply(pictures, slice(0, 6))
        for row in range(6):
            own = float((pasted[row, :, :, 0] == row).double().mean())
            assert own == pytest.approx(1.0 if cut.partner[row] == row else cut.kept)
    assert torch.equal(pictures[:, 0, 0, 0], torch.arange(6.0))  # the batch itself is left as it was
    kinds = {draw_mix(replace(SMALL, mixup=1.0, cutmix=1.0), pictures, seed).box is None for seed in range(30)}  # type: ignore[union-attr]
    assert kinds == {True, False}
    assert draw_mix(SMALL, pictures, 1) is None
    assert draw_mix(replace(SMALL, mixup=1.0), pictures[:1], 1) is None


def test_mixed_targets_weigh_as_much_as_their_pixels() -> None:
    """A network that answers the blend itself loses least where the two shares are the right ones."""
    inputs, targets = problem()
    run = fitting(replace(SMALL, mixup=1.0, batch=60, epochs=1, momentum=0.0, schedule="constant"))
    start = [parameter.detach().clone() for parameter in run.parameters]
    drawn = run.sampler.draw(0)
    from train.optimising.fitting import _mixed

    mix = draw_mix(run.settings, inputs[drawn], _mixed(0, 0, 0))
    assert mix is not None
    run.run()
    hard = functional.one_hot(targets[drawn], 3).float()
    soft = mix.kept * hard + (1 - mix.kept) * hard[mix.partner]
    model = build_head(5, 3, hidden=[8], seed=1)
    loss = functional.cross_entropy(model(mix.apply(inputs[drawn], slice(0, 60))), soft)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    by_shape = {parameter.shape: gradient for parameter, gradient in zip(model.parameters(), gradients, strict=True)}
    for before, after in zip(start, run.parameters, strict=True):
        assert torch.allclose(before - 0.05 * by_shape[before.shape], after.detach(), atol=1e-6)


def test_class_weights_and_shifted_logits_are_those_of_their_papers() -> None:
    counts, logits, targets = [60, 30, 10], torch.randn(7, 3), torch.tensor([0, 1, 2, 2, 0, 1, 0])
    plain = functional.cross_entropy(logits, targets, reduction="none")
    assert torch.equal(Objective(counts, SMALL)(logits, targets), plain)
    weighted = Objective(counts, replace(SMALL, balance=1.0, balance_by="weights"))
    assert weighted.weights.tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert torch.allclose(weighted(logits, targets), plain * weighted.weights[targets])
    assert float((weighted.weights * torch.tensor(counts)).sum()) == pytest.approx(100)
    half = Objective(counts, replace(SMALL, balance=0.5, balance_by="weights")).weights
    assert float(half[2] / half[0]) == pytest.approx(6**0.5)
    adjusted = Objective(counts, replace(SMALL, balance=1.0, balance_by="logits"))
    shifted = logits + torch.log(torch.tensor([0.6, 0.3, 0.1]))
    assert torch.allclose(adjusted(logits, targets), functional.cross_entropy(shifted, targets, reduction="none"))


@pytest.mark.parametrize("how", ["sampling", "weights", "logits"])
def test_each_way_of_balancing_serves_the_rare_class(how: str) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.tensor([0] * 190 + [1] * 10)
    inputs = torch.randn(200, 2, generator=generator) + targets[:, None] * 1.2

    def recall(settings: FitSettings) -> float:
        head = build_head(2, 2, seed=0)
        work = Work(head, parameter_groups(head.parameters(), weight_decay=0), Numbers(inputs), targets, 2)
        Fitting(work, settings).run()
        return float((head(inputs[190:]).argmax(dim=1) == 1).double().mean())

    settings = replace(SMALL, epochs=20, batch=40, learning_rate=0.1)
    assert recall(settings) < 0.4
    assert recall(replace(settings, balance=1.0, balance_by=how)) > 0.6  # type: ignore[arg-type]


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_tempered_sampling_draws_by_a_power_of_the_counts(balance: float) -> None:
    labels = [0] * 400 + [1] * 100
    sampler = ClassBalancedSampler(labels, seed=3, balance=balance)
    drawn = Counter(labels[at] for epoch in range(40) for at in sampler.draw(epoch).tolist())
    expected = 400 ** (1 - balance) / (400 ** (1 - balance) + 100 ** (1 - balance))
    assert drawn[0] / sum(drawn.values()) == pytest.approx(expected, abs=0.02)
    if balance == 0:
        assert sorted(sampler.draw(7).tolist()) == list(range(500))  # a shuffle: every picture once
        assert sampler.draw(7).tolist() != sampler.draw(8).tolist()
        assert sampler.coverage() == 1
