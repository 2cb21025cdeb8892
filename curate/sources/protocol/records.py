"""Checks what a source says of its pictures: each record is read by itself, and an odd one is skipped."""

from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from curate.sources.protocol.image_search import Candidate
from curate.web.answers import SourceChanged

Record = TypeVar("Record")

LONGEST_TEXT = 1 << 16
"""Characters of a title, an author or an address."""
LARGEST_SIDE = (1 << 31) - 1


class OddRecord(ValueError):
    """A record that says what cannot be so; its text says what."""


def read_records(
    records: Iterable[Record], read: Callable[[Record], Iterable[Candidate]]
) -> tuple[tuple[Candidate, ...], int]:
    """The candidates of a page's records, and how many records were odd and skipped.

    `read` gives the candidates of one record; it raises SourceChanged where a part is missing or of another type, and
    ValueError where a part says what cannot be so. Raises SourceChanged where not one of several records has the shape
    that `read` was written for: then the service has changed, and not a record.
    """
    found: list[Candidate] = []
    total, odd = 0, 0
    misshapen: list[SourceChanged] = []
    for record in records:
        total += 1
        try:
            found += [checked(candidate) for candidate in read(record)]
        except SourceChanged as changed:
            misshapen.append(changed)
        except ValueError:
            odd += 1
    if len(misshapen) == total > 1:
        raise misshapen[0]
    return tuple(found), odd + len(misshapen)


def checked(candidate: Candidate) -> Candidate:
    """The candidate, if the catalog can hold all that is said of it. Raises OddRecord otherwise."""
    license_ = candidate.license
    texts = (
        *(candidate.url, candidate.source_id, candidate.landing_page, candidate.title, candidate.author),
        *(license_.code, license_.version, license_.url, candidate.provenance_group),
        *(candidate.taken_at, candidate.author_page, candidate.key, candidate.citation),
    )
    for text in texts:
        if len(text) > LONGEST_TEXT:
            raise OddRecord(f"a text of {len(text):,} characters")
        if is_no_text(text):
            raise OddRecord(f"{text[:40]!a} is no text")
    for side in (candidate.width, candidate.height):
        if side is not None and not 0 <= side <= LARGEST_SIDE:
            raise OddRecord(f"a side of {side} pixels")
    for address in (candidate.url, candidate.landing_page, candidate.author_page):
        urlsplit(address)  # raises ValueError for "http://["
    return candidate


def is_no_text(text: str) -> bool:
    """Whether it holds a NUL, or half a character of UTF-16."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return "\0" in text
