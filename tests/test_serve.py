"""`serve`: what `predict` says, for whoever may ask, many at once; and nothing for whoever may not."""

import asyncio
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from benchmarks import damage
from pages import patience
from pages.guard import Access, Guard
from pages.serve import uploads
from pages.serve.app import PictureServer, UploadLimits
from tests.commanding import command
from tests.forking import Forks
from tests.serving import BOUNDARY, Served, form, serving, whole_answer
from tests.training_ground import picture, small_checkpoint
from train.checkpoint import save_checkpoint
from train.predict import Prediction, Predictor

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(small_checkpoint(), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(checkpoint: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with serving(forks, checkpoint, "--most-upload", 4, cwd=folder) as found:
        yield found
        assert found.end() == 0, "SIGTERM is the usual end"
    assert list(folder.rglob("*")) == [], "nothing is written to disk"


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor.from_checkpoint(checkpoint, "cpu")


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Of all the kinds that a decoder treats differently."""
    turned = Image.Exif()
    turned[0x0112] = 6
    plain = picture((200, 40, 90), 1)
    return {
        "a.jpg": encoded(plain, quality=90),
        "turned.jpg": encoded(picture((90, 60, 190), 2, (900, 500)), exif=turned),
        "clear.png": encoded(picture((10, 200, 90), 3).convert("RGBA"), "PNG"),
        "grey.webp": encoded(plain.convert("L"), "WEBP"),
        "long.gif": encoded(picture((80, 160, 70), 5, (800, 60)), "GIF"),
    }


def expected(predictor: Predictor, data: bytes) -> dict[str, float]:
    """What `predict` says of a file's bytes."""
    (answer,) = predictor.answer([predictor.prepare(data, "")], top_k=10)
    assert isinstance(answer, Prediction)
    return {guess.label: guess.probability for guess in answer.guesses}


def said(found: dict[str, Any]) -> dict[str, float]:
    return {guess["label"]: guess["probability"] for guess in found["guesses"]}


# -- the same as predict


def test_it_says_what_predict_says(
    server: Served, checkpoint: Path, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    """The command's own JSON, for the same bytes: alone, and in a form together."""
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    done = command("predict", *(tmp_path / name for name in pictures), "--checkpoint", checkpoint, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    body, headers = form(list(pictures.items()))
    together = server.ask("/api/predict", body, headers)
    assert together.status == 200
    assert [one["name"] for one in together.json["pictures"]] == list(pictures)
    for line, found, data in zip(lines, together.json["pictures"], pictures.values(), strict=True):
        (alone,) = server.ask("/api/predict", data, {"content-type": "image/jpeg"}).json["pictures"]
        for one in (found, alone):
            assert said(one) == pytest.approx(said(line), abs=1e-6)
            assert [guess["name"] for guess in one["guesses"]] == [guess["name"] for guess in line["guesses"]]
            assert one["familiarity"] == line["familiarity"]


def test_it_says_so_to_many_at_once(server: Served, predictor: Predictor) -> None:
    """Batches are put together of whoever asks; nobody gets another's answer."""
    asked = [encoded(picture((seed * 5 % 255, 90, 255 - seed * 5), seed)) for seed in range(24)]
    with ThreadPoolExecutor(24) as crowd:
        found = list(crowd.map(lambda data: server.ask("/api/predict?top_k=9", data), asked))
    assert {one.status for one in found} == {200}
    for one, data in zip(found, asked, strict=True):
        assert said(one.json["pictures"][0]) == pytest.approx(expected(predictor, data), abs=1e-6)


def test_top_k_names_so_many(server: Served, pictures: dict[str, bytes]) -> None:
    for asked, given in (("1", 1), ("2", 2), ("500", 3)):
        answer = server.ask(f"/api/predict?top_k={asked}", pictures["a.jpg"])
        assert len(answer.json["pictures"][0]["guesses"]) == given
    for asked in ("0", "-1", "1.5", "x", "9" * 9, "%C2%B2"):
        answer = server.ask(f"/api/predict?top_k={asked}", pictures["a.jpg"])
        assert answer.status == 400
        assert "whole number" in answer.json["error"]


def test_a_heat_map_is_drawn_or_told_in_numbers(
    server: Served, predictor: Predictor, pictures: dict[str, bytes]
) -> None:
    drawn = server.ask("/api/explain?class=10", pictures["turned.jpg"])
    assert (drawn.status, drawn.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(drawn.body)) as image:
        assert image.width < image.height, "upright"
    told = server.ask("/api/explain?format=json&class=10", pictures["turned.jpg"]).json
    from curate.image import decode

    heat = predictor.explain(decode(pictures["turned.jpg"], at_least=predictor.at_least).pixels, "10")
    assert told["class"] == {"label": "10", "name": "Ähre"}
    assert told["box"] == pytest.approx(heat.box)
    assert [value for row in told["heat"] for value in row] == pytest.approx(heat.scaled().ravel(), abs=1e-3)
    first = server.ask("/api/explain?format=json", pictures["a.jpg"]).json
    assert first["class"]["label"] == first["picture"]["guesses"][0]["label"], "its first guess, where none is named"
    for query, sentence in (("class=tulip", "knows no class 'tulip'"), ("format=gif", "ask for jpeg or json")):
        answer = server.ask(f"/api/explain?{query}", pictures["a.jpg"])
        assert answer.status == 400
        assert sentence in answer.json["error"]


def test_what_cannot_be_read_is_told_beside_what_can(server: Served, pictures: dict[str, bytes]) -> None:
    body, headers = form([("notes.txt", b"no picture"), ("a.jpg", pictures["a.jpg"])])
    answer = server.ask("/api/predict", body, headers)
    assert answer.status == 200
    broken, whole = answer.json["pictures"]
    assert broken["name"] == "notes.txt"
    assert broken["error"].startswith("No picture can be read: ")
    assert whole["guesses"]
    cut_off = server.ask("/api/predict", pictures["a.jpg"][:2000])
    assert cut_off.status == 422
    assert "cut off" in cut_off.json["error"]
    assert server.ask("/api/explain", b"no picture").status == 422


# -- its description


def schema_of(description: dict[str, Any], name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": description["components"]}


def test_the_description_is_openapi(server: Served) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    description = server.ask("/openapi.json").json
    assert description["openapi"].startswith("3.1")
    validator.validate(description)


def test_the_description_holds(server: Served, pictures: dict[str, bytes]) -> None:
    """Each answer fits the schema that is given for it, and each path is there."""
    description = server.ask("/openapi.json").json
    assert "4,000,000 bytes" in description["info"]["description"], "the limits that hold here"
    for path, methods in description["paths"].items():
        for method in methods:
            assert server.ask(path, b"x" if method == "post" else None).status in {200, 422}
    body, headers = form([("a.jpg", pictures["a.jpg"]), ("b.txt", b"no picture")])
    answers = {
        "Predictions": server.ask("/api/predict", body, headers),
        "Explanation": server.ask("/api/explain?format=json", pictures["a.jpg"]),
        "Classes": server.ask("/api/classes"),
        "Unread": server.ask("/api/predict", b"no picture"),
        "Error": server.ask("/api/predict?top_k=0", b"no picture"),
    }
    for name, answer in answers.items():
        jsonschema.validate(answer.json, schema_of(description, name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"pictures": [{"name": 1}]}, schema_of(description, "Predictions"))
    known = answers["Classes"].json
    assert [one["name"] for one in known["classes"]] == ["rose", "Ähre", "iris"]
    assert known["valid"]["pictures"] == 1000


def media_types(answer: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """The schemas of a described answer, by media type."""
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content: dict[str, Any] = answer["content"]
    return {kind: {**one["schema"], "components": description["components"]} for kind, one in content.items()}


def test_each_described_answer_is_given_as_described(
    checkpoint: Path, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status by status of each path, to a program and in a tab; the description has none that is not given here."""
    monkeypatch.setattr(uploads, "_SILENCE", 0.2)
    given: set[tuple[str, str]] = set()
    picture_ = pictures["a.jpg"]
    with in_this_process(checkpoint, "secret") as (made, port):
        asked = Served(None, port, "secret")  # type: ignore[arg-type]  # it is asked alone
        description = asked.ask("/openapi.json").json

        def given_for(path: str, body: bytes | None, headers: dict[str, str], query: str = "") -> None:
            method = "get" if body is None else "post"
            for accept in ("*/*", "text/html,*/*;q=0.8"):
                answer = asked.ask(path + query, body, {**headers, "accept": accept})
                described = description["paths"][path][method]["responses"]
                assert str(answer.status) in described, (path, answer.status, answer.body)
                kinds = media_types(described[str(answer.status)], description)
                kind = answer.headers["content-type"].partition(";")[0]
                assert kind in kinds, (path, answer.status, kind)
                if kind == "application/json":
                    jsonschema.validate(answer.json, kinds[kind])
                if answer.status == 503 and method == "post":
                    assert int(answer.headers["retry-after"]) >= 1
                given.add((path, str(answer.status)))

        reads = {"/api/predict": "?top_k=0", "/api/explain": "?class=no-such-class"}
        for path, methods in description["paths"].items():
            body = picture_ if "post" in methods else None
            given_for(path, body, {})
            given_for(path, body, {"host": "evil.example"})
            given_for(path, body, {"content-length": f"{MEGABYTE + 1}"})
            if path != "/healthz":
                given_for(path, body, {"authorization": "Bearer wrong"})
            if body is None:
                given_for(path, None, {"content-length": "x"})
            else:
                given_for(path, body, {}, reads[path])
                given_for(path, body, {"origin": "http://evil.example"})
                given_for(path, b"no picture", {})
                given_for(path, b"cut", {"content-length": "10"})
            with monkeypatch.context() as crowd:
                crowd.setattr(patience, "MOST_CONNECTIONS", 0)
                given_for(path, None if body is None else b"", {})
        given_for("/api/explain", picture_, {}, "?format=json")
        several, form_headers = form([("a.jpg", picture_), ("b.txt", b"no picture")])
        given_for("/api/predict", several, form_headers)
        given_for("/api/explain", several, form_headers)
        for path in reads:
            with monkeypatch.context() as broken:
                broken.setattr(made.predictor, "answer", lambda *_, **__: 1 / 0)
                given_for(path, picture_, {})
            made.room.pictures, room = 0, made.room.pictures
            given_for(path, picture_, {})
            made.room.pictures = room
        with monkeypatch.context() as gone:
            gone.setattr(type(made.answering), "is_alive", False)
            given_for("/healthz", None, {})
    described = {
        (path, status)
        for path, methods in description["paths"].items()
        for one in methods.values()
        for status in one["responses"]
    }
    assert described == given


def test_what_is_no_http_is_refused_as_all_else_is(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"x y\r\n\r\n")
        head, _, body = whole_answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"].endswith(".")


def test_health_needs_no_token(server: Served) -> None:
    answer = server.ask("/healthz", headers={"authorization": ""})
    assert (answer.status, answer.json) == (200, {"status": "ok"})


# -- who may not ask


@pytest.mark.parametrize(
    "path", ["/", "/api/predict", "/api/explain", "/api/classes", "/openapi.json", "/static/base.css"]
)
def test_no_stranger_is_answered(server: Served, path: str) -> None:
    body = b"x" if path.startswith("/api/") and path != "/api/classes" else None
    assert server.ask(path, body, {"authorization": "Bearer wrong"}).status == 401
    assert server.ask(path, body, {"host": "evil.example"}).status == 421, "DNS rebinding"
    if body:
        assert server.ask(path, body, {"origin": "http://evil.example"}).status == 403, "a form of another site"
        assert server.ask(path, body, {"sec-fetch-site": "cross-site"}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../serve/app.py", "/static/..%2f..%2fcli.py", "/static/%2e%2e/%2e%2e/cli.py", "/static//etc/passwd",
        "/static/..\\..\\cli.py", "/static/%00", "/static/serve/", "/api/../../etc/passwd",
        "//evil.example/api/classes", "/api/predict/../../x",
    ],
)  # fmt: skip
def test_no_path_leads_elsewhere(server: Served, path: str) -> None:
    answer = server.ask(path)
    assert answer.status in {400, 404}, answer.body[:100]
    assert b"import" not in answer.body
    assert b"root:" not in answer.body


def test_a_name_is_text_and_no_path(server: Served, pictures: dict[str, bytes]) -> None:
    """What lies where such names would lead is looked for at the server's end."""
    names = ["../../../etc/passwd", "/tmp/x.jpg", "C:\\x.jpg", "..", "a" * 3000, "é ü 花.jpg", "<b>.jpg"]
    body, headers = form([(name, pictures["a.jpg"]) for name in names])
    found = server.ask("/api/predict", body, headers)
    assert found.status == 200
    assert found.headers["x-content-type-options"] == "nosniff"
    for name, one in zip(names, found.json["pictures"], strict=True):
        assert one["guesses"]
        assert len(one["name"]) <= 255
        assert name.endswith(one["name"]) or name.startswith(one["name"])


@pytest.mark.thorough
def test_files_from_a_fuzzer_do_no_harm(server: Served) -> None:
    cases = [data for number in range(200) if 0 < len(data := damage.case(number)[1]) < 4 * MEGABYTE]
    assert len(cases) > 150
    with ThreadPoolExecutor(8) as crowd:
        statuses = list(crowd.map(lambda data: server.ask("/api/predict", data).status, cases))
    assert set(statuses) == {200, 422}
    assert server.ask("/healthz").status == 200


def test_a_bomb_is_refused_before_it_unfolds(server: Served) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3_000_000), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    before = memory_of(server)
    answer = server.ask("/api/predict", bomb)
    assert answer.status == 422
    assert "claims more than 134,217,728 pixels" in answer.json["error"]
    assert memory_of(server) - before < 100 * MEGABYTE


def memory_of(server: Served) -> int:
    """The most that the server ever had, in bytes."""
    status = Path(f"/proc/{server.program.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def test_ten_gigabytes_are_refused_unread(server: Served) -> None:
    """Announced, and in chunks that announce nothing: the client hears of it, and memory stays flat."""
    before = memory_of(server)
    with server.connect() as connection:
        connection.sendall(server.head("/api/predict", 10_000 * MEGABYTE))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    with server.connect() as connection:
        connection.sendall(server.head("/api/predict", more="Transfer-Encoding: chunked\r\n"))
        piece, sent = b"100000\r\n" + bytes(1 << 20) + b"\r\n", 0
        started = time.monotonic()
        try:
            while sent < 10_000 * MEGABYTE:
                connection.sendall(piece)
                sent += 1 << 20
        except OSError:
            pass
        assert sent < 100 * MEGABYTE
        assert time.monotonic() - started < 30
    assert memory_of(server) - before < 60 * MEGABYTE
    assert server.ask("/healthz").status == 200


# -- odd forms


HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n'.encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
AS_FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"", AS_FORM, 400),
        (b"x", {"content-type": "multipart/form-data"}, 400),
        (b"x", {"content-type": "multipart/form-data; boundary="}, 400),
        (b"x", {"content-type": "multipart/form-data; boundary=" + "b" * 5000}, 400),
        (HEAD + b"data", AS_FORM, 400),
        (HEAD.replace(b"boundary", b"other") + b"data" + TAIL, AS_FORM, 400),
        (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\nfield'.encode() + TAIL, AS_FORM, 400),
        (f"--{BOUNDARY}\r\n{'x' * 100_000}: y\r\n\r\n".encode() + TAIL, AS_FORM, 400),
        (f"--{BOUNDARY}\r\n{'a: b' * 1}\r\n".encode() * 50 + TAIL, AS_FORM, 400),
        (HEAD.replace(b"a.jpg", b"") + TAIL, AS_FORM, 400),
        (HEAD + b"no picture" + TAIL, AS_FORM, 422),
        ((HEAD + b"x\r\n") * 17 + TAIL, AS_FORM, 413),
        ((HEAD.replace(b"; filename=\"a.jpg\"", b"") + b"x\r\n") * 1001 + TAIL, AS_FORM, 413),
    ],
)  # fmt: skip
def test_an_odd_form_is_refused_in_a_sentence(
    server: Served, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = server.ask("/api/predict", body, headers)
    assert answer.status == status
    assert answer.json["error"].endswith(".")


def test_two_pictures_are_too_many_for_a_map(server: Served) -> None:
    answer = server.ask("/api/explain", (HEAD + b"x\r\n") * 2 + TAIL, AS_FORM)
    assert answer.status == 413
    assert answer.json["error"] == "The form has more than one picture."


def test_what_stands_beside_a_picture_is_passed_over(server: Served, pictures: dict[str, bytes]) -> None:
    """Fields, a file that was not chosen, a preamble, an epilogue, and a picture that has a type and no name."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="top"\r\n\r\n3\r\n'.encode()
    empty = HEAD.replace(b"a.jpg", b"") + b"\r\n"
    nameless = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="b"\r\nContent-Type: image/png\r\n\r\n'.encode()
    body = field + empty + HEAD + pictures["a.jpg"] + b"\r\n" + nameless + pictures["clear.png"] + TAIL + b"more"
    found = server.ask("/api/predict", body, AS_FORM)
    assert [one["name"] for one in found.json["pictures"]] == ["a.jpg", ""]
    assert all(one["guesses"] for one in found.json["pictures"])


def test_a_request_that_is_no_http_is_refused(server: Served) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50 + b"x y\r\n\r\n",
    ):
        with server.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in whole_answer(connection)[:20]
    assert server.ask("/healthz").status == 200


# -- crowds


def test_beyond_the_limit_it_says_when_to_come_again(
    checkpoint: Path, forks: Forks, tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    """`--views 64` makes each picture take its time."""
    options = ("--most-waiting", 2, "--views", 64, "--no-token")
    with serving(forks, checkpoint, *options, cwd=tmp_path) as server:
        assert server.token == ""
        with ThreadPoolExecutor(16) as crowd:
            found = list(crowd.map(lambda _: server.ask("/api/predict", pictures["a.jpg"]), range(16)))
        statuses = [one.status for one in found]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 2
        for one in found:
            if one.status == 503:
                assert int(one.headers["retry-after"]) >= 1
                assert "ask again" in one.json["error"]
        body, headers = form([("a.jpg", pictures["a.jpg"])] * 3)
        assert server.ask("/api/predict", body, headers).status == 503, "three at once never have room"
        assert server.ask("/api/predict", pictures["a.jpg"]).status == 200, "and those who come again have"


@pytest.mark.thorough
def test_sigterm_loses_no_answer_that_was_begun(
    checkpoint: Path, forks: Forks, tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    with serving(forks, checkpoint, "--views", 64, cwd=tmp_path) as server:
        connections = [server.connect() for _ in range(12)]
        for connection in connections:
            connection.sendall(server.head("/api/predict", len(pictures["a.jpg"])) + pictures["a.jpg"])
        first = connections[0].recv(1 << 16)  # by now the others have arrived, and few are answered
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(server.end()))
        ending.start()
        answers = [first + whole_answer(connections[0]), *map(whole_answer, connections[1:])]
        ending.join()
    assert ended == [0]
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(body)["pictures"][0]["guesses"]


@contextmanager
def in_this_process(checkpoint: Path, token: str = "") -> Iterator[tuple[PictureServer, int]]:
    """The same application and protocol in a thread, so that its patience can be made short."""
    made = PictureServer(Predictor.from_checkpoint(checkpoint, "cpu"), checkpoint, UploadLimits(MEGABYTE, 4, 8))
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    app = Guard(made.app(), Access({f"127.0.0.1:{port}"}, token, MEGABYTE, ("/healthz",)))
    config = uvicorn.Config(app, http=patience.PatientProtocol, log_level="error", ws="none", lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([bound],))
    thread.start()
    try:
        yield made, port
    finally:
        running.should_exit = True
        thread.join()
        bound.close()


def test_who_is_slow_is_not_waited_for(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head, silence, a head byte by byte, a body that stops: each ends, and others are answered meanwhile."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.6)
    monkeypatch.setattr(uploads, "_SILENCE", 0.6)
    with in_this_process(checkpoint) as (_, port):

        def slowly(*parts: bytes, pause: float = 0.0) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                try:
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(pause)
                except ConnectionError:
                    return b""
                return whole_answer(connection)

        head = f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n\r\n".encode()
        started = time.monotonic()
        with ThreadPoolExecutor(8) as crowd:
            silent = crowd.submit(slowly)
            half = crowd.submit(slowly, head[:20])
            drop = crowd.submit(slowly, *(bytes([byte]) for byte in head[:-2] * 3), pause=0.02)
            body = crowd.submit(slowly, head, b"abc")
            health = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
            assert b"200 OK" in crowd.submit(slowly, health).result()
            assert silent.result() == half.result() == drop.result() == b""
            assert body.result().startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < 10


def test_a_crowd_of_connections_is_told_to_come_again(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 3)
    with in_this_process(checkpoint) as (_, port):
        held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(3)]
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as further:
            answer = whole_answer(further)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 503 " in head
        assert b"retry-after" in head
        assert len(body) == int(head.partition(b"content-length: ")[2].split()[0])
        assert json.loads(body)["error"]
        for one in held:
            one.close()


def test_uploads_have_room_of_their_own(checkpoint: Path, pictures: dict[str, bytes]) -> None:
    """Bytes are counted while they come, and given back, whatever becomes of them."""
    made = PictureServer(Predictor.from_checkpoint(checkpoint, "cpu"), checkpoint, UploadLimits(MEGABYTE, 4, 8))
    room = made.room.size
    with TestClient(made.app()) as client:
        assert client.post("/api/predict", content=pictures["a.jpg"]).status_code == 200
        assert client.post("/api/predict", content=b"no picture").status_code == 422
        assert (made.room.size, made.room.pictures) == (room, 8)
        made.room.size = 100
        answer = client.post("/api/predict", content=pictures["a.jpg"])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert made.room.size == 100


def test_a_defect_is_a_sentence_and_the_next_is_answered(
    checkpoint: Path, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    made = PictureServer(predictor, checkpoint, UploadLimits(MEGABYTE, 4, 8))
    with TestClient(made.app(), raise_server_exceptions=False) as client:
        with monkeypatch.context() as broken:
            broken.setattr(predictor, "answer", lambda *_, **__: 1 / 0)
            answer = client.post("/api/predict", content=pictures["a.jpg"])
            assert answer.status_code == 500
            assert answer.json()["error"].startswith("Something went wrong")
        assert client.post("/api/predict", content=pictures["a.jpg"]).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_what_waits_is_computed_together(
    checkpoint: Path, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the network is at work on one, what comes in is its next batch; one who asks alone does not wait."""
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    sizes: list[int] = []
    answer = predictor.answer

    def slow(prepared: Any, *, top_k: int) -> Any:
        sizes.append(len(prepared))
        time.sleep(0.1)
        return answer(prepared, top_k=top_k)

    monkeypatch.setattr(predictor, "answer", slow)

    async def many() -> None:
        from pages.serve.answering import BatchedPredictor

        answering = BatchedPredictor(predictor, most=4, askers=1)
        answering.start()
        await asyncio.gather(*(answering.predict(pictures["a.jpg"], "", 1) for _ in range(12)))
        await asyncio.to_thread(answering.stop)

    asyncio.run(many())
    assert sum(sizes) == 12
    assert max(sizes) == 4
    assert len(sizes) <= 6


# -- the command


def test_a_port_that_is_taken_is_a_sentence(checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--checkpoint", checkpoint, "--port", port, "--no-open")
        assert f"Port {port} of 127.0.0.1 is taken" in done.sentence
    assert "no checkpoint" in command("serve", "--checkpoint", checkpoint.with_name("none.pth"), "--no-open").sentence
    for host in ("192.0.2.1", "no-such-host.invalid"):
        foreign = command("serve", "--checkpoint", checkpoint, "--host", host).sentence
        assert "Nothing can listen" in foreign
        assert "give another --host" in foreign, "no other port would help"
