"""Work spread over forked processes, which no interpreter lock holds up, and whose crash is not ours.

Threads take turns at the interpreter: two of them decode 1.6 times as many pictures as one, and more of them hardly any
more than that. Processes do not. But they can be forked only on Linux, and only while no other thread runs: a lock that
it holds would never be released in the child. Where they cannot, the work is done in threads.
"""

import ctypes
import os
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from multiprocessing import get_context
from multiprocessing.connection import Connection
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Protocol, Self, TypeVar

from curate.fork_server import ForkServer
from curate.memory import keep_freed_memory
from curate.parallel import ordered_map, processors

T = TypeVar("T")
R = TypeVar("R")

_WORTH_FORKING = 8  # items, of some milliseconds each: to fork takes about as long as one of them
_WORTH_SERVING = 4000  # likewise, where a server has to be started first: it imports what we have imported
_IN_HAND = 2  # items that a process holds, so that it need not wait for us
_MOST_IN_HAND = 64  # likewise, where we may be away for long: a pipe takes four times as many before it makes us wait
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
    if workers > 1 and len(items) >= _WORTH_FORKING and _may_fork():
        with _Crew(function, items, workers, ahead=ahead) as crew:
            yield _in_order(crew.results(lost))
    elif (served := _served(function, len(items), workers)) is not None:
        with served as crew:
            yield crew.ordered(items, lost, ahead=ahead)
    else:
        with closing(ordered_map(function, items, workers=max(workers, 1), ahead=ahead)) as results:
            yield results


class Standing(Protocol):
    """Who answers one list of items after another."""

    def ordered(
        self, items: Sequence[Any], lost: Callable[[Any, int], Any], *, ahead: int, eager: bool = False
    ) -> Iterator[Any]:
        """The results of `items`, in order, as `ordered_results_of` gives them; `lost` has to raise.

        What is begun is begun when a result is asked for, two items a process. Where whoever asks waits long for
        something else in between, `eager` gives each its whole share of what may be `ahead`.
        """
        ...


@contextmanager
def standing_crew(function: Callable[[Any], Any], expected: int, *, workers: int | None = None) -> Iterator[Standing]:
    """Processes that answer `function` of one list of items after another, inside a `with`; `expected` are all of them.

    They are forked on entering, and see everything as it is then; the items are sent to them. So threads that are begun
    later, such as a progress bar's, do not keep them from working.
    """
    workers = workers or processors()
    if workers > 1 and expected >= _WORTH_FORKING and _may_fork():
        with _StandingCrew(function, [], workers) as crew:
            yield crew
    elif (served := _served(function, expected, workers)) is not None:
        with served as crew:
            yield crew
    else:
        yield _Threads(function, max(workers, 1))


def map_isolated(function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R]) -> list[R]:
    """`function` of each item, in order, from a process that may crash; `lost` is as in `results_of`.

    For what has crashed one already: it forks whatever else runs here.
    """
    with _Crew(function, items, 1, in_hand=1) as crew:
        return [result for _, result in crew.results(lost)]


def map_guarded(function: Callable[[T], R], items: Sequence[T], lost: Callable[[T, int], R]) -> list[R]:
    """`map_isolated` on Linux; elsewhere, where a fork beside other threads is not safe, in this process."""
    return map_isolated(function, items, lost) if sys.platform == "linux" else list(map(function, items))


def done_apart(function: Callable[[T], R], item: T) -> R:
    """`function` of one item, from a process of its own where one can be forked: threads it begins are none of ours.

    Beside those of a library nothing could be forked any more. Raises what `function` raises.
    """

    def lost(_: T, exit_code: int) -> R:
        raise OSError(f"the process that was to do it ended with exit code {exit_code}")

    return map_isolated(function, [item], lost)[0] if _may_fork() else function(item)


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


def _served(function: Callable[[Any], Any], expected: int, workers: int) -> "_ServedCrew | None":
    """A crew that a server forks; None where that does not pay, or can't be."""
    worth = _WORTH_FORKING if ForkServer.is_running() else _WORTH_SERVING
    if workers < 2 or expected < worth or sys.platform != "linux" or not sys.executable or hasattr(sys, "frozen"):
        return None
    try:
        return _ServedCrew(function, workers, ForkServer.running())
    except (pickle.PicklingError, AttributeError, TypeError, OSError):  # what sees this process's memory can't be sent
        return None


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, even by SIGKILL in the middle of a long picture."""
    with suppress(OSError, AttributeError):  # musl has the call too; nothing else than Linux forks here
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before the kernel was asked
        os._exit(0)


class _Child(Protocol):
    """A process of somebody's."""

    @property
    def exitcode(self) -> int | None: ...

    def kill(self) -> None: ...

    def join(self) -> None: ...


@dataclass(eq=False)
class _Worker:
    process: _Child
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
        self._exit_code = 0  # of the one that died last
        self._answering = DefaultSelector()  # kept from answer to answer: to ask anew of each takes longer than a read

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
        self._answering.close()

    def results(self, lost: Callable[[Any, int], Any]) -> Iterator[tuple[int, Any]]:
        """Every place and its result, as they come."""
        self._hand_out()
        while any(worker.in_hand for worker in self._workers.values()):
            for key, _ in self._answering.select():
                worker: _Worker = key.data
                if not worker.in_hand:
                    self._mourn(worker)
                    continue
                try:
                    intact, result = worker.ours.recv()
                except (EOFError, ConnectionError):
                    place = self._replace(worker)
                    self._note(place)
                    yield place, lost(self._items[place], self._exit_code)
                    continue
                place = worker.in_hand.popleft()
                self._note(place)
                if not intact:
                    raise result
                yield place, result
        while self._left:  # all who could answer have died
            place = heappop(self._left)
            yield place, lost(self._items[place], self._exit_code)

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
        while there and self._left and self._left[0] < self._open + self._ahead:
            worker = min(there, key=lambda one: len(one.in_hand))
            if len(worker.in_hand) >= self._in_hand:
                break
            worker.in_hand.append(heappop(self._left))
            with suppress(ConnectionError):  # it has died, which shows when its answer is read
                worker.ours.send(self._message(worker.in_hand[-1]))
        for worker in there:
            if not self._left and not worker.in_hand:
                self._let_go(worker)

    def _message(self, place: int) -> Any:
        """What a worker is sent of an item: it has them all."""
        return place

    def _let_go(self, worker: _Worker) -> None:
        """Nothing is left for it: it ends."""
        self._answering.unregister(worker.ours)
        worker.ours.close()

    def _mourn(self, worker: _Worker) -> None:
        """One has died of nothing that it was asked: another takes its place, if there is something left for it."""
        if not worker.ours.closed:
            self._dismiss(worker)
            if self._left:
                self._hire()
                self._hand_out()

    def _dismiss(self, worker: _Worker) -> None:
        """Forget one that has died."""
        self._answering.unregister(worker.ours)
        del self._workers[worker.ours]
        worker.ours.close()
        worker.process.join()
        self._exit_code = worker.process.exitcode or 0

    def _replace(self, worker: _Worker) -> int:
        """Hire another in the place of one that has died; the place of the item that it died of."""
        died_of = worker.in_hand.popleft()
        for place in worker.in_hand:
            heappush(self._left, place)
        self._dismiss(worker)
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
        self._add(process, ours)

    def _add(self, process: _Child, ours: Connection) -> None:
        self._workers[ours] = worker = _Worker(process, ours)
        self._answering.register(ours, EVENT_READ, worker)

    def _work(self, theirs: Connection, ours: Connection, parent: int) -> None:
        """What a process does: answer until nobody asks any more."""
        _end_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of us; the one who asks decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Our copies of the ends that are not ours: held open, they would hide from the others that we are gone.
        self._answering.close()
        for inherited in (ours, *self._workers):
            inherited.close()
        _answer_all(self._of_item, theirs)

    def _of_item(self, message: Any) -> Any:
        return self._function(self._items[message])


class _StandingCrew(_Crew):
    """A crew that is sent its items, list after list, and lives until the end of the `with`."""

    def ordered(
        self, items: Sequence[Any], lost: Callable[[Any, int], Any], *, ahead: int, eager: bool = False
    ) -> Iterator[Any]:
        """As `Standing.ordered`."""
        self._drop_what_is_in_hand()
        self._items, self._ahead = items, ahead
        share = ceil(ahead / max(1, len(self._workers)))
        self._in_hand = max(_IN_HAND, min(_MOST_IN_HAND, share)) if eager else _IN_HAND
        self._left, self._open, self._done = list(range(len(items))), 0, set()
        return _in_order(self.results(lost))

    def _drop_what_is_in_hand(self) -> None:
        """Read the answers that an earlier list was left with, when nobody wanted the rest of it."""
        for worker in list(self._workers.values()):
            try:
                while worker.in_hand:
                    worker.ours.recv()
                    worker.in_hand.popleft()
            except (EOFError, ConnectionError):
                self._dismiss(worker)

    def _message(self, place: int) -> Any:
        return self._items[place]

    def _of_item(self, message: Any) -> Any:
        return self._function(message)

    def _let_go(self, worker: _Worker) -> None:
        """It waits for the next list."""

    def _replace(self, worker: _Worker) -> int:
        """No other can be forked beside the threads that there may be by now, so whoever asks has to give up."""
        died_of = worker.in_hand.popleft()
        self._dismiss(worker)
        return died_of

    def _mourn(self, worker: _Worker) -> None:
        self._dismiss(worker)


class _ServedCrew(_StandingCrew):
    """A standing crew that a server forks, whatever runs here; so another can take the place of one that has died."""

    def __init__(self, function: Callable[[Any], Any], size: int, server: ForkServer) -> None:
        """Raises what pickle does for a function that can't be sent, and OSError where the server is gone."""
        super().__init__(function, [], size)
        self._server = server
        self._job = server.job(function, _serve)

    def __exit__(self, *stopped: object) -> None:
        super().__exit__(*stopped)
        self._server.drop(self._job)

    def _hire(self) -> None:
        ours, theirs = get_context("fork").Pipe()
        with theirs, suppress(ConnectionError):  # a server that is gone leaves us without anybody, which is seen to
            self._add(_Served(self._server, self._server.hire(self._job, theirs)), ours)

    def _replace(self, worker: _Worker) -> int:
        return _Crew._replace(self, worker)

    def _mourn(self, worker: _Worker) -> None:
        _Crew._mourn(self, worker)


@dataclass(eq=False)
class _Served:
    """A child of the server's."""

    server: ForkServer
    number: int
    exitcode: int | None = None

    def kill(self) -> None:
        """End it."""
        self.server.kill(self.number)

    def join(self) -> None:
        """Wait for its end."""
        if self.exitcode is None:
            self.exitcode = self.server.exit_code(self.number)


def _serve(function: Callable[[Any], Any], theirs: Connection) -> None:
    """What a child of the server's does."""
    _end_with(os.getppid())
    _answer_all(function, theirs)


def _answer_all(function: Callable[[Any], Any], theirs: Connection) -> None:
    """Answer until nobody asks any more."""
    keep_freed_memory(_KEPT)
    with suppress(EOFError, ConnectionError):
        while True:
            theirs.send(_answer(function, theirs.recv()))
    os._exit(0)  # what the parent has opened is the parent's to close


def _answer(function: Callable[[Any], Any], message: Any) -> tuple[bool, Any]:
    try:
        return True, function(message)
    except Exception as error:
        return False, error


class _Threads:
    """The same in threads, begun for each list anew."""

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        self._function, self._workers = function, workers

    def ordered(
        self, items: Sequence[Any], _lost: Callable[[Any, int], Any], *, ahead: int, eager: bool = True
    ) -> Iterator[Any]:
        """As `Standing.ordered`; threads go on in any case."""
        del eager
        return ordered_map(self._function, items, workers=self._workers, ahead=ahead)
