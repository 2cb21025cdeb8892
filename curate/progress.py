"""How long work tells that it moves, without knowing who watches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """`with progress("Reading pictures", total) as advance: advance(n)`."""

    def __call__(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open one bar for `total` units of work; the value entered takes the number of units done."""


@contextmanager
def silent(description: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG001
    """Watch nothing: the default of every function that takes a `Progress`."""
    yield lambda _done: None
