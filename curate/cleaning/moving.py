"""Move one file so that nothing is ever overwritten, and a move that was cut short can be repeated to its end."""

import errno
import filecmp
import hashlib
import os
import shutil
from enum import Enum
from pathlib import Path

from curate.errors import UserError

_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What a file system answers that has no hard links (exFAT, some network shares), or grants none for this file."""


class Outcome(Enum):
    """How a move ended: the file is in its new place (perhaps by an earlier attempt); something else lies there, and
    the file stayed; the file is in neither place.
    """

    MOVED = "moved"
    OCCUPIED = "occupied"
    GONE = "gone"


def move(source: Path, target: Path) -> Outcome:
    """Move a file, across file systems too, to a place that is free.

    A kill at any instant leaves the file whole in one of the two places, or in both, and a repeated call ends with
    the new one alone. Raises `UserError`, with the file where it was, when the system refuses.
    """
    try:
        if not os.path.lexists(source):
            return Outcome.MOVED if os.path.lexists(target) else Outcome.GONE
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # a file has taken the folder's name
            return Outcome.OCCUPIED
        if os.path.lexists(target):
            return _settle(source, target)
        return _move_to_free(source, target)
    except OSError as error:
        raise UserError(
            f"{source} cannot be moved to {target} ({error.strerror}): check the disk's free space and your rights, "
            "and run the same command again."
        ) from error


def _settle(source: Path, target: Path) -> Outcome:
    """Both places are taken. Where it is by the same file, an earlier attempt was cut short: end it."""
    if not _same(source, target):
        return Outcome.OCCUPIED
    source.unlink()
    return Outcome.MOVED


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if not other.is_file():
        return False
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)


def _move_to_free(source: Path, target: Path) -> Outcome:
    if source.is_symlink():  # os.link would follow it
        return _rename(source, target)
    try:
        # Unlike rename, a link never takes the place of a file that appeared since we looked.
        os.link(source, target)
    except FileExistsError:
        return _settle(source, target)
    except OSError as error:
        if error.errno == errno.EXDEV or error.errno in _NO_HARD_LINKS:
            return _rename(source, target)
        raise
    try:
        source.unlink()
    except OSError:  # a folder that we may read and not write: leave all as it was
        target.unlink()
        raise
    return Outcome.MOVED


def _rename(source: Path, target: Path) -> Outcome:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_and_remove(source, target)
    return Outcome.MOVED


def _copy_and_remove(source: Path, target: Path) -> None:
    """The copy grows under a hidden name, the same one in every attempt and short enough for any file system."""
    partial = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.partial")
    try:
        partial.unlink(missing_ok=True)
        shutil.copy2(source, partial, follow_symlinks=False)
        if not partial.is_symlink():
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(target)
        source.unlink()
    except OSError:
        partial.unlink(missing_ok=True)
        raise
