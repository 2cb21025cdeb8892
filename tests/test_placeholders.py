"""Files that a host gives in the place of pictures that it has not: they are dead links, and credited to nobody."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from curate.scrape import Scraped, scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from curate.sources.protocol.picture_urls import is_another_picture
from curate.web.network import Network
from testing.localweb import LocalWeb
from testing.webserver import Reply, Request, Server
from tests.bringing import bring, ledger
from tests.pictures import draw, plant


def gathered(out: Path, urls: list[str], answer: dict[str, Reply]) -> tuple[Scraped, dict[str, str]]:
    """A scrape of such URLs of one host, each a record of Openverse; and what became of each, as status and kind."""

    def reply(request: Request) -> Reply:
        if request.path == "/v1/images/":
            results = [
                {"id": str(number), "url": f"{base}{url}", "foreign_landing_url": f"https://x.example/{number}",
                 "license": "by", "license_version": "4.0", "creator": f"Author {number}"}
                for number, url in enumerate(urls)
            ]  # fmt: skip
            return Reply(json.dumps({"page_count": 1, "results": results}).encode(), "application/json")
        return answer.get(request.path, Reply(b"no", "text/plain", 404))

    with Server(reply) as server:
        base = server.url
        network = Network(loopback_ports=frozenset({server.port}), services={"openverse": base}, budgets={})
        query = Query("rose", "rose", "rose")
        report = scrape(out, [query], ScrapeOptions(20, OPEN, 50), sources=("openverse",), network=network, keys={})
    with ledger(out) as db:
        rows = db.execute("SELECT url, status, kind FROM scrape_candidates").fetchall()
    return report, {url.removeprefix(base): f"{status}: {kind}" for url, status, kind in rows}


def picture(seed: int) -> Reply:
    return Reply(draw(seed, (300, 200)), "image/jpeg")


def test_one_file_for_three_pictures_is_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.scraping.crawler.WINDOW", 1)  # so that the first one is kept before the next one comes
    urls = ["/a.jpg", "/b.jpg", "/gone1.jpg", "/gone2.jpg", "/c.jpg", "/gone3.jpg", "/gone4.jpg"]
    web = {f"/{name}.jpg": picture(seed) for seed, name in enumerate("abc")}
    web |= {url: picture(99) for url in urls if "gone" in url}
    report, became = gathered(tmp_path / "out", urls, web)
    assert {url for url, end in became.items() if end == "kept: "} == {"/a.jpg", "/b.jpg", "/c.jpg"}
    assert {end for url, end in became.items() if "gone" in url} == {"duplicate: placeholder"}
    assert report.new == 3
    assert len(list((tmp_path / "out" / "raw" / "rose").glob("*.jpg"))) == 3
    aside = list((tmp_path / "out").glob("quarantine/placeholder/raw/rose/*.jpg"))
    assert [file.read_bytes() for file in aside] == [picture(99).body], "what was kept before is set aside, not deleted"
    assert "gone" not in report.credits.read_text(encoding="utf-8")


def test_a_redirect_that_two_pictures_share_is_a_dead_link(tmp_path: Path) -> None:
    moved = Reply(status=302, headers={"Location": "/unavailable.jpg"})
    web = {"/a.jpg": picture(1), "/b.jpg": moved, "/c.jpg": moved, "/unavailable.jpg": picture(99)}
    report, became = gathered(tmp_path / "out", ["/a.jpg", "/b.jpg", "/c.jpg"], web)
    assert became == {"/a.jpg": "kept: ", "/b.jpg": "duplicate: placeholder", "/c.jpg": "duplicate: placeholder"}
    assert report.new == 1


def listed_one_by_one(out: Path, urls: list[str], answer: dict[str, Reply]) -> list[str]:
    """What became of each URL, once each was brought by a list and a run of its own."""
    with Server(lambda request: answer.get(request.path, Reply(b"no", "text/plain", 404))) as server:
        network = Network(loopback_ports=frozenset({server.port}), budgets={})
        for number, url in enumerate(urls):
            (file := out.with_name(f"{number}.txt")).write_text(f"{server.url}{url}\n")
            scrape(out, [Query("rose", "rose", "rose")], ScrapeOptions(20, None, 50), sources=(f"urls:{file}",),
                   network=network, keys={})  # fmt: skip
    with ledger(out) as db:
        return [f"{status}: {kind}" for status, kind in db.execute("SELECT status, kind FROM scrape_candidates")]


def test_a_redirect_that_two_lists_share_in_two_runs_is_a_dead_link(tmp_path: Path) -> None:
    moved = Reply(status=302, headers={"Location": "/unavailable.jpg"})
    web = {"/b.jpg": moved, "/c.jpg": moved, "/unavailable.jpg": picture(99)}
    became = listed_one_by_one(tmp_path / "out", ["/b.jpg", "/c.jpg"], web)
    assert became == ["duplicate: placeholder"] * 2
    assert list((tmp_path / "out" / "raw" / "rose").glob("*.jpg")) == []


def test_one_file_for_three_pictures_in_three_runs_is_none_of_them(tmp_path: Path) -> None:
    urls = ["/1.jpg", "/2.jpg", "/3.jpg"]
    out = tmp_path / "out"
    became = listed_one_by_one(out, urls, dict.fromkeys(urls, picture(99)))
    assert "http" not in (out / "raw" / "metadata.csv").read_text(encoding="utf-8")
    assert became == ["duplicate: placeholder"] * 3
    assert list((tmp_path / "out" / "raw" / "rose").glob("*.jpg")) == []


def test_a_picture_and_where_it_has_moved_to_are_one(tmp_path: Path) -> None:
    web = {"/old.jpg": Reply(status=301, headers={"Location": "/new.jpg"}), "/new.jpg": picture(1)}
    for number, urls in enumerate((["/old.jpg", "/new.jpg"], ["/new.jpg", "/old.jpg"])):
        _, became = gathered(tmp_path / str(number), urls, web)
        assert sorted(became.values()) == ["duplicate: duplicate", "kept: "]


def test_a_redirect_to_where_the_picture_lies_now_is_followed(tmp_path: Path) -> None:
    web = {
        "/a.jpg": Reply(status=301, headers={"Location": "/moved/a.jpg"}),
        "/b.jpg": Reply(status=301, headers={"Location": "/moved/b.jpg"}),
        "/moved/a.jpg": picture(1),
        "/moved/b.jpg": picture(2),
    }
    report, became = gathered(tmp_path / "out", ["/a.jpg", "/b.jpg"], web)
    assert set(became.values()) == {"kept: "}
    assert report.new == 2


def test_a_picture_that_was_uploaded_twice_is_a_duplicate_and_no_placeholder(tmp_path: Path) -> None:
    web = {"/a.jpg": picture(1), "/b.jpg": picture(1)}
    _, became = gathered(tmp_path / "out", ["/a.jpg", "/b.jpg"], web)
    assert became == {"/a.jpg": "kept: ", "/b.jpg": "duplicate: duplicate"}


def test_photo_hosts_that_answer_with_another_picture() -> None:
    flickr = "https://live.staticflickr.com/65535/52345_0123abcdef_b.jpg"
    assert is_another_picture(flickr, "https://s.yimg.com/pw/images/en-us/photo_unavailable_l.png")
    assert not is_another_picture(flickr, flickr.replace("_b.jpg", "_c.jpg"))
    photo = "https://static.inaturalist.org/photos/123/large.jpg"
    assert not is_another_picture(photo, "https://inaturalist-open-data.s3.amazonaws.com/photos/123/large.jpg")
    assert is_another_picture(photo, "https://www.inaturalist.org/attachment_defaults/local_photos/large.png")
    assert not is_another_picture("https://example.org/a.jpg", "https://example.org/b.jpg")


def test_what_a_photo_host_gives_in_the_place_of_a_photo_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone is enough, where the URL says which photo it is. The local web plays Flickr's host."""
    local = re.compile(r"http://127\.0\.0\.1:\d+/(\d+)_[0-9a-f]+_b\.jpg")
    monkeypatch.setattr("curate.sources.protocol.picture_urls._FLICKR", local)
    web = {
        "/52345_0123abcdef_b.jpg": Reply(status=302, headers={"Location": "/unavailable.jpg"}),
        "/52346_0123abcdef_b.jpg": picture(1),
        "/unavailable.jpg": picture(99),
    }
    _, became = gathered(tmp_path / "out", ["/52345_0123abcdef_b.jpg", "/52346_0123abcdef_b.jpg"], web)
    assert became == {"/52345_0123abcdef_b.jpg": "failed: dead link", "/52346_0123abcdef_b.jpg": "kept: "}


def test_a_placeholder_that_one_class_kept_is_counted_out_of_that_class(tmp_path: Path) -> None:
    """And out of no other, whichever class brought the third file that told."""
    with LocalWeb(plant(tmp_path / "web", {"iris": 2, "rose": 7}), licenses=("by",)) as web:
        gone, again = (picture.path for picture in web.pictures if picture.label == "iris")
        third = next(picture.path for picture in web.pictures if picture.label == "rose")
        again.write_bytes(gone.read_bytes())
        third.write_bytes(gone.read_bytes())
        report = bring(web, tmp_path / "out", "iris", "rose", limit=3)
    assert Counter(file.parent.name for file in (tmp_path / "out" / "raw").glob("*/*.jpg")) == {"rose": 3}
    assert [(short.label, short.there) for short in report.shortfalls] == [("iris", 0)]
    assert report.new == 3


def test_a_placeholder_whose_class_has_changed_is_counted_out_of_the_new_one(tmp_path: Path) -> None:
    """It was kept as an iris; somebody has called it a lily since, by moving the file."""
    out = tmp_path / "out"
    with LocalWeb(plant(tmp_path / "web", {"iris": 1, "lily": 3, "rose": 7}), licenses=("by",)) as web:
        gone = next(picture.path for picture in web.pictures if picture.label == "iris")
        for other in [picture.path for picture in web.pictures if picture.label == "rose"][:2]:
            other.write_bytes(gone.read_bytes())
        bring(web, out, "iris", "lily", limit=3)
        (kept,) = (out / "raw" / "iris").iterdir()
        kept.rename(out / "raw" / "lily" / kept.name)
        report = bring(web, out, "lily", "rose", limit=4)
    counts = Counter(file.parent.name for file in (out / "raw").glob("*/*.jpg"))
    assert counts == {"lily": 3, "rose": 4}
    assert [(short.label, short.there) for short in report.shortfalls] == [("lily", 3)]
    assert len(list(out.glob("quarantine/placeholder/raw/lily/*.jpg"))) == 1
