"""Clients that ask a server on loopback, in a process of their own: how many answers a second, and how long each took.

    python benchmarks/load.py URL FOLDER CLIENTS SECONDS

Each client keeps its connection and asks again as soon as it has its answer. Pictures are sent as a form's file.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

PICTURES = 64
Taken = tuple[float, float, int]
"""When an answer came, the seconds it took, and its status."""

WARM_UP = 1.5  # seconds before anything counts
BOUNDARY = "a-boundary-that-is-in-no-picture"


def requests(url: str, folder: Path) -> list[bytes]:
    """Whole requests, one for each of some pictures, spread over the folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    parts = urlsplit(url)
    made = []
    for file in files[:: max(1, len(files) // PICTURES)][:PICTURES]:
        body = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
            f"Content-Type: image/jpeg\r\n\r\n"
        ).encode() + file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()  # fmt: skip
        made.append(
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
            + body
        )
    return made


async def client(number: int, url: str, asked: list[bytes], until: float, taken: list[Taken]) -> None:
    """Ask until it is time, and note each answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    turn = number * 7
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(asked[turn % len(asked)])
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        now = time.perf_counter()
        taken.append((now, now - started, int(head.split(b" ", 2)[1])))
        turn += 1
    writer.close()


async def load(url: str, folder: Path, clients: int, seconds: float) -> dict[str, float]:
    """Figures of what was answered once all were warm."""
    asked = requests(url, folder)
    taken: list[Taken] = []
    begun = time.perf_counter() + WARM_UP
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number, url, asked, begun + seconds, taken))
    counted = sorted(took for at, took, _ in taken if begun <= at <= begun + seconds)
    errors = sum(status != 200 for *_, status in taken)
    return {
        "rate": len(counted) / seconds,
        "p50": 1000 * counted[len(counted) // 2],
        "p99": 1000 * counted[min(len(counted) - 1, int(0.99 * len(counted)))],
        "errors": errors,
        "all": len(taken),
    }


if __name__ == "__main__":
    url, folder, clients, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(load(url, Path(folder), int(clients), float(seconds)))))
