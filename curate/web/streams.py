"""Connections over asyncio's own streams, in the shape that the HTTP pool wants.

The pool's stock backend goes through anyio, whose timeouts and socket attributes cost more than all the rest of a
short transfer; this one asks the socket itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2

BUFFER = 256 * 1024
"""Bytes that may wait to be read on one connection."""


class _Reader(asyncio.StreamReader):
    """What has come, and how many bytes of it nobody has read yet."""

    def __init__(self) -> None:
        super().__init__(limit=BUFFER, loop=asyncio.get_running_loop())
        self.unread = 0

    def feed_data(self, data: Any) -> None:  # bytes, which typeshed calls otherwise
        """Take what has come."""
        self.unread += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        """The next bytes, b"" at the end."""
        data = await super().read(n)
        self.unread -= len(data)
        return data


class Stream(httpcore2.AsyncNetworkStream):
    """One connection. Raises httpcore2's exceptions."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._encrypted: ssl.SSLObject | None = writer.get_extra_info("ssl_object")

    @property
    def protocol(self) -> str:
        """What the server has chosen of what TLS offered it, as "h2"; "" where it was not asked."""
        return (self._encrypted.selected_alpn_protocol() or "") if self._encrypted else ""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, b"" at the end."""
        with _errors(httpcore2.ReadTimeout, httpcore2.ReadError):
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, or wait until enough of them are on their way."""
        if not buffer:
            return
        with _errors(httpcore2.WriteTimeout, httpcore2.WriteError):
            self._writer.write(buffer)
            async with asyncio.timeout(timeout):
                await self._writer.drain()

    async def aclose(self) -> None:
        """Hang up at once; what the other side still has to say no longer matters."""
        self._writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed on the loop's next turn

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "Stream":
        """Go on encrypted, with the certificate checked against `server_hostname`."""
        try:
            with _errors(httpcore2.ConnectTimeout, httpcore2.ConnectError):
                async with asyncio.timeout(timeout):
                    await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return Stream(self._reader, self._writer)

    def get_extra_info(self, info: str) -> Any:
        """What the pool wants to know: the TLS object, and whether the other side has said something or hung up.

        The loop reads whatever comes, on idle connections too, so an end has been seen by its next turn, and asking the
        operating system once more finds nothing else.
        """
        if info == "ssl_object":
            return self._encrypted
        if info == "is_readable":
            return self._reader.unread > 0 or self._reader.at_eof() or self._writer.is_closing()
        if info == "socket":
            return self._socket
        return None


async def connect(address: str, port: int, timeout: float | None) -> Stream:
    """Connect to an IP address. Raises httpcore2's ConnectTimeout or ConnectError."""
    with _errors(httpcore2.ConnectTimeout, httpcore2.ConnectError):
        async with asyncio.timeout(timeout):
            loop, reader = asyncio.get_running_loop(), _Reader()
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            transport, _ = await loop.create_connection(lambda: protocol, address, port)
            return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


@contextmanager
def _errors(timeout: type[Exception], otherwise: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:  # ssl.SSLError is one
        raise otherwise(str(error)) from error
