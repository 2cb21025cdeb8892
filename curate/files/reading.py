"""One way to read a file that somebody else has put there: never a pipe, a device or a folder, and never too much.

What a path names may be a part of a tar file (`curate.files.shards`), or lie beyond the disk (`curate.files.remote`):
it is read here like any other file.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Final

from curate.files.addresses import is_remote
from curate.files.shards import ShardPart, part_of_shard
from curate.parallel import processors

MAX_BYTES: Final = 1 << 30
"""A larger file is no photograph, and is not read into memory."""


_WAITING = 4  # readers for each processor, where they wait for others
_NOT_A_FILE = "not a file but a pipe, a device or a folder"


class NotAPlainFile(OSError):
    """What has the name of a file and is none, or is too large; `strerror` says so in words."""


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes, links followed; or one beyond the disk, in which one can seek as well.

    Raises `NotAPlainFile` for a pipe, a device, a socket or a folder, without waiting for it or reading from it, and
    `OSError` as `open` does.
    """
    if is_remote(path):
        from curate.files.remote import open_remote

        return open_remote(path)
    try:
        # O_NONBLOCK: opening a pipe without a writer would never return.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened at all
            raise NotAPlainFile(errno.EINVAL, _NOT_A_FILE, str(path)) from error
        raise
    except ValueError as error:  # a NUL in the name, or half a character
        raise NotAPlainFile(errno.EINVAL, f"no file can have this name ({error})", ascii(str(path))) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAPlainFile(errno.EINVAL, _NOT_A_FILE, str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_file_of_its_own(path: Path) -> bool:
    """Whether a path names a file on this machine's disk, and no part of one: only of such a file `stat` tells."""
    return part_of_shard(path) is None and not is_remote(path)


def readers_for(paths: Sequence[Path]) -> int:
    """How many processes or threads are to read some files: more than processors, where each file is waited for."""
    return processors() * (_WAITING if paths and is_remote(paths[0]) else 1)


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """All bytes of a regular file, of a picture in a tar file, or of a file beyond the disk.

    Raises `NotAPlainFile` as `open_file` does, and for more than `limit` bytes.
    """
    if part := part_of_shard(path):
        return _read_part(path, part, limit)
    if is_remote(path):
        from curate.files.remote import read_remote

        whole = read_remote(path, limit)
        if whole is None:
            raise NotAPlainFile(errno.EFBIG, f"over the limit of {limit:,} bytes", str(path))
        return whole
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Not read(): it would set aside far more than the file has, before it knows better.
        data = file.read(min(size, limit) + 1)
        if len(data) > size:  # it grew meanwhile
            data += file.read(max(limit + 1 - len(data), 0))
    if len(data) > limit:
        raise NotAPlainFile(errno.EFBIG, f"over the limit of {limit:,} bytes", str(path))
    return data


def sha256_of(path: Path, limit: int | None = None) -> str:
    """SHA-256 of a regular file's bytes, in hexadecimal. Raises as `digest_of` does."""
    return digest_of(path, "sha256", limit)


def digest_of(path: Path, algorithm: str, limit: int | None = None) -> str:
    """The digest of a regular file's bytes by an algorithm of hashlib's, in hexadecimal.

    Raises `OSError`, and `NotAPlainFile` for one of more than `limit` bytes: a sparse file may claim to be of any size.
    """
    if not is_file_of_its_own(path):
        return hashlib.new(algorithm, read_file(path, MAX_BYTES if limit is None else limit)).hexdigest()
    with open_file(path) as file:
        if limit is not None and os.fstat(file.fileno()).st_size > limit:
            raise NotAPlainFile(errno.EFBIG, f"over the limit of {limit:,} bytes", str(path))
        return hashlib.file_digest(file, algorithm).hexdigest()


def _read_part(path: Path, part: ShardPart, limit: int) -> bytes:
    if part.size > limit:
        raise NotAPlainFile(errno.EFBIG, f"over the limit of {limit:,} bytes", str(path))
    if is_remote(part.shard):
        from curate.files.remote import read_part

        data = read_part(part.shard, part.start, part.size)
    else:
        with open_file(part.shard) as file:
            file.seek(part.start)
            data = file.read(part.size)
    if len(data) < part.size:
        raise NotAPlainFile(errno.EINVAL, f"{part.shard.name} ends before it", str(path))
    return data
