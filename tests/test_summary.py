"""The summary tells of a network what is so: every parameter once, what trains and nothing else, true shapes."""

import pytest
import torch
from torchvision import models

from curate.errors import UserError
from tests.training_ground import TINY
from train.recipe import load_recipe
from train.run import options_of
from train.summary import Summary, summarise


def summary(recipe: str = "last-layer", classes: int = 102, **changes: object) -> Summary:
    return summarise(options_of(load_recipe(recipe, {"backbone": "resnet18", **changes}), device="cpu"), classes)


def test_resnet18_as_the_paper_has_it() -> None:
    """K. He et al., "Deep residual learning for image recognition", 2016, table 1: stages, 1.8 G multiply-adds."""
    found = summary(classes=1000)
    shapes = {line.stage: line.output for line in found.lines if line.part == "resnet18"}
    assert [shapes[f"layer{number}"] for number in (1, 2, 3, 4)] == [
        (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)
    ]  # fmt: skip
    assert found.parameters == sum(one.numel() for one in models.resnet18(weights=None).parameters()) == 11_689_512
    assert found.operations == pytest.approx(2 * 1.814e9, rel=0.01)
    assert found.crop == [224]


def test_a_frozen_network_trains_its_head_alone() -> None:
    found = summary()
    assert found.trained == 512 * 102 + 102
    assert {line.part for line in found.lines if line.trained} == {"head"}


def test_what_is_unfrozen_is_counted_as_trained() -> None:
    found = summary("finetune", unfreeze="layer4")
    assert {line.stage for line in found.lines if line.trained and line.part != "head"} == {"layer4"}
    assert all(line.trained == line.parameters for line in found.lines if line.trained)
    everything = summary("finetune", unfreeze="all")
    assert everything.trained == everything.parameters == found.parameters


def test_hidden_layers_and_several_backbones() -> None:
    found = summary(hidden=[64], dropout=0.5, backbone=f"resnet18+{TINY}", classes=7)
    head = [line for line in found.lines if line.part == "head"]
    assert [line.kind for line in head] == ["linear", "relu", "dropout", "linear"]
    features = 512 + next(line for line in reversed(found.lines) if line.part == TINY).output[0]
    assert [line.parameters for line in head] == [features * 64 + 64, 0, 0, 64 * 7 + 7]
    assert found.crop == [224, 160]


def test_memory_is_that_of_this_machine() -> None:
    memory = summary(backbone=TINY).memory
    assert memory is None or 0 < memory[0] <= memory[1]


def test_mistakes_are_sentences() -> None:
    with pytest.raises(UserError, match="No backbone is called"):
        summary(backbone="resnet1")
    with pytest.raises(UserError, match="no part called"):
        summary("finetune", unfreeze="layer9")


def test_a_gpu_s_peak_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    from train.device import free_memory, memory_notes

    assert memory_notes(torch.device("cpu")) == []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (3_000_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _device: 5_100_000_000)
    assert free_memory(torch.device("cuda")) == (3_000_000_000, 8_000_000_000)
    assert memory_notes(torch.device("cuda")) == ["At most 5.1 of the GPU's 8.0 GB of memory were taken."]
