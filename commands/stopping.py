"""How the program ends when somebody stops it: with one line and no traceback, whatever it was doing."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn

GOES_ON: Final = "Stopped. The same command goes on from there."
BEGINS_ANEW: Final = "Stopped. The same command begins anew."

KEEP_WHAT_THEY_DID: Final = frozenset({
    "download", "scrape", "clean", "restore", "split", "audit", "review", "train", "ablate", "evaluate", "report",
})  # fmt: skip
"""The commands that keep what they had done when they were stopped: files, facts, features, decisions, steps."""

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SHOW_CURSOR = b"\x1b[?25h"


class _Watch:
    """Which process is meant, and by which signal it was stopped."""

    process = 0
    signal: int | None = None
    ended: int | None = None


def sentence() -> str:
    """What is said of a stop, by the command that was asked for: it may be that nothing has been parsed yet."""
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return GOES_ON if name in KEEP_WHAT_THEY_DID else BEGINS_ANEW


def leave_at_once() -> None:
    """From here on a signal ends the process where it is: nothing has begun yet that would have to be put in order.

    To be called before anything else is imported, which takes time. A signal that whoever started us wants ignored, as
    `nohup` does, stays ignored.
    """
    _Watch.process = os.getpid()
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


def interrupt() -> None:
    """From here on the first signal raises `KeyboardInterrupt`, so that what is open is closed; the second leaves."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _leave:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable


def is_stopped() -> bool:
    """Whether a signal has come, whatever the exception is that arrived: modules of C turn it into one of theirs."""
    return _Watch.signal is not None


def end() -> NoReturn:
    """Say that we were stopped, and end the process as its signal asks, without waiting for threads at work."""
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.kill()
    _leave(_Watch.signal or signal.SIGINT, None)


def ending(code: int) -> None:
    """The work is done: a signal that comes while the process takes itself apart changes nothing any more."""
    _Watch.ended = code


def _interrupt(number: int, _: FrameType | None) -> None:
    if os.getpid() != _Watch.process:
        os._exit(128 + number)  # a process that we forked: its parent speaks for it
    for other in _SIGNALS:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, _leave)
    _Watch.signal = number
    raise KeyboardInterrupt


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Kill ourselves, in effect: every command may be killed at any instant."""
    if _Watch.ended is not None:
        os._exit(_Watch.ended)
    if os.getpid() == _Watch.process:
        with suppress(OSError):
            os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"{sentence()}\n".encode())
    os._exit(128 + number)


def _unraisable(raised: Any) -> None:
    """A stop that came where Python lets no exception out, in a finaliser or a callback, is a stop all the same."""
    if is_stopped():
        end()
    sys.__unraisablehook__(raised)
