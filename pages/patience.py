"""The protocol of HTTP as uvicorn speaks it, with an end to patience: for heads that never come, and for crowds."""

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""In which the head of a request has to come, from its first byte on or from the beginning of a connection."""

MOST_CONNECTIONS: Final = 512


def _refusal(status: str, sentence: str, more: str = "") -> bytes:
    """A whole answer, as everything else that is refused has it: the connection is closed after it."""
    body = json.dumps({"error": sentence})
    return (
        f"HTTP/1.1 {status}\r\n{more}connection: close\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


_CROWDED: Final = _refusal("503 Service Unavailable", "Too many connections are open.", "retry-after: 5\r\n")


class PatientProtocol(H11Protocol):
    """One connection. uvicorn itself waits for ever for the rest of a head, of which each connection costs a file."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait, or refuse where too many wait already."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(_CROWDED)
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and wait for a head that is not whole."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_answering():
            self._end_waiting()
        elif self._head is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        if not self._is_answering():
            self.transport.write(_refusal("400 Bad Request", msg))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """What follows in the same packet may be half a head."""
        self._end_waiting()
        super().on_response_complete()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _end_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if not self._is_answering() and not self.transport.is_closing():
            self.transport.close()
