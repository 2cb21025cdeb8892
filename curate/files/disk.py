"""What a disk refuses, in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.errors import UserError

_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""What a disk answers to a write, where the error names no file."""


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
            f"{error.filename or place} cannot be read or written ({error.strerror}): check the disk's free space and "
            "your rights, and run the same command again."
        ) from error
