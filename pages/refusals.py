"""What a refusal says: a sentence, as JSON for programs and as a page for people."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pages.html import hash_source, html, static_text

_LINGERING_SECONDS: Final = 2.0
_LINGERING_BYTES: Final = 16 << 20

_HEADINGS: Final = {
    401: "This page needs its address again",
    404: "Nothing is here",
    413: "That is too much",
    503: "Too much is under way",
}


def refused(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal, as JSON: `{"error": sentence}`. What is too large is not read to its end: the connection is closed."""
    return refused_with({"error": sentence}, status, headers)


def refused_with(said: Mapping[str, object], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The same, with more than the sentence in its JSON."""
    given = {"cache-control": "no-store", **(headers or {})}
    if status != 413:
        return JSONResponse(said, status, given)
    return _Closing(said, status, {**given, "connection": "close"})


async def refused_by_framework(_: Request, error: Exception) -> Response:
    """The refusal for an HTTPException, with its headers: a handler for Starlette."""
    assert isinstance(error, HTTPException)
    return refused(error.status_code, error.detail, error.headers)


def in_words(scope: Scope, send: Send) -> Send:
    """`send`, which says each refusal as who asks can read it: a page where HTML is preferred, JSON otherwise.

    A refusal is an answer of 400 or more that is JSON with an `error`. Where that is no more than HTTP's name for the
    status, as a framework says it, a sentence stands in its place.
    """
    held: Message | None = None

    async def said(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and _is_refusal(message):
            held = message
            return
        if held is not None:
            start, held = held, None
            message = {**message, "body": _in_words(scope, start, message.get("body", b""))}
            await send(start)
        await send(message)

    return said


def _is_refusal(start: Message) -> bool:
    return start["status"] >= 400 and Headers(raw=start["headers"]).get("content-type") == "application/json"


def _in_words(scope: Scope, start: Message, body: bytes) -> bytes:
    """The body in whose place `body` came; the headers of `start` are changed with it."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return body
    if not isinstance(told, dict) or not isinstance(told.get("error"), str):
        return body
    status, headers = start["status"], MutableHeaders(scope=start)
    sentence = told["error"]
    if sentence == _name_of(status):
        sentence = _sentence(status, scope["method"], headers.get("allow", ""))
    headers["vary"] = "accept"
    if wants_page(Headers(scope=scope)):
        made = _page(status, sentence, Headers(scope=scope).get("host", "") if status == 401 else "", headers)
    elif sentence != told["error"]:
        made = bytes(JSONResponse({**told, "error": sentence}).body)
    else:
        return body
    headers["content-length"] = str(len(made))
    return made


def _page(status: int, sentence: str, host: str, headers: MutableHeaders) -> bytes:
    """A page that needs nothing else: who has no token is given no style."""
    style = static_text("base.css")
    headers["content-type"] = "text/html; charset=utf-8"
    headers["content-security-policy"] = (
        f"default-src 'none'; style-src {hash_source(style)}; img-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return html(
        "refused.html", heading=_HEADINGS.get(status, "This cannot be answered"), sentence=sentence, host=host,
        style=Markup(style),  # noqa: S704 - a file of ours
        has_first_page=status not in {401, 421},
    ).encode()  # fmt: skip


def _sentence(status: int, method: str, allowed: str) -> str:
    """What is said where a framework gave no more than the name of a status."""
    match status:
        case 404:
            return "There is nothing at this address."
        case 405:
            return f"This address answers {allowed}, not {method}." if allowed else f"Nothing here answers {method}."
    return f"{_name_of(status)}."


def _name_of(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""


def wants_page(headers: Headers) -> bool:
    """Whether HTML is asked for by name, and JSON less. Browsers do so for what fills a tab, and for nothing else."""
    found = dict(_accepted(",".join(headers.getlist("accept"))))
    return found.get("text/html", 0.0) > found.get("application/json", 0.0)


def _accepted(accept: str) -> Iterator[tuple[str, float]]:
    """Media types and how much they are wanted, 0 to 1 (RFC 9110, 12.5.1)."""
    for part in accept.lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        yield kind, quality


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
