"""One large file from the web, resumed where it broke off, and checked against its digest."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from curate.files.atomic import fsync_file, take_place, write_whole
from curate.files.reading import digest_of, read_file
from curate.progress import Progress, silent
from curate.web.addresses import RefusedAddress, checked_url
from curate.web.fetch import REDIRECTS, Fetcher, is_markup
from curate.web.network import Response
from curate.web.retries import FetchFailed, check_status, patiently, transport_failure

_MIB = 1 << 20
_LONGEST_NOTE = 1 << 16
_NO_HEAD = (400, 403, 405, 501)
"""What servers answer that do not give headers alone."""
_TELLING = 64
"""Bytes that tell an archive from a page of text."""
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
STALL_SECONDS = 60.0
STALL_BYTES = 64 * 1024
"""A transfer that brings less than this in STALL_SECONDS is given up, and resumed."""
_PART = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
"""Of a file: its first byte, its last one, and how many the file has."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to bring: where it lies, and `md5:…` or `sha256:…` of its content ("" where nobody has published it)."""

    url: str
    digest: str = ""

    @property
    def name(self) -> str:
        """A file name for it, made of harmless characters only."""
        last = httpx2.URL(self.url).path.rstrip("/").rpartition("/")[2]
        return re.sub(r"[^A-Za-z0-9._-]", "_", last)[-100:].lstrip(".") or "download"


class Transfer:
    """`await Transfer(fetcher, file, folder, largest).run(progress)` → the whole, checked file.

    The bytes lie under `<name>.part`, beside them in `<name>.part.json` what the server said of their version; a
    server that says otherwise the next time makes the transfer begin anew. The name without `.part` is a whole file.
    With `keep_version`, its version stays in `<name>.version.json`, by which `has_changed` can tell.
    """

    def __init__(
        self, fetcher: Fetcher, file: RemoteFile, folder: Path, largest: int, *, keep_version: bool = False
    ) -> None:
        self._fetcher = fetcher
        self._file = file
        self._largest = largest
        self.path = folder / file.name
        self._part = folder / f"{file.name}.part"
        self._note = folder / f"{file.name}.part.json"
        self._version = folder / f"{file.name}.version.json" if keep_version else None

    async def run(self, progress: Progress = silent) -> Path:
        """Bring the file, with a bar in MiB for each attempt. Raises FetchFailed.

        Attempts that brought something do not count: a line that breaks every few minutes still ends with a file, and a
        server that gives a few bytes at a time is not asked for ever.
        """
        if self.path.is_file():
            return self.path
        await patiently(lambda: self._attempt(progress), brought=lambda: self._size() // STALL_BYTES)
        self._check_digest()
        take_place(self._part, self.path)
        if self._version is not None and self._note.is_file():
            take_place(self._note, self._version)
        self._note.unlink(missing_ok=True)
        return self.path

    async def has_changed(self) -> bool:
        """Whether the server has another version than the whole file that is here, by its headers alone.

        A file of which no version is known is compared by its size. Raises FetchFailed where the server does not tell.
        """
        known = _read_note(self._version) if self._version is not None else {}
        conditions = _conditions(known)
        told: list[bool] = []

        async def ask(url: httpx2.URL) -> httpx2.URL | None:
            for method in ("HEAD", "GET"):
                async with self._answer(url, conditions, method) as response:
                    if response.has_redirect_location:
                        return url.join(response.headers["Location"])
                    if method == "HEAD" and response.status_code in _NO_HEAD:
                        continue
                    if response.status_code != 304:
                        check_status(response, response.asked.host)
                        told.append(self._differs(known, response))
                    return None
            return None

        await patiently(lambda: self._follow(ask))
        return any(told)

    def _differs(self, known: Mapping[str, str], response: Response) -> bool:
        now = _version_of(response)
        for name in ("etag", "modified"):
            if known.get(name) and now[name]:
                return known[name].removeprefix("W/") != now[name].removeprefix("W/")
        length = response.headers.get("Content-Length", "")
        differs = length.isascii() and length.isdigit() and int(length[:18]) != self.path.stat().st_size
        if not differs and self._version is not None and not any(known.values()):
            write_whole(self._version, json.dumps(now))  # by which the next run can tell
        return differs

    def move_to(self, other: "Transfer") -> None:
        """Put the whole file and its version in the place of those of another transfer."""
        take_place(self.path, other.path)
        if self._version is not None and other._version is not None and self._version.is_file():
            take_place(self._version, other._version)

    async def announced(self) -> int | None:
        """The bytes of the whole file, as the server announces them; None where it does not. Raises FetchFailed."""
        sizes: list[int | None] = [None]

        async def ask(url: httpx2.URL) -> httpx2.URL | None:
            return await self._head(url, sizes)

        await patiently(lambda: self._follow(ask))
        return sizes[-1]

    def here(self) -> int:
        """The bytes of it that have come so far."""
        return self.path.stat().st_size if self.path.is_file() else self._size()

    async def _attempt(self, progress: Progress) -> None:
        await self._follow(lambda url: self._hop(url, progress))

    async def _follow(self, ask: Callable[[httpx2.URL], Awaitable[httpx2.URL | None]]) -> None:
        """Ask the file's URL, and each one that it redirects to, until one does not redirect."""
        try:
            url = checked_url(self._file.url)
            for _ in range(REDIRECTS + 1):
                following = await ask(url)
                if following is None:
                    return
                url = checked_url(following)
        except RefusedAddress as refused:
            raise FetchFailed("refused address", str(refused)) from refused
        raise FetchFailed("redirects", f"more than {REDIRECTS} redirects")

    async def _head(self, url: httpx2.URL, sizes: list[int | None]) -> httpx2.URL | None:
        """Ask for the headers alone; some servers do not answer that, and announce nothing then."""
        async with self._answer(url, {}, "HEAD") as response:
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            length = response.headers.get("Content-Length", "")
            if response.status_code == 200 and length.isascii() and length.isdigit() and len(length) < 19:
                sizes.append(int(length))
        return None

    async def _hop(self, url: httpx2.URL, progress: Progress) -> httpx2.URL | None:
        async with self._answer(url, self._range(), "GET") as response:
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            if response.status_code == 416:
                self._part.unlink(missing_ok=True)  # what we have is not a beginning of what it has
                raise FetchFailed("cut off", f"{url.host} has no such part of it", passing=True)
            if response.status_code != 206:
                check_status(response, response.asked.host)
            await self._receive(response, progress)
        return None

    @asynccontextmanager
    async def _answer(self, url: httpx2.URL, headers: Mapping[str, str], method: str) -> AsyncIterator[Response]:
        """The answer to one request, at the host's pace; its headers have their time. Raises FetchFailed."""
        try:
            async with (
                self._fetcher.hosts.turn(url.host),
                asyncio.timeout(self._fetcher.network.timeouts.whole) as limit,
                self._fetcher.client.stream(url, headers, method=method) as response,
            ):
                limit.reschedule(None)
                yield response
        except (httpx2.TransportError, TimeoutError) as error:
            raise transport_failure(error, url.host) from error
        except httpx2.InvalidURL as error:
            raise FetchFailed("refused address", f"{url.host} redirects to no URL: {error}") from error

    async def _receive(self, response: Response, progress: Progress) -> None:
        start, end, total = self._place(response)
        if total is not None and total > self._largest:
            raise FetchFailed("too large", f"{total / 2**30:.1f} GiB, over the limit of {self._largest / 2**30:g} GiB")
        async with aclosing(_flowing(response)) as chunks:
            first = await _first_bytes(chunks)
            if not start:  # and so nothing is written over by a page
                _refuse_page(response, first)
                self._part.unlink(missing_ok=True)  # before the note is of another version
            self._remember(response)
            with progress(f"{self._file.name}, MiB", -(-(total or 0) // _MIB)) as advance:
                advance(start // _MIB)
                size = await self._write(first, chunks, start, advance)
        if end is not None and size > end:
            self._part.unlink()  # nobody knows what the rest is
        if size != (end if end is not None else size) or size < (total or 0):
            raise FetchFailed("cut off", f"{size} bytes of {total or end} came", passing=True)

    async def _write(
        self, first: bytes, chunks: AsyncIterator[bytes], start: int, advance: Callable[[int], None]
    ) -> int:
        """Write what comes behind the first `start` bytes, which begins with `first`; the size of the file then."""
        size = start
        with self._part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            async for chunk in _led_by(first, chunks):
                advance((size + len(chunk)) // _MIB - size // _MIB)
                size += len(chunk)
                if size > self._largest:
                    raise FetchFailed("too large", f"larger than {self._largest / 2**30:g} GiB")
                file.write(chunk)
            await asyncio.to_thread(fsync_file, file)
        return size

    def _place(self, response: Response) -> tuple[int, int | None, int | None]:
        """(start, end, total) of the bytes that now come: where they belong, behind those that are here or at the
        beginning, where they end, and how many the whole file has. None for what the server does not say.
        """
        announced = response.headers.get("Content-Length", "")
        length = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 19 else None
        if response.status_code != 206:
            return 0, length, length
        found = _PART.fullmatch(response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != self._size() or self._is_of_another_version(response):
            self._part.unlink(missing_ok=True)
            raise FetchFailed("cut off", "the server sent another part than was asked for", passing=True)
        return int(found[1]), int(found[2]) + 1, None if found[3] == "*" else int(found[3])

    def _is_of_another_version(self, response: Response) -> bool:
        """Whether a part is of another version than what is here, for a server that does not look at If-Range."""
        known, now = _read_note(self._note) if self._size() else {}, _version_of(response)
        name = "etag" if known.get("etag") and now["etag"] else "modified"
        return bool(known.get(name) and now[name]) and known[name] != now[name]

    def _range(self) -> dict[str, str]:
        """Ask for the rest, if it is still the rest of the same file."""
        if not self._size() or not self._note.is_file():
            return {}
        known = _read_note(self._note)
        etag = known.get("etag", "")
        version = etag if etag and not etag.startswith("W/") else known.get("modified", "") or known.get("version", "")
        return {"Range": f"bytes={self._size()}-", "If-Range": version} if version else {}

    def _remember(self, response: Response) -> None:
        write_whole(self._note, json.dumps(_version_of(response)))

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _check_digest(self) -> None:
        algorithm, _, expected = self._file.digest.partition(":")
        if not expected:
            return
        actual = digest_of(self._part, algorithm)
        if actual != expected:
            self._part.unlink()
            reason = f"{self._file.url} has the {algorithm} {actual} instead of the published {expected}"
            raise FetchFailed("another file", reason)


def _version_of(response: Response) -> dict[str, str]:
    """What the server says by which two versions of a file can be told apart; "" for what it does not say."""
    return {"etag": response.headers.get("ETag", ""), "modified": response.headers.get("Last-Modified", "")}


def _read_note(note: Path) -> dict[str, str]:
    """What `_version_of` told, as far as it can stand in a header; nothing where there is no such note."""
    try:
        known = json.loads(read_file(note, _LONGEST_NOTE))
        return {
            name: value
            for name, value in known.items()
            if isinstance(value, str) and value.isascii() and value.isprintable()
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _conditions(known: Mapping[str, str]) -> dict[str, str]:
    """The headers that ask for a file only where it is another one than the known."""
    if known.get("etag"):
        return {"If-None-Match": known["etag"]}
    return {"If-Modified-Since": known["modified"]} if known.get("modified") else {}


async def _flowing(response: Response) -> AsyncGenerator[bytes, None]:
    """A body as it comes. Raises FetchFailed once it brings less than STALL_BYTES in STALL_SECONDS of waiting."""
    clock, chunks = asyncio.get_running_loop().time, response.aiter_raw()
    left, came = STALL_SECONDS, 0
    while True:
        begun = clock()
        try:
            async with asyncio.timeout(left):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise FetchFailed("too slow", "the transfer all but stands still", passing=True) from error
        if chunk is None:
            return
        left, came = left - (clock() - begun), came + len(chunk)
        if came >= STALL_BYTES:
            left, came = STALL_SECONDS, 0
        yield chunk


async def _first_bytes(chunks: AsyncIterator[bytes]) -> bytes:
    """Some bytes of a body, fewer than _TELLING only where it has no more."""
    first = b""
    while len(first) < _TELLING:
        chunk = await anext(chunks, None)
        if chunk is None:
            break
        first += chunk
    return first


async def _led_by(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def _refuse_page(response: Response, first: bytes) -> None:
    """Raise FetchFailed for a web page in the place of the file: a portal gives one until somebody has agreed.

    A server may call an archive text/html as well; its bytes are no text.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and (is_markup(first) or _NO_TEXT.search(first) is None):
        host = response.asked.host
        raise FetchFailed("a web page", f"{host} answers with a web page; perhaps it wants a login", passing=True)
