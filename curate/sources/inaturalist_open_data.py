"""iNaturalist Open Data: the tables of all openly licensed photos on iNaturalist, without a call to its API.

`inaturalist_open_data` brings the four tables (photos, observations, taxa, observers) once, `…:URL` from another place,
and `…:FOLDER` reads those that lie in a folder, as `.csv.gz` or unpacked. This is what iNaturalist asks those for who
want many. The tables' traps: they are of no use one by one and far too large to be joined in memory, so they are read
once for all classes (`curate.sources.open_data`); photos belong to observations by UUID, while the API and GBIF know
observations by number; they know scientific names alone; and their licence words bear no version.
https://github.com/inaturalist/inaturalist-open-data
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from curate.downloading.transfer import RemoteFile
from curate.errors import UserError
from curate.files.ours import WorkFolder
from curate.sources.inaturalist import CC_VERSION
from curate.sources.open_data.kept_photos import FILE, Asked, KeptPhotos, MeantTaxon, read_photos, write_photos
from curate.sources.open_data.photo_scan import (
    OBSERVATION_COLUMNS,
    OBSERVER_COLUMNS,
    PHOTO_COLUMNS,
    Rows,
    find_photos,
    lots_of,
    settings_of,
)
from curate.sources.open_data.table_rows import require_columns
from curate.sources.open_data.taxa_table import TAXON_COLUMNS, MeantTaxa, find_taxa
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.large_files import bring_files, of_address, renew_files
from curate.sources.protocol.licenses import read_license
from curate.sources.protocol.long_reading import Watch, read_aside
from curate.sources.protocol.records import read_records
from curate.sources.protocol.taxa import Taxon, plain_name
from curate.sources.protocol.variety import nth_of_its_group, spread
from curate.web.answers import SourceFailed
from curate.web.api import Api

PAGE_SIZE = 200
_COLUMNS = {
    "taxa": TAXON_COLUMNS,
    "observations": OBSERVATION_COLUMNS,
    "photos": PHOTO_COLUMNS,
    "observers": OBSERVER_COLUMNS,
}
TABLES = tuple(_COLUMNS)
_NAME = "inaturalist_open_data"
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,8}")


class Search:
    """Photos of research-grade observations of a taxon and all below it: first one of each observer."""

    home: ClassVar[str] = "https://inaturalist-open-data.s3.amazonaws.com"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        self._api = api
        self._options = options
        self._url = options.argument if "://" in options.argument else "" if options.argument else api.home
        self._folder = options.kept if self._url else Path(options.argument).expanduser()
        if options.kept is not None and "://" in options.argument:
            self._folder = of_address(options.kept, options.argument)
        self._kept: KeptPhotos | None = None
        self._ready = asyncio.Lock()
        self._looked = False
        if not self._url:
            _require_readable(self._tables())  # so that what cannot be read is said before anything begins

    @property
    def state(self) -> str:
        """Which tables: their names, sizes and times; "" as long as they are not here."""
        try:
            tables = self._tables()
            stats = [tables[name].stat() for name in TABLES]
        except (UserError, OSError):
            return ""
        told = [
            f"{tables[name].name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in zip(TABLES, stats, strict=True)
        ]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    async def prepare(self) -> None:
        """Bring the tables if need be, and find the photos of all classes in them, unless an earlier run has.

        Raises SourceFailed where they cannot be brought, UserError for tables that cannot be read.
        """
        async with self._ready:
            if self._kept is None:
                if self._url:
                    await self._bring()
                self._kept = await self._find()

    async def renew(self) -> None:
        """Look once whether the tables that were brought have changed, and bring those anew."""
        async with self._ready:
            if self._looked or not self._url or self._folder is None or self._options.dry:
                return
            self._looked = True
            await renew_files(
                _NAME, self._api.fetcher, self._files(), self._folder,
                progress=self._options.progress, say=self._options.say,
                check=lambda table: require_columns(table, _COLUMNS[table.name.partition(".")[0]]),
            )  # fmt: skip

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The number of photos listed so far is the cursor."""
        await self.prepare()
        kept = self._kept
        assert kept is not None
        meant = kept.meant[_asked(query)]
        if meant.key < 0:
            return CandidatePage((), note=meant.said)
        start = whole_number(cursor, 0)
        photos, note = self._photos_of(kept, meant)
        part = photos[start : start + PAGE_SIZE]
        found, odd = read_records(part, lambda photo: [self._candidate(kept, meant, photo)])
        following = start + PAGE_SIZE
        return CandidatePage(found, str(following) if following < len(photos) else None, odd, note)

    async def _bring(self) -> None:
        if self._folder is None or (self._options.dry and not self.state):
            raise SourceFailed(
                _NAME, "its tables are not here yet, and a dry run brings none: run it without --dry-run"
            )
        if not self.state:
            await bring_files(
                _NAME, self._api.fetcher, self._files(), self._folder,
                progress=self._options.progress, say=self._options.say,
            )  # fmt: skip

    def _files(self) -> list[RemoteFile]:
        return [RemoteFile(f"{self._url.rstrip('/')}/{name}.csv.gz") for name in TABLES]

    async def _find(self) -> KeptPhotos:
        """The photos of all classes: those that are kept, or else what the tables hold."""
        version, asked = self.state, {_asked(query) for query in self._options.queries}
        file = self._options.kept / FILE if self._options.kept is not None else None
        kept = read_photos(file) if file is not None else None
        if kept is not None and kept.version == version and asked <= set(kept.meant):
            return kept
        # Classes of runs before stay, so that runs that take turns do not read the tables each time.
        before = [] if kept is None else [Query("", "", name, name, kingdom) for name, kingdom in kept.meant]
        queries = list({_asked(query): query for query in [*self._options.queries, *before]}.values())
        tables = self._tables()
        size = sum(tables[name].stat().st_size for name in (*TABLES, "taxa"))
        found = await read_aside(
            "Reading iNaturalist's tables", size, self._options.progress,
            lambda watch: _find_in(tables, queries, version, watch),
        )  # fmt: skip
        if file is not None and not self._options.dry:
            WorkFolder(file.parent).make()
            write_photos(file, found)
        return found

    def _tables(self) -> dict[str, Path]:
        """The tables' files by their names. Raises UserError where one is lacking."""
        folder = self._folder
        if folder is None:
            raise UserError("There is no place for the tables of iNaturalist Open Data: give their folder.")
        found = {
            name: next((path for ending in (".csv.gz", ".csv") if (path := folder / f"{name}{ending}").is_file()), None)
            for name in TABLES
        }
        lacking = [f"{name}.csv.gz" for name, path in found.items() if path is None]
        if lacking:
            raise UserError(
                f"The folder {folder} lacks {', '.join(lacking)}: give one with the four tables of iNaturalist Open "
                f"Data, or leave the folder out, and they are brought: --source {_NAME}."
            )
        return {name: path for name, path in found.items() if path is not None}

    def _photos_of(self, kept: KeptPhotos, meant: MeantTaxon) -> tuple[Rows, str]:
        """A taxon's photos of a wanted licence in the order in which they are given, and what they are in words."""
        found = kept.found
        own = [number for number, keys in enumerate(kept.slots) if meant.key in keys]
        photos = found.photos[np.isin(found.photos["slot"], own)]
        wanted = self._options.licenses
        codes = [read_license(word, version=CC_VERSION).code for word in found.licenses]
        allowed = [number for number, code in enumerate(codes) if wanted is None or code in wanted]
        chosen = photos[np.isin(photos["license"], allowed)]
        seen, taken = (sum(counts.get(number, 0) for number in own) for counts in (found.seen, found.kept))
        of = f"{taken:,} of {seen:,}" if taken < seen else f"{seen:,}"
        note = (
            f"{meant.said}: {of} observations, {len(photos):,} photos, {len(chosen):,} of a wanted licence by "
            f"{len(np.unique(chosen['observer'])):,} observers"
        )
        return _in_order(chosen), note

    def _candidate(self, kept: KeptPhotos, meant: MeantTaxon, photo: np.void) -> Candidate:
        found = kept.found
        extension = found.extensions[int(photo["extension"])]
        if not _EXTENSION.fullmatch(extension):
            raise ValueError(f"{extension!a} is no extension of a file")
        number, day = int(photo["photo"]), int(photo["day"])
        digits = f"{int(photo['high']):016x}{int(photo['low']):016x}"
        uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        width, height = int(photo["width"]), int(photo["height"])
        return Candidate(
            url=f"{self._api.home}/photos/{number}/large.{extension}",
            source_id=str(number),
            landing_page=f"https://www.inaturalist.org/observations/{uuid}",
            title=meant.name,
            author=found.observers.get(int(photo["observer"]), ""),
            license=read_license(found.licenses[int(photo["license"])], version=CC_VERSION),
            width=width if width > 0 else None,
            height=height if height > 0 else None,
            provenance_group=f"inaturalist:{uuid}",
            taken_at=f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}" if day else "",
        )


def _require_readable(tables: Mapping[str, Path]) -> None:
    """Raise UserError where a table's first rows cannot be read, or it lacks a column."""
    for name, columns in _COLUMNS.items():
        require_columns(tables[name], columns)


def _asked(query: Query) -> Asked:
    return plain_name(query.taxon), query.kingdom


def _find_in(tables: dict[str, Path], queries: Sequence[Query], version: str, watch: Watch) -> KeptPhotos:
    taxa = find_taxa(tables["taxa"], queries, watch)
    slots = sorted(set(taxa.below.values()))
    numbers = {keys: number for number, keys in enumerate(slots)}
    slot_of = {taxon: numbers[keys] for taxon, keys in taxa.below.items()}
    return KeptPhotos(version, _meant(queries, taxa), slots, find_photos(tables, slot_of, watch))


def _meant(queries: Sequence[Query], taxa: MeantTaxa) -> dict[Asked, MeantTaxon]:
    return {
        _asked(query): MeantTaxon(taxon.key, taxon.said, taxon.name)
        if isinstance(taxon, Taxon)
        else MeantTaxon(-1, taxon)
        for query, taxon in zip(queries, taxa.chosen, strict=True)
    }


def _in_order(photos: Rows) -> Rows:
    """First the first photo of one observation of each observer, of many places and years; each photo once."""
    photos = photos[np.unique(photos["photo"], return_index=True)[1]]
    observations = np.unique(photos["high"], return_inverse=True)[1].astype(np.int64)
    within = nth_of_its_group(observations, np.argsort(photos["position"], kind="stable"))
    drawn = np.argsort(np.lexsort((lots_of(photos), within)))
    order = spread(photos["observer"].astype(np.int64), settings_of(photos), drawn)
    return photos[order]
