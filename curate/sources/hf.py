"""A dataset on the Hugging Face hub: `hf:DATASET[:CONFIG[:SPLIT]][#COLUMN]`.

`COLUMN` is the one of labels, where there are several. A dataset's Parquet files are read in parts: the end of each,
which says where everything is, then the labels, and of the pictures those row groups that hold one of a class that is
asked for. Other ways were tried and left: the viewer's rows come as pictures that were compressed anew, and the
`datasets` library brings a download of the whole along, past our own checks of addresses and budgets of hosts.

A search keeps to the revision that it began with, which is in the URL of each picture. The licence is the card's, where
it names one that is known; other words count as unknown.
https://huggingface.co/docs/hub/datasets-cards
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from curate.errors import UserError
from curate.extras import require_extra
from curate.sources.hub.columns import Columns, NoColumn, choose_columns
from curate.sources.hub.datasets import Conversion, HubDataset, describe_dataset, find_files, no_access
from curate.sources.hub.file_in_parts import FileInParts
from curate.sources.hub.picture_rows import PictureRows
from curate.sources.hub.row_spool import RowSpool
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions
from curate.sources.protocol.records import read_records
from curate.web.answers import SourceFailed, SourceLimited, SourceRefused
from curate.web.api import Api
from curate.web.retries import FetchFailed

PAGE_SIZE = 500
_UNREADABLE = (ValueError, OSError, TypeError, KeyError, NotImplementedError)
"""What pyarrow raises for a file that is none, broken, or of another kind than it says."""
_GONE = "answered 404"
_MOST_OPEN = 2  # files
_MOST_NAMED = 5  # labels
_SPEC = re.compile(r"(\w[\w.-]*(?:/\w[\w.-]*)?)(?::([^:#]*))?(?::([^:#]*))?(?:#(.+))?", re.ASCII)
_URL = re.compile(r"hf://datasets/([\w./-]+)@([0-9a-f]{7,64})/([^?#]+\.parquet)\?row=(\d{1,12})", re.ASCII)
_CURSOR = re.compile(r"([0-9a-f]{7,64}) (\d{1,6}) (\d{1,12})", re.ASCII)


@dataclass(frozen=True)
class _Opened:
    """A file that is being read: its columns, and each row's label as its place among the names, −1 for none."""

    table: PictureRows
    columns: Columns
    codes: NDArray[np.int64]
    names: list[str]


class Search:
    """The rows whose label is called like the class; pictures are given as the dataset holds them."""

    home: ClassVar[str] = "https://huggingface.co"
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        spec = _SPEC.fullmatch(options.argument)
        if spec is None:
            raise UserError(
                "The source 'hf' needs a dataset: --source hf:OWNER/NAME, with :CONFIG, :SPLIT or #COLUMN behind."
            )
        require_extra("pyarrow", "The source 'hf' needs", "pyarrow", "parquet")
        self._api = api
        self._options = options
        self._name, self._config, self._split, self._column = (part or "" for part in spec.groups())
        self._asked = [Query(label, name, name) for label, name in zip(options.labels, options.names, strict=True)]
        token = options.keys.get("HF_TOKEN")
        self._headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        self._dataset: HubDataset | None = None
        self._files: dict[str, Conversion] = {}
        self._opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._spool = RowSpool()
        self._one_at_a_time = asyncio.Lock()

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The revision, the file's place in order, and the first row that was not looked at are the cursor."""
        begun = _CURSOR.fullmatch(cursor or "")
        revision, place, row = (begun[1], int(begun[2]), int(begun[3])) if begun else ("", 0, 0)
        dataset = await self._describe()
        try:
            files = await self._conversion(revision)
        except SourceFailed as failed:
            if not revision or _GONE not in failed.reason:
                raise
            files, place, row = await self._conversion(""), 0, 0  # the hub keeps no former ones of some datasets
        admitted = self._options.licenses
        if place >= len(files.paths) or (admitted is not None and dataset.license.code not in admitted):
            return CandidatePage(
                (), note="" if begun else f"{_licence_in_words(dataset)}; it is left without --license any"
            )
        path = files.paths[place]
        opened = await self._open(files.revision, path)
        codes = [code for code, name in enumerate(opened.names) if _is_called(query, name)]
        rows = np.flatnonzero(np.isin(opened.codes, codes))
        part = [int(one) for one in rows[rows >= row][:PAGE_SIZE]]
        urls = await self._urls(opened, part) if opened.columns.by_url else {}
        read = [(one, urls.get(one)) for one in part]
        found, odd = read_records(
            read,
            lambda record: [_candidate(dataset, f"{files.revision}/{path}", *record, by_url=opened.columns.by_url)],
        )
        more = len(part) == PAGE_SIZE
        following = (place, part[-1] + 1) if more else (place + 1, 0)
        done = not more and place + 1 >= len(files.paths)
        note = "" if begun else _said(dataset, files, opened, query, known=bool(codes))
        return CandidatePage(found, None if done else f"{files.revision} {following[0]} {following[1]}", odd, note)

    async def give(self, candidate: Candidate) -> str | bytes:
        """The picture's bytes, or its URL where the dataset holds URLs."""
        placed = _URL.fullmatch(candidate.url)
        if placed is None:
            return candidate.url
        _, revision, path, row = placed.groups()
        key = f"{revision}/{path}"
        async with self._one_at_a_time:
            kept = self._spool.get((key, int(row)))
        if kept is not None:
            return kept
        try:
            await self._describe()
            opened = await self._open(revision, path)
            async with self._one_at_a_time:
                kept = self._spool.get((key, int(row)))  # another one may have brought it along
                return kept if kept is not None else await asyncio.to_thread(self._read, opened, key, int(row))
        except SourceFailed as failed:
            if _GONE in failed.reason:
                raise FetchFailed("dead link", failed.reason) from failed
            kind = "rate limited" if isinstance(failed, SourceLimited) else "unreadable"
            raise FetchFailed(kind, failed.reason, passing=True) from failed

    async def _describe(self) -> HubDataset:
        if self._dataset is None:
            self._dataset = await describe_dataset(self._api, self._name, self._headers)
        return self._dataset

    async def _conversion(self, revision: str) -> Conversion:
        if revision not in self._files:
            dataset = await self._describe()
            found = await find_files(self._api, dataset.name, self._config, self._split, self._headers, revision)
            self._files[revision] = self._files[found.revision] = found
        return self._files[revision]

    async def _open(self, revision: str, path: str) -> _Opened:
        """A file with its labels; the few that were used last stay open."""
        async with self._one_at_a_time:
            if (revision, path) not in self._opened:
                loop = asyncio.get_running_loop()
                try:
                    opened = await asyncio.to_thread(self._read_labels, revision, path, loop)
                except SourceRefused as refused:
                    raise no_access(self._api.source, self._name, refused.reason) from refused
                except NoColumn as lacking:
                    raise SourceFailed(self._api.source, f"'{self._name}' has {lacking}") from lacking
                except _UNREADABLE as error:
                    raise SourceFailed(self._api.source, f"{path} cannot be read as Parquet ({error})") from error
                self._opened[revision, path] = opened
                while len(self._opened) > _MOST_OPEN:
                    self._opened.popitem(last=False)
            self._opened.move_to_end((revision, path))
            return self._opened[revision, path]

    def _read_labels(self, revision: str, path: str, loop: asyncio.AbstractEventLoop) -> _Opened:
        assert self._dataset is not None
        place = f"/datasets/{self._dataset.name}/resolve/{revision}/{quote(path)}"
        table = PictureRows(FileInParts(self._api, place, self._headers, loop))
        columns = choose_columns(table.features(), self._column, self._is_asked, table.first_values)
        wanted = [code for code, name in enumerate(columns.names or ()) if self._is_asked(name)]
        return _Opened(table, columns, *table.labels(columns, wanted))

    def _is_asked(self, label: str) -> bool:
        return any(_is_called(query, label) for query in self._asked)

    def _read(self, opened: _Opened, key: str, row: int) -> bytes:
        """One picture. Those of its row group that are of a class asked for come along, and are kept for later."""
        group = opened.table.group_of(row)
        asked = [code for code, name in enumerate(opened.names) if self._is_asked(name)]
        starts = opened.table.starts
        inside = opened.codes[starts[group] : starts[group + 1]]
        rows = {row, *(int(starts[group] + place) for place in np.flatnonzero(np.isin(inside, asked)))}
        found = None
        try:
            for number, content in opened.table.pictures(opened.columns.pictures, group, rows):
                self._spool.put((key, number), content)
                found = content if number == row else found
        except _UNREADABLE as error:
            raise FetchFailed("unreadable", f"{key} cannot be read ({error})") from error
        if found is None:
            raise FetchFailed("not a picture", f"row {row} of {key} holds no picture")
        return found

    async def _urls(self, opened: _Opened, rows: list[int]) -> dict[int, str]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(opened.table.texts, opened.columns.pictures, set(rows))


def _is_called(query: Query, label: str) -> bool:
    """Whether a label is the class's. One that is a number is a place in some list, and not our folder's number."""
    return query.is_called(label) and (not label.strip().isdigit() or label.strip() == query.name.strip())


def _candidate(dataset: HubDataset, place: str, row: int, url: str | None, *, by_url: bool) -> Candidate:
    if by_url and not url:
        raise ValueError(f"row {row} of {place} has no URL")
    return Candidate(
        url=url if by_url and url else f"hf://datasets/{dataset.name}@{place}?row={row}",
        source_id=f"{place}:{row}",
        landing_page=f"https://huggingface.co/datasets/{dataset.name}",
        title=f"{dataset.title}, row {row}",
        author=dataset.owner,
        license=dataset.license,
        author_page=f"https://huggingface.co/{dataset.owner}" if dataset.owner else "",
    )


def _said(dataset: HubDataset, files: Conversion, opened: _Opened, query: Query, *, known: bool) -> str:
    """What is read: the splits, the revision, the column of labels, the licence, and what is amiss with them."""
    columns = opened.columns
    others = f" (others: {', '.join(columns.other_labels)})" if columns.other_labels else ""
    told = [
        f"{dataset.name} {files.said} at {files.revision[:12]}",
        f"its column {columns.labels}{others}",
        _licence_in_words(dataset),
    ]
    if files.partial:
        told.append("of which the hub converts the first 5 GB alone")
    if not known:
        named = ", ".join(f"'{name}'" for name in opened.names[:_MOST_NAMED])
        more = f" and {len(opened.names) - _MOST_NAMED:,} more" if len(opened.names) > _MOST_NAMED else ""
        told.append(f"in whose first file no label is called '{query.name}', but {named or 'none'}{more}")
    return ", ".join(told)


def _licence_in_words(dataset: HubDataset) -> str:
    if dataset.license.code:
        return f"under {dataset.license.name}"
    words = f", as its card says {dataset.license_words}" if dataset.license_words else ""
    return f"under a licence that counts as unknown{words}"
