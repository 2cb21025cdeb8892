"""A copy of a network that only answers: batch-norm folded in, fused, channels last, in the precision asked for."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from curate.memory import keep_freed_memory
from train.device import DTYPES, is_out_of_memory
from train.features.compiling import CompiledNetwork
from train.features.fusing import FusedNetwork, agrees, fuse_convolutions
from train.features.preprocessing import Preprocessing
from train.options import Precision

# A fold changes the order of float32 roundings and nothing else; measured on 50 layers it stays under 1e-5.
_FOLD_TOLERANCE = 1e-3


class FrozenNetwork:
    """A frozen backbone as a function: 8-bit pixels (N, crop, crop, 3) → features (N, D) in its precision.

    The network it is made from stays untouched: this one holds its own copy of what it changes.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: Precision,
        *,
        compiled_for: int = 0,
        batch: int = 0,
    ) -> None:
        """`compiled_for` is the largest batch that a compiled network will be given; 0: it is not compiled.

        One whose convolutions are fused fills its batches up to `batch`, and computes them as they come where it is 0.
        """
        if network.training:
            raise ValueError("only a network in eval mode can be frozen")
        if device.type == "cpu":
            keep_freed_memory()
        self.preprocessing = preprocessing
        self.device = device
        self.precision = precision
        self.folded, folded = fold_batch_norm(network, preprocessing.crop, device)
        self.fused = 0  # convolutions
        ready = folded.to(memory_format=torch.channels_last).to(device, DTYPES[precision])
        self.module: nn.Module = ready
        """The network itself, neither compiled nor fused: gradients lead back through it."""
        self._network: Callable[[torch.Tensor], torch.Tensor] = ready
        if compiled_for:
            self._network = CompiledNetwork(ready, compiled_for)
        elif is_fused(network, device, precision):
            self._fuse(ready, batch)

    def _fuse(self, ready: nn.Module, batch: int) -> None:
        """Fuse its convolutions, where that changes roundings alone."""
        count, fused = fuse_convolutions(ready)
        if not count:
            return
        crop, filled = self.preprocessing.crop, max(batch, 1)
        while True:
            try:
                drawn = torch.Generator(self.device).manual_seed(0)
                shape = filled, crop, crop, 3
                seen = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device, generator=drawn)
                pictures = self.preprocessing.normalise(seen).to(DTYPES[self.precision])
                if agrees(fused, ready, pictures):
                    self.fused, self._network = count, FusedNetwork(fused, min(batch, filled))
                return
            except RuntimeError as error:
                if not is_out_of_memory(error) or filled == 1:
                    raise
                filled //= 2

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the features of one batch; they stay on the device."""
        with _exact_float32(self.device, self.precision):
            return self._network(self.input(pixels))

    def input(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the network is given for 8-bit pixels (N, crop, crop, 3): (N, 3, crop, crop) on its device."""
        return self.preprocessing.normalise(pixels.to(self.device)).to(DTYPES[self.precision])


def is_fused(network: nn.Module, device: torch.device, precision: Precision) -> bool:
    """Whether its convolutions are fused with what follows them there: its features are rounded otherwise then."""
    return (
        device.type == "cuda" and precision == "bfloat16" and any(isinstance(m, _BatchNorm) for m in network.modules())
    )


def fold_batch_norm(network: nn.Module, size: int, device: torch.device | None = None) -> tuple[int, nn.Module]:
    """Copy `network` with every batch-norm that follows a convolution folded into it; also returns how many.

    The copy is on `device` where that is CUDA, which is sooner done with it than a processor that decodes pictures.

    What follows what is read off one forward pass, not off names, so it holds for any architecture; the
    result is compared with the original, and where they disagree the network stays as it was.
    """
    place = device if device is not None and device.type == "cuda" else torch.device("cpu")
    with _exact_float32(place, "float32"):
        return _folded(network, size, place)


def _folded(network: nn.Module, size: int, place: torch.device) -> tuple[int, nn.Module]:
    copied = _copied(network, place)
    probe = (torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(place)
    expected, pairs = _convolutions_before_norms(copied, probe)
    if not pairs:
        return 0, copied
    modules = dict(copied.named_modules())
    for conv_name, norm_name in pairs:
        convolution, norm = modules[conv_name], modules[norm_name]
        _replace(copied, conv_name, fuse_conv_bn_eval(convolution, norm))
        _replace(copied, norm_name, _what_remains(norm))
    try:
        with torch.inference_mode():
            answer = copied(probe)
    except (AttributeError, RuntimeError, TypeError):  # a network that looks into its own batch-norms
        return 0, _copied(network, place)
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    if not bool(((answer - expected).abs().max() / scale) < _FOLD_TOLERANCE):
        return 0, _copied(network, place)
    return len(pairs), copied.requires_grad_(False)


def _copied(network: nn.Module, place: torch.device) -> nn.Module:
    """A frozen copy there, whose tensors are copied once."""
    there: dict[int, Any] = {}
    if place.type == "cuda":
        there = {id(one): nn.Parameter(one.detach().to(place), requires_grad=False) for one in network.parameters()}
        there |= {id(one): one.to(place) for one in network.buffers()}
    return copy.deepcopy(network, there).requires_grad_(False).to(place)


def _convolutions_before_norms(network: nn.Module, probe: torch.Tensor) -> tuple[torch.Tensor, list[tuple[str, str]]]:
    """The network's answer, and the names of (convolution, batch-norm) where one's output is the other's input."""
    made_by: dict[int, tuple[str, torch.Tensor, int]] = {}  # the tensor is kept so that its id is not given away
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_convolution(name: str, output: torch.Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        made_by[id(output)] = name, output, output._version

    def before_norm(name: str, value: torch.Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if id(value) in made_by:
            convolution, _, version = made_by[id(value)]
            if value._version == version:  # no in-place activation in between
                pairs.append((convolution, name))

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: after_convolution(name, out)))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(lambda _m, args, name=name: before_norm(name, args[0])))
    try:
        with torch.no_grad():
            answer: torch.Tensor = network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return answer, [(conv, norm) for conv, norm in pairs if calls[conv] == 1 and calls[norm] == 1]


def _what_remains(norm: nn.Module) -> nn.Module:
    """What a norm does besides normalising: timm's BatchNormAct2d carries its activation inside."""
    carried = [getattr(norm, part) for part in ("drop", "act") if isinstance(getattr(norm, part, None), nn.Module)]
    kept = [part for part in carried if not isinstance(part, nn.Identity)]
    return nn.Sequential(*kept) if kept else nn.Identity()


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module)


@contextmanager
def _exact_float32(device: torch.device, precision: Precision) -> Iterator[None]:
    """On CUDA, cuDNN multiplies float32 in TF32 (10 bits) unless told otherwise; 1e-4 parity needs all 23."""
    if device.type != "cuda" or precision != "float32":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        yield
