"""Matrix products by one thread, where each processor has work of its own already.

numpy's and scipy's BLAS begin a thread for each processor, in each process. Where there are as many processes, these
threads wait for each other: a search takes four times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blas_by_one_thread() -> Iterator[None]:
    """Have BLAS compute by the thread that asks, within a `with` or a function, and in processes that are forked there.

    The number of before comes back at its end. Of blocks that overlap in two threads the first one's counts.
    """
    from threadpoolctl import threadpool_limits  # looks through the libraries that are loaded by now

    with threadpool_limits(1, "blas"):
        yield
