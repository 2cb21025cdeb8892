"""A file of a service as a file object: its parts are asked for as they are read."""

import asyncio
import io
from collections.abc import Mapping
from typing import Any

from curate.web.answers import SourceFailed
from curate.web.api import Api, FilePart

LONGEST_PART = 8 << 20
"""Bytes that are asked for at once."""
_END = 64 << 10
"""Bytes of the end that are read first: a Parquet file says there where everything is."""


class FileInParts(io.RawIOBase):
    """Read it from a thread, and never from the one whose `loop` does the asking. Raises SourceFailed.

    `path` is the file's on the service. Where a redirect leads to a host that holds the file, that is asked from then
    on, until it refuses.
    """

    def __init__(self, api: Api, path: str, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._api, self._path, self._headers, self._loop = api, path, headers, loop
        self._address = path
        self._place = 0
        end = self._ask(f"bytes=-{_END}")
        self._size, self._end, self._end_at = end.total, end.content, end.first

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with the next bytes; how many there were."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._place))
        done = 0
        while done < wanted:
            part = self._next(wanted - done)
            view[done : done + len(part)] = part
            done += len(part)
            self._place += len(part)
        return done

    def _next(self, wanted: int) -> bytes:
        """Some of the next bytes, at least one."""
        if self._place >= self._end_at:
            start = self._place - self._end_at
            return self._end[start : start + wanted]
        last = min(self._place + min(wanted, LONGEST_PART), self._end_at) - 1
        part = self._ask(f"bytes={self._place}-{last}")
        if part.first != self._place or not 0 < len(part.content) <= last + 1 - self._place or part.total != self._size:
            raise SourceFailed(self._api.source, f"{self._path} came in other parts than were asked for")
        return part.content

    def _ask(self, span: str) -> FilePart:
        try:
            part = self._wait_for(span)
        except SourceFailed:
            if self._address == self._path:
                raise
            self._address = self._path  # the other host's leave may have run out
            part = self._wait_for(span)
        self._address = part.url
        return part

    def _wait_for(self, span: str) -> FilePart:
        asked = self._api.part(self._address, span, self._headers)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()
