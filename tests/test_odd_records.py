"""One odd record of a service is counted and skipped; the rest of its page is kept, and the scrape goes on."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import UserError
from curate.scraping.scrape_options import plan_queries
from curate.scraping.searching import MOST_STALE
from curate.sources import open_source, wikimedia
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceChanged
from curate.web.fetch import Fetcher
from curate.web.strange_json import DEEPEST, read_json
from testing.hostile import ODD_RECORDS
from testing.localapis import SERVICES
from testing.localweb import LocalWeb
from tests.bringing import bring, files, only, open_ones
from tests.pictures import plant
from tests.test_sources import KEYS, NAMES, QUERY, search


def pages(web: LocalWeb, name: str) -> list[CandidatePage]:
    async def walk() -> list[CandidatePage]:
        async with Fetcher(web.network()) as fetcher:
            source = open_source(name, fetcher, SourceOptions(None, keys=KEYS))
            found = [await source.page(QUERY, 1, None)]
            while found[-1].next is not None:
                found.append(await source.page(QUERY, 1, found[-1].next))
            return found

    return asyncio.run(walk())


@pytest.mark.parametrize("name", SERVICES)
def test_the_rest_of_the_page_is_kept(name: str, tmp_path: Path) -> None:
    with LocalWeb(plant(tmp_path, {"poppy": 70}), NAMES) as web:
        expected = search(web, name)
        asked = len(web.log)
        web.faults.odd.add(name)
        found = pages(web, name)
    assert [candidate for page in found for candidate in page.candidates] == expected
    assert len(found) <= asked
    # Some faults leave a record that says it is no picture: it is passed over as such, and is not odd.
    assert all(len(ODD_RECORDS) - 4 <= page.odd <= len(ODD_RECORDS) for page in found if page.candidates)


def test_a_scrape_counts_them_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with LocalWeb(plant(tmp_path / "garden", {"rose": 24, "iris": 16})) as web:
        web.faults.odd.update(SERVICES)
        scraped = bring(web, out, sources=tuple(SERVICES))
        assert scraped.problems == []
        assert len(files(out)) == len(open_ones(web, "rose")) + len(open_ones(web, "iris"))
        for name in SERVICES:
            for label in ("rose", "iris"):
                found = only(scraped.yields, label, name)
                assert found.lost["odd record"] >= len(ODD_RECORDS) - 4
                assert found.unique + found.lost.total() == found.found
        assert bring(web, out, sources=tuple(SERVICES)).yields == scraped.yields


def test_a_list_with_odd_rows(tmp_path: Path) -> None:
    listing = tmp_path / "list.jsonl"
    with LocalWeb(plant(tmp_path / "garden", {"rose": 3})) as web:
        good = [{"url": f"{web.url}/openverse/pictures/{n}/original.jpg", "license": "cc0"} for n in range(3)]
        good[0]["title"] = "a line \u2028 in a line"
        odd = [
            {**good[0], "title": "half \ud800"},
            {**good[0], "landing_page": "http://["},
            {**good[0], "author": "N\0L"},
            {"url": "http://["},
            {"url": "x" * 100_000},
        ]
        lines = [json.dumps(row, ensure_ascii=index > 0) for index, row in enumerate([*good, *odd])]
        listing.write_text("\n".join([lines[0], *lines[3:], *lines[1:3]]), encoding="utf-8")
        scraped = bring(web, tmp_path / "out", "rose", sources=(f"urls:{listing}",))
    assert scraped.new == 3
    assert scraped.yields[0].lost == {"odd record": len(odd)}


TEXTS = [field.name for field in dataclasses.fields(Candidate) if field.type is str]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("odd", ["half \ud800", "N\0L", "x" * 100_000], ids=["half", "NUL", "endless"])
def test_each_text_of_a_candidate_is_looked_at(name: str, odd: str) -> None:
    """A fault in one of them alone: whatever the catalog is to hold."""
    good = Candidate("https://x.example/1.jpg", "1", taken_at="2024-05-01", citation="https://doi.org/10.1/x")
    assert read_records([good], lambda one: [one]) == ((good,), 0)
    changed: dict[str, Any] = {name: odd}
    assert read_records([dataclasses.replace(good, **changed)], lambda one: [one]) == ((), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="a file name that is no text")
def test_a_folder_with_a_name_that_is_no_text(tmp_path: Path) -> None:
    mine = plant(tmp_path / "mine", {"rose": 3})
    (mine / "rose" / "0001.jpg").rename(mine / "rose" / os.fsdecode(b"\xff.jpg"))
    with LocalWeb(tmp_path / "nothing") as web:
        scraped = bring(web, tmp_path / "out", "rose", sources=(f"folder:{mine}",), licenses=None)
    assert scraped.new == 2
    assert scraped.yields[0].lost == {"odd record": 1}


def test_a_page_without_one_readable_record_has_changed() -> None:
    def read(answer: JsonValue) -> list[Candidate]:
        return [Candidate(answer.text("url"), "1", answer.optional_text("page"))]

    def answers(*values: object) -> list[JsonValue]:
        return [JsonValue("x", value) for value in values]

    with pytest.raises(SourceChanged, match="'url' is missing"):
        read_records(answers({"link": "a"}, {"link": "b"}), read)
    assert read_records(answers({"link": "a"}), read) == ((), 1), "one record is no shape"
    assert read_records(answers({"link": "a"}, {"url": "b", "page": "http://["}), read) == ((), 2)
    assert read_records(answers(), read) == ((), 0)


def test_a_search_that_leads_back_to_its_own_page_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from testing import localapis

    first = localapis.wikimedia

    def round_and_round(*arguments: object) -> object:
        answer, headers = first(*arguments)  # type: ignore[arg-type]
        return {**answer, "continue": {"gsroffset": "7"}}, headers

    monkeypatch.setitem(localapis.SERVICES, "wikimedia", round_and_round)
    with LocalWeb(plant(tmp_path / "garden", {"rose": 12})) as web:
        scraped = bring(web, tmp_path / "out", "rose", sources=("wikimedia",))
        assert len(web.visits("/wikimedia/w/api.php")) == 2
    assert scraped.problems == ["wikimedia: it leads from one page back to the same page"]


@pytest.mark.parametrize("empty", [True, False], ids=["empty pages", "the same page"])
def test_a_search_that_leads_on_for_ever_and_finds_nothing_new_ends(
    *, empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from testing import localapis

    first, numbers = localapis.wikimedia, itertools.count(1)

    def on_and_on(*arguments: object) -> object:
        answer, headers = first(*arguments)  # type: ignore[arg-type]
        number = next(numbers)
        if number > 200:
            return {"batchcomplete": True}, headers
        found = {} if empty and number > 1 else answer
        return {**found, "continue": {"gsroffset": str(number)}}, headers

    monkeypatch.setitem(localapis.SERVICES, "wikimedia", on_and_on)
    with LocalWeb(plant(tmp_path / "garden", {"rose": 12})) as web:
        scraped = bring(web, tmp_path / "out", "rose", sources=("wikimedia",))
        assert len(web.visits("/wikimedia/w/api.php")) == MOST_STALE + 1
    assert scraped.new > 0
    assert scraped.problems == [f"wikimedia: its last {MOST_STALE} pages held nothing new"]


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_json(body)


def test_json_keeps_what_lies_beside_what_lies_too_deep() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    text = f'{{"a": [1, {deep}, "[{{\\"]"], "b": {{"c": {deep}}}, "d": "x"}}'
    found = read_json(text.encode())
    assert isinstance(found, dict)
    assert (found["a"][0], found["a"][2], found["d"]) == (1, '[{"]', "x")
    shallow: object = found["a"][1]
    depth = 0
    while isinstance(shallow, list) and shallow:
        shallow, depth = shallow[0], depth + 1
    assert depth < DEEPEST
    with pytest.raises(ValueError, match="nested"):
        read_json(b"[" * (5 << 20))
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"nested|Unterminated|Expecting"):
        read_json(b"[" * 100_000 + b'"' + b'\\"' * 500_000)
    assert time.monotonic() - begun < 5


def test_json_from_a_careless_service() -> None:
    assert read_json(b'\xef\xbb\xbf{"a": "\xff"}') == {"a": "\ufffd"}
    assert read_json('{"a": "ü"}'.encode("utf-16")) == {"a": "ü"}
    assert isinstance(read_json(b"9" * 5000), float)
    assert read_json(b"12345678901234567890") == 12345678901234567890


@pytest.mark.parametrize("html", ["<![odd[", "<!doctype <", "<a href='", "&#xffffffffff;", "<" * 1000])
def test_html_of_any_kind_is_words_or_odd(html: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(wikimedia.plain_text(html), str)


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ('Unknown author<span style="display: none;">Unknown author</span>', "Unknown author"),
        ("<style>.x{}</style><a href='/u'>Jane</a> &amp; Bob<script>x()</script>", "Jane & Bob"),
        ("<div style='display:none'>a<br><div>b</div>c</div>Jane<br>Doe", "JaneDoe"),
    ],
)
def test_only_words_that_a_reader_sees_count(html: str, words: str) -> None:
    assert wikimedia.plain_text(html) == words


@pytest.mark.parametrize("words", ["half \ud800", "N\0L"])
def test_a_names_file_of_no_text_is_refused(words: str, tmp_path: Path) -> None:
    for entry in ({"rose": ["rose", words]}, {"rose": [words, "rose"]}, {words: ["rose", "rose"]}):
        (tmp_path / "names.json").write_text(json.dumps(entry))
        with pytest.raises(UserError):
            plan_queries(tmp_path / "names.json")


def test_a_class_folder_too_long_for_a_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps({"ü" * 128: "rose"}))
    with pytest.raises(UserError, match="too long"):
        plan_queries(tmp_path / "names.json")
    assert Query("ü" * 127, "x", "x")
