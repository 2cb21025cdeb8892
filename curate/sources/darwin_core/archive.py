"""A zip from a stranger that holds tables: read row by row where it lies; nothing is unpacked to the disk."""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self

from curate.errors import UserError
from curate.sources.darwin_core.descriptor import (
    LARGEST,
    ArchiveTable,
    Descriptor,
    NoDescriptor,
    has_document_type,
    read_descriptor,
)
from curate.sources.protocol.long_reading import Watch

MOST_UNPACKED = 256 * 2**30
"""Bytes of one table."""
MOST_TIMES = 300
"""So much smaller than its content no packed table is: rows of one archive are not alike enough for that."""
_SMALL = 64 * 2**20  # bytes, below which it does not matter how well something is packed
_LONGEST_LINE = 1 << 20  # letters
_MOST_ENTRIES = 200_000
_FIRST_BYTES = 1 << 20  # of the file that tells of the whole
_DOWNLOAD = re.compile(r"10\.15468/dl\.[0-9a-z]+", re.IGNORECASE)
_DOI = re.compile(
    r"(?:<alternateIdentifier>\s*|packageId=\")(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[^\s<>\"]{1,200})",
    re.IGNORECASE,
)
_METADATA = ("metadata.xml", "eml.xml")


class DarwinCoreArchive:
    """`with DarwinCoreArchive(path) as archive:`. Raises UserError for what is none, and for one that means harm."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._in_words():
            self._zip = zipfile.ZipFile(path)
        try:
            with self._in_words():
                self._folder = self._checked()
                self.descriptor = self._descriptor()
                self._refuse_document_types()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def size(self, table: ArchiveTable) -> int:
        """The bytes of a table, unpacked, as the archive announces them."""
        return sum(info.file_size for name in table.files if (info := self._info(name)) is not None)

    def holds(self, table: ArchiveTable) -> bool:
        """Whether all of a table's files are there."""
        return bool(table.files) and all(self._info(name) is not None for name in table.files)

    def rows(self, table: ArchiveTable, terms: Iterable[str], watch: Watch) -> Iterator[Mapping[str, str]]:
        """Each row as term → text, of these terms, and its id under "". `watch` is told of the letters that were read.

        Where a row lacks a column, or the table has no such term, its text is the term's default, or "". Raises
        UserError for a damaged table, and at its end where not one row has the column of the id.
        """
        rows = identified = 0
        known = {"": (table.id, ""), **{term: table.fields.get(term, (None, "")) for term in terms}}
        for name in table.files:
            info = self._info(name)
            if info is None:
                raise self._refused(f"it lacks {name}, which its meta.xml lists")
            with self._in_words(), self._zip.open(info) as packed:
                for row in _rows(packed, info, table, watch):
                    rows += bool(row)
                    identified += table.id is not None and table.id < len(row)
                    yield {
                        term: (row[column].strip() if column is not None and column < len(row) else "") or default
                        for term, (column, default) in known.items()
                    }
        if table.id is not None and rows and not identified:
            raise self._refused(
                f"its meta.xml puts the id of {', '.join(table.files)} into column {table.id}, which no row there has: "
                "correct it there"
            )

    def doi(self) -> str:
        """The DOI of the download, or else of the dataset; "" where it tells none."""
        info = next(iter(self._metadata()), None)
        if info is None:
            return ""
        with self._in_words(), self._zip.open(info) as packed:
            text = packed.read(_FIRST_BYTES).decode("utf-8", "replace")
        found = _DOWNLOAD.search(text)
        if found is not None:
            return found[0].lower()
        other = _DOI.search(text)
        return other[1] if other is not None else ""

    def _checked(self) -> str:
        """The folder in the archive in which everything lies, "" for none. Raises _Harm for names that lead outside."""
        infos = self._zip.infolist()
        if len(infos) > _MOST_ENTRIES:
            raise _Harm(f"it holds more than {_MOST_ENTRIES:,} entries")
        names = [info.filename for info in infos]
        if len(set(names)) != len(names):
            raise _Harm("it holds a file twice")
        for info in infos:
            name = info.filename
            if (
                name.startswith("/")
                or "\\" in name
                or ".." in PurePosixPath(name).parts
                or re.match(r"[A-Za-z]:", name)
            ):
                raise _Harm(f"{name[:80]!a} in it leads outside")
            if info.flag_bits & 1:
                raise _Harm(f"{name[:80]!a} in it is encrypted")
            if info.file_size > MOST_UNPACKED or (
                info.file_size > _SMALL and info.file_size > MOST_TIMES * info.compress_size
            ):
                raise _Harm(f"{name[:80]!a} in it unpacks to {info.file_size:,} bytes, of {info.compress_size:,}")
        places = [name for name in names if PurePosixPath(name).name == "meta.xml" and name.count("/") <= 1]
        places = [name for name in places if not name.startswith("__MACOSX")]
        if not places:
            raise _Harm(
                "it has no meta.xml, and so is no Darwin Core archive: of GBIF, ask for a download in this format; a "
                "simple CSV names no pictures"
            )
        return min(places, key=len).removesuffix("meta.xml")

    def _descriptor(self) -> Descriptor:
        with self._zip.open(f"{self._folder}meta.xml") as packed:
            content = packed.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise _Harm(f"its meta.xml is larger than {LARGEST >> 20} MiB")
        return read_descriptor(content)

    def _metadata(self) -> list[zipfile.ZipInfo]:
        """The files that tell of the whole, the one that the descriptor names first."""
        named = dict.fromkeys(filter(None, (self.descriptor.metadata, *_METADATA)))
        return [info for name in named if (info := self._info(name)) is not None]

    def _refuse_document_types(self) -> None:
        for info in self._metadata():
            with self._zip.open(info) as packed:
                if has_document_type(packed.read(_FIRST_BYTES)):
                    name = PurePosixPath(info.filename).name
                    raise _Harm(f"its {name} has a document type, which no metadata need and which may do harm")

    def _info(self, name: str) -> zipfile.ZipInfo | None:
        try:
            return self._zip.getinfo(self._folder + name)
        except KeyError:
            return None

    def _refused(self, why: str) -> UserError:
        return UserError(f"The archive {self.path} was not read: {why}.")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (_Harm, NoDescriptor) as harm:
            raise self._refused(str(harm)) from harm
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            csv.Error,
            UnicodeError,
        ) as error:
            raise self._refused(f"it is damaged or no zip ({error})") from error
        except OSError as error:
            raise UserError(f"The archive {self.path} cannot be read ({error.strerror}): check the path.") from error


class _Harm(Exception):
    """What is wrong with the archive, as the end of a sentence."""


def _rows(packed: IO[bytes], info: zipfile.ZipInfo, table: ArchiveTable, watch: Watch) -> Iterator[list[str]]:
    # Half a character becomes what no text holds, and its row an odd record.
    text = io.TextIOWrapper(packed, encoding=table.encoding, errors="surrogateescape", newline="\n")
    lines = _lines(text, info, watch)
    for _ in range(table.header_lines):
        next(lines, None)
    if table.quote:
        yield from csv.reader(lines, delimiter=table.delimiter, quotechar=table.quote)
    else:
        for line in lines:
            whole = line.rstrip("\r\n")
            if whole:
                yield whole.split(table.delimiter)


def _lines(text: io.TextIOWrapper, info: zipfile.ZipInfo, watch: Watch) -> Iterator[str]:
    """The lines of a table, as long as they are lines, and no more of them than was announced."""
    read = 0
    while line := text.readline(_LONGEST_LINE + 1):
        read += len(line)
        if len(line) > _LONGEST_LINE:
            raise _Harm(f"{info.filename} in it has a line of over {_LONGEST_LINE:,} letters")
        if read > MOST_UNPACKED:
            raise _Harm(f"{info.filename} in it does not end")
        watch(len(line))
        yield line
