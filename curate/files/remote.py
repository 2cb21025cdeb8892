"""Files beyond the disk, read, listed and written through fsspec: with patience, for connections break.

Credentials are taken from the environment by the libraries themselves; nothing of what they say is passed on, for it
may name keys. What is cut off in the middle is asked for again, some times with growing pauses.
"""

import errno
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from curate.errors import UserError
from curate.extras import not_installed
from curate.files.addresses import RemotePath
from curate.files.inside import is_plain

T = TypeVar("T")

_TRIES: Final = 5
_PATIENT: Final = {"gs"}  # gcsfs asks six times by itself, with pauses of half a minute in all
_PAUSE = 0.2  # seconds after the first failure, doubled after each
_BLOCK = 4 << 20  # bytes that are read ahead
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, NotImplementedError)
_PACKAGES = {
    "s3": ("s3fs", "remote"),
    "gs": ("gcsfs", "gs"),
    "http": ("aiohttp", "remote"),
    "https": ("aiohttp", "remote"),
}
_NO_ADDRESS = {"ParamValidationError", "ValueError", "InvalidURL"}
_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError", "DefaultCredentialsError"}
_CONFIGURATION = {
    "ConfigNotFound",
    "ConfigParseError",
    "InvalidConfigError",
    "InvalidEndpointConfigurationError",
    "InvalidMaxRetryAttemptsError",
    "InvalidProxiesConfigError",
    "InvalidRegionError",
    "InvalidRetryModeError",
    "NoRegionError",
    "ProfileNotFound",
    "TypeError",  # an argument in FSSPEC_S3 that s3fs does not have
    "UnsupportedS3ConfigurationError",
}
"""What no further try mends: AWS_PROFILE, a file of settings, or FSSPEC_S3 says what cannot be."""


class RemoteStat(NamedTuple):
    """What a server says of a file: bytes, None where it does not tell; the last change, ns since 1970, 0 likewise; and
    a number made of its ETag or digest, 0 where there is none.
    """

    size: int | None
    mtime_ns: int
    number: int


class RemoteEntry(NamedTuple):
    """A file below a listed folder, by its path relative to that, and what the listing says of it."""

    path: str
    stat: RemoteStat


def read_remote(path: Path, limit: int) -> bytes | None:
    """All bytes of a file; None for more than `limit`. Raises `OSError`."""

    def read(files: Any, name: str) -> bytes:
        if not name.startswith("http"):
            return _part(files, name, 0, limit + 1)
        with files.open(name, "rb", block_size=0) as stream:  # a server need not know parts, nor tell the size before
            found = bytearray()
            while len(found) <= limit and (more := stream.read(min(_BLOCK, limit + 1 - len(found)))):
                found += more
            return bytes(found)

    data = _with_patience(path, read)
    return data if len(data) <= limit else None


def read_part(path: Path, start: int, size: int) -> bytes:
    """`size` bytes from byte `start` on, or fewer where the file ends before. Raises `OSError`."""

    def read(files: Any, name: str) -> bytes:
        data = _part(files, name, start, start + size)
        return data[start : start + size] if len(data) > size else data  # a server that knows no parts gives the whole

    return _with_patience(path, read)


def _part(files: Any, name: str, start: int, end: int) -> bytes:
    try:
        return bytes(files.cat_file(name, start=start, end=end))
    except _FINAL:
        raise
    except Exception:
        if (files.info(name).get("size") or 0) <= start:  # nothing is there, which is no part of anything
            return b""
        raise


def remote_stat(path: Path) -> RemoteStat | None:
    """What is said of a file; None where there is none. Raises `OSError` where nobody answers."""
    try:
        found = _with_patience(path, lambda files, name: dict(files.info(name)))
    except FileNotFoundError:
        return None
    return None if found.get("type") == "directory" else _stat_of(found)


def has_files_below(path: Path) -> bool:
    """Whether files lie below an address; of the web nobody can say, so it is taken for granted. Raises `OSError`."""
    return str(path).startswith("http") or _with_patience(path, lambda files, name: bool(files.isdir(name)))


def list_below(path: Path) -> list[RemoteEntry]:
    """Every file below an address, in order of path; names that could lead elsewhere are passed over.

    Raises `OSError`, and `FileNotFoundError` where there is nothing.
    """

    def find(files: Any, name: str) -> list[RemoteEntry]:
        base = str(files._strip_protocol(name)).rstrip("/")
        found = files.find(base, detail=True)
        entries = [
            RemoteEntry(_relative(str(full), base, on_the_web=name.startswith("http")), _stat_of(about))
            for full, about in found.items()
            if about.get("type") != "directory"
        ]
        return sorted(entry for entry in entries if is_plain(entry.path))

    entries = _with_patience(path, find)
    if not entries:
        raise FileNotFoundError(errno.ENOENT, "no files are there", str(path))
    return entries


def _relative(name: str, base: str, *, on_the_web: bool) -> str:
    """The part of a listed name below the folder; "" for one that is none of it."""
    if not name.startswith(f"{base}/"):
        return ""
    if not on_the_web:
        return name[len(base) + 1 :]
    from urllib.parse import unquote

    relative = unquote(name[len(base) + 1 :])
    return "" if set(relative) & set("?#%\\") else relative  # it could not be asked for again under this name


def write_remote(path: Path, data: bytes) -> None:
    """Write a file whole, in place of what has its name. Raises `OSError`, and `UserError` for the web."""
    require_writable(path)
    _with_patience(path, lambda files, name: files.pipe_file(name, data))


def upload(file: Path, path: Path) -> None:
    """Copy a file of this disk to an address, and see that it arrived whole. Raises as `write_remote` does."""
    require_writable(path)

    def put(files: Any, name: str) -> None:
        files.put_file(str(file), name)
        if (there := files.info(name).get("size")) != file.stat().st_size:
            raise OSError(errno.EIO, f"{there} bytes arrived")

    _with_patience(path, put)


def open_remote(path: Path) -> io.BufferedReader:
    """A file to read from, and to seek in. Raises `OSError`."""
    return io.BufferedReader(_InParts(path), 1 << 16)


class _InParts(io.RawIOBase):
    """A file that is asked for in large parts, as they are read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        found = remote_stat(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "it is not there", str(path))
        self._path, self._size = path, found.size or 0
        self._place, self._part, self._part_at = 0, b"", 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place."""
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with the next bytes; how many there were."""
        if not self._part_at <= self._place < self._part_at + len(self._part):
            wanted = min(_BLOCK, self._size - self._place)
            self._part_at, self._part = self._place, read_part(self._path, self._place, wanted) if wanted > 0 else b""
        start = self._place - self._part_at
        given = self._part[start : start + len(buffer)]
        buffer[: len(given)] = given
        self._place += len(given)
        return len(given)


def _with_patience(path: Path, ask: Callable[[Any, str], T]) -> T:
    """What `ask` gives of (file system, address), asked again where a connection breaks.

    Raises `FileNotFoundError`, and `OSError` for what is no file; but `UserError` where nobody answers or access is
    refused: whoever takes a file that cannot be read for a broken one must not take an outage for that.
    """
    name = str(RemotePath(path))
    scheme = name.partition(":")[0]
    files, tries = _file_system(scheme), 1 if scheme in _PATIENT else _TRIES
    for turn in range(tries):
        if turn:
            time.sleep(_PAUSE * 2 ** (turn - 1))
        try:
            return ask(files, name)
        except FileNotFoundError as error:
            if not _is_outage(error):
                raise FileNotFoundError(errno.ENOENT, "it is not there", name) from error
            last: Exception = error.__cause__ if isinstance(error.__cause__, Exception) else error
        except PermissionError as error:
            raise UserError(f"{name} may not be read or written with these credentials: look at them.") from error
        except UserError:
            raise
        except _FINAL as error:
            raise OSError(errno.EINVAL, f"it cannot be had ({type(error).__name__})", name) from error
        except Exception as error:  # each library has its own for a connection that breaks
            if type(error).__name__ in _CONFIGURATION:
                raise UserError(
                    f"The settings for {name} in the environment or in the libraries' files cannot be used "
                    f"({type(error).__name__}): correct them, or leave them out."
                ) from error
            if type(error).__name__ in _CREDENTIALS:
                raise UserError(
                    f"There are no credentials for {name}: put them into the environment, as docs/remote.md says."
                ) from error
            if type(error).__name__ in _NO_ADDRESS:
                raise UserError(f"{name} is no address that anything can lie at: correct it.") from error
            last = error
    times = "" if tries == 1 else f" {tries} times"
    raise UserError(
        f"The connection to {name} failed{times} ({type(last).__name__}): run the same command again when it answers."
    ) from last


def _is_outage(error: FileNotFoundError) -> bool:
    """Whether a file is only said to be missing: of the web fsspec says so too where the connection failed."""
    cause = error.__cause__
    return type(cause).__module__.startswith("aiohttp") and getattr(cause, "status", None) not in (404, 410)


@cache
def _file_system(scheme: str) -> Any:
    """What fsspec has for a scheme; the instance outlives no fork, as fsspec itself sees to."""
    if scheme == "gs":  # read on import; else it asks over gRPC what kind each bucket is, for a minute where it cannot
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # what fails is said once, by us
    try:
        import fsspec

        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package, extra = _PACKAGES[scheme]
        raise not_installed(f"Addresses of {scheme}:// need", package, extra) from error
    return _Instance(kind)


class _Instance:
    """The file system of this very process: fsspec makes another in each fork."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        # Without its own cache of listings: what others have written meanwhile is to be seen
        return getattr(self._kind(use_listings_cache=False), name)


def require_writable(path: Path) -> None:
    """Raise `UserError` for an address of the web."""
    if str(path).startswith("http"):
        raise UserError(f"Nothing can be written to {path}: give an address of s3:// or gs://, or a folder.")


def _stat_of(about: Mapping[str, Any]) -> RemoteStat:
    """What a file system says of a file, under the names that each has for it."""
    tag = next((about[name] for name in ("ETag", "etag", "md5Hash", "Content-MD5") if about.get(name)), "")
    changed = next(
        (about[name] for name in ("LastModified", "mtime", "updated", "Last-Modified") if about.get(name)), None
    )
    number = int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:7], "big") if tag else 0
    size = about.get("size")
    return RemoteStat(None if size is None else int(size), _nanoseconds(changed), number)


def _nanoseconds(moment: object) -> int:
    """Nanoseconds since 1970 of a moment as a server writes it; 0 for none."""
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment) if "T" in moment else parsedate_to_datetime(moment)
        return int(moment.timestamp() * 1000) * 10**6 if isinstance(moment, datetime) else 0
    except ValueError:
        return 0
