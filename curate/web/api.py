"""The JSON half of the web: one service's API, asked within its limits and waited for when it says so."""

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx2

from curate.printable import printable
from curate.web.addresses import RefusedAddress, checked_url
from curate.web.answers import JsonValue, SourceFailed, SourceLimited, SourceRefused
from curate.web.fetch import Fetcher
from curate.web.network import Response
from curate.web.packed import unpacked
from curate.web.retries import FetchFailed, check_status, limit_reset, patiently, retry_after, transport_failure
from curate.web.strange_json import read_json

T = TypeVar("T")

LARGEST_ANSWER = 32 * 2**20
LONGEST_REFUSAL = 1 << 16
LONGEST_SAYING = 300  # characters
REDIRECTS = 3
_JSON = {"Accept": "application/json", "Accept-Encoding": "gzip"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LIMIT = re.compile(r"(\d{1,9})\s*/\s*(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class FilePart:
    """A part of a file of `total` bytes, from the byte `first` on; `url` is where it came from in the end."""

    content: bytes
    first: int
    total: int
    url: str


class Api:
    """Asks one service. Its pictures are fetched by the same `Fetcher`, under the same budgets."""

    def __init__(self, source: str, home: str, fetcher: Fetcher) -> None:
        self.source = source
        self.home = fetcher.network.services.get(source, home).rstrip("/")
        self._fetcher = fetcher

    @property
    def host(self) -> str:
        """The service's host name, by which its budget goes."""
        return httpx2.URL(self.home).host

    @property
    def fetcher(self) -> Fetcher:
        """What brings the service's files, and its pictures."""
        return self._fetcher

    def pause(self, seconds: float) -> None:
        """Ask this service nothing for so long."""
        self._fetcher.hosts.pause(self.host, seconds)

    def allow(self, per_minute: float) -> None:
        """Note a rate that the service documents for callers such as this one."""
        self._fetcher.hosts.allow(self.host, per_minute)

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int | list[str]],
        headers: Mapping[str, str] | None = None,
    ) -> JsonValue:
        """GET a path of the service. Raises SourceFailed where it answers anything but JSON."""
        url = httpx2.URL(self.home + path, params=httpx2.QueryParams(dict(params)))
        return await self._ask("GET", url, headers or {}, None)

    async def post(self, path: str, form: Mapping[str, str]) -> JsonValue:
        """POST a form to a path of the service. Raises SourceFailed as `get` does."""
        return await self._ask("POST", httpx2.URL(self.home + path), {}, form)

    async def _ask(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> JsonValue:
        async def once() -> bytes:
            return await self._attempt(method, url, headers, form, self._body)

        body = await self._patiently(once)
        try:
            return JsonValue(self.source, read_json(body))
        except ValueError as error:
            raise JsonValue(self.source, None).changed("it is not JSON") from error

    async def part(self, address: str, span: str, headers: Mapping[str, str] | None = None) -> FilePart:
        """A part of a file, by a `Range` such as `bytes=0-99`, or `bytes=-100` for its end.

        `address` is a path of the service, or a URL, as a part says where it came from. Raises SourceFailed where the
        file cannot be had in parts.
        """
        url = httpx2.URL(self.home + address if address.startswith("/") else address)
        asked = {"Range": span, "Accept": "*/*", "Accept-Encoding": "identity"}

        async def once() -> FilePart:
            return await self._attempt("GET", url, headers or {}, None, self._part, asked)

        return await self._patiently(once)

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        try:
            return await patiently(once)
        except RefusedAddress as refused:
            raise SourceFailed(self.source, str(refused)) from refused
        except FetchFailed as failed:
            if failed.kind == "rate limited":
                raise SourceLimited(self.source, _limit(failed)) from failed
            if failed.kind == "refused":
                raise SourceRefused(self.source, failed.reason) from failed
            raise SourceFailed(self.source, failed.reason) from failed

    async def _attempt(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        receive: Callable[[Response], Awaitable[T]],
        anywhere: Mapping[str, str] = _JSON,
    ) -> T:
        """One try of a request, wherever it is redirected to; the headers `anywhere` go to every host."""
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise FetchFailed("refused", "its key or token has letters that no header can carry: copy it anew")
        for _ in range(REDIRECTS + 1):
            target = checked_url(url)
            # A key that was meant for this service goes to no other, nor to it in the clear.
            own = {**anywhere, **(headers if _origin(target) == _origin(httpx2.URL(self.home)) else {})}
            try:
                async with (
                    self._fetcher.hosts.turn(target.host),
                    asyncio.timeout(self._fetcher.network.timeouts.whole),
                    self._fetcher.client.stream(target, own, method=method, form=form) as response,
                ):
                    self._heed_limits(response)
                    if not (response.has_redirect_location and method == "GET"):
                        return await receive(response)
                    url = target.join(response.headers["Location"])
            except (httpx2.TransportError, TimeoutError) as error:
                raise transport_failure(error, target.host) from error
            except httpx2.InvalidURL as error:
                raise FetchFailed("refused address", f"{target.host} redirects to no URL: {error}") from error
            except FetchFailed as failed:
                if failed.retry_after is not None:
                    self._fetcher.hosts.pause(target.host, failed.retry_after)
                raise
        raise FetchFailed("redirects", f"{url.host} redirects without end")

    async def _body(self, response: Response) -> bytes:
        await self._check(response)
        return await _content(response)

    async def _part(self, response: Response) -> FilePart:
        """The part that was asked for. Raises FetchFailed where the answer is none."""
        host = response.asked.host
        if response.status_code != 206:
            await self._check(response)
            raise FetchFailed("no parts", f"{host} gives its files only whole")
        stated = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if stated is None:
            raise FetchFailed("no parts", f"{host} does not say which part of a file it sends")
        first, last, total = map(int, stated.groups())
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > LARGEST_ANSWER:
                raise FetchFailed("too large", f"{host} sends more of a file than was asked for")
        if len(content) != last - first + 1:
            raise FetchFailed("cut off", f"{host} broke its answer off", passing=True)
        return FilePart(bytes(content), first, total, str(response.asked))

    async def _check(self, response: Response) -> None:
        """Raise FetchFailed for an answer that is no success, with what the service says of it."""
        status, host = response.status_code, response.asked.host
        if not 400 <= status < 500 or status in (408, 425):
            check_status(response, response.asked.host)
            return
        said = await _said(response)
        limit = self._fetcher.hosts.budget(host).stated_for
        if status == 403 and limit and response.headers.get("X-RateLimit-Remaining", "").strip() == "0":
            # Unsplash says so in the place of a 429.
            wait = retry_after(response) or limit
            raise FetchFailed("rate limited", f"{host} answered 403: {said}", passing=True, retry_after=wait)
        if status in (401, 403):
            raise FetchFailed("refused", f"{host} answered {status}: {said or 'it wants a valid key'}")
        try:
            check_status(response, response.asked.host)
        except FetchFailed as failed:
            failed.reason = f"{host} answered {status}: {said}" if said else failed.reason
            raise

    def _heed_limits(self, response: Response) -> None:
        """Slow down before a limit is hit: `X-RateLimit-Limit[-scope]: 20/min`, `…-Available[-scope]: 0`.

        Where the limit is a bare number, the budget of the host knows how long it is for.
        """
        self._heed_bare_limit(response)
        for key, value in response.headers.items():
            left = re.fullmatch(r"x-ratelimit-(available|remaining)(-\w+)?", key)
            if left is None or value.strip() != "0":
                continue
            limit = _LIMIT.match(response.headers.get(f"x-ratelimit-limit{left[2] or ''}", ""))
            if limit is not None and limit[2] != "d":
                # The window slides: one place in it comes free after this long on average.
                self._fetcher.hosts.pause(self.host, _SECONDS[limit[2]] / max(int(limit[1]), 1))

    def _heed_bare_limit(self, response: Response) -> None:
        hosts, host = self._fetcher.hosts, response.asked.host
        span = hosts.budget(host).stated_for
        stated = response.headers.get("X-RateLimit-Limit", "").strip()
        if span == _SECONDS["h"] and re.fullmatch(r"[1-9]\d{0,6}", stated, re.ASCII):
            hosts.allow_hourly(host, int(stated))
        if response.headers.get("X-RateLimit-Remaining", "").strip() == "0":
            wait = limit_reset(response) or (span if span and stated.isdigit() else None)
            if wait is not None:
                hosts.pause(host, wait)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


async def _content(response: Response) -> bytes:
    """A body, unpacked if it is packed by gzip. Raises FetchFailed where it is packed otherwise, or too large."""
    packed = response.headers.get("Content-Encoding", "identity").lower()
    if packed not in ("identity", "gzip"):
        raise FetchFailed("compressed", f"it sent an answer compressed by {packed} though gzip was asked for")
    try:
        content, end = await unpacked(response, by_gzip=packed == "gzip", most=LARGEST_ANSWER)
    except zlib.error as error:
        raise FetchFailed("compressed", f"its answer is no gzip ({error})", passing=True) from error
    if end == "longer":
        raise FetchFailed("too large", f"its answer is larger than {LARGEST_ANSWER >> 20} MiB")
    if end == "cut off":
        raise FetchFailed("cut off", f"{response.asked.host} broke its answer off", passing=True)
    return content


async def _said(response: Response) -> str:
    """What a service says to a caller whom it refuses, on one line; "" where it says nothing for people to read."""
    try:
        content = await _content(response)
    except FetchFailed:
        return ""
    if len(content) > LONGEST_REFUSAL:
        return ""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    text = content.decode("utf-8", "replace")
    if kind.endswith("json"):
        try:
            text = " ".join(_texts(read_json(content)))
        except ValueError:
            return ""
    elif kind != "text/plain" and (kind != "text/html" or "<" in text):  # a few words may be called HTML
        return ""
    words = printable(" ".join(text.split()))
    return words[:LONGEST_SAYING]


def _texts(value: object) -> Iterator[str]:
    """The texts in a JSON value that are more than a code, in order."""
    if isinstance(value, str) and " " in value.strip():
        yield value.strip()
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _limit(failed: FetchFailed) -> str:
    if failed.retry_after is None:
        return f"{failed.reason}; run the same command again later"
    wait = failed.retry_after
    span = f"{wait:.0f} seconds" if wait < 120 else f"{wait / 60:.0f} minutes"
    return f"{failed.reason}; run the same command again in {span}"
