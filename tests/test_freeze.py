"""A frozen copy gives the network's own features, faster, and leaves the network as it was."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training_ground import TINY
from train.backbones import load_backbone
from train.device import fast_precision
from train.features.freeze import FrozenNetwork, fold_batch_norm
from train.features.preprocessing import Preprocessing

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def stirred(network: nn.Module) -> nn.Module:
    """Batch-norms of a new network are all but the identity: give them something to fold."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            if module.affine:
                with torch.no_grad():
                    module.weight.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
                    module.bias.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return network.eval()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "folds"),
    [
        ("resnet18", 20), ("mobilenet_v2", 52), ("densenet121", 59), ("timm:test_efficientnet", 9),
        ("timm:test_byobnet", 1), (TINY, 9), ("timm:test_vit", 0),
    ],
)  # fmt: skip
def test_folding_changes_roundings_alone(name: str, folds: int) -> None:
    backbone = load_backbone(name, "none")
    stirred(backbone.network)
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    frozen = FrozenNetwork(backbone.network, backbone.preprocessing, CPU, "float32")
    assert frozen.folded >= folds
    pixels = torch.randint(0, 256, (3, backbone.preprocessing.crop, backbone.preprocessing.crop, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = backbone.network(backbone.preprocessing.normalise(pixels))
    torch.testing.assert_close(frozen(pixels), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    rough = FrozenNetwork(backbone.network, backbone.preprocessing, CPU, "bfloat16")(pixels)
    assert rough.dtype == torch.bfloat16
    assert float((rough.float() - expected).abs().max()) < 0.1 * float(expected.abs().max())
    after = backbone.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


class Tricky(nn.Module):
    """Where reading pairs off the order of layers would go wrong."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.other = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.kind == "in-place activation":
            y = self.norm(functional.relu(y, inplace=True))
        elif self.kind == "output used twice":
            y = self.norm(y) + y
        elif self.kind == "convolution called twice":
            y = self.norm(y) + self.conv(-x)
        elif self.kind == "norm called twice":
            y = self.norm(y) + self.norm(self.other(x))
        return torch.mean(y, dim=(2, 3))


@pytest.mark.parametrize(
    "kind", ["in-place activation", "output used twice", "convolution called twice", "norm called twice"]
)
def test_what_cannot_be_folded_stays_as_it_was(kind: str) -> None:
    torch.manual_seed(1)
    network = stirred(Tricky(kind))
    count, copy = fold_batch_norm(network, 16)
    x = torch.randn(2, 3, 16, 16)
    assert count == 0
    with torch.no_grad():
        torch.testing.assert_close(copy(x), network(x))


def test_a_network_in_training_mode_is_refused() -> None:
    """Trap: `model.train()` on a frozen backbone lets its batch-norm layers drift."""
    network = load_backbone(TINY, "none").network.train()
    with pytest.raises(ValueError, match="eval mode"):
        FrozenNetwork(network, Preprocessing(160, 160, "bicubic", (0.5,) * 3, (0.5,) * 3), CPU, "float32")


def test_float32_is_used_where_bfloat16_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert fast_precision(CPU) == "float32"
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert fast_precision(CPU) == "float32"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert fast_precision(CPU) == "bfloat16"
    assert fast_precision(torch.device("mps")) == "float32"


@pytest.mark.thorough
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_a_batch_does_not_fetch_its_memory_from_the_system_anew() -> None:
    """Each layer's output mapped, cleared and unmapped again took half of the time.

    In a process of its own, whose memory no other test has left in pieces.
    """
    program = """
import resource, torch
from train.backbones import load_backbone
from train.features.freeze import FrozenNetwork
backbone = load_backbone("resnet18", "none")
frozen = FrozenNetwork(backbone.network, backbone.preprocessing, torch.device("cpu"), "float32")
pixels = torch.zeros(32, 224, 224, 3, dtype=torch.uint8)
faults = []
for _ in range(6):  # the heap grows in the first ones to what the network needs, and now and then once more
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frozen(pixels)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    # It settles at none, and without the memory that is kept at 80,000: one layer's output alone is 25,000 pages
    assert int(done.stdout) < 10_000
