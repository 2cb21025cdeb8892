"""What a scrape may overwrite and remove: what it wrote itself, inside its dataset, and nothing else."""

import csv
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.credits import write_credits, write_metadata
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.scan import scan
from curate.scraping.incoming import FOLDER
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.localweb import LocalWeb
from tests.bringing import bring, files, ledger
from tests.pictures import draw, plant

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def web(tmp_path: Path) -> Iterator[LocalWeb]:
    with LocalWeb(plant(tmp_path / "garden", {"rose": 12, "iris": 8})) as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "flower_data"


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["CREDITS.md", "raw/metadata.csv", f"{FOLDER}/letter.txt"])
def test_a_users_file_is_refused_before_anything_is_fetched(name: str, web: LocalWeb, out: Path) -> None:
    plant(out / "raw", {"rose": 1})
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine\n")
    with pytest.raises(UserError, match="move it away"):
        bring(web, out, "rose")
    assert web.log == []
    assert (out / name).read_text() == "mine\n"


def test_the_folders_that_an_earlier_version_used_are_left_alone(web: LocalWeb, out: Path) -> None:
    (out / "incoming").mkdir(parents=True)
    (out / "incoming" / "1.jpg").write_bytes(draw(1))
    (out / "raw").mkdir()
    (out / "raw" / ".metadata.csv.part").write_text("mine")
    (out / ".CREDITS.md.part").write_text("mine")
    bring(web, out, "rose")
    assert (out / "incoming" / "1.jpg").read_bytes() == draw(1)
    assert (out / "raw" / ".metadata.csv.part").read_text() == "mine"
    assert (out / ".CREDITS.md.part").read_text() == "mine"
    assert not (out / FOLDER).exists(), "nothing is on its way any more"


def test_its_own_files_are_written_again_until_somebody_edits_them(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=2)
    first = (out / "CREDITS.md").read_text()
    bring(web, out, "rose", limit=4)
    assert (out / "CREDITS.md").read_text() != first
    for name in ("CREDITS.md", "raw/metadata.csv"):
        whole = (out / name).read_bytes()
        (out / name).write_bytes(whole + b"mine\n")
        asked = len(web.log)
        with pytest.raises(UserError, match="is not as this program wrote it"):
            bring(web, out, "rose", limit=6)
        assert len(web.log) == asked
        assert (out / name).read_bytes() == whole + b"mine\n"
        bring(web, out, "rose", limit=4, force=True)
        assert (out / name).read_bytes() == whole


def test_a_run_stopped_between_the_table_and_its_record_goes_on(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=2)
    old = (out / "raw" / "metadata.csv").read_bytes()
    bring(web, out, "rose", limit=4)
    new = (out / "raw" / "metadata.csv").read_bytes()
    with ledger(out) as db:
        # As a kill leaves it right after the file was written, and right before: both digests are on record.
        db.execute("INSERT INTO written VALUES ('raw/metadata.csv', ?)", (hashlib.sha256(old).hexdigest(),))
    db.close()
    bring(web, out, "rose", limit=4)
    assert (out / "raw" / "metadata.csv").read_bytes() == new != old
    (out / "raw" / "metadata.csv").write_bytes(old)
    with ledger(out) as db:
        db.execute("INSERT INTO written VALUES ('raw/metadata.csv', ?)", (hashlib.sha256(old).hexdigest(),))
    db.close()
    bring(web, out, "rose", limit=4)
    assert (out / "raw" / "metadata.csv").read_bytes() == new


HOSTILE_PLACES = ["../victim.jpg", "/tmp/florilegium-victim.jpg", "raw/rose/../../../victim.jpg", "link/victim.jpg", ""]


@pytest.mark.parametrize("place", HOSTILE_PLACES)
def test_a_strangers_catalog_leads_no_file_outside(place: str, web: LocalWeb, out: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.jpg"
    victim.write_bytes(b"precious")
    stranger(out, tmp_path, place)
    with pytest.raises(UserError, match=r"no path inside|leads out"):
        bring(web, out, "rose")
    assert victim.read_bytes() == b"precious"
    assert not Path("/tmp/florilegium-victim.jpg").exists()
    assert web.log == []


def test_a_strangers_catalog_overwrites_nothing_inside_either(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    precious = out / "raw" / "rose" / "mine.jpg"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(draw(777))
    stranger(out, tmp_path, "raw/rose/mine.jpg")
    bring(web, out, "rose", limit=1)
    assert precious.read_bytes() == draw(777)
    assert (out / "raw" / "rose" / "mine~2.jpg").read_bytes() == draw(55)
    with Catalog.open(out / "catalog.sqlite") as catalog:
        assert {p.path for p in catalog.pictures()} == {f"raw/{name}" for name in files(out / "raw")}


def stranger(out: Path, tmp_path: Path, place: str) -> None:
    """A dataset with a picture that is kept and on its way to `place`, as its catalog says."""
    plant(out / "raw", {"rose": 0})
    with Catalog.open(out / "catalog.sqlite") as catalog:
        CandidateStore(catalog)
        row = (
            "rose",
            "openverse",
            "w",
            "p",
            "u",
            "i",
            "",
            "",
            "",
            "",
            "",
            "",
            None,
            None,
            "",
            "kept",
            "",
            "",
            0,
            "",
            place,
        )
        catalog.db.execute(f"INSERT INTO scrape_candidates VALUES (1{', ?' * len(row)}, '', '', 0, '', 0)", row)
    (out / FOLDER).mkdir()
    (out / "link").symlink_to(tmp_path)
    from curate.files.ours import WorkFolder

    WorkFolder(out / FOLDER).make()
    (out / FOLDER / f"1.{'0' * 64}.jpg").write_bytes(draw(55))


def test_a_new_picture_takes_no_other_files_name(web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=3)
    names = sorted(files(out / "raw"))
    again = out.with_name("again")
    (again / "raw" / "rose").mkdir(parents=True)
    for number, name in enumerate(names):
        (again / "raw" / name).write_bytes(draw(900 + number))
    bring(web, again, "rose", limit=6)
    found = files(again / "raw")
    assert len(found) == 6
    for number, name in enumerate(names):
        assert found[name] == draw(900 + number)


@pytest.mark.parametrize(
    ("source_id", "url"), [("../secret.jpg", "file:///{secret}"), ("link/secret.jpg", ""), ("way.jpg", "")]
)
def test_a_strangers_list_of_a_folder_leads_out_of_it_nowhere(
    source_id: str, url: str, web: LocalWeb, out: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(draw(7))
    mine = plant(tmp_path / "mine", {"rose": 2})
    bring(web, out, "rose", sources=(f"folder:{mine}",), licenses=None, limit=1)
    (mine / "link").symlink_to(tmp_path)
    (mine / "way.jpg").symlink_to(secret)
    with ledger(out) as db:
        db.execute("UPDATE scrape_candidates SET source_id = ?, url = ? WHERE id = 2", (source_id, secret.as_uri()))
    db.close()
    scraped = bring(web, out, "rose", sources=(f"folder:{mine}",), licenses=None, limit=2)
    assert scraped.yields[0].lost == {"refused address": 1}
    assert draw(7) not in files(out).values()


def test_a_cursor_that_somebody_else_has_written_starts_anew(web: LocalWeb, out: Path) -> None:
    sources = ("openverse", "wikimedia", "inaturalist", "gbif", "flickr")
    bring(web, out, "rose", sources=sources, limit=1)
    with ledger(out) as db:
        db.execute("UPDATE scrape_searches SET cursor = 'no cursor', complete = 0")
    db.close()
    for source in sources:
        if source != "inaturalist":  # its cursor is whatever the service calls an id
            assert bring(web, out, "rose", sources=(source,)).problems == []


LIMITED = """
import resource, sys
from pathlib import Path
from tests.bringing import *
from testing.localweb import network_to
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from curate.errors import UserError
try:
    scrape(Path(sys.argv[1]), [Query("rose", "rose", "rose")], ScrapeOptions(9, OPEN, 100), sources=("openverse",),
           network=network_to(int(sys.argv[2])), keys={})
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_disk_that_takes_no_more_is_called_that(tmp_path: Path, out: Path) -> None:
    """A limit on the size of files stands in for a full disk; a real one says ENOSPC in the same place."""
    garden = plant(tmp_path / "garden", {"rose": 4})
    for path in garden.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + os.urandom(1 << 20))
    with LocalWeb(garden) as web:
        command = [sys.executable, "-c", LIMITED, str(out), str(web.port), str(1 << 19)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "check the disk's free space" in done.stdout
    assert "at work" not in done.stdout


def words(sign: str) -> list[str]:
    return [f"{sign}HYPERLINK(1)", f"  {sign}1", sign]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\r", "＝", "\n="])
def test_no_cell_is_run_by_a_spreadsheet(sign: str, tmp_path: Path) -> None:
    label, name = f"{sign.strip() or '-'}rose", "x"
    root = tmp_path / "flat"
    plant(root, {label: 1, "b": 1})
    table, _ = credited(root, {"title": f"{sign}cmd", "author": f" {sign}cmd"}, {label: f"{sign}{name}"})
    for row in csv.reader(io.StringIO(table)):
        for value in row:
            assert not value.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "＝")), value
    rows = list(csv.DictReader(io.StringIO(table)))
    assert all((root / row["file_name"]).is_file() for row in rows)


EVIL = "a\x1b[31mb\u202ec\u2028d\x85`e`\n# f<script>&#x202e;[x](http://y)"


def test_credits_show_what_strangers_wrote_and_do_nothing(tmp_path: Path) -> None:
    root = tmp_path / "flat"
    plant(root, {"ro`se``": 1, "b": 1})
    facts = {
        "title": EVIL, "author": EVIL, "license": EVIL, "source": EVIL,
        "landing_page": "http://x/\x1b)\u202e<b>`\ud7ff [y](z)\\",
        "license_url": "https://x/ y",
    }  # fmt: skip
    table, text = credited(root, facts, {"b": EVIL})
    for sign in ("\x1b", "\u202e", "\u2028", "\x85"):
        assert sign not in text
        assert sign not in table
    assert "\n# f" not in text
    assert "<script>" not in text.replace("\\<", "")
    assert "&#x202e;" not in text.replace("\\&", "")
    assert "```ro`se``/0000.jpg```" in text
    assert "(http://x/%1B%29%E2%80%AE%3Cb%3E%60\ud7ff%20[y]%28z%29%5C)" in text
    assert len(table.splitlines()) == 3


def credited(root: Path, facts: dict[str, str], names: dict[str, str]) -> tuple[str, str]:
    """metadata.csv and CREDITS.md of a dataset whose pictures all have this credit."""
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        columns = [row[1] for row in catalog.db.execute("PRAGMA table_info(credits)")]
        for picture in catalog.pictures():
            values = {"source": "x", **facts, "sha256": picture.sha256}
            row = [values.get(column, "") for column in columns]
            catalog.db.execute(f"INSERT INTO credits VALUES ({', '.join('?' * len(row))})", row)
        (table,) = write_metadata(dataset, catalog, names)
        text = write_credits(dataset, catalog, names)
    return table.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")


def test_what_a_cell_says_is_read_back(web: LocalWeb, out: Path, tmp_path: Path) -> None:
    root = tmp_path / "flat"
    plant(root, {"-rose": 1})
    credited(root, {"title": "=1", "author": "@me", "license": "CC0 1.0"}, {})
    bring(web, out, "-rose", sources=(f"folder:{root}",))
    with ledger(out) as db:
        assert db.execute("SELECT title, author FROM credits").fetchall() == [("=1", "@me")]
    db.close()


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE scrape_candidates (id INTEGER PRIMARY KEY)",
        "CREATE TABLE scrape_searches (label TEXT, odd INTEGER)",
        "CREATE TABLE scrape_searches (label, source, words, cursor, repeats, complete, odd)",
    ],
)
def test_a_strangers_table_of_our_name_is_refused(table: str, web: LocalWeb, out: Path) -> None:
    plant(out / "raw", {"rose": 1})
    with Catalog.open(out / "catalog.sqlite") as catalog:
        catalog.db.execute(table)
    with pytest.raises(UserError, match="that this program did not make"):
        bring(web, out, "rose")
    with pytest.raises(UserError, match=r"The catalog .*flower_data/catalog\.sqlite holds a table"):
        preview(out, [Query("rose", "rose", "rose")], ScrapeOptions(3, OPEN, 100), network=web.network(), keys={})
    assert web.log == []


def test_a_dry_run_on_what_is_no_catalog(web: LocalWeb, out: Path) -> None:
    plant(out / "raw", {"rose": 1})
    (out / "catalog.sqlite").write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(UserError, match=r"The catalog .*flower_data/catalog\.sqlite"):
        preview(out, [Query("rose", "rose", "rose")], ScrapeOptions(3, OPEN, 100), network=web.network(), keys={})


@pytest.mark.parametrize("lacking", [["odd"], ["specimens"], ["odd", "specimens"]])
def test_an_older_ledger_learns_to_count_odd_records(lacking: list[str], web: LocalWeb, out: Path) -> None:
    bring(web, out, "rose", limit=2)
    with ledger(out) as db:
        for column in lacking:
            db.execute(f"ALTER TABLE scrape_searches DROP COLUMN {column}")
    db.close()
    assert bring(web, out, "rose", limit=4).new == 2
