"""What goes into a scrape and comes out beside the pictures: lists, folders, classes, credits, mistakes."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.scraping.crawler import class_folder
from curate.scraping.preview import Preview, preview
from curate.scraping.scrape_options import ScrapeOptions, plan_queries, warnings_for
from curate.sources import auto_order
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from curate.web.network import Network
from demo.gathering import gather
from testing.localapis import SERVICES
from testing.localweb import LocalWeb
from tests.bringing import bring, files, ledger, only
from tests.commanding import command
from tests.pictures import draw, plant

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def web(tmp_path: Path) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path / "garden", {"rose": 24, "iris": 16})) as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "flower_data"


def test_credits_and_metadata_name_everybody(web: LocalWeb, out: Path) -> None:
    (out / "raw" / "rose").mkdir(parents=True)
    (out / "raw" / "rose" / "mine.jpg").write_bytes(draw(777))
    scraped = bring(web, out)
    text = scraped.credits.read_text()
    (table,) = scraped.metadata
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert table == out / "raw" / "metadata.csv"
    assert {row["file_name"] for row in rows} == set(files(out / "raw"))
    for row in rows:
        assert row["label"] == row["file_name"].split("/")[0]
        if row["file_name"] == "rose/mine.jpg":
            assert row["author"] == row["license"] == ""
            assert "mine.jpg" not in text
            continue
        assert row["author"]
        assert row["license"] in text
        assert f"`raw/{row['file_name']}`" in text
        assert row["landing_page"] in text
    assert "## rose" in text


def test_credits_keep_the_names_of_classes_that_a_run_leaves_out(web: LocalWeb, out: Path) -> None:
    names = {"rose": "dog rose", "iris": "yellow iris"}
    bring(web, out, "rose", limit=2, names=names)
    scraped = bring(web, out, "iris", limit=2, names=names)
    text = scraped.credits.read_text()
    assert "## rose: dog rose" in text
    assert "dog rose" in scraped.metadata[0].read_text()


def test_the_demo_gathers_all_of_its_garden(web: LocalWeb, tmp_path: Path) -> None:
    scraped = gather(web.pictures[0].path.parent.parent, tmp_path / "demo")
    assert scraped.new == len(web.pictures)
    assert {one.source for one in scraped.yields} == set(SERVICES)
    assert scraped.problems == []


def test_a_strangers_words_are_no_markup(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.jsonl"
    row = {
        "url": f"{web.url}/openverse/pictures/0/original.jpg",
        "title": "[x](javascript:alert(1)) <script>\n# Not a heading",
        "author": "=HYPERLINK(1)|`ls`",
        "license": "cc0",
        "landing_page": "javascript:alert(2)",
    }
    listing.write_text(json.dumps(row))
    text = bring(web, out, "rose", sources=(f"urls:{listing}",)).credits.read_text()
    assert "(javascript:" not in text.replace("\\", "").replace("[x](javascript", "")
    assert "<script>" not in text
    assert "\n# Not" not in text


def test_a_flat_dataset_keeps_its_catalog_beside_it(web: LocalWeb, tmp_path: Path) -> None:
    flat = tmp_path / "mine"
    (flat / "rose").mkdir(parents=True)
    (flat / "rose" / "old.jpg").write_bytes(draw(888))
    bring(web, flat, limit=3)
    assert sorted(path.name for path in flat.iterdir() if path.is_dir()) == ["iris", "rose"]
    assert len(files(flat)) == 6, "three of each class, the user's own among them"
    assert (tmp_path / "mine.florilegium" / "catalog.sqlite").is_file()
    rows = csv.DictReader(io.StringIO((flat / "metadata.csv").read_text()))
    assert {row["file_name"] for row in rows} == set(files(flat))


def test_lists_of_urls(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    address = f"{web.url}/openverse/pictures/{{}}/original.jpg".format
    table = tmp_path / "list.csv"
    lines = [f"{address(0)},rose,Anna,CC BY 4.0", f"{address(1)},IRIS,Bert,", f"{address(2)},tulip,Carl,cc0"]
    table.write_text("url,label,author,license\n" + "\n".join(lines))
    scraped = bring(web, out, sources=(f"urls:{table}",))
    assert scraped.new == 1
    with ledger(out) as db:
        assert db.execute("SELECT author, license FROM credits").fetchall() == [("Anna", "CC BY 4.0")]
    assert bring(web, out, sources=(f"urls:{table}",), licenses=None).new == 1
    text = tmp_path / "list.txt"
    text.write_text(f"# roses\n{address(5)}\nfile:///etc/passwd\n{web.url}/hostile/to-metadata\n")
    scraped = bring(web, out, "rose", sources=(f"urls:{text}",), licenses=None)
    assert scraped.new == 1
    assert only(scraped.yields, "rose", f"urls:{text}").lost == {"refused address": 2}
    with pytest.raises(UserError, match="does not say which class"):
        bring(web, out, sources=(f"urls:{text}",), licenses=None)


@pytest.mark.parametrize(
    "header", ["URL,Label,License", " url , label ,license", "Url;label;License", "url\tlabel\tlicense"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_read_as_a_spreadsheet_saves_it(
    web: LocalWeb, out: Path, tmp_path: Path, header: str, end: str
) -> None:
    delimiter = next(sign for sign in ",;\t" if sign in header)
    address = f"{web.url}/openverse/pictures/0/original.jpg"
    table = tmp_path / "list.csv"
    blank = delimiter * 2
    table.write_bytes(f"\ufeff{header}{end}{delimiter.join((address, 'rose', 'cc0'))}{end}{blank}{end}".encode())
    scraped = bring(web, out, sources=(f"urls:{table}",))
    assert scraped.new == 1
    assert only(scraped.yields, "rose", f"urls:{table}").lost == {}, "a row of empty cells is none"


def test_a_list_without_a_column_of_urls_is_refused(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    (table := tmp_path / "list.csv").write_text("address;label\nx;rose\n")
    with pytest.raises(UserError, match="no column `url`"):
        bring(web, out, sources=(f"urls:{table}",))
    (entries := tmp_path / "list.json").write_text('[null, {"address": "x"}]')
    with pytest.raises(UserError, match="no `url` in any of its 2 entries"):
        bring(web, out, sources=(f"urls:{entries}",))


@pytest.mark.parametrize(("name", "odd"), [("list.json", 4), ("list.jsonl", 4), ("list.csv", 1)])
def test_odd_entries_of_a_list_are_skipped_and_counted(
    web: LocalWeb, out: Path, tmp_path: Path, name: str, odd: int
) -> None:
    good = {"url": f"{web.url}/openverse/pictures/0/original.jpg", "label": "rose", "license": "cc0"}
    entries = [None, 5, {"url": None}, {"url": "", "label": "rose"}, good]
    table = tmp_path / name
    if name.endswith(".csv"):
        table.write_text(f"url,label,license\n,rose,cc0\n{good['url']},rose,cc0\n")
    elif name.endswith(".json"):
        table.write_text(json.dumps(entries))
    else:
        table.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    scraped = bring(web, out, sources=(f"urls:{table}",))
    assert scraped.new == 1
    assert sum(one.lost["odd record"] for one in scraped.yields) == odd


def test_a_list_says_what_it_says_by_others_names_for_it_too(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    """A licence in a column `licence` is one, and must not be lost without a word."""
    listing = tmp_path / "list.csv"
    listing.write_text(
        "Image_URL,class,creator,licence,source_page,rating\n"
        f"{web.url}/openverse/pictures/0/original.jpg,rose,Ann Example,CC BY 4.0,https://example.org/p/1,5\n"
    )
    scraped = bring(web, out, "rose", sources=(f"urls:{listing}",))
    (row,) = csv.DictReader(io.StringIO(scraped.metadata[0].read_text()))
    assert row["author"] == "Ann Example"
    assert row["license"] == "CC BY 4.0"
    assert row["landing_page"] == "https://example.org/p/1"
    (note,) = scraped.notes
    assert "the column 'rating' is not read" in note
    assert "licence" not in note


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "javascript:alert(1)", "data:image/png;base64,AA", "a.jpg", "ftp://x/y.jpg"]
)
def test_an_address_that_is_not_on_the_web_is_not_to_be_tried(
    web: LocalWeb, out: Path, tmp_path: Path, address: str
) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{address}\n{web.url}/openverse/pictures/0/original.jpg\n")
    shown = preview(
        out, [Query("rose", "rose", "rose")], ScrapeOptions(limit=5, licenses=None), sources=[f"urls:{listing}"],
        network=web.network(), keys={},
    )  # fmt: skip
    assert len(shown.listed) == 1
    (found,) = shown.yields
    assert found.lost == {"refused address": 1, "to be tried": 1}


def test_pictures_of_a_folder_are_not_said_to_be_from_the_web(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jpg").write_bytes(draw(5))
    text = bring(web, out, "rose", sources=(f"folder:{tmp_path / 'mine'}",), licenses=None).credits.read_text()
    assert "in a folder" in text
    assert "the web" not in text
    assert "]()" not in text, "a link that leads nowhere"


def test_a_local_folder_is_a_source(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    mine = plant(tmp_path / "mine", {"Rose": 3, "tulip": 2})
    (mine / "Rose" / "notes.txt").write_text("not a picture")
    (mine / "metadata.csv").write_text("File_Name;author;License\nRose/0000.jpg;Anna;cc0\n")
    assert bring(web, out, sources=(f"folder:{mine}",)).new == 1
    scraped = bring(web, out, sources=(f"folder:{mine}",), licenses=None)
    assert (scraped.new, len(files(out))) == (2, 3)
    assert only(scraped.yields, "rose", f"folder:{mine}").lost == {"not a picture": 1}
    assert len(files(mine)) == 5, "it is copied from, not moved"
    assert web.log == []


def test_mistakes_get_one_sentence(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no source 'bing'"):
        bring(web, out, sources=("bing",))
    with pytest.raises(UserError, match="FLICKR_API_KEY"):
        bring(web, out, sources=("flickr",), keys={})
    with pytest.raises(UserError, match="--source urls:FILE"):
        bring(web, out, sources=("urls",), licenses=None)
    with pytest.raises(UserError, match="no folder"):
        bring(web, out, sources=(f"folder:{tmp_path}/nowhere",))
    with pytest.raises(UserError, match="--license any"):
        bring(web, out, sources=("duckduckgo",))
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(UserError):
        bring(web, occupied)
    names = tmp_path / "names.json"
    names.write_text('{"../../x": ["a", "b"]}')
    with pytest.raises(UserError, match="cannot be a folder's name"):
        plan_queries(names)


def _no_zip(folder: Path) -> str:
    (folder / "a.zip").write_bytes(b"no zip")
    return f"gbif_download:{folder / 'a.zip'}"


def _no_descriptor(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("meta.xml", "<!DOCTYPE archive []><archive/>")
    return f"gbif_download:{folder / 'a.zip'}"


def _tables(folder: Path, packed: bytes) -> str:
    for name in ("taxa", "observations", "photos", "observers"):
        (folder / f"{name}.csv.gz").write_bytes(packed)
    return f"inaturalist_open_data:{folder}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda folder: f"urls:{folder / 'missing.txt'}", "cannot be read"),
        (lambda folder: f"folder:{folder / 'missing'}", "There is no folder"),
        (lambda folder: f"gbif_download:{folder / 'missing.zip'}", "There is no file"),
        (_no_zip, "damaged or no zip"),
        (_no_descriptor, "has a document type"),
        (lambda folder: f"inaturalist_open_data:{folder / 'missing'}", "lacks taxa.csv.gz"),
        (lambda folder: _tables(folder, b"\x1f\x8bno gzip"), "is damaged"),
        (lambda folder: _tables(folder, gzip.compress(b"a\tb\n")), "has no column"),
    ],
    ids=["urls", "folder", "gbif_download", "no zip", "no descriptor", "tables", "no gzip", "other tables"],
)
def test_a_source_that_cannot_be_opened_is_said_before_anything_is_made(
    source: Callable[[Path], str], said: str, web: LocalWeb, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(UserError, match=said):
        bring(web, out, "rose", sources=("openverse", source(tmp_path / "source")))
    assert not out.exists()
    assert not web.visits("/openverse/")


@pytest.mark.parametrize("contact", ["Zoë Müller", "a\nX-Other: 1", "half \udcff", "N\0L", "x" * 1000])
def test_a_contact_that_no_header_can_carry_is_said_before_anything_is_made(
    contact: str, web: LocalWeb, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="cannot be sent to a service: give --contact with an e-mail address"):
        bring(web, out, "rose", network=web.network(contact=contact))
    if "\0" not in contact:
        monkeypatch.setenv("FLORILEGIUM_CONTACT", contact)
        with pytest.raises(UserError, match="cannot be sent"):
            bring(web, out, "rose", network=web.network(contact=""))
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a file name that is no text")
def test_a_source_whose_name_is_no_text_is_said(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    listing = tmp_path / os.fsdecode(b"\xff.csv")
    listing.write_text("url\nhttp://127.0.0.1:9/a.jpg\n", encoding="utf-8")
    with pytest.raises(UserError, match="has letters that are no text"):
        bring(web, out, "rose", sources=(f"urls:{listing}",))
    assert not out.exists()


def test_classes_are_chosen_by_folder_or_name(tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text(
        '{"1": ["pink primrose", "Oenothera speciosa"], "21": ["fire lily", "Gloriosa superba"], "3": "x"}'
    )
    assert [query.label for query in plan_queries(names)] == ["1", "21", "3"]
    assert [query.text for query in plan_queries(names, "Fire Lily, 1")] == ["Oenothera speciosa", "Gloriosa superba"]
    with pytest.raises(UserError, match="did you mean fire lily"):
        plan_queries(names, "fire lilly")
    with pytest.raises(UserError, match="names no class"):
        plan_queries(names, " , ")
    assert Query("5", "x", "Calendula officinalis flower head").taxon == "Calendula officinalis"


def test_two_scrapes_do_not_work_in_one_place(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=1)
    other = (
        "import sys; from pathlib import Path; from curate.files.lock import locked\n"
        "with locked(Path(sys.argv[1]), 'clean it'): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", other, str(out)], stdin=PIPE, stdout=PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        asked = len(web.log)
        with pytest.raises(UserError, match=r"`clean it` \(process \d+, since .* is at work"):
            bring(web, out, "rose", limit=2)
        assert len(web.log) == asked
        process.communicate()
    assert bring(web, out, "rose", limit=2).new == 1


def test_google_says_what_it_is_before_it_starts() -> None:
    (warning,) = warnings_for(("google",), {}, ScrapeOptions(licenses=None))
    assert "licence" in warning
    assert "terms" in warning
    assert "google" not in auto_order(os.environ)
    with pytest.raises(UserError, match="--license any"):
        warnings_for(("google",), {}, ScrapeOptions(licenses=OPEN))


def test_the_default_network_is_the_real_web() -> None:
    network = Network()
    assert network.loopback_ports == frozenset()
    assert network.services == {}
    assert network.obey_robots
    assert network.obey_robots_tag


def test_a_dry_run_that_no_source_answered_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is told to go on with what gave nothing."""
    nothing = Preview([], [], ["openverse: cannot be reached", "wikimedia: cannot be reached"])
    monkeypatch.setattr("curate.scraping.preview.preview", lambda *_args, **_options: nothing)
    done = command("scrape", "--out", tmp_path / "data", "--classes", "21", "--dry-run")
    assert done.code == 1
    assert "Could not go on with openverse: cannot be reached." in done.err
    assert "Next:" not in done.out


def test_new_pictures_go_to_train_by_the_name_that_it_has(tmp_path: Path) -> None:
    plant(tmp_path / "Training", {"rose": 1, "iris": 1})
    plant(tmp_path / "Testing", {"rose": 1, "iris": 1})
    assert class_folder(open_dataset(tmp_path), "rose") == ("Training/rose", "train")
