"""The files that a catalog consists of: which may be opened, how they are read without a trace, and put aside."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from curate.catalog.check import REBUILD
from curate.catalog.sqlite_wal import LOCK_SECONDS
from curate.errors import UserError

_CANNOT_WRITE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
}  # fmt: skip
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}

_PARTS = ("", "-wal", "-journal")
"""The files that a catalog consists of, by what follows its name; SQLite makes any other again by itself."""


class OutOfReach(UserError):
    """A catalog that may be whole, and cannot be read or written now: the disk, the rights or others forbid it."""


def require_own_files(path: Path) -> None:
    """Raise `UserError` where the catalog, or a file beside it that SQLite would take for its log, is none of ours.

    SQLite follows links, writes into whatever has the name, and removes a log that it finds beside no database.
    """
    for part in (_beside(path, suffix) for suffix in (*_PARTS, "-shm")):
        try:
            status = part.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise cannot("read", path, error.strerror) from error
        if not stat.S_ISREG(status.st_mode):
            what = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
            raise UserError(f"{part} is {what}, and the catalog has to be a file of its own: move it away.")
        if status.st_nlink > 1:
            raise UserError(
                f"{part} is one file with another of another name, and both would change: put a copy in its place."
            )
        if part != path and not os.path.lexists(path):
            raise UserError(f"{part} lies there without the catalog that it would belong to: move it away.")


def put_aside(path: Path) -> Path | None:
    """Give a catalog another name, and its log with it, so that the next `open` makes a new one. The new name.

    To be called by the holder of the dataset's lock. Returns None where there is no catalog. What only the catalog
    knew, the credits and the splits that were drawn, is in the file that is put aside.
    """
    if not os.path.lexists(path):
        return None
    aside = name_aside(path)
    with in_words(path):
        try:
            # The database last: a log without one would stand in the way, and so would the index of the log, which lies
            # there as long as another process has the catalog open.
            for part in ("-shm", *reversed(_PARTS)):
                if os.path.lexists(_beside(path, part)):
                    _beside(path, part).rename(_beside(aside, part))
        except OSError as error:
            raise cannot("written", path, error.strerror) from error
    return aside


def file_numbers(path: Path) -> tuple[int, int] | None:
    """What tells a file or a folder from another one of its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def name_aside(path: Path) -> Path:
    """The name that a catalog gets when another one takes its place: its own with the time in it."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    return path.with_name(f"{path.stem}-{stamp}{path.suffix}")


def connect_read_only(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """A connection that leaves the catalog's folder as it is; what it needs beside that is closed with `stack`.

    SQLite reads a catalog in WAL mode without a trace only where the log and its index are there already, as they are
    while another process is at work. Without a log, in a folder that we cannot write, nobody changes the file. In all
    other cases, the log of a killed process on a read-only disk among them, a copy is read. Raises UserError where the
    catalog cannot be read.
    """
    require_own_files(path)
    if not path.is_file():
        raise UserError(f"There is no catalog {path}: `clean` writes one.")
    log = _beside(path, "-wal").exists()
    if log and _beside(path, "-shm").exists():
        try:
            return _connect(path, "mode=ro", stack)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _CANNOT_WRITE:
                raise
    elif not (log or _beside(path, "-journal").exists() or os.access(path.parent, os.W_OK)):
        return _connect(path, "immutable=1", stack)
    folder = Path(stack.enter_context(TemporaryDirectory()))
    return _connect(_copied(path, folder), "mode=rw", stack)


def copy_catalog(original: Path, copy: Path) -> None:
    """Copy a catalog as it is now, its log included, and leave nothing beside it. Raises `UserError` where that cannot
    be.
    """
    try:
        with ExitStack() as stack, closing(sqlite3.connect(copy)) as target:
            connect_read_only(original, stack).backup(target)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"The catalog {original} cannot be read ({error}): check your rights. {REBUILD}") from error


def _connect(path: Path, how: str, stack: ExitStack) -> sqlite3.Connection:
    with ExitStack() as opened:
        uri = f"{path.absolute().as_uri()}?{how}"
        db = opened.enter_context(closing(sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None)))
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA schema_version").fetchone()  # the first read is what finds out whether the file can be read
        stack.push(opened.pop_all())
        return db


def _copied(path: Path, folder: Path) -> Path:
    """A copy of the catalog with its log, of one instant: begun anew where either changed meanwhile."""
    copy = folder / "catalog.sqlite"
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        before = _state(path)
        for suffix in _PARTS:
            try:
                shutil.copyfile(_beside(path, suffix), _beside(copy, suffix))
            except FileNotFoundError:
                _beside(copy, suffix).unlink(missing_ok=True)
        if _state(path) == before:
            return copy
        if time.monotonic() > deadline:
            raise _in_use(path)


def _state(path: Path) -> list[tuple[int, int, int] | None]:
    """What tells of a catalog and each file beside it whether it has changed."""
    found: list[tuple[int, int, int] | None] = []
    for suffix in _PARTS:
        try:
            status = _beside(path, suffix).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def in_words(path: Path, doing: Literal["written", "read"] = "written") -> Iterator[None]:
    """Turn what the user can mend into `UserError`; a mistake in our own SQL stays what it is."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if is_damage(error):
            raise damaged(path, error) from error
        if code == sqlite3.SQLITE_BUSY:
            raise _in_use(path) from error
        if code in _CANNOT_WRITE:
            raise cannot(doing, path, error) from error
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not as SQLite writes one, or holds what this program does not write."""
    # a text that is no UTF-8 is not of our writing
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED or "Could not decode" in str(error)


def _in_use(path: Path) -> OutOfReach:
    return OutOfReach(f"The catalog {path} is in use by another process: wait for it to end.")


def cannot(doing: Literal["written", "read"], path: Path, reason: object) -> OutOfReach:
    """The catalog cannot be read or written, for this reason."""
    return OutOfReach(f"The catalog {path} cannot be {doing} ({reason}): check the disk's free space and your rights.")


def damaged(path: Path, problem: object) -> UserError:
    """The catalog's file is not as SQLite writes one."""
    return UserError(
        f"The catalog {path} is damaged ({' '.join(str(problem).split())}): run `clean` with "
        "--rebuild-catalog, which puts it aside and writes a new one from the pictures."
    )
