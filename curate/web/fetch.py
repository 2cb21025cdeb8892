"""The polite downloader: one URL → one whole picture file, or the reason why not."""

import asyncio
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx2

from curate.files.group_commit import GroupCommit
from curate.files.spool import Spool
from curate.garbage import rare_collections
from curate.printable import printable
from curate.web.addresses import RefusedAddress, checked_url
from curate.web.hosts import Hosts
from curate.web.network import Client, Network, Response
from curate.web.retries import ATTEMPTS, FetchFailed, check_status, patiently, transport_failure
from curate.web.robots import Robots, unwanted_by_tag

REDIRECTS = 5
SNIFFED = 16
"""Bytes that tell a picture's format."""
_LONGEST_KIND = 100  # characters of a Content-Type that are repeated

_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("jpg", 0, b"\xff\xd8\xff"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("gif", 0, b"GIF87a"),
    ("gif", 0, b"GIF89a"),
    ("webp", 8, b"WEBP"),
    ("avif", 4, b"ftypavif"),
    ("avif", 4, b"ftypavis"),
    ("tif", 0, b"II*\x00"),
    ("tif", 0, b"MM\x00*"),
    ("bmp", 0, b"BM"),
)
_WANTED = {"Accept": "image/*"}


@dataclass(frozen=True)
class Fetched:
    """A picture that lies whole under `path`, named `<stem>.<sha256>.<extension>`."""

    path: Path
    sha256: str
    size: int
    extension: str
    url: str
    """Where it came from in the end, after redirects."""


@dataclass(frozen=True)
class _Received:
    """A picture that came whole."""

    size: int
    extension: str
    url: httpx2.URL


def sniff(head: bytes) -> str | None:
    """The file extension for a picture's first bytes, or None where they are no picture's."""
    for extension, offset, signature in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            # A word may begin so: what follows the length is zero in a BMP.
            return None if extension == "bmp" and head[6:10] != bytes(4) else extension
    return None


def is_markup(head: bytes) -> bool:
    """Whether a body's first bytes are those of a web page or other markup."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


class Fetcher:
    """Fetches pictures over one client: `async with Fetcher(Network()) as fetcher: ...`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.hosts = Hosts(network.connections, network.budgets, network.otherwise)
        self.client = Client(network)
        self.commits = GroupCommit()
        self._robots = Robots(self.client, self.hosts, network.timeouts.whole)
        self._collections = rare_collections()  # by Python's own settings they took 8% of the time of a transfer

    async def __aenter__(self) -> Self:
        self._collections.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._collections.__exit__(None, None, None)
        self.commits.close()
        await self.client.aclose()

    async def fetch(self, url: str, folder: Path, stem: str, *, attempts: int = ATTEMPTS) -> Fetched:
        """Fetch one picture into `folder`, again and again as long as its failure may pass.

        The bytes go to `<stem>.part`; the rename to a name that holds their sha256 is what makes them
        whole, so a file without `.part` is never cut off. Raises FetchFailed.
        """
        return await patiently(lambda: self._attempt(url, folder, stem), attempts)

    async def _attempt(self, url: str, folder: Path, stem: str) -> Fetched:
        try:
            hop = checked_url(url)
            visited: set[str] = set()
            while str(hop) not in visited:
                visited.add(str(hop))
                if len(visited) > REDIRECTS + 1:
                    raise FetchFailed("redirects", f"more than {REDIRECTS} redirects")
                outcome = await self._hop(hop, folder, stem)
                if isinstance(outcome, Fetched):
                    return outcome
                hop = checked_url(outcome)
            raise FetchFailed("redirects", f"the redirects lead back to {hop}")
        except RefusedAddress as refused:
            raise FetchFailed("refused address", str(refused)) from refused

    async def _hop(self, url: httpx2.URL, folder: Path, stem: str) -> Fetched | httpx2.URL:
        """Ask one URL: the picture, or the URL that it redirects to."""
        if self.network.obey_robots:
            await self._robots.check(url)
        spool = Spool(folder / f"{stem}.part")
        try:
            with closing(spool):
                outcome = await self._ask(url, spool)
            if isinstance(outcome, httpx2.URL):
                return outcome
            # The host's turn is over: it need not wait for the disk.
            return await self._stored(outcome, spool, stem)
        except BaseException:
            spool.path.unlink(missing_ok=True)
            raise

    async def _stored(self, received: _Received, spool: Spool, stem: str) -> Fetched:
        path = await self.commits.store(
            spool, lambda sha256: spool.path.with_name(f"{stem}.{sha256}.{received.extension}")
        )
        return Fetched(path, spool.sha256, received.size, received.extension, str(received.url))

    async def _ask(self, url: httpx2.URL, spool: Spool) -> _Received | httpx2.URL:
        """Write the picture to `spool`; or give the URL that it redirects to."""
        try:
            async with (
                self.hosts.turn(url.host),
                asyncio.timeout(self.network.timeouts.whole),
                self.client.stream(url, _WANTED) as response,
            ):
                if response.has_redirect_location:
                    return url.join(response.headers["Location"])
                self._check_answer(response)
                return await self._receive(response, spool)
        except (httpx2.TransportError, TimeoutError) as error:
            raise transport_failure(error, url.host) from error
        except httpx2.InvalidURL as error:
            raise FetchFailed("refused address", f"{url.host} redirects to no URL: {error}") from error
        except FetchFailed as failed:
            if failed.retry_after is not None:
                self.hosts.pause(url.host, failed.retry_after)
            raise

    def _check_answer(self, response: Response) -> None:
        """Refuse by the headers alone what would have to be refused later."""
        check_status(response, response.asked.host)
        headers, host = response.headers, response.asked.host
        if self.network.obey_robots_tag:
            directive = unwanted_by_tag(headers.get_list("X-Robots-Tag"))
            if directive is not None:
                raise FetchFailed("x-robots-tag", f"{host} marks it '{directive}'")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            # Asked for as it is; a compressed answer may unpack to any size.
            raise FetchFailed("not a picture", f"{host} sent it compressed though that was not asked for")
        # What it is called decides nothing: servers call pictures text/html, and web pages image/jpeg.
        announced = headers.get("Content-Length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:18]) > self.network.largest_picture:
            raise self._too_large()

    async def _receive(self, response: Response, spool: Spool) -> _Received:
        size, head = 0, b""
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self.network.largest_picture:
                raise self._too_large()
            if len(head) < SNIFFED:
                head += chunk[:SNIFFED]
                self._check_signature(head, response)
            spool.write(chunk)
        host = response.asked.host
        self.hosts.received(host, size)
        announced = response.headers.get("Content-Length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:18]) != size:
            reason = f"{host} announced {announced} bytes and sent {size}"
            raise FetchFailed("cut off", reason, passing=True)
        extension = sniff(head)
        if extension is None:
            raise FetchFailed("not a picture", f"{host} sent {size} bytes that are {_no_picture(head)}")
        return _Received(size, extension, response.asked)

    def _check_signature(self, head: bytes, response: Response) -> None:
        if len(head) >= SNIFFED and sniff(head) is None:
            kind = printable(response.headers.get("Content-Type", "").partition(";")[0].strip()[:_LONGEST_KIND])
            called = f"though it says {kind}" if kind.startswith("image/") else f"and calls it {kind or 'nothing'}"
            raise FetchFailed("not a picture", f"{response.asked.host} sent {_no_picture(head)} {called}")

    def _too_large(self) -> FetchFailed:
        limit = self.network.largest_picture / 2**20
        return FetchFailed("too large", f"larger than {limit:g} MiB")


def _no_picture(head: bytes) -> str:
    return "a web page and no picture" if is_markup(head) else "no picture"
