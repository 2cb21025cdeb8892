"""What stands before every page: who may ask, from where, how much, and what the browser is told to allow."""

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.html import static_text
from pages.refusals import in_words, refused

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

_ICON: Final = "/favicon.ico"
"""Browsers ask for it beside whatever they show, and bring no token where they have none."""

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
        send = in_words(scope, _with_headers(send))
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["path"] == _ICON and scope["method"] in {"GET", "HEAD"}:
            await _icon()(scope, receive, send)
        else:
            await self.app(scope, _limited(receive, self.access.most_bytes), send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if len(headers.getlist("host")) != 1 or host not in self.access.hosts:
            return refused(421, "The request is for another host: open the address that the command printed.")
        if scope["method"] not in _CHANGES_NOTHING and not _is_own(headers, host):
            return refused(403, "The request comes from a page of another site.")
        stated = headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            return refused(400, "The length of the body is no number.")
        if len(stated) > len(str(self.access.most_bytes)) or int(stated) > self.access.most_bytes:
            return refused(413, _too_large(self.access.most_bytes))
        return self._lacks_token(scope, headers, host)

    def _lacks_token(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        if not self.access.token or scope["path"] in {_ICON, *self.access.open_paths}:
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
        return refused(401, "The token is wrong or missing: open the address that the command printed when it started.")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.access.token.encode())


def cookie_name(host: str) -> str:
    """The cookie that keeps the token. Browsers share cookies between ports, so that each has its own."""
    return f"florilegium_{host.rpartition(':')[2]}"


def _icon() -> Response:
    return Response(
        static_text("review/icon.svg"), media_type="image/svg+xml", headers={"cache-control": "max-age=86400"}
    )


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
