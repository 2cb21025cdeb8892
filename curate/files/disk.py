"""What a disk refuses, in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.errors import UserError

_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""What a disk answers to a write, where the error names no file."""


_FREE_SPACE = "check the disk's free space and your rights, and run the same command again."
_WHAT_TO_DO = {
    errno.ENAMETOOLONG: "give a shorter name.",
    errno.ELOOP: "the link leads round in a circle, so remove it.",
    errno.ENOENT: "it is not there, or was removed meanwhile; run the command again.",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away.",
    errno.EISDIR: "a folder stands where a file is needed; move it away.",
    errno.EEXIST: "something is there already; move it away.",
    errno.ENOTEMPTY: "another program puts files there; run the command again when it has ended.",
    errno.EMFILE: "close other programs, or allow more open files (ulimit -n).",
    errno.ENFILE: "close other programs, or allow more open files.",
    errno.ENOMEM: "close other programs, and run the command again.",
    errno.EIO: "the disk answers with errors; save what you need, and check it.",
}


def what_to_do(number: int | None) -> str:
    """What helps against an error of this number, as the end of a sentence; for one of a disk, to look at the disk."""
    return _WHAT_TO_DO.get(number or 0, _FREE_SPACE)


@contextmanager
def disk_in_words(place: Path) -> Iterator[None]:
    """Turn an `OSError` of a file into `UserError`; `place` stands for a file that the error does not name.

    An error that names no file, and is none that a disk gives, stays what it is: a connection breaks with one, too.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in _OF_A_DISK:
            raise
        raise UserError(
            f"{error.filename or place} cannot be read or written ({error.strerror}): {what_to_do(error.errno)}"
        ) from error
