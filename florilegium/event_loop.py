"""Runs what needs an event loop of its own, also in a notebook, whose thread runs one already."""

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

_LOOK = 0.1  # seconds: a thread that waits without an end does not see an interrupt on every system


def run_outside_event_loop(work: Callable[[], T]) -> T:
    """Call `work` and return what it returns: here or, where this thread runs an event loop, in another thread.

    Ctrl-C, or the kernel's interrupt, ends the work in the other thread too, and is raised when it has ended.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    found: Future[T] = Future()
    # The context says which cell of a notebook the output of this work belongs to.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_settle, work, found), name="florilegium")
    thread.start()
    try:
        while not found.done():  # and not `join`, which an interrupt leaves in doubt before Python 3.13
            wait([found], _LOOK)
    except KeyboardInterrupt:
        if thread.ident is not None:
            stop = ctypes.pythonapi.PyThreadState_SetAsyncExc
            stop(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
        wait([found])
        raise
    return found.result()


def _settle(work: Callable[[], T], found: Future[T]) -> None:
    try:
        found.set_result(work())
    except BaseException as error:
        found.set_exception(error)
