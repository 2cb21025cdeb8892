"""A second run that helps: what has changed is asked for again, and what is missing is said."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import scraping_reports
from commands.options import names_of
from curate.catalog import Catalog
from curate.catalog.origin_facts import origin_facts
from curate.clean import clean
from curate.export import export
from curate.restore import restore
from curate.scrape import scrape
from curate.scraping.contact import contact_wanted, known_contact
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.scraping.yield_report import Yield
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from curate.web.network import Network
from testing.localweb import LocalWeb
from testing.webserver import Reply, Server
from tests.bringing import bring, files, ledger
from tests.pictures import draw, plant


@pytest.fixture
def web(tmp_path: Path) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path / "web", {"rose": 12, "iris": 2}), licenses=("by",)) as web:
        yield web


def rows(path: Path, web: LocalWeb, numbers: range, licence: str = "by") -> Path:
    """A list of the web's roses of these numbers, counted from the first."""
    roses = [picture for picture in web.pictures if picture.label == "rose"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(["url", "label", "license", "author"])
        writer.writerows([web.offer.url("openverse", roses[n]), "rose", licence, "Ann"] for n in numbers)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_lines_that_are_added_to_a_list_come(web: LocalWeb, tmp_path: Path, suffix: str) -> None:
    listing, out = tmp_path / f"list{suffix}", tmp_path / "out"
    source = f"urls:{listing}"
    rows(listing, web, range(3))
    assert bring(web, out, "rose", sources=(source,)).new == 3
    assert bring(web, out, "rose", sources=(source,)).new == 0
    rows(listing, web, range(5))
    assert bring(web, out, "rose", sources=(source,)).new == 2


def test_lines_that_are_taken_out_of_a_list_do_not_come_and_are_not_named(web: LocalWeb, tmp_path: Path) -> None:
    """Whichever limit a later run has; and they come once they are back in the list."""
    listing, out = tmp_path / "list.csv", tmp_path / "out"
    source = f"urls:{listing}"
    roses = [picture for picture in web.pictures if picture.label == "rose"]
    web.faults.pictures = {roses[0].number: "gone", roses[1].number: "gone"}
    rows(listing, web, range(6))
    assert bring(web, out, "rose", sources=(source,), limit=2).new == 2
    rows(listing, web, range(1, 2))
    report = bring(web, out, "rose", sources=(source,), limit=9)
    assert report.new == 0
    (short,) = report.shortfalls
    assert [url for url, _ in short.failures] == [web.offer.url("openverse", roses[1])]
    (one,) = report.yields
    assert one.lost["no longer listed"] == 3
    assert one.found == one.unique + one.lost.total()
    rows(listing, web, range(6))
    report = bring(web, out, "rose", sources=(source,), limit=9)
    assert report.new == 2
    assert report.yields[0].lost == {"http 404": 2}


def test_a_picture_whose_licence_is_no_longer_wanted_stays_and_is_told(
    web: LocalWeb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing, out = tmp_path / "list.csv", tmp_path / "out"
    rows(listing, web, range(2))
    assert bring(web, out, "rose", sources=(f"urls:{listing}",)).unwanted == []
    rows(listing, web, range(1), "all rights reserved")
    report = bring(web, out, "rose", sources=(f"urls:{listing}",))
    assert len(files(out)) == 2
    (path,) = report.unwanted
    assert (out / path).is_file()
    scraping_reports.scraping(report)
    said = " ".join(capsys.readouterr().out.split())
    assert "1 picture that is there has a licence that --license does not allow, such as raw/rose/" in said
    assert "remove the files" in said
    (out / path).unlink()
    assert bring(web, out, "rose", sources=(f"urls:{listing}",)).unwanted == []


def test_failed_urls_are_named_one_for_each_reason_and_the_others_counted(
    web: LocalWeb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roses = [picture for picture in web.pictures if picture.label == "rose"]
    web.faults.pictures = {rose.number: "gone" for rose in roses[:5]} | {roses[5].number: "noai"}
    report = bring(web, tmp_path / "out", "rose", sources=(f"urls:{rows(tmp_path / 'list.csv', web, range(12))}",))
    (short,) = report.shortfalls
    assert len(short.failures) == len({reason for _, reason in short.failures}) == 2
    scraping_reports.scraping(report)
    assert "… and 4 more." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("status", "kind", "way"),
    [(401, "text/plain", "--contact or a valid key"), (403, "text/plain", "--contact or a valid key"),
     (429, "text/plain", "the same command again later"), (200, "text/html", "the same command again later")],
)  # fmt: skip
def test_a_source_that_failed_is_not_said_to_have_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, kind: str, way: str
) -> None:
    reply = Reply(b"<html>Log in</html>", kind, status, {"Retry-After": "86400"} if status == 429 else {})
    with Server(lambda request: reply) as server:  # noqa: ARG005
        network = Network(loopback_ports=frozenset({server.port}), services={"openverse": server.url}, budgets={})
        query = Query("rose", "rose", "rose")
        report = scrape(
            tmp_path / "out", [query], ScrapeOptions(5, OPEN, 50), sources=("openverse",), network=network, keys={}
        )
    scraping_reports.scraping(report)
    said = " ".join(capsys.readouterr().out.split())
    assert f"rose has 0 of 5 pictures; openverse failed, as said above. Try {way} or another --source." in said


def test_a_licence_that_is_put_right_is_read_and_credited(web: LocalWeb, tmp_path: Path) -> None:
    listing, out = tmp_path / "list.csv", tmp_path / "out"
    rows(listing, web, range(2), "by")
    bring(web, out, "rose", sources=(f"urls:{listing}",))
    rows(listing, web, range(4), "all rights reserved")
    assert bring(web, out, "rose", sources=(f"urls:{listing}",)).new == 0
    rows(listing, web, range(4), "cc0")
    report = bring(web, out, "rose", sources=(f"urls:{listing}",))
    assert report.new == 2
    text = report.credits.read_text(encoding="utf-8")
    assert text.count("CC0 1.0") == 4
    assert "CC BY" not in text


def test_what_is_put_right_of_a_kept_picture_replaces_its_credit(web: LocalWeb, tmp_path: Path) -> None:
    """Also at another address of the same picture; when it came stays, and so does one that another source gave."""
    listing, out = tmp_path / "list.csv", tmp_path / "out"
    page = web.offer.url("openverse", web.pictures[0])
    for line in (f"{page}#small,rose,by,Ann,2021-05-01T10:00:00", f"{page}#large,rose,cc0,Ben,2021-05-01T11:00:00"):
        listing.write_text(f"url,label,license,author,taken_at\n{line}\n")
        bring(web, out, "rose", sources=(f"urls:{listing}",))
        with ledger(out) as db:
            came = {row[0] for row in db.execute("SELECT fetched_at FROM credits")}
            db.execute("UPDATE credits SET fetched_at = '2020-01-01T00:00:00+00:00'")
    assert came == {"2020-01-01T00:00:00+00:00"}
    with Catalog.open_read_only(out / "catalog.sqlite") as catalog:
        (fact,) = origin_facts(catalog)
    assert (fact.url, fact.author, fact.taken_at) == (f"{page}#large", "Ben", "2021-05-01T11:00:00")
    assert "Ann" not in (out / "CREDITS.md").read_text(encoding="utf-8")


def test_a_json_array_is_a_list_too(web: LocalWeb, tmp_path: Path) -> None:
    listing = tmp_path / "list.json"
    urls = [web.offer.url("openverse", picture) for picture in web.pictures if picture.label == "rose"][:3]
    listing.write_text(json.dumps([{"url": urls[0], "license": "by"}, {"url": urls[1], "license": "by"}, urls[2]]))
    assert bring(web, tmp_path / "out", "rose", sources=(f"urls:{listing}",)).new == 2
    assert bring(web, tmp_path / "out", "rose", sources=(f"urls:{listing}",), licenses=None).new == 1


def test_files_that_are_added_to_a_folder_come(web: LocalWeb, tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "out"
    plant(folder, {"rose": 2})
    (folder / "rose" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture, though it begins like one")
    asked: dict[str, Any] = {"sources": (f"folder:{folder}",), "licenses": None}
    assert bring(web, out, "rose", **asked).new == 2
    (folder / "rose" / "third.jpg").write_bytes(draw(71, (160, 120)))
    (folder / "rose" / "bad.jpg").write_bytes(draw(72, (160, 120)))
    assert bring(web, out, "rose", **asked).new == 2, "the one that was broken has been replaced"


def test_lines_of_no_class_are_named(web: LocalWeb, tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    url = web.offer.url("openverse", web.pictures[0])
    listing.write_text(f"url,label,license\n{url},tulp,by\n{url}?2,Iris,by\n{url}?3,tulp,by\n")
    report = bring(web, tmp_path / "out", sources=(f"urls:{listing}",))
    (note,) = report.notes
    assert "2 lines name no class that is asked for" in note
    assert "'tulp' (2)" in note


def test_a_lower_min_size_asks_again_for_what_was_too_small(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    listing = rows(tmp_path / "list.csv", web, range(3))  # a list announces no sizes
    asked: dict[str, Any] = {"sources": (f"urls:{listing}",)}
    assert bring(web, out, "rose", min_size=130, **asked).new == 0
    assert bring(web, out, "rose", min_size=125, **asked).new == 0
    assert bring(web, out, "rose", min_size=120, **asked).new == 3


def test_what_robots_forbade_is_asked_for_by_whoever_ignores_them(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    web.faults.robots = "User-agent: *\nDisallow: /openverse/pictures/\n"
    report = bring(web, out, "rose")
    assert (report.new, report.yields[0].lost["robots.txt"]) == (0, 12)
    assert bring(web, out, "rose", network=web.network(obey_robots=False)).new == 12


@pytest.mark.parametrize(("fault", "change"), [("noai", {"obey_robots_tag": False}), ("forbidden", {"contact": "me"})])
def test_what_was_refused_is_asked_for_again(
    web: LocalWeb, tmp_path: Path, fault: str, change: dict[str, object]
) -> None:
    out = tmp_path / "out"
    web.faults.pictures = {picture.number: fault for picture in web.pictures}
    assert bring(web, out, "rose", network=web.network(contact="")).new == 0
    if fault == "forbidden":
        web.faults.pictures = {}
        assert bring(web, out, "rose", network=web.network(contact="")).new == 0, "nothing has changed on our side"
    else:
        web.faults.pictures = dict.fromkeys(web.faults.pictures, fault)
    assert bring(web, out, "rose", network=web.network(**{"contact": "", **change})).new == 12


def test_a_wider_license_asks_the_service_again(tmp_path: Path) -> None:
    """Openverse gives what the licences admit that it is asked for, so another search is asked for with others."""
    with LocalWeb(plant(tmp_path / "web", {"rose": 6}), licenses=("by", "by-sa")) as web:
        assert bring(web, tmp_path / "out", "rose", licenses=frozenset({"by"})).new == 3
        assert bring(web, tmp_path / "out", "rose", licenses=frozenset({"by", "by-sa"})).new == 3


def test_the_limit_counts_the_pictures_that_are_there(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plant(out / "raw", {"rose": 3, "iris": 1})
    for number, file in enumerate(sorted((out / "raw").glob("*/*.jpg"))):
        file.write_bytes(draw(500 + number, (160, 120)))
    shown = preview(out, [Query("rose", "rose", "rose")], ScrapeOptions(8, OPEN, 100), sources=("openverse",),
                    network=web.network(), keys={})  # fmt: skip
    assert len(shown.listed) == 5
    assert bring(web, out, "rose", limit=8).new == 5, "three of the user's own are there"
    for file in sorted((out / "raw" / "rose").glob("*.jpg"))[:4]:
        file.unlink()
    assert bring(web, out, "rose", limit=8).new == 4
    clean(out)
    assert bring(web, out, "rose", limit=8).new == 0


def test_a_class_that_got_fewer_says_how_many_and_why(web: LocalWeb, tmp_path: Path) -> None:
    web.faults.pictures = {web.pictures[-1].number: "gone"}
    report = bring(web, tmp_path / "out", limit=20)
    assert {(short.label, short.there, short.wanted) for short in report.shortfalls} == {
        ("rose", 11, 20),
        ("iris", 2, 20),
    }
    short = next(short for short in report.shortfalls if short.label == "rose")
    ((url, reason),) = short.failures
    assert url == web.offer.url("openverse", web.pictures[-1])
    assert "404" in reason
    assert short.lost == {"http 404": 1}


def test_the_user_is_told_what_was_taken_why_no_more_came_and_what_may_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalWeb(plant(tmp_path / "web", {"rose": 8}), licenses=("by", "by-nc")) as web:
        web.faults.pictures[0] = "gone"
        web.faults.pictures[2] = "noai"
        report = bring(web, tmp_path / "out", "rose", sources=("inaturalist", "openverse"), limit=9)
    scraping_reports.scraping(report)
    said = " ".join(capsys.readouterr().out.split())
    assert "Taken for rose at inaturalist: rose (species, Plantae)." in said
    assert re.search(r"rose has 2 of 9 pictures; of the others: .*\blicence\b.*", said)
    assert re.search(r"Try .*--license any, or more codes.* or another --source\.", said)
    assert "--ignore-noai" in said
    assert re.search(
        r"Failed: http://127\.0\.0\.1:\d+/inaturalist/pictures/0/large\.jpg \(127\.0\.0\.1 answered 404\)", said
    )


def test_one_author_gives_a_part_of_a_class_and_the_yield_says_so(web: LocalWeb, tmp_path: Path) -> None:
    report = bring(web, tmp_path / "out", "rose", per_author=1)
    with ledger(tmp_path / "out") as db:
        authors = [author for (author,) in db.execute("SELECT author FROM scrape_candidates WHERE status = 'kept'")]
    assert len(authors) == len(set(authors)) == report.new == 6
    one: Yield = report.yields[0]
    assert one.lost["enough of one author"] == 6
    assert bring(web, tmp_path / "out", "rose", per_author=0).new == 6


def test_a_class_is_filled_from_one_author_once_there_is_nobody_else(tmp_path: Path) -> None:
    garden = plant(tmp_path / "garden", {"rose": 42})
    with LocalWeb(garden, licenses=("by",)) as web:
        bring(web, tmp_path / "some", "rose", limit=30)
    one_author = ("by", "by", *["all rights reserved"] * 12)  # each seventh plant is one botanist's
    with LocalWeb(garden, licenses=one_author) as web:
        assert len({picture.author for picture in web.pictures if picture.license == "by"}) == 1
        bring(web, tmp_path / "all", "rose", limit=6)
    with ledger(tmp_path / "some") as db:
        query = "SELECT COUNT(*) FROM scrape_candidates WHERE status = 'kept' GROUP BY author"
        assert max(count for (count,) in db.execute(query)) <= 6, "a fifth of the limit"
    assert len(files(tmp_path / "some")) == 30
    assert len(files(tmp_path / "all")) == 6, "five of one author first, and one more for want of others"


def test_a_contact_is_asked_for_once_and_kept(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert known_contact(out, "") == ""
    assert "--contact" in contact_wanted(["openverse", "wikimedia"], "")
    bring(web, out, "rose", limit=2, network=web.network(contact="ann@example.org"))
    assert known_contact(out, "") == "ann@example.org"
    assert known_contact(out, "ben@example.org") == "ben@example.org"
    assert contact_wanted(["wikimedia"], known_contact(out, "")) == ""
    assert contact_wanted(["openverse"], "") == ""
    assert len(files(out)) == 2


def test_credits_follow_what_is_cleaned_restored_and_exported(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = bring(web, out, limit=4)
    leaves = min((out / "raw" / "rose").glob("*.jpg"))
    table = out / "raw" / "metadata.csv"
    before = report.credits.read_text(encoding="utf-8"), table.read_text(encoding="utf-8")
    leaves.write_bytes(leaves.read_bytes()[:500])
    clean(out)
    assert leaves.name not in report.credits.read_text(encoding="utf-8")
    assert leaves.name not in table.read_text(encoding="utf-8")
    assert "## rose" in report.credits.read_text(encoding="utf-8")
    restore(out)
    assert leaves.name in table.read_text(encoding="utf-8")
    restored = report.credits.read_text(encoding="utf-8"), table.read_text(encoding="utf-8")
    assert restored[0].count("CC BY") == before[0].count("CC BY") - 1, "these bytes are credited to nobody"
    assert restored[1].count(".jpg,rose") == before[1].count(".jpg,rose")
    export(out, tmp_path / "exported")
    text = (tmp_path / "exported" / "CREDITS.md").read_text(encoding="utf-8")
    assert text.count("CC BY") == 5
    assert leaves.name not in text


def test_an_export_calls_the_classes_as_the_scrape_did(web: LocalWeb, tmp_path: Path) -> None:
    """Unless a names file says otherwise."""
    out = tmp_path / "out"
    query = Query("rose", "wild rose", "rose")
    scrape(out, [query], ScrapeOptions(2, OPEN, 100), sources=("openverse",), network=web.network(), keys={})
    export(out, tmp_path / "exported")
    assert "## rose: wild rose" in (tmp_path / "exported" / "CREDITS.md").read_text(encoding="utf-8")
    (named,) = json.loads((tmp_path / "exported" / "labels.json").read_text(encoding="utf-8"))
    assert named["name"] == "wild rose"
    lines = (tmp_path / "exported" / "train" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["name"] for line in lines} == {"wild rose"}
    assert names_of(out, None) == {"rose": "wild rose"}, "a training calls them so, too"
    (out / "cat_to_name.json").write_text('{"rose": "dog rose"}')
    assert names_of(out, None) == {"rose": "dog rose"}
    export(out, tmp_path / "again")
    assert "## rose: dog rose" in (tmp_path / "again" / "CREDITS.md").read_text(encoding="utf-8")


def test_credits_that_somebody_has_edited_stay_as_they_are(web: LocalWeb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = bring(web, out, limit=4)
    report.credits.write_text("My own words.\n", encoding="utf-8")
    leaves = min((out / "raw" / "rose").glob("*.jpg"))
    leaves.write_bytes(leaves.read_bytes()[:500])
    clean(out)
    assert report.credits.read_text(encoding="utf-8") == "My own words.\n"
    assert leaves.name not in (out / "raw" / "metadata.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("by_hand", [False, True], ids=["clean --merge", "by hand"])
def test_a_picture_counts_for_the_class_that_it_is_in_now(web: LocalWeb, tmp_path: Path, by_hand: bool) -> None:
    """Its yield, its author's share and its credit follow it, and go back with it."""
    out = tmp_path / "out"
    bring(web, out, "rose", "iris", limit=2)
    if by_hand:
        for file in (out / "raw" / "iris").iterdir():
            file.rename(out / "raw" / "rose" / file.name)
    else:
        clean(out, merge=["iris=rose"], yes=True)
    report = bring(web, out, "rose", limit=4, per_author=0)
    assert report.new == 0
    (one,) = report.yields
    assert (one.label, one.unique, one.found) == ("rose", 4, 14)
    assert one.found == one.unique + one.lost.total()
    credit = (out / "CREDITS.md").read_text(encoding="utf-8")
    assert "## iris" not in credit
    if not by_hand:
        restore(out, reasons=["merge"])
        both = bring(web, out, "rose", "iris", limit=2).yields
        assert [(found.label, found.unique) for found in both] == [("rose", 2), ("iris", 2)]


def test_an_authors_share_of_a_class_counts_what_was_moved_there(tmp_path: Path) -> None:
    """Two of one author came as irises. They are roses now, and so roses have their two of this author."""
    out = tmp_path / "out"
    with LocalWeb(plant(tmp_path / "web", {"iris": 2, "lily": 12, "rose": 2}), licenses=("by",)) as web:
        authors = {picture.label: picture.author for picture in web.pictures if picture.label != "lily"}
        assert authors["iris"] == authors["rose"]
        bring(web, out, "iris")
        (out / "raw" / "iris").rename(out / "raw" / "rose")
        report = bring(web, out, "rose", limit=9, per_author=2, sources=("wikimedia",))
    assert report.new == 0
    (found,) = [one for one in report.yields if one.source == "wikimedia"]
    assert found.lost["enough of one author"] == 2
