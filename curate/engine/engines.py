"""Which engine works: the processes of this machine, unless a block says another."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeVar

from curate.defaults import DEFAULT_ENGINE, parse_engine
from curate.forked import results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from curate.cleaning.choosing import CopyEngine
    from curate.defaults import EngineName

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Where work runs. What it gives depends on the functions and their items alone, and not on the engine."""

    @property
    def name(self) -> EngineName:
        """What `--engine` calls it."""
        ...

    def results_of(
        self, function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R], *, folders: Sequence[Path]
    ) -> AbstractContextManager[Iterator[R]]:
        """As `curate.forked.results_of`; `function` reads files in `folders` alone.

        On several machines `lost` may be called on any of them.
        """
        ...

    def copies(self) -> CopyEngine:
        """What searches for copies, and chooses among them."""
        ...


class LocalEngine:
    """Processes of this machine, forked from this one."""

    name: EngineName = "local"

    def results_of(
        self, function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R], *, folders: Sequence[Path]
    ) -> AbstractContextManager[Iterator[R]]:
        """As `Engine.results_of`."""
        del folders  # they are here
        return results_of(function, items, lost)

    def copies(self) -> CopyEngine:
        """As `Engine.copies`."""
        from curate.cleaning.choosing import LocalCopies  # imports us, by what it searches with

        return LocalCopies()


_current: ContextVar[Engine] = ContextVar("_current", default=LocalEngine())  # noqa: B039  it holds nothing


def current_engine() -> Engine:
    """The engine of the innermost `on_engine` block; in a thread of its own, the local one."""
    return _current.get()


@contextmanager
def on_engine(text: str = DEFAULT_ENGINE) -> Iterator[None]:
    """Have work done by the engine that `text` names, as `parse_engine` reads it, within the block.

    Ray is connected to when it is first asked for something, and left at the block's end; a block in which nothing is
    to be done does without it. Raises `UserError` for a text that names no engine, and within the block as
    `curate.engine.connecting.connected` does.
    """
    name, address = parse_engine(text)
    if name == "local":
        yield
        return
    from curate.engine.ray_engine import RayEngine

    with RayEngine(address) as engine:
        before = _current.set(engine)
        try:
            yield
        finally:
            _current.reset(before)
