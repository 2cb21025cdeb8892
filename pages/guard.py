"""What stands before every page: who may ask, from where, how much, and what the browser is told to allow."""

import asyncio
import hmac
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: what a page shows and runs comes from us, as files; nothing is inline."""

_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}

_LINGERING_SECONDS: Final = 2.0
_LINGERING_BYTES: Final = 16 << 20

_CHANGES_NOTHING: Final = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    `hosts` are the values of `Host` that are ours, with their port, in lower case: any other may be a name of somebody
    else's that leads here (DNS rebinding). With a `token` each request has to bring it: once in the address, as
    `?token=`, then as a cookie, or as `Authorization: Bearer`. `most_bytes` is the largest body of a request.
    """

    hosts: Collection[str]
    token: str = field(default="", repr=False)
    most_bytes: int = 1 << 20
    open_paths: Collection[str] = ()
    """Paths that need no token: `/healthz`."""


def new_token() -> str:
    """A secret of 256 bits, fit for an address."""
    return secrets.token_urlsafe(32)


class Guard:
    """An ASGI application round another: refuses what `Access` does not allow, and adds the headers of security."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on to the application."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no page speaks WebSocket
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self.app(scope, _limited(receive, self.access.most_bytes), _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if len(headers.getlist("host")) != 1 or host not in self.access.hosts:
            return refused(421, "The request is for another host.")
        if scope["method"] not in _CHANGES_NOTHING and not _is_own(headers, host):
            return refused(403, "The request comes from a page of another site.")
        stated = headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            return refused(400, "The length of the body is no number.")
        if len(stated) > len(str(self.access.most_bytes)) or int(stated) > self.access.most_bytes:
            return refused(413, _too_large(self.access.most_bytes))
        return self._lacks_token(scope, headers, host)

    def _lacks_token(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        if not self.access.token or scope["path"] in self.access.open_paths:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["method"] == "GET" and given and self._is_token(given[-1]):
            # The address would stay in the browser's history, and tell the token to whoever sees the screen
            answer = RedirectResponse(scope["path"].replace("//", "/"), 303, {"cache-control": "no-store"})
            answer.set_cookie(
                cookie_name(host), self.access.token, path="/", httponly=True, samesite="strict", secure=False
            )
            return answer
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(credential.strip()):
            return None
        if self._is_token(_cookie(headers, cookie_name(host))):
            return None
        return refused(401, "The token is wrong or missing: open the address that the command printed.")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.access.token.encode())


def cookie_name(host: str) -> str:
    """The cookie that keeps the token. Browsers share cookies between ports, so that each has its own."""
    return f"florilegium_{host.rpartition(':')[2]}"


def refused(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal, as JSON: `{"error": sentence}`. What is too large is not read to its end: the connection is closed."""
    given = {"cache-control": "no-store", **(headers or {})}
    if status != 413:
        return JSONResponse({"error": sentence}, status, given)
    return _Closing({"error": sentence}, status, {**given, "connection": "close"})


class _Closing(JSONResponse):
    """Is sent at once, and then reads on for a moment what the client sends.

    A connection that is closed on unread bytes is reset, and who still sends would never see the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        read, more = 0, scope["type"] == "http"
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGERING_SECONDS):
                while more and read < _LINGERING_BYTES:
                    message = await receive()
                    read += len(message.get("body", b""))
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _too_large(most: int) -> str:
    return f"The request has more than {most:,} bytes."


def _is_own(headers: Headers, host: str) -> bool:
    """Whether a request that changes something comes from our own page, or from no browser.

    Browsers send `Origin` with every request of another site, and `Sec-Fetch-Site` with all.
    """
    origin = headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin) if origin.isascii() else urlsplit("")
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == host
    return headers.get("sec-fetch-site", "none") in {"same-origin", "none"}


def _cookie(headers: Headers, name: str) -> str:
    cookies = SimpleCookie()
    for line in headers.getlist("cookie"):
        try:
            cookies.load(line)
        except CookieError:
            return ""
    return cookies[name].value if name in cookies else ""


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return with_headers


def _limited(receive: Receive, most: int) -> Receive:
    """`receive`, which refuses the request as soon as more has come than may: a body in chunks states no length.

    It refuses once: who answers may read on.
    """
    read, said = 0, False

    async def limited() -> Message:
        nonlocal read, said
        message = await receive()
        read += len(message.get("body", b""))
        if read > most and not said:
            said = True
            raise HTTPException(413, _too_large(most))
        return message

    return limited
