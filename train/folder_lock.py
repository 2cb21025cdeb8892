"""One process at a time names and counts in a folder of checkpoints."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here; where the system or the file system has no locks, go on without.

    The file that the lock is on is only opened: one of that name that somebody else made keeps what is in it.
    """
    try:
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(folder / _LOCK, flags, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # some network file systems have none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
