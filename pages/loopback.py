"""Runs a page's application in this process until it is stopped: on loopback, at an address that is printed."""

import errno
import ipaddress
import os
import signal
import socket
import webbrowser
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final
from zlib import crc32

import uvicorn
from starlette.types import ASGIApp

from curate.errors import UserError
from pages.patience import PatientProtocol

LOOPBACK: Final = "127.0.0.1"

_FIRST_PORT: Final = 20_000
_PORTS: Final = 12_000
"""The ports that belong to names: below those that systems give to connections that go out."""

_GRACE: Final = 30
"""Seconds in which answers that were begun are finished."""


@dataclass(frozen=True)
class Listening:
    """A socket that is bound, and what browsers may call it."""

    sockets: list[socket.socket]
    host: str
    port: int

    @property
    def hosts(self) -> set[str]:
        """The values of `Host` that are ours; for all addresses of the machine also its names."""
        names = {self.host, LOOPBACK, "localhost", "[::1]"}
        if self.host in {"0.0.0.0", "::"}:  # noqa: S104 - whoever asked for it gets it
            names |= {socket.gethostname().lower(), *_own_addresses()}
        return {f"{name}:{self.port}" for name in names} | ({*names} if self.port == 80 else set())

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine reaches it."""
        return self.host == "localhost" or ipaddress.ip_address(self.sockets[0].getsockname()[0]).is_loopback

    @property
    def urls(self) -> list[str]:
        """The address to open on this machine, and those for others, where it listens for them."""
        if self.host not in {"0.0.0.0", "::"}:  # noqa: S104
            return [self.url]
        others = sorted(one for one in _own_addresses() if not one.startswith("127.") and one != "[::1]")
        return [self.url, *(f"http://{one}:{self.port}/" for one in others)]

    @property
    def url(self) -> str:
        """The address to open on this machine."""
        host = LOOPBACK if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def close(self) -> None:
        """Give the port back."""
        for bound in self.sockets:
            bound.close()


def listen(port: int = 0, host: str = LOOPBACK) -> Listening:
    """Bind a socket; port 0 takes a free one. Raises `UserError` where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol asyncio knows that it is TCP, and turns off Nagle's algorithm: else each answer waits for 40 ms
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would take the port from a server that runs
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1024)
    except (OSError, OverflowError, UnicodeError) as error:
        bound.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise UserError(f"Port {port} of {host} is taken: give another with --port, or 0 for any.") from error
        why = error.strerror if isinstance(error, OSError) else error
        is_port = host == LOOPBACK or isinstance(error, (PermissionError, OverflowError))
        other = "--port" if is_port else "--host: an address of this machine, or 0.0.0.0 for all of them"
        raise UserError(f"Nothing can listen at {host}, port {port} ({why}): give another {other}.") from error
    return Listening([bound], host, bound.getsockname()[1])


def listen_again(name: str) -> Listening:
    """Bind the port of this machine that belongs to a name; where it is taken, any that is free.

    A page whose server was killed so finds the next one: its address is the same, and the cookie that the next one
    sets in another tab is its own.
    """
    with suppress(UserError):
        return listen(_FIRST_PORT + crc32(name.encode()) % _PORTS)
    return listen()


def run(
    app: ASGIApp,
    listening: Listening,
    *,
    started: Callable[[], None] = lambda: None,
    open_at: str = "",
) -> None:
    """Serve until SIGINT or SIGTERM; answers that were begun are finished, for at most 30 s.

    `started` is called once requests are answered; then a browser is opened at `open_at`, unless that is "".
    """
    config = uvicorn.Config(
        app, http=PatientProtocol, log_level="warning", access_log=False, ws="none", lifespan="on",
        server_header=False, timeout_graceful_shutdown=_GRACE,
    )  # fmt: skip
    server = _Server(config, started, open_at)
    try:
        server.run(listening.sockets)
    finally:
        listening.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None], open_at: str) -> None:
        super().__init__(config)
        self._started = started
        self._open_at = open_at

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit:
            return
        self._started()
        if self._open_at:
            with suppress(webbrowser.Error):
                webbrowser.open(self._open_at)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn names it
        """Note the first signal and end in order; a signal is the usual way to end, so that it is not raised again."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True


def _own_addresses() -> Collection[str]:
    """The machine's addresses, as they stand in a URL."""
    found: set[str] = set()
    with suppress(OSError):
        found |= {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    # Its own name may lead to loopback alone. That with which others would be reached is asked for; nothing is sent
    for family, other in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((other, 9))
            found.add(str(asking.getsockname()[0]).partition("%")[0])
    return {f"[{address}]" if ":" in address else address for address in found}
