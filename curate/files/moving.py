"""Move one file so that nothing is ever overwritten or lost, whoever else is moving it, and whenever we are killed.

Within one file system a move is one exclusive rename. Where there is no such call it is a hard link and a removal, and
where there are no hard links either a look and a rename. Between file systems it is a copy and a removal. No name is
removed before the same bytes were seen under the other one; `_drop` says how, while others may be at work.
"""

import errno
import filecmp
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from curate.errors import UserError
from curate.files.atomic import fsync_file, fsync_folder, is_given_up, temporary_name
from curate.files.exclusive_rename import rename_exclusively

_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.EMLINK, *_UNSUPPORTED}
"""What a file system answers that has no hard links (exFAT, some network shares), or grants none for this file."""

_TRIES = 5


class Outcome(Enum):
    """How a move ended: the file is in its new place (perhaps by an earlier attempt); something else lies there, and
    the file stayed; the file is in neither place.
    """

    MOVED = "moved"
    OCCUPIED = "occupied"
    GONE = "gone"


def move(source: Path, target: Path) -> Outcome:
    """Move a file or a link, across file systems too, to a place that is free.

    A kill at any instant leaves the file whole in one of the two places, or in both, and a repeated call ends with
    the new one alone. Two processes that move one file, to one place or to and fro, leave it in one of them. Raises
    `UserError`, with the file where it was, when the system refuses.
    """
    try:
        for _ in range(_TRIES):
            if not os.path.lexists(source):
                return Outcome.MOVED if os.path.lexists(target) else Outcome.GONE
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):  # a file has taken the folder's name
                return Outcome.OCCUPIED
            # Another process may move the file, or remove the folder that has just become empty: then look again.
            with suppress(FileNotFoundError):
                return _move_to(source, target)
        return Outcome.OCCUPIED
    except OSError as error:
        raise UserError(
            f"{source} cannot be moved to {target} ({error.strerror}): check the disk's free space and your rights, "
            "and run the same command again."
        ) from error


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder to a name that is free, within one file system.

    Raises `FileExistsError` where the name is taken; a folder is never put into another, nor in its place.
    """
    try:
        rename_exclusively(source, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # Without such a call: a rename fails on a folder that is not empty, and takes the place of an empty one.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        source.rename(target)


def end_cut_short(moves: Iterable[tuple[Path, Path]]) -> None:
    """Remove the names that a killed `move` was about to give up, among (source, target) that may have been cut short.

    Such a name is removed only where its file is also at one of the targets. To be called by the holder of the
    dataset's lock.
    """
    targets = defaultdict[Path, list[Path]](list)
    for source, target in moves:
        targets[source.parent].append(target)
    for folder in targets:
        try:
            names = [name for name in os.listdir(folder) if is_given_up(name)]  # noqa: PTH208  may be many
        except OSError:
            continue
        for left in (folder / name for name in names):
            if any(_same(left, target) for target in targets[folder]):
                left.unlink()


def _move_to(source: Path, target: Path) -> Outcome:
    try:
        _rename_or_link(source, target)
    except FileExistsError:
        return _settle(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copy(source, target)
    return Outcome.MOVED


def _rename_or_link(source: Path, target: Path) -> None:
    """Raises `FileExistsError` where the name is taken, and `OSError`."""
    try:
        rename_exclusively(source, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    else:
        return
    _require_removable(source)
    try:
        if source.is_symlink():  # os.link would follow it
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # The lock of the dataset keeps our own commands out between these two lines; nothing keeps out others.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        source.rename(target)
        return
    _drop(source, target)


def _settle(source: Path, target: Path) -> Outcome:
    """Both places are taken. Where it is by the same file, an earlier attempt was cut short: end it."""
    if not _same(source, target):
        return Outcome.OCCUPIED
    _drop(source, target)
    return Outcome.MOVED


def _drop(source: Path, target: Path) -> None:
    """Remove the name `source` of a file that is also at `target`.

    Raises `FileNotFoundError`, with the file at `source`, where it was not at `target` after all.

    Another process may be about to remove `target`, because the file is at `source` too. So the name is first made
    one that nobody else knows, and then `target` is looked at again. Of two processes that do this to each other's
    name, at least one finds the other name gone, and puts back its own.
    """
    private = temporary_name(source, given_up=True)
    source.rename(private)
    try:
        there = _same(private, target)
    except OSError:
        there = False
    if there:
        private.unlink()
        return
    try:
        rename_exclusively(private, source)
    except OSError:
        if os.path.lexists(source):
            raise
        private.rename(source)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))


def _same(one: Path, other: Path) -> bool:
    try:
        if one.is_symlink() or other.is_symlink():
            return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
        if not other.is_file():
            return False
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except FileNotFoundError:
        return False


def _copy(source: Path, target: Path) -> Outcome:
    """Move between file systems: a copy grows under a name of its own, and is on the disk before the original goes."""
    _require_removable(source)
    partial = temporary_name(target)
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        if not partial.is_symlink():
            with partial.open("rb") as file:
                fsync_file(file)
        _rename_or_link(partial, target)
    except FileExistsError:
        return _settle(source, target)
    finally:
        with suppress(OSError):
            partial.unlink()
    fsync_folder(target.parent)
    return _settle(source, target)


def _require_removable(source: Path) -> None:
    """Raises `PermissionError` before there are two of a file that may not be removed from its folder."""
    if not os.access(source.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
