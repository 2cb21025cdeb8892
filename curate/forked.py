"""Work spread over forked processes, which no interpreter lock holds up, and whose crash is not ours.

Threads take turns at the interpreter: two of them decode 1.6 times as many pictures as one, and more of them hardly any
more than that. Processes do not. But they can be forked only on Linux, and only while no other thread runs: a lock that
it holds would never be released in the child. Where they cannot, the work is done in threads.
"""

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Self, TypeVar

from curate.memory import keep_freed_memory
from curate.parallel import ordered_map, processors

T = TypeVar("T")
R = TypeVar("R")

_WORTH_FORKING = 8  # items, of some milliseconds each: to fork takes about as long as one of them
_IN_HAND = 2  # items that a process holds, so that it need not wait for us
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_KEPT = 4 << 20  # bytes; a larger block goes back to the system as soon as it is free


@contextmanager
def results_of(
    function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R], *, workers: int | None = None
) -> Iterator[Iterator[R]]:
    """Give `function` of each item as it is done, in no certain order, inside a `with`.

    The processes see everything as it is on entering, so that nothing but results is copied, and end with us, however
    we end. `lost(item, exit_code)`, called in this process, stands in for the result of an item at which its process
    ended (by a signal, where the code is negative); another takes its place. What `function` raises is raised here.
    """
    workers = min(workers or processors(), len(items))
    if workers < 2 or len(items) < _WORTH_FORKING or not _may_fork():
        with closing(ordered_map(function, items, workers=max(workers, 1))) as results:
            yield results
        return
    with _Crew(function, items, workers) as crew:
        yield (result for _, result in crew.results(lost))


@contextmanager
def ordered_results_of(
    function: Callable[[T], R],
    items: Sequence[T],
    lost: Callable[[T, int], R],
    *,
    ahead: int,
    workers: int | None = None,
) -> Iterator[Iterator[R]]:
    """`results_of` in the order of the items.

    Item n + `ahead` is begun when all up to n are done; so never more than twice `ahead` are begun and not yet given.
    """
    workers = min(workers or processors(), len(items))
    if workers < 2 or len(items) < _WORTH_FORKING or not _may_fork():
        with closing(ordered_map(function, items, workers=max(workers, 1), ahead=ahead)) as results:
            yield results
        return
    with _Crew(function, items, workers, ahead=ahead) as crew:
        yield _in_order(crew.results(lost))


def map_isolated(function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R]) -> list[R]:
    """`function` of each item, in order, from a process that may crash; `lost` is as in `results_of`.

    For what has crashed one already: it forks whatever else runs here.
    """
    with _Crew(function, items, 1, in_hand=1) as crew:
        return [result for _, result in crew.results(lost)]


def is_crash(exit_code: int) -> bool:
    """Whether a process ended by a mistake of what ran in it, and was not killed from outside, as for its memory."""
    return -exit_code in {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}


def _in_order(results: Iterator[tuple[int, R]]) -> Iterator[R]:
    """Hold back what comes before its turn."""
    early: dict[int, R] = {}
    turn = 0
    for place, result in results:
        early[place] = result
        while turn in early:
            yield early.pop(turn)
            turn += 1


def _may_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, even by SIGKILL in the middle of a long picture."""
    with suppress(OSError, AttributeError):  # musl has the call too; nothing else than Linux forks here
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before the kernel was asked
        os._exit(0)


@dataclass(eq=False)
class _Worker:
    process: ForkProcess
    ours: Connection
    in_hand: deque[int] = field(default_factory=deque)  # places of the items it has not answered yet, in its order


class _Crew:
    """Processes that answer what they are handed, each in the order it got it."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        size: int,
        *,
        in_hand: int = _IN_HAND,
        ahead: int | None = None,
    ) -> None:
        self._function = function
        self._items = items
        self._size = size
        self._in_hand = in_hand
        self._ahead = len(items) if ahead is None else ahead
        self._left = list(range(len(items)))  # a heap, least first: what a dead worker held goes before the rest
        self._open = 0  # the first place that has no result yet
        self._done: set[int] = set()  # those after it that have one
        self._workers: dict[Connection, _Worker] = {}

    def __enter__(self) -> Self:
        for _ in range(self._size):
            self._hire()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.ours.close()
            worker.process.kill()  # it has nothing that it would have to put in order
        for worker in self._workers.values():
            worker.process.join()

    def results(self, lost: Callable[[Any, int], Any]) -> Iterator[tuple[int, Any]]:
        """Every place and its result, as they come."""
        self._hand_out()
        while busy := [worker.ours for worker in self._workers.values() if worker.in_hand]:
            for connection in wait(busy):
                worker = self._workers[connection]  # type: ignore[index]  # typeshed allows for other kinds too
                try:
                    intact, result = worker.ours.recv()
                except (EOFError, ConnectionError):
                    place = self._replace(worker)
                    self._note(place)
                    yield place, lost(self._items[place], worker.process.exitcode or 0)
                    continue
                place = worker.in_hand.popleft()
                self._note(place)
                if not intact:
                    raise result
                yield place, result

    def _note(self, place: int) -> None:
        """That place has its result, so that others may be begun."""
        self._done.add(place)
        while self._open in self._done:
            self._done.remove(self._open)
            self._open += 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give each worker that has space the next items, in turn; end a worker that has none when all are given."""
        there = [worker for worker in self._workers.values() if not worker.ours.closed]
        for room in range(1, self._in_hand + 1):
            for worker in there:
                if len(worker.in_hand) < room and self._left and self._left[0] < self._open + self._ahead:
                    worker.in_hand.append(heappop(self._left))
                    with suppress(ConnectionError):  # it has died, which shows when its answer is read
                        worker.ours.send(worker.in_hand[-1])
        for worker in there:
            if not self._left and not worker.in_hand:
                worker.ours.close()

    def _replace(self, worker: _Worker) -> int:
        """Hire another in the place of one that has died; the place of the item that it died of."""
        died_of = worker.in_hand.popleft()
        for place in worker.in_hand:
            heappush(self._left, place)
        del self._workers[worker.ours]
        worker.ours.close()
        worker.process.join()
        self._hire()
        return died_of

    def _hire(self) -> None:
        context = get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=self._work, args=(theirs, ours, os.getpid()), daemon=True)
        with warnings.catch_warnings():
            # Since 3.12 Python warns of any thread, BLAS's idle ones too, which start anew after a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self._workers[ours] = _Worker(process, ours)

    def _work(self, theirs: Connection, ours: Connection, parent: int) -> None:
        """What a process does: answer until nobody asks any more."""
        _end_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of us; the one who asks decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Our copies of the ends that are not ours: held open, they would hide from the others that we are gone.
        for inherited in (ours, *self._workers):
            inherited.close()
        keep_freed_memory(_KEPT)
        with suppress(EOFError, ConnectionError):
            while True:
                theirs.send(self._answer(theirs.recv()))
        os._exit(0)  # what the parent has opened is the parent's to close

    def _answer(self, place: int) -> tuple[bool, Any]:
        try:
            return True, self._function(self._items[place])
        except Exception as error:
            return False, error
