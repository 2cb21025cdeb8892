"""A real `serve` in a process of its own, and a client that asks it byte for byte."""

import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forking import Forks, Program

BOUNDARY = "boundary"


@dataclass(frozen=True)
class Answered:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json", self.body[:200]
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A server at work."""

    program: Program
    port: int
    token: str

    @property
    def url(self) -> str:
        """The address that the command printed."""
        return f"http://127.0.0.1:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> Answered:
        """Ask once, with the token; POST where there is a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {**({"authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        connection.request(method or ("GET" if body is None else "POST"), path, body, given)
        answer = connection.getresponse()
        found = Answered(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def head(self, path: str, length: int | None = None, more: str = "") -> bytes:
        """The head of a POST, to be followed by its body."""
        told = "" if length is None else f"Content-Length: {length}\r\n"
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"{told}{more}\r\n"
        ).encode()

    def end(self) -> int:
        """Ask it to end, and wait: its exit code."""
        os.kill(self.program.pid, signal.SIGTERM)
        return self.program.wait(60).returncode


@contextmanager
def serving(forks: Forks, checkpoint: Path, *options: object, cwd: Path) -> Iterator[Served]:
    """`cli.py serve` at work in the block; what it would write for the time being would go to `cwd`."""
    program = forks.start_cli(
        "serve", "--checkpoint", checkpoint, "--no-open", "--device", "cpu", *options, cwd=cwd, TMPDIR=cwd
    )
    try:
        yield _begun(program)
    finally:
        program.kill()


def _begun(program: Program) -> Served:
    for _ in range(600):
        found = re.search(r"http://127\.0\.0\.1:(\d+)/(?:\?token=(\S+))?\n", program.output())
        if found:
            return Served(program, int(found[1]), found[2] or "")
        assert program.poll() is None, program.wait().stderr
        time.sleep(0.05)
    raise TimeoutError


def form(files: Sequence[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form with files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def whole_answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, or breaks off."""
    found = b""
    try:
        while chunk := connection.recv(1 << 16):
            found += chunk
    except ConnectionError:
        pass
    return found
