"""A whole scrape over the local web: what is kept and credited, what is left, and what a second run does."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import scraping_reports
from curate.catalog import Catalog
from curate.clean import clean
from curate.scan import scan
from curate.scrape import scrape
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.scraping.yield_report import yields_on_record
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.localapis import SERVICES
from testing.localweb import LocalWeb
from tests.bringing import bring, fetches, files, only, open_ones
from tests.pictures import draw, plant, plant_one


@pytest.fixture
def web(tmp_path: Path) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path / "garden", {"rose": 24, "iris": 16})) as server:
        yield server


def draw_dark(file: Path) -> None:
    """A picture of which even the brightest parts are dark."""
    levels = np.random.default_rng(5).integers(0, 40, (9, 12), dtype=np.uint8)
    Image.fromarray(levels).resize((160, 120), Image.Resampling.BICUBIC).save(file)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "flower_data"


@pytest.mark.parametrize("name", SERVICES)
def test_each_kept_picture_has_its_licence_and_author(name: str, web: LocalWeb, out: Path) -> None:
    scraped = bring(web, out, "rose", sources=(name,))
    expected = {hashlib.sha256(one.path.read_bytes()).hexdigest(): one for one in open_ones(web, "rose")}
    with Catalog.open(scraped.dataset.catalog_path) as catalog:
        kept = {picture.sha256: picture for picture in catalog.pictures()}
        rows = catalog.db.execute("SELECT sha256, source, author, license, license_url, landing_page FROM credits")
        credited = {row[0]: row[1:] for row in rows}
    assert kept.keys() == credited.keys() == expected.keys()
    for sha256, (source, author, license_, license_url, landing_page) in credited.items():
        truth = expected[sha256]
        assert (out / kept[sha256].path).read_bytes() == truth.path.read_bytes()
        assert source == name
        assert author == truth.author
        assert license_ == {"cc0": "CC0 1.0", "pdm": "public domain"}.get(
            truth.license, f"CC {truth.license.upper()} 4.0"
        )
        assert license_url.startswith("https://creativecommons.org/") or license_ == "public domain"
        assert landing_page.startswith("https://")


def test_yields_tell_where_the_rest_went(web: LocalWeb, out: Path) -> None:
    roses = open_ones(web, "rose")
    web.faults.pictures = {roses[0].number: "gone", roses[1].number: "html", roses[2].number: "half"}
    found = only(bring(web, out, "rose", sources=("wikimedia",)).yields, "rose", "wikimedia")
    assert (found.found, found.allowed) == (24, len(roses))
    assert (found.fetched, found.intact, found.unique) == (len(roses) - 2, len(roses) - 3, len(roses) - 3)
    assert found.lost == {"licence": 24 - len(roses), "http 404": 1, "not a picture": 1, "not intact": 1}
    assert found.unique + found.lost.total() == found.found


def test_a_scraped_picture_is_known_as_well_as_a_scanned_one(web: LocalWeb, out: Path) -> None:
    dataset = bring(web, out, limit=5).dataset
    with Catalog.open(dataset.catalog_path) as catalog:
        scraped = catalog.pictures()
        assert scan(dataset, catalog).read == 0
        catalog.db.execute("DELETE FROM pictures")
        assert scan(dataset, catalog).read == len(scraped) == 10
        assert catalog.pictures() == scraped


def test_a_dark_picture_is_found_after_it_was_scraped(tmp_path: Path, out: Path) -> None:
    garden = plant(tmp_path / "garden", {"rose": 3})
    draw_dark(garden / "rose" / "night.jpg")
    with LocalWeb(garden) as web:
        bring(web, out, "rose", licenses=None)
    night = [one.path for one in clean(out, dry_run=True, remove=["dark"]).plan.decisions]
    assert [(out / path).read_bytes() for path in night] == [(garden / "rose" / "night.jpg").read_bytes()]


def test_a_second_run_asks_for_nothing_again(web: LocalWeb, out: Path) -> None:
    first = bring(web, out)
    before, log = files(out), list(web.log)
    second = bring(web, out)
    assert (second.new, second.yields) == (0, first.yields)
    assert files(out) == before
    assert web.log == log


def test_a_higher_limit_goes_on_where_it_was(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=4)
    assert len(files(out)) == 4
    assert fetches(web).total() == 4, "no picture is fetched beyond the limit"
    bring(web, out, "rose", limit=9)
    assert len(files(out)) == 9
    assert set(fetches(web).values()) == {1}


@pytest.mark.thorough
def test_only_what_may_pass_is_tried_again(web: LocalWeb, out: Path) -> None:
    gone, down = open_ones(web, "rose")[:2]
    web.faults.pictures = {gone.number: "gone", down.number: "down"}
    first = bring(web, out, "rose")
    assert only(first.yields, "rose").lost["server error"] == 1
    web.faults.pictures = {}
    asked = fetches(web)
    second = bring(web, out, "rose")
    again = fetches(web) - asked
    assert set(again) == {f"/openverse/pictures/{down.number}/original.jpg"}
    assert second.new == 1
    assert only(second.yields, "rose").lost == only(first.yields, "rose").lost - Counter({"server error": 1})


def test_unknown_licences_come_only_when_asked_for(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", sources=("wikimedia",))
    some = set(files(out))
    bring(web, out, "rose", sources=("wikimedia",), licenses=None)
    assert some < set(files(out))
    assert len(files(out)) == 24


def test_a_refused_licence_is_never_fetched(web: LocalWeb, out: Path) -> None:
    bring(web, out, sources=("wikimedia", "inaturalist", "gbif"), licenses=frozenset({"cc0"}))
    numbers = {int(path.split("/")[3]) for path in fetches(web)}
    assert {web.pictures[number].license for number in numbers} == {"cc0"}


def test_auto_goes_to_the_next_source_where_one_runs_dry(tmp_path: Path, out: Path) -> None:
    with LocalWeb(plant(tmp_path / "garden", {"rose": 40}), divided=True) as web:
        scraped = bring(web, out, "rose", sources=("auto",), limit=10, keys={})
        assert [one.source for one in scraped.yields] == ["openverse", "wikimedia"]
        assert scraped.new == 10
        everything = bring(web, out, "rose", sources=("auto",), keys={})
        assert [one.source for one in everything.yields] == ["openverse", "wikimedia", "inaturalist", "gbif"]
        assert not web.visits("/flickr/"), "there is no key for it"
        with_key = bring(web, out, "rose", sources=("auto",))
    assert with_key.yields[-1].source == "flickr"
    assert len(files(out)) == len(open_ones(web, "rose"))


def test_one_picture_from_two_services_is_kept_once(web: LocalWeb, out: Path) -> None:
    scraped = bring(web, out, "rose", sources=("openverse", "inaturalist"))
    assert only(scraped.yields, "rose", "inaturalist").lost["duplicate"] == len(open_ones(web, "rose"))
    assert len(files(out)) == len(open_ones(web, "rose"))


def test_near_duplicates_are_kept_once(tmp_path: Path, out: Path) -> None:
    garden = plant(tmp_path / "garden", {"rose": 6})
    with Image.open(garden / "rose" / "0000.jpg") as original:
        original.resize((640, 480)).save(garden / "rose" / "0003.jpg", quality=60)
        original.crop((8, 6, 152, 114)).save(garden / "rose" / "0004.jpg", quality=90)
    for number in (1, 5):  # two grey cards of one colour: flat pictures, whose hashes are noise
        Image.new("RGB", (160, 120), (120 + number // 5, 121, 122)).save(garden / "rose" / f"000{number}.jpg")
    with LocalWeb(garden) as web:
        scraped = bring(web, out, "rose", licenses=None, sources=("wikimedia",))
    assert only(scraped.yields, "rose", "wikimedia").lost == {"duplicate": 3}
    assert len(files(out)) == 3


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_copy_of_a_held_out_picture_never_enters_train(split: str, web: LocalWeb, out: Path) -> None:
    roses = open_ones(web, "rose")
    plant(out / "train", {"rose": 0, "iris": 0})
    (out / split / "rose").mkdir(parents=True)
    with Image.open(roses[0].path) as picture:
        picture.resize((300, 225)).save(out / split / "rose" / "held.jpg", quality=70)
    (out / split / "rose" / "same.jpg").write_bytes(roses[1].path.read_bytes())
    (out / "train" / "rose" / "old.jpg").write_bytes(draw(999))
    scraped = bring(web, out, "rose")
    assert only(scraped.yields, "rose").lost[f"copy of one in {split}"] == 2
    held = {hashlib.sha256(roses[n].path.read_bytes()).hexdigest() for n in (0, 1)}
    inside = {hashlib.sha256(data).hexdigest() for data in files(out / "train").values()}
    assert not held & inside
    assert scraped.new == len(roses) - 2
    assert all(path.startswith("rose/") for path in files(out / "train"))


def test_ten_thousand_results_that_are_one_picture(tmp_path: Path, out: Path) -> None:
    with LocalWeb(plant_one(tmp_path / "garden", "rose", 10_000)) as web:
        scraped = bring(web, out, "rose", sources=("inaturalist",), licenses=None)
    assert scraped.new == 0
    assert not files(out / "raw"), "it is what the host gives for pictures that it has not"
    assert fetches(web).total() <= 1 + 60 + 64, "a search that repeats itself is left"


def test_ten_thousand_lines_that_are_one_url(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{web.url}/openverse/pictures/0/original.jpg\n" * 10_000)
    scraped = bring(web, out, "rose", sources=(f"urls:{listing}",), licenses=None)
    assert fetches(web).total() == 1
    (found,) = scraped.yields
    assert (found.found, found.unique, found.lost) == (10_000, 1, {"found before": 9_999})


def test_one_picture_under_two_classes_goes_to_the_first(tmp_path: Path, out: Path) -> None:
    garden = plant(tmp_path / "garden", {"rose": 6, "iris": 6})
    (garden / "iris" / "0003.jpg").write_bytes((garden / "rose" / "0003.jpg").read_bytes())
    with LocalWeb(garden) as web:
        bring(web, out, "iris", "rose", sources=("wikimedia",), licenses=None)
    assert len(files(out / "raw" / "iris")) == 6
    assert len(files(out / "raw" / "rose")) == 5


def test_too_small_ones_are_left(tmp_path: Path, out: Path) -> None:
    garden = plant(tmp_path / "garden", {"rose": 4})
    (garden / "rose" / "0001.jpg").write_bytes(draw(50, (120, 90)))
    with LocalWeb(garden) as web:
        told = bring(web, out, "rose", sources=("wikimedia",), licenses=None)
        untold = bring(web, out / "other", "rose", sources=("gbif",), licenses=None)
    assert told.yields[0].lost == untold.yields[0].lost == {"too small": 1}
    assert told.yields[0].fetched == 3, "its source has told its size"
    assert untold.yields[0].fetched == 4


def test_a_source_that_has_changed_is_named_and_the_others_go_on(web: LocalWeb, out: Path) -> None:
    web.faults.changed.add("openverse")
    scraped = bring(web, out, sources=("openverse", "wikimedia"))
    assert scraped.new == len(open_ones(web, "rose")) + len(open_ones(web, "iris"))
    (problem,) = scraped.problems
    assert problem.startswith("openverse: its answer has changed shape")
    assert len(web.visits("/openverse/")) <= 2, "once for each class that was under way, and no more"
    web.faults.changed.clear()
    assert bring(web, out, sources=("openverse", "wikimedia")).problems == []


def test_a_dry_run_lists_and_fetches_and_writes_nothing(web: LocalWeb, out: Path) -> None:
    queries = [Query("rose", "rose", "rose")]
    shown = preview(out, queries, ScrapeOptions(8, OPEN, 100), sources=("openverse",), network=web.network(), keys={})
    assert not out.exists()
    assert not fetches(web)
    roses = open_ones(web, "rose")[:8]
    assert [entry.candidate.url for entry in shown.listed] == [
        f"{web.url}/openverse/pictures/{rose.number}/original.jpg" for rose in roses
    ]
    assert [entry.candidate.license.code for entry in shown.listed] == [rose.license for rose in roses]
    bring(web, out, "rose", limit=3)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    rest = preview(out, queries, ScrapeOptions(8, OPEN, 100), sources=("openverse",), network=web.network(), keys={})
    assert [entry.candidate.url for entry in rest.listed] == [entry.candidate.url for entry in shown.listed[3:]]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before, "nor beside the catalog"


@pytest.mark.parametrize(("there", "limit"), [(0, 5), (3, 3), (3, 5)])
def test_a_dry_run_counts_what_is_refused_though_nothing_more_is_needed(
    there: int, limit: int, web: LocalWeb, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roses, listing = [one for one in web.pictures if one.label == "rose"][:12], tmp_path / "list.csv"
    lines = [f"{web.offer.url('openverse', one)},{'by' if n < 8 else 'by-nc'}\n" for n, one in enumerate(roses)]
    listing.write_text("url,license\n" + "".join(lines), encoding="utf-8")
    source = f"urls:{listing}"
    if there:
        bring(web, out, "rose", licenses=None, limit=there, sources=(source,))
    options = ScrapeOptions(limit, OPEN, 100)
    shown = preview(out, [Query("rose", "rose", "rose")], options, sources=(source,), network=web.network(), keys={})
    (found,) = shown.yields
    assert len(shown.listed) == limit - there
    assert found.found == 12
    assert found.lost == {"licence": 4, "not needed": 8 - limit} | (
        {"to be tried": limit - there} if limit > there else {}
    )
    assert found.unique + found.lost.total() == found.found
    assert found.allowed == limit
    scraping_reports.scrape_preview(shown)
    assert "4 licence" in " ".join(capsys.readouterr().out.split())
    assert only(bring(web, out, "rose", limit=limit, sources=(source,)).yields, "rose", source).lost == {
        "licence": 4,
        "not needed": 8 - limit,
    }


def test_what_an_option_allows_now_is_not_counted_as_refused(web: LocalWeb, out: Path) -> None:
    """Of the same search, which asks the service for no size."""
    bring(web, out, "rose", limit=3)
    wide = only(bring(web, out, "rose", limit=3, min_size=1000).yields, "rose")
    assert set(wide.lost) == {"too small"}
    assert set(only(bring(web, out, "rose", limit=3).yields, "rose").lost) == {"not needed"}


@pytest.mark.parametrize("specimens", [False, True])
def test_yields_are_told_later_as_the_scrape_told_them(web: LocalWeb, out: Path, specimens: bool) -> None:
    """Whether or not dead plants were wanted, which are candidates of their own then."""
    bring(web, out, "iris", sources=("gbif",))
    with Catalog.open(out / "catalog.sqlite") as catalog:
        catalog.db.execute("UPDATE scrape_searches SET specimens = 3")
    queries = [Query(label, label, label) for label in ("rose", "iris")]
    wanted = ScrapeOptions(100, OPEN, 100, specimens=specimens)
    scraped = scrape(out, queries, wanted, sources=("openverse", "gbif"), network=web.network(), keys={})
    with Catalog.open(out / "catalog.sqlite") as catalog:
        told = yields_on_record(catalog)
    assert sorted(told, key=lambda one: (one.label, one.source)) == sorted(
        scraped.yields, key=lambda one: (one.label, one.source)
    )
    assert any(one.lost["specimen"] for one in told) is not specimens
