"""Weights as people have them: what trainers save, our own checkpoints and exports, one file for each network."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from curate.errors import UserError
from tests.training_ground import TINY, grow
from train.backbones import load_backbone
from train.export import export
from train.optimising.settings import FitSettings
from train.options import LearningOptions, weights_by_network
from train.run import train_recipe
from train.training import TrainOptions, load_backbones

State = dict[str, torch.Tensor]


def before(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


SAVED: dict[str, Callable[[State], Any]] = {
    "module": lambda state: before("module.", state),
    "compiled, on several devices": lambda state: {"state_dict": before("module._orig_mod.", state)},
    "lightning": lambda state: {
        "state_dict": before("model.", state) | {"criterion.weight": torch.ones(3)},
        "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.4.0", "optimizer_states": [{"state": {}}],
        "hyper_parameters": {"lr": 0.1, "folder": Path("/data")},
    },
    "timm's pth.tar": lambda state: {
        "epoch": 9, "arch": "test_resnet", "state_dict": state, "optimizer": {"state": {}, "param_groups": []},
        "version": 2, "args": argparse.Namespace(lr=0.1, model="test_resnet", out=Path("out")), "metric": 81.5,
        "state_dict_ema": before("module.", state),
    },
    "a loop of one's own": lambda state: {"net": OrderedDict(state), "acc": np.float64(0.91), "epoch": np.int64(4)},
    "under a word of one's own": lambda state: {"student": state, "step": 12},
    "beside another network": lambda state: {
        "state_dict": before("student.", state) | {"teacher.0.weight": torch.ones(2)}
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def network() -> nn.Module:
    import timm

    torch.manual_seed(8)
    return timm.create_model(TINY.partition(":")[2], pretrained=False, num_classes=11)


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("ending", [".pth", ".ckpt", ".pth.tar"])
def test_what_trainers_save_is_taken(kind: str, ending: str, network: nn.Module, tmp_path: Path) -> None:
    plain, file = tmp_path / "plain.pth", tmp_path / f"file{ending}"
    torch.save(network.state_dict(), plain)
    torch.save(SAVED[kind](network.state_dict()), file)
    # As the flag gives it: a text, from the folder that it lies in too
    assert load_backbone(TINY, str(file)).weights_sha256 == load_backbone(TINY, plain).weights_sha256


def test_nothing_else_than_data_is_let_through(network: nn.Module, tmp_path: Path) -> None:
    """A Namespace holds what it is given, and may not hold a thing that acts."""
    witness = tmp_path / "executed"

    class Trojan:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (witness,)

    torch.save({"state_dict": network.state_dict(), "args": argparse.Namespace(x=Trojan())}, tmp_path / "bad.pth.tar")
    with pytest.raises(UserError, match=r"bad\.pth\.tar can't be read"):
        load_backbone(TINY, tmp_path / "bad.pth.tar")
    assert not witness.exists()


@pytest.mark.thorough
def test_our_checkpoint_and_its_export_go_on(tmp_path: Path) -> None:
    """A network that was tuned here is the beginning of the next one, with the pictures cut as it had them."""
    root = grow(tmp_path / "garden", {"train": 4, "valid": 2})
    both = TrainOptions(
        backbone=f"{TINY}+timm:test_efficientnet", weights="none", views=1, crop=96, models=tmp_path, device="cpu",
        head=FitSettings(epochs=1),
    )  # fmt: skip
    checkpoint = train_recipe(root, both).checkpoint
    tensors = export(checkpoint, "safetensors", sorted((root / "valid").rglob("*.jpg"))).file
    for name, seed in ((TINY, 5), ("timm:test_efficientnet", 6)):
        again, given = load_backbone(name, checkpoint, seed=seed), load_backbone(name, tensors, seed=seed)
        first = load_backbone(name, "none", seed=both.seed)
        assert again.weights_sha256 == given.weights_sha256 == first.weights_sha256
        assert again.preprocessing.crop == 96
    with pytest.raises(UserError, match=r"don't fit resnet18"):
        load_backbone("resnet18", checkpoint)


def test_each_of_several_networks_has_its_own(network: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(network.state_dict(), file)
    names = f"{TINY}+scratch_cnn"
    one, other = load_backbones(names, f"{TINY}={file}, scratch_cnn=none", seed=3)
    assert one.weights_sha256 == load_backbone(TINY, file).weights_sha256
    assert other.weights_sha256 == load_backbone("scratch_cnn", "none", seed=3).weights_sha256
    # What is not named has the library's choice; of the file nothing is told but its name
    assert weights_by_network("resnet50=a.pth", ["resnet50", "vgg16"]) == {"resnet50": "a.pth", "vgg16": "default"}
    facts = LearningOptions(backbone=names, weights=f"{TINY}={file},scratch_cnn=none").facts()
    assert facts["weights"] == f"{TINY}=mine.pth,scratch_cnn=none"
    with pytest.raises(UserError, match=r"say whose it is, as in timm:test_resnet=FILE,scratch_cnn=FILE"):
        load_backbones(names, str(file))
    with pytest.raises(UserError, match="names resnet18, which --backbone does not"):
        load_backbones(names, f"resnet18={file},scratch_cnn=none")
    with pytest.raises(UserError, match="names no weights of scratch_cnn"):  # a shell's variable that is not set
        load_backbones(names, f"{TINY}={file},scratch_cnn=")
    with pytest.raises(UserError, match="names weights of one network twice"):
        load_backbones(names, f"{TINY}={file},{TINY}=none")
