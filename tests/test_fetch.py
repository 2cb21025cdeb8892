"""The fetcher against real servers on loopback: what it brings, whom it asks first, and how hard it presses."""

import asyncio
import gc
import gzip
import hashlib
import itertools
import ssl
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from curate.program import __version__
from curate.web import robots
from curate.web.fetch import Fetched, Fetcher, sniff
from curate.web.hosts import HostBudget, Hosts
from curate.web.network import Network, Timeouts
from curate.web.retries import FetchFailed
from testing.localweb import LocalWeb
from testing.webserver import Reply, Request, Server
from tests.pictures import draw, plant
from tests.raw_server import RawServer

Result = TypeVar("Result")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path / "garden", {"rose": 12})) as server:
        yield server


def with_fetcher(network: Network, use: Callable[[Fetcher], Awaitable[Result]]) -> Result:
    async def work() -> Result:
        async with Fetcher(network) as fetcher:
            return await use(fetcher)

    return asyncio.run(work())


def fetch(network: Network, url: str, folder: Path) -> Fetched:
    folder.mkdir(exist_ok=True)
    return with_fetcher(network, lambda fetcher: fetcher.fetch(url, folder, "7"))


def url(web: LocalWeb, number: int, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{web.port}/openverse/pictures/{number}/original.jpg"


def names(*known: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(host: str, port: int) -> list[str]:
        if host not in known:
            raise OSError(host)
        return ["127.0.0.1"]

    return resolve


def test_brings_the_whole_file_named_by_its_content(web: LocalWeb, tmp_path: Path) -> None:
    fetched = fetch(web.network(), url(web, 3), tmp_path / "in")
    original = web.pictures[3].path.read_bytes()
    assert fetched.path.read_bytes() == original
    assert fetched.sha256 == hashlib.sha256(original).hexdigest()
    assert fetched.path.name == f"7.{fetched.sha256}.jpg"
    assert (fetched.size, fetched.extension) == (len(original), "jpg")
    assert [path.name for path in (tmp_path / "in").iterdir()] == [fetched.path.name]


def test_says_who_it_is_and_asks_for_no_compression(web: LocalWeb, tmp_path: Path) -> None:
    fetch(web.network(contact="gardener@example.org"), url(web, 0), tmp_path / "in")
    headers = web.visits("/openverse/pictures")[0].headers
    assert headers["user-agent"] == f"florilegium/{__version__} (gardener@example.org)"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


def test_robots_txt_is_asked_once_and_obeyed(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.robots = "User-agent: *\nDisallow: /openverse/pictures/1/\n"
    folder = tmp_path / "in"
    folder.mkdir()

    async def both(fetcher: Fetcher) -> list[Fetched | BaseException]:
        wishes = [fetcher.fetch(url(web, number), folder, str(number)) for number in (0, 1, 2)]
        return await asyncio.gather(*wishes, return_exceptions=True)

    good, bad, also_good = with_fetcher(web.network(), both)
    assert isinstance(good, Fetched)
    assert isinstance(also_good, Fetched)
    assert isinstance(bad, FetchFailed)
    assert (bad.kind, bad.passing) == ("robots.txt", False)
    assert len(web.visits("/robots.txt")) == 1
    assert not web.visits("/openverse/pictures/1/")
    assert fetch(web.network(obey_robots=False), url(web, 1), folder).size


@pytest.mark.parametrize(
    ("body", "encoding", "kept_out"),
    [
        (gzip.compress(b"User-agent: *\nDisallow: /private"), "gzip", "forbids it"),
        (gzip.compress(b"User-agent: *\nDisallow: /open"), "gzip", ""), (b"no gzip", "gzip", "is no gzip"),
        (zlib.compress(b"User-agent: *\nDisallow: /private"), "br", "packed by br"),
        (gzip.compress(b"User-agent: *\nDisallow: /private")[:-20], "gzip", "is cut off"),
    ],
    ids=["gzip", "gzip that allows it", "no gzip", "another", "a part of gzip"],
)  # fmt: skip
def test_a_robots_txt_that_comes_packed_unasked_is_obeyed_or_waited_for(
    body: bytes, encoding: str, kept_out: str, tmp_path: Path
) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/robots.txt":
            return Reply(body, "text/plain", headers={"Content-Encoding": encoding})
        return Reply(draw(1), "image/jpeg")

    with Server(answer) as server:
        network, address = Network(loopback_ports=frozenset({server.port})), f"{server.url}/private/a.jpg"
        if not kept_out:
            assert fetch(network, address, tmp_path).size
            return
        with pytest.raises(FetchFailed, match=kept_out) as caught:
            with_fetcher(network, lambda fetcher: fetcher.fetch(address, tmp_path, "7", attempts=1))
        assert caught.value.kind == "robots.txt"
        assert [visit.path for visit in server.log] == ["/robots.txt"]


def test_a_hiccup_at_robots_txt_is_not_kept_for_the_run(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.robots, web.faults.robots_fails = "User-agent: *\nDisallow: /openverse/pictures/1/\n", 1
    folder = tmp_path / "in"
    folder.mkdir()

    async def some(fetcher: Fetcher) -> list[Fetched | BaseException]:
        wishes = [fetcher.fetch(url(web, number), folder, str(number)) for number in range(3)]
        return await asyncio.gather(*wishes, return_exceptions=True)

    good, bad, also_good = with_fetcher(web.network(), some)
    assert isinstance(good, Fetched)
    assert isinstance(also_good, Fetched)
    assert isinstance(bad, FetchFailed)
    assert not bad.passing
    assert len(web.visits("/robots.txt")) == 2


@pytest.mark.parametrize(("again", "visits"), [(0.0, robots.READS), (60.0, 1)])
def test_a_robots_txt_that_cannot_be_read_is_asked_for_a_bounded_number_of_times(
    again: float, visits: int, web: LocalWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And meanwhile nothing is fetched."""
    monkeypatch.setattr(robots, "AGAIN", again)
    web.faults.robots_fails = 99
    folder = tmp_path / "in"
    folder.mkdir()

    async def one_by_one(fetcher: Fetcher) -> None:
        for number in range(2 * robots.READS):
            with pytest.raises(FetchFailed, match="answered 503") as caught:
                await fetcher.fetch(url(web, number), folder, str(number), attempts=1)
            assert caught.value.passing

    with_fetcher(web.network(), one_by_one)
    assert len(web.visits("/robots.txt")) == visits
    assert not web.visits("/openverse/pictures")


def test_a_robots_txt_that_fails_once_nobody_waits_for_it_is_no_news(
    web: LocalWeb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a traceback of asyncio comes to the terminal."""
    web.latency, web.faults.robots_fails = 0.2, 99

    async def called_off(fetcher: Fetcher) -> None:
        wish = asyncio.create_task(fetcher.fetch(url(web, 0), tmp_path, "0"))
        await asyncio.sleep(0.1)
        wish.cancel()
        await asyncio.gather(wish, return_exceptions=True)
        await asyncio.sleep(0.5)

    with_fetcher(web.network(), called_off)
    gc.collect()
    assert len(web.visits("/robots.txt")) == 1
    assert not caplog.records


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nweeds", b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n",
        b"weeds",
    ],
    ids=["an answer", "a farewell", "anything"],
)  # fmt: skip
def test_what_comes_between_two_requests_is_no_answer_to_the_second(unasked: bytes, tmp_path: Path) -> None:
    async def speak(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(draw(1)) + draw(1))
        if not number and len(server.asked) == 1:
            await asyncio.sleep(0.05)  # or it comes with the answer
            writer.write(unasked)

    async def both(fetcher: Fetcher) -> list[bytes]:
        bodies = []
        for number in (0, 1):
            address = f"http://127.0.0.1:{server.port}/{number}.jpg"
            bodies.append((await fetcher.fetch(address, tmp_path, str(number), attempts=1)).path.read_bytes())
            await asyncio.sleep(0.2)
        return bodies

    with RawServer(speak) as server:
        network = Network(loopback_ports=frozenset({server.port}), obey_robots=False)
        assert with_fetcher(network, both) == [draw(1)] * 2


def test_x_robots_tag_is_obeyed(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.pictures[0] = "noai"
    with pytest.raises(FetchFailed, match="'noai'") as caught:
        fetch(web.network(), url(web, 0), tmp_path / "in")
    assert not caught.value.passing
    assert fetch(web.network(obey_robots_tag=False), url(web, 0), tmp_path / "in").size


def test_tries_again_what_may_pass_and_nothing_else(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.flaky[0] = 2
    assert fetch(web.network(), url(web, 0), tmp_path / "in").size
    assert [visit.status for visit in web.visits("/openverse/pictures/0/")] == [503, 503, 200]
    web.faults.pictures[1] = "gone"
    with pytest.raises(FetchFailed, match="404"):
        fetch(web.network(), url(web, 1), tmp_path / "in")
    assert len(web.visits("/openverse/pictures/1/")) == 1


def test_a_budget_bounds_connections_and_rate_per_host(web: LocalWeb, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    web.latency = 0.05
    hosts = ["one.example", "two.example"]

    async def all_of_them(fetcher: Fetcher) -> None:
        wishes = [
            fetcher.fetch(url(web, number, host), folder, f"{host}{number}") for number in range(12) for host in hosts
        ]
        await asyncio.gather(*wishes)

    budgets = {"one.example": HostBudget(connections=2), "two.example": HostBudget(connections=4, per_minute=1200)}
    with_fetcher(web.network(budgets=budgets, resolve=names(*hosts), obey_robots=False), all_of_them)
    one, two = ([v for v in web.log if v.headers["host"].startswith(host)] for host in hosts)
    assert most_at_once([(v.started, v.finished) for v in one]) == 2
    assert most_at_once([(v.started, v.finished) for v in two]) <= 4
    starts = sorted(v.started for v in two)
    assert starts[-1] - starts[0] >= 11 * 60 / 1200 * 0.8


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(itertools.accumulate(step for _, step in edges))


def test_bytes_an_hour_hold_the_next_request_back(web: LocalWeb) -> None:
    async def work() -> float:
        hosts = Hosts(4, {"heavy.example": HostBudget(bytes_per_hour=3_600_000)})
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with hosts.turn("cdn.heavy.example"):
            hosts.received("cdn.heavy.example", 300)  # 0.3 s of the allowance
        async with hosts.turn("heavy.example"):
            return clock() - begun

    assert 0.29 <= asyncio.run(work()) < 1.0


def test_a_slow_host_does_not_hold_the_others_up(web: LocalWeb, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    budgets = {"slow.example": HostBudget(connections=1, per_minute=6)}

    async def work(fetcher: Fetcher) -> None:
        slow = [asyncio.create_task(fetcher.fetch(url(web, n, "slow.example"), folder, f"s{n}")) for n in range(6)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(3):
            await asyncio.gather(*(fetcher.fetch(url(web, n, "quick.example"), folder, f"q{n}") for n in range(12)))
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    resolve = names("slow.example", "quick.example")
    with_fetcher(web.network(connections=2, budgets=budgets, resolve=resolve, obey_robots=False), work)


def test_a_name_that_turns_private_gains_nothing(web: LocalWeb, tmp_path: Path) -> None:
    """Public when it is first resolved, private the next time: each connection goes to what was checked for it."""
    answers = iter([["3ffe:ffff::1"]])  # public by its number, and routed to nobody
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers, ["127.0.0.1"])

    network = Network(resolve=resolve, obey_robots=False, timeouts=Timeouts(connect=0.3))
    with pytest.raises(FetchFailed, match=r"resolves to 127\.0\.0\.1, a loopback address") as caught:
        fetch(network, url(web, 0, "rebind.example"), tmp_path / "in")
    assert (caught.value.kind, caught.value.passing) == ("refused address", False)
    assert asked == ["rebind.example"] * 2
    assert web.log == []


def test_the_checked_address_is_the_one_connected_to(web: LocalWeb, tmp_path: Path) -> None:
    """A name that would resolve elsewhere a second time is resolved once for its connection."""
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    fetched = fetch(web.network(resolve=resolve, obey_robots=False), url(web, 0, "rose.example"), tmp_path / "in")
    assert fetched.size
    assert asked == ["rose.example"]
    assert web.log[0].headers["host"] == f"rose.example:{web.port}"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(12), "jpg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "avif"),
        (b"GIF89a" + bytes(10), "gif"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"<!DOCTYPE html>\n", None),
        (b"", None),
    ],
)
def test_knows_pictures_by_their_first_bytes(head: bytes, expected: str | None) -> None:
    assert sniff(head) == expected


@dataclass
class Secure:
    """What a server with certificates has seen."""

    port: int
    names: list[str | None] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)


def test_tls_keeps_the_name_while_the_address_is_pinned(tmp_path: Path) -> None:
    """Host header, server name and certificate are the URL's; HTTP/2 is spoken because the server offers it."""
    authority = trustme.CA()
    certificates = ssl.create_default_context()
    authority.configure_trust(certificates)
    with secure_server(authority.issue_cert("flowers.example"), draw(1)) as seen:
        network = Network(
            loopback_ports=frozenset({seen.port}),
            resolve=names("flowers.example", "stranger.example"),
            certificates=certificates,
            obey_robots=False,
        )
        fetched = fetch(network, f"https://flowers.example:{seen.port}/a.jpg", tmp_path / "in")
        assert fetched.path.read_bytes() == draw(1)
        assert seen.names == ["flowers.example"]
        assert seen.hosts == [f"flowers.example:{seen.port}"]
        assert seen.protocols == ["h2"]
        with pytest.raises(FetchFailed, match="certificate"):
            fetch(network, f"https://stranger.example:{seen.port}/a.jpg", tmp_path / "in")


class secure_server:  # noqa: N801
    """Serves one picture over TLS and HTTP/2 from a thread of its own."""

    def __init__(self, certificate: trustme.LeafCert, picture: bytes) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.context.sni_callback = self.greeted
        certificate.configure_cert(self.context)
        self.picture = picture
        self.seen = Secure(0)
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),))

    def __enter__(self) -> Secure:
        self.thread.start()
        self.ready.wait()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()

    def greeted(self, _connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self.seen.names.append(name)

    async def serve(self) -> None:
        self.stop = asyncio.Event()
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0, ssl=self.context)
        self.seen.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()
        server.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        link.initiate_connection()
        writer.write(link.data_to_send())
        while data := await reader.read(65536):
            for event in link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    (host,) = [value for key, value in event.headers if key == b":authority"]
                    self.seen.hosts.append(host.decode())
                    length = str(len(self.picture))
                    answer = [(":status", "200"), ("content-type", "image/jpeg"), ("content-length", length)]
                    link.send_headers(event.stream_id, answer)
                    link.send_data(event.stream_id, self.picture, end_stream=True)
            writer.write(link.data_to_send())
            await writer.drain()
        writer.close()


def test_python_looks_for_garbage_as_before_once_the_fetching_ends(web: LocalWeb, tmp_path: Path) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    fetch(web.network(), url(web, 3), tmp_path / "out")
    with pytest.raises(FetchFailed):
        fetch(web.network(), url(web, 99), tmp_path / "out")
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
