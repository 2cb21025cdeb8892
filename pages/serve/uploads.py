"""What a request brings, read into memory as it comes: one picture's bytes, or the files of a form.

Nothing is written to disk, as Starlette's own reading of forms would do, and no name that is sent is used as a path.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from pages.serve.room import Held

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # it is there for those who check types alone

_SILENCE: Final = 15.0  # seconds in which a client has to send something
_SLOWEST: Final = 300.0  # and all of it
_LONGEST_NAME: Final = 255  # characters of a file's name that are kept
_MOST_PARTS: Final = 1000  # of a form, fields without a file among them


@dataclass(frozen=True)
class Upload:
    """A file's name, as it was sent, and its bytes."""

    name: str
    data: bytes


async def uploads_of(request: Request, most: int, held: Held) -> list[Upload]:
    """The pictures of a request, `most` of them at most, each byte accounted for in `held`.

    Raises HTTPException for what is none, 400, for too many, 413, and for one that comes too slowly, 408.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        chunks: list[bytes] = []
        await _read(request, held, chunks.append)
        if not any(chunks):
            raise HTTPException(400, "The request brings no picture: send its bytes, or a form with files.")
        return [Upload("", b"".join(chunks))]
    form = _Form(most)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks(), max_header_count=16)
        await _read(request, held, parser.write)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise HTTPException(400, "The form is damaged: send it as multipart/form-data.") from error
    if not form.is_whole:
        raise HTTPException(400, "The form is cut off: send it again.")
    if not form.uploads:
        raise HTTPException(400, "The form has no file: send pictures as files.")
    return form.uploads


async def pass_over(request: Request) -> None:
    """Read what is left of a body, if it comes soon enough, and keep nothing."""
    with suppress(RuntimeError, TimeoutError, HTTPException, ClientDisconnect):  # the first: it was read already
        async with asyncio.timeout(_SILENCE):
            async for _ in request.stream():
                pass


async def _read(request: Request, held: Held, take: Callable[[bytes], object]) -> None:
    """Give the body to `take` as it comes."""
    now = asyncio.get_running_loop().time
    end = now() + _SLOWEST
    try:
        async with asyncio.timeout(_SILENCE) as patience:
            async for chunk in request.stream():
                patience.reschedule(min(end, now() + _SILENCE))
                held.add(len(chunk))
                take(chunk)
    except TimeoutError as error:
        raise HTTPException(408, "The picture came too slowly: send it again.", {"connection": "close"}) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The picture did not come to its end.") from error


class _Form:
    """Takes what the parser finds of multipart/form-data (RFC 7578), and keeps files alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.uploads: list[Upload] = []
        self.is_whole = False
        self._parts = 0
        self._header = bytearray(), bytearray()  # name and value of the one that is being read
        self._headers: dict[str, str] = {}
        self._name: str | None = None  # of the file that is being read
        self._data: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._head_is_read,
            "on_part_data": self._take,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise HTTPException(413, f"The form has more than {_MOST_PARTS:,} fields.")
        self._headers, self._name, self._data = {}, None, []

    def _end_header(self) -> None:
        name, value = (bytes(part).decode("utf-8", "replace") for part in self._header)
        self._headers[name.strip().lower()] = value
        self._header = bytearray(), bytearray()

    def _head_is_read(self) -> None:
        _, options = parse_options_header(_latin(self._headers.get("content-disposition", "")))
        name = options.get(b"filename")
        if name is None and self._headers.get("content-type", "").lower().startswith("image/"):
            name = b""
        self._name = None if name is None else name.decode("utf-8", "replace")[:_LONGEST_NAME]
        if self._name is not None and len(self.uploads) >= self.most:
            pictures = "one picture" if self.most == 1 else f"{self.most:,} pictures"
            raise HTTPException(413, f"The form has more than {pictures}.")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name is not None:
            self._data.append(data[start:end])

    def _end(self) -> None:
        # A browser sends a file without name and content where none was chosen
        if self._name is not None and (self._name or any(self._data)):
            self.uploads.append(Upload(self._name, b"".join(self._data)))
        self._data = []

    def _finish(self) -> None:
        self.is_whole = True


def _latin(value: str) -> str:
    """The same bytes as the header's UTF-8, a character each, as the parser of headers wants them."""
    return value.encode("utf-8").decode("latin-1")
