"""Networks through torch.compile: frozen ones for batches of one size, and what training computes of a step."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from curate.errors import UserError
from train.device import is_out_of_memory

# It tells every run on a processor that there is no CUDA.
_TALKATIVE: Final = "torch.utils.cpp_extension"


class CompiledNetwork:
    """`network` through torch.compile: pictures (N, 3, H, W), at most `batch` of them → what the network says (N, …).

    Every batch is filled up to that size, so that it is compiled once. What a picture gives does not depend on how many
    came with it, so a run that was stopped and goes on with other batches gives the same bits. The first call compiles,
    which takes seconds; PyTorch keeps the result for later runs.
    """

    def __init__(self, network: nn.Module, batch: int) -> None:
        self.batch = batch
        self._ran = False
        on_cpu = next(network.parameters()).device.type == "cpu"
        # Frozen, the weights are laid out for oneDNN once and not at each call: half of what compiling gains there.
        self._run = torch.compile(network, dynamic=False, options={"freezing": True} if on_cpu else None)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Raises UserError where it can't be compiled; where memory runs out, the size is halved and that is raised."""
        count = len(pictures)
        filled = functional.pad(pictures, (0, 0, 0, 0, 0, 0, 0, self.batch - count))
        try:
            with _compiling(ran=self._ran):
                found: torch.Tensor = self._run(filled.contiguous(memory_format=torch.channels_last))
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                self.batch = max(1, self.batch // 2)
            raise
        self._ran = True
        return found[:count]


class CompiledSteps:
    """`function` of a model that trains, through torch.compile: tensors (N, …) → logits (N, classes), with gradients.

    It is compiled anew for each size of a batch, which takes seconds to minutes, so few sizes should come. `prepare`
    makes of a batch what `function` takes, and is not compiled.
    """

    def __init__(
        self, function: Callable[[torch.Tensor], torch.Tensor], prepare: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        self._prepare = prepare
        self._run = torch.compile(function, dynamic=False)
        self._ran = False

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The logits; to be called within `compiling`."""
        logits: torch.Tensor = self._run(self._prepare(inputs))
        return logits

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Forward and backward belong into the block; raises UserError where the first can't be compiled."""
        with _compiling(ran=self._ran):
            yield
        self._ran = True


@contextmanager
def _compiling(*, ran: bool) -> Iterator[None]:
    """Raise UserError for what keeps a network, which never `ran`, from being compiled; want of memory is no such."""
    level = logging.getLogger(_TALKATIVE).level
    try:
        logging.getLogger(_TALKATIVE).setLevel(logging.ERROR)
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error) or ran:
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The network can't be compiled on this machine ({reason}): install a C++ compiler, or train with "
            f"--set compiled=false."
        ) from error
    finally:
        logging.getLogger(_TALKATIVE).setLevel(level)
