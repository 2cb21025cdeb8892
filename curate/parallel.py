"""Work spread over threads, its results in order, with a bounded number of them in flight.

Threads, not processes: Pillow, hashlib and numpy let go of the interpreter lock while they work, and a pool of
threads starts at once, whatever else runs. Where many small steps fight for the lock, there is `curate.forked`.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def processors() -> int:
    """The number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, workers: int | None = None, ahead: int | None = None
) -> Generator[R, None, None]:
    """`map(function, items)` in threads; results in order, `ahead` of them (or a few a worker) in memory.

    An exception in `function` is raised where its result would have come; work not yet begun is dropped.
    """
    workers = workers or processors()
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="curate") as pool:
        running: deque[Future[R]] = deque(
            pool.submit(function, item) for item in islice(remaining, max(workers, ahead or 4 * workers))
        )
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
