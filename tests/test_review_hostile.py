"""Who must not use the review page, and what must not harm whoever uses it: against the server as it runs."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commanding import command
from tests.pictures import encoded, scene
from tests.reviewing import Served, garden
from tests.test_decisions import audited

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE decisions; --",
    "{{ 7 * 7 }}{% include 'x' %}",
    "\u202egpj.exe",
    "\x1b[31mred\x1b[0m",
    "a\nb\tc",
    "é\u0301 \u200d 💐",
]
SECRET = b"what nobody but its owner may read"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose names are markup, and that has links to files of its user outside of it."""
    folder = tmp_path_factory.mktemp("hostile")
    root = garden(folder / "data")
    for at, name in enumerate(NASTY):
        label = name.replace("/", "∕")
        (root / "raw" / label).mkdir()
        (root / "raw" / label / f"{label}.jpg").write_bytes(encoded(scene(100 + at)))
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "private.jpg").write_bytes(encoded(scene(900)))
    (root / "raw/rose/secret.jpg").symlink_to(folder / "secret.txt")
    (root / "raw/rose/passwd.jpg").symlink_to("/etc/passwd")
    (root / "raw/rose/nowhere.jpg").symlink_to(folder / "nothing")
    (root / "raw/rose/round.jpg").symlink_to(root / "raw/rose/round.jpg")
    os.mkfifo(root / "raw/rose/pipe.jpg")
    return root


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[Served]:
    running = Served.start(root)
    yield running
    assert running.stop() == 0


PATHS = ["/", "/api/state", "/api/queue/all", "/api/history", "/api/map", "/static/base.css"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Basic eDp4", "bearer \xff"])
def test_nothing_is_told_without_the_token(served: Served, path: str, token: str) -> None:
    answer = served.ask(path, headers={"authorization": token})
    assert answer.status == 401
    assert set(answer.json) == {"error"}
    assert served.token not in str(answer.headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:{port}"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": "localhost:{port}.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": ""}, 415),
        ({"content-length": "10000000000"}, 413),
        ({"content-length": "-1"}, 400),
    ],
)
def test_no_other_site_decides(served: Served, headers: dict[str, str], status: int) -> None:
    """DNS rebinding, a form or a script of another page, and a body of 10 GB."""
    item = served.queue("all")["raw/rose/0.jpg"]
    body = json.dumps({"ids": [item["id"]], "action": "aside", "reason": "ugly", "seen": {}}).encode()
    sent = {"content-type": "application/json", **headers}
    sent = {name: value.replace("{port}", str(served.port)) for name, value in sent.items()}
    answer = served.ask("/api/decide", method="POST", body=body, headers=sent)
    assert answer.status == status, answer.body
    assert served.queue("all")["raw/rose/0.jpg"]["decision"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"1", b"NaN", b'{"ids": NaN}', b"\xff\xfe", b"[" * 200_000,
        b'{"a":' * 100_000, b"9" * 100_000, b'{"ids": ' + b"9" * 10_000 + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/decide", "/api/undo", "/api/carry-out"])
def test_what_is_no_request_is_refused_in_a_sentence(served: Served, path: str, body: bytes) -> None:
    answer = served.ask(path, method="POST", body=body, headers={"content-type": "application/json"})
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    assert "Traceback" not in answer.json["error"]


ID = "0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        ("/api/decide", {}, 400),
        ("/api/decide", {"ids": [], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": "all", "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": [1], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": [None], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": ["../../etc/passwd"], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": [f"{ID}\n"], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": [ID.upper()], "action": "keep", "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {}}, 422),
        ("/api/decide", {"ids": [ID], "action": "undo", "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": "carry-out", "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": ["keep"], "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": []}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {ID: True}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {ID: 1.5}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {ID: -1}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {ID: 10**30}}, 400),
        ("/api/decide", {"ids": [ID], "action": "keep", "seen": {"x": 1}}, 400),
        ("/api/decide", {"ids": [ID], "action": "aside", "reason": 7, "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": "aside", "reason": "x" * 2000, "seen": {}}, 400),
        ("/api/decide", {"ids": [ID], "action": "relabel", "label": "\ud800", "seen": {}}, 400),
        ("/api/undo", {"batch": "1"}, 400),
        ("/api/undo", {"batch": True}, 400),
        ("/api/undo", {"batch": -1}, 400),
        ("/api/undo", {"batch": 1e300}, 400),
        ("/api/undo", {"batch": 4711}, 400),
        ("/api/carry-out", {}, 400),
        ("/api/carry-out", {"dry": 0}, 400),
        ("/api/carry-out", {"dry": "false", "token": ""}, 400),
        ("/api/carry-out", {"dry": False}, 409),
        ("/api/carry-out", {"dry": False, "token": {"x": 1}}, 400),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(served: Served, path: str, value: object, status: int) -> None:
    answer = served.post(path, value, status)
    assert answer["error"].endswith(".")


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("aside", {}),
        ("aside", {"reason": "../../x"}),
        ("aside", {"reason": "Ugly"}),
        ("aside", {"reason": "a b"}),
        ("aside", {"reason": "x\n"}),
        ("relabel", {}),
        ("relabel", {"label": "../../x"}),
        ("relabel", {"label": "rose/../tulip"}),
        ("relabel", {"label": "nothing"}),
        ("relabel", {"label": "rose"}),
        ("keeper", {}),
        ("restore", {}),
        ("accept", {}),
        ("keep", {"queue": "nothing"}),
        ("keep", {"queue": "../all"}),
    ],
)
def test_what_cannot_be_decided_is_not(served: Served, action: str, more: dict[str, str]) -> None:
    item = served.queue("all")["raw/rose/0.jpg"]
    answer = served.decide(item, action, more.pop("queue", "all"), 422, **more)
    assert answer["error"].endswith(".")
    assert served.queue("all")["raw/rose/0.jpg"]["decision"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/thumb/../../../etc/passwd", "/thumb/..%2f..%2fetc%2fpasswd", "/picture/%00", "/picture/raw/rose/0.jpg",
        "/static/../guard.py", "/static/..%2fguard.py", "/static/%2e%2e/guard.py", "/static/....//guard.py",
        "/static//etc/passwd", "/static/templates/base.html", "/api/queue/..%2f..%2fetc", "/api/picture/x",
        "/catalog.sqlite", "/api/alike/x", "/static/%00", "/static/" + "a" * 5000, "/static/..\\guard.py",
    ],
)  # fmt: skip
def test_no_address_leads_to_a_file(served: Served, path: str) -> None:
    answer = served.ask(path)
    assert 400 <= answer.status < 500
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


def test_a_connection_that_says_nonsense_ends_nothing(served: Served) -> None:
    for nonsense in (b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000, b"POST / HTTP/1.1\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(nonsense)
    assert served.get("/api/state")["revision"] >= 0


def test_names_are_text_and_nothing_else(served: Served) -> None:
    """What is in a name comes as JSON, unchanged, under a type that no browser takes for a page."""
    answer = served.ask("/api/queue/all?limit=500")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in answer.headers["content-security-policy"]
    labels = {item["label"] for item in answer.json["items"]}
    assert {name.replace("/", "∕") for name in NASTY} <= labels
    assert {one["name"] for one in served.get("/api/state")["classes"]} == labels
    for name in NASTY:
        label = name.replace("/", "∕")
        item = served.queue("all", class_=label)[f"raw/{label}/{label}.jpg"]
        assert served.ask(f"/thumb/{item['id']}").status == 200
        assert served.get(f"/api/picture/{item['id']}")["label"] == label


def test_a_link_that_leads_outside_shows_no_file(served: Served, root: Path) -> None:
    """At most the pixels of a picture are shown, and never a byte of what is none; a pipe is not waited for."""
    items = served.queue("all")
    for name in ("secret", "passwd", "nowhere", "round", "pipe"):
        item = items[f"raw/rose/{name}.jpg"]
        for path in (f"/thumb/{item['id']}", f"/picture/{item['id']}"):
            answer = served.ask(path)
            assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
            assert SECRET not in answer.body
            assert b"root:" not in answer.body
    # A folder that has become a link since leads to nobody else's pictures
    item = items["raw/tulip/0.jpg"]
    (root / "raw/tulip").rename(root.parent / "tulip")
    (root / "raw/tulip").symlink_to(root.parent / "tulip")
    try:
        answer = served.ask(f"/picture/{item['id']}")
        assert "etag" not in answer.headers, "a placeholder"
    finally:
        (root / "raw/tulip").unlink()
        (root.parent / "tulip").rename(root / "raw/tulip")


@pytest.mark.thorough
def test_an_identifier_of_another_dataset_is_nobody(served: Served, tmp_path: Path) -> None:
    other = Served.start(garden(tmp_path / "other"), "--as", "<b>Eve</b>")
    try:
        theirs = other.queue("all")
        mine = served.queue("all")
        assert theirs["raw/rose/0.jpg"]["id"] == mine["raw/rose/0.jpg"]["id"], "of the same place and bytes"
        (tmp_path / "other/raw/rose/0.jpg").write_bytes(encoded(scene(901)))
        assert other.ask("/api/state", headers={"authorization": f"Bearer {served.token}"}).status == 401
        assert other.get("/api/state")["who"] == "<b>Eve</b>"
    finally:
        other.stop()
    assert command("review", tmp_path / "other", "--no-open", "--as", " ").code == 2
    assert command("review", tmp_path / "other", "--no-open", "--port", 99999).code == 2


@pytest.mark.thorough
def test_an_audit_that_is_not_ours_is_said_and_passed_over(tmp_path: Path) -> None:
    root = garden(tmp_path / "data")
    audited(root, ("raw/rose/0.jpg", 0.99, 0, "tulip"), ("raw/rose/1.jpg", 0, 0.9, "tulip"))
    served = Served.start(root)
    try:
        assert list(served.queue("irrelevant")) == ["raw/rose/0.jpg"]
        item = served.queue("mislabelled")["raw/rose/1.jpg"]
        assert (item["proposed"], item["score"]) == ("tulip", 0.9)
        taken = served.decide(item, "accept", "mislabelled")["items"][0]["decision"]
        assert (taken["action"], taken["label"]) == ("relabel", "tulip")
    finally:
        served.stop()
    (root / "audit.jsonl").write_text('{"path": "../../x"}\n')
    served = Served.start(root)
    try:
        assert served.queue("irrelevant") == {}
        assert any("audit" in note for note in served.get("/api/state")["notes"])
    finally:
        served.stop()
