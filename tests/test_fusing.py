"""Convolutions that are fused with what follows them say what the layers say one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.test_freeze import stirred
from tests.training_ground import TINY
from train.backbones import load_backbone
from train.features.bank import BankKey
from train.features.freeze import fold_batch_norm, is_fused
from train.features.fusing import FusedNetwork, agrees, fuse_convolutions


@pytest.mark.parametrize(
    ("name", "least"),
    [("resnet18", 17), ("resnet50", 49), ("timm:resnet26", 25), (TINY, 8), ("densenet121", 1), ("timm:test_vit", 0)],
)
def test_fusing_changes_no_answer(name: str, least: int) -> None:
    backbone = load_backbone(name, "none", crop=64 if "vit" not in name else 0)
    crop = backbone.preprocessing.crop
    folded = fold_batch_norm(stirred(backbone.network), crop)[1]
    count, fused = fuse_convolutions(folded)
    assert count >= least
    pictures = torch.randn(2, 3, crop, crop, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(fused(pictures), folded(pictures), rtol=1e-5, atol=1e-5)
    relus = [module for module in fused.modules() if isinstance(module, nn.ReLU)]
    assert not relus or not name.startswith(("resnet", "timm:resnet"))


class Awkward(nn.Module):
    """What is no convolution, bias, addition and ReLU alone, though it looks like it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.wrapped = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
        self.relu = nn.ReLU(inplace=kind == "in place")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(x)
        answers: dict[str, Callable[[], torch.Tensor]] = {
            "seen twice": lambda: self.relu(y) + y,
            "without bias": lambda: self.relu(self.two(x)),
            "wraps around": lambda: self.relu(self.wrapped(x)),
            "a number is added": lambda: self.relu(y + 1),
            "scaled shortcut": lambda: self.relu(torch.add(y, self.two(x), alpha=2)),
            "depends on its input": lambda: self.relu(y) if x.sum() > 0 else y,
            "one for both": lambda: self.relu(y + y),
            "in place": lambda: self.relu(y) - self.relu(self.two(x) + y * 0),
        }
        return answers[self.kind]()


@pytest.mark.parametrize(
    "kind",
    [
        "seen twice", "without bias", "wraps around", "a number is added", "scaled shortcut", "depends on its input",
        "one for both", "in place",
    ],
)  # fmt: skip
def test_what_can_not_be_fused_stays(kind: str) -> None:
    network = Awkward(kind).eval().requires_grad_(False)
    count, fused = fuse_convolutions(network)
    x = torch.randn(2, 3, 8, 8)
    assert count == 0
    torch.testing.assert_close(fused(x), network(x))


def test_one_that_says_something_else_is_not_taken() -> None:
    network, other = nn.Linear(4, 3).eval(), nn.Linear(4, 3).eval()
    pictures = torch.randn(5, 4)
    assert agrees(network, network, pictures)
    assert not agrees(other, network, pictures)
    assert not agrees(nn.Linear(5, 3), network, pictures)
    with torch.no_grad():
        other.load_state_dict(network.state_dict())
        other.weight[0, 0] = torch.nan
    assert not agrees(other, network, pictures)


def test_batches_are_filled_and_halved() -> None:
    sizes: list[int] = []

    class Small(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            if len(batch) > 4:
                raise RuntimeError("CUDA out of memory")
            return batch.flatten(1).sum(dim=1)

    network = FusedNetwork(Small(), 8)
    pictures = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 3, 4, 4)
    with pytest.raises(RuntimeError, match="out of memory"):
        network(pictures)
    assert network(pictures).tolist() == [0, 48, 96]
    assert sizes == [8, 4]


def test_the_key_of_a_bank_knows() -> None:
    convolutional, transformer = (load_backbone(name, "none").network for name in (TINY, "timm:test_vit"))
    cuda = torch.device("cuda")
    assert is_fused(convolutional, cuda, "bfloat16")
    assert not is_fused(convolutional, cuda, "float32")
    assert not is_fused(convolutional, torch.device("cpu"), "bfloat16")
    assert not is_fused(transformer, cuda, "bfloat16")
    plain = BankKey("timm:net", "00" * 32, {"resize": 256}, "bfloat16", 8)
    assert "fused" not in plain.text()
    assert BankKey("timm:net", "00" * 32, {"resize": 256}, "bfloat16", 8, fused=True).file_name() != plain.file_name()
