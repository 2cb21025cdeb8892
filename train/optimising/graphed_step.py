"""Forward and backward of one batch as a CUDA graph: a GPU does all of it at one word.

A step of ResNet50 on 32 pictures is 1,500 kernels. To start each from Python takes longer than a fast GPU needs for it,
and longer still while other processes decode pictures. Started as one graph they are the same kernels.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import nn

from train.device import is_out_of_memory

# Steps that run as they are, before: libraries choose their kernels in them, and a short fit needs no graph.
_BEFORE: Final = 8

Batch = tuple[torch.Tensor, ...]


class GraphedStep:
    """`compute`(batch) → figures, which leaves gradients in `parameters`, recorded and done again with other values.

    Batches of the shapes that came first are done so; any other, such as an epoch's last, runs as it is. Neither does a
    network whose steps can't be recorded, because it asks the GPU for a number meanwhile. What is random in it follows
    from the seed that the device's generator has at the call.
    """

    def __init__(
        self,
        compute: Callable[[Batch], torch.Tensor],
        parameters: Sequence[nn.Parameter],
        device: torch.device,
    ) -> None:
        """`compute` takes tensors on `device`, a CUDA device, and returns one; gradients are None when it is called."""
        self._compute, self._parameters, self._device = compute, parameters, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._shapes: list[tuple[torch.Size, torch.dtype]] = []
        self._count = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch = ()
        self._figures = torch.empty(0)
        self._gradients: list[torch.Tensor | None] = []
        self.possible = True

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The figures, until the next call; the gradients are in the parameters. Raises what `compute` raises."""
        shapes = [(one.shape, one.dtype) for one in batch]
        self._shapes = self._shapes or shapes
        if not self.possible or shapes != self._shapes:
            return self._compute(batch)
        self._count += 1
        if self._count <= _BEFORE:
            return self._beside(batch)
        if self._graph is None and not self._record(batch):
            return self._compute(batch)
        for mine, new in zip(self._batch, batch, strict=True):
            mine.copy_(new)
        assert self._graph is not None
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._figures

    def forget(self) -> None:
        """Let go of the recording and its memory: batches are smaller from now on."""
        self._graph, self._batch, self._gradients = None, (), []
        self._shapes, self._count = [], 0

    def _beside(self, batch: Batch) -> torch.Tensor:
        """As it is, on the stream on which it will be recorded, so that what it keeps for a stream is there."""
        ours = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(ours)
        with torch.cuda.stream(self._stream):
            figures = self._compute(batch)
        ours.wait_stream(self._stream)
        for tensor in (*batch, figures, *(one.grad for one in self._parameters if one.grad is not None)):
            tensor.record_stream(ours)
            tensor.record_stream(self._stream)
        return figures

    def _record(self, batch: Batch) -> bool:
        """Whether it could be recorded. Nothing is computed by that."""
        self._batch = tuple(one.clone() for one in batch)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._figures = self._compute(self._batch)
        except RuntimeError as error:
            self.forget()
            for parameter in self._parameters:
                parameter.grad = None
            if is_out_of_memory(error):
                raise
            self.possible = False
            return False
        self._gradients = [parameter.grad for parameter in self._parameters]
        self._graph = graph
        return True
