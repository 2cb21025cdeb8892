"""More than the last layer: what is frozen stays, what trains learns, and every switch does what it says."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from tests.training_ground import TINY, grow
from train.backbones import Backbone, load_backbone
from train.checkpoint import Checkpoint, load_checkpoint
from train.features.augmentation import Augmentation
from train.features.pixels import PixelSource, readable_pictures
from train.finetune import PixelClassifier, train_network
from train.optimising.balance import Objective
from train.optimising.ema import WeightAverage
from train.optimising.fitting import Fitting, Measured, Work
from train.optimising.layers import build_head
from train.optimising.mixing import draw_mix
from train.optimising.optimiser import discriminative_groups, groups_of, make_optimizer
from train.optimising.settings import FitSettings, Tuning
from train.optimising.unfreeze import stages_of, unfreeze
from train.pictures import LabelledPicture
from train.predict import Prediction, Predictor
from train.sampler import ClassBalancedSampler
from train.training import TrainingReport, TrainOptions

SMALL = FitSettings(
    optimizer="sgd", learning_rate=0.05, weight_decay=0.0, epochs=2, batch=8, label_smoothing=0.0, balance=0.0
)
COLOURFUL = Augmentation(rotation=10, smallest=0.6, flip=0.5, jitter=0.2)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 4})


def options(models: Path, settings: FitSettings = SMALL, **changes: Any) -> TrainOptions:
    asked: dict[str, Any] = {
        "backbone": TINY, "weights": "none", "crop": 64, "device": "cpu", "models": models, "head": settings,
        "tuning": Tuning(backbone_rate=1.0), "augmentation": COLOURFUL,
    }  # fmt: skip
    return TrainOptions(**{**asked, **changes})


def train(root: Path, models: Path, settings: FitSettings = SMALL, **changes: Any) -> TrainingReport:
    return train_network(root, options(models, settings, **changes))


def state_of(path: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(path)
    network = {f"network.{name}": value for name, value in checkpoint.backbones[0].network.state_dict().items()}
    return {**network, **{f"head.{name}": value for name, value in checkpoint.head.state_dict().items()}}


# ---- what is frozen


@pytest.mark.parametrize(
    ("what", "first"), [(1, "layer4."), ("layer3", "layer3."), (2, "layer3."), ("layer4.0.bn1", "")]
)
def test_what_is_frozen_stays_bit_for_bit(garden: Path, tmp_path: Path, what: int | str, first: str) -> None:
    """Trap: `model.train()` on a frozen backbone lets its batch-norm layers drift; here buffers are compared."""
    before = load_backbone(TINY, "none", seed=1337).network
    report = train(garden, tmp_path, tuning=Tuning(unfreeze=what, backbone_rate=1.0))
    after = load_checkpoint(report.checkpoint).backbones[0].network.state_dict()
    names = [name for name, _ in before.named_parameters()]
    moving = set(names[next(i for i, name in enumerate(names) if name.startswith(first or str(what))) :])
    assert moving != set(names)
    owners = {name.rpartition(".")[0] for name in moving}
    for name, value in before.state_dict().items():
        trains = name in moving or (name not in names and name.rpartition(".")[0] in owners)
        assert torch.equal(value, after[name]) != trains, name
    assert any(name.endswith("running_mean") and name.startswith("layer4") for name in after)


def test_nothing_frozen_trains_everything(garden: Path, tmp_path: Path) -> None:
    before = load_backbone(TINY, "none", seed=1337).network.state_dict()
    report = train(garden, tmp_path)
    after = load_checkpoint(report.checkpoint).backbones[0].network.state_dict()
    assert not [name for name, value in before.items() if torch.equal(value, after[name])]
    assert report.trained.startswith("the head and 6 stages from conv1")


def test_the_train_mode_is_that_of_what_trains() -> None:
    backbone = load_backbone("torchvision:resnet18", "none", crop=64)
    unfreeze(backbone.network, "layer4")
    model = PixelClassifier(backbone, build_head(backbone.dim, 3, dropout=0.5))
    model.train()
    training = {name for name, module in model.named_modules() if module.training and not list(module.children())}
    assert {"network.layer4.0.bn1", "network.layer4.1.relu", "head.0"} <= training
    assert not [name for name in training if name.startswith(("network.layer1", "network.bn1", "network.maxpool"))]
    model.eval()
    assert not any(module.training for module in model.modules())


STAGES = {
    "torchvision:resnet18": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"],
    "torchvision:efficientnet_b0": [f"features.{number}" for number in range(9)],
    "timm:tf_efficientnet_lite0": ["conv_stem", "bn1", *(f"blocks.{n}" for n in range(7)), "conv_head", "bn2"],
    "timm:vit_tiny_patch16_224": ["patch_embed", *(f"blocks.{number}" for number in range(12)), "norm"],
    "torchvision:convnext_tiny": [f"features.{number}" for number in range(8)],
    "scratch_cnn": ["blocks.0", "blocks.3", "blocks.6"],
}


@pytest.mark.parametrize("name", STAGES)
def test_the_stages_of_a_network(name: str) -> None:
    network = load_backbone(name, "none").network
    stages = stages_of(network)
    named = [stage.name for stage in stages]
    assert [one for one in named if one in STAGES[name]] == STAGES[name]
    counted = [id(parameter) for stage in stages for parameter in stage.parameters]
    assert Counter(counted) == Counter(id(parameter) for parameter in network.parameters())


def test_a_part_that_is_not_there_is_named() -> None:
    network = load_backbone(TINY, "none").network
    with pytest.raises(UserError, match=r"no part called 'layr4'.*did you mean layer4"):
        unfreeze(network, "layr4")
    with pytest.raises(UserError, match=r"--unfreeze 99 .*1 to 6"):
        unfreeze(network, 99)
    assert [stage.name for stage in unfreeze(network, "2")] == ["layer3", "layer4"]


def test_rates_fall_with_the_distance_from_the_head() -> None:
    network = load_backbone(TINY, "none").network
    stages = unfreeze(network, 3)
    groups = discriminative_groups([one.parameters for one in stages], scale=0.1, decay=0.5, weight_decay=0.3)
    optimizer = make_optimizer(groups, FitSettings(learning_rate=2.0))
    rate = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for stage, expected in zip(stages, (0.05, 0.1, 0.2), strict=True):
        for parameter in stage.parameters:
            assert rate[id(parameter)] == (pytest.approx(expected), 0.3 if parameter.ndim > 1 else 0.0)
    assert len(rate) == sum(parameter.requires_grad for parameter in network.parameters())


# ---- it learns, and predicts what it reports


def test_it_learns_and_prediction_agrees(garden: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, epochs=10, optimizer="adamw", learning_rate=3e-3)
    report = train(garden, tmp_path, settings)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.history[-1]["loss"] < checkpoint.history[0]["loss"] * 0.8
    assert report.valid.top1 > 0.6
    answers = list(Predictor(checkpoint, "cpu").predict_files(sorted((garden / "valid").rglob("*.jpg"))))
    right = [isinstance(one, Prediction) and one.guesses[0].label == Path(one.path).parent.name for one in answers]
    assert sum(right) == report.valid.correct
    assert checkpoint.backbones[0].weights == "none (seed 1337), trained on"
    assert not (tmp_path / "unfinished").exists() or not list((tmp_path / "unfinished").iterdir())
    # What was measured in training, at the last epoch, is what the finished file answers
    assert checkpoint.history[-1]["valid_accuracy"] == pytest.approx(report.valid.top1)


def test_the_same_seed_gives_the_same_tensors_whatever_the_threads(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = replace(
        SMALL, mixup=0.4, cutmix=0.4, ema=0.9, dropout=0.3, clip=1.0, warmup=1, balance=1.0, accumulate=2, batch=5
    )
    torch.manual_seed(1)
    first = train(garden, tmp_path, everything)
    torch.manual_seed(2)
    np.random.seed(3)
    monkeypatch.setattr("curate.parallel.processors", lambda: 7)
    second = train(garden, tmp_path, everything)
    assert first.checkpoint != second.checkpoint
    one, two = state_of(first.checkpoint), state_of(second.checkpoint)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert load_checkpoint(first.checkpoint).history == load_checkpoint(second.checkpoint).history
    third = state_of(train(garden, tmp_path, everything, seed=5).checkpoint)
    assert not torch.equal(one["network.conv1.0.weight"], third["network.conv1.0.weight"])


def test_the_head_can_be_fitted_on_the_bank_first(garden: Path, tmp_path: Path) -> None:
    standing = replace(SMALL, learning_rate=1e-9, epochs=1)
    plain = train(garden, tmp_path, standing, tuning=Tuning(unfreeze=1))
    probed = train(garden, tmp_path, standing, tuning=Tuning(unfreeze=1, probe=True))
    losses = [load_checkpoint(report.checkpoint).history[0]["loss"] for report in (plain, probed)]
    assert losses[1] < losses[0] * 0.8
    assert list((tmp_path / "bank").glob("*.sqlite"))


def test_only_one_network_can_be_unfrozen(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--unfreeze trains one network"):
        train(garden, tmp_path, backbone=f"{TINY}+timm:test_efficientnet")


def test_a_broken_picture_is_named_and_left_out(tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": 4, "valid": 2})
    victim = root / "train/rose/picture 1.jpg"
    victim.write_bytes(victim.read_bytes()[:700])
    report = train(root, tmp_path / "models", replace(SMALL, epochs=1))
    assert [Path(one.path).name for one in report.broken] == ["picture 1.jpg"]
    assert (report.train_pictures, report.valid_pictures) == (11, 6)
    for path in (root / "train/rose").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="All training pictures of class 'rose' are broken"):
        train(root, tmp_path / "models")


def test_a_rate_that_is_too_high_is_said(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The loss became \w+ in epoch \d: a lower --learning-rate"):
        train(garden, tmp_path, replace(SMALL, learning_rate=1e30))


# ---- pictures


def test_a_view_follows_from_seed_picture_and_epoch_alone(garden: Path) -> None:
    pictures = [LabelledPicture(path, path.parent.name) for path in sorted((garden / "train").rglob("*.jpg"))]
    readable, broken = readable_pictures(pictures, 64)
    assert len(readable) == 24
    assert not broken
    preprocessing = load_backbone(TINY, "none", crop=64).preprocessing
    source = PixelSource(readable, preprocessing, COLOURFUL, seed=3)

    def views(source: PixelSource, epoch: int, drawn: Sequence[int], size: int) -> torch.Tensor:
        parts = torch.split(torch.arange(len(drawn)), size)
        return torch.cat(list(source.inputs(epoch, torch.tensor(drawn), parts)))

    drawn = [5, 2, 5, 9, 2, 5]
    one, other = views(source, 0, drawn, 2), views(source, 0, drawn, 5)
    assert one.shape == (6, 64, 64, 3)
    assert one.dtype == torch.uint8
    assert torch.equal(one, other)  # batches do not matter
    assert len({tuple(view.flatten().tolist()) for view in one}) == 6  # a picture drawn again is a new view
    assert not torch.equal(one, views(source, 1, drawn, 2))
    assert torch.equal(one[3], views(source, 0, [9], 1)[0])  # nor does what else is drawn
    moved = PixelSource(readable[::-1], preprocessing, COLOURFUL, seed=3)
    assert torch.equal(one[3], views(moved, 0, [len(readable) - 1 - 9], 1)[0])  # nor the listing's order
    # A pause in the epoch: the later parts alone give the same views
    parts = torch.split(torch.arange(6), 2)
    assert torch.equal(torch.cat(list(source.inputs(0, torch.tensor(drawn), parts[1:]))), one[2:])


def test_a_picture_that_vanishes_is_named(tmp_path: Path) -> None:
    root = grow(tmp_path, {"train": 1})
    path = next((root / "train").rglob("*.jpg"))
    (readable, _) = readable_pictures([LabelledPicture(path, "rose")], 64)
    path.unlink()
    source = PixelSource(readable, load_backbone(TINY, "none", crop=64).preprocessing, COLOURFUL, seed=3)
    with pytest.raises(UserError, match=r"picture 0\.jpg can no longer be read"):
        list(source.inputs(0, torch.tensor([0]), [torch.tensor([0])]))


def test_jitter_changes_colours_and_nothing_else() -> None:
    picture = Image.new("RGB", (80, 80), (120, 60, 30))
    preprocessing = load_backbone(TINY, "none", crop=32).preprocessing
    plain, jittered = Augmentation(0, 1, 0), Augmentation(0, 1, 0, jitter=0.4)
    assert plain.digest() != jittered.digest()
    one, other = (which.view(picture, preprocessing, 1).astype(int) for which in (plain, jittered))
    assert (np.abs(one - [120, 60, 30]) <= 1).all()
    assert np.abs(other - one).max() > 5
    assert np.ptp(other, axis=(0, 1)).max() <= 1  # still one colour all over


# ---- the loop, on numbers alone


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
    groups = groups_of(model.parameters(), weight_decay=settings.weight_decay)
    work = Work(model=model, groups=groups, source=Numbers(inputs), targets=targets, classes=3)
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
    source = run.work.source
    assert isinstance(source, Numbers)
    assert len(source.seen) == 60 + 3 * 8


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
        work = Work(head, groups_of(head.parameters(), weight_decay=0), Numbers(inputs), targets, 2)
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


def test_the_folded_checkpoint_of_a_tuned_network_answers_as_the_network_did(garden: Path, tmp_path: Path) -> None:
    """Parity: batch-norm statistics that training moved are folded, saved and loaded as they are."""
    report = train(garden, tmp_path, replace(SMALL, epochs=3))
    checkpoint: Checkpoint = load_checkpoint(report.checkpoint)
    backbone: Backbone = checkpoint.backbones[0]
    pixels = torch.from_numpy(
        np.stack([backbone.preprocessing.clean(Image.open(path)) for path in sorted((garden / "valid/rose").iterdir())])
    )
    with torch.inference_mode():
        logits = PixelClassifier(backbone, checkpoint.head).eval()(pixels)
    assert checkpoint.calibration is not None
    plain = torch.softmax(logits / checkpoint.calibration.temperature, dim=1).numpy()
    predictor = Predictor(checkpoint, "cpu")
    images = [Image.open(path).convert("RGB") for path in sorted((garden / "valid/rose").iterdir())]
    assert np.abs(predictor.probabilities(images) - plain).max() < 1e-4
    assert report.checkpoint.stat().st_size < 4e6
