"""Ray tasks and what they answer: begun a few at once, so that no more waits for us than memory holds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from curate.errors import UserError

TRIES: Final = 16
"""How often a task begins anew that was killed with its process or machine; one that raises does not."""

_AHEAD: Final = 4  # tasks begun for each processor, whose results were not asked for yet

T = TypeVar("T")
R = TypeVar("R")


def processors_of_cluster() -> int:
    """The processors that Ray's tasks have."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def results_in_any_order(tasks: Iterable[Any]) -> Iterator[Any]:
    """Give what streaming tasks yield, as it comes. The next is begun when one has ended.

    Raises what a task raises, and `UserError` where one was killed too often.
    """
    import ray

    remaining = iter(tasks)
    with _lapses_in_words():
        running = list(islice(remaining, _AHEAD * processors_of_cluster()))
        while running:
            (ready, *_), _ = ray.wait(running, num_returns=1)
            try:
                result = ray.get(next(ready))
            except StopIteration:
                running = [task for task in running if task is not ready]
                running.extend(islice(remaining, 1))
                continue
            yield result


def map_on_ray(function: Callable[[T], R], items: Iterable[T], *, processors: float = 1) -> Iterator[R]:
    """`map(function, items)` in tasks of so many processors each; results in order, a few of them in memory.

    Raises as `results_in_any_order` does.
    """
    import ray

    task = ray.remote(num_cpus=processors, max_retries=TRIES)(function)
    remaining = iter(items)
    with _lapses_in_words():
        running = deque(task.remote(item) for item in islice(remaining, _AHEAD * processors_of_cluster()))
        while running:
            yield ray.get(running.popleft())
            running.extend(task.remote(item) for item in islice(remaining, 1))


@contextmanager
def _lapses_in_words() -> Iterator[None]:
    """Say what became of a task that Ray gave up; what a task raised itself is raised as it is."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        what = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise UserError(
            f"Ray gave up a task after {TRIES} tries ({what}): see whether the machines of the cluster have memory "
            f"left, and give the same command again."
        ) from error
