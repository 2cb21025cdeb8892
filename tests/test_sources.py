"""Each JSON source against the local web: paging, licences, limits, and answers that are not what they were."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from curate.errors import UserError
from curate.sources import auto_order, duckduckgo, open_source, source_class, source_names
from curate.sources.protocol.image_search import Candidate, Query, SourceOptions
from curate.sources.protocol.licenses import OPEN, allowed_licenses, read_license
from curate.sources.protocol.picture_urls import modest_url, picture_key, provenance_group
from curate.web.answers import JsonValue, SourceChanged, SourceFailed, SourceLimited
from curate.web.fetch import Fetcher
from curate.web.hosts import HostBudget
from curate.web.network import Network
from testing.localapis import SERVICES
from testing.localweb import LocalWeb
from testing.webserver import Reply, Request, Server
from tests.pictures import plant_one

Result = TypeVar("Result")
LEFT = "X-RateLimit-Available"
KEYS = {"FLICKR_API_KEY": "a key"}
QUERY = Query("poppy", "corn poppy", "Papaver rhoeas flower")
NAMES = {"poppy": ("papaver rhoeas", "Papaver rhoeas flower")}
# Enough pictures that each service needs at least three pages for them.
ENOUGH = {"openverse": 300, "wikimedia": 130, "inaturalist": 130, "gbif": 130, "flickr": 1100}


def search(
    web: LocalWeb,
    name: str,
    *,
    query: Query = QUERY,
    licenses: frozenset[str] | None = None,
    keys: dict[str, str] | None = None,
    pages: int = 100,
    **network: Any,
) -> list[Candidate]:
    """All candidates of a search, page by page until there is none, at most `pages`."""

    async def walk() -> list[Candidate]:
        async with Fetcher(web.network(**network)) as fetcher:
            source = open_source(name, fetcher, SourceOptions(licenses, keys=KEYS if keys is None else keys))
            found: list[Candidate] = []
            cursor = None
            for _ in range(pages):
                page = await source.page(query, 1, cursor)
                found += page.candidates
                cursor = page.next
                if cursor is None:
                    break
            return found

    return run(walk())


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


def number_of(candidate: Candidate) -> int:
    return int(candidate.url.split("/pictures/")[1].split("/")[0])


@pytest.mark.parametrize("name", SERVICES)
def test_pages_to_the_end_with_author_and_licence(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", ENOUGH[name]), NAMES) as web:
        found = search(web, name)
        asked = [visit for visit in web.visits(f"/{name}/") if "token" not in visit.path]
    numbers = [number_of(candidate) for candidate in found]
    offered = [picture for picture in web.pictures if name != "openverse" or "rights" not in picture.license]
    expected = [picture.number for picture in offered][: 240 if name == "openverse" else None]
    # iNaturalist is asked in windows of ids, so that not the oldest observations alone come.
    assert (sorted(numbers) if name == "inaturalist" else numbers) == expected, "in order, none twice, none missing"
    assert len(asked) >= 3
    for candidate in found:
        picture = web.pictures[number_of(candidate)]
        free = "rights" not in picture.license
        code = {"pdm": ("pdm", "pd")}.get(picture.license, (picture.license,))
        assert candidate.license.code in (code if free else ("",))
        assert candidate.author == picture.author
        assert candidate.landing_page.startswith("https://")
        assert candidate.source_id
        assert candidate.provenance_group


@pytest.mark.parametrize("name", SERVICES)
def test_asks_for_the_wanted_licences_only_where_it_can(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 40), NAMES) as web:
        found = search(web, name, licenses=OPEN)
    codes = {candidate.license.code for candidate in found}
    assert {"by", "by-sa", "cc0"} <= codes
    if name in ("openverse", "flickr"):
        assert codes <= OPEN


@pytest.mark.thorough
@pytest.mark.parametrize("name", SERVICES)
def test_obeys_retry_after(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 5), NAMES) as web:
        web.faults.limit_next[name] = 1
        assert search(web, name)
        first, second = web.visits(f"/{name}/")[:2]
    assert first.status == 429
    assert second.started - first.started >= 1.0


def test_stays_inside_a_limit_that_it_was_not_told(tmp_path: Path) -> None:
    """Five pages at three requests a second: some are answered with 429, and each page comes all the same."""
    with LocalWeb(plant_one(tmp_path, "poppy", 110), NAMES) as web:
        web.faults.limits["openverse"] = (2, 1.0)
        found = search(web, "openverse")
        statuses = [visit.status for visit in web.log]
    assert len(found) == len({candidate.url for candidate in found}) == 97
    assert statuses.count(200) == 5
    assert statuses.count(429) <= 3, "it waits as long as it is told, instead of asking again and again"


@pytest.mark.parametrize("name", SERVICES)
def test_gives_up_where_it_would_have_to_wait_for_hours(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 5), NAMES) as web:
        web.faults.limit_next[name] = 7200
        begun = time.monotonic()
        with pytest.raises(SourceLimited, match=f"{name}: .*120 minutes"):
            search(web, name)
        assert len(web.visits(f"/{name}/")) == 1
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("fault", ["changed", "nonsense"])
def test_says_whose_answer_has_changed(name: str, fault: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 5), NAMES) as web:
        getattr(web.faults, fault).add(name)
        with pytest.raises(SourceChanged, match=f"^{name}: its answer has changed shape") as caught:
            search(web, name)
    assert caught.value.source == name


@pytest.mark.thorough
def test_says_which_service_is_down_after_some_attempts(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 5), NAMES) as web:
        web.faults.down.add("gbif")
        with pytest.raises(SourceFailed, match=r"gbif: 127\.0\.0\.1 answered 503"):
            search(web, "gbif")
        assert len(web.log) == 4


@pytest.mark.parametrize("name", SERVICES)
def test_finds_nothing_for_a_name_nobody_knows(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 5), NAMES) as web:
        assert search(web, name, query=Query("x", "x", "Xyzzy xyzzy")) == []


def test_openverse_takes_a_token_for_longer_pages(tmp_path: Path) -> None:
    keys = {"OPENVERSE_CLIENT_ID": "me", "OPENVERSE_CLIENT_SECRET": "secret"}
    with LocalWeb(plant_one(tmp_path, "poppy", 300), NAMES) as web:
        found = search(web, "openverse", keys=keys)
        pages = web.visits("/openverse/v1/images/")
    assert {visit.query["page_size"] for visit in pages} == {"48"}
    assert all(visit.headers["authorization"].startswith("Bearer ") for visit in pages)
    assert len(found) == 240, "all results of a query: five pages of 48"


def test_openverse_gets_another_token_where_one_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"OPENVERSE_CLIENT_ID": "me", "OPENVERSE_CLIENT_SECRET": "secret"}

    async def walk(web: LocalWeb) -> int:
        async with Fetcher(web.network()) as fetcher:
            source = open_source("openverse", fetcher, SourceOptions(None, keys=keys))
            first = await source.page(QUERY, 1, None)
            monkeypatch.setattr("testing.localapis._TOKEN", "the token of twelve hours later")
            second = await source.page(QUERY, 1, first.next)
            return len(first.candidates) + len(second.candidates)

    with LocalWeb(plant_one(tmp_path, "poppy", 130), NAMES) as web:
        assert run(walk(web)) == 96
        assert len(web.visits("/openverse/v1/auth_tokens/token/")) == 2
        assert [visit.status for visit in web.visits("/openverse/v1/images/")] == [200, 401, 200]


def test_a_stock_collections_licence_is_none_of_inaturalists(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 9), NAMES) as web:
        assert search(web, "inaturalist", licenses=frozenset({"unsplash"})) == []
        assert web.log == []
        assert search(web, "inaturalist", licenses=frozenset({"by", "unsplash"}))
        assert {visit.query["photo_license"] for visit in web.visits("/inaturalist/v1/observations")} == {"cc-by"}


def test_openverse_is_asked_for_photographs(tmp_path: Path) -> None:
    """Drawings are among its pictures otherwise."""
    with LocalWeb(plant_one(tmp_path, "poppy", 3), NAMES) as web:
        assert search(web, "openverse")
        assert {visit.query["category"] for visit in web.visits("/openverse/v1/images/")} == {"photograph"}


@pytest.mark.thorough
def test_wikimedia_waits_out_a_lagging_database(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 3), NAMES) as web:
        web.faults.lagging = 1
        assert len(search(web, "wikimedia")) == 3
        first, second = web.log
    assert second.started - first.started >= 4.9


def test_wikimedia_whose_database_goes_on_lagging_is_left_to_a_later_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.sources.wikimedia.MAXLAG_SECONDS", 0)
    with LocalWeb(plant_one(tmp_path, "poppy", 3), NAMES) as web:
        web.faults.lagging = 100
        with pytest.raises(SourceLimited, match=r"wikimedia: its database lags behind \(maxlag\); run the same"):
            search(web, "wikimedia")
        assert len(web.log) == 4


def test_inaturalist_photos_of_one_observation_are_one_group(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 6), NAMES) as web:
        found = search(web, "inaturalist")
    groups = [candidate.provenance_group for candidate in found]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert all("/large." in candidate.url for candidate in found)


def test_flickr_reports_its_own_errors(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 3), NAMES) as web:
        with pytest.raises(SourceFailed, match="flickr: it answered with error 100: Invalid API Key"):
            search(web, "flickr", keys={"FLICKR_API_KEY": "wrong"})
        with pytest.raises(UserError, match="FLICKR_API_KEY"):
            search(web, "flickr", keys={})


@pytest.mark.parametrize("name", ["pexels", "unsplash", "hf:ann/roses"])
@pytest.mark.parametrize("key", ["ключ", "a key\n", "half \udcff"])
def test_a_key_that_no_header_can_carry_is_said(name: str, key: str) -> None:
    async def ask() -> None:
        async with Fetcher(Network()) as fetcher:
            keys = dict.fromkeys(("PEXELS_API_KEY", "UNSPLASH_ACCESS_KEY", "HF_TOKEN"), key)
            source = open_source(
                name, fetcher, SourceOptions(None, ("poppy",), ("poppy",), keys=keys, queries=(QUERY,))
            )
            await source.page(QUERY, 1, None)

    with pytest.raises(SourceFailed, match="its key or token has letters that no header can carry"):
        run(ask())


def test_a_host_budget_spaces_the_calls(tmp_path: Path) -> None:
    with LocalWeb(plant_one(tmp_path, "poppy", 130), NAMES) as web:
        search(web, "wikimedia", budgets={"127.0.0.1": HostBudget(connections=1, per_minute=300)})
        starts = [visit.started for visit in web.log]
    assert len(starts) == 3
    assert starts[-1] - starts[0] >= 0.3, "two gaps of 0.2 s, as the server sees them on a busy machine"


def test_every_source_is_a_file_and_auto_knows_its_place() -> None:
    assert set(SERVICES) < set(source_names())
    assert auto_order({}) == ["openverse", "wikimedia", "inaturalist", "gbif"]
    assert auto_order(KEYS) == ["openverse", "wikimedia", "inaturalist", "gbif", "flickr"]
    for name in source_names():
        assert isinstance(source_class(name).warning, str)


@pytest.mark.parametrize(
    ("words", "version", "url", "expected"),
    [
        ("by", "4.0", None, "CC BY 4.0"),
        ("cc-by-nc", None, None, "CC BY-NC"),
        ("cc0", None, None, "CC0 1.0"),
        ("CC0_1_0", None, None, "CC0 1.0"),
        ("CC_BY_NC_4_0", None, None, "CC BY-NC 4.0"),
        ("CC BY-SA 3.0 de", None, None, "CC BY-SA 3.0"),
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", None, None, "CC BY-NC 4.0"),
        ("Attribution License", None, "https://creativecommons.org/licenses/by/2.0/", "CC BY 2.0"),
        ("PD-old-100", None, None, "public domain"),
        ("pdm", "1.0", None, "public domain"),
        ("© Somebody, all rights reserved", None, None, "unknown"),
        ("by any means", None, None, "unknown"),
        ("by 4.0, but not for you", None, None, "unknown"),
        ("GFDL", None, None, "unknown"),
        ("CC BY 4.0 International", None, None, "CC BY 4.0"),
        ("CC Zero", None, None, "CC0 1.0"),
        ("Creative Commons Attribution 4.0", None, None, "CC BY 4.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", None, None, "CC BY-SA 3.0"),
        ("Creative Commons Attribution Non Commercial", None, None, "CC BY-NC"),
        ("Attribution-NonCommercial-NoDerivs 2.0 Generic", None, None, "CC BY-NC-ND 2.0"),
        ("PDM 1.0", None, None, "public domain"),
        ("cc-by-sa-3.0-migrated", None, None, "CC BY-SA 3.0"),
        ("CC BY-SA 4.0,3.0,2.5,2.0,1.0", None, None, "CC BY-SA 4.0"),
        ("CC0 1.0 Universal", None, None, "CC0 1.0"),
        ("Public domain in the USA only; copyrighted in Germany", None, None, "unknown"),
        ("PD-US-expired", None, None, "unknown"),
        ("by the author", None, None, "unknown"),
        ("CC BY Jane Doe", None, None, "unknown"),
        ("Usage Conditions Apply", None, None, "unknown"),
        ("All rights reserved", None, "https://creativecommons.org/licenses/by/4.0/", "unknown"),
        ("by-nc", "4.0", "https://creativecommons.org/licenses/by/4.0/", "CC BY-NC 4.0"),
        ("CC BY-SA 4.0", None, "https://creativecommons.org/licenses/by-nc/4.0/", "unknown"),
        ("cc0", None, "https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0"),
        ("A book's title", None, "https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0"),
        ("CC BY 4.0 NC", None, None, "unknown"),
        ("cc-by-2.0-nd", None, None, "unknown"),
        ("Attribution 4.0 NC", None, None, "unknown"),
        ("CC BY-SA 4.0 NC", None, None, "unknown"),
        ("CC BY 3.0 fr", None, None, "CC BY 3.0"),
        ("Public domain (disputed)", None, None, "unknown"),
        ("Public domain (non-commercial)", None, None, "unknown"),
        ("Public domain?", None, None, "unknown"),
        ("PD-1923", None, None, "unknown"),
        ("PD-Germany", None, None, "unknown"),
        ("PD-not", None, None, "unknown"),
        ("PD (USA)", None, None, "unknown"),
        ("PD-self", None, None, "public domain"),
        ("PD-old-auto-expired", None, None, "public domain"),
        ("In the public domain.", None, None, "public domain"),
        ("Public domain worldwide", None, None, "public domain"),
        ("CC BY 4.0", None, "https://rightsstatements.org/vocab/InC/1.0/", "unknown"),
        ("CC BY 4.0", None, "https://www.pexels.com/license/", "unknown"),
        ("CC BY 4.0", None, "javascript:alert(1)", "CC BY 4.0"),
        ("", None, None, "unknown"),
        (None, None, None, "unknown"),
    ],
)
def test_reads_licences(words: str | None, version: str | None, url: str | None, expected: str) -> None:
    assert read_license(words, version, url).name == expected


def test_what_the_licence_option_takes() -> None:
    assert allowed_licenses("open") == OPEN == {"cc0", "pdm", "pd", "by", "by-sa"}
    assert allowed_licenses("cc0, CC-BY") == frozenset({"cc0", "by"})
    assert allowed_licenses("by,any") is None
    for wrong in ("bye", "", ","):
        with pytest.raises(UserError):
            allowed_licenses(wrong)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        (
            "https://inaturalist-open-data.s3.amazonaws.com/photos/123/original.jpg",
            "https://static.inaturalist.org/photos/123/large.jpeg?1",
        ),
        (
            "https://upload.wikimedia.org/wikipedia/commons/a/ab/Fire_lily.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Fire_lily.jpg/960px-Fire_lily.jpg",
        ),
        (
            "https://live.staticflickr.com/65535/52345_0123abcdef_b.jpg",
            "https://farm3.staticflickr.com/2811/52345_0123abcdef.jpg",
        ),
    ],
)
def test_sizes_of_one_picture_are_one_picture(url: str, other: str) -> None:
    assert picture_key(url) == picture_key(other)
    assert picture_key(url) != picture_key(url.replace("123", "124").replace("Fire", "Frog").replace("5234", "5235"))


def test_asks_for_modest_sizes() -> None:
    original = "https://upload.wikimedia.org/wikipedia/commons/a/ab/Fire_lily.jpg"
    thumbnail = "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Fire_lily.jpg/960px-Fire_lily.jpg"
    assert modest_url(original, 4000) == thumbnail
    assert modest_url(original, 900) == original
    assert modest_url(original) == original
    assert modest_url(original.replace(".jpg", ".tif"), 4000) == original.replace(".jpg", ".tif")
    assert modest_url("https://static.inaturalist.org/photos/1/original.jpg").endswith("/large.jpg")
    assert modest_url("https://example.org/original.jpg", 9000) == "https://example.org/original.jpg"


def test_provenance_groups() -> None:
    assert provenance_group("https://www.inaturalist.org/observations/42?locale=de") == "inaturalist:42"
    assert provenance_group("https://www.flickr.com/photos/me/1/") == "flickr.com/photos/me/1"
    assert provenance_group("") == ""


def test_duckduckgo_reads_what_its_package_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own answer, as its ImagesResult has the fields; the network is not asked."""
    result = {
        "title": "Corn poppy",
        "image": "https://flowers.example/poppy.jpg",
        "thumbnail": "https://tse.example/th",
        "url": "https://flowers.example/poppies",
        "height": 800,
        "width": 1200,
        "source": "Bing",
    }
    candidate = duckduckgo._candidate(JsonValue("duckduckgo", result))
    assert (candidate.url, candidate.landing_page) == (result["image"], result["url"])
    assert (candidate.width, candidate.height, candidate.license.code) == (1200, 800, "")
    with pytest.raises(SourceChanged, match=r"duckduckgo: .*'image' is missing"):
        duckduckgo._candidate(JsonValue("duckduckgo", {"picture": "x"}))


def test_duckduckgo_that_cannot_be_reached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real package, led by its own proxy variable to a port where nobody listens."""
    monkeypatch.setenv("DDGS_PROXY", "http://127.0.0.1:9")
    with LocalWeb(tmp_path) as web, pytest.raises(SourceFailed, match=r"^duckduckgo: "):
        search(web, "duckduckgo")


@pytest.mark.parametrize(
    ("header", "value"),
    [("Location", "http://[not an address]/"), ("Location", "http://x:y/"), ("X-RateLimit-Limit", "9" * 5000 + "/min")],
)
def test_odd_headers_of_a_service_are_no_traceback(header: str, value: str) -> None:
    def answer(request: Request) -> Reply:
        if header == "Location":
            return Reply(b"{}", "application/json", 302, {header: value})
        return Reply(b'{"results": [], "page_count": 0}', "application/json", 200, {header: value, LEFT: "0"})

    with Server(answer) as server:
        network = Network(loopback_ports=frozenset({server.port}), services={"openverse": server.url})

        async def ask() -> None:
            async with Fetcher(network) as fetcher:
                await open_source("openverse", fetcher, SourceOptions(None)).page(QUERY, 1, None)

        if header == "Location":
            with pytest.raises(SourceFailed, match=r"openverse: .* redirects to no URL"):
                run(ask())
        else:
            run(ask())


@pytest.mark.parametrize(
    ("text", "beside", "expected"),
    [
        ("cc-by-4.0", ["CC BY-NC 4.0"], "CC BY-NC 4.0"),
        ("cc-by-4.0", ["CC BY 4.0", "All rights reserved"], "unknown"),
        ("pd", ["Public domain in the USA only; copyrighted in Germany"], "unknown"),
        ("cc-by-sa-4.0", ["CC BY-SA 4.0", "Creative Commons Attribution-Share Alike 4.0"], "CC BY-SA 4.0"),
        ("cc-by-4.0", ["© Jane Doe"], "CC BY 4.0"),
        ("", ["CC BY-SA 3.0"], "CC BY-SA 3.0"),
        ("All rights reserved", ["CC BY 4.0"], "unknown"),
    ],
)
def test_of_several_texts_on_one_picture_the_strictest_counts(text: str, beside: list[str], expected: str) -> None:
    assert read_license(text, beside=beside).name == expected


def test_a_link_that_is_none_is_not_kept() -> None:
    assert "javascript" not in read_license("CC BY 4.0", url="javascript:alert(1)").url
