"""A download that somebody has asked GBIF for: `gbif_download:FILE.zip`, `…:KEY`, `…:DOI` or `…:URL`.

A Darwin Core archive has more than the search gives (no end at 100,000 records), and a DOI by which the records are to
be cited (https://www.gbif.org/citation-guidelines); it goes into each credit. The traps: its tables are written as its
meta.xml says, and not all alike; records and media stand in two of them; and a synonym's records bear the key of the
accepted taxon beside their own. Records are judged as those of the search are (`curate.sources.gbif`). The archive of
another publisher, which has no keys of GBIF's, is searched by scientific names.
https://techdocs.gbif.org/en/data-use/download-formats
"""

import asyncio
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from curate.downloading.transfer import RemoteFile
from curate.errors import UserError
from curate.sources.darwin_core.archive import DarwinCoreArchive
from curate.sources.darwin_core.descriptor import ArchiveTable
from curate.sources.gbif import ABSENT, ALIVE, LINEAGE, NAMES, match_taxon, occurrence_candidates
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.large_files import bring_files, of_address, renew_files
from curate.sources.protocol.long_reading import Watch, read_aside
from curate.sources.protocol.records import read_records
from curate.sources.protocol.taxa import Taxon, begins_with, in_kingdom, plain_name
from curate.sources.protocol.variety import spread
from curate.web.answers import JsonValue, SourceFailed
from curate.web.api import Api

PAGE_SIZE = 200
MOST_RECORDS = 10_000
"""Of one class; drawn by lot where the archive has more."""
_NAME = "gbif_download"
_MEDIA = ("Multimedia", "Image")
_KEY = re.compile(r"(?:https?://(?:www\.)?gbif\.org/occurrence/download/)?(\d{7}-\d{15,18})/?$")
_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[^\s?#]+)$", re.IGNORECASE)
_TOLD = (
    *("scientificName", "references", "license", "rightsHolder", "recordedBy", "eventDate"),
    *("occurrenceID", "catalogNumber", "datasetKey"),
)
_TOLD_OF_MEDIA = ("references", "creator", "rightsHolder", "license", "created")
_CORE = (
    "gbifID",
    "basisOfRecord",
    "occurrenceStatus",
    "mediaType",
    "associatedMedia",
    "kingdom",
    *_TOLD,
    *NAMES,
    *LINEAGE,
)
_OF_MEDIA = ("identifier", "accessURI", "type", "format", *_TOLD_OF_MEDIA)
_KINDS = {"stillimage": "StillImage", "image": "StillImage", "sound": "Sound", "audio": "Sound", "video": "MovingImage"}
_IS_KEY = re.compile(r"[0-9]{1,12}")
_SEVERAL = re.compile(r"\s*[|;,]\s*(?=https?://)")

Row = Mapping[str, str]
Record = dict[str, Any]
"""A record in the shape of the service's own answers."""
Asked = tuple[str, str]


@dataclass
class _Class:
    """What the archive has for one query: the taxon, and its records, drawn by lot where there are many.

    `matched` counts the records of the taxon, but for those without pictures; `dead` the specimens that were left out.
    """

    said: str
    taxon: int = -1
    records: list[tuple[int, int, Record]] = field(default_factory=list)
    matched: int = 0
    dead: int = 0

    def take(self, record: Record) -> None:
        self.matched += 1
        drawn = (-zlib.crc32(str(record["key"]).encode("utf-8", "replace")), self.matched, record)
        if len(self.records) < MOST_RECORDS:
            heappush(self.records, drawn)
        else:
            heappushpop(self.records, drawn)


class Search:
    """The pictures of one archive, by the taxa that their records bear."""

    home: ClassVar[str] = "https://api.gbif.org"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        if not options.argument:
            raise UserError(
                f"The source '{_NAME}' needs a download: --source {_NAME}:FILE.zip, or its key or DOI at GBIF."
            )
        self._api = api
        self._options = options
        file = Path(options.argument).expanduser()
        here = os.path.isfile(file)  # noqa: PTH113  Path's raises for a long name
        self._remote = not here and ("://" in options.argument or bool(_named(options.argument)))
        if not self._remote and not here:
            raise UserError(f"There is no file {file}: give the zip of a download, or its key or DOI at GBIF.")
        self._file = None if self._remote else file
        if self._file is not None:
            _require_readable(self._file)  # so that what cannot be read is said before anything begins
        self._doi = ""
        self._classes: dict[Asked, _Class] | None = None
        self._listed: tuple[Asked, list[Candidate], int] | None = None
        self._ready = asyncio.Lock()
        self._looked = False

    @property
    def state(self) -> str:
        """The size and time of the file, brought or not; a download at GBIF never changes."""
        file = self._kept_place() if self._remote else self._file
        if file is None:
            return ""
        try:
            stat = file.stat()
        except OSError:
            return ""
        return f"{stat.st_size} {stat.st_mtime_ns}"

    async def prepare(self) -> None:
        """Bring the archive if need be, and read it once for all classes.

        Raises SourceFailed where it cannot be brought, UserError for an archive that cannot be used.
        """
        async with self._ready:
            if self._classes is None:
                if self._file is None:
                    self._file = await self._bring()
                self._classes = await self._read(self._file)

    async def renew(self) -> None:
        """Look once whether an archive that was brought from an address has changed, and bring it anew then."""
        async with self._ready:
            place = self._kept_place()
            if self._looked or place is None or self._options.dry:
                return
            self._looked = True
            await renew_files(
                _NAME, self._api.fetcher, [RemoteFile(self._options.argument)], place.parent,
                progress=self._options.progress, say=self._options.say, check=_require_readable,
            )  # fmt: skip

    def _kept_place(self) -> Path | None:
        """Where an archive from an address lies, or will lie; None for one of GBIF's own, and for a file."""
        argument, kept = self._options.argument, self._options.kept
        if not self._remote or kept is None or _named(argument):
            return None
        return of_address(kept, argument) / RemoteFile(argument).name

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The number of pictures listed so far is the cursor."""
        await self.prepare()
        assert self._classes is not None
        own = self._classes[_asked(query)]
        if self._listed is None or self._listed[0] != _asked(query):
            self._listed = (_asked(query), *self._candidates(own, query.taxon))
        _, found, odd = self._listed
        start = whole_number(cursor, 0)
        following = start + PAGE_SIZE
        return CandidatePage(
            tuple(found[start:following]),
            str(following) if following < len(found) else None,
            odd if start == 0 else 0,
            own.said if own.taxon < 0 and not own.matched else self._note(own, len(found)),
            own.dead if start == 0 else 0,
        )

    def _note(self, own: _Class, pictures: int) -> str:
        dead = f", {own.dead:,} specimen{'s' * (own.dead != 1)} left out (--specimens)" if own.dead else ""
        kept = f"{len(own.records):,} of {own.matched:,}" if len(own.records) < own.matched else f"{own.matched:,}"
        return f"{own.said}: {kept} records{dead}, {pictures:,} pictures of a wanted licence"

    async def _bring(self) -> Path:
        """The archive's file, fetched unless an earlier run has."""
        argument, kept = self._options.argument, self._options.kept
        if kept is None:
            raise SourceFailed(_NAME, "there is no place to keep the download: give it as a file")
        url, folder = argument, of_address(kept, argument)
        if named := _named(argument):
            answer = await self._api.get(f"/v1/occurrence/download/{named}", {})
            url, folder, self._doi = _link(answer), kept, answer.optional_text("doi").lower()
        file = RemoteFile(url)
        if self._options.dry and not (folder / file.name).is_file():
            raise SourceFailed(
                _NAME, "the download is not here yet, and a dry run brings none: run it without --dry-run"
            )
        if (folder / file.name).is_file():
            return folder / file.name
        (path,) = await bring_files(
            _NAME, self._api.fetcher, [file], folder, progress=self._options.progress, say=self._options.say
        )
        return path

    async def _read(self, file: Path) -> dict[Asked, _Class]:
        queries = {_asked(query): query for query in self._options.queries}
        with DarwinCoreArchive(file) as archive:
            core, media = _tables(archive)
            self._doi = self._doi or archive.doi()
            by_key = any(name in core.fields for name in LINEAGE)
            classes = {asked: await self._class(query, by_key=by_key) for asked, query in queries.items()}
            size = archive.size(core) + (archive.size(media) if media else 0)
            reader = _Reader(archive, core, media, self._doi, specimens=self._options.specimens)
            pairs = [(queries[asked], own) for asked, own in classes.items()]
            await read_aside(
                f"Reading {file.name}", size, self._options.progress, lambda watch: reader.fill(pairs, watch)
            )
        return classes

    async def _class(self, query: Query, *, by_key: bool) -> _Class:
        if not by_key:
            return _Class(f"records called '{query.taxon}'")
        taxon = await match_taxon(self._api, query)
        return _Class(taxon.said, taxon.key) if isinstance(taxon, Taxon) else _Class(taxon)

    def _candidates(self, own: _Class, called: str) -> tuple[list[Candidate], int]:
        """The pictures of a wanted licence, of many authors and months first, and how many records were odd."""
        drawn = [JsonValue(_NAME, record) for _, _, record in sorted(own.records, reverse=True)]
        found, odd = read_records(
            drawn, lambda record: occurrence_candidates(record, own.taxon, called, specimens=self._options.specimens)
        )
        wanted = self._options.licenses
        cited = f"https://doi.org/{self._doi}" if self._doi else ""
        chosen = [replace(one, citation=cited) for one in found if wanted is None or one.license.code in wanted]
        # Of one record the first picture first.
        chosen.sort(key=lambda one: int(one.source_id.rpartition(":")[2]))
        authors, months = _numbered(one.author for one in chosen), _numbered(one.taken_at[:7] for one in chosen)
        order = spread(authors, months, np.arange(len(chosen)))
        return [chosen[place] for place in order.tolist()], odd


def _numbered(words: Iterable[str]) -> NDArray[np.int64]:
    """The same number for the same word, int64[n]."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64)


class _Reader:
    """Fills classes with the records of an archive: one pass over the core, one over the media."""

    def __init__(
        self, archive: DarwinCoreArchive, core: ArchiveTable, media: ArchiveTable | None, doi: str, *, specimens: bool
    ) -> None:
        self._archive = archive
        self._core = core
        self._media = media
        self._doi = doi
        self._specimens = specimens

    def fill(self, classes: Sequence[tuple[Query, _Class]], watch: Watch) -> None:
        """Raises UserError for a damaged table."""
        by_key: dict[str, list[_Class]] = defaultdict(list)
        for _, own in classes:
            by_key[str(own.taxon)].append(own)
        for row in self._archive.rows(self._core, _CORE, watch):
            if row["mediaType"] and "StillImage" not in row["mediaType"]:
                continue
            if row["occurrenceStatus"].upper() == ABSENT:
                continue
            keys = {row[name] for name in LINEAGE if _IS_KEY.fullmatch(row[name])}
            owners = [own for key in keys for own in by_key.get(key, ())] if keys else _named_by(row, classes)
            self._give(row, keys, owners)
        if self._media is not None:
            self._add_media(self._media, [own for _, own in classes], watch)
        for _, own in classes:
            everything, own.records = own.records, [drawn for drawn in own.records if drawn[2]["media"]]
            own.matched -= len(everything) - len(own.records)

    def _give(self, row: Row, keys: set[str], owners: Sequence[_Class]) -> None:
        basis = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", row["basisOfRecord"]).upper()
        if not owners:
            return
        if basis and basis not in ALIVE and not self._specimens:
            for own in owners:
                own.dead += 1
            return
        record: Record = {name: row[name] or None for name in (*_TOLD, *NAMES)}
        record |= {name: int(row[name]) for name in LINEAGE if row[name] in keys}
        record |= {
            "key": row["gbifID"] or f"{self._archive.path.stem}:{row[''] or row['occurrenceID']}",
            "id": row[""],
            "basisOfRecord": basis,
        }
        if not row["gbifID"]:
            link = row["occurrenceID"] if row["occurrenceID"].startswith(("http://", "https://")) else ""
            record["references"] = row["references"] or link or (f"https://doi.org/{self._doi}" if self._doi else None)
        urls = _SEVERAL.split(row["associatedMedia"]) if self._media is None and row["associatedMedia"] else []
        record["media"] = [{"identifier": url, "type": "StillImage"} for url in urls]
        for own in owners:
            own.take(record)

    def _add_media(self, table: ArchiveTable, classes: Sequence[_Class], watch: Watch) -> None:
        by_id: dict[str, Record | None] = {}
        for one in (record for own in classes for _, _, record in own.records):
            same = by_id.setdefault(one["id"], one)
            if same is None or same["key"] != one["key"]:
                by_id[one["id"]] = None  # whose the pictures are, such an id does not tell
        by_id[""] = None
        for row in self._archive.rows(table, _OF_MEDIA, watch):
            record = by_id.get(row[""])
            if record is not None:
                told = {name: row[name] or None for name in _TOLD_OF_MEDIA}
                url = row["identifier"] if table.row_type == "Image" or not row["accessURI"] else row["accessURI"]
                record["media"].append({**told, "identifier": url or None, "type": _kind(row)})


def _named_by(row: Row, classes: Sequence[tuple[Query, _Class]]) -> list[_Class]:
    """The classes whose taxon one of a record's scientific names begins with: *Echinops ritro* L. is an Echinops."""
    names = [row[name] for name in NAMES if row[name]]
    return [
        own for query, own in classes if begins_with(query.taxon, names) and in_kingdom(row["kingdom"], query.kingdom)
    ]


def _kind(row: Row) -> str:
    """`http://purl.org/dc/dcmitype/StillImage`, `image` and `image/jpeg` are a StillImage; "" for unknown."""
    word = row["type"].rstrip("/").rpartition("/")[2] or row["format"].partition("/")[0]
    return _KINDS.get(word.lower(), word)


def _require_readable(file: Path) -> None:
    """Raise UserError for a file that is no archive of occurrences with pictures, by what it says of itself."""
    with DarwinCoreArchive(file) as archive:
        _tables(archive)


def _tables(archive: DarwinCoreArchive) -> tuple[ArchiveTable, ArchiveTable | None]:
    """The table of records and, where there is one, that of their media. Raises UserError."""
    core, extensions = archive.descriptor.core, archive.descriptor.extensions
    if core.row_type != "Occurrence":
        raise UserError(
            f"The archive {archive.path} is of {core.row_type or 'nothing'} records, not of occurrences: ask for a "
            "download of occurrences."
        )
    usable = [one for one in extensions if one.row_type in _MEDIA and archive.holds(one) and one.id is not None]
    media = usable[0] if usable and core.id is not None else None
    if media is None and "associatedMedia" not in core.fields:
        raise UserError(
            f"The archive {archive.path} names no pictures: ask GBIF for a download in the format Darwin Core archive, "
            "of occurrences with images."
        )
    return core, media


def _named(argument: str) -> str:
    """The key or DOI of a download that an argument is, as a link or alone; "" for a file or another address."""
    found = _KEY.match(argument) or _DOI.match(argument)
    return found[1] if found is not None else ""


def _link(answer: JsonValue) -> str:
    """Where a download lies. Raises UserError where it lies nowhere, or is in a form without pictures."""
    key, status = answer.text("key"), answer.text("status")
    if status in ("PREPARING", "RUNNING", "SUSPENDED"):
        raise UserError(f"The download {key} is not ready yet ({status.lower()}): run the same command again later.")
    if status != "SUCCEEDED":
        said = status.lower().replace("_", " ")
        raise UserError(f"GBIF has no file of the download {key} ({said}): ask for it anew at www.gbif.org.")
    form = answer.at("request").optional_text("format") if answer.has("request") else ""
    if form and form != "DWCA":
        raise UserError(f"The download {key} is in the format {form}, which names no pictures: ask for it as DWCA.")
    return answer.text("downloadLink")


def _asked(query: Query) -> Asked:
    return plain_name(query.taxon), query.kingdom
