"""Before every page: who may ask, from where, how much; and what the browser is told."""

import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pages.guard import POLICY, Access, Guard, new_token
from pages.html import hash_source, static_files
from pages.review.app import Review

TOKEN = new_token()
HOST = "127.0.0.1:8123"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


def client(access: Access) -> TestClient:
    app = Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])
    return TestClient(Guard(app, access), base_url=f"http://{HOST}", follow_redirects=False)


@pytest.fixture
def asked() -> TestClient:
    return client(Access({HOST}, TOKEN, 1000, ("/healthz",)))


def as_bytes(headers: dict[str, str | bytes]) -> dict[bytes, bytes]:
    return {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in headers.items()}


BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"cookie": f"florilegium_8124={TOKEN}"},
        {"cookie": "florilegium_8123="},
        {"cookie": b"florilegium_8123=\xc3\xa9; ;=;\xff"},
    ],
)
def test_a_wrong_or_missing_token_is_refused(asked: TestClient, headers: dict[str, str | bytes]) -> None:
    for path in ("/", "/api/decide", "/static/base.css", "/?token=wrong", "/?token="):
        assert asked.get(path, headers=as_bytes(headers)).status_code == 401
    assert asked.post(f"/?token={TOKEN}", headers=as_bytes(headers)).status_code == 401, (
        "a form's address brings no token"
    )


def test_the_printed_address_brings_a_cookie_and_hides_the_token(asked: TestClient) -> None:
    answer = asked.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert asked.get("/").status_code == 200, "the browser brings the cookie now"


def test_the_address_leads_nowhere_else(asked: TestClient) -> None:
    """`//evil.example/` as a path would be another host to a browser."""
    answer = asked.get(f"http://{HOST}//evil.example/?token={TOKEN}")
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith("//")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:8124", "evil.example:8123", "", HOST + ".", HOST + "@evil"]
)
def test_a_name_that_leads_here_is_not_ours(asked: TestClient, host: str) -> None:
    """DNS rebinding: the browser takes the page of evil.example and us for one site."""
    assert asked.get("/", headers={**BEARER, "host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8124"},
        {"origin": f"http://{HOST}.evil.example"},
        {"origin": f"file://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(asked: TestClient, headers: dict[str, str]) -> None:
    assert asked.post("/", headers={**BEARER, **headers}).status_code == 403


@pytest.mark.parametrize("headers", [{"origin": f"http://{HOST}"}, {"sec-fetch-site": "same-origin"}, {}])
def test_our_own_page_may_post(asked: TestClient, headers: dict[str, str]) -> None:
    assert asked.post("/", headers={**BEARER, **headers}, content=b"x" * 1000).text == "1000 bytes"


def test_a_body_that_is_too_large_is_refused_unread(asked: TestClient) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(10_000):
            taken += 100
            yield b"x" * 100

    assert asked.post("/", headers=BEARER, content=b"x" * 1001).status_code == 413
    assert asked.post("/", headers={**BEARER, "content-length": "9" * 30}).status_code == 413
    assert asked.post("/", headers={**BEARER, "content-length": "-1"}).status_code == 400
    assert asked.post("/", headers=BEARER, content=endless()).status_code == 413, "in chunks, which state no length"


def test_every_answer_has_the_headers_of_security(asked: TestClient) -> None:
    for answer in (asked.get("/"), asked.get("/", headers=BEARER), asked.get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_needs_no_token_needs_none(asked: TestClient) -> None:
    assert asked.get("/healthz").status_code == 200
    assert asked.get("/healthz", headers={"host": "evil.example"}).status_code == 421


def test_a_page_without_a_token_still_knows_its_host_and_its_forms() -> None:
    asked = client(Access({HOST}))
    assert asked.get("/").status_code == 200
    assert asked.get("/", headers={"host": "evil.example"}).status_code == 421
    assert asked.post("/", headers={"origin": "http://evil.example"}).status_code == 403


# What Chromium and Firefox send for a tab, and what fetch and curl send
TAB = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
PROGRAMS = ["*/*", "application/json", "text/html;q=0.5, application/json", "text/html;q=0", "text/*", ""]


@pytest.fixture
def page() -> TestClient:
    """The page of `review`, with no dataset: what is refused needs none."""

    def no_desk() -> None:
        raise AssertionError

    app = Review(no_desk, Path("bank")).application(Access({HOST}, TOKEN, 1000))  # type: ignore[arg-type]
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


def test_what_the_page_has_no_answer_to_is_guarded_too(page: TestClient) -> None:
    """A defect, and a method that an address lacks: `Allow` says which it has (RFC 9110, 15.5.6)."""
    asked = TestClient(page.app, base_url=f"http://{HOST}", raise_server_exceptions=False)
    failed = asked.get("/api/state", headers=BEARER)
    assert failed.status_code == 500
    assert "defect" in failed.json()["error"]
    wrong = asked.delete("/api/undo", headers=BEARER)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    for answer in (failed, wrong):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"


REFUSED = {
    "old token": (401, "GET", "/", {"cookie": "florilegium_8123=of-an-earlier-start"}, b""),
    "wrong token": (401, "GET", "/?token=wrong", {}, b""),
    "no token, a file": (401, "GET", "/static/base.css", {}, b""),
    "another name": (421, "GET", "/", {**BEARER, "host": "evil.example"}, b""),
    "another site": (403, "POST", "/api/undo", {**BEARER, "origin": "http://evil.example"}, b""),
    "too large": (413, "POST", "/api/undo", BEARER, b"x" * 1001),
    "too large in parts": (413, "POST", "/api/undo", {**BEARER, "content-type": "application/json"}, [b"x" * 600] * 2),
    "no such page": (404, "GET", "/<b>nothing</b>", BEARER, b""),
    "no such file": (404, "GET", "/static/nothing.js", BEARER, b""),
    "no such method": (405, "DELETE", "/api/undo", BEARER, b""),
    "no such method of a file": (405, "POST", "/static/base.css", BEARER, b""),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("status", "method", "path", "headers", "body"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_a_sentence(
    page: TestClient, status: int, method: str, path: str, headers: dict[str, str], body: bytes | list[bytes]
) -> None:
    """As JSON for programs, and as a page where a tab would show it: with style, and nothing that a token is for."""

    def asked(accept: str) -> Response:
        content = iter(body) if isinstance(body, list) else body
        return page.request(method, path, headers={**headers, "accept": accept}, content=content)

    sentences = set()
    for accept in PROGRAMS:
        told = asked(accept)
        assert told.status_code == status
        assert told.headers["content-type"] == "application/json"
        assert list(told.json()) == ["error"]
        assert "accept" in told.headers["vary"]
        sentences.add(told.json()["error"])
    (sentence,) = sentences
    assert re.fullmatch(r"[A-Z].{15,}\.", sentence), "a sentence, and not the name of a status"
    shown = asked(TAB)
    assert shown.status_code == status
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert sentence in shown.text
    assert "<h1>" in shown.text
    assert not re.search("<script|<link|<b>nothing", shown.text)
    (style,) = re.findall("<style>(.*?)</style>", shown.text, re.DOTALL)
    policy = shown.headers["content-security-policy"]
    assert f"style-src {hash_source(style)};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_who_reloads_after_a_restart_is_told_where_the_new_address_is(page: TestClient) -> None:
    shown = page.get("/", headers={"accept": TAB, "cookie": "florilegium_8123=of-an-earlier-start"})
    assert "Look at the terminal in which the command runs" in shown.text
    assert f"http://{HOST}/?token=…" in shown.text
    assert TOKEN not in shown.text


def test_an_answer_that_is_no_refusal_stays_as_it_is() -> None:
    """Whatever the status: other types, other JSON, other words, in parts."""

    async def parts(_: Request) -> StreamingResponse:
        return StreamingResponse(iter([b'{"error": ', b'"x"}']), 500, media_type="application/json")

    app = Starlette(
        routes=[
            Route("/plain", lambda _: PlainTextResponse("Not Found", 404)),
            Route("/list", lambda _: JSONResponse(["error"], 404)),
            Route("/state", lambda _: JSONResponse({"status": "stopped"}, 503)),
            Route("/fine", lambda _: JSONResponse({"error": "Not Found"}, 200)),
            Route("/parts", parts),
        ]
    )
    asked = TestClient(Guard(app, Access({HOST})), base_url=f"http://{HOST}")
    told = {path: asked.get(path, headers={"accept": TAB}) for path in ("/plain", "/list", "/state", "/fine", "/parts")}
    assert told["/plain"].text == "Not Found"
    assert told["/list"].json() == ["error"]
    assert told["/state"].json() == {"status": "stopped"}
    assert told["/fine"].json() == {"error": "Not Found"}
    assert told["/parts"].json() == {"error": "x"}


def test_what_a_refusal_says_besides_stays() -> None:
    app = Starlette(routes=[Route("/", lambda _: JSONResponse({"error": "Somebody was first.", "items": [1]}, 409))])
    asked = TestClient(Guard(app, Access({HOST})), base_url=f"http://{HOST}")
    assert asked.get("/").json() == {"error": "Somebody was first.", "items": [1]}
    assert "Somebody was first." in asked.get("/", headers={"accept": TAB}).text


def test_the_icon_needs_no_token(asked: TestClient) -> None:
    """Browsers ask for it beside whatever they show: a refusal, JSON."""
    answer = asked.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.text.startswith("<svg ")
    assert asked.get("/favicon.ico", headers={"host": "evil.example"}).status_code == 421


def test_scripts_are_scripts_whatever_the_system_believes() -> None:
    """Browsers run no module of another type, and `nosniff` forbids them to guess."""
    before = mimetypes.guess_type("main.js")[0] or "text/javascript"
    mimetypes.add_type("text/plain", ".js")
    try:
        asked = TestClient(Starlette(routes=[Mount("/static", static_files())]))
        answer = asked.get("/static/review/main.js")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
    finally:
        mimetypes.add_type(before, ".js")
