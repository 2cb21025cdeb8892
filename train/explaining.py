"""What in a picture spoke for a class: a heat map from the gradients of the class's logit, for any network and head.

It is written here because no library at hand does it: captum needs matplotlib, asks which layer is meant and has no
method for attention, and grad-cam needs OpenCV, scikit-learn and matplotlib.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from curate.errors import UserError
from train.features.freeze import FrozenNetwork
from train.optimising.layers import Head

_SHORT: Final = 128  # rows or columns of a map along the picture's shorter side
_LONGEST_RATIO: Final = 8  # of a map's sides: of a longer picture a network sees the middle alone
_FEWEST_PLACES: Final = 4  # that a layer has to tell apart
_SOFTMAX: Final[set[Any]] = {torch.softmax, torch.Tensor.softmax, functional.softmax}
_FIRST_TOKENS: Final = ("cls_token", "class_token", "dist_token", "reg_token")


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where in a picture what speaks for a class stands.

    `values` float32 (h, w), 0 or more, lie over the whole upright picture and sum to 1; they are 0 where the network
    saw nothing because it was cut off, and everywhere if nothing spoke for the class. `box` (left, top, right, bottom)
    is what the networks saw, in shares of the picture's width and height.
    """

    label: str
    values: NDArray[np.float32]
    box: tuple[float, float, float, float]

    def scaled(self) -> NDArray[np.float32]:
        """The same with 1 as the highest value, to be drawn."""
        return self.values / max(float(self.values.max(initial=0)), float(np.finfo(np.float32).tiny))


def heat_map(
    networks: Sequence[FrozenNetwork],
    head: Head,
    pixels: Sequence[NDArray[np.uint8]],
    size: tuple[int, int],
    label: str,
    index: int,
) -> HeatMap:
    """The map of class `index` for one picture of `size` (width, height), whose clean views are `pixels`.

    Each of `pixels` is uint8 (1, crop, crop, 3), for the network at its place. What is followed back is the class's
    logit less the mean of all classes' logits: softmax sees no number that is added to all. Raises UserError for a
    network that has no places.

    In the last layer that still has places, gradient times activation is summed over the channels. That is Grad-CAM
    (R. Selvaraju et al., 2017) where places are averaged afterwards, as in nearly all networks, and holds where they
    are not: R. Draelos, L. Carin, "Use HiResCAM instead of Grad-CAM", 2020. Where tokens attend to each other, the
    attention of all layers, weighted by its gradient, is followed back to the patches: H. Chefer, S. Gur, L. Wolf,
    "Generic attention-model explainability", ICCV 2021. Of several networks each counts as its features speak for it.
    """
    traces = [_trace(network, seen) for network, seen in zip(networks, pixels, strict=True)]
    with torch.enable_grad():
        features = torch.cat([trace.features.cpu().to(torch.float32) for trace in traces], dim=1)
        logits = head(features)[0]
        score = logits[index] - logits.mean()
    wanted = [tensor for trace in traces for tensor in trace.wanted()]
    with _deterministic(networks):
        found = torch.autograd.grad(score, wanted, allow_unused=True)
    gradients = {id(tensor): gradient for tensor, gradient in zip(wanted, found, strict=True)}
    width, height = _canvas(size)
    total = torch.zeros(height, width)
    boxes = []
    for network, trace in zip(networks, traces, strict=True):
        places = trace.places(gradients)
        box = network.preprocessing.box(size)
        weight = _products(trace.features, gradients).clamp(min=0).sum()
        laid = _laid_over(places, box, width, height)
        total += float(weight) * laid / laid.sum().clamp(min=torch.finfo(torch.float32).tiny)
        boxes.append(box)
    values: NDArray[np.float32] = (total / total.sum().clamp(min=torch.finfo(torch.float32).tiny)).numpy()
    left, top, right, bottom = zip(*boxes, strict=True)
    return HeatMap(label, values, (min(left), min(top), max(right), max(bottom)))


@dataclass(eq=False)
class _Trace:
    """What a network computed of one picture, with the graph that leads back."""

    network: nn.Module
    layers: list[torch.Tensor] = field(default_factory=list)  # outputs that have places, first to last
    attention: list[torch.Tensor] = field(default_factory=list)  # (1, heads, tokens, tokens) of each layer
    features: torch.Tensor = field(default_factory=lambda: torch.empty(0))  # (1, dim)

    def wanted(self) -> list[torch.Tensor]:
        """The tensors whose gradients are needed."""
        return [*self.layers, *self.attention, self.features]

    def places(self, gradients: Mapping[int, torch.Tensor | None]) -> torch.Tensor:
        """How much each place spoke for the class, (rows, columns), 0 or more."""
        silent = None  # where nothing in any layer adds to the class, as of a network that the head does not hear
        for layer in reversed(self.layers):
            spoken = _products(layer, gradients)
            if layer.ndim == 3:
                grid = self._of_tokens(spoken[0], gradients)
            else:
                grid = spoken[0].sum(dim=_channels(layer) - 1).clamp(min=0)
            if grid is not None and bool(spoken.any()):
                return grid.float().cpu()
            silent = grid if silent is None else silent
        if silent is None:
            raise UserError("The network tells no places apart, so there is no heat map of it: leave --explain out.")
        return silent.float().cpu()

    def _of_tokens(self, spoken: torch.Tensor, gradients: Mapping[int, torch.Tensor | None]) -> torch.Tensor | None:
        """The patches' part in what the tokens said, `spoken` (tokens, channels); None if that has to be asked of an
        earlier layer.
        """
        tokens = len(spoken)
        first = _first_tokens(self.network, tokens)
        side = isqrt(tokens - first)
        if side * side != tokens - first or side * side < _FEWEST_PLACES:
            return None
        said = spoken.sum(dim=1)
        shares = said.clamp(min=0) if bool((said > 0).any()) else said.abs()
        rolled = self._rolled_out(tokens, gradients)
        patches = (shares if rolled is None else shares @ rolled)[first:]
        return patches.reshape(side, side) if rolled is not None or bool(patches.any()) else None

    def _rolled_out(self, tokens: int, gradients: Mapping[int, torch.Tensor | None]) -> torch.Tensor | None:
        """How much of each last token came from each first one, (tokens, tokens); None where none attends to others."""
        attended = [one for one in self.attention if one.shape[-1] == tokens and gradients[id(one)] is not None]
        if not attended:
            return None
        rolled = torch.eye(tokens, device=attended[0].device)
        for one in attended:
            rolled = rolled + _products(one, gradients)[0].clamp(min=0).mean(dim=0).float() @ rolled
        return rolled


class _Attending(TorchFunctionMode):
    """Keeps what attention gives, which kernels that compute it in one piece never write down."""

    def __init__(self, kept: list[torch.Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention and not (
            kwargs.get("is_causal") or kwargs.get("enable_gqa") or len(args) > 4
        ):
            return self._attended(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            given, weights = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
            self._keep(weights)
            return given, weights
        found = func(*args, **kwargs)
        if func in _SOFTMAX:
            self._keep(found)
        return found

    def _attended(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,  # noqa: ARG002
    ) -> torch.Tensor:  # fmt: skip
        scores = (query @ key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if masked else scores + attn_mask
        weights = torch.softmax(scores, dim=-1)
        self._keep(weights)
        return weights @ value

    def _keep(self, weights: Any) -> None:
        if isinstance(weights, torch.Tensor) and weights.ndim == 4 and weights.shape[0] == 1:
            self.kept.append(weights)


def _trace(network: FrozenNetwork, pixels: NDArray[np.uint8]) -> _Trace:
    # Other threads may be asking the network itself, and would run into hooks
    module = _with_the_same_tensors(network.module)
    trace = _Trace(module)

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.shape[:1] == (1,) and _has_places(output):
            trace.layers.append(output)

    for part in module.modules():
        part.register_forward_hook(note)
    with torch.inference_mode(False), torch.enable_grad(), _Attending(trace.attention):
        trace.features = module(network.input(torch.tensor(pixels)).requires_grad_())
    # One tensor may be the output of a layer and of all that it is the last of
    trace.layers = list({id(layer): layer for layer in trace.layers if layer.requires_grad}.values())
    return trace


def _with_the_same_tensors(network: nn.Module) -> nn.Module:
    """A copy of the network's modules, which computes with the network's own tensors."""
    there: dict[int, Any] = {id(one): one for one in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, there)


def _has_places(output: torch.Tensor) -> bool:
    if output.ndim == 4:
        return _channels(output) != 0
    return output.ndim == 3 and output.shape[1] >= _FEWEST_PLACES


def _channels(layer: torch.Tensor) -> int:
    """Which dimension of (1, C, H, H) or (1, H, H, C) has the channels; 0 where neither has places."""
    _, first, second, third = layer.shape
    if second == third >= 2:
        return 1
    return 3 if first == second >= 2 else 0


def _first_tokens(network: nn.Module, tokens: int) -> int:
    """How many of the tokens stand before the patches."""
    given = getattr(network, "num_prefix_tokens", None)
    if isinstance(given, int) and isqrt(tokens - given) ** 2 == tokens - given:
        return given
    learnt = (getattr(network, name, None) for name in _FIRST_TOKENS)
    return sum(one.shape[1] for one in learnt if isinstance(one, torch.Tensor) and one.ndim == 3)


def _products(tensor: torch.Tensor, gradients: Mapping[int, torch.Tensor | None]) -> torch.Tensor:
    """Gradient times value, of its shape: what each number added to the score, to first order."""
    gradient = gradients[id(tensor)]
    return torch.zeros_like(tensor) if gradient is None else (gradient * tensor).detach()


def _canvas(size: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows of a map of a picture of this size."""
    scale = _SHORT / min(size)
    width, height = (max(1, min(round(side * scale), _SHORT * _LONGEST_RATIO)) for side in size)
    return width, height


def _laid_over(places: torch.Tensor, box: tuple[float, float, float, float], width: int, height: int) -> torch.Tensor:
    """Places (rows, columns) of what lies in `box` → (height, width) of the whole picture; 0 outside, and 0 or more."""
    left, top, right, bottom = box
    x = ((torch.arange(width) + 0.5) / width - left) / (right - left)
    y = ((torch.arange(height) + 0.5) / height - top) / (bottom - top)
    down, across = torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")
    at = torch.stack((across, down), dim=-1)
    smooth = functional.grid_sample(
        places[None, None], at[None], mode="bicubic", padding_mode="border", align_corners=False
    )[0, 0].clamp(min=0)
    inside = ((x >= 0) & (x <= 1))[None, :] & ((y >= 0) & (y <= 1))[:, None]
    return torch.where(inside, smooth, torch.zeros(()))


@contextmanager
def _deterministic(networks: Sequence[FrozenNetwork]) -> Iterator[None]:
    """CUDA's fastest kernels for gradients add in no certain order."""
    if all(network.device.type != "cuda" for network in networks):
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
