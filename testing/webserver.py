"""A small HTTP/1.1 server on loopback that can also misbehave: the stage of the local web."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self, TextIO
from urllib.parse import parse_qsl, unquote, urlsplit

REASONS = {200: "OK", 301: "Moved Permanently", 302: "Found", 429: "Too Many Requests"}
LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True)
class Request:
    """One request: decoded path, query parameters (repeated ones joined by commas), headers in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What to answer. `raw` takes over the connection after the head and may do with it what it likes."""

    body: bytes = b""
    kind: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None


@dataclass
class Visit:
    """One line of the log; times are seconds of `time.monotonic()`, `finished` 0 while the answer is under way."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    started: float
    finished: float = 0.0
    status: int = 0


class Server:
    """Serves `answer` on 127.0.0.1 from a thread of its own, and logs every visit."""

    def __init__(self, answer: Callable[[Request], Reply], *, port: int = 0, latency: float = 0.0) -> None:
        self.log: list[Visit] = []
        self.latency = latency
        self.port = port
        self.recorder: TextIO | None = None
        self._answer = answer
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local web", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=LONGEST_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may serve another."""
        request = await _read_request(reader)
        visit = Visit(request.method, request.path, request.query, request.headers, time.monotonic())
        if self.recorder is None:
            self.log.append(visit)
        if self.latency:
            await asyncio.sleep(self.latency)
        reply = self._answer(request)
        visit.status = reply.status
        headers = {"Content-Type": reply.kind, **reply.headers}
        if reply.raw is None:
            headers.setdefault("Content-Length", str(len(reply.body)))
        head = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Other')}\r\n"
        head += "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        writer.write(head.encode("latin-1") + b"\r\n" + (b"" if request.method == "HEAD" else reply.body))
        if reply.raw is not None:
            await reply.raw(writer)
            return False
        await writer.drain()
        visit.finished = time.monotonic()
        if self.recorder is not None:
            line = {"path": visit.path, "status": visit.status, "started": visit.started, "finished": visit.finished}
            self.recorder.write(json.dumps(line) + "\n")
        return request.headers.get("connection", "").lower() != "close"


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    query: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        query[key] = f"{query[key]},{value}" if key in query else value
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, unquote(parts.path), query, headers, body)
