"""The way out: one HTTP client whose every connection goes to an address that was checked a moment before."""

import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpcore2
import httpx2

from curate.errors import UserError
from curate.printable import printable
from curate.program import __version__
from curate.web.addresses import Resolver, public_addresses, system_resolver
from curate.web.hosts import COURTESY, DOCUMENTED, HostBudget
from curate.web.http11 import Http11Connection
from curate.web.streams import Stream, connect

_Connection = Http11Connection | httpcore2.AsyncHTTP2Connection
_Place = tuple[bytes, bytes, int | None]
"""Scheme, host and port of a connection."""
_LONGEST_CONTACT = 500  # characters
_KEPT_ALIVE = 30.0  # seconds that an idle connection is kept


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, for each read, and for one transfer as a whole."""

    connect: float = 10.0
    read: float = 20.0
    whole: float = 120.0


@dataclass(frozen=True)
class Network:
    """How to reach the web. The defaults are the real web; only tests and the demo say anything else.

    `budgets` go by host name (`curate.web.hosts`), `otherwise` is the budget of every other host.

    `loopback_ports` opens 127.0.0.1 and ::1 on those ports, `services` puts another base URL in the
    place of a source's own (by the source's name), `resolve` another resolver in the place of the
    system's, and `certificates` another trust store. The command line sets none of the four.
    """

    contact: str = ""
    budgets: Mapping[str, HostBudget] = field(default_factory=lambda: DOCUMENTED)
    otherwise: HostBudget = COURTESY
    connections: int = 32
    timeouts: Timeouts = Timeouts()
    largest_picture: int = 50 * 2**20
    obey_robots: bool = True
    obey_robots_tag: bool = True
    loopback_ports: frozenset[int] = frozenset()
    services: Mapping[str, str] = field(default_factory=dict)
    resolve: Resolver = system_resolver
    certificates: ssl.SSLContext | None = None

    @property
    def user_agent(self) -> str:
        """`florilegium/<version> (<contact>)`: who calls, and where to complain.

        Raises UserError for a contact that no header can carry.
        """
        contact = self.contact or os.environ.get("FLORILEGIUM_CONTACT", "")
        if not (contact.isascii() and contact.isprintable() and len(contact) <= _LONGEST_CONTACT):
            raise UserError(
                f"The contact '{printable(contact[:_LONGEST_CONTACT])}' cannot be sent to a service: give --contact "
                "with an e-mail address or the address of a page, in plain letters (ASCII) and on one line."
            )
        return f"florilegium/{__version__} ({contact or 'no contact given'})"


async def open_stream(network: Network, host: str, port: int) -> Stream:
    """Resolve a name, check every address, and connect to the first of those very addresses that answers.

    The transport knows only the name, so the Host header, TLS's server name and the certificate check stay those of the
    URL, while a name that resolves to something else a second time (DNS rebinding) gains nothing. Raises
    RefusedAddress, or httpcore2's ConnectError or ConnectTimeout.
    """
    timeout = network.timeouts.connect
    try:
        addresses = await public_addresses(host, port, network.resolve, network.loopback_ports)
    except OSError as error:
        raise httpcore2.ConnectError(f"the name '{host}' does not resolve") from error
    for address in addresses[:-1]:
        try:
            return await connect(address, port, timeout)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
            continue
    return await connect(addresses[-1], port, timeout)


class Response(httpx2.Response):
    """The answer to one request, which knows the URL that was asked. Its body is still to be read."""

    def __init__(self, url: httpx2.URL, answer: httpcore2.Response, body: "Body") -> None:
        super().__init__(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)
        self.asked = url


class CheckedTransport:
    """Requests over connections that `open_stream` opens; HTTP/2 where the server offers it.

    A connection carries one request at a time, HTTP/2 or not, because connections are what a host's budget counts.
    Idle ones wait in one list per origin, so finding one does not depend on how many there are. httpcore2's own pool
    looks at every connection for every request. Over the same checked backend it reached 0.76 of this one's rate, and
    0.57 with its own streams in the place of `curate.web.streams`, each with the number of connections that suits it
    best; with 128 of them 0.51 and 0.41 (`benchmarks/README.md`, Fetching).
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._certificates = network.certificates
        self._idle: dict[_Place, list[_Connection]] = {}
        self._waiting: deque[_Connection] = deque()
        self._open: set[_Connection] = set()

    async def send(self, url: httpx2.URL, request: httpcore2.Request) -> Response:
        """Send the request for `url`. Raises RefusedAddress or httpx2.TransportError."""
        place = (url.raw_scheme, url.raw_host, url.port)
        with _as_httpx():
            connection = await self._take(place) or await self._connect(request.url.origin)
            try:
                answer = await connection.handle_async_request(request)
            except BaseException:
                await self._drop(connection)
                raise
        return Response(url, answer, Body(answer.stream, lambda whole: self._give_back(connection, place, whole=whole)))

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in tuple(self._open):
            await self._drop(connection)
        self._idle.clear()
        self._waiting.clear()

    async def _take(self, place: _Place) -> _Connection | None:
        """The connection to this origin that was used last, if it still stands."""
        idle = self._idle.get(place, [])
        while idle:
            connection = idle.pop()
            self._waiting.remove(connection)
            if connection.is_available() and not connection.has_expired():
                return connection
            await self._drop(connection)
        return None

    async def _connect(self, origin: httpcore2.Origin) -> _Connection:
        """A new connection, which speaks HTTP/2 where the server offers it."""
        host = origin.host.decode("ascii")
        stream = await open_stream(self._network, host, origin.port)
        if origin.scheme == b"https":
            if self._certificates is None:
                self._certificates = httpcore2.default_ssl_context()  # some megabytes, for those who need them
            self._certificates.set_alpn_protocols(["h2", "http/1.1"])
            stream = await stream.start_tls(self._certificates, host, self._network.timeouts.connect)
        connection: _Connection
        if stream.protocol == "h2":
            connection = httpcore2.AsyncHTTP2Connection(origin, stream, keepalive_expiry=_KEPT_ALIVE)
        else:
            connection = Http11Connection(stream, _KEPT_ALIVE)
        self._open.add(connection)
        return connection

    async def _give_back(self, connection: _Connection, place: _Place, *, whole: bool) -> None:
        """Keep a connection for the next request; of too many, the one that has been idle longest goes.

        HTTP/1.1 knows itself whether the answer was read to its end. Over HTTP/2 httpcore2 leaves one that was not as
        it is: it would count among the streams that the server allows, and take of the connection's window, for good.
        """
        half = not whole and isinstance(connection, httpcore2.AsyncHTTP2Connection)
        if half or not connection.is_idle() or connection.is_closed():
            await self._drop(connection)
            return
        self._idle.setdefault(place, []).append(connection)
        self._waiting.append(connection)
        if len(self._waiting) > self._network.connections:
            oldest = self._waiting.popleft()
            next(idle for idle in self._idle.values() if oldest in idle).remove(oldest)
            await self._drop(oldest)

    async def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        await connection.aclose()


class Body(httpx2.AsyncByteStream):
    """A response's body under httpx2's exceptions.

    Says when its connection is free again, and whether it was read to its end.
    """

    def __init__(self, stream: Any, finished: Callable[[bool], Awaitable[None]]) -> None:
        self._stream = stream
        self._finished = finished
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._stream:
                yield part
        self._whole = True

    async def aclose(self) -> None:
        """Stop reading, and say that the connection is free."""
        try:
            await self._stream.aclose()
        finally:
            await self._finished(self._whole)


class Client:
    """Asks one URL at a time: it follows no redirect, keeps no cookie, reads no proxy from the environment.

    Each of the three would go where nobody has checked.
    """

    def __init__(self, network: Network) -> None:
        self._transport = CheckedTransport(network)
        self._headers = {"User-Agent": network.user_agent, "Accept-Encoding": "identity", "Connection": "keep-alive"}
        timeouts = network.timeouts
        waits = {"connect": timeouts.connect, "read": timeouts.read, "write": timeouts.read}
        self._extensions = {"timeout": waits}

    @asynccontextmanager
    async def stream(
        self,
        url: httpx2.URL,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        form: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Response]:
        """The answer to one request, its body still to be read. Raises RefusedAddress or httpx2.TransportError."""
        answer = await self._transport.send(url, self._request(method, url, headers or {}, form))
        try:
            yield answer
        finally:
            await answer.aclose()

    def _request(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> httpcore2.Request:
        """The request in the pool's own shape: httpx2's, which is made into it, took 6% of a picture's time."""
        sent = {"Host": url.netloc.decode(), **self._headers, **headers}
        content = None
        if form is not None:
            content = urlencode(form).encode()
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(content))}
        return httpcore2.Request(
            method=method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()],
            content=content,
            extensions=self._extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Turn the pool's exceptions into httpx2's; RefusedAddress passes as it is."""
    try:
        yield
    except Exception as error:
        for pool_error, httpx_error in _EXCEPTIONS:
            if isinstance(error, pool_error):
                raise httpx_error(str(error)) from error
        if type(error).__module__.startswith("h2."):  # frames that it refuses, which httpcore2 passes on as they come
            raise httpx2.RemoteProtocolError(str(error)) from error
        raise


# From the narrow to the wide: the first that fits is raised.
_EXCEPTIONS: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout),
    (httpcore2.TimeoutException, httpx2.PoolTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ReadError, httpx2.ReadError),
    (httpcore2.WriteError, httpx2.WriteError),
    (httpcore2.NetworkError, httpx2.ReadError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
    (ValueError, httpx2.RemoteProtocolError),  # httpcore2's, for a status of HTTP/2 that is no number
)
