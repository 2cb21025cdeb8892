"""HTTP/1.1 over one connection: llhttp, the parser of Node.js, reads what comes, and nothing else stands around it.

httpcore2's own connection and h11 below it took half of a transfer's processor time (`benchmarks/README.md`,
Fetching). HTTP/2 stays theirs.
"""

import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import httpcore2
import httptools

_READ: Final = 64 * 1024  # bytes asked of the stream at a time
_MOST_AROUND: Final = 100 * 1024  # bytes that a server may send without any of a body: heads, trailers, chunks' lines
_SWITCHES: Final = 101
_LENIENT: Final = {
    "lenient_headers": True,  # folded over several lines, as RFC 9112 (5.2) has user agents read them
    "lenient_chunked_length": True,  # a length beside chunks: the chunks count (6.3)
    "lenient_transfer_encoding": True,
    "lenient_optional_cr_before_lf": True,  # lines that end with LF alone (2.2)
    "lenient_optional_crlf_after_chunk": True,
    "lenient_spaces_after_chunk_size": True,
}
"""What servers of the web do, and h11 took too. Only who answers requests of others needs to be strict."""


class Http11Connection:
    """One connection, one request at a time. Raises httpcore2's exceptions."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, keepalive: float) -> None:
        """`keepalive` is the number of seconds for which an idle connection can be used again."""
        self._stream = stream
        self._keepalive = keepalive
        self._expires = 0.0
        self._answer: _Answer | None = None  # under way
        self._timeout: float | None = None  # of a read, in seconds
        self._closed = False

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Send a request. The body of the answer is to be read, and closed before the next one."""
        timeouts = request.extensions.get("timeout", {})
        self._timeout = timeouts.get("read")
        self._answer = answer = _Answer()
        try:
            with suppress(httpcore2.WriteError):  # a server that closes early may have answered why
                await self._stream.write(await _sent(request), timeouts.get("write"))
            while not answer.status:
                await self._feed(answer)
        except BaseException:
            await self.aclose()
            raise
        return httpcore2.Response(answer.status, headers=answer.headers, content=_Body(self, answer))

    async def parts(self, answer: "_Answer") -> AsyncIterator[bytes]:
        """The body of an answer, as it comes."""
        while True:
            while answer.parts:
                yield answer.parts.popleft()
            if answer.complete:
                return
            await self._feed(answer)

    async def _feed(self, answer: "_Answer") -> None:
        data = await self._stream.read(_READ, self._timeout)
        if data:
            answer.feed(data)
        else:
            answer.end()

    async def finish(self, answer: "_Answer") -> None:
        """Be ready for the next request where the answer was read to its end, and hang up where it was not."""
        self._answer = None
        if answer.complete and answer.keeps_alive and not answer.parts:
            self._expires = time.monotonic() + self._keepalive
        else:
            await self.aclose()

    async def aclose(self) -> None:
        """Hang up."""
        self._closed = True
        await self._stream.aclose()

    def is_available(self) -> bool:
        """Whether another request can be sent."""
        return self.is_idle()

    def has_expired(self) -> bool:
        """Whether it has been idle for too long, or the server has hung up or said something that was not asked."""
        return time.monotonic() > self._expires or self._stream.get_extra_info("is_readable")

    def is_idle(self) -> bool:
        """Whether it stands, and no answer is under way."""
        return not self._closed and self._answer is None

    def is_closed(self) -> bool:
        """Whether it has been closed."""
        return self._closed


class _Answer:
    """What has come of one answer. The methods that begin with `on_` are called by the parser."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts = deque[bytes]()
        self.complete = False
        self.keeps_alive = False
        self._around = 0  # bytes fed since some of the body came
        self._wrong = ""  # what the parser lets pass
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENT)

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises RemoteProtocolError for what is no answer."""
        before = len(self.parts)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # a 101, which is an answer, or one that comes after it
            self.keeps_alive = False
        except httptools.HttpParserError as error:
            self.keeps_alive = False
            if not self.complete:  # what comes after an answer is no part of it
                raise httpcore2.RemoteProtocolError(str(error)) from error
        if self._wrong:
            raise httpcore2.RemoteProtocolError(self._wrong)
        self._around = 0 if len(self.parts) > before else self._around + len(data)
        if self._around > _MOST_AROUND and not self.complete:
            raise httpcore2.RemoteProtocolError(f"it sent {self._around:,} bytes of headers")

    def end(self) -> None:
        """The server has hung up. Raises RemoteProtocolError where that cuts the answer off."""
        if not self.status:
            raise httpcore2.RemoteProtocolError("Server disconnected without sending a response.")
        told = {name.lower(): value.lower() for name, value in self.headers}
        chunked = told.get(b"transfer-encoding", b"").rpartition(b",")[2].strip() == b"chunked"
        if not self.complete and (chunked or (b"content-length" in told and b"transfer-encoding" not in told)):
            raise httpcore2.RemoteProtocolError("peer closed connection without sending complete message body")
        self.complete, self.keeps_alive = True, False

    def on_message_begin(self) -> None:
        """Something begins: after an answer nobody has asked for it."""
        self.keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody reads."""
        if not self.status:
            self.headers.append((name.rstrip(), value))  # with the parser a space before the colon belongs to the name

    def on_headers_complete(self) -> None:
        """All headers have come: of the answer, or of a word in advance (1xx), which nobody reads either."""
        status = self._parser.get_status_code()
        if self.status:
            return
        if status >= 200 or status == _SWITCHES:
            self.status = status
        elif status >= 100:
            self.headers.clear()
        else:
            self._wrong = f"it answered {status:03}, which is no status"

    def on_body(self, part: bytes) -> None:
        """Some of the body."""
        if not self.status:  # a word in advance has none (RFC 9110, 15.2)
            self._wrong = self._wrong or "it sent a body without an answer"
        elif not self.complete:
            self.parts.append(part)

    def on_message_complete(self) -> None:
        """The end of the answer or, where no headers of one were complete, of a word in advance."""
        if self.status:
            self.keeps_alive = not self.complete and self._parser.should_keep_alive()  # it no longer knows later
            self.complete = True


class _Body:
    """The body of an answer, in the shape that httpcore2 gives it."""

    def __init__(self, connection: Http11Connection, answer: _Answer) -> None:
        self._connection, self._answer = connection, answer
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.parts(self._answer)

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            await self._connection.finish(self._answer)


async def _sent(request: httpcore2.Request) -> bytes:
    """A request as bytes. Raises LocalProtocolError for one that would not be one request."""
    lines = [request.method + b" " + request.url.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers]
    if b" " in request.url.target or _ENDS.search(b" ".join(lines)):
        raise httpcore2.LocalProtocolError("a line of the request holds the end of a line")
    content = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
    return b"\r\n".join([*lines, b"", content])


_ENDS: Final = re.compile(rb"[\r\n\0]")
