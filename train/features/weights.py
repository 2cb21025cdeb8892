"""State dicts from files: read safely, fitted strictly, and told apart by what does not fit."""

import argparse
import errno
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from curate.errors import UserError
from curate.files.reading import open_file
from curate.printable import printable
from train.features.preprocessing import Preprocessing

# Trainers wrap the state dict under one of these, beside what else they keep: the epoch, the optimiser, arguments.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "weights", "teacher")
_PARALLEL = "module."

# What trainers keep beside the tensors and torch.load refuses unless it is told: values, which nothing is done with.
_DATA: Final[tuple[Any, ...]] = (
    argparse.Namespace, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
    *(
        (PurePosixPath, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath")
    ),
)  # fmt: skip

# What torch.load was seen to raise on files that are cut off, damaged, or of another kind.
_RAISED_OF_DAMAGE = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, OverflowError, MemoryError,
    AssertionError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error,
)  # fmt: skip

# A file that tells of a broken disk and not of itself.
_OF_THE_DISK = {errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENXIO}

# Tied weights stand in a file once and in the state dict twice; beyond this share a few bytes pose as terabytes.
_MOST_SHARED: Final = 4

# torchvision's published DenseNets were saved when a module's name could still hold a dot
_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


# How torch names a class or function that it does not make an object of.
_FOREIGN = re.compile(r"GLOBAL ([\w.]{1,200})")

_PICKLE = b"\x80"


class DamagedFile(ValueError):
    """A file that holds no tensors that can be read: it is cut off, damaged, or of another kind.

    Its text says which, in our words: torch's own advise to load such a file without any safety.
    """


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, floating point tensors as float32. Nothing in the file is executed.

    It may stand under a trainer's word for it, beside values that are no tensors. Of a checkpoint of ours the
    networks' keys begin with `backbones.0.`, `backbones.1.`, …, as in what it exports. Raises UserError where the file
    is missing, cut off, or anything other than a state dict.
    """
    try:
        content = _read(file)
    except FileNotFoundError as error:
        raise UserError(f"There is no weights file {file}.") from error
    except OSError as error:
        raise UserError(f"The weights file {file} can't be read ({error.strerror or error}).") from error
    except DamagedFile as error:
        raise UserError(
            f"The weights file {file} can't be read ({error}): save `network.state_dict()` anew."
        ) from error
    content = _unwrapped(content)
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise UserError(f"The weights file {file} holds no state dict: save `network.state_dict()` into it.")
    strangers = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise UserError(
            f"The weights file {file} holds more than tensors ({some(strangers)}): save `network.state_dict()` alone."
        )
    try:
        require_backed(content.values(), _MOST_SHARED * file.stat().st_size)
    except ValueError as error:
        raise UserError(f"The weights file {file} can't be used: {error}. Save `network.state_dict()` anew.") from error
    return {_plain(key): _upcast(value) for key, value in content.items()}


def fit_state(network: nn.Module, state: Mapping[str, torch.Tensor], *, network_name: str, source: str) -> None:
    """Load `state` into `network`, every key and shape or none.

    Raises UserError that lists what does not fit, and for numbers that are not finite.
    """
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
    parameters = {name for name, _ in network.named_parameters()}
    if odd := [key for key in expected if key in state and not _is_sound(state[key], finite=key in parameters)]:
        raise UserError(
            f"The weights {source} for {network_name} hold numbers that are not finite ({some(odd)}): take others."
        )
    counts = {key: value for key, value in expected.items() if key not in state}
    network.load_state_dict({**counts, **state}, strict=True)


def state_for(network: nn.Module, file: Path, *, dropped: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """`read_state` under the network's own keys, without those of a classifier, which begin with one of `dropped`.

    What trainers put before every key (`module.`, `model.`, `_orig_mod.`) is taken off, and what stands beside the
    network, such as a loss or another network, is left out. Where no part of the file has all keys of the network,
    they are as they were, for `fit_state` to list.
    """
    state = read_state(file)
    wanted = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    if wanted and not all(key in state for key in wanted):
        for prefix in dict.fromkeys(key[: -len(wanted[0])] for key in state if key.endswith(f".{wanted[0]}")):
            if all(prefix + key in state for key in wanted):
                state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
                break
    return drop_keys(state, dropped)


def preprocessing_in(file: Path, architecture: str) -> Preprocessing | None:
    """What a checkpoint of ours says of the pictures that its network wants; None for any other file."""
    try:
        content = None if file.suffix == ".safetensors" else load_safely(file, mapped=True, data=True)
        if isinstance(content, Mapping) and _is_ours(content):
            for backbone in content["backbones"]:
                if backbone["architecture"] == architecture:
                    return Preprocessing.from_dict(backbone["preprocessing"])
    except (OSError, DamagedFile, LookupError, TypeError, ValueError):
        return None
    return None


def load_safely(file: Path, *, mapped: bool = False, data: bool = False) -> object:
    """`torch.load` of tensors and plain types alone, from a regular file; `mapped`, the tensors stay on the disk.

    With `data`, values of a few other types that hold numbers, texts and paths alone are let through.

    Raises OSError where the file can't be read, and DamagedFile for whatever torch makes of a damaged or foreign one.
    """
    allowed = torch.serialization.safe_globals(list(_DATA)) if data else nullcontext()
    with open_file(file) as opened, warnings.catch_warnings(), allowed:
        warnings.simplefilter("ignore")  # what it warns of is of other protocols and programs, and refused or read well
        try:
            _require_stored(opened)
            return torch.load(file if mapped else opened, map_location="cpu", weights_only=True, mmap=mapped)
        except DamagedFile:
            raise
        except _RAISED_OF_DAMAGE as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            raise DamagedFile(_why(opened, error)) from error


def require_backed(tensors: Iterable[torch.Tensor], most: int) -> None:
    """Raise ValueError for a tensor that claims more numbers than its file holds, and for more than `most` bytes.

    A tensor of a trillion numbers with strides of 0 takes four bytes in a file, and terabytes once it is copied.
    The tensors may have any shape and dtype.
    """
    whole = 0
    for tensor in tensors:
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError("it holds a tensor that is not made of plain numbers")
        size = tensor.numel() * tensor.element_size()
        whole += size
        if size > tensor.untyped_storage().nbytes() or whole > most:
            raise ValueError("its tensors claim more numbers than the file holds")


def is_finite(module: nn.Module) -> bool:
    """Whether no parameter is infinite, and nothing is NaN."""
    parameters = {name for name, _ in module.named_parameters()}
    return all(_is_sound(value, finite=name in parameters) for name, value in module.state_dict().items())


def drop_keys(state: Mapping[str, torch.Tensor], prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Leave out the tensors, of any shape, under `prefixes`: those of a classifier that the network no longer has."""
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


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    items = list(items)
    more = f", and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(printable(item)[:200] for item in items[:limit]) + more


def _unwrapped(content: object) -> object:
    """The state dict within what a trainer saved: under a known word, or the only mapping that holds tensors alone."""
    if isinstance(content, Mapping) and _is_ours(content):
        return {
            f"backbones.{number}.{key}": value
            for number, backbone in enumerate(content["backbones"])
            for key, value in backbone["state"].items()
        }
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if isinstance(content, Mapping) and not _holds_tensors(content):
        inner = [value for value in content.values() if isinstance(value, Mapping) and _holds_tensors(value)]
        if len(inner) == 1:
            return inner[0]
    return content


def _holds_tensors(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, torch.Tensor) for value in content.values())


def _is_ours(content: Mapping[Any, Any]) -> bool:
    backbones = content.get("backbones")
    return isinstance(backbones, list) and all(
        isinstance(one, Mapping) and isinstance(one.get("state"), Mapping) for one in backbones
    )


def _read(file: Path) -> object:
    if file.suffix != ".safetensors":
        return load_safely(file, data=True)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    open_file(file).close()  # a pipe or a device is refused before anything waits for it
    try:
        return load_file(file)
    except (SafetensorError, *_RAISED_OF_DAMAGE) as error:
        raise DamagedFile("it is no whole safetensors file") from error


def _why(opened: BufferedReader, error: BaseException) -> str:
    """What is wrong with a file that torch has refused, by its bytes and by what it was refused for."""
    if foreign := _FOREIGN.search(str(error)):
        return f"it holds an object of another program, {printable(foreign[1])}, and not tensors alone"
    if isinstance(error, MemoryError):
        return "its numbers do not fit into the memory"
    opened.seek(0)
    head = opened.read(2)
    if not head:
        return "it is empty"
    if zipfile.is_zipfile(opened):
        return (
            "it is a TorchScript program" if "TorchScript" in str(error) else "its archive is damaged, or not torch's"
        )
    if head == b"PK":
        return "its archive is cut off"
    return "it is damaged, or no state dict" if head[:1] == _PICKLE else "it is no file of torch's"


def _require_stored(opened: BufferedReader) -> None:
    """Raise DamagedFile for an archive that would unpack to more than it is large: what torch writes is not packed."""
    if zipfile.is_zipfile(opened):
        with zipfile.ZipFile(opened) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > os.fstat(opened.fileno()).st_size:
            raise DamagedFile("it would unpack to more than it is large")
    opened.seek(0)


def _is_sound(tensor: torch.Tensor, *, finite: bool) -> bool:
    """A buffer may be infinite, as some masks are."""
    if not tensor.is_floating_point():
        return not tensor.is_complex()
    return bool(torch.isfinite(tensor).all()) if finite else not bool(torch.isnan(tensor).any())


def _plain(key: str) -> str:
    key = key.removeprefix(_PARALLEL)
    old = _DENSENET.match(key)
    return old.group(1) + old.group(2) if old else key


def _upcast(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
