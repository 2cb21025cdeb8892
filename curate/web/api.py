"""The JSON half of the web: one service's API, asked within its limits and waited for when it says so."""

import asyncio
import re
import zlib
from collections.abc import Iterator, Mapping

import httpx2

from curate.printable import printable
from curate.web.addresses import RefusedAddress, checked_url
from curate.web.answers import JsonValue, SourceFailed, SourceLimited, SourceRefused
from curate.web.fetch import Fetcher
from curate.web.retries import FetchFailed, check_status, patiently, transport_failure
from curate.web.strange_json import read_json

LARGEST_ANSWER = 32 * 2**20
LONGEST_REFUSAL = 1 << 16
LONGEST_SAYING = 300  # characters
REDIRECTS = 3
_LIMIT = re.compile(r"(\d{1,9})\s*/\s*(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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
            return await self._attempt(method, url, headers, form)

        try:
            body = await patiently(once)
        except RefusedAddress as refused:
            raise SourceFailed(self.source, str(refused)) from refused
        except FetchFailed as failed:
            if failed.kind == "rate limited":
                raise SourceLimited(self.source, _limit(failed)) from failed
            if failed.kind == "refused":
                raise SourceRefused(self.source, failed.reason) from failed
            raise SourceFailed(self.source, failed.reason) from failed
        try:
            return JsonValue(self.source, read_json(body))
        except ValueError as error:
            raise JsonValue(self.source, None).changed("it is not JSON") from error

    async def _attempt(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> bytes:
        for _ in range(REDIRECTS + 1):
            target = checked_url(url)
            # A key that was meant for this service goes to no other.
            own = {"Accept": "application/json", "Accept-Encoding": "gzip"}
            own |= headers if target.host == self.host else {}
            try:
                async with (
                    self._fetcher.hosts.turn(target.host),
                    asyncio.timeout(self._fetcher.network.timeouts.whole),
                    self._fetcher.client.stream(target, own, method=method, form=form) as response,
                ):
                    self._heed_limits(response)
                    if not (response.has_redirect_location and method == "GET"):
                        return await self._body(response)
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

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.status_code in (401, 403):
            said = await _said(response) or "it wants a valid key"
            raise FetchFailed("refused", f"{response.request.url.host} answered {response.status_code}: {said}")
        check_status(response)
        return await _content(response)

    def _heed_limits(self, response: httpx2.Response) -> None:
        """Slow down before a limit is hit: `X-RateLimit-Limit[-scope]: 20/min`, `…-Available[-scope]: 0`."""
        for key, value in response.headers.items():
            left = re.fullmatch(r"x-ratelimit-(available|remaining)(-\w+)?", key)
            if left is None or value.strip() != "0":
                continue
            limit = _LIMIT.match(response.headers.get(f"x-ratelimit-limit{left[2] or ''}", ""))
            if limit is not None and limit[2] != "d":
                # The window slides: one place in it comes free after this long on average.
                self._fetcher.hosts.pause(self.host, _SECONDS[limit[2]] / max(int(limit[1]), 1))


async def _content(response: httpx2.Response) -> bytes:
    """A body, unpacked if it is packed by gzip. Raises FetchFailed where it is packed otherwise, or too large."""
    packed = response.headers.get("Content-Encoding", "identity").lower()
    if packed not in ("identity", "gzip"):
        raise FetchFailed("compressed", f"it sent an answer compressed by {packed} though gzip was asked for")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed == "gzip" else None
    content = bytearray()
    try:
        async for chunk in response.aiter_raw():
            # One byte more than is allowed is enough to know; a small answer may unpack to any size.
            content += unpack.decompress(chunk, LARGEST_ANSWER + 1 - len(content)) if unpack else chunk
            if len(content) > LARGEST_ANSWER:
                raise FetchFailed("too large", f"its answer is larger than {LARGEST_ANSWER >> 20} MiB")
    except zlib.error as error:
        raise FetchFailed("compressed", f"its answer is no gzip ({error})", passing=True) from error
    if unpack is not None and not unpack.eof:
        raise FetchFailed("cut off", f"{response.request.url.host} broke its answer off", passing=True)
    return bytes(content)


async def _said(response: httpx2.Response) -> str:
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
    elif kind != "text/plain":
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
