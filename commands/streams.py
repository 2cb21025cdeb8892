"""The standard streams of a process, as it may be started: closed, with another encoding, or into a pipe that ends."""

import os
import sys
from contextlib import suppress

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def mend() -> None:
    """Give every stream a file, and let no character fail to be written.

    A number of the three that is closed would go to the next file that is opened, a catalog or a checkpoint, and
    whatever is printed would land in it.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            _open_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream of a test's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def flush() -> bool:
    """Write out what was printed. False where nobody reads it any more; then nothing is said of it at the end."""
    read = True
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            read = False
            with suppress(OSError):
                _open_nothing(number)
    return read


def _open_nothing(number: int) -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
