"""Everything a picture server can do wrong, each fault under its name."""

import asyncio
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from testing.webserver import Reply

JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def bomb(width: int = 60_000, height: int = 60_000, size: int = 100_000) -> bytes:
    """A PNG of about `size` bytes whose header claims far more pixels than fit into memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    packed = zlib.compress(bytes(size * 1100), 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed[:size]) + chunk(b"IEND", b"")


async def _endlessly(writer: asyncio.StreamWriter) -> None:
    writer.write(JPEG_HEAD)
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def _byte_by_byte(writer: asyncio.StreamWriter) -> None:
    for byte in JPEG_HEAD + bytes(3600):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1.0)


async def _silence(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    await asyncio.sleep(3600)


def _redirect(target: str) -> Callable[[bytes], Reply]:
    return lambda picture: Reply(status=302, headers={"Location": target})  # noqa: ARG005


FAULTS: dict[str, Callable[[bytes], Reply]] = {
    "endless": lambda picture: Reply(kind="image/jpeg", raw=_endlessly),  # noqa: ARG005
    "slow": lambda picture: Reply(kind="image/jpeg", raw=_byte_by_byte),  # noqa: ARG005
    "silent": lambda picture: Reply(kind="image/jpeg", raw=_silence),  # noqa: ARG005
    "too-short": lambda picture: Reply(
        picture[: len(picture) // 2],
        "image/jpeg",
        headers={"Content-Length": str(len(picture)), "Connection": "close"},
        raw=_close,
    ),
    "too-long": lambda picture: Reply(
        picture, "image/jpeg", headers={"Content-Length": str(len(picture) // 2)}, raw=_close
    ),
    "huge-length": lambda picture: Reply(picture, "image/jpeg", headers={"Content-Length": str(10**15)}, raw=_close),
    "half": lambda picture: Reply(picture[: len(picture) // 2], "image/jpeg"),
    "empty": lambda picture: Reply(b"", "image/jpeg"),  # noqa: ARG005
    "wrong-type": lambda picture: Reply(picture, "text/html"),
    "text": lambda picture: Reply(picture, "text/plain; charset=utf-8"),
    "no-type": lambda picture: Reply(picture, ""),
    "portal": lambda picture: Reply(b"<!DOCTYPE html><html><body>Please log in</body></html>", "text/html"),  # noqa: ARG005
    "words": lambda picture: Reply(b"BMW and others: please log in", "text/html"),  # noqa: ARG005
    "undeclared": lambda picture: Reply(picture, "application/octet-stream"),
    "html": lambda picture: Reply(b"<html><body>Please log in</body></html>", "image/jpeg"),  # noqa: ARG005
    "bomb": lambda picture: Reply(bomb(), "image/png"),  # noqa: ARG005
    "compressed": lambda picture: Reply(zlib.compress(picture), "image/jpeg", headers={"Content-Encoding": "deflate"}),
    "noai": lambda picture: Reply(picture, "image/jpeg", headers={"X-Robots-Tag": "noai, noimageai"}),
    "forbidden": lambda picture: Reply(b"say who you are", "text/plain", 403),  # noqa: ARG005
    "gone": lambda picture: Reply(b"gone", "text/plain", 404),  # noqa: ARG005
    "down": lambda picture: Reply(b"down", "text/plain", 503),  # noqa: ARG005
    "loop": _redirect("/hostile/loop"),
    "ping": _redirect("/hostile/pong"),
    "pong": _redirect("/hostile/ping"),
    "maze": _redirect("/hostile/maze0"),
    **{f"maze{number}": _redirect(f"/hostile/maze{number + 1}") for number in range(20)},
    "to-loopback": _redirect("http://127.0.0.1:9/picture.jpg"),
    "to-localhost": _redirect("http://localhost:9/picture.jpg"),
    "to-metadata": _redirect("http://169.254.169.254/latest/meta-data/"),
    "to-ipv6": _redirect("http://[::1]:9/picture.jpg"),
    "to-mapped": _redirect("http://[::ffff:127.0.0.1]:9/picture.jpg"),
    "to-private": _redirect("http://192.168.0.1/picture.jpg"),
    "to-decimal": _redirect("http://2130706433:9/picture.jpg"),
    "to-octal": _redirect("http://0177.0.0.1:9/picture.jpg"),
    "to-hex": _redirect("http://0x7f000001:9/picture.jpg"),
    "to-file": _redirect("file:///etc/passwd"),
    "to-gopher": _redirect("gopher://127.0.0.1/"),
    "to-nowhere": _redirect("http://[not an address]/"),
}
"""Name → what is answered in the place of a picture's bytes."""


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with every text and number in it changed."""
    if isinstance(value, dict):
        return {key: _each(member, change) for key, member in value.items()}
    if isinstance(value, list):
        return [_each(member, change) for member in value]
    return change(value)


def _text(ending: str) -> Callable[[Any], Any]:
    return lambda leaf: f"{leaf}{ending}" if isinstance(leaf, str) else leaf


def _number(instead: object) -> Callable[[Any], Any]:
    return lambda leaf: instead if isinstance(leaf, int) or (isinstance(leaf, str) and leaf.isdigit()) else leaf


_RAW = {"@deep": "[" * 5000 + "]" * 5000, "@digits": "9" * 5000}
_ODD: dict[str, Callable[[Any], Any]] = {
    "half a character": _text("\ud800"),
    "NUL": _text("\0"),
    "half an address": lambda leaf: "http://[" if isinstance(leaf, str) and leaf.startswith("http") else leaf,
    "endless text": lambda leaf: "x" * 100_000 if isinstance(leaf, str) else leaf,
    "a number beyond 64 bits": _number(10**30),
    "a number of 5,000 digits": _number("@digits"),
    "NaN": _number(float("nan")),
    "infinity": _number(float("inf")),
    "null": lambda leaf: None,  # noqa: ARG005
    "lists": lambda leaf: [],  # noqa: ARG005
    "deep lists": lambda leaf: "@deep",  # noqa: ARG005
}
ODD_RECORDS = (*_ODD, "a list", "a text", "a number", "nothing")
"""The names of what a service may say in the place of one picture."""


def odd_record(name: str, record: object) -> str:
    """The record of a picture as JSON, with the fault of ODD_RECORDS in it."""
    bare = {"a list": "[]", "a text": '"odd"', "a number": "7", "nothing": "null"}
    if name in bare:
        return bare[name]
    text = json.dumps(_each(record, _ODD[name]))
    for mark, raw in _RAW.items():
        text = text.replace(json.dumps(mark), raw)
    return text


async def _close(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
