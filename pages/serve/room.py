"""How much may be under way at once: pictures, and bytes of uploads that are held in memory."""

from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """There is no room now; there will be soon."""


class Room:
    """Counts what is under way in one event loop."""

    def __init__(self, pictures: int, size: int) -> None:
        """At most so many pictures, and bytes."""
        self.pictures, self.size = pictures, size

    def require_some(self) -> None:
        """Raise BusyError where not even one more picture has room."""
        if self.pictures <= 0 or self.size <= 0:
            raise BusyError

    @contextmanager
    def taken(self, pictures: int) -> Iterator[None]:
        """Room for so many pictures within the block; raises BusyError where it isn't there."""
        if pictures > self.pictures:
            raise BusyError
        self.pictures -= pictures
        try:
            yield
        finally:
            self.pictures += pictures


class Held:
    """The bytes of one upload, given back by `release`."""

    def __init__(self, room: Room) -> None:
        self._room, self._size = room, 0

    def add(self, size: int) -> None:
        """Take so many more; raises BusyError where they aren't there."""
        if size > self._room.size:
            raise BusyError
        self._room.size -= size
        self._size += size

    def release(self) -> None:
        """Give all of them back."""
        self._room.size += self._size
        self._size = 0
