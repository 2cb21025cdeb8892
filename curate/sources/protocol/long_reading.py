"""Reading that takes minutes: in a thread of its own, with a bar, and ended at once where the run is stopped."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from curate.progress import Progress

T = TypeVar("T")
Watch = Callable[[int], None]
"""Told how many bytes were read since the last time; what it raises ends the reading."""

_MIB = 1 << 20


class ReadingStopped(Exception):
    """The run ends while something is being read."""


async def read_aside(description: str, size: int, progress: Progress, read: Callable[[Watch], T]) -> T:
    """What `read` returns, which is called in a thread. The bar counts the MiB of `size` bytes."""
    stop = threading.Event()
    total = 0
    with progress(f"{description}, MiB", -(-size // _MIB)) as advance:

        def watch(more: int) -> None:
            nonlocal total
            if stop.is_set():
                raise ReadingStopped
            if steps := (total + more) // _MIB - total // _MIB:
                advance(steps)
            total += more

        try:
            return await asyncio.to_thread(read, watch)
        finally:
            stop.set()
