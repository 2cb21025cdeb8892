"""Pictures that came along with one that was asked for: kept in a nameless file until they are asked for themselves."""

import tempfile
import weakref

LARGEST = 1 << 30
"""Bytes of the file. What finds no place in it is read once more."""


class RowSpool:
    """Key → bytes. The file has no name, so it is gone with the process, however that ends."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 — it lives as long as the spool
        weakref.finalize(self, self._file.close)
        self._largest = largest
        self._places: dict[tuple[str, int], tuple[int, int]] = {}
        self._end = 0

    def put(self, key: tuple[str, int], content: bytes) -> None:
        """Keep bytes, if there is room for them."""
        if key in self._places or self._end + len(content) > self._largest:
            return
        self._file.seek(self._end)
        self._file.write(content)
        self._places[key] = (self._end, len(content))
        self._end += len(content)

    def get(self, key: tuple[str, int]) -> bytes | None:
        """The bytes, if they were kept."""
        if key not in self._places:
            return None
        start, size = self._places[key]
        self._file.seek(start)
        return self._file.read(size)
