"""EfficientNet-Lite as timm's `tf_efficientnet_lite*` build it: the same tensors by the same names, the same features.

timm takes two seconds to import, three times as long as it takes to answer for one picture. So those networks whose
weights are installed are built here: a checkpoint of theirs is asked without timm.

M. Tan, Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite ones
have neither squeeze-and-excitation nor swish, and stem and last layer keep their width.
"""

import math
from typing import Final

import torch
from torch import nn
from torch.nn import functional

LITE: Final = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
}
"""timm's name → how many times as wide and as deep as the first of them."""

_STAGES: Final = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192),
                  (1, 3, 1, 320))  # fmt: skip
"""Layers, side of the kernel, stride of the first layer, and channels of each stage."""
_STEM, _FEATURES, _EXPANSION = 32, 1280, 6
_EPSILON = 1e-3  # of the batch-norms, as TensorFlow has it


class EfficientNetLite(nn.Module):
    """Pictures (N, 3, S, S) → features (N, 1280)."""

    def __init__(self, architecture: str) -> None:
        """Random values, drawn as timm draws them. `architecture` is a key of `LITE`."""
        super().__init__()
        width, depth = LITE[architecture]
        self.conv_stem = _Convolution(3, _STEM, kernel=3, stride=2)
        self.bn1 = _norm(_STEM)
        self.blocks = nn.Sequential()
        taken = _STEM
        for number, (layers, kernel, stride, channels) in enumerate(_STAGES):
            given = _whole(channels * width)
            ends = number in {0, len(_STAGES) - 1}  # which are never deeper
            stage: list[nn.Module] = []
            for layer in range(layers if ends else math.ceil(layers * depth)):
                step = stride if layer == 0 else 1
                stage.append(_Inverted(taken, given, kernel, step) if number else _Separable(taken, given, kernel))
                taken = given
            self.blocks.append(nn.Sequential(*stage))
        self.conv_head = _Convolution(taken, _FEATURES)
        self.bn2 = _norm(_FEATURES)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features (N, 1280) of `pictures` (N, 3, S, S)."""
        x = functional.relu6(self.bn1(self.conv_stem(pictures)), inplace=True)
        x = functional.relu6(self.bn2(self.conv_head(self.blocks(x))), inplace=True)
        pooled: torch.Tensor = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return pooled


class _Convolution(nn.Conv2d):
    """Without bias, padded as TensorFlow pads: what can't be shared evenly goes to the right and below."""

    def __init__(self, taken: int, given: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        even = stride == 1
        super().__init__(taken, given, kernel, stride, padding=kernel // 2 if even else 0, groups=groups, bias=False)
        self.even = even

    def reset_parameters(self) -> None:
        """Draw the weights from a normal distribution, by how many numbers each of them is added to."""
        added = self.kernel_size[0] * self.kernel_size[1] * self.out_channels // self.groups
        if not self.weight.is_meta:  # where drawing nothing imports PyTorch's compiler, which takes a second
            nn.init.normal_(self.weight, std=math.sqrt(2 / added))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, taken, H, W) → (N, given, ⌈H / stride⌉, ⌈W / stride⌉)."""
        if not self.even:
            rows, columns = (self._missing(side, axis) for axis, side in enumerate(x.shape[-2:]))
            x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)

    def _missing(self, side: int, axis: int) -> int:
        reach = (math.ceil(side / self.stride[axis]) - 1) * self.stride[axis] + self.kernel_size[axis]
        return max(reach - side, 0)


class _Separable(nn.Module):
    """The first stage's layer: a convolution by channel, then one across channels."""

    def __init__(self, taken: int, given: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = _Convolution(taken, taken, kernel, groups=taken)
        self.bn1 = _norm(taken)
        self.conv_pw = _Convolution(taken, given)
        self.bn2 = _norm(given)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self.bn1(self.conv_dw(x)), inplace=True)
        y: torch.Tensor = self.bn2(self.conv_pw(x))
        return y


class _Inverted(nn.Module):
    """Six times as many channels, a convolution by channel, and back; a shortcut where nothing changes its shape."""

    def __init__(self, taken: int, given: int, kernel: int, stride: int) -> None:
        super().__init__()
        inside = taken * _EXPANSION
        self.conv_pw = _Convolution(taken, inside)
        self.bn1 = _norm(inside)
        self.conv_dw = _Convolution(inside, inside, kernel, stride, groups=inside)
        self.bn2 = _norm(inside)
        self.conv_pwl = _Convolution(inside, given)
        self.bn3 = _norm(given)
        self.shortcut = stride == 1 and taken == given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = functional.relu6(self.bn2(self.conv_dw(y)), inplace=True)
        y = self.bn3(self.conv_pwl(y))
        found: torch.Tensor = y + x if self.shortcut else y
        return found


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


def _whole(channels: float) -> int:
    """The nearest multiple of eight, and never less than nine tenths of what was asked for."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
