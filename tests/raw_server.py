"""A server on 127.0.0.1 that says whatever bytes it likes, and when."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from testing.webserver import Reply, Request, Server

Speaker = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""(the connection, the number of the request on it, from 0) → once the answer is said."""


class RawServer(Server):
    """Reads heads of requests and lets `speak` answer each, in a thread of its own."""

    def __init__(self, speak: Speaker) -> None:
        super().__init__(_unasked)
        self.asked: list[bytes] = []
        """The head of each request."""
        self._speak = speak
        self._begun: Counter[asyncio.StreamWriter] = Counter()  # requests on each connection

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        number = self._begun[writer]
        self._begun[writer] += 1
        await self._speak(writer, number)
        await writer.drain()
        return True


def _unasked(request: Request) -> Reply:
    raise AssertionError(f"{request.path} is answered in bytes")
