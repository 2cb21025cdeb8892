"""The way out: one HTTP client whose every connection goes to an address that was checked a moment before."""

import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import httpx2

from curate.addresses import Resolver, public_addresses, system_resolver
from curate.hosts import COURTESY, DOCUMENTED, HostBudget

VERSION = "0.1.0"


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, for each read, and for one transfer as a whole."""

    connect: float = 10.0
    read: float = 20.0
    whole: float = 120.0


@dataclass(frozen=True)
class Network:
    """How to reach the web. The defaults are the real web; only tests and the demo say anything else.

    `budgets` go by host name (`curate.hosts`), `otherwise` is the budget of every other host.

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
        """`florilegium/<version> (<contact>)`: who calls, and where to complain."""
        contact = self.contact or os.environ.get("FLORILEGIUM_CONTACT", "")
        return f"florilegium/{VERSION} ({contact or 'no contact given'})"


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a name once per connection, checks every address, and connects to those very addresses.

    The connection pool knows only the name, so the Host header, TLS's server name and the certificate
    check stay those of the URL, while a name that resolves to something else a second time (DNS
    rebinding) gains nothing.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers. Raises RefusedAddress, or httpcore2's ConnectError."""
        network = self._network
        try:
            addresses = await public_addresses(host, port, network.resolve, network.loopback_ports)
        except OSError as error:
            raise httpcore2.ConnectError(f"the name '{host}' does not resolve") from error
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait, for the pool's own use."""
        await self._sockets.sleep(seconds)


class _Body(httpx2.AsyncByteStream):
    """A pool's response body under httpx2's exceptions."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


class CheckedTransport(httpx2.AsyncBaseTransport):
    """httpx2's transport over a pool with `CheckedBackend`; HTTP/2 where the server offers it."""

    def __init__(self, network: Network) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=network.certificates or httpcore2.default_ssl_context(),
            max_connections=network.connections,
            max_keepalive_connections=network.connections,
            keepalive_expiry=30.0,
            http2=True,
            network_backend=CheckedBackend(network),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises RefusedAddress or httpx2.TransportError."""
        url = request.url
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = await self._pool.handle_async_request(sent)
        assert isinstance(answer.stream, AsyncIterable)
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def open_client(network: Network) -> httpx2.AsyncClient:
    """A client that follows no redirect by itself, keeps no cookie, and reads no proxy from the environment.

    Each of the three would go where nobody has checked.
    """
    timeouts = network.timeouts
    return httpx2.AsyncClient(
        transport=CheckedTransport(network),
        headers={"User-Agent": network.user_agent, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(timeouts.read, connect=timeouts.connect, pool=None),
        follow_redirects=False,
        trust_env=False,
    )


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Turn the pool's exceptions into httpx2's; RefusedAddress passes as it is."""
    try:
        yield
    except Exception as error:
        for pool_error, httpx_error in _EXCEPTIONS:
            if isinstance(error, pool_error):
                raise httpx_error(str(error)) from error
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
)
