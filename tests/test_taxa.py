"""The right species: answers as iNaturalist and GBIF really gave them, served on loopback."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from commands import scraping_reports
from curate.errors import UserError
from curate.scrape import scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import open_source
from curate.sources.protocol.authors import stated_author
from curate.sources.protocol.image_search import CandidatePage, Query, SourceOptions
from curate.sources.protocol.taxa import Taxon, best_taxon
from curate.web.fetch import Fetcher
from curate.web.network import Network
from testing.localweb import LocalWeb
from testing.webserver import Reply, Request, Server
from tests.pictures import plant_one

Json = dict[str, Any]


def ask(
    service: str, answers: Mapping[str, Any], query: Query, **options: Any
) -> tuple[list[CandidatePage], list[Request]]:
    """All pages of a search against a service that gives for each path an answer, or what a function makes of it."""
    asked: list[Request] = []

    def reply(request: Request) -> Reply:
        asked.append(request)
        found = answers[request.path]
        return Reply(json.dumps(found(request) if callable(found) else found).encode(), "application/json")

    async def walk(network: Network) -> list[CandidatePage]:
        async with Fetcher(network) as fetcher:
            source = open_source(service, fetcher, SourceOptions(None, **options))
            pages, cursor = [], None
            while True:
                pages.append(await source.page(query, 10, cursor))
                cursor = pages[-1].next
                if cursor is None:
                    return pages

    with Server(reply) as server:
        network = Network(loopback_ports=frozenset({server.port}), services={service: server.url}, budgets={})
        return asyncio.run(walk(network)), asked


def taxon(number: int, name: str, group: str, rank: str = "genus", *names: str) -> Json:
    common = {"preferred_common_name": names[0]} if names else {}
    return {"id": number, "name": name, "rank": rank, "iconic_taxon_name": group, **common}


def observation(number: int, of: Json, *photos: int, ancestors: tuple[int, ...] = ()) -> Json:
    return {
        "id": number,
        "uri": f"https://www.inaturalist.org/observations/{number}",
        "user": {"login": "ann", "name": None},
        "taxon": {**of, "ancestor_ids": [48460, *ancestors, of["id"]]},
        "time_observed_at": "2021-05-01T10:31:58+02:00",
        "photos": [
            {"id": photo, "url": f"https://inaturalist-open-data.s3.amazonaws.com/photos/{photo}/square.jpg",
             "license_code": "cc-by", "original_dimensions": None}
            for photo in photos
        ],
    }  # fmt: skip


def observations(*found: Json) -> Any:
    def answer(request: Request) -> Json:
        query = request.query
        above, below = int(query.get("id_above", 0)), int(query.get("id_below", 1 << 60))
        rest = [one for one in found if above < one["id"] < below]
        rest = sorted(rest, key=lambda one: one["id"], reverse=query.get("order") == "desc")
        return {"total_results": len(rest), "results": rest[: int(query["per_page"])]}

    return answer


THISTLE = taxon(1, "Echinops", "Plantae", "genus", "globe thistles")
TENREC = taxon(2, "Echinops", "Mammalia")
SPHAEROCEPHALUS = taxon(3, "Echinops sphaerocephalus", "Plantae", "species")


def test_echinops_takes_the_thistle_and_no_tenrec() -> None:
    tenrecs = taxon(4, "Echinops telfairi", "Mammalia", "species", "lesser hedgehog tenrec")
    answers = {
        "/v1/taxa": {"results": [tenrecs, TENREC, SPHAEROCEPHALUS, THISTLE]},
        "/v1/observations": observations(
            observation(10, SPHAEROCEPHALUS, 100, 101, ancestors=(1,)),
            observation(11, tenrecs, 110, ancestors=(2,)),
            observation(12, THISTLE, 120),
        ),
    }
    pages, asked = ask("inaturalist", answers, Query("10", "globe thistle", "Echinops flower head"))
    found = [candidate for page in pages for candidate in page.candidates]
    assert [candidate.source_id for candidate in found] == ["100", "101", "120"]
    assert sum(page.odd for page in pages) == 1, "the record of another taxon is counted"
    assert {request.query["taxon_id"] for request in asked if request.path == "/v1/observations"} == {"1"}
    assert pages[0].note == "Echinops (genus, Plantae)"
    assert {candidate.provenance_group for candidate in found} == {"inaturalist:10", "inaturalist:12"}
    assert {candidate.author for candidate in found} == {"ann"}
    assert {candidate.taken_at for candidate in found} == {"2021-05-01T10:31:58+02:00"}


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("Scabiosa", [Taxon(1, "Centaurea scabiosa", "species", "Plantae", ("greater knapweed",))]),
        ("sunflower", [Taxon(1, "Pycnopodia helianthoides", "species", "Animalia", ("sunflower star",))]),
        ("Echinops flower", [Taxon(2, "Echinops", "genus", "Mammalia")]),
    ],
)
def test_a_name_that_only_contains_the_words_is_another_taxons(words: str, known: list[Taxon]) -> None:
    said = best_taxon(Query("1", "x", words), known)
    assert isinstance(said, str)
    assert known[0].name in said, "the user sees what the service knows"


def test_the_scientific_name_comes_first_then_a_common_one_or_a_synonym() -> None:
    sunflower = Taxon(1, "Helianthus annuus", "species", "Plantae", ("common sunflower", "", "Sunflower"))
    genus = Taxon(2, "Petunia × atkinsiana", "hybrid", "Plantae")
    other = Taxon(3, "Alba", "genus", "Plantae", ("petunia atkinsiana",))
    assert best_taxon(Query("1", "x", "sunflower"), [other, sunflower]) == sunflower
    assert best_taxon(Query("1", "x", "Petunia x atkinsiana"), [other, genus]) == genus


@pytest.mark.parametrize(
    ("words", "expected", "kingdom"),
    [
        ("Papaver rhoeas flower", "Papaver rhoeas", "Plantae"),
        ("Eustoma blue", "Eustoma", ""),
        ("Eustoma blue flowers", "Eustoma", "Plantae"),
        ("red ginger", "red ginger", ""),
        ("Alpinia purpurata", "Alpinia purpurata", ""),
        ("flower", "flower", "Plantae"),
    ],
)
def test_words_that_name_no_taxon_are_left_out_of_the_taxons_name(words: str, expected: str, kingdom: str) -> None:
    query = Query("1", "x", words)
    assert (query.taxon, query.kingdom, query.text) == (expected, kingdom, words)


def test_a_names_file_may_say_taxon_and_kingdom() -> None:
    query = Query("1", "x", "blue thistle", "Echinops", "Plantae")
    assert (query.text, query.taxon, query.kingdom) == ("blue thistle", "Echinops", "Plantae")


def test_nothing_is_taken_where_no_taxon_has_the_name() -> None:
    pages, asked = ask("inaturalist", {"/v1/taxa": {"results": []}}, Query("1", "x", "Xyzzy"))
    assert [page.candidates for page in pages] == [()]
    assert pages[0].note == "no taxon is called 'Xyzzy'"
    assert len(asked) == 1


@pytest.mark.thorough
def test_inaturalist_does_not_bring_the_oldest_first() -> None:
    known = [observation(number, THISTLE, number) for number in range(1000, 9000, 10)]
    answers = {"/v1/taxa": {"results": [THISTLE]}, "/v1/observations": observations(*known)}
    pages, _ = ask("inaturalist", answers, Query("1", "x", "Echinops"))
    numbers = [int(candidate.source_id) for page in pages for candidate in page.candidates]
    assert sorted(numbers) == [one["id"] for one in known], "all come in the end, and none twice"
    first = numbers[:100]
    assert min(first) < 2500
    assert max(first) > 6000
    assert len({number // 1000 for number in first}) >= 3


def occurrence(
    key: int, taxon_key: int = 5, basis: str = "HUMAN_OBSERVATION", media: Mapping[str, str] | None = None
) -> Json:
    return {
        "key": key,
        "basisOfRecord": basis,
        "taxonKey": 99,
        "speciesKey": taxon_key,
        "scientificName": "Echinops ritro L.",
        "recordedBy": "A. Botanist",
        "eventDate": "2020-06-01T12:00:00",
        "license": "http://creativecommons.org/licenses/by/4.0/legalcode",
        "media": [{"type": "StillImage", "identifier": f"https://pictures.example/{key}.jpg", **(media or {})}],
    }


def gbif(match: Json, *records: Json) -> dict[str, Any]:
    listed = {"offset": 0, "limit": 50, "endOfRecords": True, "count": len(records), "results": list(records)}
    return {"/v1/species/match": match, "/v1/occurrence/search": listed}


def test_gbif_asks_for_the_accepted_taxon_of_a_synonym_and_checks_each_record() -> None:
    match = {"usageKey": 4, "acceptedUsageKey": 5, "matchType": "EXACT", "kingdom": "Plantae", "rank": "SPECIES",
             "species": "Echinops ritro", "synonym": True}  # fmt: skip
    pages, asked = ask(
        "gbif", gbif(match, occurrence(1), occurrence(2, 6)), Query("1", "x", "Echinops ruthenicus flower")
    )
    assert asked[0].query["kingdom"] == "Plantae"
    assert asked[1].query["taxonKey"] == "5"
    assert [candidate.source_id for candidate in pages[0].candidates] == ["1:0"]
    assert pages[0].odd == 1
    assert pages[0].note == "Echinops ritro (species, Plantae)"


def test_gbifs_media_of_one_record_are_of_one_origin_and_inaturalists_of_their_observation() -> None:
    match = {"usageKey": 5, "matchType": "EXACT", "kingdom": "Plantae"}
    several = occurrence(1)
    several["media"] = [{**several["media"][0], "identifier": f"https://pictures.example/{name}.jpg"} for name in "abc"]
    relayed = {**occurrence(2), "references": "https://www.inaturalist.org/observations/77"}
    pages, _ = ask("gbif", gbif(match, several, relayed), Query("1", "x", "Echinops ritro"))
    groups = [candidate.provenance_group for candidate in pages[0].candidates]
    assert groups == ["gbif:1"] * 3 + ["inaturalist:77"]


def test_gbif_leaves_another_kingdoms_taxon() -> None:
    match = {"usageKey": 4, "matchType": "EXACT", "kingdom": "Animalia", "rank": "GENUS"}
    pages, asked = ask("gbif", gbif(match, occurrence(1)), Query("1", "x", "Echinops flower"))
    assert (pages[0].candidates, len(asked)) == ((), 1)
    assert pages[0].note == "no taxon among Plantae is called 'Echinops'"


ALBA = {"usageKey": 5, "matchType": "EXACT", "kingdom": "Plantae", "rank": "SPECIES", "canonicalName": "Rosa alba"}


@pytest.mark.parametrize(
    "match",
    [
        {**ALBA, "matchType": "FUZZY", "canonicalName": "Rosa albx"},
        {**ALBA, "matchType": "FUZZY"},
        {**ALBA, "matchType": "HIGHERRANK", "canonicalName": "Rosa"},
        {**ALBA, "canonicalName": "Rosa albx", "scientificName": "Rosa albx L."},
        {**ALBA, "canonicalName": "Rosa", "rank": "GENUS"},
        {**ALBA, "kingdom": None},
        {"matchType": "NONE", "confidence": 100},
    ],
)
def test_gbif_takes_no_taxon_that_is_only_like_the_name(match: Json) -> None:
    pages, asked = ask("gbif", gbif(match, occurrence(1)), Query("1", "x", "rose", "Rosa alba", "Plantae"))
    assert (pages[0].candidates, len(asked)) == ((), 1)
    assert pages[0].note == "no taxon among Plantae is called 'Rosa alba'"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("Rosa × alba", ALBA),
        ("rosa alba", ALBA),
        ("Rosa alba L.", {**ALBA, "scientificName": "Rosa alba L."}),
        ("Rosa canina subsp. alba", {**ALBA, "canonicalName": "Rosa canina alba"}),
        ("Rosa usitatissima", {**ALBA, "usageKey": 4, "acceptedUsageKey": 5, "canonicalName": "Rosa usitatissima"}),
    ],
)
def test_gbif_takes_the_name_itself_however_it_is_written(name: str, match: Json) -> None:
    pages, asked = ask("gbif", gbif(match, occurrence(1)), Query("1", "x", "rose", name, "Plantae"))
    assert asked[1].query["taxonKey"] == "5"
    assert len(pages[0].candidates) == 1


def test_gbif_judges_a_record_without_keys_by_its_name_and_leaves_one_of_absence() -> None:
    def bare(key: int, **told: str) -> Json:
        record = occurrence(key)
        del record["taxonKey"], record["speciesKey"]
        return {**record, **told}

    match = {**ALBA, "canonicalName": "Echinops ritro"}
    records = [
        bare(1),
        bare(2, scientificName="Echinops bannaticus Rochel"),
        bare(3, scientificName="Echinops ritrodes"),
        {**occurrence(4), "occurrenceStatus": "ABSENT"},
        {**occurrence(5), "occurrenceStatus": "PRESENT"},
    ]
    pages, _ = ask("gbif", gbif(match, *records), Query("1", "x", "Echinops ritro"))
    assert [candidate.source_id for candidate in pages[0].candidates] == ["1:0", "5:0"]
    assert pages[0].odd == 3


@pytest.mark.parametrize(
    "record",
    [
        {"references": "https://www.inaturalist.org/observations/501"},
        {"occurrenceID": "https://uk.inaturalist.org/observations/501", "references": "https://dataset.example/"},
        {"catalogNumber": "501", "datasetKey": "50c9509d-22c7-4a22-a47d-8c48425ef4a7"},
    ],
)
def test_gbif_tells_the_observation_of_a_photo_on_inaturalist(record: Json) -> None:
    """A photo's page, which is all that Openverse tells, leads to the observation by what GBIF tells of both."""
    relayed = {**occurrence(1, media={"references": "https://www.inaturalist.org/photos/1"}), **record}
    pages, _ = ask(
        "gbif", gbif({**ALBA, "canonicalName": "Echinops ritro"}, relayed), Query("1", "x", "Echinops ritro")
    )
    (found,) = pages[0].candidates
    assert (found.provenance_group, found.key) == ("inaturalist:501", "inaturalist:1")


def test_gbif_brings_herbarium_sheets_only_where_they_are_asked_for() -> None:
    match = {
        "usageKey": 5,
        "matchType": "EXACT",
        "kingdom": "Plantae",
        "rank": "SPECIES",
        "canonicalName": "Echinops ritro",
    }
    records = (occurrence(1), occurrence(2, basis="PRESERVED_SPECIMEN"))
    pages, asked = ask("gbif", gbif(match, *records), Query("1", "x", "Echinops ritro"))
    assert "HUMAN_OBSERVATION" in asked[1].query["basisOfRecord"].split(",")
    assert [candidate.source_id for candidate in pages[0].candidates] == ["1:0"]
    assert (pages[0].odd, pages[0].specimens) == (0, 1), "it is none of the odd ones"
    pages, asked = ask("gbif", gbif(match, *records), Query("1", "x", "Echinops ritro"), specimens=True)
    assert pages[0].specimens == 0
    assert "basisOfRecord" not in asked[1].query
    assert [candidate.source_id for candidate in pages[0].candidates] == ["1:0", "2:0"]


def test_specimens_are_a_count_of_their_own_and_the_advice_names_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    match = {**ALBA, "canonicalName": "Echinops ritro"}
    kinds = ["HUMAN_OBSERVATION", "PRESERVED_SPECIMEN", "FOSSIL_SPECIMEN", "MATERIAL_SAMPLE"]
    nowhere = {"identifier": "http://127.0.0.1:9/picture.jpg"}
    records = [occurrence(number, basis=kind, media=nowhere) for number, kind in enumerate(kinds, 1)]
    records.append({**occurrence(9), "occurrenceStatus": "ABSENT"})
    answers = gbif(match, *records)

    def reply(request: Request) -> Reply:
        if request.path in answers:
            found = answers[request.path]
            return Reply(json.dumps(found(request) if callable(found) else found).encode(), "application/json")
        return Reply(b"gone", "text/plain", 404)

    def told(*, specimens: bool) -> tuple[dict[str, int], int, str]:
        with Server(reply) as server:
            network = Network(loopback_ports=frozenset({server.port}), services={"gbif": server.url}, budgets={})
            options = ScrapeOptions(9, None, 100, specimens=specimens)
            query = Query("1", "x", "Echinops ritro")
            report = scrape(tmp_path / "out", [query], options, sources=("gbif",), network=network, keys={})
        scraping_reports.scraping(report)
        (found,) = report.yields
        assert found.unique + found.lost.total() == found.found
        return dict(found.lost), found.found, " ".join(capsys.readouterr().out.split())

    lost, found, said = told(specimens=False)
    assert (lost["specimen"], lost["odd record"], found) == (3, 1, 5)
    assert "3 specimen" in said
    assert re.search(r"Try .*--specimens.*\.", said)
    lost, found, said = told(specimens=True)
    assert "specimen" not in lost
    assert "--specimens" not in said


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ({"creator": "Ann", "rightsHolder": "Garden"}, "Ann"),
        ({"creator": "unknown", "rightsHolder": "Garden"}, "Garden"),
        ({}, "A. Botanist"),
    ],
)
def test_gbif_credits_whoever_is_named_nearest_to_the_picture(media: dict[str, str], expected: str) -> None:
    match = {"usageKey": 5, "matchType": "EXACT", "kingdom": "Plantae"}
    pages, _ = ask("gbif", gbif(match, occurrence(1, media=media)), Query("1", "x", "Echinops ritro"))
    assert pages[0].candidates[0].author == expected


def file(number: int, user: str = "Uploader", **metadata: str) -> Json:
    info = {
        "url": f"https://upload.wikimedia.org/wikipedia/commons/a/ab/{number}.jpg",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{number}.jpg",
        "width": 800, "height": 600, "mime": "image/jpeg", "user": user,
        "extmetadata": {key: {"value": value, "source": "x"} for key, value in metadata.items()},
    }  # fmt: skip
    return {"pageid": number, "index": number, "title": f"File:{number}.jpg", "imageinfo": [info]}


def test_commons_does_not_take_the_uploader_for_the_author() -> None:
    pages = [
        file(1, Artist="<a href='x'>Ann</a>"),
        file(2, Credit="Photo by <b>Ben</b>"),
        file(3),
        file(4, Credit="Own work"),
        file(5, Artist="No machine-readable author provided. Eve~commonswiki assumed (based on copyright claims)."),
        file(6, Artist="This file is lacking author information."),
        file(7, Artist="Ann", DateTimeOriginal="2012-06-03 14:22:10"),
    ]
    answer = {"batchcomplete": True, "query": {"pages": pages}}
    found = ask("wikimedia", {"/w/api.php": answer}, Query("1", "x", "rose"))[0][0].candidates
    assert [candidate.author for candidate in found] == ["Ann", "Photo by Ben", "", "Uploader", "Eve", "", "Ann"]
    assert found[-1].taken_at == "2012-06-03 14:22:10"


def test_a_file_of_commons_without_its_particulars_is_counted_and_closes_nothing() -> None:
    """A file that was deleted meanwhile has no `imageinfo`, and may be the last of a search; one may come later."""

    def answer(request: Request) -> Json:
        bare = {"pageid": 9, "index": 9, "title": "File:9.jpg"}
        if request.query.get("gsroffset") == "50":
            return {"batchcomplete": True, "query": {"pages": [bare]}}
        if "iicontinue" in request.query:
            more = {"continue": {"gsroffset": 50, "continue": "gsroffset||"}}
            return {"batchcomplete": True, "query": {"pages": [file(2), {**bare, "pageid": 8}]}, **more}
        more = {"continue": {"iicontinue": "2.jpg", "continue": "||"}}
        later = {"pageid": 2, "index": 2, "title": "File:2.jpg"}
        return {"query": {"pages": [file(1), later]}, **more}

    pages, _ = ask("wikimedia", {"/w/api.php": answer}, Query("1", "x", "rose"))
    assert [[candidate.source_id for candidate in page.candidates] for page in pages] == [["1"], ["2"], []]
    assert [page.odd for page in pages] == [0, 1, 1]


@pytest.mark.parametrize("deepest", [1_000, 10])
def test_a_category_of_commons_is_found_under_the_taxon(deepest: int, tmp_path: Path) -> None:
    """And by the category itself where too much lies below it."""
    with LocalWeb(plant_one(tmp_path, "poppy", 120), {"poppy": ("corn poppy", "Papaver rhoeas")}) as web:
        web.offer.deepest = deepest

        async def walk() -> list[CandidatePage]:
            async with Fetcher(web.network(services={"commons_category": f"{web.url}/wikimedia"})) as fetcher:
                source = open_source("commons_category", fetcher, SourceOptions(None))
                pages, cursor = [], None
                while True:
                    pages.append(await source.page(Query("poppy", "corn poppy", "Papaver rhoeas flower"), 10, cursor))
                    cursor = pages[-1].next
                    if cursor is None:
                        return pages

        pages = asyncio.run(walk())
        asked = {visit.query["gsrsearch"].partition(":")[0] for visit in web.visits("/wikimedia/w/")}
    assert len({candidate.source_id for page in pages for candidate in page.candidates}) == 120
    assert pages[0].note == "Category:Papaver rhoeas"
    assert ("incategory" in asked) is (deepest == 10)


def test_a_category_by_name_is_of_one_class() -> None:
    with pytest.raises(UserError, match="'Rosa' is of one class: choose it with --classes"):
        asyncio.run(_opened("commons_category:Rosa", ("rose", "iris")))
    asyncio.run(_opened("commons_category:Category:Rosa", ("rose",)))


async def _opened(spec: str, labels: tuple[str, ...]) -> None:
    async with Fetcher(Network()) as fetcher:
        open_source(spec, fetcher, SourceOptions(None, labels))


def test_flickr_is_asked_by_relevance_and_for_sizes_that_are_large_enough() -> None:
    licences = {"stat": "ok", "licenses": {"license": [{"id": 4, "name": "CC BY 2.0", "url": ""}]}}

    def answer(request: Request) -> Json:
        if request.query["method"] == "flickr.photos.licenses.getInfo":
            return licences
        host = "https://live.staticflickr.com/1"
        sizes = [
            {"url_m": f"{host}/{n}_ab.jpg", f"url_{size}": f"{host}/{n}_ab_{size}.jpg"} for n, size in enumerate("cz")
        ]
        photos = [{"id": str(n), "owner": "1@N0", "license": "4", **urls} for n, urls in enumerate(sizes)]
        return {"stat": "ok", "photos": {"page": 1, "pages": 1, "photo": photos}}

    pages, asked = ask("flickr", {"/services/rest/": answer}, Query("1", "x", "rose"), keys={"FLICKR_API_KEY": "a key"})
    assert [candidate.url.rpartition("/")[2] for candidate in pages[0].candidates] == ["0_ab_c.jpg", "1_ab_z.jpg"]
    assert asked[-1].query["sort"] == "relevance", "the newest come first otherwise"
    assert {"url_c", "url_z"} <= set(asked[-1].query["extras"].split(","))


@pytest.mark.parametrize("words", ["", "Unknown author", "unknown", "Anonymous", "N/A", " - ", "author unknown"])
def test_words_that_say_that_nobody_is_known_are_no_name(words: str) -> None:
    assert stated_author(words) == ""


@pytest.mark.parametrize("words", ["None Such", "A. Unknown-Smith", "Ann", "Lacking, John"])
def test_names_stay_names(words: str) -> None:
    assert stated_author(words) == words
