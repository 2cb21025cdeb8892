"""What an archive's meta.xml says: which of its files are tables, how they are written, and what each column is.

https://dwc.tdwg.org/text/
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

LARGEST = 1 << 22
"""Bytes of a descriptor."""
_DEEPEST = 32
_MOST_FIELDS = 10_000
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n", "\\f": "\f", "&quot;": '"'}


_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)\b")
"""What a parser would see that forgives more than this one."""


class NoDescriptor(ValueError):
    """A text that describes no archive; its own text is the end of a sentence."""


@dataclass(frozen=True)
class ArchiveTable:
    """One table: the last part of its row type, such as `Occurrence`; the files that it lies in; and its columns.

    `fields` is the last part of a term, such as `basisOfRecord`, → its column (None: none) and the value of all rows
    whose column is empty. `id` is the column by which the tables belong together.
    """

    row_type: str
    files: Sequence[str]
    fields: Mapping[str, tuple[int | None, str]]
    id: int | None
    encoding: str = "utf-8"
    delimiter: str = "\t"
    quote: str = ""
    header_lines: int = 0


@dataclass(frozen=True)
class Descriptor:
    """The core table, those that extend it, and the file that tells of the whole ("" for none)."""

    core: ArchiveTable
    extensions: Sequence[ArchiveTable]
    metadata: str


class _DoctypeFound(Exception):
    """It ends the reading."""


class _ElementFound(Exception):
    """It ends the reading."""


@dataclass
class _Element:
    name: str
    attributes: dict[str, str]
    children: "list[_Element]" = field(default_factory=list)
    text: str = ""

    def named(self, name: str) -> "list[_Element]":
        return [child for child in self.children if child.name == name]


def read_descriptor(content: bytes) -> Descriptor:
    """Read a meta.xml. Raises NoDescriptor for what is none, and for XML with a document type: that could hold
    entities, which lead to other files or unpack to gigabytes.
    """
    root = _parsed(content)
    cores = root.named("core")
    if root.name != "archive" or len(cores) != 1:
        raise NoDescriptor("its meta.xml describes no archive with one core")
    extensions = [_table(child, "coreid") for child in root.named("extension")]
    return Descriptor(_table(cores[0], "id"), extensions, root.attributes.get("metadata", ""))


def has_document_type(start: bytes) -> bool:
    """Whether XML that begins so has a document type, in any encoding; what is no XML has none.

    It is looked for up to the first element, behind which none may stand. No entity is expanded.
    """

    def doctype(*_: object) -> None:
        raise _DoctypeFound

    def begin(*_: object) -> None:
        raise _ElementFound

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler, parser.StartElementHandler = doctype, begin
    try:
        parser.Parse(start, False)
    except _DoctypeFound:
        return True
    except (_ElementFound, expat.ExpatError, LookupError, ValueError):
        pass
    return _DECLARED.search(start) is not None


def _parsed(content: bytes) -> _Element:
    """The tree of elements, their names without namespaces."""
    top = _Element("", {})
    stack = [top]

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST or len(stack[-1].children) > _MOST_FIELDS:
            raise NoDescriptor("its meta.xml is no descriptor: it has far too many elements")
        element = _Element(_last(name), attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def letters(text: str) -> None:
        stack[-1].text += text

    def doctype(*_: object) -> None:
        raise NoDescriptor("its meta.xml has a document type, which no descriptor needs and which may do harm")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = letters, doctype
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, NoDescriptor):
            raise
        raise NoDescriptor(f"its meta.xml is no XML ({error})") from error
    return top.children[0]


def _table(element: _Element, id_name: str) -> ArchiveTable:
    told = element.attributes
    files = [location.text.strip() for part in element.named("files") for location in part.named("location")]
    delimiter, quote = _written(told, "fieldsTerminatedBy", ","), _written(told, "fieldsEnclosedBy", '"')
    if len(delimiter) != 1 or len(quote) > 1 or delimiter == quote:
        raise NoDescriptor(f"its meta.xml parts columns by {delimiter!a} and encloses them by {quote!a}")
    encoding = told.get("encoding", "").strip() or "utf-8"
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise NoDescriptor(f"its meta.xml names the encoding {encoding[:40]!a}, which is unknown") from None
    ids = element.named(id_name)
    return ArchiveTable(
        _last(told.get("rowType", "")),
        [name for name in files if name],
        {_last(part.attributes.get("term", "")): _column(part) for part in element.named("field")},
        _number(ids[0].attributes.get("index", "")) if ids else None,
        encoding,
        delimiter,
        quote,
        _number(told.get("ignoreHeaderLines", "")) or 0,
    )


def _column(element: _Element) -> tuple[int | None, str]:
    return _number(element.attributes.get("index", "")), element.attributes.get("default", "")


def _number(text: str) -> int | None:
    words = text.strip()
    return int(words) if words.isascii() and words.isdigit() and len(words) < 6 else None


def _written(attributes: Mapping[str, str], name: str, otherwise: str) -> str:
    """A sign that is written as itself, or as people write it, a backslash and `t` for a tab."""
    sign = attributes.get(name, otherwise)
    return _ESCAPES.get(sign, sign)


def _last(name: str) -> str:
    """The last part of a URI: `http://rs.tdwg.org/dwc/terms/basisOfRecord` → `basisOfRecord`."""
    return name.rpartition(" ")[2].rstrip("/").rpartition("/")[2].rpartition("#")[2]
