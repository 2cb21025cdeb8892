"""Several processes that fit one classifier: who takes which samples, and how their gradients become one."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn

from curate.errors import UserError

# Extraction and validation let others wait; ten minutes, which is the default, would end a run that works
_COLLECTIVE_TIMEOUT = timedelta(hours=12)
_BUCKET = 16 * 2**20  # numbers that travel at once


class Processes:
    """One process among those that `torchrun` started; alone where it started none.

    Every process draws the same epoch from the same seed and takes each `count`-th sample of every step, so together
    they take exactly the steps that one process alone would take. Nothing is sent until a step's own work is done:
    one that has to halve its batches for want of memory keeps the others waiting, not hanging.
    """

    def __init__(self, rank: int = 0, count: int = 1, local: int = 0) -> None:
        self.rank = rank
        self.count = count
        self.local = local  # number on this machine, which chooses the GPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and prints."""
        return self.rank == 0

    def share(self, items: torch.Tensor) -> torch.Tensor:
        """The process's own part of a step's samples, (M,) → (m,)."""
        return items[self.rank :: self.count]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes, the same bits in each."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=_wire())
        distributed.all_reduce(total)
        return total.tolist()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.count > 1:
            moving = [parameter for parameter in parameters if parameter.requires_grad]
            for parameter in moving:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            _all_reduce([parameter.grad for parameter in moving if parameter.grad is not None])

    def average(self, buffers: Iterable[torch.Tensor]) -> None:
        """Replace buffers, such as running means of batch-norm, by their means over all processes. Of any shape."""
        if self.count > 1:
            floating = [buffer for buffer in buffers if buffer.is_floating_point()]
            _all_reduce(floating)
            for buffer in floating:
                buffer.div_(self.count)

    def tell(self, text: str) -> str:
        """The first process's `text`, in all of them."""
        if self.count == 1:
            return text
        box = [text]
        distributed.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            self.sum([0.0])


@contextmanager
def joined_processes(device: torch.device | None = None) -> Iterator[Processes]:
    """The processes that `torchrun` started (RANK and WORLD_SIZE are set), joined by NCCL on CUDA, by gloo elsewhere.

    They part again at the end of the block. Where `torchrun` started none, the one process is alone. Raises UserError
    where there are more of them than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not distributed.is_available():
        yield Processes()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    if on_cuda:
        if local >= (gpus := torch.cuda.device_count()):
            raise UserError(
                f"torchrun started process {local + 1} on this machine, where PyTorch sees {gpus} CUDA devices, and "
                f"each needs its own: use --nproc-per-node {gpus}, or --device cpu."
            )
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=_COLLECTIVE_TIMEOUT)
    try:
        yield Processes(distributed.get_rank(), count, local)
    finally:
        distributed.destroy_process_group()


def _all_reduce(tensors: Sequence[torch.Tensor]) -> None:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        bucket.append(tensor)
        if sum(one.numel() for one in bucket) >= _BUCKET:
            _all_reduce_bucket(bucket)
            bucket = []
    _all_reduce_bucket(bucket)


@torch.no_grad()
def _all_reduce_bucket(tensors: Sequence[torch.Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _wire() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
