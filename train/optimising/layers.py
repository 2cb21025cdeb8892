"""The head's layers: one Linear, hidden layers or a root before it, built from numbers, described in plain types."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import torch
from torch import nn

from train.optimising.settings import Activation

Head = nn.Linear | nn.Sequential

_ACTIVATIONS: Final[dict[Activation, type[nn.Module]]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU
}  # fmt: skip

_MOST_LAYERS: Final = 100


class SignedSqrt(nn.Module):
    """x / √(|x| + knee): the square root of each feature under its sign, with a finite slope at 0.

    Pooled activations are skewed, and their roots much less so (F. Perronnin et al., "Improving the Fisher kernel",
    ECCV 2010). What is far below `knee`, above 0, stays nearly a multiple of itself.
    """

    def __init__(self, knee: float) -> None:
        super().__init__()
        self.knee = knee

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"knee={self.knee:g}"

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of any shape, float32, each by itself."""
        return features / torch.sqrt(features.abs() + self.knee)


def build_head(
    dim: int, classes: int, *, hidden: Sequence[int] = (), activation: Activation = "relu", dropout: float = 0.0,
    input_dropout: float = 0.0, seed: int = 0,
) -> Head:  # fmt: skip
    """Linear(dim, classes), or Linear, activation, dropout, …, Linear(…, classes): float32, features (N, dim) in.

    `input_dropout` stands before the first of them.

    PyTorch's own first values, drawn from `seed` and not from the global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        for units in hidden:
            layers += [nn.Linear(dim, units), _ACTIVATIONS[activation]()]
            layers += [nn.Dropout(dropout)] if dropout else []
            dim = units
        if dropout and not hidden:
            layers.append(nn.Dropout(dropout))
        last = nn.Linear(dim, classes)
        return nn.Sequential(*layers, last) if layers else last


def linears(head: Head) -> list[nn.Linear]:
    """Its fully connected layers, first to last."""
    return [module for module in head.modules() if isinstance(module, nn.Linear)]


def describe_head(head: Head) -> list[dict[str, Any]]:
    """Say in plain types what `head_from_description` builds the same layers from, values apart."""
    return [_describe(layer) for layer in ([head] if isinstance(head, nn.Linear) else head)]


def head_from_description(layers: Sequence[Mapping[str, Any]], state: Mapping[str, torch.Tensor]) -> Head:
    """Build the head that was described and load `state` into it, every key and shape.

    Raises ValueError, KeyError, TypeError or RuntimeError where the two are not a head.
    """
    built = [_build(layer) for layer in layers]
    head: Head = built[0] if len(built) == 1 and isinstance(built[0], nn.Linear) else nn.Sequential(*built)
    chain = linears(head)
    if (
        len(built) > _MOST_LAYERS
        or not chain
        or any(one.out_features != other.in_features for one, other in pairwise(chain))
    ):
        raise ValueError("the head's layers do not fit each other")
    # Before anything of that size is allocated: the description may be a stranger's
    if {key: value.shape for key, value in head.state_dict().items()} != {
        key: value.shape for key, value in state.items()
    }:
        raise ValueError("the head's weights are not those of its layers")
    # Copied into an empty head they would take a third of a second more, in which PyTorch imports sympy
    own = {key: value.detach().to(torch.float32, copy=True) for key, value in state.items()}
    head.load_state_dict(own, strict=True, assign=True)
    return head


def _describe(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, nn.Linear):
        return {"kind": "linear", "in": layer.in_features, "out": layer.out_features}
    if isinstance(layer, nn.Dropout):
        return {"kind": "dropout", "share": layer.p}
    if isinstance(layer, SignedSqrt):
        return {"kind": "signed_sqrt", "knee": layer.knee}
    for name, kind in _ACTIVATIONS.items():
        if type(layer) is kind:
            return {"kind": name}
    raise TypeError(f"a head has no layer of type {type(layer).__name__}")


def _build(plain: Mapping[str, Any]) -> nn.Module:
    kind = plain["kind"]
    if kind == "linear":
        return nn.Linear(int(plain["in"]), int(plain["out"]), device="meta")
    if kind == "dropout":
        return nn.Dropout(float(plain["share"]))
    if kind == "signed_sqrt":
        knee = float(plain["knee"])
        if not (math.isfinite(knee) and knee > 0):
            raise ValueError(f"{knee} is no knee of a square root")
        return SignedSqrt(knee)
    if kind not in _ACTIVATIONS:
        raise ValueError(f"an unknown kind of layer, {kind!r}")
    return _ACTIVATIONS[kind]()
