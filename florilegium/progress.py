"""Who watches long work: a bar in a terminal, a bar in a notebook's cell, or nobody."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from uuid import uuid4

from curate.printable import printable
from curate.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curate.progress import Progress

Watch: TypeAlias = "Progress | Literal['auto'] | None"
"""What the API's functions take: "auto", None for silence, or a function `(description, total)` of one's own, which
returns a context manager whose value takes the number of units done.
"""

AUTO: Final = "auto"

_REFRESH = 0.2  # seconds


def chosen(watch: Watch) -> Progress:
    """The progress that `watch` asks for; "auto" is a widget in a notebook, rich in a terminal, silence elsewhere."""
    if watch is None:
        return silent
    if watch != AUTO:
        return watch
    if notebook_shell() is not None:
        return notebook_bars
    if sys.stderr is not None and sys.stderr.isatty():
        from commands.console import bars

        return bars
    return silent


def notebook_shell() -> Any:
    """IPython's shell where this process is a notebook's kernel, or else None. Imports nothing for it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell if hasattr(shell, "kernel") else None


@contextmanager
def notebook_bars(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """One bar in the cell's output, which needs no other package than the notebook's own."""
    if total == 0:
        yield lambda _done: None
        return
    bar = _Bar(description, total)
    try:
        yield bar.advance
    finally:
        bar.draw()


class _Bar:
    """A bar that replaces itself in the cell's output, a few times a second."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = printable(description), total, 0
        self._publisher = notebook_shell().display_pub
        self._place = {"display_id": uuid4().hex}
        self._started = time.monotonic()
        self.draw(update=False)

    def advance(self, done: int) -> None:
        self.done += done
        if time.monotonic() - self._drawn >= _REFRESH:
            self.draw()

    def draw(self, *, update: bool = True) -> None:
        self._drawn = time.monotonic()
        data = {"text/plain": repr(self), "text/html": self._repr_html_()}
        self._publisher.publish(data, {}, transient=self._place, update=update)

    def __repr__(self) -> str:
        seconds = time.monotonic() - self._started
        return f"{self.description}: {self.done:,} of {self.total:,} ({seconds:.1f} s)"

    def _repr_html_(self) -> str:
        return f'<progress max="{self.total}" value="{min(self.done, self.total)}"></progress> {escape(repr(self))}'
