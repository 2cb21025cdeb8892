"""Large files while they are written, by libraries that make an error of their own of what the disk says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from curate.files.atomic import sweep, temporary_name


@contextmanager
def file_under_way(file: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file to write to beside `file` and its name, which is free; at the end it is gone, unless it was renamed.

    Makes the folder, and removes from it what killed processes have left. Raises OSError, also where a library makes
    another error of it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    sweep(file.parent)
    temporary = temporary_name(file)
    stream = _Listening(temporary)
    try:
        with stream:
            yield cast(BinaryIO, stream), temporary
    except Exception as error:
        if stream.failed is not None and error is not stream.failed:
            raise stream.failed from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def bring_to_disk(stream: IO[Any]) -> None:
    """Flush and fsync, so that no name is given to bytes that a crash of the machine would take away."""
    stream.flush()
    os.fsync(stream.fileno())


class _Listening(FileIO):
    """A new file that remembers what the disk said: torch says "enforce fail" of a full one."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, "xb")
        self.failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:  # a disk that is nearly full takes a part, and fails at the rest
                left = left[super().write(left) :]
        except OSError as error:
            self.failed = self.failed or error
            raise
        return size
