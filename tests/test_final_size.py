"""The last epochs at another size: pictures, network, optimiser and average go along, and a stopped run ends alike."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from curate.image import decode
from tests.training_ground import TINY, grow
from train.backbones import empty_network, load_backbone
from train.checkpoint import Checkpoint, load_checkpoint
from train.features.augmentation import Augmentation, view_draw
from train.features.pixels import PixelSource, Readable
from train.final_size import see_pictures_of
from train.finetune import PixelClassifier, train_network
from train.optimising.fitting import Change, Epoch, Fitting, Measured, Work
from train.optimising.optimiser import parameter_groups
from train.optimising.settings import FitSettings, Tuning
from train.optimising.unfinished import UnfinishedRun
from train.optimising.unfreeze import unfreeze
from train.predict import Prediction, Predictor
from train.training import TrainingReport, TrainOptions, data_notes, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

VIT = "timm:test_vit3"
SETTINGS = FitSettings(
    optimizer="adamw", learning_rate=2e-3, weight_decay=0.01, epochs=3, batch=8, label_smoothing=0.1, balance=0.0,
    ema=0.9, mixup=0.2, cutmix=1.0, clip=1.0,
)  # fmt: skip
GROWN = Tuning(unfreeze="all", backbone_rate=1.0, final_crop=96, final_epochs=1)


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 3})


def options(models: Path, settings: FitSettings = SETTINGS, **changes: Any) -> TrainOptions:
    asked: dict[str, Any] = {
        "backbone": TINY, "weights": "none", "views": 1, "crop": 64, "device": "cpu", "models": models,
        "head": settings, "tuning": GROWN, "augmentation": Augmentation(10, 0.6, 0.5), "precision": "float32",
    }  # fmt: skip
    return TrainOptions(**{**asked, **changes})


def train(root: Path, models: Path, settings: FitSettings = SETTINGS, **changes: Any) -> TrainingReport:
    return train_network(root, options(models, settings, **changes))


def tensors_of(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    network = checkpoint.backbones[0].network.state_dict()
    return {**network, **{f"head.{name}": value for name, value in checkpoint.head.state_dict().items()}}


# ---- what is promised of a run


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", [TINY, VIT])
def test_the_last_epochs_are_of_another_size_and_so_is_all_that_follows(
    backbone: str, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    logits = PixelClassifier.logits

    def noted(model: PixelClassifier, pictures: torch.Tensor) -> torch.Tensor:
        seen.append((pictures.shape[-1], model.training))
        return logits(model, pictures)

    monkeypatch.setattr(PixelClassifier, "logits", noted)
    report = train(garden, tmp_path, backbone=backbone)
    learnt, measured = ([size for size, training in seen if training is wanted] for wanted in (True, False))
    assert learnt == [64] * 6 + [96] * 3
    assert measured == [64] * 4 + [96] * 2
    assert report.trained.startswith("the head and ")
    assert report.trained.endswith(", the last epoch at 96 pixels")
    checkpoint = load_checkpoint(report.checkpoint)
    shape, before = checkpoint.backbones[0].preprocessing, load_backbone(backbone, "none", crop=64).preprocessing
    assert (shape.crop, shape.resize) == (96, round(before.resize * 1.5))
    assert replace(shape, crop=64, resize=before.resize) == before
    assert checkpoint.history[-1]["valid_accuracy"] == pytest.approx(report.valid.top1)
    answers = list(Predictor(checkpoint, "cpu").predict_files(sorted((garden / "valid").rglob("*.jpg"))))
    right = [isinstance(one, Prediction) and one.guesses[0].label == Path(one.path).parent.name for one in answers]
    assert sum(right) == report.valid.correct


@pytest.mark.thorough
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_positions_of_a_transformer_are_interpolated_and_learn_on(garden: Path, tmp_path: Path, ema: float) -> None:
    def positions(rate: float, unfreeze: int | str = "all") -> torch.Tensor:
        settings = replace(SETTINGS, learning_rate=rate, ema=ema)
        tuning = replace(GROWN, unfreeze=unfreeze)
        report = train(garden, tmp_path, settings, backbone=VIT, tuning=tuning)
        found: torch.Tensor = load_checkpoint(report.checkpoint).backbones[0].network.get_parameter("pos_embed")
        return found

    expected = load_backbone(VIT, "none", seed=1337, crop=64).network
    expected.set_input_size(img_size=(96, 96))  # type: ignore[operator]
    standing = positions(1e-12)
    assert standing.shape == expected.get_parameter("pos_embed").shape == (1, 37, 96)
    torch.testing.assert_close(standing, expected.get_parameter("pos_embed"), rtol=0, atol=1e-6)
    assert float((positions(5e-3) - standing).abs().max()) > 1e-3
    # Frozen they are interpolated too, and nothing else happens to them
    assert torch.equal(positions(5e-3, unfreeze=1), expected.get_parameter("pos_embed"))


class Stopped(Exception):
    pass


def stopping_after(steps: int) -> Callable[..., Any]:
    left, take = iter(range(steps)), Fitting._take_step

    def step(fitting: Fitting, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise Stopped
        return take(fitting, *arguments)

    return step


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", [TINY, VIT])
def test_it_may_be_stopped_in_either_part(
    backbone: str, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first, between the two, and in the second: the tensors have the same bits."""
    whole = load_checkpoint(train(garden, tmp_path / "whole", backbone=backbone).checkpoint)
    parts = options(tmp_path / "parts", backbone=backbone, save_every=0.0)
    for steps in (2, 4, 2):  # of nine, six of them at 64 pixels
        with monkeypatch.context() as patched:
            patched.setattr(Fitting, "_take_step", stopping_after(steps))
            with pytest.raises(Stopped):
                train_network(garden, parts)
    report = train_network(garden, parts)
    assert "It went on from" in report.notes[0]
    resumed = load_checkpoint(report.checkpoint)
    assert resumed.history == whole.history
    found, expected = tensors_of(resumed), tensors_of(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.thorough
def test_where_the_larger_ones_do_not_fit_fewer_go_through_at_once(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    logits = PixelClassifier.logits

    def narrow(model: PixelClassifier, pictures: torch.Tensor) -> torch.Tensor:
        if model.training:
            sizes.append((len(pictures), pictures.shape[-1]))
            if len(pictures) * pictures.shape[-1] ** 2 > 8 * 64**2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return logits(model, pictures)

    monkeypatch.setattr(PixelClassifier, "logits", narrow)
    report = train(garden, tmp_path)
    assert sizes == [(8, 64)] * 6 + [(8, 96), (4, 96), (2, 96), (2, 96), (2, 96), (2, 96)] + [(2, 96)] * 8
    assert "Memory ran out at 8 pictures a batch: 2 went through at once" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": replace(GROWN, final_epochs=3)}, "final_epochs = 3 leaves none of 3 epochs before them"),
        ({"head": replace(SETTINGS, steps=5)}, None),
        ({"head": replace(SETTINGS, steps=3)}, "final_epochs = 1 leaves none of 1 epochs before them"),
        ({"head": replace(SETTINGS, early_stop=2)}, "early_stop = 2 might end the run before its last epochs"),
        ({"backbone": VIT, "tuning": replace(GROWN, final_crop=100)}, "can't take final_crop = 100: 100 pixels do not"),
        ({"backbone": "scratch_cnn"}, "gives 9,216 features of 96 pixels and 4,096 of 64, which one head can't take"),
        ({"backbone": "vit_b_32", "crop": 0}, "can't take pictures of 96 × 96 pixels"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_learnt(
    changes: dict[str, Any], words: str | None, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr("train.finetune.readable_pictures", begun)
    with pytest.raises(UserError if words else Stopped, match=words):
        train_network(garden, options(tmp_path, **changes))


def test_features_in_a_bank_are_of_one_size(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="final_crop = 96 is for a network that trains"):
        train_head(garden, options(tmp_path, tuning=replace(GROWN, unfreeze="none")))
    assert not (tmp_path / "bank").exists()


@pytest.mark.thorough
def test_the_size_that_it_has_changes_nothing(garden: Path, tmp_path: Path) -> None:
    one, other = (
        load_checkpoint(train(garden, tmp_path, tuning=replace(GROWN, final_crop=crop)).checkpoint) for crop in (0, 64)
    )
    assert all(torch.equal(value, tensors_of(one)[name]) for name, value in tensors_of(other).items())


def test_an_epoch_of_another_size_is_not_offered() -> None:
    """The first, which was better, saw other pictures: nobody can have it."""
    history = [Epoch(number, 1.0, 0.5, share, 1.0) for number, share in enumerate([0.9, 0.6, 0.7, 0.65], start=1)]
    told = data_notes(FitSettings(), ["a", "b"], ["a", "b"], balanced=False, history=history[-3:])
    assert "Epoch 3 of 4 was right more often (70.00%)" in told[0]


@pytest.mark.parametrize(
    ("name", "size", "larger"),
    [
        (VIT, 160, 96), ("timm:test_vit", 160, 96), ("timm:test_vit_relpos", 160, 192),
        ("timm:swin_tiny_patch4_window7_224", 224, 112), ("timm:eva02_tiny_patch14_224", 224, 98), (TINY, 160, 96),
    ],
)  # fmt: skip
def test_networks_of_all_kinds_take_another_size_while_they_train(name: str, size: int, larger: int) -> None:
    backbone = load_backbone(name, "none", crop=size)
    network = backbone.network
    unfreeze(network, 1)
    moving = {name: one.requires_grad for name, one in network.named_parameters()}
    see_pictures_of(network, larger)
    assert [name for name, _ in network.named_parameters()] == list(moving)
    assert all(one.is_leaf for one in network.parameters())
    assert network(torch.randn(2, 3, larger, larger)).shape == (2, backbone.dim)
    # What a checkpoint builds for that size takes its tensors
    again = empty_network(backbone.library, backbone.architecture, pooling=backbone.pooling, crop=larger)
    again.load_state_dict(network.state_dict())


# ---- views


def test_each_size_has_the_views_of_its_own_preprocessing(garden: Path) -> None:
    files = sorted((garden / "train").rglob("*.jpg"))
    readable = [Readable(file, file.parent.name, file.stem) for file in files]
    small = load_backbone(TINY, "none", crop=64).preprocessing
    drawn = Augmentation(20, 0.5, 0.5)

    def view(position: int, epoch: int, to: Any) -> np.ndarray[Any, Any]:
        pixels = decode(files[position].read_bytes(), at_least=to.resize).pixels
        return drawn.view(pixels, to, view_draw(3, readable[position].sha256, f"epoch {epoch}/0"))

    for large in (small.at(96), small.at(48)):
        source = PixelSource(readable, small, drawn, seed=3, last=large, since=2)
        with source.at_work(8, 8 * len(files)):
            for epoch, to in ((0, small), (1, small), (2, large), (1, small), (3, large)):
                order, parts = torch.arange(len(files)), torch.split(torch.arange(len(files)), 7)
                found = torch.cat(list(source.inputs(epoch, order, parts)))
                assert found.shape == (len(files), to.crop, to.crop, 3)
                for position in (0, 9, 23):
                    np.testing.assert_array_equal(found[position].numpy(), view(position, epoch, to))
                clean = torch.cat(list(source.clean([4, 2], 8, is_last=to is large)))
                pixels = decode(files[2].read_bytes(), at_least=to.resize).pixels
                np.testing.assert_array_equal(clean[1].numpy(), to.clean(pixels))


# ---- what the loop does about it


class Positions(nn.Module):
    """Rows (N, T, 5) and as many positions → logits (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(1)
        self.scale = nn.Parameter(torch.ones(5), requires_grad=False)
        self.positions = nn.Parameter(torch.randn(1, 4, 5, generator=drawn))
        self.standing = nn.Parameter(torch.randn(1, 4, 5, generator=drawn), requires_grad=False)
        self.layer = nn.Linear(5, 3)
        nn.init.normal_(self.layer.weight, generator=drawn)
        nn.init.zeros_(self.layer.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(torch.tanh((rows + self.positions) * self.standing * self.scale).mean(dim=1))
        return logits


def interpolated(values: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(values.detach().transpose(1, 2), size=6, mode="linear").transpose(1, 2).contiguous()


def lengthen(model: nn.Module) -> None:
    for name in ("positions", "standing"):
        setattr(model, name, nn.Parameter(interpolated(model.get_parameter(name))))


class Growing:
    """Rows of four numbers, and of six from an epoch on; interrupted before a step, where that is asked for."""

    def __init__(self, since: int, stop_before: int | None) -> None:
        self.rows = torch.randn(24, 6, 5, generator=torch.Generator().manual_seed(0))
        self.since, self.left = since, stop_before

    def inputs(self, epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for part in parts:
            if self.left == 0:
                raise Stopped
            self.left = None if self.left is None else self.left - 1
            yield self.rows[drawn[part], : 6 if epoch >= self.since else 4]


def growing(
    settings: FitSettings,
    folder: Path | None = None,
    *,
    stop_before: int | None = None,
    shares: Sequence[float] = (),
    watch: Callable[[Fitting, Epoch], None] | None = None,
    make: Callable[[nn.Module], None] = lengthen,
) -> Fitting:
    model, loader, since = Positions(), Growing(2, stop_before), 2
    figures = iter(shares)

    def validate(_: nn.Module) -> Measured:
        return Measured(100, round(100 * next(figures, 0.5)), 100.0)

    work = Work(
        model=model,
        groups=parameter_groups(model.parameters(), weight_decay=0.01),
        loader=loader,
        targets=torch.arange(24) % 3,
        classes=3,
        validate=validate,
        change=Change(since, make),
    )
    kept = None if folder is None else UnfinishedRun(folder, {"run": "grown"}, every=0)
    fitting = Fitting(
        work, settings, seed=5, unfinished=kept, watch=lambda epoch: watch(fitting, epoch) if watch else None
    )
    return fitting


MOVING = FitSettings(
    learning_rate=0.05, weight_decay=0.01, epochs=4, batch=7, label_smoothing=0.0, balance=0.0, ema=0.8
)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_it_may_be_stopped_before_every_single_step(optimizer: Any, ema: float, tmp_path: Path) -> None:
    settings = replace(MOVING, optimizer=optimizer, ema=ema, keep="best")
    whole = growing(settings)
    whole.run()
    assert whole.steps == 16
    stops = 0
    while True:
        run = growing(settings, tmp_path, stop_before=1)
        try:
            run.run()
            break
        except Stopped:
            stops += 1
    assert stops == 15
    assert run.history == whole.history
    expected = whole.work.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in run.work.model.state_dict().items())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_optimiser_and_the_average_go_on(optimizer: Any) -> None:
    """What is interpolated begins at what its average was, and all else keeps what is known of it."""
    before: dict[str, Any] = {}

    def make(model: nn.Module) -> None:
        lengthen(model)

    def watch(fitting: Fitting, epoch: Epoch) -> None:
        average = fitting.average
        assert average is not None
        names = {id(value): name for name, value in fitting.work.model.named_parameters()}
        means = {names[id(one)]: mean.clone() for one, mean in zip(average.parameters, average._means, strict=True)}
        state = {names[id(one)]: copy.deepcopy(kept) for one, kept in fitting.optimizer.state.items()}
        live = {name: value.detach().clone() for name, value in fitting.work.model.named_parameters()}
        before[str(epoch.number)] = means, state, live

    fitting = growing(replace(MOVING, optimizer=optimizer), watch=watch, make=make)
    # The change is made as soon as the second epoch has been measured, before anybody is told of that epoch
    change_for = fitting._change_for
    first: dict[str, Any] = {}

    def noted(epoch: int) -> None:
        if epoch == 2:
            assert fitting.average is not None
            first["mean"] = [mean.clone() for mean in fitting.average._means]
            first["live"] = fitting.work.model.get_parameter("positions").detach().clone()
            first["of"] = [id(one) for one in fitting.average.parameters]
            first["positions"] = id(fitting.work.model.get_parameter("positions"))
            first["weight"] = copy.deepcopy(fitting.optimizer.state[fitting.work.model.get_parameter("layer.weight")])
        change_for(epoch)

    fitting._change_for = noted  # type: ignore[method-assign]
    fitting.run()
    means, state, live = before["2"]
    mean = first["mean"][first["of"].index(first["positions"])]
    torch.testing.assert_close(means["positions"], interpolated(mean))
    torch.testing.assert_close(live["positions"], interpolated(first["live"]))
    assert not torch.allclose(means["positions"], live["positions"])
    assert "positions" not in state
    for name, value in first["weight"].items():
        assert torch.equal(torch.as_tensor(state["layer.weight"][name]), torch.as_tensor(value))
    _, after, end = before["4"]
    assert not torch.allclose(end["positions"], live["positions"])  # it learns on
    assert "positions" in after
    model = fitting.work.model
    assert not model.get_parameter("standing").requires_grad
    assert torch.equal(model.get_parameter("standing"), interpolated(Positions().standing))
    moving = [id(one) for group in fitting.optimizer.param_groups for one in group["params"]]
    assert sorted(moving) == sorted(id(one) for one in model.parameters() if one.requires_grad)


def test_the_best_epoch_is_one_of_the_last() -> None:
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def watch(fitting: Fitting, epoch: Epoch) -> None:
        with fitting.average.in_place() if fitting.average else pytest.fail("no average"):
            kept[epoch.number] = copy.deepcopy(fitting.work.model.state_dict())

    settings = replace(MOVING, keep="best", epochs=5)
    fitting = growing(settings, shares=[0.9, 0.95, 0.5, 0.7, 0.6], watch=watch)
    fitting.run()
    assert [epoch.valid_accuracy for epoch in fitting.history] == [0.9, 0.95, 0.5, 0.7, 0.6]
    found = fitting.work.model.state_dict()
    assert all(torch.equal(value, kept[4][name]) for name, value in found.items())
    assert not torch.equal(found["positions"], kept[5]["positions"])
    assert all(math.isfinite(float(value.sum())) for value in found.values())
