"""HTTP/2 from servers that misbehave, frame by frame over TLS on loopback: each costs its own picture, and no more."""

import asyncio
import ssl
import struct
from pathlib import Path

import hpack
import pytest
import trustme

from curate.web.fetch import Fetcher
from curate.web.hosts import HostBudget
from curate.web.network import Network, Timeouts
from curate.web.retries import FetchFailed
from tests.pictures import draw

HOST = "flowers.example"


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def headers(stream: int, status: str, *, ends: bool = False) -> bytes:
    return frame(1, 5 if ends else 4, stream, hpack.Encoder().encode([(":status", status)]))


def data(stream: int, content: bytes, *, ends: bool = True) -> bytes:
    return frame(0, int(ends), stream, content)


SETTINGS = frame(4, 0, 0)
GOOD = headers(1, "200") + data(1, draw(1))


class FrameServer:
    """Says `first` to the first request of each connection, from its settings on, and nothing to any further one."""

    def __init__(self, *first: bytes) -> None:
        self.first = list(first)
        """What each connection gets; the last one again and again."""
        self.connections = 0
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["h2"])
        self.authority.issue_cert(HOST).configure_cert(self.context)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = self.first[min(self.connections, len(self.first) - 1)]
        self.connections += 1
        await reader.read(65536)
        writer.write(SETTINGS + said)
        while await reader.read(65536):
            pass
        writer.close()

    def fetch(self, folder: Path, times: int = 1) -> list[bytes | FetchFailed]:
        """What comes of one picture after the other."""

        async def work() -> list[bytes | FetchFailed]:
            server = await asyncio.start_server(self.connected, "127.0.0.1", 0, ssl=self.context)
            port = server.sockets[0].getsockname()[1]
            certificates = ssl.create_default_context()
            self.authority.configure_trust(certificates)
            network = Network(
                loopback_ports=frozenset({port}), resolve=resolve, certificates=certificates, obey_robots=False,
                otherwise=HostBudget(), timeouts=Timeouts(read=1.0),
            )  # fmt: skip
            found: list[bytes | FetchFailed] = []
            async with Fetcher(network) as fetcher:
                for number in range(times):
                    address = f"https://{HOST}:{port}/{number}.jpg"
                    try:
                        fetched = await fetcher.fetch(address, folder, str(number), attempts=1)
                        found.append(fetched.path.read_bytes())
                    except FetchFailed as failed:
                        found.append(failed)
            server.close()
            return found

        return asyncio.run(work())


async def resolve(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    "said",
    [
        headers(1, "many") + data(1, draw(1)), headers(1, "") + data(1, draw(1)), headers(1, "²") + data(1, draw(1)),
        headers(1, "200") + data(1, bytes(100_000)),
        headers(1, "200") + data(1, draw(1)[:99], ends=False) + frame(4, 0, 0, b"123"),
        frame(4, 0, 0, b"123"), frame(1, 4, 1, b"\xff" * 5), b"\xff" * 100,
        headers(1, "200") + frame(3, 0, 1, bytes(4)),
        frame(7, 0, 0, bytes(8)), data(1, draw(1)), headers(3, "200", ends=True),
    ],
    ids=[
        "a word for a status", "an empty status", "a status of other letters", "a frame that is too large",
        "bad settings in a body", "bad settings", "bad headers", "no frames", "a stream that is reset", "a farewell",
        "a body without headers", "another stream",
    ],
)  # fmt: skip
def test_what_is_no_answer_costs_its_own_picture_alone(said: bytes, tmp_path: Path) -> None:
    bad, good = FrameServer(said, GOOD).fetch(tmp_path, 2)
    assert isinstance(bad, FetchFailed)
    assert good == draw(1)


def test_after_an_answer_that_goes_on_another_connection_is_taken(tmp_path: Path) -> None:
    """Else the server counts it among the answers that it gives at once, and in the end gives no more."""
    page = headers(1, "200") + data(1, b"<html>no picture", ends=False)
    server = FrameServer(page, page, GOOD)
    *bad, good = server.fetch(tmp_path, 3)
    assert [isinstance(one, FetchFailed) and one.kind for one in bad] == ["not a picture"] * 2
    assert good == draw(1)
    assert server.connections == 3
