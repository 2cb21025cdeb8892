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
_ANY_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]+(.*)", re.DOTALL)  # one letter is a drive
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
        # Windows writes paths with backslashes; elsewhere one is a character of an object's name as any other
        written = super().__str__().replace("\\", "/") if sys.platform == "win32" else super().__str__()
        found = _ADDRESS.fullmatch(written)
        return f"{found[1]}://{found[2]}" if found else written

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


def refusal_as_path(path: Path) -> str:
    """Why a path that was not `located` can be no path of this disk, for it was written as an address, in a sentence;
    "" for any other. A folder that bears such a name is given by its absolute path.
    """
    found = None if is_remote(path) else _ANY_ADDRESS.fullmatch(str(path))
    if found is None:
        return ""
    scheme = found[1].lower()
    rest = "…" if _SECRET.match(found[2]) else found[2].replace("\\", "/")
    if scheme in SCHEMES:
        return f"{scheme}://{rest} is an address, and here a file or a folder of this disk is wanted: give its path."
    return (
        f"{scheme}://{rest} is an address of a kind that is not known: give one of "
        f"{', '.join(f'{one}://' for one in SCHEMES)}, or the path of a folder."
    )
