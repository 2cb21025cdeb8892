"""Darwin Core archives that somebody has asked for: the right records, their media and credits, and no harm."""

import asyncio
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands.scraping_reports import piped_preview
from curate.errors import UserError
from curate.scrape import Scraped, scrape
from curate.scraping.preview import preview
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import gbif_download, open_source
from curate.sources.darwin_core import archive as archives
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.licenses import OPEN
from curate.web.answers import SourceFailed
from curate.web.fetch import Fetcher
from curate.web.hosts import HostBudget
from curate.web.network import Network
from testing.webserver import Reply, Request, Server
from tests.pictures import draw

KEY, DOI = "0108986-200613084148143", "10.15468/dl.hx3uzz"
RITRO = Query("10", "globe thistle", "Echinops ritro flower")
MATCH = {"usageKey": 4, "acceptedUsageKey": 5, "matchType": "EXACT", "kingdom": "Plantae", "rank": "SPECIES",
         "species": "Echinops ritro", "synonym": True}  # fmt: skip
TERMS = {
    **dict.fromkeys(
        ("gbifID", "taxonKey", "acceptedTaxonKey", "speciesKey", "genusKey", "acceptedScientificName", "mediaType"),
        "http://rs.gbif.org/terms/1.0/",
    ),
    **dict.fromkeys(
        ("license", "references", "rightsHolder", "identifier", "type", "format", "creator", "created", "publisher"),
        "http://purl.org/dc/terms/",
    ),
    "accessURI": "http://rs.tdwg.org/ac/terms/",
}
CORE = (
    *("gbifID", "license", "references", "rightsHolder", "basisOfRecord", "recordedBy", "eventDate", "scientificName"),
    *("kingdom", "taxonKey", "acceptedTaxonKey", "speciesKey", "genusKey", "acceptedScientificName", "mediaType"),
)
MEDIA = (
    *("gbifID", "type", "format", "identifier", "references", "created", "creator", "publisher", "license"),
    "rightsHolder",
)
METADATA = f"""<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0" packageId="0ac6620a" scope="system">
<dataset><alternateIdentifier>https://doi.org/{DOI}</alternateIdentifier>
<title>GBIF Occurrence Download {DOI.upper()}</title></dataset></eml:eml>"""

Row = Mapping[str, str]


def occurrence(key: int, **changes: str) -> dict[str, str]:
    return {
        "gbifID": str(key), "license": "CC_BY_4_0", "basisOfRecord": "HUMAN_OBSERVATION",
        "recordedBy": "A. Botanist", "eventDate": "2020-06-01T12:00:00", "scientificName": "Echinops ritro L.",
        "kingdom": "Plantae", "taxonKey": "9", "acceptedTaxonKey": "5", "speciesKey": "5", "genusKey": "3",
        "mediaType": "StillImage", **changes,
    }  # fmt: skip


def medium(key: int, name: str = "1", **changes: str) -> dict[str, str]:
    return {"gbifID": str(key), "type": "StillImage", "format": "image/jpeg",
            "identifier": f"https://pictures.example/{key}/{name}.jpg", **changes}  # fmt: skip


def table(
    kind: str, row_type: str, file: str, terms: Sequence[str], fields: str = "", ignored: int = 1, told: str = ""
) -> str:
    told = told or r'encoding="UTF-8" fieldsTerminatedBy="\t" linesTerminatedBy="\n" fieldsEnclosedBy=""'
    columns = "".join(
        f'<field index="{place}" term="{TERMS.get(term, "http://rs.tdwg.org/dwc/terms/")}{term}"/>'
        for place, term in enumerate(terms)
    )
    own_id = "id" if kind == "core" else "coreid"
    return (
        f'<{kind} {told} ignoreHeaderLines="{ignored}" rowType="{row_type}"><files><location>{file}</location></files>'
        f'<{own_id} index="0"/>{columns}{fields}</{kind}>'
    )


OCCURRENCES = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.txt", CORE)
VERBATIM = table("extension", "http://rs.tdwg.org/dwc/terms/Occurrence", "verbatim.txt", CORE)
MULTIMEDIA = table("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "multimedia.txt", MEDIA)


def described(*tables: str) -> str:
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{"".join(tables)}</archive>'


def text(terms: Sequence[str], rows: Sequence[Row], delimiter: str = "\t", quote: str = "", end: str = "\n") -> str:
    lines = [terms, *([row.get(term, "") for term in terms] for row in rows)]
    return "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in line) + end for line in lines)


def packed(path: Path, members: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members(occurrences: Sequence[Row], media: Sequence[Row], **others: str) -> dict[str, str | bytes]:
    """The files of a download as GBIF makes one."""
    return {
        "occurrence.txt": text(CORE, occurrences),
        "multimedia.txt": text(MEDIA, media),
        "verbatim.txt": text(CORE, []),
        "meta.xml": described(OCCURRENCES, VERBATIM, MULTIMEDIA),
        "metadata.xml": METADATA,
        "citations.txt": "When using this dataset please use the following citation: …",
        "rights.txt": "",
        "dataset/0310b080.xml": "<eml/>",
        **others,
    }


class Gbif:
    """The service's two answers, downloads and pictures, on loopback; `with service.server:`."""

    def __init__(self, match: Mapping[str, Any] = MATCH) -> None:
        self.match = match
        self.download: dict[str, Any] = {}
        self.archive = b""
        self.asked: list[str] = []
        self.server = Server(self._answer)

    def _answer(self, request: Request) -> Reply:
        self.asked.append(request.path)
        if request.path == "/v1/species/match":
            return Reply(json.dumps(self.match).encode(), "application/json")
        if request.path in (f"/v1/occurrence/download/{KEY}", f"/v1/occurrence/download/{DOI}"):
            return Reply(json.dumps(self.download).encode(), "application/json")
        if request.path.endswith(".zip"):
            return Reply(self.archive, "application/zip")
        if request.path.endswith(".jpg"):
            return Reply(draw(sum(request.path.encode()), (300, 200)), "image/jpeg")
        return Reply(b"", "text/plain", 404)

    @property
    def network(self) -> Network:
        return Network(
            loopback_ports=frozenset({self.server.port}),
            services={"gbif_download": self.server.url},
            budgets={"127.0.0.1": HostBudget(connections=16)},
        )


def ask(argument: Path | str, service: Gbif, query: Query = RITRO, **options: Any) -> list[CandidatePage]:
    async def walk() -> list[CandidatePage]:
        async with Fetcher(service.network) as fetcher:
            asked = SourceOptions(options.pop("licenses", None), queries=(query,), **options)
            source = open_source(f"gbif-download:{argument}", fetcher, asked)
            pages, cursor = [], None
            while True:
                pages.append(await source.page(query, 10, cursor))
                cursor = pages[-1].next
                if cursor is None:
                    return pages

    with service.server:
        return asyncio.run(walk())


def candidates(pages: Sequence[CandidatePage]) -> dict[str, Candidate]:
    return {one.source_id: one for page in pages for one in page.candidates}


def test_the_accepted_taxons_records_come_with_all_their_media(tmp_path: Path) -> None:
    rows = [
        occurrence(1),
        occurrence(2, acceptedTaxonKey="6", speciesKey="6"),  # another species
        occurrence(3, basisOfRecord="PRESERVED_SPECIMEN"),
        occurrence(4, mediaType="Sound"),
        occurrence(5, recordedBy="Eve", references="https://www.inaturalist.org/observations/77"),
        occurrence(6, taxonKey="5", acceptedTaxonKey="", speciesKey=""),
        occurrence(7),  # without media
    ]
    media = [
        medium(5, creator="Ben", license="http://creativecommons.org/licenses/by-nc/4.0/"),
        medium(1, "1"),
        medium(1, "2", license="© all rights reserved", created="2020-06-02"),
        medium(1, "3", type="Sound", format="audio/mpeg"),
        medium(2),
        medium(3),
        medium(6, type="", references="https://sheets.example/6"),
        medium(99),
    ]
    pages = ask(packed(tmp_path / "download.zip", members(rows, media)), Gbif())
    found = candidates(pages)
    assert set(found) == {"1:0", "1:1", "5:0", "6:0"}
    assert {one.provenance_group for one in found.values()} == {"gbif:1", "inaturalist:77", "gbif:6"}
    assert {found[key].author for key in ("1:0", "1:1", "6:0")} == {"A. Botanist"}
    assert (found["5:0"].author, found["5:0"].license.name) == ("Ben", "CC BY-NC 4.0")
    assert (found["1:0"].license.name, found["1:1"].license.name) == ("CC BY 4.0", "unknown")
    assert (found["1:0"].taken_at, found["1:1"].taken_at) == ("2020-06-01T12:00:00", "2020-06-02")
    assert found["1:0"].landing_page == "https://www.gbif.org/occurrence/1"
    assert found["6:0"].landing_page == "https://sheets.example/6"
    assert {one.citation for one in found.values()} == {f"https://doi.org/{DOI}"}
    assert pages[0].note == (
        "Echinops ritro (species, Plantae): 3 records, 1 specimen left out (--specimens), "
        "4 pictures of a wanted licence"
    )
    assert [page.specimens for page in pages] == [1]
    with_dead = ask(tmp_path / "download.zip", Gbif(), specimens=True)
    assert set(candidates(with_dead)) == {*found, "3:0"}
    assert set(candidates(ask(tmp_path / "download.zip", Gbif(), licenses=OPEN))) == {"1:0", "6:0"}


@pytest.mark.parametrize("table_of", [OCCURRENCES, MULTIMEDIA], ids=["core", "media"])
def test_an_id_beyond_the_row_joins_nothing_and_is_told(table_of: str, tmp_path: Path) -> None:
    meta = described(OCCURRENCES, VERBATIM, MULTIMEDIA)
    wrong = table_of.replace('id index="0"', 'id index="999"')
    content = members(
        [occurrence(1), occurrence(2)], [medium(1), medium(2)], **{"meta.xml": meta.replace(table_of, wrong)}
    )
    with pytest.raises(UserError, match=r"its meta.xml puts the id of \w+.txt into column 999, which no row there has"):
        ask(packed(tmp_path / "x.zip", content), Gbif())


def test_rows_without_an_id_and_records_that_share_one_get_no_pictures(tmp_path: Path) -> None:
    by_license = OCCURRENCES.replace('<id index="0"/>', '<id index="1"/>')
    of_license = MULTIMEDIA.replace('<coreid index="0"/>', '<coreid index="8"/>')
    rows = [occurrence(1), occurrence(2), occurrence(3, license="CC0_1_0"), occurrence(4, license="")]
    media = [medium(1, license="CC_BY_4_0"), medium(3, license="CC0_1_0"), medium(4)]
    content = members(rows, media, **{"meta.xml": described(by_license, VERBATIM, of_license)})
    assert set(candidates(ask(packed(tmp_path / "x.zip", content), Gbif()))) == {"3:0"}


def test_a_record_of_absence_is_left_out_and_an_observation_is_known_by_its_dataset(tmp_path: Path) -> None:
    terms = (*CORE, "occurrenceStatus", "catalogNumber", "datasetKey")
    core = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.txt", terms)
    told = {"catalogNumber": "501", "datasetKey": "50c9509d-22c7-4a22-a47d-8c48425ef4a7"}
    rows = [occurrence(1, occurrenceStatus="ABSENT"), occurrence(2, occurrenceStatus="PRESENT", **told)]
    content = members([], [medium(1), medium(2, references="https://www.inaturalist.org/photos/9")])
    content |= {"occurrence.txt": text(terms, rows), "meta.xml": described(core, VERBATIM, MULTIMEDIA)}
    (found,) = candidates(ask(packed(tmp_path / "x.zip", content), Gbif())).values()
    assert (found.source_id, found.provenance_group, found.key) == ("2:0", "inaturalist:501", "inaturalist:9")


def test_a_class_is_of_many_authors_first(tmp_path: Path) -> None:
    rows = [occurrence(one, recordedBy="Ann" if one < 400 else f"Author {one}") for one in range(450)]
    path = packed(tmp_path / "a.zip", members(rows, [medium(one, name) for one in range(450) for name in "12"]))
    pages = ask(path, Gbif())
    found = list(candidates(pages).values())
    assert (len(found), len(pages)) == (900, 5)
    assert len({one.author for one in found[:51]}) == 51
    of_ann = [one for one in found if one.author == "Ann"]
    assert len({one.provenance_group for one in of_ann[:400]}) == 400


def test_of_very_many_records_some_are_drawn_by_lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gbif_download, "MOST_RECORDS", 20)
    path = packed(tmp_path / "a.zip", members([occurrence(n) for n in range(90)], [medium(n) for n in range(90)]))
    first, again = ask(path, Gbif()), ask(path, Gbif())
    assert first == again
    found = sorted(int(key.partition(":")[0]) for key in candidates(first))
    assert len(found) == 20
    assert found[-1] > 60
    assert "20 of 90 records" in first[0].note


WAYS: dict[str, Callable[[], dict[str, str | bytes]]] = {}


def way(name: str) -> Callable[[Callable[[], dict[str, str | bytes]]], None]:
    def enter(make: Callable[[], dict[str, str | bytes]]) -> None:
        WAYS[name] = make

    return enter


def rewritten(told: str, encoding: str, **how: str) -> dict[str, str | bytes]:
    core = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.txt", CORE, told=told)
    media = table("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "multimedia.txt", MEDIA, told=told)
    return {
        "occurrence.txt": text(CORE, [occurrence(1, recordedBy="Zoë Müller")], **how).encode(encoding),
        "multimedia.txt": text(MEDIA, [medium(1)], **how).encode(encoding),
        "meta.xml": described(core, media),
    }


@way("commas and quotes")
def _quoted() -> dict[str, str | bytes]:
    made = rewritten(
        'encoding="utf-8" fieldsTerminatedBy="," linesTerminatedBy="\\r\\n" fieldsEnclosedBy="&quot;"',
        "utf-8", delimiter=",", quote='"', end="\r\n",
    )  # fmt: skip
    content = made["occurrence.txt"]
    assert isinstance(content, bytes)
    made["occurrence.txt"] = content.replace(b"Echinops ritro L.", b'Echinops ritro ""L."",\n1753')
    return made


@way("the descriptor's own defaults")
def _defaults() -> dict[str, str | bytes]:
    return rewritten("linesTerminatedBy='\\n'", "utf-8", delimiter=",", quote='"')


@way("Windows' letters, semicolons")
def _windows() -> dict[str, str | bytes]:
    return rewritten('encoding="windows-1252" fieldsTerminatedBy=";" fieldsEnclosedBy=""', "cp1252", delimiter=";")


@way("UTF-16")
def _utf16() -> dict[str, str | bytes]:
    return rewritten('encoding="UTF-16" fieldsTerminatedBy="\\t" fieldsEnclosedBy=""', "utf-16")


@way("everything in a folder, and what a Mac leaves")
def _folder() -> dict[str, str | bytes]:
    made = members([occurrence(1, recordedBy="Zoë Müller")], [medium(1)])
    return {**{f"0108986/{name}": content for name, content in made.items()}, "__MACOSX/meta.xml": b"\0"}


@way("no header, columns in another order, rows cut short, a value for all rows")
def _no_header() -> dict[str, str | bytes]:
    terms = ("gbifID", "recordedBy", "speciesKey", "taxonKey", "references")
    licence = '<field default="http://creativecommons.org/licenses/by/4.0/" term="http://purl.org/dc/terms/license"/>'
    told = r'encoding="UTF-8" fieldsTerminatedBy="\t" linesTerminatedBy="\n" fieldsEnclosedBy=""'
    core = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "o.txt", terms, licence, 0, told)
    media = table(
        "extension", "http://rs.gbif.org/terms/1.0/Multimedia", "m.txt", ("gbifID", "identifier"), "", 0, told
    )
    return {
        "o.txt": "1\tZoë Müller\t5\n\n2\n",
        "m.txt": "1\thttps://pictures.example/1/1.jpg\n",
        "meta.xml": described(core, media),
    }


@way("media in the core alone")
def _associated() -> dict[str, str | bytes]:
    terms = (*CORE, "associatedMedia")
    core = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.txt", terms)
    row = occurrence(1, recordedBy="Zoë Müller", associatedMedia="https://pictures.example/1/1.jpg")
    return {"occurrence.txt": text(terms, [row]), "meta.xml": described(core, MULTIMEDIA)}


@way("Audubon Core")
def _audubon() -> dict[str, str | bytes]:
    terms = ("gbifID", "accessURI", "type")
    media = table("extension", "http://rs.tdwg.org/ac/terms/Multimedia", "ac.txt", terms)
    row = {"gbifID": "1", "accessURI": "https://pictures.example/1/1.jpg", "type": "http://purl.org/dc/dcmitype/Image"}
    return {
        "occurrence.txt": text(CORE, [occurrence(1, recordedBy="Zoë Müller", basisOfRecord="HumanObservation")]),
        "ac.txt": text(terms, [row]),
        "meta.xml": described(OCCURRENCES, media),
    }


@pytest.mark.parametrize("name", WAYS)
def test_tables_are_read_as_the_descriptor_says(name: str, tmp_path: Path) -> None:
    (found,) = candidates(ask(packed(tmp_path / "a.zip", WAYS[name]()), Gbif())).values()
    assert found.url == "https://pictures.example/1/1.jpg"
    assert (found.author, found.license.name) == ("Zoë Müller", "CC BY 4.0")
    if "quotes" in name:
        assert found.title == 'Echinops ritro "L.",\n1753'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query("1", "x", "Echinops flower"), {"x:a:0", "x:b:0"}),
        (Query("1", "x", "Echinops ritro"), {"x:a:0"}),
        (Query("1", "x", "Echinops", "", "Animalia"), {"x:c:0"}),
        (Query("1", "x", "ritro"), set()),
        (Query("1", "x", "Echino"), set()),
    ],
)
def test_another_publishers_archive_is_searched_by_names(tmp_path: Path, query: Query, found: set[str]) -> None:
    terms = ("occurrenceID", "scientificName", "kingdom", "basisOfRecord", "license", "recordedBy")
    core = table("core", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.txt", terms)
    rows = [
        {"occurrenceID": "a", "scientificName": "Echinops ritro L.", "kingdom": "Plantae"},
        {"occurrenceID": "b", "scientificName": "Echinops sphaerocephalus L.", "basisOfRecord": "HumanObservation"},
        {"occurrenceID": "c", "scientificName": "Echinops telfairi Martin", "kingdom": "Animalia"},
        {"occurrenceID": "d", "scientificName": "Centaurea echinops", "kingdom": "Plantae"},
    ]
    if query.kingdom == "Animalia":
        rows[1]["kingdom"] = "Plantae"
    media = [medium(0, gbifID=row["occurrenceID"]) for row in rows]
    eml = '<eml packageId="https://doi.org/10.5886/abc.1"><dataset/></eml>'
    path = packed(
        tmp_path / "x.zip",
        {"occurrence.txt": text(terms, rows), "multimedia.txt": text(MEDIA, media),
         "meta.xml": described(core, MULTIMEDIA).replace("metadata.xml", "eml.xml"), "eml.xml": eml},
    )  # fmt: skip
    service = Gbif()
    got = candidates(ask(path, service, query))
    assert set(got) == found
    assert service.asked == [], "its records have no keys of GBIF's"
    assert {one.citation for one in got.values()} <= {"https://doi.org/10.5886/abc.1"}
    assert {one.landing_page for one in got.values()} <= {"https://doi.org/10.5886/abc.1"}


def bomb() -> bytes:
    return b"1\t" + b"a" * (80 << 20)


BILLION_LAUGHS = '<!DOCTYPE archive [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>' + described(
    OCCURRENCES, MULTIMEDIA
).replace("occurrence.txt", "&b;")
EXTERNAL = '<!DOCTYPE archive SYSTEM "file:///etc/passwd">' + described(OCCURRENCES)
LAUGHS = '<!DOCTYPE eml [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
HOSTILE: dict[str, tuple[dict[str, str | bytes], str]] = {
    "a way out": (members([], []) | {"../../escaped.txt": b"x"}, "leads outside"),
    "an absolute path": (members([], []) | {"/etc/escaped": b"x"}, "leads outside"),
    "a drive": (members([], []) | {"C:evil": b"x"}, "leads outside"),
    "a backslash": (members([], []) | {"a\\..\\..\\b": b"x"}, "leads outside"),
    "a bomb": (members([], []) | {"occurrence.txt": bomb()}, "unpacks to 83,886,082 bytes"),
    "a long line": (members([], []) | {"occurrence.txt": b"1\t" + b"ab" * (1 << 20)}, "a line of over"),
    "entities": (members([], []) | {"meta.xml": BILLION_LAUGHS}, "has a document type"),
    "an external entity": (members([], []) | {"meta.xml": EXTERNAL}, "has a document type"),
    "entities in the metadata": (
        members([], []) | {"metadata.xml": f"<?xml version='1.0'?><!-- -->{LAUGHS}" + METADATA},
        "its metadata.xml has a document type",
    ),
    "an external entity in the metadata": (
        members([], []) | {"metadata.xml": '<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + METADATA},
        "its metadata.xml has a document type",
    ),
    "entities in metadata of two bytes a letter": (
        members([], []) | {"metadata.xml": (LAUGHS + METADATA).encode("utf-16")}, "its metadata.xml has a document type"
    ),
    "entities in metadata that are no XML": (
        members([], []) | {"metadata.xml": f"</a>{LAUGHS}" + METADATA}, "its metadata.xml has a document type"
    ),
    "entities in the metadata of another name": (
        members([], []) | {"about.xml": LAUGHS + METADATA,
                           "meta.xml": described(OCCURRENCES, MULTIMEDIA).replace("metadata.xml", "about.xml")},
        "its about.xml has a document type",
    ),
    "entities in two bytes a letter": (
        members([], []) | {"meta.xml": BILLION_LAUGHS.encode("utf-16")}, "has a document type"
    ),
    "no XML": (members([], []) | {"meta.xml": "<archive"}, "is no XML"),
    "another XML": (members([], []) | {"meta.xml": "<html/>"}, "describes no archive"),
    "deep XML": (members([], []) | {"meta.xml": "<a>" * 200 + "</a>" * 200}, "far too many elements"),
    "an unknown encoding": (
        members([], []) | {"meta.xml": described(OCCURRENCES.replace("UTF-8", "klingon"), MULTIMEDIA)},
        "names the encoding 'klingon'",
    ),
    "a delimiter of two signs": (
        members([], []) | {"meta.xml": described(OCCURRENCES.replace("\\t", "||"), MULTIMEDIA)}, "parts columns by"
    ),
    "a table that is not there": (
        {name: content for name, content in members([], []).items() if name != "occurrence.txt"},
        "lacks occurrence.txt",
    ),
    "events": (
        members([], []) | {"meta.xml": described(OCCURRENCES.replace("/Occurrence", "/Event"), MULTIMEDIA)},
        "of Event records, not of occurrences",
    ),
    "no media": (members([], []) | {"meta.xml": described(OCCURRENCES, VERBATIM)}, "names no pictures"),
    "a simple CSV": ({f"{KEY}.csv": "gbifID\tspecies\n"}, "has no meta.xml, and so is no Darwin Core archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_means_harm_or_is_none_is_refused(name: str, tmp_path: Path) -> None:
    content, said = HOSTILE[name]
    path = packed(tmp_path / "a.zip", content)
    with pytest.raises(UserError, match=said) as refused:
        ask(path, Gbif())
    assert str(path) in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"], "nothing was unpacked"


def test_an_encrypted_a_cut_and_a_false_archive_are_refused(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", members([occurrence(n) for n in range(50)], [medium(1)])).read_bytes()
    place = whole.index(b"PK\x01\x02")
    for content, said in (
        (whole[: len(whole) // 2], "damaged or no zip"),
        (b"no zip", "damaged or no zip"),
        (
            whole[:place] + whole[place:].replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x01\x00\x08\x00", 1),
            "encrypted",
        ),
        (whole[:60] + bytes(40) + whole[100:], "damaged"),
    ):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(UserError, match=said):
            ask(tmp_path / "a.zip", Gbif())


def test_a_row_that_is_no_text_is_an_odd_record(tmp_path: Path) -> None:
    made = members([occurrence(1), occurrence(2)], [medium(1), medium(2), medium(2, identifier="http://[")])
    content = made["occurrence.txt"]
    assert isinstance(content, str)
    made["occurrence.txt"] = content.replace("A. Botanist", "Zo\udceb", 1).encode("utf-8", "surrogateescape")
    (page,) = ask(packed(tmp_path / "a.zip", made), Gbif())
    assert page.candidates == ()
    assert page.odd == 2


@pytest.mark.parametrize(
    "argument",
    [KEY, DOI, f"doi:{DOI}", f"https://doi.org/{DOI}", f"https://www.gbif.org/occurrence/download/{KEY}", "URL"],
)
def test_a_download_is_brought_by_its_key_its_doi_or_its_address_once(argument: str, tmp_path: Path) -> None:
    service, said = Gbif(), list[str]()
    made = packed(tmp_path / "a.zip", members([occurrence(1)], [medium(1)]))
    service.archive = made.read_bytes()
    with service.server:
        link = f"{service.server.url}/v1/occurrence/download/request/{KEY}.zip"
        service.download = {"key": KEY, "doi": DOI, "status": "SUCCEEDED", "downloadLink": link, "size": 9,
                            "request": {"format": "DWCA"}}  # fmt: skip

        async def once() -> CandidatePage:
            async with Fetcher(service.network) as fetcher:
                options = SourceOptions(None, queries=(RITRO,), kept=tmp_path / "kept", say=said.append)
                spec = f"gbif_download:{link if argument == 'URL' else argument}"
                return await open_source(spec, fetcher, options).page(RITRO, 10, None)

        first = asyncio.run(once())
        asked = [path for path in service.asked if path.endswith(".zip")]
        assert asyncio.run(once()) == first
        assert [path for path in service.asked if path.endswith(".zip")] == asked
    assert len(asked) == 2, "its size is asked for, and then it is brought"
    assert {one.citation for one in first.candidates} == {f"https://doi.org/{DOI}"}
    assert len(said) == 1
    assert f"brings {KEY}.zip ({len(service.archive) / 1e3:,.1f} kB)" in said[0]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"status": "RUNNING"}, "is not ready yet"),
        ({"status": "FILE_ERASED"}, r"has no file of the download \S+ \(file erased\)"),
        ({"status": "SUCCEEDED", "request": {"format": "SIMPLE_CSV"}}, "in the format SIMPLE_CSV"),
    ],
)
def test_a_download_that_cannot_be_used_is_told(told: dict[str, Any], said: str, tmp_path: Path) -> None:
    service = Gbif()
    service.download = {"key": KEY, "doi": DOI, "downloadLink": "https://api.gbif.org/x.zip", **told}
    with pytest.raises(UserError, match=said):
        ask(KEY, service, kept=tmp_path)


def test_a_dry_run_brings_no_download(tmp_path: Path) -> None:
    service = Gbif()
    service.download = {"key": KEY, "doi": DOI, "status": "SUCCEEDED", "downloadLink": "https://api.gbif.org/x.zip"}
    with pytest.raises(SourceFailed, match="a dry run brings none"):
        ask(KEY, service, kept=tmp_path, dry=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["", "missing.zip"])
def test_a_file_that_is_not_there_is_told(argument: str) -> None:
    with pytest.raises(UserError, match=r"gbif_download:FILE\.zip|There is no file missing\.zip"):
        ask(argument, Gbif())


def brought(service: Gbif, out: Path, spec: str) -> Scraped:
    return scrape(out, [RITRO], ScrapeOptions(10, OPEN, 100), sources=(spec,), network=service.network, keys={})


def test_the_doi_is_in_the_credits_and_a_changed_archive_is_read_again(tmp_path: Path) -> None:
    service = Gbif()
    out, path = tmp_path / "out", tmp_path / "download.zip"
    with service.server:

        def write(*keys: int) -> None:
            media = [medium(key, identifier=f"{service.server.url}/{key}.jpg") for key in keys]
            packed(path, members([occurrence(key) for key in keys], media))

        write(1, 2)
        report = brought(service, out, f"gbif-download:{path}")
        assert report.new == 2
        assert brought(service, out, f"gbif-download:{path}").new == 0
        write(1, 2, 3)
        report = brought(service, out, f"gbif-download:{path}")
    assert report.new == 1
    text_ = report.credits.read_text(encoding="utf-8")
    assert text_.count(f"via gbif\\_download, https://doi.org/{DOI}") == 3
    assert f"- https://doi.org/{DOI}\n" in text_, "what is to be cited stands together"
    (table_,) = report.metadata
    assert table_.read_text(encoding="utf-8").count(f'"gbif_download, https://doi.org/{DOI}"') == 3
    assert {one.source for one in report.yields} == {f"gbif_download:{path}"}


def test_an_archive_that_has_changed_at_its_address_is_brought_anew(tmp_path: Path) -> None:
    service, said = Gbif(), list[str]()
    with service.server:
        link = f"{service.server.url}/archive.zip"

        def publish(*keys: int) -> None:
            media = [medium(key, identifier=f"{service.server.url}/{key}.jpg") for key in keys]
            made = packed(tmp_path / "a.zip", members([occurrence(key) for key in keys], media))
            service.archive = made.read_bytes()

        def run() -> int:
            return scrape(tmp_path / "out", [RITRO], ScrapeOptions(10, OPEN, 100), sources=(f"gbif_download:{link}",),
                          network=service.network, keys={}, say=said.append).new  # fmt: skip

        publish(1, 2)
        assert run() == 2
        assert run() == 0
        publish(1, 2, 3)
        assert run() == 1
        service.archive = b"no zip"
        assert run() == 0
    assert ["brings archive.zip" in said[0], "brings anew what has changed, archive.zip" in said[1]] == [True, True]
    assert re.fullmatch(r"gbif_download: archive\.zip has changed and .* no zip .*: what is here is used\.", said[3])


def test_the_doi_goes_along_with_a_list_of_candidates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service, listing = Gbif(), tmp_path / "listed.jsonl"
    with service.server:
        path = packed(
            tmp_path / "a.zip", members([occurrence(1)], [medium(1, identifier=f"{service.server.url}/1.jpg")])
        )
        options = ScrapeOptions(5, OPEN, 100)
        shown = preview(tmp_path / "no", [RITRO], options, sources=(f"gbif_download:{path}",), network=service.network)
        piped_preview(shown, {})
        listing.write_text(capsys.readouterr().out, encoding="utf-8")
        report = brought(service, tmp_path / "out", f"urls:{listing}")
    assert report.new == 1
    assert f"- https://doi.org/{DOI}\n" in report.credits.read_text(encoding="utf-8")


def test_a_table_is_no_larger_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_UNPACKED", 3000)
    path = packed(tmp_path / "a.zip", members([occurrence(n) for n in range(100)], []))
    with pytest.raises(UserError, match=r"occurrence\.txt' in it unpacks to"):
        ask(path, Gbif())
