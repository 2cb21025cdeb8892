"""Bytes that come in parts: in memory as long as they are few, then in a file."""

from pathlib import Path
from typing import BinaryIO, Final

HELD: Final = 512 << 10
"""Bytes that are held in memory. Making a file waits for the disk while it is busy, and all other transfers with it."""


class Spool:
    """What has been written so far: `content`, or in the file `path` once there is more than `HELD`. To be closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None

    def write(self, part: bytes) -> None:
        """Add bytes. Raises OSError where the file cannot be made or written."""
        self._size += len(part)
        if self._file is None and self._size <= HELD:
            self._parts.append(part)
            return
        if self._file is None:
            self._file = self.path.open("wb")
            self._file.writelines(self._parts)
            self._parts.clear()
        self._file.write(part)

    def close(self) -> None:
        """Write what the file has not got yet."""
        if self._file is not None:
            self._file.close()

    @property
    def content(self) -> bytes | None:
        """All bytes, or None where they are in the file."""
        return None if self._file is not None else b"".join(self._parts)
