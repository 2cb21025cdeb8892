"""Matrix products by one thread, where each processor has work of its own already.

numpy's and scipy's BLAS begin a thread for each processor, in each process. Where there are as many processes, these
threads wait for each other: a search takes four times as long.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock


class _OneThread:
    """The limit that all blocks share: the first that is entered sets it, the last that is left takes it back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._limit: AbstractContextManager[object] | None = None

    @contextmanager
    def within(self) -> Iterator[None]:
        with self._lock:
            if not self._blocks:
                self._limit = _limit()
                self._limit.__enter__()
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks and self._limit is not None:
                    self._limit.__exit__(None, None, None)
                    self._limit = None


def _limit() -> AbstractContextManager[object]:
    from threadpoolctl import ThreadpoolController  # looks through the libraries that are loaded by now

    limit: AbstractContextManager[object] = ThreadpoolController().limit(limits=1, user_api="blas")
    return limit


_one_thread = _OneThread()


def blas_by_one_thread() -> AbstractContextManager[None]:
    """Have BLAS compute by the thread that asks, within a `with` and in the processes that are forked in it.

    Blocks may overlap, in several threads too: the number of before comes back at the end of the last.
    """
    return _one_thread.within()
