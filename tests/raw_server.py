"""A server on 127.0.0.1 that says whatever bytes it likes, and when."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Self

Speaker = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""(the connection, the number of the request on it, from 0) → once the answer is said."""


class RawServer:
    """Reads heads of requests and lets `speak` answer each, in a thread of its own."""

    def __init__(self, speak: Speaker) -> None:
        self.port = 0
        self.asked: list[bytes] = []
        """The head of each request."""
        self._speak = speak
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            for number in range(1 << 30):
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                await self._speak(writer, number)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()
