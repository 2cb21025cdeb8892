"""Paths beyond the disk: `s3://`, `gs://`, `http://` and `https://` addresses as paths, told from those of files.

What the user wrote becomes one in one place, `located`, and nothing else ever does. Nothing is read here.
"""

import re
import sys
from pathlib import Path, PosixPath, WindowsPath
from typing import Final

from curate.errors import UserError

SCHEMES: Final = ("s3", "gs", "http", "https")

_ADDRESS: Final = re.compile(rf"({'|'.join(SCHEMES)}):/+(.+)", re.DOTALL)  # pathlib makes one slash of two
_SECRET: Final = re.compile(r"[^/]*@|[^?#]*[?#]")

if sys.platform == "win32":
    _Native = WindowsPath
else:
    _Native = PosixPath


class RemotePath(_Native):
    """An address as a path: joined, taken apart and compared as paths are, and written as an address.

    Questions about the file are put to `curate.files.remote`, through the methods that stand here; to all others the
    disk answers, which has no such file.
    """

    def __str__(self) -> str:
        """The address."""
        found = _ADDRESS.fullmatch(super().__str__().replace("\\", "/"))
        return f"{found[1]}://{found[2]}" if found else super().__str__()

    def __fspath__(self) -> str:
        """What the disk would look for, and never finds."""
        return str(self)

    def resolve(self, strict: bool = False) -> "RemotePath":  # noqa: ARG002  as pathlib has it
        """Itself: an address leads where it says."""
        return self

    def absolute(self) -> "RemotePath":
        """Itself."""
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether a file or a folder is there. Raises `UserError` where nobody answers."""
        return self.is_file() or self.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether a file is there. Raises `UserError` where nobody answers."""
        from curate.files.remote import remote_stat
        from curate.forked import done_apart

        return done_apart(remote_stat, self) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether files lie below; of the web nobody can say, and it is taken for granted. Raises `UserError`."""
        from curate.files.remote import has_files_below
        from curate.forked import done_apart

        return done_apart(has_files_below, self)


def is_remote(path: Path) -> bool:
    """Whether a path is an address. It never becomes one: a folder that is called `http:` is a folder."""
    return isinstance(path, RemotePath)


def located(path: str | Path) -> Path:
    """What the user wrote as a path: an address as a `RemotePath`; what is a path already stays what it is.

    Raises `UserError` for an address with a password or a signature in it: it would be printed and written down.
    """
    found = None if isinstance(path, Path) else _ADDRESS.fullmatch(path)
    if found is None:
        return path if isinstance(path, Path) else Path(path)
    if _SECRET.match(found[2]):
        raise UserError(
            f"An address of {found[1]}:// is given without a password, a query or a signature, which would be written "
            "down with it: put credentials into the environment, as docs/remote.md says."
        )
    return RemotePath(f"{found[1]}:/{found[2].rstrip('/')}")
