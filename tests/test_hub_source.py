"""`hf:DATASET`: pictures of a class out of a dataset's Parquet files, which the hub gives in parts."""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow
import pytest
from pyarrow import parquet

from curate.errors import UserError
from curate.scrape import Scraped, scrape
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.hub.columns import choose_columns
from curate.sources.hub.picture_rows import PictureRows
from curate.sources.hub.row_spool import RowSpool
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from curate.web.hosts import HostBudget
from testing.localweb import network_to
from testing.webserver import Reply, Request, Server, Visit
from tests.bringing import ledger, only
from tests.pictures import draw

LICENSED = {"license": "cc-by-4.0", "pretty_name": "Garden flowers"}
FLOWERS = ("fire_lily", "iris", "rose")
LILY, IRIS, ROSE = (Query(str(place), name, name) for place, name in ((21, "fire lily"), (7, "iris"), (9, "rose")))
REVISION = "6bc9bcd6eb1f" + "0" * 28
IMAGE = {"_type": "Image"}

Json = dict[str, Any]


def garden(
    labels: Sequence[object], features: Json | None = None, rows_in_group: int = 4, first: int = 0, **columns: Any
) -> bytes:
    """A Parquet file as the hub writes it: `image` with bytes and path, `label`, and the features in its metadata."""
    pictures = [
        {"bytes": draw(first + number, (320, 240)), "path": f"image_{number:05d}.jpg"} for number in range(len(labels))
    ]
    table = pyarrow.table({"image": pictures, "label": list(labels), **columns})
    stated = features or {"image": IMAGE, "label": {"names": list(FLOWERS), "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": stated}})})
    return written(table, rows_in_group)


def written(table: pyarrow.Table, rows_in_group: int = 4) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=rows_in_group)
    return file.getvalue()


@dataclass
class Hub:
    """The hub with one dataset. Its files lie on another host, to which redirects lead, and which gives `leave` parts.

    A token is wanted where `token` is set: by a gated dataset for its files, by a private one for all.
    """

    files: dict[str, bytes]
    card: Json = field(default_factory=lambda: dict(LICENSED))
    token: str = ""
    private: bool = False
    leave: int = 1000
    whole: bool = False
    revision: str = REVISION
    parts: int = 0
    elsewhere: str = ""
    gone: tuple[str, ...] = ()

    def __call__(self, request: Request) -> Reply:
        path = request.path
        if path == "/robots.txt":
            return Reply(status=404)
        known = not self.token or request.headers.get("authorization") == f"Bearer {self.token}"
        if path.startswith("/api/datasets/old-name"):
            return Reply(status=307, headers={"Location": path.replace("old-name", "anna/flowers", 1)})
        if not path.startswith(("/api/datasets/anna/flowers", "/datasets/anna/flowers", "/cdn")) or (
            self.private and not known
        ):
            return Reply(b'{"error": "Invalid username or password."}', "application/json", 401)
        if path == "/api/datasets/anna/flowers":
            tags = [f"license:{word}" for word in ([self.card["license"]] if "license" in self.card else [])]
            about = {"_id": "1", "id": "anna/flowers", "author": "anna", "sha": "7857973aa", "gated": bool(self.token),
                     "private": self.private, "cardData": self.card, "tags": tags}  # fmt: skip
            return Reply(json.dumps(about).encode(), "application/json")
        if path.startswith("/api/datasets/anna/flowers/revision/"):
            asked = path.removeprefix("/api/datasets/anna/flowers/revision/")
            assert asked in ("refs/convert/parquet", REVISION), asked
            if asked in self.gone:
                return Reply(b'{"error": "Invalid rev id: it is gone"}', "application/json", 404)
            names = [{"rfilename": name} for name in (".gitattributes", *self.files)]
            sha = REVISION if asked == REVISION else self.revision
            return Reply(json.dumps({"id": "anna/flowers", "sha": sha, "siblings": names}).encode(), "application/json")
        if path.startswith("/datasets/"):
            if not known:
                said = b'{"error": "Access to dataset anna/flowers is restricted. You must be authenticated."}'
                return Reply(said, "application/json", 401, {"X-Error-Code": "GatedRepo"})
            self.parts = 0
            if path.split("/")[5] in self.gone:
                return Reply(b"Invalid rev id", "text/plain", 404)
            place = path.replace("/datasets/anna/flowers/resolve", f"{self.elsewhere}/cdn", 1)
            return Reply(status=302, headers={"Location": place})
        assert "authorization" not in request.headers, "a token is for the hub alone"
        self.parts += 1
        if self.parts > self.leave:
            return Reply(b"<Error>expired</Error>", "application/xml", 403)
        return self._part(unquote(path).split("/", 3)[3], request.headers.get("range", ""))

    def _part(self, name: str, span: str) -> Reply:
        content = self.files[name]
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", span)
        if self.whole or asked is None:
            return Reply(content)
        start = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        stop = min(int(asked[2]) + 1, len(content)) if asked[1] else len(content)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        return Reply(content[start:stop], status=206, headers=headers)


@contextmanager
def serving(files: dict[str, bytes] | bytes, **about: Any) -> Iterator[tuple[Hub, Server, Any]]:
    hub = Hub({"default/train/0000.parquet": files} if isinstance(files, bytes) else files, **about)
    with Server(hub) as server:
        hub.elsewhere = f"http://localhost:{server.port}"
        budgets = dict.fromkeys(("127.0.0.1", "localhost"), HostBudget(connections=16))
        yield hub, server, network_to(server.port, services={"hf": server.url}, budgets=budgets)


def gather(
    network: Any, out: Path, *queries: Query, spec: str = "anna/flowers", limit: int = 100, **options: Any
) -> Scraped:
    keys = options.pop("keys", {})
    wanted = ScrapeOptions(limit, options.pop("licenses", OPEN), 100, options.pop("per_author", None))
    return scrape(out, queries or (LILY,), wanted, sources=(f"hf:{spec}",), network=network, keys=keys)


def digests(out: Path, label: str) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "raw" / label).glob("*")}


def drawn(*numbers: int) -> set[str]:
    return {hashlib.sha256(draw(number, (320, 240))).hexdigest() for number in numbers}


def received(server: Server, hub: Hub) -> int:
    """Bytes of the dataset's files that were sent."""

    def size(visit: Visit) -> int:
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", visit.headers["range"]).groups()  # type: ignore[union-attr]
        whole = len(next(iter(hub.files.values())))
        return int(last) + 1 - int(first) if first else min(int(last), whole)

    return sum(size(visit) for visit in server.log if visit.path.startswith("/cdn"))


def test_the_pictures_of_a_class_come_with_their_own_bytes_and_are_credited(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(garden([0, 1, 2, 0, 1, None, 0, 2])) as (_, _, network):
        report = gather(network, out, LILY, IRIS)
    assert digests(out, "21") == drawn(0, 3, 6), "'fire_lily' is the class that is called fire lily"
    assert digests(out, "7") == drawn(1, 4)
    assert [one.found for one in report.yields] == [3, 2]
    credit = (out / "CREDITS.md").read_text(encoding="utf-8")
    assert (
        "- [Garden flowers, row 3](https://huggingface.co/datasets/anna/flowers) by "
        "[anna](https://huggingface.co/anna), [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), via hf: "
    ) in credit
    told = next(note for note in report.notes if note.startswith("21 at hf:"))
    assert "anna/flowers default/train at 6bc9bcd6eb1f, its column label, under CC BY 4.0" in told
    urls = [url for (url,) in ledger(out).execute("SELECT url FROM credits WHERE source = 'hf' ORDER BY url")]
    assert urls[0] == f"hf://datasets/anna/flowers@{REVISION}/default/train/0000.parquet?row=0"


def test_pictures_of_a_dataset_are_of_no_one_origin(tmp_path: Path) -> None:
    """All have one page and one owner, which says nothing of what they show."""
    out = tmp_path / "out"
    with serving(garden([0] * 4)) as (_, _, network):
        gather(network, out)
    assert ledger(out).execute("SELECT DISTINCT provenance_group FROM credits").fetchall() == [("",)]


def test_a_datasets_owner_may_give_more_than_one_author_does(tmp_path: Path) -> None:
    """They have put the pictures together, and have hardly taken them all."""
    with serving(garden([0] * 6)) as (_, _, network):
        assert gather(network, tmp_path / "out", per_author=2).new == 6


def test_three_copies_in_a_dataset_are_no_placeholder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    same = [{"bytes": draw(1, (320, 240)), "path": None}] * 3 + [{"bytes": draw(2, (320, 240)), "path": None}]
    table = pyarrow.table({"image": same, "label": ["fire lily"] * 4})
    with serving(written(table)) as (_, _, network):
        report = gather(network, out)
    assert digests(out, "21") == drawn(1, 2)
    assert report.yields[0].lost["duplicate"] == 2


def test_a_second_run_goes_on_where_the_first_one_was_and_reads_no_page_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(garden([0] * 6)) as (hub, server, network):
        assert gather(network, out, limit=2).new == 2
        hub.revision = "f" * 40  # somebody has pushed a new state: this search keeps to its own
        server.log.clear()
        assert gather(network, out, limit=6).new == 4
        paths = {visit.path for visit in server.log if visit.path.startswith("/cdn")}
        assert paths == {f"/cdn/{REVISION}/default/train/0000.parquet"}
        server.log.clear()
        assert gather(network, out, limit=6).new == 0
        assert server.log == []
    assert digests(out, "21") == drawn(*range(6))


def test_a_search_begins_anew_where_its_revision_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub writes the branch of some datasets anew, without a history."""
    monkeypatch.setattr("curate.sources.hf.PAGE_SIZE", 2)
    out = tmp_path / "out"
    with serving(garden([0] * 6)) as (hub, _, network):
        assert gather(network, out, limit=1).new == 1
        hub.gone, hub.revision = (REVISION,), "f" * 40
        report = gather(network, out, limit=6)
        assert digests(out, "21") == drawn(*range(6))
    found = only(report.yields, "21", "hf:anna/flowers")
    assert (found.unique, found.lost["dead link"], found.lost["duplicate"]) == (6, 1, 1)


def test_row_groups_without_the_class_are_not_read(tmp_path: Path) -> None:
    """Forty rows sorted by class, in ten row groups, of which two hold lilies; each picture is some 20 KiB."""
    labels = [1] * 16 + [0] * 8 + [2] * 16
    with serving(garden(labels)) as (hub, server, network):
        assert gather(network, tmp_path / "out").new == 8
        whole = len(next(iter(hub.files.values())))
        brought = received(server, hub)
        assert whole * 0.2 < brought < whole * 0.2 + 2 * (64 << 10)
        led = [visit for visit in server.log if visit.path.startswith("/datasets/")]
        assert len(led) == 1, "the host of the files is asked from then on"


def test_labels_of_row_groups_that_cannot_hold_a_class_are_not_read() -> None:
    rows = PictureRows(io.BytesIO(garden([1] * 4 + [0, 2, 0, 2] + [2] * 4)))
    columns = choose_columns(rows.features(), "", lambda label: label == "fire_lily", rows.first_values)
    codes, names = rows.labels(columns, {0})
    assert codes.tolist() == [-1] * 4 + [0, 2, 0, 2] + [-1] * 4
    assert names == list(FLOWERS)


def test_of_a_mixed_dataset_each_row_group_is_read_once_for_all_classes(tmp_path: Path) -> None:
    with serving(garden([0, 1, 2, 1] * 5)) as (hub, server, network):
        assert gather(network, tmp_path / "out", LILY, IRIS, ROSE).new == 20
        whole = len(next(iter(hub.files.values())))
        assert received(server, hub) < whole + 2 * (64 << 10)


def test_one_row_group_at_a_time_is_in_memory() -> None:
    """Eight row groups of 4 MiB each."""
    heavy = [{"bytes": bytes([number]) * (1 << 20), "path": None} for number in range(32)]
    file = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"image": heavy}), file, row_group_size=4, compression="none", use_dictionary=False
    )
    usual = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(usual)
    pyarrow.set_memory_pool(pool)
    try:
        table = PictureRows(file)
        sizes = [len(content) for group in range(8) for _, content in table.pictures("image", group, range(32))]
    finally:
        pyarrow.set_memory_pool(usual)
    assert sizes == [1 << 20] * 32
    assert (pool.max_memory() or 0) < 12 << 20


def test_a_row_group_that_is_too_large_for_memory_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.sources.hub.picture_rows.LARGEST_GROUP", 100_000)
    with serving(garden([0] * 24, rows_in_group=24)) as (_, server, network):
        report = gather(network, tmp_path / "out")
        assert len([visit for visit in server.log if visit.path.startswith("/cdn")]) == 1, "but for the end, nothing"
    ((_, why), *_) = report.shortfalls[0].failures
    assert re.search(r"its row group 0 has \d MiB of pictures, too many to be read at once", why)


@pytest.mark.parametrize(
    ("card", "name", "taken"),
    [
        ({"license": "cc0-1.0"}, "CC0 1.0", True),
        ({"license": ["cc-by-sa-3.0"]}, "CC BY-SA 3.0", True),
        ({"license": "cc-by-nc-4.0"}, "CC BY-NC 4.0", False),
        ({"license": "mit"}, "", False),
        ({"license": "other", "license_name": "oxford-flowers"}, "", False),
        ({"license": "unknown"}, "", False),
        ({"license": ["cc-by-4.0", "mit"]}, "", False),
        ({}, "", False),
    ],
    ids=["cc0", "list of one", "non-commercial", "of software", "other", "unknown", "several", "none"],
)
def test_the_licence_is_the_cards(card: Json, name: str, taken: bool, tmp_path: Path) -> None:
    with serving(garden([0, 0]), card=card) as (_, server, network):
        report = gather(network, tmp_path / "out")
        assert report.new == (2 if taken else 0)
        if not taken:
            assert any("--license any" in note for note in report.notes)
            assert not [visit for visit in server.log if visit.path.startswith("/cdn")], "nothing is read in vain"
        if words := card.get("license_name"):
            assert any(words in note for note in report.notes)
        every = gather(network, tmp_path / "any", licenses=None)
    assert every.new == 2
    (licence,) = {licence for (licence,) in ledger(tmp_path / "any").execute("SELECT license FROM credits")}
    assert licence == name


def test_a_gated_dataset_needs_a_token(tmp_path: Path) -> None:
    with serving(garden([0]), token="hf_secret") as (_, server, network):
        (problem,) = gather(network, tmp_path / "out").problems
        assert "accept its terms on https://huggingface.co/datasets/anna/flowers and set HF_TOKEN" in problem
        assert "You must be authenticated" in problem
        assert gather(network, tmp_path / "out", keys={"HF_TOKEN": "hf_secret"}).new == 1
        assert {visit.headers.get("authorization") for visit in server.log} >= {"Bearer hf_secret"}


def test_a_dataset_that_is_not_there_or_private_is_named(tmp_path: Path) -> None:
    with serving(garden([0]), private=True, token="x") as (_, _, network):
        for spec in ("anna/flowers", "anna/flower"):
            (problem,) = gather(network, tmp_path / "out", spec=spec).problems
            assert f"there is no dataset '{spec}' that is open to you" in problem
            assert "Invalid username or password." in problem


def test_a_dataset_is_found_under_its_former_name(tmp_path: Path) -> None:
    with serving(garden([0])) as (_, _, network):
        assert gather(network, tmp_path / "out", spec="old-name").new == 1
    (page,) = ledger(tmp_path / "out").execute("SELECT DISTINCT landing_page FROM credits").fetchone()
    assert page == "https://huggingface.co/datasets/anna/flowers"


@pytest.mark.parametrize("spec", ["", "anna flowers", "anna/flowers/x", "../x", "anna/flowers:a:b:c:d"])
def test_what_names_no_dataset_is_refused(spec: str, tmp_path: Path) -> None:
    with serving(garden([0])) as (_, server, network):
        with pytest.raises(UserError, match=r"--source hf:OWNER/NAME"):
            gather(network, tmp_path / "out", spec=spec)
        assert server.log == []


def test_configurations_and_splits_are_named(tmp_path: Path) -> None:
    files = {
        "large/train/0000.parquet": garden([0], first=0),
        "small/partial-train/0000.parquet": garden([0], first=10),
        "small/partial-train/0001.parquet": garden([1, 0], first=20),
        "small/test/0000.parquet": garden([0], first=30),
    }
    with serving(files) as (_, _, network):
        (problem,) = gather(network, tmp_path / "a").problems
        assert "has the configurations large, small: name one, as in hf:anna/flowers:large" in problem
        report = gather(network, tmp_path / "b", spec="anna/flowers:small")
        assert digests(tmp_path / "b", "21") == drawn(10, 21), "train, from both of its files"
        assert "small/train (and not test)" in report.notes[0]
        assert "the hub converts the first 5 GB alone" in report.notes[0]
        gather(network, tmp_path / "c", spec="anna/flowers:small:test")
        assert digests(tmp_path / "c", "21") == drawn(30)
        (problem,) = gather(network, tmp_path / "d", spec="anna/flowers:small:valid").problems
        assert "has no split 'valid' in 'small': name one of train, test" in problem


def test_of_several_columns_of_labels_the_one_that_knows_the_classes_is_taken_and_said(tmp_path: Path) -> None:
    features = {
        "image": IMAGE,
        "label": {"names": ["red", "blue"], "_type": "ClassLabel"},
        "species": {"names": list(FLOWERS), "_type": "ClassLabel"},
    }
    with serving(garden([0, 1], features, species=[1, 0])) as (_, _, network):
        report = gather(network, tmp_path / "a")
        assert digests(tmp_path / "a", "21") == drawn(1)
        assert "its column species (others: label)" in report.notes[0]
        gather(network, tmp_path / "b", Query("red", "red", "red"), spec="anna/flowers#label")
        assert digests(tmp_path / "b", "red") == drawn(0)
        (problem,) = gather(network, tmp_path / "c", spec="anna/flowers#kind").problems
        assert "has no column 'kind' of labels, but label, species" in problem


def test_names_of_classes_may_stand_in_the_column_itself(tmp_path: Path) -> None:
    """Without the library's metadata; a text beside them that names no class is not taken for the label."""
    rows = [{"bytes": draw(number, (320, 240)), "path": None} for number in range(6)]
    labels = ["Rose", "fire lily", None, "Fire Lily", "iris", "rose"]
    table = pyarrow.table({"caption": list("abcdef"), "photo": rows, "flower": labels})
    with serving(written(table, 2)) as (_, _, network):
        report = gather(network, tmp_path / "out", LILY, ROSE)
    assert digests(tmp_path / "out", "21") == drawn(1, 3)
    assert digests(tmp_path / "out", "9") == drawn(0, 5)
    assert "its column flower (others: caption)" in report.notes[0]


def test_a_class_that_the_dataset_has_not_is_said_with_what_it_has(tmp_path: Path) -> None:
    with serving(garden([0])) as (_, _, network):
        report = gather(network, tmp_path / "out", Query("4", "lotus", "lotus"))
    assert "no label is called 'lotus', but 'fire_lily', 'iris', 'rose'" in report.notes[0]


def test_labels_that_are_numbers_are_not_taken_for_our_folders(tmp_path: Path) -> None:
    """A dataset counts its classes from 0, and our folders are Oxford's: 21 there is another flower."""
    features = {"image": IMAGE, "label": {"names": [str(n) for n in range(30)], "_type": "ClassLabel"}}
    with serving(garden([21, 21], features)) as (_, _, network):
        assert gather(network, tmp_path / "out").new == 0
        assert gather(network, tmp_path / "out", Query("lily", "21", "fire lily")).new == 2


def test_pictures_may_be_urls_which_are_fetched_as_any_other(tmp_path: Path) -> None:
    served = []

    def photos(request: Request) -> Reply:
        if request.path == "/robots.txt":
            return Reply(b"User-agent: *\nDisallow: /2.jpg\n", "text/plain")
        served.append(request.path)
        return Reply(draw(int(request.path[1:-4]), (320, 240)), "image/jpeg")

    with Server(photos) as other:
        urls = [f"{other.url}/{number}.jpg" for number in range(3)] + [None]
        table = pyarrow.table({"image_url": urls, "label": ["fire lily"] * 4})
        with serving(written(table)) as (_, _, network):
            ports = network.loopback_ports | {other.port}
            report = gather(network_to(other.port, services=network.services, loopback_ports=ports), tmp_path / "out")
    assert digests(tmp_path / "out", "21") == drawn(0, 1)
    assert served == ["/0.jpg", "/1.jpg"]
    found = only(report.yields, "21", "hf:anna/flowers")
    assert (found.lost["robots.txt"], found.lost["odd record"]) == (1, 1)


def test_the_host_of_the_files_is_asked_anew_when_its_leave_has_run_out(tmp_path: Path) -> None:
    with serving(garden([0] * 12), leave=2) as (_, server, network):
        assert gather(network, tmp_path / "out").new == 12
        assert len([visit for visit in server.log if visit.path.startswith("/datasets/")]) > 1


@pytest.mark.parametrize(
    ("files", "about", "says"),
    [
        (b"PAR1" + bytes(200) + b"PAR1", {}, "cannot be read as Parquet"),
        (b"nothing of the kind", {}, "cannot be read as Parquet"),
        ({}, {}, "holds no Parquet files of 'anna/flowers'"),
        (written(pyarrow.table({"text": ["a"], "label": ["b"]})), {}, "has no column of pictures; it has text, label"),
        (garden([0], {"image": IMAGE}), {}, "has no column of labels with names"),
        (garden([0]), {"whole": True}, "gives its files only whole"),
    ],
    ids=["broken", "no Parquet", "not converted", "no pictures", "no labels", "no parts"],
)
def test_what_cannot_be_read_is_said(files: Any, about: Json, says: str, tmp_path: Path) -> None:
    with serving(files, **about) as (_, _, network):
        (problem,) = gather(network, tmp_path / "out").problems
    assert says in problem


def test_a_row_without_a_picture_is_counted_and_the_others_come(tmp_path: Path) -> None:
    rows = [
        {"bytes": draw(0, (320, 240)), "path": None},
        {"bytes": None, "path": "x.jpg"},
        {"bytes": b"text", "path": ""},
    ]
    with serving(written(pyarrow.table({"image": rows, "label": ["fire lily"] * 3}))) as (_, _, network):
        report = gather(network, tmp_path / "out")
    assert report.new == 1
    assert only(report.yields, "21", "hf:anna/flowers").lost["not a picture"] == 2


def test_a_dry_run_lists_what_would_be_read_and_reads_no_picture(tmp_path: Path) -> None:
    with serving(garden([0] * 8 + [1] * 32)) as (hub, server, network):
        shown = preview(
            tmp_path / "out", [LILY], ScrapeOptions(5, OPEN, 100), sources=("hf:anna/flowers",), network=network,
            keys={},
        )  # fmt: skip
        assert len(shown.listed) == 5
        assert received(server, hub) < 2 * (64 << 10)


def test_a_spool_that_is_full_forgets_nothing_and_takes_no_more() -> None:
    spool = RowSpool(largest=10)
    for row, content in enumerate((b"abcd", b"efghijk", b"lmnop")):
        spool.put(("a", row), content)
    assert [spool.get(("a", row)) for row in range(4)] == [b"abcd", None, b"lmnop", None]


def test_a_column_that_is_not_what_the_metadata_says_is_said(tmp_path: Path) -> None:
    features = {"image": IMAGE, "label": {"names": list(FLOWERS), "_type": "ClassLabel"}}
    with serving(garden(["fire lily", "iris"], features)) as (_, _, network):
        (problem,) = gather(network, tmp_path / "out").problems
    assert "0000.parquet cannot be read as Parquet" in problem
