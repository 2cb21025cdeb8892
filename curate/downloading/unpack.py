"""An archive from a stranger, unpacked: nothing outside the target, no links, no flood."""

import bz2
import errno
import gzip
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from curate.errors import UserError
from curate.file_names import folded
from curate.printable import printable
from curate.progress import Progress, silent

_CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 20
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")
_COMPRESSIONS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_UNWANTED_SIGNS = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to at most: number of entries, and bytes in all."""

    entries: int = 200_000
    size: int = 64 * 2**30


class BadArchive(UserError):
    """An archive that cannot be unpacked, on any disk."""


class _Refused(Exception):
    """What is wrong with the archive, as the end of a sentence."""


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    folder: bool
    plain: bool
    handle: Any


def unpack(archive: Path, target: Path, limits: Limits | None = None, progress: Progress = silent) -> int:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into `target`; the number of files written.

    Raises BadArchive, and removes what was written, where the archive is damaged, leads outside the target, holds
    links, devices or encrypted files, names a file twice, or passes the limits; UserError where the disk refuses.
    """
    limits = limits or Limits()
    target.mkdir(parents=True, exist_ok=True)
    try:
        with _damage(), _opened(archive) as entries:
            return _write(entries, target, limits, progress)
    except _Refused as problem:
        shutil.rmtree(target, ignore_errors=True)
        raise BadArchive(f"The archive {archive} was not unpacked: {problem}.") from problem
    except OSError as problem:
        shutil.rmtree(target, ignore_errors=True)
        where = f" at {printable(Path(problem.filename).name[:80])}" if isinstance(problem.filename, str) else ""
        raise UserError(
            f"The archive {archive} was not unpacked: {problem.strerror}{where}. Check the disk's free space and your "
            "rights, or unpack it by hand."
        ) from problem


def _write(entries: Iterator[tuple[_Entry, Any]], target: Path, limits: Limits, progress: Progress) -> int:
    written, count = 0, 0
    spelt: dict[str, Path] = {}
    with progress("Unpacking", 0) as advance:
        for number, (entry, source) in enumerate(entries, 1):
            if number > limits.entries:
                raise _Refused(f"it holds more than {limits.entries:,} entries")
            path = _place(entry.name, target)
            if path is None or entry.folder:
                continue
            if not entry.plain:
                raise _Refused(f"'{entry.name}' in it is a link or a device, not a file")
            if written + entry.size > limits.size:
                raise _Refused(f"it unpacks to more than {limits.size / 2**30:g} GiB")
            path.parent.mkdir(parents=True, exist_ok=True)
            _require_apart(path.parent, target, spelt)
            written += _copy(source, path, limits.size - written)
            count += 1
            advance(1)
    return count


def _place(name: str, target: Path) -> Path | None:
    """Where an entry goes; None for what operating systems leave in archives. Raises _Refused for ways out."""
    parts = PurePosixPath(name).parts
    if _UNWANTED_SIGNS.search(name) or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise _Refused(f"{name!r} in it leads outside")
    if any(part in _JUNK or part.startswith("._") for part in parts):
        return None
    return target.joinpath(*parts)


def _require_apart(folder: Path, target: Path, spelt: dict[str, Path]) -> None:
    """Raise _Refused where two folders of the archive, such as `a` and `A`, are one on this disk."""
    while folder != target and spelt.get(key := folded(str(folder))) != folder:
        other = spelt.setdefault(key, folder)
        if other != folder:
            if folder.samefile(other):
                names = f"{other.relative_to(target)} and {folder.relative_to(target)}"
                raise OSError(errno.EEXIST, f"its folders {names} are one on this disk")
            return
        folder = folder.parent


def _copy(source: Any, path: Path, room: int) -> int:
    """Write one file; the bytes it took. What counts is what comes, not what the header announces."""
    size = 0
    try:
        with path.open("xb") as file, source() as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > room:
                    raise _Refused("it unpacks to more than it may")
                file.write(chunk)
    except FileExistsError:
        raise _Refused(f"it holds '{path.name}' twice, or as file and folder") from None
    return size


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[_Entry, Any]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_entries(opened)
    else:
        with (
            _decompressed(archive) as stream,
            tarfile.open(fileobj=cast(Any, _Bounded(stream)), mode="r:") as opened_tar,
        ):
            yield _tar_entries(opened_tar)


def _zip_entries(opened: zipfile.ZipFile) -> Iterator[tuple[_Entry, Any]]:
    for info in opened.infolist():
        if info.flag_bits & 1:
            raise _Refused(f"'{info.filename}' in it is encrypted")
        kind = (info.external_attr >> 16) & 0o170000
        plain = kind in (0, 0o100000) or info.is_dir()
        entry = _Entry(info.filename, info.file_size, info.is_dir(), plain, info)
        yield entry, lambda info=info: opened.open(info)


def _tar_entries(opened: tarfile.TarFile) -> Iterator[tuple[_Entry, Any]]:
    for info in opened:
        entry = _Entry(info.name, info.size, info.isdir(), info.isreg(), info)
        yield entry, lambda info=info: opened.extractfile(info)


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    with archive.open("rb") as file:
        head = file.read(6)
    opener: Callable[..., Any] = next((way for sign, way in _COMPRESSIONS.items() if head.startswith(sign)), open)
    with opener(archive, "rb") as stream:
        yield stream


class _Bounded:
    """A stream that refuses to read very much at once: a header that claims gigabytes is a bomb of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        """As a file's `read`, up to a limit."""
        if size < 0 or size > max(_LONGEST_HEADER, _CHUNK):
            raise _Refused("one of its headers is far too long")
        return self._stream.read(size)


@contextmanager
def _damage() -> Iterator[None]:
    """What the archive modules raise on damage, as one sentence."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _Refused(f"it is damaged or no archive ({error})") from error
    except (ValueError, NotImplementedError, RuntimeError, OverflowError) as error:
        if isinstance(error, _Refused):
            raise
        raise _Refused(f"it cannot be read ({error})") from error
