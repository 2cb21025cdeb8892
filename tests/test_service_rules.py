"""The services' own rules: pauses that robots.txt asks for, gentleness, what is allowed a day, packed answers."""

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.scraping.allowance import keep_spent, spent_today
from curate.web.answers import SourceFailed
from curate.web.api import LARGEST_ANSWER, Api
from curate.web.fetch import Fetcher
from curate.web.hosts import COURTESY, GENTLE, HostBudget, Hosts
from curate.web.network import Network
from curate.web.retries import FetchFailed
from testing.localweb import LocalWeb
from testing.webserver import Reply, Request, Server
from tests.bringing import bring
from tests.pictures import draw, plant

REPOSITORY = Path(__file__).resolve().parent.parent


def test_a_crawl_delay_is_kept(tmp_path: Path) -> None:
    with LocalWeb(plant(tmp_path / "web", {"rose": 4}), licenses=("by",)) as web:
        web.faults.robots = "User-agent: *\nCrawl-delay: 0.4\n"
        assert bring(web, tmp_path / "out", "rose").new == 4
        starts = [visit.started for visit in web.visits("/openverse/pictures/")]
    assert starts[-1] - starts[0] >= 3 * 0.4 - 0.1


def test_an_unknown_host_behind_gbif_is_asked_once_a_second_and_a_photo_host_as_it_allows() -> None:
    async def rates() -> tuple[float | None, float | None]:
        hosts = Hosts(4, {"photos.example": HostBudget(per_minute=600)}, COURTESY)
        hosts.be_gentle("herbarium.example")
        hosts.be_gentle("photos.example")
        return tuple(hosts._provider(name).budget.per_minute for name in ("herbarium.example", "photos.example"))  # type: ignore[return-value]

    assert asyncio.run(rates()) == (GENTLE, 600)


def test_a_scrape_is_gentle_to_the_hosts_behind_gbif_alone(tmp_path: Path) -> None:
    def gap(source: str) -> float:
        report = bring(web, tmp_path / source, "rose", sources=(source,), network=web.network(budgets={}))
        assert report.new == 2
        first, second = (visit.started for visit in web.visits(f"/{source}/pictures/"))
        return second - first

    with LocalWeb(plant(tmp_path / "web", {"rose": 2}), licenses=("by",)) as web:
        assert gap("openverse") < 60 / GENTLE - 0.2 < gap("gbif")


def test_what_a_host_allows_a_day_is_counted_across_runs(tmp_path: Path) -> None:
    async def ask(times: int, spent: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        hosts = Hosts(4, {"api.example": HostBudget(per_day=5, bytes_per_day=100)})
        hosts.count(spent)
        for _ in range(times):
            async with hosts.turn("api.example"):
                hosts.received("api.example", 10)
        return hosts.spent()

    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        keep_spent(catalog, asyncio.run(ask(3, spent_today(catalog))))
        assert spent_today(catalog) == {"api.example": (3, 30)}
        keep_spent(catalog, asyncio.run(ask(2, spent_today(catalog))))
        with pytest.raises(FetchFailed, match=r"5 requests of api\.example are today's allowance") as failed:
            asyncio.run(ask(1, spent_today(catalog)))
        assert failed.value.passing
        with pytest.raises(FetchFailed, match=r"GB of api\.example"):
            asyncio.run(ask(1, {"api.example": (0, 100)}))


@pytest.mark.parametrize("record", ["", "[]", "{", '{"day": "2020-01-01", "hosts": {"x": [9, 9]}}', '{"day": 1}'])
def test_a_record_of_another_day_or_none_of_ours_counts_nothing(tmp_path: Path, record: str) -> None:
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        with catalog.transaction():
            catalog.note_about("spent", record)
        assert spent_today(catalog) == {}


def answered(body: bytes, encoding: str) -> object:
    seen: list[str] = []

    def reply(request: Request) -> Reply:
        seen.append(request.headers.get("accept-encoding", ""))
        return Reply(body, "application/json", 200, {"Content-Encoding": encoding})

    async def ask(network: Network) -> object:
        async with Fetcher(network) as fetcher:
            return (await Api("gbif", "", fetcher).get("/v1/x", {})).value

    with Server(reply) as server:
        network = Network(loopback_ports=frozenset({server.port}), services={"gbif": server.url}, budgets={})
        found = asyncio.run(ask(network))
    assert set(seen) == {"gzip"}
    return found


def test_an_answer_may_be_packed_by_gzip() -> None:
    assert answered(gzip.compress(b'{"a": 1}'), "gzip") == {"a": 1}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (gzip.compress(bytes(LARGEST_ANSWER + 10), 9), "gzip", "larger than"),
        (gzip.compress(b"{}") + bytes(LARGEST_ANSWER), "gzip", "larger than"),
        (zlib.compress(b"{}"), "deflate", "compressed by deflate"),
        (gzip.compress(b'{"a": "bcdefghijklmnop"}')[:-12], "gzip", "broke its answer off"),
        (b"no gzip at all", "gzip", "no gzip"),
    ],
    ids=["a bomb", "more behind it", "another method", "cut off", "not packed"],
)
def test_a_packed_answer_that_is_none_is_refused(body: bytes, encoding: str, says: str) -> None:
    with pytest.raises(SourceFailed, match=says):
        answered(body, encoding)


def test_a_key_goes_to_the_service_alone_and_not_to_another_port_of_its_host() -> None:
    async def ask(network: Network) -> object:
        async with Fetcher(network) as fetcher:
            return (await Api("gbif", "", fetcher).get("/v1/x", {}, {"Authorization": "Bearer secret"})).value

    with (
        Server(lambda _: Reply(b"{}", "application/json")) as other,
        Server(lambda _: Reply(status=302, headers={"Location": f"{other.url}/v1/x"})) as service,
    ):
        ports = frozenset({service.port, other.port})
        assert asyncio.run(ask(Network(loopback_ports=ports, services={"gbif": service.url}, budgets={}))) == {}
    assert [visit.headers.get("authorization") for visit in (*service.log, *other.log)] == ["Bearer secret", None]


def test_a_refusal_passes_on_what_the_service_said() -> None:
    def reply(request: Request) -> Reply:
        said = {"detail": "Set a User-Agent with your address.", "code": "no_agent"}
        return Reply(json.dumps(said).encode(), "application/json", 403)

    async def ask(network: Network) -> None:
        async with Fetcher(network) as fetcher:
            await Api("gbif", "", fetcher).get("/v1/x", {})

    with Server(reply) as server:
        network = Network(loopback_ports=frozenset({server.port}), services={"gbif": server.url}, budgets={})
        with pytest.raises(SourceFailed, match=r"answered 403: Set a User-Agent with your address\."):
            asyncio.run(ask(network))


def test_a_dry_run_in_a_pipe_gives_a_list_that_scrape_takes(tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "rose"
    mine.mkdir(parents=True)
    for number in range(3):
        (mine / f"{number}.jpg").write_bytes(draw(number, (300, 240)))
    names = tmp_path / "names.json"
    names.write_text('{"rose": "rose", "iris": "iris"}')
    command = [sys.executable, str(REPOSITORY / "cli.py"), "scrape", "--out", "data", "--names", str(names),
               "--source", f"folder:{tmp_path / 'mine'}", "--license", "any", "--dry-run"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["label"], line["name"]) for line in lines] == [("rose", "rose")] * 3
    assert [line["url"] for line in lines] == [file.as_uri() for file in sorted(mine.iterdir())]
    assert "found 3" in done.stderr
    with LocalWeb(plant(tmp_path / "web", {"rose": 2, "iris": 1}), licenses=("by",)) as web:
        listing = tmp_path / "list.jsonl"
        urls = [web.offer.url("openverse", picture) for picture in web.pictures]
        labels = [picture.label for picture in web.pictures]
        rows = [
            {**lines[0], "url": url, "label": label, "license": "CC BY 4.0"}
            for url, label in zip(urls, labels, strict=True)
        ]
        listing.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        assert bring(web, tmp_path / "out", sources=(f"urls:{listing}",)).new == 3
