"""More than the last layer: what is frozen stays, what trains learns, and every switch does what it says."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from curate.errors import UserError
from tests.forking import Forks
from tests.training_ground import TINY, grow
from train.backbones import Backbone, load_backbone
from train.checkpoint import Checkpoint, load_checkpoint
from train.features.augmentation import Augmentation
from train.features.pixels import PixelSource, readable_pictures
from train.finetune import PixelClassifier, train_network
from train.optimising.layers import build_head
from train.optimising.optimiser import discriminative_groups, make_optimizer
from train.optimising.settings import FitSettings, Tuning
from train.optimising.unfreeze import stages_of, unfreeze
from train.pictures import LabelledPicture
from train.predict import Prediction, Predictor
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
        "backbone": TINY, "weights": "none", "views": 1, "crop": 64, "device": "cpu", "models": models,
        "head": settings, "tuning": Tuning(unfreeze="all", backbone_rate=1.0), "augmentation": COLOURFUL,
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
    assert report.trained.startswith("the head and 5 stages from conv1")


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
    "torchvision:resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "torchvision:efficientnet_b0": [f"features.{number}" for number in range(9)],
    "timm:tf_efficientnet_lite0": ["conv_stem", *(f"blocks.{n}" for n in range(7)), "conv_head"],
    "timm:vit_tiny_patch16_224": ["patch_embed", *(f"blocks.{number}" for number in range(12))],
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
    with pytest.raises(UserError, match=r"--unfreeze 99 .*1 to 5"):
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


@pytest.mark.parametrize("probe", [True, False])
def test_a_head_that_was_fitted_first_keeps_the_statistics_it_knows(
    garden: Path, tmp_path: Path, *, probe: bool
) -> None:
    before = load_backbone(TINY, "none", seed=1337, crop=32).network.state_dict()
    report = train(garden, tmp_path, tuning=Tuning(unfreeze="all", probe=probe, backbone_rate=1.0))
    after = load_checkpoint(report.checkpoint).backbones[0].network.state_dict()
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    scales = [name.replace("running_mean", "weight") for name in statistics if name.endswith("running_mean")]
    assert statistics
    assert any(torch.equal(before[name], after[name]) for name in statistics) == probe
    assert all(torch.equal(before[name], after[name]) for name in statistics) == probe
    assert not any(torch.equal(before[name], after[name]) for name in scales)


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


AHEAD = """
import json, mmap, os, sys, time
from pathlib import Path
import torch
from tests.training_ground import TINY
from train.backbones import load_backbone
from train.features.augmentation import Augmentation
from train.features.pixels import PixelSource, Readable

files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
readable = [Readable(file, file.parent.name, file.stem) for file in files]
drawn, view = mmap.mmap(-1, len(files)), PixelSource._view  # a byte a view, which every process sees

def noted(source, position, *asked):
    found = view(source, position, *asked)
    drawn[position] = 1
    return found

PixelSource._view = noted
to = load_backbone(TINY, "none", crop=64).preprocessing
elsewhere = torch.device("meta")  # what computes beside the processors, as a GPU does
source = PixelSource(readable, to, Augmentation(), seed=3, device=elsewhere)
order, found = torch.arange(len(files)), []
with source.at_work(8, len(files)):
    for _ in source.inputs(0, order, torch.split(order, 8)):
        wanted = min(len(files), 8 * (len(found) + 1) + 24)
        deadline = time.monotonic() + 20
        while sum(drawn[:]) < wanted and time.monotonic() < deadline:  # a step of the network: nothing is asked for
            time.sleep(0.01)
        time.sleep(0.05)
        found.append([wanted, sum(drawn[:])])
print(json.dumps(found))
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_three_batches_are_drawn_while_the_network_computes_one(tmp_path: Path, forks: Forks) -> None:
    """So that it finds them drawn when it is done, however long it took: no batch waits. Nor many more: memory."""
    root = grow(tmp_path / "data", {"train": 50})
    done = forks.start(AHEAD, root).wait()
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert len(steps) == 19
    for wanted, drawn in steps:
        assert wanted <= drawn <= wanted + 24  # what waited for a slow view before it counts twice


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
@pytest.mark.parametrize("mixed", [0.0, 0.3])
def test_a_step_computes_channels_last_in_the_precision_that_is_asked_for(
    precision: Any, dtype: torch.dtype, mixed: float, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool, torch.dtype, torch.dtype]] = []

    def noted(model: PixelClassifier, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.head(model.network(pictures))
        weight = model.network.get_parameter("layer1.0.conv1.weight")
        last = torch.channels_last
        seen.append(
            (
                pictures.is_contiguous(memory_format=last),
                weight.is_contiguous(memory_format=last),
                logits.dtype,
                weight.dtype,
            )
        )
        return logits

    monkeypatch.setattr(PixelClassifier, "logits", noted)
    train(garden, tmp_path, replace(SMALL, epochs=1, mixup=mixed, cutmix=mixed), precision=precision)
    assert set(seen) == {(True, True, dtype, torch.float32)}  # the weights themselves are exact


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
