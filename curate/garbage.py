"""How often Python looks for reference cycles among all objects that live."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_BETWEEN: Final = (
    50_000  # objects that a process has more than at the last look: Python's own 700 come in every transfer
)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles seldom, and not among what lives by now: for work that makes many objects and few cycles.

    It holds for the whole process, so where two of these overlap, the one that began last must end first.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_BETWEEN, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
