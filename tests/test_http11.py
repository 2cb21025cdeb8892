"""Our way of speaking HTTP/1.1 against httpcore2's: what servers say means the same, however it is cut into packets."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpcore2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.web.http11 import Http11Connection

ORIGIN = httpcore2.Origin(b"http", b"flowers.example", 80)

SAID = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nroses",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nroses",
    "an empty reason": b"HTTP/1.1 404 \r\nContent-Length: 5\r\n\r\nroses",
    "one header twice": b"HTTP/1.1 200 OK\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nroses",
    "other letters": b"HTTP/1.1 200 OK\r\nX-Name: caf\xc3\xa9 \xe9\r\nContent-Length: 5\r\n\r\nroses",
    "to be closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nroses",
    "to the end": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\nroses and more",
    "an older version": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nroses",
    "an older version, to the end": b"HTTP/1.0 200 OK\r\n\r\nroses",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nroses\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "chunks with extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nroses\r\n0\r\n\r\n",
    "chunks with trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nroses\r\n0\r\nX: 1\r\n\r\n",
    "chunks and a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nroses\r\n0\r\n\r\n",
    "a word in advance": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses",
    "several words in advance": b"HTTP/1.1 100 Continue\r\n\r\n" * 3
    + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses",
    "nothing has changed": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n  b\r\n\tc\r\nContent-Length: 5\r\n\r\nroses",
    "lines without CR": b"HTTP/1.1 200 OK\nX: a\nContent-Length: 5\n\nroses",
    "more than it announced": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses and more",
    "a second answer": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses"
    b"HTTP/1.1 500 No\r\nX: 2\r\nContent-Length: 3\r\n\r\nbad",
    "a word in advance after the answer": b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\nroses"
    b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol after the answer": b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\nroses"
    b"HTTP/1.1 101 On\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "no status": b"HTTP/1.1 099 What\r\nContent-Length: 5\r\n\r\nweeds"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses",
    "a word in advance with a body": b"HTTP/1.1 199 What\r\nContent-Length: 5\r\n\r\nweeds"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nroses",
    "the beginning of a second answer": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrosesHTTP/1.1 50",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: ima",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nros",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nros",
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nroses\r\n",
    "only a word in advance": b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a page without a head": b"<html><body>roses</body></html>",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nroses",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nroses",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nroses",
    "a chunk of no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nroses\r\n0\r\n\r\n",
    "a name with a space": b"HTTP/1.1 200 OK\r\nBad name: 1\r\nContent-Length: 5\r\n\r\nroses",
}
"""What a server says, and then hangs up."""


class Said(httpcore2.AsyncNetworkStream):
    """A connection whose other side says some packets, and hangs up or, with `waits`, is silent from then on."""

    def __init__(self, packets: Sequence[bytes], *, waits: bool = False) -> None:
        self.packets = [packet for packet in packets if packet]
        self.waits = waits
        self.heard = b""
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if not self.packets and self.waits:
            raise httpcore2.ReadTimeout("silent")
        packet = self.packets.pop(0) if self.packets else b""
        if len(packet) > max_bytes:
            self.packets.insert(0, packet[max_bytes:])
        return packet[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self.heard += buffer

    async def aclose(self) -> None:
        self.closed = True

    def get_extra_info(self, info: str) -> Any:
        assert info == "is_readable"
        return self.closed


@dataclass
class Answer:
    """What an answer came to: all of it, or as much as came before what was raised."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    raised: str = ""
    goes_on: bool = False


def asked(path: bytes = b"/a.jpg", **more: Any) -> httpcore2.Request:
    url = httpcore2.URL(scheme=b"http", host=b"flowers.example", port=80, target=path)
    return httpcore2.Request(more.pop("method", "GET"), url, **{"headers": [(b"Host", b"flowers.example")], **more})


async def answer_of(connection: Any, request: httpcore2.Request) -> Answer:
    found = Answer()
    try:
        response = await connection.handle_async_request(request)
        found.status = response.status
        found.headers = [(name.lower(), b" ".join(value.split())) for name, value in response.headers]
        async for part in response.stream:
            found.body += part
        await response.aclose()
    except (httpcore2.ProtocolError, httpcore2.ReadTimeout) as error:
        found.raised = type(error).__name__
    found.goes_on = connection.is_idle()
    return found


def ours(stream: httpcore2.AsyncNetworkStream) -> Http11Connection:
    return Http11Connection(stream, 30.0)


def theirs(stream: httpcore2.AsyncNetworkStream) -> httpcore2.AsyncHTTP11Connection:
    return httpcore2.AsyncHTTP11Connection(ORIGIN, stream, keepalive_expiry=30.0)


@pytest.mark.parametrize("name", SAID)
@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 160), max_size=5))
def test_what_a_server_says_means_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SAID[name])]
    packets = [SAID[name][start:end] for start, end in pairwise(places)]
    expected = asyncio.run(answer_of(theirs(Said(packets)), asked()))
    found = asyncio.run(answer_of(ours(Said(packets)), asked()))
    if expected.raised:  # how much came before depends on who looks when
        assert (found.raised, found.goes_on) == (expected.raised, False)
    else:
        if name in UNASKED:
            found.goes_on = expected.goes_on
        assert found == expected


UNASKED = {
    "more than it announced", "a second answer", "the beginning of a second answer", "to the end",
    "a word in advance after the answer", "another protocol after the answer",
}  # fmt: skip
"""What makes us hang up where httpcore2 would ask again on the same connection."""


@pytest.mark.parametrize("name", sorted(UNASKED))
def test_after_what_nobody_asked_for_the_connection_is_not_used_again(name: str) -> None:
    stream = Said([SAID[name]])
    assert not asyncio.run(answer_of(ours(stream), asked())).goes_on
    assert stream.closed


def test_what_comes_in_thousands_of_packets_comes_whole() -> None:
    body = bytes(range(256)) * 40
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    said = head + b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7)
    )
    found = asyncio.run(answer_of(ours(Said([bytes([byte]) for byte in said + b"0\r\n\r\n"])), asked()))
    assert (found.body, found.goes_on) == (body, True)


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 8_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 30_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=" + b"b" * 200_000,
        b"HTTP/1.1 099 What\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 199 What\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000,
    ],
    ids=["headers", "one header", "words in advance", "trailers", "an extension", "no status", "a word's body"],
)
def test_what_goes_on_without_a_body_is_cut_off(flood: bytes) -> None:
    found = asyncio.run(answer_of(ours(Said([flood], waits=True)), asked()))
    assert found.raised == "RemoteProtocolError"


@pytest.mark.parametrize("name", [b"Content-Length : 5", b"Transfer-Encoding : chunked"])
def test_a_space_before_the_colon_hides_no_length(name: bytes) -> None:
    """A body that breaks off would pass for a whole one."""
    said = (
        b"HTTP/1.1 200 OK\r\n" + name + b"\r\n\r\n" + (b"5\r\nroses\r\n0\r\n\r\n" if b"chunked" in name else b"roses")
    )
    found = asyncio.run(answer_of(ours(Said([said])), asked()))
    assert (found.body, found.raised) == (b"roses", "")
    assert asyncio.run(answer_of(ours(Said([said[:-2]])), asked())).raised == "RemoteProtocolError"


def test_a_change_of_protocol_is_an_answer_and_no_more() -> None:
    stream = Said([b"HTTP/1.1 101 On\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nroses"])
    found = asyncio.run(answer_of(ours(stream), asked()))
    assert (found.status, found.body, found.raised, found.goes_on) == (101, b"", "", False)


def test_one_connection_serves_request_after_request() -> None:
    async def work() -> None:
        stream = Said([SAID["a length"], SAID["chunks"], SAID["to be closed"]], waits=True)
        connection = ours(stream)
        assert (await answer_of(connection, asked(b"/1"))).body == b"roses"
        assert connection.is_available()
        assert not connection.has_expired()
        assert (await answer_of(connection, asked(b"/2"))).body == b"roses0123456789"
        assert not stream.closed
        assert (await answer_of(connection, asked(b"/3"))).body == b"roses"
        assert stream.closed
        assert not connection.is_available()
        assert [line for line in stream.heard.split(b"\r\n") if line.startswith(b"GET")] == [
            b"GET /1 HTTP/1.1", b"GET /2 HTTP/1.1", b"GET /3 HTTP/1.1",
        ]  # fmt: skip

    asyncio.run(work())


def test_an_answer_that_is_not_read_to_its_end_takes_the_connection_with_it() -> None:
    async def work() -> None:
        stream = Said([SAID["half a body"], b"es", SAID["a length"]], waits=True)
        connection = ours(stream)
        response = await connection.handle_async_request(asked())
        await response.aclose()
        assert stream.closed
        assert not connection.is_available()

    asyncio.run(work())


def test_a_connection_that_was_idle_for_too_long_has_expired() -> None:
    async def work() -> None:
        connection = Http11Connection(Said([SAID["a length"]], waits=True), -1.0)
        await answer_of(connection, asked())
        assert connection.has_expired()

    asyncio.run(work())


def test_a_form_is_sent_as_it_is() -> None:
    stream = Said([SAID["a length"]], waits=True)
    headers = [(b"Host", b"flowers.example"), (b"Content-Length", b"3")]
    asyncio.run(answer_of(ours(stream), asked(b"/token", method="POST", headers=headers, content=b"a=b")))
    assert stream.heard == b"POST /token HTTP/1.1\r\nHost: flowers.example\r\nContent-Length: 3\r\n\r\na=b"


@pytest.mark.parametrize(
    "request_",
    [
        asked(b"/a HTTP/1.1\r\nX: y\r\n\r\nGET /b"), asked(b"/a b"),
        asked(headers=[(b"Host", b"flowers.example\r\nCookie: x")]), asked(headers=[(b"Host\0", b"flowers.example")]),
    ],
    ids=["path", "space", "value", "name"],
)  # fmt: skip
def test_no_request_holds_another(request_: httpcore2.Request) -> None:
    stream = Said([SAID["a length"]], waits=True)
    assert asyncio.run(answer_of(ours(stream), request_)).raised == "LocalProtocolError"
    assert stream.heard == b""


def test_a_server_that_hangs_up_before_it_has_all_may_have_said_why() -> None:
    class HungUp(Said):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            await super().write(buffer, timeout)
            raise httpcore2.WriteError("broken pipe")

    answer = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    found = asyncio.run(answer_of(ours(HungUp([answer])), asked(method="POST", content=b"x" * 9)))
    assert (found.status, found.goes_on) == (413, False)
