"""A network of timm's as its family is used when it is frozen: which tokens, which size, which pictures it wants."""

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
from torch import nn

from train.features.preprocessing import IMAGENET, Preprocessing

Pooling = Literal["own", "class and mean"]
"""What of a network's last tokens is taken: what timm takes, or the class token beside the mean of the patches'."""

POOLINGS: Final = get_args(Pooling)

_OWN, _CLASS_AND_MEAN = POOLINGS


@dataclass(frozen=True)
class _Family:
    """How a family's authors use what timm leaves open."""

    name: re.Pattern[str]  # in the architecture's name, without the tag of its weights
    pooling: Pooling
    resize: int | None = None  # pixels of the short side, and a side of the crop; None: as timm says
    crop: int | None = None


# DINOv2's last stage of training was at 518 pixels, and its authors evaluate at 224 out of 256, with positions
# interpolated; their linear classifier sees the class token beside the mean of the patches, as DINOv3's does.
# (M. Oquab et al., "DINOv2", 2023, and its model card; O. Siméoni et al., "DINOv3", 2025, and its classifier.)
_FAMILIES: Final = (
    _Family(re.compile("dinov2"), _CLASS_AND_MEAN, resize=256, crop=224),
    _Family(re.compile("dinov3"), _CLASS_AND_MEAN),
)


class ClassAndMean(nn.Module):
    """Tokens (N, first + patches, D) → (N, 2 · D): the first, which is the class's, beside the mean of the patches'."""

    def __init__(self, first: int) -> None:
        """`first` is how many tokens, the class's and registers, come before the patches'."""
        super().__init__()
        self.first = first

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Features (N, 2 · D) of `tokens` (N, first + patches, D)."""
        return torch.cat([tokens[:, 0], tokens[:, self.first :].mean(dim=1)], dim=1)


def pooling_of(architecture: str, network: nn.Module) -> Pooling:
    """How the family of this network pools; its own way where no family is known, or where it has no class token."""
    family = _family(architecture)
    return family.pooling if family and getattr(network, "cls_token", None) is not None else _OWN


def pool(network: nn.Module, pooling: Pooling) -> None:
    """Make a bare network of timm's pool so. Raises ValueError for one that has no such tokens.

    No tensor gets another name, so weights fit as before.
    """
    if pooling == _OWN:
        return
    first = getattr(network, "num_prefix_tokens", 0)
    if getattr(network, "cls_token", None) is None or not first or getattr(network, "attn_pool", None) is not None:
        raise ValueError("the network has no class token beside its patches")
    # Without pooling timm hands all tokens, normalised, to the head
    network.global_pool = ""  # type: ignore[assignment]
    network.head = ClassAndMean(first)


def size_of_positions(network: nn.Module, state: Mapping[str, torch.Tensor]) -> int | None:
    """Pixels a side for which `state` has positions, where the network now has others; None where they agree.

    Both have one position for each patch of a square picture and for the tokens before them, `pos_embed` (1, T, D).
    """
    mine, theirs = (found.get("pos_embed") for found in (network.state_dict(), state))
    if mine is None or theirs is None or mine.shape == theirs.shape or mine.ndim != 3 or theirs.ndim != 3:
        return None
    patches = getattr(getattr(network, "patch_embed", None), "num_patches", None)
    if patches is None:
        return None
    side = (theirs.shape[1] - (mine.shape[1] - patches)) ** 0.5
    return int(side) * patch_of(network) if side == int(side) and side else None


def resize(network: nn.Module, size: int) -> None:
    """Have a bare network take pictures of `size` × `size` pixels; its positions are interpolated (bicubic).

    Networks that take any size, and those that have no such means, are left as they are. Raises ValueError for a size
    that is no multiple of the patches'.
    """
    now = getattr(getattr(network, "patch_embed", None), "img_size", None)
    if now is None or size == max(now):
        return
    patch = patch_of(network)
    if size % patch:
        low = max(size // patch, 1) * patch
        raise ValueError(
            f"{size} pixels do not fit patches of {patch}: take a multiple, such as {low} or {low + patch}"
        )
    change = getattr(network, "set_input_size", None)
    if change is not None and not getattr(network, "dynamic_img_size", False):
        try:
            with warnings.catch_warnings():  # of how its own interpolation calls PyTorch
                warnings.simplefilter("ignore", UserWarning)
                change(img_size=(size, size))
        except (AssertionError, RuntimeError, TypeError) as error:
            raise ValueError(f"{size} pixels a side do not fit its windows ({error})") from error


def as_timm_names_it(network: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a file as the authors of a family published it, under timm's names; others as they are."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None or state.keys() == network.state_dict().keys():
        return dict(state)
    try:
        found = convert(dict(state), network)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):  # no file of that family
        return dict(state)
    return {key: value for key, value in found.items() if isinstance(value, torch.Tensor)}


def preprocessing_of(architecture: str, settings: Mapping[str, Any]) -> Preprocessing:
    """What the weights that timm describes by `settings` were made for, at the size at which their family is used."""
    crop = max(settings["input_size"][1:])
    mean, std = IMAGENET
    found = Preprocessing(
        resize=max(crop, int(crop / (settings.get("crop_pct") or 0.875))),
        crop=crop,
        interpolation=settings.get("interpolation") or "bilinear",
        mean=tuple(settings.get("mean") or mean),
        std=tuple(settings.get("std") or std),
        squash=settings.get("crop_mode") == "squash",
    )
    family = _family(architecture)
    if family is None or family.crop is None or family.resize is None or family.crop >= crop:
        return found
    return Preprocessing(family.resize, family.crop, found.interpolation, found.mean, found.std, found.squash)


def _family(architecture: str) -> _Family | None:
    return next((one for one in _FAMILIES if one.name.search(architecture.partition(".")[0])), None)


def patch_of(network: nn.Module) -> int:
    """Pixels a side of a patch, which pictures have to be made of; 1 for a network of another kind."""
    embed = getattr(network, "patch_embed", None)
    found = getattr(embed, "patch_size", None)
    return int(max(found)) if isinstance(found, tuple) and not getattr(embed, "dynamic_img_pad", False) else 1
