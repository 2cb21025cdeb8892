"""Bytes that come in parts: in memory as long as they are few, then in a file."""

import hashlib
from pathlib import Path
from typing import BinaryIO, Final

HELD: Final = 512 << 10
"""Bytes that are held in memory. Making a file waits for the disk while it is busy, and all other transfers with it."""


class Spool:
    """What has been written so far: in memory, or in the file `path` once there is more than `HELD`. To be closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""
        """Of all bytes, once it is finished."""
        self._size = 0
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def write(self, part: bytes) -> None:
        """Add bytes. Raises OSError where the file cannot be made or written."""
        self._size += len(part)
        if self._file is None and self._size <= HELD:
            self._parts.append(part)
            return
        if self._file is None:
            self._file = self.path.open("wb")
            self._spill(self._file)
        self._digest.update(part)
        self._file.write(part)

    def close(self) -> None:
        """Write what the file, if there is one already, has not got yet."""
        if self._file is not None:
            self._file.close()

    def finish(self) -> None:
        """Write what is still in memory to the file, and know the digest. Once, after `close`, in any thread.

        Raises OSError where the file cannot be made or written.
        """
        if self._file is None:
            with self.path.open("wb") as file:
                self._spill(file)
        self.sha256 = self._digest.hexdigest()

    def _spill(self, file: BinaryIO) -> None:
        """Move what is in memory to the file."""
        for part in self._parts:
            self._digest.update(part)
            file.write(part)
        self._parts.clear()
