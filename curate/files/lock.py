"""One process at a time moves, places or writes in a folder; the others are told who does, and since when.

The kernel holds the lock (`flock`), so it ends with the process that took it, however that ends; on NFS Linux makes
byte-range locks of it, which other machines see. Readers need no lock.
"""

import errno
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from curate.errors import UserError
from curate.files.reading import read_file
from curate.progress import Progress, silent

LOCK: Final = ".florilegium.lock"
"""The file in a folder that the lock is on. It stays when the lock goes: whoever waits, waits for this very file."""


class Busy(UserError):
    """Another process is at work in the folder."""


_POLL_SECONDS = 0.1
_LONGEST_NAME = 1 << 16  # bytes
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_held = threading.local()


@contextmanager
def locked(
    folder: Path,
    doing: str,
    *,
    wait: float | None = 0.0,
    progress: Progress = silent,
    required: bool = True,
    make: bool = True,
) -> Iterator[None]:
    """Hold a folder's lock; makes the folder, unless told not to. `doing` tells others what holds it: "clean data".

    `wait` is how many seconds to wait for another's lock, None for as long as it takes; meanwhile `progress` says for
    whom. A thread that has the lock may take it again. Raises `Busy` where another process has it, `UserError` where
    the folder may not be written or its file system offers no locks; in the last two cases it goes on without a lock
    instead where none is `required`.
    """
    if wait is not None and not wait >= 0:  # NaN is no time either
        raise UserError(f"{wait:g} is no number of seconds to wait: give 0 or more, or None for as long as it takes.")
    file = folder.resolve() / LOCK
    mine: set[Path] = _held.__dict__.setdefault("files", set())
    if file in mine:
        yield
        return
    try:
        if make:
            file.parent.mkdir(parents=True, exist_ok=True)
        with _watched(file.parent) as is_still_there:
            lock = _acquired(file, wait, progress)
            if lock is not None and not is_still_there():
                _give_up(lock, file)
                raise FileNotFoundError(errno.ENOENT, "it was removed or renamed meanwhile")
    except OSError as error:
        if required:
            raise _no_lock(folder, error) from error
        lock = None
    else:
        if lock is None:
            raise Busy(f"{_holder(file)} is at work in {folder}: wait for it to end (--wait does), or stop it.")
    if lock is None:
        yield
        return
    mine.add(file)
    try:
        _introduce(file, doing)
        yield
    finally:
        mine.discard(file)
        lock.release()


def _acquired(file: Path, wait: float | None, progress: Progress) -> FileLock | None:
    """The lock; None where another process still has it. Raises `OSError`."""
    lock = FileLock(file, fallback_to_soft=False, thread_local=False)
    with suppress(Timeout):
        lock.acquire(timeout=0)
        return lock
    if wait is None or wait > 0:
        with progress(f"Waiting for {_holder(file)}", 1), suppress(Timeout):
            lock.acquire(timeout=-1 if wait is None else wait, poll_interval=_POLL_SECONDS)
            return lock
    return None


@contextmanager
def _watched(folder: Path) -> Iterator[Callable[[], bool]]:
    """Yield whether the folder of this path is still the one that it is now. Raises `OSError`.

    The folder is held open, where the system lets us, as another one could be given its number.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY) if hasattr(os, "O_DIRECTORY") else None
    before = folder.stat() if held is None else os.fstat(held)

    def is_still_there() -> bool:
        try:
            return os.path.samestat(before, folder.stat())
        except OSError:
            return False

    try:
        yield is_still_there
    finally:
        if held is not None:
            os.close(held)


def _give_up(lock: FileLock, file: Path) -> None:
    """Release a lock for which filelock has made a folder, in the place of one that went, and remove that folder."""
    lock.release()
    with suppress(OSError):
        file.unlink()
        file.parent.rmdir()


def _no_lock(folder: Path, error: OSError) -> UserError:
    if error.errno in _NO_LOCKS:
        return UserError(
            f"The file system of {folder} offers no locks ({error.strerror}), so two commands at once could lose "
            "files there: mount it with locks (NFS without `nolock`), or work on a copy on another disk."
        )
    if error.errno in {errno.ELOOP, errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.ENXIO}:
        return UserError(
            f"What stands in the place of {folder.resolve() / LOCK}, or of its folder, is not ours "
            f"({error.strerror}): move it away."
        )
    return UserError(
        f"The folder {folder} cannot be written ({error.strerror}): check the disk's free space and your rights."
    )


def _introduce(file: Path, doing: str) -> None:
    """Write into the lock file who holds it. A name is worth a sentence, not an error: a full disk is passed over."""
    about = {
        "doing": doing,
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            # A stranger's dataset may have made the lock another name of one of its pictures.
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(about).encode())
        finally:
            os.close(descriptor)


def _holder(file: Path) -> str:
    """Who holds the lock, as the beginning of a sentence; it may have written its name a moment after it took it."""
    for _ in range(5):
        about: Any = None
        with suppress(OSError, ValueError, RecursionError):
            about = json.loads(read_file(file, _LONGEST_NAME))
        if isinstance(about, dict) and about.keys() >= {"doing", "process", "machine", "since"}:
            where = "" if about["machine"] == socket.gethostname() else f" on {about['machine']}"
            return f"`{about['doing']}` (process {about['process']}{where}, since {about['since']})"
        time.sleep(0.02)
    return "Another command"
