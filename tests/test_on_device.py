"""On the device that `--device` names, networks say what they say on the CPU, and a stopped run ends as a whole one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curate.errors import UserError
from tests.test_freeze import stirred
from tests.training_ground import TINY, grow
from train.backbones import load_backbone
from train.checkpoint import load_checkpoint
from train.features.augmentation import Augmentation
from train.features.extract import extract
from train.features.freeze import FrozenNetwork
from train.features.pixels import PixelSource, Readable
from train.features.prepare import PictureRef
from train.features.staging import PixelStaging
from train.finetune import train_network
from train.optimising import graphed_step
from train.optimising.fitting import Epoch
from train.optimising.settings import FitSettings, Tuning
from train.training import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
EVERYTHING = FitSettings(
    optimizer="adamw", learning_rate=2e-3, weight_decay=0.01, epochs=3, batch=5, mixup=0.3, cutmix=0.5, ema=0.9,
    clip=1.0, warmup=1, hidden=(8,), dropout=0.3, label_smoothing=0.1, balance=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 4})


@pytest.mark.thorough
def test_batches_arrive_as_they_were_gathered(device: torch.device) -> None:
    """Many more batches than buffers, each held until the end, on a device that is kept busy meanwhile."""
    staging = PixelStaging(device, 6, 32)
    generator = np.random.default_rng(0)
    gathered, sent = [], []
    load = torch.randn(1024, 1024, device=device)
    for number in range(40):
        for _ in range(10):
            load = torch.tanh(load @ load)
        count = 1 + number % 6
        pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        staging.room()[:count] = pixels
        gathered.append(pixels)
        sent.append(staging.send(count))
    for pixels, there in zip(gathered, sent, strict=True):
        assert there.device.type == device.type
        np.testing.assert_array_equal(there.cpu().numpy(), pixels)


def test_the_source_gives_the_views_of_the_cpu(device: torch.device, garden: Path) -> None:
    files = sorted((garden / "train").rglob("*.jpg"))
    readable = [Readable(file, file.parent.name, file.stem) for file in files]
    to = load_backbone(TINY, "none", crop=64).preprocessing
    parts = torch.split(torch.arange(len(files)), 5)

    def views(where: torch.device) -> torch.Tensor:
        source = PixelSource(readable, to, Augmentation(jitter=0.2), 3, where)
        with source.at_work(5, 3 * len(files)):
            return torch.cat([one.cpu() for one in source.inputs(1, torch.arange(len(files)), parts)])

    assert torch.equal(views(device), views(CPU))


@pytest.mark.thorough
@pytest.mark.parametrize("name", [TINY, "resnet18", "timm:test_vit", "timm:test_efficientnet"])
def test_features_are_those_of_the_cpu(name: str, device: torch.device) -> None:
    backbone = load_backbone(name, "none")
    crop = backbone.preprocessing.crop
    pixels = torch.randint(0, 256, (9, crop, crop, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = FrozenNetwork(backbone.network, backbone.preprocessing, CPU, "float32")(pixels)
    scale = float(expected.abs().max())
    exact = FrozenNetwork(backbone.network, backbone.preprocessing, device, "float32")
    torch.testing.assert_close(exact(pixels).cpu(), expected, rtol=1e-4, atol=1e-4 * scale)
    rough = FrozenNetwork(backbone.network, backbone.preprocessing, device, "bfloat16")
    said = rough(pixels)
    assert float((said.float().cpu() - expected).norm() / expected.norm()) < 0.03
    assert torch.equal(said, rough(pixels)), "the same batch gives the same bits"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["resnet50", "timm:test_vit"])
@pytest.mark.parametrize("batch", [4, 16])
def test_company_changes_no_bit_of_a_feature(name: str, batch: int, device: torch.device) -> None:
    """Nor does what lay in the memory that features are computed in."""
    backbone = load_backbone(name, "none")
    stirred(backbone.network)
    crop = backbone.preprocessing.crop
    pixels = torch.randint(0, 256, (batch, crop, crop, 3), dtype=torch.uint8).to(device)
    frozen = FrozenNetwork(backbone.network, backbone.preprocessing, device, "bfloat16", batch=batch)
    if device.type == "cuda":
        assert frozen.fused == (49 if name == "resnet50" else 0)
    whole = frozen(pixels)
    exact = FrozenNetwork(backbone.network, backbone.preprocessing, device, "float32")(pixels)
    assert float((whole.float() - exact).norm() / exact.norm()) < 0.02
    if device.type == "cuda":
        torch.cuda.empty_cache()
        poison = torch.full((1 << 28,), torch.nan, device=device)
        del poison
    again = torch.cat([frozen(pixels[:1]), frozen(pixels[1:])])
    assert torch.equal(again, whole) or (device.type == "cpu" and torch.allclose(again, whole, rtol=0.1))


def test_the_bank_is_filled_with_what_the_network_says(device: torch.device, garden: Path, tmp_path: Path) -> None:
    backbone = load_backbone(TINY, "none")
    files = [PictureRef(file) for file in sorted((garden / "train").rglob("*.jpg"))]

    def features(where: torch.device, bank: str) -> torch.Tensor:
        return extract(backbone, files, bank=tmp_path / bank, device=where, precision="float32", batch=5).features

    found, expected = features(device, "device"), features(CPU, "cpu")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def options(models: Path, device: torch.device, **changes: Any) -> TrainOptions:
    asked = TrainOptions(
        backbone=TINY, weights="none", views=1, crop=64, device=str(device), models=models, head=EVERYTHING,
        tuning=Tuning(unfreeze="all", backbone_rate=1.0), augmentation=Augmentation(10, 0.6, 0.5, 0.2), save_every=0.0,
    )  # fmt: skip
    return replace(asked, **changes)


class Stopped(Exception):
    pass


@pytest.mark.thorough
def test_a_stopped_run_ends_as_a_whole_one(device: torch.device, garden: Path, tmp_path: Path) -> None:
    """On the CPU to the bit. A GPU adds gradients up in an order of its own: there within float32's roundings."""

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Stopped

    whole = train_network(garden, options(tmp_path / "whole", device, precision="float32"))
    parts = options(tmp_path / "parts", device, precision="float32")
    with pytest.raises(Stopped):
        train_network(garden, replace(parts, watch=stop))
    resumed = train_network(garden, parts)
    assert "It went on from" in resumed.notes[0]
    one, other = load_checkpoint(whole.checkpoint), load_checkpoint(resumed.checkpoint)
    near = 0.0 if device.type == "cpu" else 1e-3
    for epoch, again in zip(one.history, other.history, strict=True):
        assert epoch["loss"] == pytest.approx(again["loss"], rel=near, abs=near)
    assert_same_weights(one.backbones[0].network, other.backbones[0].network, rel=50 * near)


def test_a_step_that_is_recorded_does_what_it_did_before(
    device: torch.device, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, mixup and cutmix draw the same; the epochs' last batches are smaller, and run as they are."""
    if device.type != "cuda":
        pytest.skip("only CUDA records steps")
    recorded: list[bool] = []
    record = graphed_step.GraphedStep._record

    def noted(step: graphed_step.GraphedStep, batch: graphed_step.Batch) -> bool:
        recorded.append(record(step, batch))
        return recorded[-1]

    monkeypatch.setattr(graphed_step.GraphedStep, "_record", noted)
    found = []
    for before in (2, 10**9):
        monkeypatch.setattr(graphed_step, "_BEFORE", before)
        report = train_network(garden, options(tmp_path / str(before), device, precision="float32"))
        found.append(load_checkpoint(report.checkpoint))
    assert recorded == [True]
    for epoch, again in zip(found[0].history, found[1].history, strict=True):
        assert epoch["loss"] == pytest.approx(again["loss"], rel=1e-3)
    assert_same_weights(found[1].backbones[0].network, found[0].backbones[0].network, rel=0.05)


def assert_same_weights(network: torch.nn.Module, other: torch.nn.Module, *, rel: float) -> None:
    """Each tensor differs by at most `rel` of its norm, or of one value of 1 where it lies near 0.

    The norm, as a GPU adds in any order, and convolves in TF32: on an H200 single variances of a batch norm came out 2%
    apart, and the means of one by 1.4% of their norm, where the losses agreed.
    """
    others = other.state_dict()
    for name, value in network.state_dict().items():
        apart = torch.linalg.vector_norm((value - others[name]).double())
        assert apart <= rel * max(1.0, float(torch.linalg.vector_norm(value.double()))), name


@pytest.mark.thorough
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_that_is_no_number_is_said(device: torch.device, garden: Path, tmp_path: Path, accumulate: int) -> None:
    """Though the device is a step behind."""
    settings = replace(EVERYTHING, optimizer="sgd", learning_rate=1e30, clip=0.0, warmup=0, accumulate=accumulate)
    with pytest.raises(UserError, match=r"The loss became \w+ in epoch \d: a lower --learning-rate"):
        train_network(garden, options(tmp_path, device, head=settings))
