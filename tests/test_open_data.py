"""iNaturalist Open Data: the right photos of the four tables, in one reading for all classes, and none of it twice."""

import asyncio
import gzip
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore
from curate.catalog.origin_facts import observed_photos
from curate.downloading import transfer
from curate.errors import UserError
from curate.origins import origins_of
from curate.progress import silent
from curate.scrape import Scraped, scrape
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import open_source
from curate.sources.open_data import photo_scan, table_rows
from curate.sources.open_data.kept_photos import FILE
from curate.sources.open_data.table_rows import read_blocks
from curate.sources.protocol import large_files
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.licenses import OPEN
from curate.sources.protocol.long_reading import read_aside
from curate.sources.protocol.picture_urls import provenance_group
from curate.web.answers import SourceFailed
from curate.web.fetch import Fetcher
from curate.web.hosts import HostBudget
from curate.web.network import Network
from tests.bringing import ledger
from tests.open_tables import ANIMALS, Bucket, Tables, uuid
from tests.pictures import draw
from tests.test_origins import PHOTO, fact

THISTLE = Query("10", "globe thistle", "Echinops flower head")
NAME = "inaturalist_open_data"


@dataclass
class Told:
    """What a search gave: pages, candidates, the words before it began, and the bars."""

    pages: list[CandidatePage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for page in self.pages for candidate in page.candidates]


def ask(
    argument: Path | str, *queries: Query, licenses: frozenset[str] | None = None, network: Network | None = None,
    **options: Any,
) -> dict[str, Told]:  # fmt: skip
    """All pages of each query, from one source."""
    found = {query.label: Told() for query in queries}
    said: list[str] = []

    async def walk() -> None:
        async with Fetcher(network or Network()) as fetcher:
            asked = SourceOptions(licenses, queries=queries, say=said.append, **options)
            source = open_source(f"inaturalist-open-data:{argument}".rstrip(":"), fetcher, asked)
            for query in queries:
                cursor = None
                while True:
                    page = await source.page(query, 10, cursor)
                    found[query.label].pages.append(page)
                    cursor = page.next
                    if cursor is None:
                        break

    asyncio.run(walk())
    for told in found.values():
        told.said = said
    return found


def unwatched(size: int) -> None:
    """Nobody watches the reading."""


def numbers(told: Told) -> list[int]:
    return [int(candidate.source_id) for candidate in told.candidates]


@pytest.mark.parametrize("packed", [True, False])
def test_a_taxon_is_resolved_once_and_takes_all_below_it(tmp_path: Path, packed: bool) -> None:
    tables = Tables()
    tables.observe(1, 110, 11, 12)
    tables.observe(2, 120, 21, observer=2)
    tables.observe(3, 121, 31, observer=3)  # lingers on a taxon that is no longer active
    tables.observe(4, 220, 41)  # a tenrec
    tables.observe(5, 1100, 51)  # another plant, whose number begins like the genus'
    tables.observe(6, 120, 61, grade="needs_id")
    tables.observe(7, 120, 71, grade="casual")
    tables.observe(8, 99999999, 81)
    tables.observations.append((uuid(9), 1, "", "", "", "", "research", "", ""))
    told = ask(tables.write(tmp_path, packed=packed), THISTLE)["10"]
    assert sorted(numbers(told)) == [11, 12, 21, 31]
    assert told.pages[0].note == (
        "Echinops (genus, Plantae): 3 observations, 4 photos, 4 of a wanted licence by 3 observers"
    )


def test_a_photo_is_told_with_all_that_the_tables_know_of_it(tmp_path: Path) -> None:
    tables = Tables()
    tables.observe(1, 120, 11, licence="CC-BY-SA", extension="jpeg")
    tables.observe(2, 120, 21, observer=2, licence="CC0", day="", size=("", ""), place=("", ""))
    first, second = sorted(ask(tables.write(tmp_path), THISTLE)["10"].candidates, key=lambda one: one.source_id)
    assert first.url == "https://inaturalist-open-data.s3.amazonaws.com/photos/11/large.jpeg"
    assert first.landing_page == f"https://www.inaturalist.org/observations/{uuid(1)}"
    assert first.provenance_group == provenance_group(first.landing_page) == f"inaturalist:{uuid(1)}"
    assert (first.author, first.license.name) == ("Ann Botanist", "CC BY-SA 4.0")
    assert (first.width, first.height, first.taken_at) == (2048, 1536, "2021-05-01")
    assert (second.author, second.license.name) == ("ben", "CC0 1.0"), "the login where there is no name"
    assert (second.width, second.height, second.taken_at) == (None, None, "")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query("1", "x", "Xyzzy"), "no taxon is called 'Xyzzy'; its tables know scientific names alone"),
        (Query("1", "x", "Echinops ruthenicus"), "'Echinops ruthenicus' is no longer a name in use"),
        (Query("1", "x", "Petunia x atkinsiana", "", "Animalia"), "no taxon among Animalia is called"),
    ],
)
def test_a_name_that_leads_to_no_taxon_is_told(tmp_path: Path, query: Query, said: str) -> None:
    tables = Tables()
    tables.observe(1, 121, 11)
    tables.observe(2, 130, 21)
    (page,) = ask(tables.write(tmp_path), query)["1"].pages
    assert page.candidates == ()
    assert page.note.startswith(said)


def test_a_kingdom_may_be_any_group_above_the_taxon(tmp_path: Path) -> None:
    tables = Tables()
    tables.taxa.append(("2", ANIMALS, "50.0", "class", "Mammalia", "true"))
    tables.observe(1, 120, 11)
    tables.observe(2, 220, 21)
    folder = tables.write(tmp_path)
    told = ask(folder, Query("1", "tenrec", "Echinops", "", "Mammalia"), Query("2", "x", "Echinops", "", "Animalia"))
    assert [numbers(one) for one in told.values()] == [[21], [21]]
    assert told["1"].pages[0].note.startswith("Echinops (genus, Mammalia)")


def test_signs_of_hybrids_and_quotes_are_letters_like_others(tmp_path: Path) -> None:
    tables = Tables()
    tables.observers = [(1, "ann", '\b"Ann"\tthe\nbotanist\b'), (2, "ben", "Ben 'O''Neill\"")]
    tables.observe(1, 130, 11)
    tables.observe(2, 1100, 21, observer=2)
    petunia, rose = Query("1", "x", "petunia X Atkinsiana"), Query("2", "y", 'Rosa "odd" quote')
    told = ask(tables.write(tmp_path), petunia, rose)
    assert [one.author for one in told["1"].candidates] == ['"Ann"\tthe\nbotanist']
    assert [one.author for one in told["2"].candidates] == ["Ben 'O''Neill\""]


def test_only_wanted_licences_come_and_the_others_are_counted(tmp_path: Path) -> None:
    tables = Tables()
    for number, licence in enumerate(("CC-BY", "CC-BY-NC", "CC0", "GFDL", "PD", "")):
        tables.observe(number, 120, 10 * number + 1, licence=licence, observer=number + 1)
    folder = tables.write(tmp_path)
    told = ask(folder, THISTLE, licenses=OPEN)["10"]
    assert sorted(numbers(told)) == [1, 21, 41]
    assert "6 photos, 3 of a wanted licence" in told.pages[0].note
    assert len(ask(folder, THISTLE)["10"].candidates) == 6


def test_one_class_is_of_many_observers_places_and_years_first(tmp_path: Path) -> None:
    """One observer has most of it, at one place in one year; others have one observation each."""
    tables = Tables()
    tables.observers = [(one, f"login{one}", "") for one in range(60)]
    for number in range(300):
        tables.observe(number, 120, 10 * number + 1, 10 * number + 2, observer=0)
    for one in range(1, 50):
        place, day = (10 * (one % 5) - 25, 30 * (one % 4) - 60.5), f"20{10 + one % 10}-01-01"
        tables.observe(1000 + one, 120, 100_000 + one, observer=one, place=place, day=day)
    for one in range(50, 60):  # at one place and time: they come one by one, others between them
        tables.observe(1000 + one, 120, 100_000 + one, observer=one, place=(0, 0), day="2001-01-01")
    told = ask(tables.write(tmp_path), THISTLE)["10"].candidates
    assert len(told) == 659
    assert len({one.author for one in told[:60]}) == 60, "one of each observer before a second of any"
    assert sum(one.taken_at.startswith("2001") for one in told[:20]) <= 2
    of_first = [one for one in told if one.author == "login0"]
    assert len({one.provenance_group for one in of_first[:300]}) == 300, "each observation's first photo comes first"


def test_of_very_many_observations_some_of_each_observer_and_place_are_kept(tmp_path: Path) -> None:
    tables = Tables()
    for number in range(400):
        place = (0, 0) if number % 40 else (45, 90)
        tables.observe(number, 120, number + 1, observer=1 + number % 3 if number < 30 else 4, place=place)
    folder = tables.write(tmp_path)
    files = {name: folder / f"{name}.csv.gz" for name in ("observations", "photos", "observers")}
    found = photo_scan.find_photos(files, {120: 0}, unwatched, most=40)
    assert (found.seen, found.kept, len(found.photos)) == ({0: 400}, {0: 40}, 40)
    by_observer = Counter(found.photos["observer"].tolist())
    assert set(by_observer) == {1, 2, 3, 4}
    assert min(by_observer.values()) >= 9, "no observer is crowded out"
    assert len(set(found.photos["cell"].tolist())) == 2


def test_all_classes_are_found_in_one_reading_and_no_run_reads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables()
    tables.observe(1, 120, 11)
    tables.observe(2, 130, 21)
    tables.observe(3, 220, 31)
    folder, kept = tables.write(tmp_path / "tables"), tmp_path / "kept"
    opened: Counter[str] = Counter()

    read = table_rows._unpacked

    def count(path: Path, watch: Any) -> Iterator[bytes]:
        opened[path.name] += 1
        return read(path, watch)

    monkeypatch.setattr(table_rows, "_unpacked", count)
    petunia, species = Query("1", "x", "Petunia × atkinsiana"), Query("2", "y", "Echinops ritro")
    first = ask(folder, THISTLE, petunia, species, kept=kept)
    assert [numbers(told) for told in first.values()] == [[11], [21], [11]], "a species is in its genus too"
    assert opened == {"taxa.csv.gz": 2, "observations.csv.gz": 1, "photos.csv.gz": 1, "observers.csv.gz": 1}
    opened.clear()
    assert numbers(ask(folder, petunia, kept=kept)["1"]) == [21]
    assert opened == {}, "what was found is kept"
    tenrec = Query("3", "tenrec", "Echinops telfairi")
    assert numbers(ask(folder, tenrec, kept=kept)["3"]) == [31]
    assert opened["photos.csv.gz"] == 1, "a class that was not asked for is looked for"
    opened.clear()
    assert [numbers(told) for told in ask(folder, THISTLE, tenrec, kept=kept).values()] == [[11], [31]]
    assert opened == {}, "and the classes of before are kept beside it"
    tables.observe(4, 130, 41, observer=2)
    tables.write(folder)
    assert sorted(numbers(ask(folder, petunia, kept=kept)["1"])) == [21, 41], "tables that changed are read again"


def packed_more_than_it_holds() -> bytes:
    made = io.BytesIO()
    np.savez_compressed(made, about=np.zeros(1 << 20, np.uint8), photos=np.zeros(1 << 20, photo_scan.PHOTO))
    return made.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no numbers", packed_more_than_it_holds(), None])
def test_what_is_kept_and_cannot_be_read_is_found_again(tmp_path: Path, content: bytes | None) -> None:
    tables = Tables()
    tables.observe(1, 120, 11)
    folder, kept = tables.write(tmp_path / "tables"), tmp_path / "kept"
    ask(folder, THISTLE, kept=kept)
    whole = (kept / FILE).read_bytes()
    (kept / FILE).write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert numbers(ask(folder, THISTLE, kept=kept)["10"]) == [11]


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    tables = Tables()
    tables.observe(1, 120, 11)
    assert numbers(ask(tables.write(tmp_path / "tables"), THISTLE, kept=tmp_path / "kept", dry=True)["10"]) == [11]
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("table", ["taxa", "observations", "photos", "observers"])
@pytest.mark.parametrize("harm", ["cut", "noise", "columns", "empty", "lacking"])
def test_a_table_that_is_no_table_is_named(tmp_path: Path, table: str, harm: str) -> None:
    tables = Tables()
    for number in range(200):
        tables.observe(number, 120, number + 1)
    file = tables.write(tmp_path) / f"{table}.csv.gz"
    whole = file.read_bytes()
    if harm == "cut":
        file.write_bytes(whole[:-30])
    elif harm == "noise":
        file.write_bytes(whole[:20] + os.urandom(4000))
    elif harm == "columns":
        file.write_bytes(gzip.compress(gzip.decompress(whole).replace(b"_id", b"_number")))
    elif harm == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    with pytest.raises(UserError, match=rf"{table}\.csv\.gz"):
        ask(tmp_path, THISTLE)


@pytest.mark.parametrize(("mark", "end"), [("", "\r\n"), ("\ufeff", "\n"), ("\ufeff", "\r\n")])
def test_tables_that_a_program_on_windows_has_saved_are_read(tmp_path: Path, mark: str, end: str) -> None:
    tables = Tables()
    tables.observe(1, 120, 11, 12)
    for file in tables.write(tmp_path, packed=False).iterdir():
        file.write_bytes((mark + file.read_text(encoding="utf-8").replace("\n", end)).encode())
    told = ask(tmp_path, THISTLE)["10"]
    assert sorted(numbers(told)) == [11, 12]
    assert {candidate.author for candidate in told.candidates} == {"Ann Botanist"}


@pytest.mark.parametrize("table", ["taxa", "observations", "photos", "observers"])
def test_a_table_that_is_no_gzip_file_or_cut_off_is_called_so(tmp_path: Path, table: str) -> None:
    tables = Tables()
    tables.observe(1, 120, 11, 12)
    tables.write(tmp_path / "named")
    (tmp_path / "named" / f"{table}.csv.gz").write_text("<html>Not found</html>\n")
    with pytest.raises(UserError, match=rf"{table}\.csv\.gz is no gzip file"):
        ask(tmp_path / "named", THISTLE)
    file = tables.write(tmp_path / "cut", packed=False) / f"{table}.csv"
    whole = file.read_text(encoding="utf-8").removesuffix("\n")
    file.write_text(whole, encoding="utf-8")
    assert sorted(numbers(ask(tmp_path / "cut", THISTLE)["10"])) == [11, 12], "no row lacks for a last end of line"
    file.write_text(whole.rpartition("\t")[0], encoding="utf-8")
    with pytest.raises(UserError, match=rf"{table}\.csv is cut off in its last row"):
        ask(tmp_path / "cut", THISTLE)


def test_odd_rows_are_left_out_and_the_others_read(tmp_path: Path) -> None:
    tables = Tables()
    tables.observe(1, 120, 11)
    tables.observations.append(("too", "few"))
    tables.observe(2, 120, 21)
    tables.observations.append((uuid(3).upper(), 1, 1, 1, 1, 120, "research", "2021-13-45", ""))
    tables.observations.append(("x" * 36, 1, 1, 1, 1, 120, "research", "", ""))
    tables.photos.append((uuid(77), "not a number", uuid(2), 1, "jpg", "CC0", 1, 1, 0))
    tables.photos.append((uuid(78), 78, uuid(2), 1, "j/../pg", "CC0", 1, 1, 0))
    tables.photos.append((uuid(79), 79, uuid(2)[:35], 1, "jpg", "CC0", 1, 1, 0))
    tables.photos.append((uuid(80), 80, uuid(2), 1, "jpg", "CC0", 10**15, "-3", 7))
    tables.photos.append(("one", "more", "column", *"1234567"))
    told = ask(tables.write(tmp_path), THISTLE)["10"]
    assert sorted(numbers(told)) == [11, 21, 80]
    assert sum(page.odd for page in told.pages) == 1, "a file's extension that is none"


@given(
    rows=st.lists(st.lists(st.text("ab\u00e9 0129-", max_size=6), min_size=2, max_size=4), max_size=40),
    part=st.integers(1, 60),
    packed=st.sampled_from(["no", "one file", "one file for each line"]),
)
@settings(max_examples=60, deadline=None)
def test_rows_come_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], part: int, packed: str
) -> None:
    """Wherever the parts end that are read at once, and however gzip has cut them."""
    file = tmp_path_factory.mktemp("rows") / "table.csv"
    lines = ["one\ttwo\tthree\n", *("\t".join(row) + "\n" for row in rows)]
    parts = [gzip.compress(line.encode()) if packed.startswith("one file for") else line.encode() for line in lines]
    content = b"".join(parts)
    file.write_bytes(gzip.compress(content) if packed == "one file" else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_rows, "_PART", part)
        patch.setattr(table_rows, "_MOST_UNPACKED", 7)
        blocks = list(read_blocks(file, ("three", "one"), unwatched))
    found: list[tuple[str, ...]] = []
    odd = sum(block.odd for block in blocks)
    for block in blocks:
        text = block.content.tobytes()
        columns = [
            [text[start:end].decode() for start, end in zip(block.starts(one), block.ends(one), strict=True)]
            for one in range(2)
        ]
        found += zip(*columns, strict=True)
    assert found == [(row[2], row[0]) for row in rows if len(row) == 3]
    assert odd == sum(len(row) != 3 for row in rows)
    numbered = [number for block in blocks for number in block.numbers(1).tolist()]
    digits = [row[0] for row in rows if len(row) == 3]
    assert numbered == [int(word) if word.isascii() and word.isdigit() else -1 for word in digits]


@pytest.mark.parametrize("first", [0, 9])
def test_whole_numbers_of_any_length_are_read(tmp_path: Path, first: int) -> None:
    """And what is none is told from them, wherever in it the letter stands."""
    good = [str(10**digits + 7) if digits else "7" for digits in range(18)] + ["0", "00000012", "9" * 18]
    bad = [good[-2][:place] + sign + good[-2][place + 1 :] for place in range(8) for sign in "/:a \x7f"]
    bad += ["", "-1", "1.0", "9" * 19, "1e3", "12345678901234x"]
    words = [word for pair in zip(good, bad, strict=False) for word in pair] + bad[len(good) :]
    file = tmp_path / "table.csv"
    file.write_text("x\n" + "".join(f"{word}\n" for word in words[first:]))
    (block,) = read_blocks(file, ("x",), unwatched)
    expected = [int(word) if word in good else -1 for word in words[first:]]
    assert block.numbers(0).tolist() == expected


def test_small_unpacked_parts_of_a_bomb_are_looked_at_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "table.csv.gz"
    with gzip.open(file, "wb") as bomb:
        for _ in range(64):
            bomb.write(b"a" * (1 << 20))
    with pytest.raises(UserError, match="has a line of over"):
        list(read_blocks(file, ("one",), unwatched))


def test_a_run_that_is_stopped_does_not_wait_for_the_reading() -> None:
    read: list[int] = []

    def endless(watch: Callable[[int], None]) -> None:
        while True:
            watch(1)
            read.append(1)
            time.sleep(0.001)

    async def stopped() -> None:
        async with asyncio.timeout(0.1):
            await read_aside("Reading", 1, silent, endless)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(stopped())  # which waits for its threads
    assert read
    assert time.monotonic() - began < 20


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    tables = Tables()
    tables.observers = [(one, f"login{one}", "") for one in range(12)]
    for number in range(30):
        tables.observe(number, 120, number + 1, observer=number % 12 if number < 12 else 0)
    for number in range(40, 44):
        tables.observe(number, 130, number + 1, observer=number - 39)
    tables.observe(50, 130, 51, observer=5, size=(90, 2000))
    made = Bucket({f"{name}.csv.gz": gzip.compress(text.encode(), 1) for name, text in tables.contents().items()})
    with made.server:
        yield made


def network(bucket: Bucket) -> Network:
    port = bucket.server.port
    return Network(
        loopback_ports=frozenset({port}),
        services={NAME: bucket.server.url},
        budgets={"127.0.0.1": HostBudget(connections=16)},
    )


def test_tables_that_are_not_here_are_brought_once(bucket: Bucket, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    told = ask("", THISTLE, network=network(bucket), kept=kept)["10"]
    assert len(told.candidates) == 30
    (said,) = told.said
    sizes = sum(map(len, bucket.files.values()))
    assert all(f"{name} (" in said for name in bucket.files)
    assert f"{sizes / 1e3:,.1f} kB in all" in said
    assert str(kept) in said
    assert Counter(method for method, _, _ in bucket.asked) == {"HEAD": 4, "GET": 4}
    bucket.asked.clear()
    again = ask("", THISTLE, network=network(bucket), kept=kept)["10"]
    assert (again.candidates, again.said, bucket.asked) == (told.candidates, [], [])


@pytest.mark.thorough
def test_a_broken_transfer_goes_on_where_it_was_in_the_next_run(bucket: Bucket, tmp_path: Path) -> None:
    bucket.breaks = [200] + [0] * 4  # the first table breaks, and then nothing more comes
    with pytest.raises(SourceFailed, match="the same command goes on where it broke off"):
        ask("", THISTLE, network=network(bucket), kept=tmp_path)
    bucket.asked.clear()
    told = ask("", THISTLE, network=network(bucket), kept=tmp_path)["10"]
    assert len(told.candidates) == 30
    assert ("GET", "taxa.csv.gz", 200) in bucket.asked
    assert "200 bytes of it are there already" in told.said[0]


@pytest.mark.thorough
def test_another_version_of_a_table_is_not_joined_to_the_first_part(bucket: Bucket, tmp_path: Path) -> None:
    bucket.breaks = [200] + [0] * 4
    with pytest.raises(SourceFailed):
        ask("", THISTLE, network=network(bucket), kept=tmp_path)
    bucket.version = '"2"'
    assert len(ask("", THISTLE, network=network(bucket), kept=tmp_path)["10"].candidates) == 30
    assert ("GET", "taxa.csv.gz", 0) in bucket.asked


def test_a_full_disk_is_told_before_anything_comes(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "ROOM_LEFT", shutil.disk_usage(tmp_path).free * 2)
    with pytest.raises(UserError, match=r"free, and .* kB are still to come: free some space"):
        ask("", THISTLE, network=network(bucket), kept=tmp_path)
    assert {method for method, _, _ in bucket.asked} == {"HEAD"}


def test_another_address_has_tables_of_its_own(bucket: Bucket, tmp_path: Path) -> None:
    other = Bucket({name: data for name, data in bucket.files.items() if name != "photos.csv.gz"})
    empty = Tables()
    other.files["photos.csv.gz"] = gzip.compress(empty.contents()["photos"].encode())
    with other.server:
        ports = frozenset({bucket.server.port, other.server.port})
        both = Network(loopback_ports=ports, services={NAME: bucket.server.url})
        assert len(ask("", THISTLE, network=both, kept=tmp_path)["10"].candidates) == 30
        assert ask(other.server.url, THISTLE, network=both, kept=tmp_path)["10"].candidates == []


def brought(bucket: Bucket, out: Path, spec: str, *queries: Query, **options: Any) -> Scraped:
    wanted = ScrapeOptions(options.pop("limit", 10), OPEN, 100, options.pop("per_author", None))
    options.setdefault("network", network(bucket))
    return scrape(out, queries, wanted, sources=(spec,), keys={}, **options)


def test_a_scrape_from_the_tables_is_credited_and_a_second_one_helps(bucket: Bucket, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    petunia = Query("1", "petunia", "Petunia × atkinsiana")
    report = brought(bucket, out, "inaturalist-open-data", THISTLE, petunia, say=said.append)
    assert report.new == 14
    assert len(said) == 1
    assert [one.label for one in report.shortfalls] == ["1"]
    assert "Petunia × atkinsiana (hybrid, Plantae): 5 observations" in "".join(report.notes)
    assert {one.source for one in report.yields} == {NAME}
    assert report.yields[1].lost == {"too small": 1}, "and was not fetched"
    with ledger(out) as db:
        (fetched,) = db.execute("SELECT SUM(sha256 != '') FROM scrape_candidates").fetchone()
    assert fetched == 14
    text = report.credits.read_text(encoding="utf-8")
    assert text.count("CC BY 4.0") == 14
    assert "by login3, " in text
    bucket.asked.clear()
    assert brought(bucket, out, "inaturalist_open_data", THISTLE, petunia, limit=20).new == 10
    assert Counter(method for method, _, _ in bucket.asked) == {"HEAD": 4}, "whether they have changed, and no more"
    assert bucket.unchanged == 4
    with ledger(out) as db:
        assert db.execute("SELECT COUNT(*) FROM scrape_candidates WHERE label = '10'").fetchone() == (30,)
        searches = db.execute("SELECT label, complete, repeats FROM scrape_searches").fetchall()
    assert sorted(searches) == [("1", 1, 0), ("10", 1, 0)], "one search each, though the tables came after it had begun"


def grown(bucket: Bucket, number: int) -> None:
    """Another month's tables: one more observation of a thistle, in two of them."""
    tables = Tables()
    tables.observe(number, 120, number + 1, observer=number)
    added = tables.contents()
    for name in ("observations", "photos"):
        whole = gzip.decompress(bucket.files[f"{name}.csv.gz"]).decode()
        bucket.files[f"{name}.csv.gz"] = gzip.compress((whole + added[name].partition("\n")[2]).encode())
        bucket.versions[f"{name}.csv.gz"] = f'"{number}"'


@pytest.mark.parametrize("no_head", [False, True])
def test_tables_that_have_changed_where_they_come_from_are_brought_anew(
    bucket: Bucket, tmp_path: Path, no_head: bool
) -> None:
    bucket.no_head = no_head
    out, said = tmp_path / "out", list[str]()
    assert brought(bucket, out, NAME, THISTLE, limit=50).new == 30
    bucket.asked.clear()
    assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 0
    assert (said, bucket.unchanged) == ([], 4)
    assert {(name, start) for _, name, start in bucket.asked} == {(name, 0) for name in bucket.files}
    grown(bucket, 90)
    bucket.asked.clear()
    assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 1
    (words,) = said
    assert "brings anew what has changed, observations.csv.gz (" in words
    assert "photos.csv.gz (" in words
    assert "taxa" not in words
    assert not list((out / large_files.FOLDER).glob("coming*"))
    bucket.asked.clear()
    assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 0
    assert len(said) == 1
    assert Counter(name for method, name, _ in bucket.asked if method == "HEAD") == Counter(list(bucket.files))


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["refused", "down", "broken off", "full disk", "no table"])
def test_tables_that_cannot_be_brought_anew_stay_and_are_named(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    out, said = tmp_path / "out", list[str]()
    petunia = Query("1", "petunia", "Petunia × atkinsiana")
    assert brought(bucket, out, NAME, THISTLE, limit=50).new == 30
    tables = out / large_files.FOLDER
    before = {path.name: path.read_bytes() for path in tables.glob("*.csv.gz")}
    grown(bucket, 90)
    whole, room, nowhere = dict(bucket.files), large_files.ROOM_LEFT, network(bucket)
    if way == "refused":
        bucket.files.clear()
    elif way == "down":
        monkeypatch.setattr(transfer, "patiently", lambda ask, **_: ask())
        nowhere = replace(network(bucket), services={NAME: "http://127.0.0.1:9"}, loopback_ports=frozenset({9}))
    elif way == "broken off":
        bucket.breaks = [200] + [0] * 4
    elif way == "no table":
        bucket.files["observations.csv.gz"] = b"<html>Please log in</html>"
    else:
        monkeypatch.setattr(large_files, "ROOM_LEFT", shutil.disk_usage(tmp_path).free * 2)
    report = brought(bucket, out, NAME, THISTLE, petunia, limit=50, say=said.append, network=nowhere)
    assert [one.found for one in report.yields if one.label == "1"] == [5], "the tables of before are read"
    assert report.problems == []
    assert {path.name: path.read_bytes() for path in tables.glob("*.csv.gz")} == before
    words = said[-1]
    assert words.endswith("what is here is used.")
    assert "observations.csv.gz" in words
    assert {"refused": "404", "down": "could not be reached", "broken off": "broke off", "full disk": "free",
            "no table": "is no gzip file"}[way] in words  # fmt: skip
    if way != "down":
        bucket.files, bucket.breaks = whole, []
        monkeypatch.setattr(large_files, "ROOM_LEFT", room)
        bucket.asked.clear()
        assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 1
        assert way != "broken off" or ("GET", "observations.csv.gz", 200) in bucket.asked


def test_tables_that_an_earlier_version_has_brought_are_compared_by_their_size(bucket: Bucket, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    assert brought(bucket, out, NAME, THISTLE, limit=50).new == 30
    for note in (out / large_files.FOLDER).glob("*.version.json"):
        note.unlink()
    assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 0
    assert said == []
    for name in bucket.files:
        bucket.versions[name] = '"another"'
    assert brought(bucket, out, NAME, THISTLE, limit=50, say=said.append).new == 0
    assert "brings anew" in said[0], "by the version that the run before has noted"


def test_no_table_is_brought_for_classes_that_are_full(bucket: Bucket, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "raw" / "10"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(draw(1000 + number))
    assert brought(bucket, tmp_path / "out", NAME, THISTLE, limit=3).new == 0
    assert bucket.asked == []


def test_a_dry_run_brings_no_tables_and_says_so(bucket: Bucket, tmp_path: Path) -> None:
    shown = preview(tmp_path / "out", [THISTLE], ScrapeOptions(5, OPEN), sources=(NAME,), network=network(bucket))
    assert shown.problems == [
        f"{NAME}: its tables are not here yet, and a dry run brings none: run it without --dry-run"
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("named", [True, False])
def test_one_observer_gives_a_share_of_a_class_whether_a_folder_is_named_or_not(
    bucket: Bucket, tmp_path: Path, named: bool
) -> None:
    """A source with an argument is no list of the user's own: there, nobody has chosen each picture."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, data in bucket.files.items():
        (folder / name).write_bytes(data)
    spec = f"{NAME}:{folder}" if named else NAME
    report = brought(bucket, tmp_path / "out", spec, THISTLE, limit=30, per_author=2)
    with ledger(tmp_path / "out") as db:
        counts = dict(db.execute("SELECT author, COUNT(*) FROM credits GROUP BY author").fetchall())
    assert counts == {f"login{one}": 2 if one == 0 else 1 for one in range(12)}
    assert report.yields[0].lost == {"enough of one author": 17}


def test_an_observation_known_by_number_and_by_uuid_is_one_origin(tmp_path: Path) -> None:
    """The API and GBIF know its number, the tables its UUID; a photo that both list tells that they are one."""
    own, other = "inaturalist:77", f"inaturalist:{uuid(77)}"
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        store = CandidateStore(catalog)
        for source, group, photos in (("inaturalist", own, (1, 2)), (f"{NAME}:x", other, (2, 3)), ("gbif", own, (4,))):
            found = tuple(
                Candidate(PHOTO.format(photo), str(photo), provenance_group=group, author="Ann") for photo in photos
            )
            store.add(Query("rose", "rose", "rose"), source, "", CandidatePage(found))
        observed = observed_photos(catalog)
        of_api, of_tables = store.by_id(2), store.by_id(3)
        assert of_api is not None
        assert of_tables is not None
        assert of_api.picture == of_tables.picture
        store.mark(of_api.id, "kept")
        assert store.taken_before(of_tables), "one photo that both found comes once"
    facts = [
        fact("a", url=PHOTO.format(1), provenance_group=own, author="Ann"),
        fact("b", url=PHOTO.format(3), provenance_group=other, author="Ann"),
        fact("c", url=PHOTO.format(4), provenance_group=own, author="Ann"),
        fact("d", url=PHOTO.format(9), provenance_group="inaturalist:78", author="Ann"),
    ]
    members: dict[str, set[str]] = {}
    for sha256, origin in origins_of(facts, observed):
        members.setdefault(origin, set()).add(sha256)
    assert {"a", "b", "c"} in members.values()
    assert all("d" not in those or those == {"d"} for those in members.values())


@pytest.mark.parametrize(
    ("page", "group"),
    [
        (f"https://www.inaturalist.org/observations/{uuid(5)}", f"inaturalist:{uuid(5)}"),
        ("https://www.inaturalist.org/observations/5", "inaturalist:5"),
        ("http://inaturalist.org/observations/5?locale=de", "inaturalist:5"),
        ("https://www.inaturalist.org/observations/5f-odd", "inaturalist.org/observations/5f-odd"),
    ],
)
def test_the_page_of_an_observation_tells_its_number_or_its_uuid(page: str, group: str) -> None:
    assert provenance_group(page) == group
