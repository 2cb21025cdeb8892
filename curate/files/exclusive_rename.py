"""Rename that never replaces: one step in the kernel, so no kill and no other process can come between.

Linux has `renameat2(RENAME_NOREPLACE)` (https://man7.org/linux/man-pages/man2/rename.2.html), macOS
`renamex_np(RENAME_EXCL)`, and Windows' own rename does not replace. Python offers none of the first two.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # Linux
_RENAME_EXCL = 4  # macOS

_Rename = Callable[[bytes, bytes], int]


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename a file, a link or a folder to a name that is free.

    Raises `FileExistsError` where the name is taken, `OSError` with `errno.ENOSYS` where the kernel, the C library or
    the file system has no such call, and other `OSError` as `os.rename` does.
    """
    if sys.platform == "win32":
        os.rename(source, target)  # noqa: PTH104
        return
    call = _system_call()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(source))
    if call(os.fsencode(source), os.fsencode(target)) != 0:
        code = ctypes.get_errno()
        if code == errno.EINVAL:  # what a file system answers that does not know the flag
            code = errno.ENOSYS
        raise OSError(code, os.strerror(code), str(source), None, str(target))


@cache
def _system_call() -> _Rename | None:
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        function = getattr(library, "renamex_np", None)
        if function is None:
            return None
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)
        return lambda source, target: int(function(source, target, _RENAME_EXCL))
    function = getattr(library, "renameat2", None)  # glibc from 2.28 on
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return lambda source, target: int(function(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE))
