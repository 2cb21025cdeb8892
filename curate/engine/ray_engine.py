"""The engine Ray: pictures are read on all machines of a cluster, each by this program's own functions."""

from __future__ import annotations

import logging
import os
import pickle
import platform
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from curate.engine.connecting import connected
from curate.errors import UserError
from curate.forked import map_guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from curate.cleaning.choosing import CopyEngine
    from curate.defaults import EngineName

T = TypeVar("T")
R = TypeVar("R")

_BLOCKS_EACH: Final = 64  # for each processor: the last ones are done together, and Ray has few to keep in mind
_DEATHS: Final = 20  # of machines and processes that one block may outlive


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
        """As `Engine.results_of`, by Ray Data's `map_batches` over the items, which are paths and not pictures.

        What decodes is a process that Ray's worker forks for each block, so a picture that kills it kills no worker:
        Ray would begin the whole block again, and again. A block whose machine has died Ray does begin again; its
        results are what they were, and none has been given.
        """
        if not items:
            yield iter(())
            return
        ray = self.ray()
        import ray.data as ray_data

        with _quiet(ray_data), ray_in_words(ray):
            blocks = min(len(items), _BLOCKS_EACH * max(self.count("CPU"), 1))
            rows = [{"item": pickle.dumps(item)} for item in items]
            answers = ray_data.from_items(rows, override_num_blocks=blocks).map_batches(
                BlockWork(function, lost, folders, Path.cwd()), batch_size=None, batch_format="numpy", num_cpus=1,
                max_retries=_DEATHS,
            )  # fmt: skip
            yield _given(answers.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1))


@dataclass(frozen=True)
class BlockWork:
    """What one of Ray's workers does for a block of items.

    `function`, `lost` and `folders` are as in `Engine.results_of`; `here` is the working folder of whoever asks.
    """

    function: Callable[[Any], Any]
    lost: Callable[[Any, int], Any]
    folders: Sequence[Path]
    here: Path

    def __call__(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """Column "item" of pickled items → column "answer" of pickled (whether it is a result, result or error)."""
        import numpy as np

        answers = self._answers([pickle.loads(item) for item in block["item"]])  # noqa: S301  we have packed them
        column = np.empty(len(answers), dtype=object)
        column[:] = [pickle.dumps(answer) for answer in answers]
        return {"answer": column}

    def _answers(self, items: list[Any]) -> list[tuple[bool, Any]]:
        try:
            enter(self.here, *self.folders)
            return map_guarded(self._answer, items, lambda item, code: (True, self.lost(item, code)))
        except Exception as error:
            return [(False, error)]

    def _answer(self, item: Any) -> tuple[bool, Any]:
        return True, self.function(item)


def enter(here: Path, *folders: Path) -> None:
    """Make `here` this worker's working folder; raises `UserError` where that or another is not on its machine."""
    try:
        os.chdir(here)
        for folder in folders:
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
    """What Ray itself raises within the block is a `UserError`."""
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


def _given(blocks: Iterator[Mapping[str, Any]]) -> Iterator[Any]:
    """The results of blocks as they come; what a function raised is raised here."""
    for block in blocks:
        for packed in block["answer"]:
            is_result, answer = pickle.loads(packed)  # noqa: S301  our own worker has packed it
            if not is_result:
                raise answer
            yield answer


@contextmanager
def _quiet(ray_data: Any) -> Iterator[None]:
    """Ray Data shows no bars and tells nothing of its progress within the block: the commands show their own."""
    logger, context = logging.getLogger("ray.data"), ray_data.DataContext.get_current()
    before = logger.level, context.enable_progress_bars
    logger.setLevel(logging.ERROR)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        context.enable_progress_bars = before[1]
