"""Tasks on Ray that give their results one after the other, of which a few at once are under way."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from curate.engine.ray_engine import DEATHS, ray_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from curate.engine.ray_engine import RayEngine


_AHEAD: Final = 4  # tasks begun for each processor, whose results were not asked for yet


def streaming(engine: RayEngine, function: Callable[..., Iterator[Any]]) -> Any:
    """`function` as what begins such a task: call its `remote`. It is to yield the same for the same arguments."""
    return engine.ray().remote(function).options(num_cpus=1, num_returns="streaming", max_retries=DEATHS)


def yielded(engine: RayEngine, tasks: Iterable[Any]) -> Iterator[Any]:
    """Give what streaming tasks yield, in no certain order. `tasks` begins each when it is asked for.

    A task whose process or machine dies is begun anew, and goes on where it was.
    """
    ray = engine.ray()
    left = iter(tasks)
    running = list(islice(left, _AHEAD * max(engine.count("CPU"), 1)))
    while running:
        with ray_in_words(ray):
            (ready, *_), _ = ray.wait(running, num_returns=1)
            reference = next(ready, None)
            result = None if reference is None else ray.get(reference)
        if reference is None:
            running = [task for task in running if task is not ready]
            running.extend(islice(left, 1))
        else:
            yield result
