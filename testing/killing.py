"""Kills work at a chosen instant, by a real SIGKILL in a process of its own.

POSIX only. Processes come from a fork server that has imported the program already, so each costs milliseconds.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import FrameType

from curate import clean, split

_DEEDS = {"link", "unlink", "rename", "replace", "remove", "mkdir", "rmdir", "open", "execute", "executemany", "backup"}
"""Calls that change a disk or a catalog. A kill before and after each shows every state that the two can be left in."""

_RENAME = "rename_exclusively"

CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = (clean.__name__, split.__name__, __name__, "scipy.fftpack", "PIL.JpegImagePlugin")
# A child process imports what its parent's main module is: under pytest, pytest.
CONTEXT.set_forkserver_preload([*_PRELOADED, *({"pytest"} & sys.modules.keys())])


def list_deeds(work: Callable[[], object]) -> list[str]:
    """Let the work run undisturbed in a process of its own: the call at each instant that `kill_at_deed` may choose."""
    here, there = CONTEXT.Pipe()
    process = _start(work, None, there)
    there.close()
    try:
        deeds: list[str] = here.recv()
    except EOFError:
        deeds = []
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"the undisturbed work ended with exit code {process.exitcode}")
    return deeds


def count_deeds(work: Callable[[], object]) -> int:
    """The number of instants that `kill_at_deed` may choose."""
    return len(list_deeds(work))


def kill_at_deed(work: Callable[[], object], instant: int) -> bool:
    """Kill the work just before or after its deeds, counted from 0. False where it had fewer and came to its end."""
    process = _start(work, instant, None)
    process.join()
    return _was_killed(process)


def kill_after(work: Callable[[], object], seconds: float) -> bool:
    """Kill the work so many seconds after its process started. False where it was done by then."""
    process = _start(work, None, None)
    time.sleep(seconds)
    process.kill()
    process.join()
    return _was_killed(process)


def _was_killed(process: ForkServerProcess) -> bool:
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the work ended by itself with exit code {process.exitcode}")
    return process.exitcode != 0


def _start(work: Callable[[], object], instant: int | None, result: Connection | None) -> ForkServerProcess:
    process = CONTEXT.Process(target=_run, args=(work, instant, result))
    process.start()
    return process


def _run(work: Callable[[], object], instant: int | None, result: Connection | None) -> None:
    deeds = _Deeds(instant)
    if instant is not None or result is not None:
        sys.setprofile(deeds)
    work()
    sys.setprofile(None)
    if result is not None:
        result.send(deeds.seen)


class _Deeds:
    """A profile function that counts calls and returns of `_DEEDS`, and at one of them ends the process.

    Processes that this one forks inherit it, and are left alone.
    """

    def __init__(self, instant: int | None) -> None:
        self.process = os.getpid()
        self.instant = instant
        self.seen: list[str] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        # A call through ctypes is no event of its own: the function of ours around it stands for it.
        name = frame.f_code.co_name if event in ("call", "return") else getattr(argument, "__name__", "")
        if (
            event != "c_exception"
            and (name in _DEEDS if event.startswith("c_") else name == _RENAME)
            and os.getpid() == self.process
        ):
            if len(self.seen) == self.instant:
                os.kill(os.getpid(), signal.SIGKILL)
            self.seen.append(name)
