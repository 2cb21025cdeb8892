"""A name becomes a pretrained network that gives pooled features, with the preprocessing its weights were made for."""

import difflib
import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import nn

from curate.errors import UserError
from train.backbone_names import OFFLINE
from train.downloaded_weights import fetched, of_timm, of_torchvision
from train.efficientnet_lite import LITE, EfficientNetLite
from train.features.packaged_weights import PACKAGED, packaged_file
from train.features.preprocessing import IMAGENET, Preprocessing
from train.features.weights import drop_keys, fit_state, in_order_of, preprocessing_in, state_for
from train.options import Cut
from train.timm_networks import (
    Pooling,
    as_timm_names_it,
    pool,
    pooling_of,
    preprocessing_of,
    resize,
    size_of_positions,
)

Library = Literal["torchvision", "timm", "florilegium"]
LIBRARIES: Final = get_args(Library)

# What of a network is taken off: its last layer, or all of its classifier (VGG's has three layers).
CUTS: Final = get_args(Cut)

# Networks of timm's that files have in timm's order under other names
_OF_PACKAGES: Final = frozenset(one.architecture for one in PACKAGED.values())

# Our own small network, which nobody has weights for: what a pretrained one is measured against.
SCRATCH_CNN = "scratch_cnn"
_CHANNELS: Final = (3, 16, 32, 64)

_IMAGENET_MEAN, _IMAGENET_STD = IMAGENET


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier: float32 pictures (N, 3, crop, crop) → features (N, dim).

    Frozen means frozen: eval mode, no parameter that takes a gradient. `weights_sha256` names the tensors by content,
    so it is the same whichever file or format they came from.
    """

    name: str  # as the user asked for it
    library: Library
    architecture: str  # as the library calls it
    cut: Cut  # what was taken off
    weights: str  # "none", a tag, or the file's name
    network: nn.Module
    dim: int
    preprocessing: Preprocessing
    weights_sha256: str
    pooling: Pooling = "own"  # of a network's last tokens, where it has such


class ScratchCNN(nn.Module):
    """Three times convolution 3×3, ReLU and max-pool: pictures (N, 3, S, S) → features (N, 64 · (S/8)²).

    At 224 pixels that is 64 · 28 · 28 = 50,176, and the hidden layers after it are the head's.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for taken, given in pairwise(_CHANNELS):
            layers += [nn.Conv2d(taken, given, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features (N, 64 · (S/8)²) of `pictures` (N, 3, S, S)."""
        features: torch.Tensor = self.blocks(pictures).flatten(1)
        return features


def load_backbone(
    name: str, weights: str | Path = "default", *, seed: int = 0, cut: Cut = "last", crop: int = 0
) -> Backbone:
    """Load `resnet152`, `timm:NAME`, `torchvision:NAME`, … with `weights`, and take its classifier off.

    `cut` says how much of it: the last layer, or the whole. `crop` makes the network see pictures of so many pixels
    a side instead of what its weights were made for; 0 leaves that. `scratch_cnn` is our own small network.

    `weights` is "default" (the library's own choice), "none" (random, drawn from `seed`), a tag such as
    "IMAGENET1K_V1", or a file with a state dict in any floating point precision, with or without its classifier: a
    checkpoint of ours, what it exports as safetensors, and what the trainers of others save are such files too.
    Raises UserError for a name that nobody knows, weights that can't be fetched or read, and keys that don't fit.
    """
    library, architecture = resolve_name(name)
    file = _weights_file(weights)
    packaged = name.strip().lower().removeprefix("timm:")
    if packaged in PACKAGED and weights == "default":
        file = packaged_file(packaged)
    if library == "florilegium":
        network, preprocessing, label = _from_here(weights, file, seed)
    elif library == "torchvision":
        network, preprocessing, label = _from_torchvision(architecture, weights, file, seed, cut)
    else:
        network, preprocessing, label = _from_timm(architecture, weights, file, seed, cut)
    preprocessing = (preprocessing_in(file, architecture) if file else None) or preprocessing
    if crop:
        preprocessing = preprocessing.at(crop)
    pooling: Pooling = "own"
    if library == "timm":
        pooling = pooling_of(architecture, network)
        try:
            _shape(network, pooling, preprocessing.crop)
        except ValueError as error:
            raise UserError(f"The network {name!r} can't take that --crop: {error}.") from error
    freeze_parameters(network)
    return Backbone(
        name=name,
        library=library,
        architecture=architecture,
        cut=cut,
        weights=label,
        network=network,
        dim=feature_dim(network, preprocessing, name),
        preprocessing=preprocessing,
        weights_sha256=weights_digest(network),
        pooling=pooling,
    )


def empty_network(
    library: Library, architecture: str, cut: Cut = "last", *, pooling: Pooling = "own", crop: int = 0
) -> nn.Module:
    """Build the bare network, classifier off, in eval mode, its values unset or random: a checkpoint fills it.

    It pools as told, and takes pictures of `crop` pixels a side; 0 leaves that. Nothing is downloaded. Raises UserError
    where the installed library has no classification network of that name, and ValueError where it can't be so.
    """
    if not _is_classifier(library, architecture):
        raise UserError(f"This version of {library} has no classification network called {architecture!a:.100}.")
    with torch.random.fork_rng(devices=[]):
        network = _bare(library, architecture, cut)
    if library == "timm":
        _shape(network, pooling, crop)
    elif pooling != "own":
        raise ValueError("only networks of timm's pool their tokens in another way")
    freeze_parameters(network)
    return network


def bytes_of_network(library: Library, architecture: str, cut: Cut = "last", *, crop: int = 0) -> int | None:
    """How large an empty network would be, found without taking that memory; None where it can't be found so.

    Raises UserError as `empty_network` does.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = empty_network(library, architecture, cut, crop=crop)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # it computes its first values, as RegNet does
        return None
    return int(sum(value.numel() * value.element_size() for value in network.state_dict().values()))


def freeze_parameters(network: nn.Module) -> None:
    """Eval mode, and no gradient for any parameter (setting it on the module itself would do nothing)."""
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over dtype, shape and bytes of every tensor in order; names and counts of batches seen are left out."""
    digest = hashlib.sha256()
    for key, tensor in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def resolve_name(name: str) -> tuple[Library, str]:
    """Which library has a network of this name, torchvision first; UserError with the nearest names if neither."""
    library, colon, architecture = name.strip().lower().rpartition(":")
    if architecture in PACKAGED:
        architecture, library, colon = PACKAGED[architecture].architecture, library or "timm", ":"
    if colon and library not in LIBRARIES:
        raise UserError(f"No library is called {library!r} in {name!r}: write torchvision:NAME or timm:NAME.")
    if library in {"", "florilegium"} and architecture == SCRATCH_CNN:
        return "florilegium", architecture
    if library in {"", "torchvision"} and architecture in _torchvision_names():
        return "torchvision", architecture
    if library in {"", "timm"}:
        import timm

        if timm.is_model(architecture.partition(".")[0]):
            return "timm", architecture
    nearest = difflib.get_close_matches(architecture, _names(library), n=5, cutoff=0.5)
    hint = f"did you mean {', '.join(nearest)}?" if nearest else "see torchvision's and timm's lists of models."
    raise UserError(f"No backbone is called {name!r}: {hint}")


def _shape(network: nn.Module, pooling: Pooling, crop: int) -> None:
    """Raises ValueError where a network of timm's can't be so."""
    if crop:
        resize(network, crop)
    pool(network, pooling)


def _is_classifier(library: Library, architecture: str) -> bool:
    """Whether the library has a classification network of exactly this name, which it builds from its own code.

    Other kinds of networks are built around one of these, whose weights their builders may download. A name with a
    colon or a slash means a place on the hub or a folder to timm.
    """
    if library == "florilegium":
        return architecture == SCRATCH_CNN
    if library == "torchvision":
        return architecture in _torchvision_names()
    if architecture in LITE:
        return True
    import timm

    return re.fullmatch(r"[\w.-]+", architecture, re.ASCII) is not None and timm.is_model(architecture)


def _bare(library: Library, architecture: str, cut: Cut) -> nn.Module:
    if library == "florilegium":
        return ScratchCNN()
    if library == "torchvision":
        return _torchvision_network(architecture, cut)[0]
    if architecture in LITE:
        return EfficientNetLite(architecture)
    import timm

    network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0)
    return network


def _names(library: str) -> list[str]:
    names = [OFFLINE, *PACKAGED, SCRATCH_CNN]
    if library in {"", "torchvision"}:
        names += _torchvision_names()
    if library in {"", "timm"}:
        import timm

        names += timm.list_models()
    return sorted(set(names))


def _torchvision_names() -> list[str]:
    from torchvision import models

    # The module keeps quantized networks, detectors and video networks out: they are no classifiers of pictures
    return list(models.list_models(module=models))


def _weights_file(weights: str | Path) -> Path | None:
    path = Path(weights)
    there = os.path.exists(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112  Path's raise for a long name
    if isinstance(weights, Path) or there or path.suffix in {".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors"}:
        return path
    if path.name != str(weights):  # a folder in it: meant as a path, so say that it is not there
        raise UserError(f"There is no weights file {weights}.")
    return None


def _from_here(weights: str | Path, file: Path | None, seed: int) -> tuple[nn.Module, Preprocessing, str]:
    preprocessing = Preprocessing(256, 224, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ScratchCNN()
    if file is not None:
        fit_state(network, state_for(network, file), network_name=SCRATCH_CNN, source=file.name)
        return network, preprocessing, file.name
    if str(weights) not in {"default", "none"}:
        raise UserError(f"{SCRATCH_CNN} has no weights called {weights!r}: it is trained from random values.")
    return network, preprocessing, f"none (seed {seed})"


def _from_torchvision(
    architecture: str, weights: str | Path, file: Path | None, seed: int, cut: Cut
) -> tuple[nn.Module, Preprocessing, str]:
    from torchvision import models

    choices = models.get_model_weights(architecture)
    tag = choices.DEFAULT if file or str(weights) in {"default", "none"} else _torchvision_tag(choices, str(weights))
    preprocessing = _torchvision_preprocessing(tag.transforms())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, dropped = _torchvision_network(architecture, cut)
    if file is None and weights == "none":
        return network, preprocessing, f"none (seed {seed})"
    if file is not None:
        # The default tag may be of the second generation, made for another scale; a file's usual origin is the first
        first = next(iter(choices))
        preprocessing = _torchvision_preprocessing(first.transforms())
        state, source = state_for(network, file, dropped=dropped), file.name
    else:
        state = fetched(of_torchvision(architecture, tag), lambda: tag.get_state_dict(progress=False, check_hash=True))
        state, source = drop_keys(state, dropped), tag.name
    fit_state(network, state, network_name=architecture, source=source)
    return network, preprocessing, source


def _torchvision_tag(choices: Any, tag: str) -> Any:
    for choice in choices:
        if choice.name.lower() == tag.lower():
            return choice
    known = ", ".join(choice.name for choice in choices)
    raise UserError(f"There are no weights {tag!r} for this network: use {known}, none, or the path of a file.")


def _torchvision_preprocessing(transforms: Any) -> Preprocessing:
    return Preprocessing(
        resize=max(transforms.resize_size[0], transforms.crop_size[0]),
        crop=transforms.crop_size[0],
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def _torchvision_network(architecture: str, cut: Cut) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the network with random values and no classifier; also the prefixes of what was taken off."""
    from torchvision import models

    auxiliary = architecture in {"inception_v3", "googlenet"}
    # These two warn unless told how to draw their first values, and ImageNet's weights expect their transform_input
    options = {"init_weights": False, "transform_input": True, "aux_logits": False} if auxiliary else {}
    try:
        network = models.get_model(architecture, weights=None, **options)
    except ValueError as error:
        raise UserError(f"This version of torchvision has no network called {architecture!r}.") from error
    name = _last_layer(network)
    if architecture.startswith("squeezenet"):  # its last layer is a convolution that comes before the pooling
        network.classifier = nn.AdaptiveAvgPool2d(1)
        return network, ("classifier.",)
    if cut == "classifier":
        name = name.partition(".")[0]
        setattr(network, name, nn.Flatten())  # some classifiers begin with one
        return network, (f"{name}.", "AuxLogits.", "aux1.", "aux2.")
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return network, (f"{name}.", "AuxLogits.", "aux1.", "aux2.")


def _last_layer(network: nn.Module) -> str:
    """Name of the last Linear: in each of torchvision's classification networks that is the one that gives logits."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else ""


def _from_timm(
    architecture: str, weights: str | Path, file: Path | None, seed: int, cut: Cut
) -> tuple[nn.Module, Preprocessing, str]:
    import timm

    pretrained = file is None and weights != "none"
    if pretrained and weights != "default":
        architecture = f"{architecture.partition('.')[0]}.{weights}"
        if architecture not in timm.list_pretrained(architecture.partition(".")[0] + ".*"):
            known = ", ".join(
                name.partition(".")[2] for name in timm.list_pretrained(architecture.partition(".")[0] + ".*")
            )
            raise UserError(f"There are no weights {str(weights)!r} for this network: use {known}, none, or a file.")

    def create() -> nn.Module:
        network: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=0)
        return network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = fetched(of_timm(architecture), create) if pretrained else create()
    if cut == "classifier" and getattr(network, "head_hidden_size", network.num_features) != network.num_features:
        raise UserError(
            f"timm's {architecture} hides layers in its classifier: take --backbone torchvision:NAME for it."
        )
    settings: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    preprocessing = preprocessing_of(architecture, settings)
    if file is None:
        return (
            network,
            preprocessing,
            f"none (seed {seed})" if not pretrained else str(settings.get("tag") or "default"),
        )
    classifier = settings.get("classifier") or ()
    dropped = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    state = state_for(network, file, dropped=dropped)
    if architecture in _OF_PACKAGES and "_conv_stem.weight" in state:
        state = in_order_of(network, drop_keys(state, ("_fc.",)))
    if size := size_of_positions(network, state):
        resize(network, size)
    state = as_timm_names_it(network, state)
    fit_state(network, state, network_name=architecture, source=file.name)
    return network, preprocessing, file.name


def feature_dim(network: nn.Module, preprocessing: Preprocessing, name: str) -> int:
    """How many features it gives for a picture; UserError where it can't take one, or gives no features."""
    size = preprocessing.crop
    try:
        with torch.inference_mode():
            features = network(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"The network {name!r} can't take pictures of {size} × {size} pixels: set another crop."
        ) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise UserError(
            f"The network {name!r} gives no pooled features without its classifier: choose another backbone."
        )
    return int(features.shape[1])
