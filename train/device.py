"""Where the network runs, and the precision that runs fast there."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import torch

from curate.errors import UserError
from curate.parallel import processors
from train.options import Precision

_MOST_ASKERS: Final = 4

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str = "auto", local: int = 0) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device; raises UserError where this machine has none.

    `local` is this process's number on this machine: of several, each takes a GPU of its own.
    """
    if local and name in {"auto", "cuda"} and torch.cuda.is_available():
        name = f"cuda:{local}"
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"No device is called {name!r}: use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"The device {name!r} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("The device 'mps' was asked for, but PyTorch sees no Apple GPU.")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise UserError(f"The device {name!r} is not supported: use auto, cpu, cuda or mps.")
    return device


def fast_precision(device: torch.device) -> Precision:
    """bfloat16 where the processor computes in it, float32 elsewhere.

    A processor without bfloat16 instructions emulates them, which is slower than float32, so emulation does not count.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        return "bfloat16" if _cpu_computes_bfloat16() else "float32"
    return "float32"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device.

    On the CPU PyTorch raises a plain RuntimeError: "DefaultCPUAllocator: can't allocate memory".
    """
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in words or "out of memory" in words


def free_memory(device: torch.device) -> tuple[int, int] | None:
    """What is free of the memory that a device computes in, and all of it, in bytes; None where no system tells."""
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        return int(free), int(whole)
    if device.type == "mps":
        whole = int(torch.mps.recommended_max_memory())
        return whole - int(torch.mps.driver_allocated_memory()), whole
    table = Path("/proc/meminfo")
    if not table.exists():
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in table.read_text().splitlines()}
    return kib["MemAvailable"] << 10, kib["MemTotal"] << 10


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Raise UserError where main memory has not so many bytes free: said before hours of work, not after them.

    Where the system does not tell what is free nothing is refused.
    """
    memory = free_memory(torch.device("cpu"))
    if memory is not None and needed > memory[0]:
        raise UserError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory, and {memory[0] / 1e9:,.1f} GB are free: {remedy}."
        )


def memory_notes(device: torch.device) -> list[str]:
    """How near a run came to the end of a GPU's memory; nothing for what computes in main memory."""
    if device.type != "cuda":
        return []
    peak, whole = torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[1]
    return [f"At most {peak / 1e9:.1f} of the GPU's {whole / 1e9:.1f} GB of memory were taken."]


class Arriving:
    """A tensor on its way from a device to main memory."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """It may be written on as soon as this returns, by what is given to the same CUDA stream later."""
        self._there: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._tensor = tensor.to("cpu", non_blocking=True)
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(tensor.device))
        else:
            self._tensor = tensor.cpu()

    def wait(self) -> torch.Tensor:
        """It, as soon as it is there: what the device was given since is not waited for."""
        if self._there is not None:
            self._there.synchronize()
        return self._tensor


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads in the block, where this thread asks it."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[None]:
    """For steps as small as one layer's on a hundred pictures: threads would wait for each other longer than they work.

    On two processors that were busy besides, the same fit of one layer took 15 s with two threads and 0.5 s with one.
    """
    return with_threads(1)


def askers_of(device: torch.device) -> tuple[int, int]:
    """How many threads ask a network at once, and how many of PyTorch's each computes with.

    On processors several ask, each with its share of them: threads that compute one batch together wait for each other
    at each layer, and for longer the more else there is to do. Any other device has one.
    """
    askers = min(_MOST_ASKERS, processors()) if device.type == "cpu" else 1
    return askers, max(1, processors() // askers)


def _cpu_computes_bfloat16() -> bool:
    # Private in PyTorch and without a public counterpart: where one is gone, the safe answer is no
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return True
    return False
