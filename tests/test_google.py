"""The real google-images-download in its process, with a real Chromium, against a Google that is ours.

Only the environment leads it astray: `https_proxy` names a proxy of ours that connects every host to our TLS server,
and a HOME of its own trusts the authority that has certified `www.google.com`. Package, driver and browser are used
as they are.
"""

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from curate.sources import open_source
from curate.sources.protocol.image_search import Candidate, Query, SourceOptions
from curate.web.answers import SourceFailed
from curate.web.fetch import Fetcher
from curate.web.network import Network

QUERY = Query("21", "fire lily", "Gloriosa superba, fire lily")
PICTURES = [
    {
        "ou": f"https://flowers.example/{number}.jpg",
        "ow": 640,
        "oh": 480,
        "pt": f"Lily {number}",
        "ru": f"https://pages.example/{number}",
    }
    for number in range(5)
]


def search() -> tuple[Candidate, ...]:
    async def work() -> tuple[Candidate, ...]:
        async with Fetcher(Network()) as fetcher:
            return (await open_source("google", fetcher, SourceOptions(None)).page(QUERY, 100, None)).candidates

    return asyncio.run(work())


def result_page() -> bytes:
    """A page with results as the package looks for them, each far enough from the next."""
    results = (" " * 2500).join(json.dumps(picture, separators=(",", ":")) for picture in PICTURES)
    return f"<html><body><h1>Results</h1><script>var results = [{results}];</script></body></html>".encode()


@contextmanager
def our_google(certificate: trustme.LeafCert, page: bytes, asked: list[str]) -> Iterator[int]:
    """A TLS server with one page and, before it, a proxy that takes every host to it; the proxy's port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        asked.append(head.split(" ", 2)[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(page) + page)
        await writer.drain()
        writer.close()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split()
        asked.append(f"{first[0]} {first[1]}")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", ports[0])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def quietly(work: Awaitable[None]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await work

    async def serve() -> None:
        stop = asyncio.Event()
        stops.append(stop)
        google = await asyncio.start_server(lambda r, w: quietly(answer(r, w)), "127.0.0.1", 0, ssl=context)
        proxy = await asyncio.start_server(lambda r, w: quietly(tunnel(r, w)), "127.0.0.1", 0)
        ports.extend(server.sockets[0].getsockname()[1] for server in (google, proxy))
        ready.set()
        await stop.wait()
        google.close()
        proxy.close()

    stops: list[asyncio.Event] = []
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield ports[1]
    finally:
        loop.call_soon_threadsafe(stops[0].set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


@pytest.mark.slow
def test_the_real_package_and_browser_find_our_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("chromedriver", "chromium", "certutil"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} (Debian: chromium, chromium-driver, libnss3-tools)")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    store = tmp_path / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for step in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "ours", "-i", tmp_path / "authority.pem"]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *map(str, step)], check=True)
    asked: list[str] = []
    with our_google(authority.issue_cert("www.google.com", "*.google.com"), result_page(), asked) as port:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        found = search()
    assert [candidate.url for candidate in found] == [picture["ou"] for picture in PICTURES]
    assert {candidate.license.code for candidate in found} == {""}
    assert found[0].landing_page.startswith("https://pages.example/")
    assert (found[0].width, found[0].height) == (640, 480)
    assert "CONNECT www.google.com:443" in asked
    searches = [path for path in asked if path.startswith("/search?q=Gloriosa%20superba%20%20fire%20lily&")]
    assert len(searches) == 1, "one search for the whole query, not one for each side of its comma"


def test_says_what_the_package_said_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package exits with code 0 where the browser does not start."""
    driver = tmp_path / "chromedriver"
    driver.write_text("#!/bin/sh\nexit 3\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SourceFailed, match=r"google: google-images-download failed: .*chromedriver"):
        search()


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceFailed, match="google: it needs Chrome or Chromium"):
        search()
