"""Before every page: who may ask, from where, how much; and what the browser is told."""

import mimetypes
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pages.guard import Access, Guard, new_token
from pages.html import static_files

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
