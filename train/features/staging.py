"""Batches of pixels on their way to a device: gathered here while it computes the batches before."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

# One is gathered, one travels, and one waits behind a network that is late
_BUFFERS: Final = 3


class PixelStaging:
    """Room for one batch of 8-bit pixels after another, and its way to `device`.

    A GPU reads pinned memory by itself while this process goes on; from any other memory the call would wait for all
    that the GPU still has to do. A buffer is given again only when the GPU has read it.
    """

    def __init__(self, device: torch.device, most: int, crop: int) -> None:
        """For batches of up to `most` pictures of `crop` × `crop` pixels."""
        self.device = device
        self._shape = most, crop, crop, 3
        self._buffers: list[torch.Tensor] = []
        self._read: list[Any] = []  # the event of each buffer: the device has read it
        self._turn = -1

    def room(self) -> NDArray[np.uint8]:
        """A buffer to be filled, uint8 (most, crop, crop, 3). On another device than CUDA it is new."""
        if self.device.type != "cuda":
            self._buffers = [torch.empty(self._shape, dtype=torch.uint8)]
            self._turn = 0
        else:
            self._turn = (self._turn + 1) % _BUFFERS
            if self._turn == len(self._buffers):
                self._buffers.append(torch.empty(self._shape, dtype=torch.uint8, pin_memory=True))
                self._read.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            else:
                self._read[self._turn].synchronize()
        pixels: NDArray[np.uint8] = self._buffers[self._turn].numpy()
        return pixels

    def send(self, count: int) -> torch.Tensor:
        """The first `count` pictures of the buffer that was filled last, on the device: uint8 (count, crop, crop, 3).

        On CUDA they are there for whatever is queued after this.
        """
        filled = self._buffers[self._turn][:count]
        if self.device.type != "cuda":
            return filled.to(self.device)
        sent = filled.to(self.device, non_blocking=True)
        self._read[self._turn].record(torch.cuda.current_stream(self.device))
        return sent
