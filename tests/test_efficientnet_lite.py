"""Our EfficientNet-Lite is timm's: the same tensors in the same order, the same features to the bit."""

import pytest
import torch
from torch import nn

from tests.test_architecture import loaded_after
from train.efficientnet_lite import LITE, EfficientNetLite


def drawn(network: nn.Module) -> nn.Module:
    """With batch-norms that have seen something, so that none of them is left out unnoticed."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("architecture", LITE)
def test_it_says_what_timm_says(architecture: str) -> None:
    import timm

    torch.manual_seed(1)
    theirs = drawn(timm.create_model(architecture, num_classes=0))
    ours = EfficientNetLite(architecture).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for side in (96, 97, 130):  # even and odd sides are padded otherwise
        pictures = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            assert torch.equal(ours(pictures), theirs(pictures)), side


@pytest.mark.parametrize("architecture", LITE)
def test_its_random_values_are_as_large_as_timms(architecture: str) -> None:
    import timm

    torch.manual_seed(2)
    theirs = timm.create_model(architecture, num_classes=0).state_dict()
    for name, tensor in EfficientNetLite(architecture).state_dict().items():
        if tensor.ndim == 4 and tensor.numel() > 1_000:
            assert float(tensor.std()) == pytest.approx(float(theirs[name].std()), rel=0.2), name


@pytest.mark.thorough
def test_it_is_built_without_timm_and_without_a_compiler() -> None:
    code = """
        from train.backbones import bytes_of_network, empty_network
        bytes_of_network("timm", "tf_efficientnet_lite0")
        empty_network("timm", "tf_efficientnet_lite0")
    """
    assert loaded_after(code) & {"timm", "torchvision", "sympy", "triton", "scipy"} == set()
