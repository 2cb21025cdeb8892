"""A file that appears whole or not at all, whenever the process or the machine stops.

The bytes are written under a temporary name of their own, brought to the disk (fsync), and given the name that they
are for; then the folder is brought to the disk as well. Without the first fsync a crash of the machine may leave the
name with no bytes behind it (https://lwn.net/Articles/322823/).
"""

import ctypes
import os
import secrets
import socket
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

_MARK, _PARTIAL, _GIVEN_UP = ".florilegium-", ".partial", ".moving"


def temporary_name(file: Path, *, given_up: bool = False) -> Path:
    """A name beside `file` that nobody else has or will draw: hidden, and short, for the file's own may be long.

    It is for something that is not whole yet, or for a whole file whose name is being given up.
    """
    ending = _GIVEN_UP if given_up else _PARTIAL
    return file.with_name(f"{_MARK}{_machine()}-{os.getpid()}-{secrets.token_hex(6)}{ending}")


def is_partial(name: str) -> bool:
    """Whether this is the name of something that was not whole yet, and so was nobody's only copy."""
    return name.startswith(_MARK) and name.endswith(_PARTIAL)


def is_given_up(name: str) -> bool:
    """Whether this is the name of a whole file that was to lose its name, because it was elsewhere as well."""
    return name.startswith(_MARK) and name.endswith(_GIVEN_UP)


def write_whole(file: Path, data: str | bytes) -> None:
    """Write a file whole or not at all, text in UTF-8; makes its folder. Raises `OSError`."""
    with written_whole(file) as stream:
        stream.write(data.encode("utf-8") if isinstance(data, str) else data)


def write_cached(file: Path, data: bytes) -> None:
    """Write a file that can be made again, whole or not at all while the machine runs, and wait for no disk.

    After a crash of the machine its bytes may be missing: whoever reads it looks whether they are there. Makes its
    folder. Raises `OSError`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(file)
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def written_whole(file: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to, which takes the place of `file` at the end; where the body raises, nothing changes.

    Makes the folder. A file that is there keeps its permissions, a new one gets what the process gives. Raises
    `OSError`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(file)
    try:
        with temporary.open("xb") as stream:
            yield stream
            fsync_file(stream)
        with suppress(OSError):
            temporary.chmod(file.stat().st_mode & 0o7777)
        take_place(temporary, file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def file_under_way(file: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a file to write to beside `file` and its name, which is free; at the end it is gone, unless it was renamed.

    It is for libraries that make an error of their own of what the disk says, and for files that are checked before
    they get their name: whoever writes calls `fsync_file` and `take_place`. Makes the folder, and removes from it what
    killed processes have left. Raises `OSError`, also where a library makes another error of it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(file.parent)
    temporary = temporary_name(file)
    stream = _Listening(temporary)
    try:
        with stream:
            yield cast(BinaryIO, stream), temporary
    except Exception as error:
        if stream.failed is not None and error is not stream.failed:
            raise stream.failed from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


class _Listening(FileIO):
    """A new file that remembers what the disk said: torch says "enforce fail" of a full one."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, "xb")
        self.failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:  # a disk that is nearly full takes a part, and fails at the rest
                left = left[super().write(left) :]
        except OSError as error:
            self.failed = self.failed or error
            raise
        return size


def take_place(whole: Path, file: Path) -> None:
    """Give a whole file, which is on the disk, the name `file` in place of what has it. Raises `OSError`."""
    whole.replace(file)
    fsync_folder(file.parent)


def fsync_file(stream: IO[Any]) -> None:
    """Bring to the disk what was written, so that no name is given to bytes that a crash of the machine takes away."""
    stream.flush()
    os.fsync(stream.fileno())


def fsync_files(files: Sequence[Path]) -> list[OSError | None]:
    """Bring to the disk what was written into files of one file system. For each: why it is not there, or None.

    Several are brought by one call for their file system, where there is one (Linux): a call for each waits each time
    until the disk's own cache is flushed, which took 30 times as long for 64 pictures.
    """
    if len(files) > 1 and _sync_file_system(files[0]):
        return [None] * len(files)
    return [_fsync_written(file) for file in files]


def _fsync_written(file: Path) -> OSError | None:
    try:
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


def _sync_file_system(file: Path) -> bool:
    """Bring to the disk all that was written to the file system of `file`. False where it could not be done."""
    call = _syncfs()
    if call is None:
        return False
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        return call(descriptor) == 0
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """Linux' call (https://man7.org/linux/man-pages/man2/syncfs.2.html), which Python does not offer."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "syncfs", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int,)
    return lambda descriptor: int(function(descriptor))


def fsync_below(folder: Path) -> None:
    """Bring to the disk all files and folders below a folder, and itself, before it gets the name it is for.

    Raises `OSError`. Where the system can, it is asked once for everything: a file at a time takes minutes for
    thousands of pictures.
    """
    if sys.platform != "win32":
        os.sync()
        return
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "r+b") as file:  # noqa: PTH118, PTH123  there may be many
                os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Bring to the disk which names a folder holds, where the system can (Windows cannot)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        with suppress(OSError):  # some network and FUSE file systems refuse it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove the files that dead processes of this machine have left half-written in one folder."""
    for left in abandoned_in(folder):
        with suppress(OSError):  # a folder is not ours to remove here
            left.unlink()


def abandoned_in(folder: Path) -> list[Path]:
    """What processes of this machine that are gone have left under temporary names, files and folders."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  names are enough, and faster
    except OSError:
        return []
    return [folder / name for name in names if is_partial(name) and _is_dead(name)]


def _is_dead(name: str) -> bool:
    """Whether the process that drew a temporary name is gone. Of a process on another machine nothing is known."""
    machine, _, rest = name.removeprefix(_MARK).partition("-")
    number = rest.partition("-")[0]
    # Windows has no such question: there `os.kill` would end the process.
    if sys.platform == "win32" or machine != _machine() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is somebody else's, or the name is nobody's
        return False
    return False


@cache
def _machine() -> str:
    """A short name of this machine: 8 hexadecimal digits."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
