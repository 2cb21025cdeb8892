"""The engine Ray: pictures are read on all machines of a cluster, each by this program's own functions."""

from __future__ import annotations

import os
import pickle
import platform
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from curate.engine.connecting import connected
from curate.errors import UserError
from curate.files.addresses import is_remote
from curate.forked import map_guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from curate.cleaning.choosing import CopyEngine
    from curate.defaults import EngineName

T = TypeVar("T")
R = TypeVar("R")

_IN_HAND: Final = 3  # tasks for each processor, so that none need wait for us
_PART_OF_WAITING: Final = 32  # to ask Ray about thousands of tasks takes longer than one of them
_WAIT_SECONDS: Final = 0.1
DEATHS: Final = 20  # of machines and workers that an item may outlive


class RayEngine:
    """A cluster, connected to when it is first needed, and left at the end of a `with`."""

    name: EngineName = "ray"

    def __init__(self, address: str | None) -> None:
        """`address` is as `connected` takes it."""
        self._address = address
        self._open = ExitStack()
        self._ray: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._ray = None
        self._open.close()

    def ray(self) -> Any:
        """The module `ray`, connected; raises as `connected` does."""
        if self._ray is None:
            self._open.enter_context(connected(self._address))
            import ray

            self._ray = ray
        return self._ray

    def count(self, resource: str) -> int:
        """How many there are in the cluster of a resource, "CPU" or "GPU"."""
        return int(self.ray().cluster_resources().get(resource, 0))

    def copies(self) -> CopyEngine:
        """As `Engine.copies`."""
        from curate.engine.ray_copies import RayCopies  # imports us

        return RayCopies(self)

    @contextmanager
    def results_of(
        self, function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R], *, folders: Sequence[Path]
    ) -> Iterator[Iterator[R]]:
        """As `Engine.results_of`, by a task of Ray's for each item, which is some paths and no picture.

        Ray Data's `map_batches` gives the same, and cannot promise what is asked here: a block at which its worker dies
        it begins again as a whole, as often as it may, and then ends the job or drops the block; which picture it was
        nobody learns. It also starts three actors and a thread of its own, to plan what needs no plan.
        """
        ray = self.ray() if items else None
        with ray_in_words(ray), closing(self._results(ItemWork(function, lost, folders, Path.cwd()), items)) as results:
            yield results

    def _results(self, work: ItemWork, items: Sequence[Any]) -> Generator[Any, None, None]:
        """The results, as they come.

        A task is not begun again by Ray. What was lost, with its worker, its machine or the memory that held its
        answer, is asked for apart: in a process that may die without its worker, so that it is known of what.
        """
        if not items:
            return
        ray, most = self.ray(), _IN_HAND * max(self.count("CPU"), 1)
        kept = ray.put(work)
        once = ray.remote(_answer).options(num_cpus=1, max_retries=0)
        apart = ray.remote(_answer_apart).options(num_cpus=1, max_retries=DEATHS)
        left, running = iter(items), dict[Any, bytes | None]()  # None: it is asked for apart
        while True:
            for item in islice(left, most - len(running)):
                packed = pickle.dumps(item)
                running[once.remote(kept, packed)] = packed
            if not running:
                return
            at_once = max(1, len(running) // _PART_OF_WAITING)
            done, _ = ray.wait(list(running), num_returns=at_once, timeout=None if at_once == 1 else _WAIT_SECONDS)
            for reference in done:
                asked = running.pop(reference)
                try:
                    is_result, answer = pickle.loads(ray.get(reference))  # noqa: S301  our own worker has packed it
                except (
                    ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError,
                    ray.exceptions.NodeDiedError,
                ):  # fmt: skip
                    if asked is None:
                        raise
                    running[apart.remote(kept, asked)] = None
                    continue
                if not is_result:
                    raise answer
                yield answer


@dataclass(frozen=True)
class ItemWork:
    """What Ray's workers do for each item: `function`, `lost` and `folders` are as in `Engine.results_of`; `here` is
    the working folder of whoever asks.
    """

    function: Callable[[Any], Any]
    lost: Callable[[Any, int], Any]
    folders: Sequence[Path]
    here: Path


def _answer(work: ItemWork, packed: bytes) -> bytes:
    """Pickled: (whether it is a result, the result or what was raised)."""
    try:
        enter(work.here, *work.folders)
        return pickle.dumps((True, work.function(pickle.loads(packed))))  # noqa: S301  we have packed it
    except Exception as error:
        return pickle.dumps((False, error))


def _answer_apart(work: ItemWork, packed: bytes) -> bytes:
    """The same after something has died of it, or with it."""
    try:
        enter(work.here, *work.folders)
        (found,) = map_guarded(work.function, [pickle.loads(packed)], work.lost)  # noqa: S301  as above
        return pickle.dumps((True, found))
    except Exception as error:
        return pickle.dumps((False, error))


def enter(here: Path, *folders: Path) -> None:
    """Make `here` this worker's working folder; raises `UserError` where that or another is not on its machine."""
    try:
        os.chdir(here)
        for folder in folders:
            if not is_remote(folder):  # an address is the same everywhere
                folder.stat()
    except OSError as error:
        raise UserError(
            f"The machine {platform.node()} of the Ray cluster does not see the folder {error.filename}: put the "
            f"pictures where all its machines see them, under one path."
        ) from error


def require_seen(path: Path, reason: str) -> None:
    """Raise `UserError` where another machine could not read `path`, for this `reason`, and this one can."""
    if reason.startswith("cannot be read") and os.access(path, os.R_OK):
        raise UserError(
            f"A machine of the Ray cluster does not see {path}, which this one does: put the pictures where all its "
            f"machines see them, under one path."
        )


@contextmanager
def ray_in_words(ray: Any) -> Iterator[None]:
    """What Ray itself raises within the block is a `UserError`; `ray` is None where it is not asked for anything."""
    if ray is None:
        yield
        return
    try:
        yield
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        if "No module named" in reason:
            raise UserError(
                f"A machine of the Ray cluster lacks something ({reason}): install this program, in this version, on "
                f"all of its machines."
            ) from error
        raise UserError(f"Ray has given up: {reason}. The same command goes on from there.") from error
