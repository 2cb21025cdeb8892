"""Parts of a work as tasks on Ray: what they tell comes here in order, what they hold stays with Ray."""

from __future__ import annotations

from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate.engine.ray_engine import DEATHS, enter, ray_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from curate.engine.ray_engine import RayEngine

T = TypeVar("T")


def ordered_parts(
    engine: RayEngine, function: Callable[[T], tuple[Any, Any]], parts: Iterable[T], *, ahead: int
) -> Iterator[tuple[Any, Any]]:
    """(what `function` told of it, a reference to what it holds) for each part, in order.

    `function` gives (what is told, what is held). `ahead` parts are begun before they are asked for. A task whose
    process or machine dies is begun anew, up to `DEATHS` times, and so is one whose result was lost with its machine
    when somebody still asks for it. What `function` raises is raised here.
    """
    ray = engine.ray()
    task = ray.remote(_run).options(num_cpus=1, num_returns=2, max_retries=DEATHS)
    work, left = ray.put((function, Path.cwd())), iter(parts)
    running = deque(task.remote(work, part) for part in islice(left, ahead))
    while running:
        told, held = running.popleft()
        with ray_in_words(ray):
            is_result, found = ray.get(told)
        running.extend(task.remote(work, part) for part in islice(left, 1))
        if not is_result:
            raise found
        yield found, held


def _run(work: tuple[Callable[[Any], tuple[Any, Any]], Path], part: Any) -> tuple[tuple[bool, Any], Any]:
    function, here = work
    try:
        enter(here)
        told, held = function(part)
    except Exception as error:
        return (False, error), None
    return (True, told), held
