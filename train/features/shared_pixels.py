"""Memory for pixels that several processes share: what one writes, another reads without a copy."""

import math

import numpy as np
from numpy.typing import NDArray

from curate.shared_memory import SharedMemory
from train.device import require_memory


class SharedPixels:
    """Places for the views of some pictures, taken in turn.

    Where picture n + `ahead` is begun when all up to n are done, a place may be written anew while its picture waits
    for its turn behind as many: among twice `ahead` places it has had it.
    """

    def __init__(self, places: int, views: int, crop: int) -> None:
        """Raises UserError where memory has no room for them."""
        shape: tuple[int, ...] = max(places, 1), views, crop, crop, 3
        size = math.prod(shape)
        require_memory(size, "The pictures that are decoded ahead", "give fewer --views, or a smaller crop")
        self._shape, self._memory = shape, SharedMemory(size)
        self._pixels: NDArray[np.uint8] = np.frombuffer(self._memory.bytes, np.uint8).reshape(shape)

    def __getstate__(self) -> tuple[tuple[int, ...], SharedMemory]:
        return self._shape, self._memory

    def __setstate__(self, state: tuple[tuple[int, ...], SharedMemory]) -> None:
        self._shape, self._memory = state
        self._pixels = np.frombuffer(self._memory.bytes, np.uint8).reshape(self._shape)

    def at(self, number: int, count: int, crop: int = 0) -> NDArray[np.uint8]:
        """Room for the first `count` views of picture `number`: (count, crop, crop, 3), of a smaller `crop` too."""
        place: NDArray[np.uint8] = self._pixels[number % len(self._pixels)]
        if not crop:
            crop = place.shape[1]
        found: NDArray[np.uint8] = place.reshape(-1)[: count * crop * crop * 3].reshape(count, crop, crop, 3)
        return found
