"""Pexels, Pixabay and Unsplash: answers as they give them, their limits, sizes, and what they ask in return."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from curate.catalog import Catalog
from curate.catalog.origin_facts import origin_facts
from curate.errors import UserError
from curate.export import export
from curate.origins import origins_of
from curate.scrape import Scraped, scrape
from curate.scraping.allowance import keep_started, started_lately
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import open_source, source_class
from curate.sources.protocol.image_search import Candidate, PictureGiver, Query, SourceOptions
from curate.sources.protocol.licenses import OPEN, allowed_licenses, read_license
from curate.web.answers import SourceFailed, SourceLimited
from curate.web.fetch import Fetcher
from curate.web.hosts import HostBudget, Hosts
from curate.web.network import Network
from curate.web.retries import FetchFailed
from testing.localweb import network_to
from testing.webserver import Reply, Request, Server, Visit
from tests.bringing import ledger, only
from tests.pictures import draw

STOCK = ("pexels", "pixabay", "unsplash")
KEYS = {"PEXELS_API_KEY": "563492ad6f91", "PIXABAY_API_KEY": "9656065-a4094594", "UNSPLASH_ACCESS_KEY": "7fzpM8WE8Ydu"}
NAMES = {"pexels": "Pexels License", "pixabay": "Pixabay Content License", "unsplash": "Unsplash License"}
UNLIMITED = {"127.0.0.1": HostBudget(connections=16)}
POPPY = Query("poppy", "corn poppy", "Papaver rhoeas")

Json = dict[str, Any]


@dataclass
class Stock:
    """The three services on one port, each below its name, with `count` photos; `change` turns a record into another.

    `refuses` is what is answered in the place of the next JSON; `authors` photos in turn are of one author; Pixabay's
    URLs bear the `day` on which they were given, and are refused on another.
    """

    count: int = 5
    change: Callable[[Json], object] = lambda record: record
    refuses: list[Reply] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    authors: int = 1000
    base: str = ""
    day: int = 1

    def __call__(self, request: Request) -> Reply:
        service, _, path = request.path.removeprefix("/").partition("/")
        if service == "robots.txt":
            return Reply(status=404)
        if path.startswith("photos-of/"):
            return self._picture(request, int(re.search(r"(\d+)\.jpe?g", path)[1]))  # type: ignore[index]
        if self.refuses:
            return self.refuses.pop(0)
        answer = {"pexels": self._pexels, "pixabay": self._pixabay, "unsplash": self._unsplash}[service](request, path)
        if isinstance(answer, Reply):
            return answer
        return Reply(json.dumps(answer).encode(), "application/json", headers=self.headers)

    def _part(self, request: Request, usual: int) -> tuple[int, int, range]:
        page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", usual))
        return page, size, range((page - 1) * size, min(page * size, self.count))

    def _pexels(self, request: Request, path: str) -> Json | Reply:
        if request.headers.get("authorization") != KEYS["PEXELS_API_KEY"]:
            return Reply(b'{"error": "Unauthorized, the key is not known"}', "application/json", 401)
        assert path == "v1/search", path
        page, size, numbers = self._part(request, 15)
        assert size <= 80
        more = {"next_page": f"https://api.pexels.com/v1/search/?page={page + 1}&per_page={size}&query=x"}
        return {
            "page": page, "per_page": size, "total_results": self.count,
            "photos": [self.change(self._pexels_photo(number)) for number in numbers],
            **(more if page * size < self.count else {}),
        }  # fmt: skip

    def _pexels_photo(self, number: int) -> Json:
        one = 2880507 + 1000 * number
        url = f"{self.base}/pexels/photos-of/{one}/pexels-photo-{number}.jpeg"
        author = number % self.authors
        return {
            "id": one, "width": 4000, "height": 6000, "url": f"https://www.pexels.com/photo/red-poppy-{one}/",
            "photographer": f"Anna {author}", "photographer_url": f"https://www.pexels.com/@anna{author}",
            "photographer_id": 1378810, "avg_color": "#7E7F7B", "liked": False, "alt": "Red poppy",
            "src": {
                "original": url,
                "large2x": f"{url}?auto=compress&cs=tinysrgb&dpr=2&h=650&w=940",
                "large": f"{url}?auto=compress&cs=tinysrgb&h=650&w=940",
                "medium": f"{url}?auto=compress&cs=tinysrgb&h=350",
                "tiny": f"{url}?auto=compress&cs=tinysrgb&dpr=1&fit=crop&h=200&w=280",
            },
        }  # fmt: skip

    def _pixabay(self, request: Request, path: str) -> Json | Reply:
        assert path == "api/", path
        if request.query.get("key") != KEYS["PIXABAY_API_KEY"]:
            return Reply(b"[ERROR 400] Invalid or missing API key (https://pixabay.com/api/docs/).", "text/plain", 400)
        if "id" in request.query:
            numbers = range(*((place := int(request.query["id"]) // 1000 - 1), place + 1))
        else:
            page, size, numbers = self._part(request, 20)
            assert 3 <= size <= 200
            if not numbers or page * size > 600:
                return Reply(b'[ERROR 400] "page" is out of valid range.', "text/plain", 400)
        hits = [self.change(self._pixabay_hit(number)) for number in numbers]
        return {"total": 18404, "totalHits": min(self.count, 500), "hits": hits}

    def _pixabay_hit(self, number: int) -> Json:
        one, author = 1000 * (number + 1), number % self.authors
        url = f"{self.base}/pixabay/photos-of/g{self.day}/{number}"
        return {
            "id": one, "pageURL": f"https://pixabay.com/photos/poppy-flower-{one}/", "type": "photo",
            "tags": "poppy, flower, red", "previewURL": "https://cdn.pixabay.com/photo/2018/01/05/poppy_150.jpg",
            "previewWidth": 150, "previewHeight": 99, "webformatURL": f"{url}_640.jpg",
            "webformatWidth": 640, "webformatHeight": 426, "largeImageURL": f"{url}.jpg", "imageWidth": 6000,
            "imageHeight": 4000, "imageSize": 3574625, "views": 556307, "downloads": 335110, "collections": 3,
            "likes": 898, "comments": 2, "user_id": 1564471 + author, "user": f"Anna {author}",
            "userImageURL": "", "noAiTraining": False, "isAiGenerated": False, "isGRated": True, "isLowQuality": False,
            "userURL": f"https://pixabay.com/users/{1564471 + author}/",
        }  # fmt: skip

    def _unsplash(self, request: Request, path: str) -> Json | Reply:
        if request.headers.get("authorization") != f"Client-ID {KEYS['UNSPLASH_ACCESS_KEY']}":
            body = b'{"errors": ["OAuth error: The access token is invalid"]}'
            return Reply(body, "application/json", 401)
        if path.endswith("/download"):
            return {"url": f"{self.base}/unsplash/photos-of/0.jpg"}
        assert path == "search/photos", path
        _, size, numbers = self._part(request, 10)
        assert size <= 30
        photos = [self.change(self._unsplash_photo(number)) for number in numbers]
        return {"total": self.count, "total_pages": -(-self.count // size), "results": photos}

    def _unsplash_photo(self, number: int) -> Json:
        one, author, ixid = f"LBI7cgq3p{number}", number % self.authors, f"ixid=Mnwx{number}MTc4ODl8"
        raw = f"{self.base}/unsplash/photos-of/{number}.jpg?{ixid}&ixlib=rb-4.0.3"
        api = f"https://api.unsplash.com/photos/{one}"
        return {
            "id": one, "slug": f"a-red-poppy-{one}", "created_at": f"2021-05-{number % 27 + 1:02}T06:36:10Z",
            "updated_at": "2024-10-26T19:02:03Z", "promoted_at": None, "width": 4288, "height": 2848,
            "color": "#d9d9d9", "blur_hash": "L*GSiZj[", "description": None, "alt_description": "a red poppy",
            "breadcrumbs": [], "sponsorship": None, "asset_type": "photo",
            "urls": {
                "raw": raw, "full": f"{raw}&q=85&fm=jpg&crop=entropy&cs=srgb",
                "regular": f"{raw}&q=80&fm=jpg&crop=entropy&cs=tinysrgb&w=1080&fit=max",
                "small": f"{raw}&q=80&fm=jpg&crop=entropy&cs=tinysrgb&w=400&fit=max",
            },
            "links": {
                "self": api, "html": f"https://unsplash.com/photos/a-red-poppy-{one}",
                "download": f"https://unsplash.com/photos/{one}/download?{ixid}",
                "download_location": f"{api}/download?{ixid}",
            },
            "user": {
                "id": "NuPaOVVjvqA", "username": f"anna{author}", "name": f"Anna {author}",
                "links": {"self": "https://api.unsplash.com/users/anna", "html": f"https://unsplash.com/@anna{author}"},
            },
        }  # fmt: skip

    def _picture(self, request: Request, number: int) -> Reply:
        if "/pixabay/" in request.path and f"/g{self.day}/" not in request.path:
            return Reply(b"This URL is invalid or has expired.", "text/plain", 400)
        return Reply(draw(number + 9000 * STOCK.index(request.path.split("/")[1]), (320, 240)), "image/jpeg")


@contextmanager
def serving(**about: Any) -> Iterator[tuple[Stock, Server, Network]]:
    stock = Stock(**about)
    with Server(stock) as server:
        stock.base = server.url
        services = {name: f"{server.url}/{name}" for name in STOCK}
        yield stock, server, network_to(server.port, services=services, budgets=UNLIMITED)


def pages(network: Network, name: str, **options: Any) -> list[Candidate]:
    """All candidates of a search, page by page; with `most`, of so many pages."""

    async def walk() -> list[Candidate]:
        most = options.pop("most", 100)
        async with Fetcher(network) as fetcher:
            source = open_source(name, fetcher, SourceOptions(options.pop("licenses", None), keys=KEYS, **options))
            found: list[Candidate] = []
            cursor = None
            for _ in range(most):
                page = await source.page(POPPY, 1, cursor)
                found += page.candidates
                cursor = page.next
                if cursor is None:
                    break
            return found

    return asyncio.run(walk())


def bring_stock(network: Network, out: Path, name: str, limit: int = 100, **options: Any) -> Scraped:
    keys = options.pop("keys", KEYS)
    wanted = ScrapeOptions(limit, options.pop("licenses", frozenset({name})), 100, per_author=0, **options)
    return scrape(out, [POPPY], wanted, sources=(name,), network=network, keys=keys)


def asked(server: Server, part: str) -> list[Visit]:
    return [visit for visit in server.log if part in visit.path]


@pytest.mark.parametrize(
    ("name", "count", "all_of_it"), [("pexels", 200, 200), ("pixabay", 550, 500), ("unsplash", 70, 70)]
)
def test_pages_to_the_end_with_author_licence_and_pages(name: str, count: int, all_of_it: int) -> None:
    with serving(count=count) as (_, server, network):
        found = pages(network, name)
        assert len(server.log) == 3
    assert len({candidate.key for candidate in found}) == len(found) >= all_of_it
    for candidate in found:
        assert (candidate.license.code, candidate.license.name) == (name, NAMES[name])
        assert candidate.license.url.startswith(f"https://{'www.' if name == 'pexels' else ''}{name}.com/")
        assert candidate.author.startswith("Anna ")
        assert candidate.landing_page.startswith("https://")
        assert re.search(r"/(@anna|users/\d)", candidate.author_page)
        assert candidate.width
        assert candidate.height


@pytest.mark.parametrize("name", STOCK)
def test_its_licence_is_not_open_and_has_to_be_named(name: str, tmp_path: Path) -> None:
    with serving() as (_, server, network):
        with pytest.raises(UserError, match=rf"'{name}' are under the {NAMES[name]} \(https.*--license open,{name}"):
            bring_stock(network, tmp_path / "out", name, licenses=OPEN)
        assert server.log == [], "before anything is asked for"
        brought = bring_stock(network, tmp_path / "out", name, licenses=allowed_licenses(f"open,{name}"))
        assert brought.new == 5
        assert bring_stock(network, tmp_path / "any", name, licenses=None).new == 5
    assert name not in OPEN
    assert read_license(NAMES[name]).code == read_license(name).code == name
    assert read_license(NAMES[name], url="https://creativecommons.org/licenses/by/4.0/").code == ""
    assert source_class(name).turn is None, "auto asks for open pictures"


@pytest.mark.parametrize(
    ("name", "where"),
    [("pexels", "www.pexels.com/api"), ("pixabay", "pixabay.com/api"), ("unsplash", "unsplash.com/developers")],
)
def test_a_missing_key_is_named_with_where_to_get_one(name: str, where: str, tmp_path: Path) -> None:
    with (
        serving() as (_, _, network),
        pytest.raises(UserError, match=rf"{name}' needs a key, which https://{where}.*_KEY"),
    ):
        bring_stock(network, tmp_path / "out", name, keys={})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pexels", "answered 401: Unauthorized, the key is not known"),
        ("pixabay", r"answered 400: \[ERROR 400\] Invalid or missing API key"),
        ("unsplash", "answered 401: OAuth error: The access token is invalid"),
    ],
)
def test_a_wrong_key_is_refused_with_what_the_service_says(name: str, says: str, tmp_path: Path) -> None:
    wrong = dict.fromkeys(KEYS, "wrong")
    with serving() as (_, _, network):
        (problem,) = bring_stock(network, tmp_path / "out", name, keys=wrong).problems
    assert re.search(says, problem)
    assert "wrong" not in problem, "no key is shown"


def test_each_picture_is_credited_with_its_author_and_both_pages(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(count=2) as (_, _, network):
        for name in STOCK:
            bring_stock(network, out, name)
    export(out, tmp_path / "export")
    text = (out / "CREDITS.md").read_text(encoding="utf-8")
    lines = {line.rpartition(": ")[0] for line in text.splitlines() if line.startswith("- ")}
    exported = (tmp_path / "export" / "CREDITS.md").read_text(encoding="utf-8")
    assert {line.rpartition(": ")[0] for line in exported.splitlines() if line.startswith("- ")} == lines
    assert "by [Anna 0](https://www.pexels.com/@anna0), [Pexels License](https://www.pexels.com/license/)" in text
    assert "(https://www.pexels.com/photo/red-poppy-2880507/)" in text
    assert "[Pixabay Content License](https://pixabay.com/service/license-summary/)" in text
    referred = "?utm_source=florilegium&utm_medium=referral"
    assert (
        f"by [Anna 1](https://unsplash.com/@anna1{referred}), [Unsplash License](https://unsplash.com/license)" in text
    )
    assert f"(https://unsplash.com/photos/a-red-poppy-LBI7cgq3p1{referred})" in text


def test_what_an_author_uploaded_at_once_stays_on_one_side(tmp_path: Path) -> None:
    """Unsplash numbers its photos at random, and says when each came; Pixabay and Pexels number them in turn."""
    out = tmp_path / "out"

    def at_once(record: Json) -> Json:
        if "created_at" in record:
            return {**record, "created_at": "2021-05-01T06:36:10Z"}
        return record

    with serving(count=3, authors=1, change=at_once) as (_, _, network):
        bring_stock(network, out, "unsplash")
        with Catalog.open_read_only(out / "catalog.sqlite") as catalog:
            origins = origins_of(origin_facts(catalog), {})
    together = Counter(origin for _, origin in origins)
    assert together["by anna 0 at 2021-05-01 06:36:10"] == 3


@pytest.mark.parametrize("name", STOCK)
def test_one_odd_record_is_skipped_and_counted(name: str, tmp_path: Path) -> None:
    seen: list[int] = []

    def first_is_odd(record: Json) -> object:
        seen.append(1)
        return record if len(seen) > 1 else {**record, "id": None}

    with serving(change=first_is_odd) as (_, _, network):
        report = bring_stock(network, tmp_path / "out", name)
    found = only(report.yields, "poppy", name)
    assert (found.unique, found.lost["odd record"]) == (4, 1)
    assert found.found == found.unique + found.lost.total()


@pytest.mark.parametrize(
    ("name", "min_size", "expected"),
    [
        ("pexels", 224, r"\?auto=compress&cs=tinysrgb&h=650&w=940&dpr=2$"),  # 867 × 1,300; `large` has 433 × 650
        ("pexels", 900, r"\.jpeg$"),
        ("unsplash", 224, r"&w=1080&"),
        ("unsplash", 1000, r"&w=1506&"),
        ("unsplash", 9000, r"&w=4288&"),
        ("pixabay", 224, r"\.jpg$"),
    ],
)
def test_the_smallest_size_is_fetched_that_is_large_enough(name: str, min_size: int, expected: str) -> None:
    async def ask(network: Network) -> str | bytes:
        async with Fetcher(network) as fetcher:
            source = open_source(name, fetcher, SourceOptions(None, keys=KEYS, min_size=min_size))
            assert isinstance(source, PictureGiver)
            return await source.give((await source.page(POPPY, 1, None)).candidates[0])

    with serving() as (_, _, network):
        url = asyncio.run(ask(network))
    assert isinstance(url, str)
    assert re.search(expected, url), url


def test_a_picture_of_pixabay_is_announced_in_the_size_that_is_given() -> None:
    with serving() as (_, _, network):
        (first, *_) = pages(network, "pixabay")
    assert (first.width, first.height) == (1280, 853)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pixabay", {"type": "illustration"}),
        ("pixabay", {"type": "vector/ai"}),
        ("pixabay", {"isAiGenerated": True}),
        ("unsplash", {"asset_type": "illustration"}),
        ("unsplash", {"urls": {"regular": "https://plus.unsplash.com/premium_photo-1?ixid=M3w&w=1080"}}),
    ],
    ids=["drawing", "vector", "made by a model", "drawing there", "of subscribers"],
)
def test_what_is_no_photograph_for_all_is_left_out(name: str, change: Json) -> None:
    with serving(change=lambda record: {**record, **change}) as (_, server, network):
        assert pages(network, name) == []
        assert len(server.log) == 1
        if name == "pixabay":
            assert {visit.query["image_type"] for visit in server.log} == {"photo"}


def test_whoever_wants_no_ai_trained_with_a_picture_is_heard(tmp_path: Path) -> None:
    """Pixabay's `noAiTraining`; `--ignore-noai` takes it all the same, and a later run that says so asks again."""
    out = tmp_path / "out"
    with serving(count=3, change=lambda record: {**record, "noAiTraining": record["id"] == 2000}) as (_, _, network):
        shown = preview(out, [POPPY], ScrapeOptions(9, None, 100), sources=("pixabay",), network=network, keys=KEYS)
        assert [one.candidate.source_id for one in shown.listed] == ["1000", "3000"]
        first = bring_stock(network, out, "pixabay")
        assert (first.new, only(first.yields, "poppy", "pixabay").lost["noai"]) == (2, 1)
        assert bring_stock(network, out, "pixabay", ignore_noai=True).new == 1


def test_pixabays_urls_of_an_earlier_run_are_asked_for_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(count=4) as (stock, server, network):
        assert bring_stock(network, out, "pixabay", limit=2).new == 2
        stock.day += 1
        server.log.clear()
        assert bring_stock(network, out, "pixabay", limit=4).new == 2
        assert [visit.query["id"] for visit in asked(server, "/api/")] == ["3000", "4000"], "no page is asked for twice"
        rows = ledger(out).execute("SELECT picture, status FROM scrape_candidates").fetchall()
    assert rows == [(f"pixabay:{number}000", "kept") for number in range(1, 5)]


def test_a_picture_that_pixabay_has_no_more_is_a_dead_link(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(count=3) as (stock, _, network):
        bring_stock(network, out, "pixabay", limit=2)
        stock.day, stock.refuses = 2, [Reply(b'{"total": 0, "totalHits": 0, "hits": []}', "application/json")]
        report = bring_stock(network, out, "pixabay", limit=3)
    assert only(report.yields, "poppy", "pixabay").lost["dead link"] == 1


def test_unsplash_is_told_of_each_photo_that_is_taken(tmp_path: Path) -> None:
    with serving(count=9) as (_, server, network):
        assert bring_stock(network, tmp_path / "out", "unsplash", limit=3).new == 3
        told = asked(server, "/download")
        pictures = asked(server, "/photos-of/")
    assert sorted(visit.path for visit in told) == [
        f"/unsplash/photos/LBI7cgq3p{number}/download" for number in range(3)
    ]
    assert {visit.query["ixid"] for visit in told} == {f"Mnwx{number}MTc4ODl8" for number in range(3)}
    assert {visit.query["ixid"] for visit in pictures} == {visit.query["ixid"] for visit in told}
    assert all(visit.headers["accept-version"] == "v1" for visit in told)
    assert not any("authorization" in visit.headers for visit in pictures), "the key goes to the service alone"


def test_a_list_of_what_unsplash_has_is_no_way_past_telling_it(tmp_path: Path) -> None:
    listed = tmp_path / "lily.jsonl"
    listed.write_text(
        '{"url": "https://images.unsplash.com/photo-1?ixid=M3w", "source": "unsplash"}\n', encoding="utf-8"
    )
    with serving() as (_, server, network):
        with pytest.raises(UserError, match=r"lists pictures of unsplash.*name the source with --source"):
            scrape(tmp_path / "out", [POPPY], ScrapeOptions(9, None, 100), sources=(f"urls:{listed}",), network=network)
        assert server.log == []


def test_a_photo_of_which_unsplash_cannot_be_told_is_not_taken(tmp_path: Path) -> None:
    """Its 403 says that the hour's calls are used up, and a later run goes on with the same photos."""
    out = tmp_path / "out"
    over = Reply(b"Rate Limit Exceeded", "text/plain", 403, {"X-Ratelimit-Limit": "50", "X-Ratelimit-Remaining": "0"})
    hourly = {"127.0.0.1": HostBudget(connections=16, stated_for=3600.0)}
    with serving(count=4) as (stock, server, network):
        limited = network_to(server.port, services=network.services, budgets=hourly)
        assert pages(limited, "unsplash")
        stock.refuses = [over]
        (problem,) = bring_stock(limited, out, "unsplash").problems
        assert re.search("answered 403: Rate Limit Exceeded; run the same command again in 60 minutes", problem)
        for _ in range(6):  # more often than a picture is tried that fails
            stock.refuses, before = [], len(asked(server, "/photos-of/"))
            stock.headers = {"X-Ratelimit-Limit": "50", "X-Ratelimit-Remaining": "0"}
            report = bring_stock(limited, out, "unsplash")
            assert only(report.yields, "poppy", "unsplash").lost["rate limited"] >= 3
            assert len(asked(server, "/photos-of/")) <= before + 1
        stock.headers = {}
        assert bring_stock(limited, out, "unsplash").new > 0
        assert len(list(out.rglob("*.jpg"))) == 4


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 1.0, 30.0),
        ({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "60"}, 0.0, 30.0),
    ],
    ids=["seconds", "some are left"],
)
def test_a_limit_that_is_used_up_is_waited_for(headers: dict[str, str], least: float, most: float) -> None:
    with serving(count=90, headers=headers) as (_, server, network):
        assert len(pages(network, "pexels")) == 90
        first, second = server.log
    assert least <= second.started - first.started < most


def test_a_month_that_is_used_up_ends_the_search_with_the_time_of_the_next() -> None:
    """Pexels gives the time at which its month ends, and not how long it is until then."""
    used_up = {"X-Ratelimit-Limit": "20000", "X-Ratelimit-Remaining": "0",
               "X-Ratelimit-Reset": str(int(time.time()) + 86_400)}  # fmt: skip
    with (
        serving(count=90, headers=used_up) as (_, server, network),
        pytest.raises(SourceLimited, match=r"run the same command again in 14[34]\d minutes"),
    ):
        pages(network, "pexels")
    assert len(server.log) == 1


def test_a_429_passes_on_what_the_service_says_and_waits_until_its_limit_begins_anew() -> None:
    over = Reply(
        b"API rate limit exceeded", "text/html; charset=utf-8", 429,
        {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7200"},
    )  # fmt: skip
    with (
        serving(refuses=[over]) as (_, server, network),
        pytest.raises(SourceLimited, match=r"answered 429: API rate limit exceeded; .* in 120 minutes"),
    ):
        pages(network, "pixabay")
    assert len(server.log) == 1


def test_what_a_host_allows_an_hour_is_counted_across_runs(tmp_path: Path) -> None:
    async def ask(times: int, started: dict[str, list[float]]) -> dict[str, list[float]]:
        hosts = Hosts(4, {"api.example": HostBudget(per_hour=5)})
        hosts.recall(started)
        for _ in range(times):
            async with hosts.turn("api.example"):
                pass
        return hosts.started()

    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        keep_started(catalog, asyncio.run(ask(3, started_lately(catalog))))
        keep_started(catalog, asyncio.run(ask(2, started_lately(catalog))))
        kept = started_lately(catalog)
        assert len(kept["api.example"]) == 5
        with pytest.raises(FetchFailed, match=r"5 requests of api\.example are this hour's allowance") as failed:
            asyncio.run(ask(1, kept))
        assert failed.value.passing
        assert 3500 < (failed.value.retry_after or 0) <= 3600
        an_hour_ago = {"api.example": [moment - 3601 for moment in kept["api.example"]]}
        assert len(asyncio.run(ask(5, an_hour_ago))["api.example"]) == 5
        with catalog.transaction():
            catalog.note_about("started", '{"api.example": ["soon"]}')
        assert started_lately(catalog) == {}


def test_an_approved_application_has_the_hourly_calls_that_unsplash_says() -> None:
    budgets = {"127.0.0.1": HostBudget(connections=1, per_hour=2, stated_for=3600.0)}
    with serving(count=150) as (stock, server, network):
        hourly = network_to(server.port, services=network.services, budgets=budgets)
        with pytest.raises(SourceFailed, match=r"2 requests of 127\.0\.0\.1 are this hour's allowance"):
            pages(hourly, "unsplash")
        assert len(server.log) == 2
        stock.headers = {"X-Ratelimit-Limit": "1000", "X-Ratelimit-Remaining": "900"}
        assert len(pages(hourly, "unsplash")) == 150
