"""A list of URLs that somebody made: `urls:FILE`, as text, CSV, TSV, JSON or JSONL.

A text holds one URL a line, all of one class. CSV and TSV (with a header), a JSON array and JSONL have a `url`, and may
have `label` (class folder or name), `title`, `author`, `license`, `license_url`, `landing_page`, `provenance_group`,
`taken_at`, `author_page` and `citation`, in upper or lower case, or by others' names for them
(`curate.sources.protocol.row_columns`). CSV has commas, semicolons or tabs. An entry without a
URL is skipped and counted as odd. A list that has changed is read again: lines may be added, and what they say
put right.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from curate.errors import UserError, why_no_value
from curate.files.reading import read_file
from curate.sources.protocol.headed_table import read_headed_table
from curate.sources.protocol.image_search import (
    Candidate,
    CandidatePage,
    Query,
    SourceOptions,
    plain_label,
    whole_number,
)
from curate.sources.protocol.licenses import read_license
from curate.sources.protocol.picture_urls import provenance_group
from curate.sources.protocol.records import OddRecord, read_records
from curate.sources.protocol.row_columns import in_our_columns, named_by, unread_columns
from curate.web.api import Api

PAGE_SIZE = 500
_MOST_NAMED = 5  # labels
_ASKED_FOR_EACH = {"hf", "pixabay", "unsplash"}
"""Sources whose pictures no URL brings, or none that stays, or not without their being told."""


class Search:
    """Rows whose label is the query's; rows without a label belong to the one class that is asked for."""

    home: ClassVar[str] = ""
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:  # noqa: ARG002
        if not options.argument:
            raise UserError("The source 'urls' needs a file: --source urls:FILE.")
        self._labels = options.labels
        self._file = Path(options.argument).expanduser()
        content = _content(self._file)
        self.state = hashlib.sha256(content).hexdigest()
        rows = list(_rows(self._file, content))
        self._rows = [in_our_columns(row) for row in rows]
        if self._rows and not any(row.get("url") for row in self._rows):
            raise UserError(f"The list {self._file} has no `url` in any of its {len(self._rows):,} entries: add them.")
        labels = unmatched(self._file, "line", (row.get("label", "") for row in self._rows), options)
        self._note = "; ".join(filter(None, (labels, _passed_over(self._file, unread_columns(rows)))))
        asked_for_each = {row.get("source", "").partition(":")[0] for row in self._rows} & _ASKED_FOR_EACH
        if asked_for_each:
            raise UserError(
                f"{self._file} lists pictures of {', '.join(sorted(asked_for_each))}, where each is asked for before "
                "it is fetched: take them out, and name the source with --source."
            )
        if len(options.labels) > 1 and not all(row.get("label") for row in self._rows if row.get("url")):
            raise UserError(
                f"{self._file} does not say which class its URLs belong to: choose one with --classes, "
                "or give every URL a `label`."
            )

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The number of rows listed so far is the cursor."""
        start = whole_number(cursor, 0)
        rows = [row for row in self._rows if query.is_called(row.get("label") or self._of_no_label(row, query))]
        part = rows[start : start + PAGE_SIZE]
        following = start + PAGE_SIZE
        found, odd = read_records(part, lambda row: [_candidate(row)])
        note, self._note = self._note, ""
        return CandidatePage(found, str(following) if following < len(rows) else None, odd, note)

    def _of_no_label(self, row: dict[str, str], query: Query) -> str:
        """The class of a row without a label: the one asked for; of an odd one the first, so that it counts once."""
        return query.label if row.get("url") or not self._labels else self._labels[0]


def unmatched(place: Path, what: str, labels: Iterable[str], options: SourceOptions) -> str:
    """In words what of a list or folder belongs to no class that is asked for; "" where all of it does."""
    known = {plain_label(word) for word in (*options.labels, *options.names)}
    strange = Counter(label for label in labels if known and label and plain_label(label) not in known)
    if not strange:
        return ""
    named = ", ".join(f"'{label}' ({count:,})" for label, count in strange.most_common(_MOST_NAMED))
    more = f" and {len(strange) - _MOST_NAMED:,} more" if len(strange) > _MOST_NAMED else ""
    each = f"{what} names" if strange.total() == 1 else f"{what}s name"
    return f"{strange.total():,} {each} no class that is asked for, in {place}: {named}{more}"


def _passed_over(place: Path, columns: Sequence[str]) -> str:
    """In words which columns of a list are not read; "" where all are."""
    if not columns:
        return ""
    named = ", ".join(f"'{name}'" for name in columns[:_MOST_NAMED])
    more = f" and {len(columns) - _MOST_NAMED:,} more" if len(columns) > _MOST_NAMED else ""
    which = f"column {named} is" if len(columns) == 1 else f"columns {named}{more} are"
    return f"of {place} the {which} not read"


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise UserError(f"The list {path} cannot be read ({error.strerror}): check the path.") from error


def _rows(path: Path, content: bytes) -> Iterator[dict[str, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The list {path} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    if path.suffix.lower() in (".csv", ".tsv"):
        yield from _csv_rows(path, text)
    elif path.suffix.lower() == ".json":
        yield from _array_rows(path, text)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_rows(path, text)
    else:
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield {"url": line.strip()}


def _csv_rows(path: Path, text: str) -> Iterator[dict[str, str]]:
    try:
        for row in read_headed_table(text, *named_by("url")):
            yield {name: cell.strip() for name, cell in row.items()}
    except KeyError as error:
        if text.strip():
            raise UserError(
                f"The list {path} has no column `url`: name its columns in the first line, parted by commas, "
                "semicolons or tabs."
            ) from error
    except csv.Error as error:
        raise UserError(f"The list {path} is no CSV ({error}): correct it.") from error


def _array_rows(path: Path, text: str) -> Iterator[dict[str, str]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The list {path} is no JSON ({why_no_value(error)}): correct it.") from error
    if not isinstance(rows, list):
        raise UserError(f'The list {path} is no JSON array: write [{{"url": …}}, …].')
    for row in rows:
        yield _json_row({"url": row} if isinstance(row, str) else row)


def _json_row(row: object) -> dict[str, str]:
    """The texts and numbers of an entry; one that is no object, or has no `url`, is odd."""
    if not isinstance(row, dict):
        return {}
    said = {key.strip().lower(): value for key, value in row.items()}
    for name in named_by("url"):
        if not isinstance(said.get(name), str):
            said.pop(name, None)
    return {key: str(value).strip() for key, value in said.items() if isinstance(value, (str, int, float))}


def _json_rows(path: Path, text: str) -> Iterator[dict[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):  # other ends of lines may stand inside a string of JSON
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"The list {path} is no JSONL at line {number} ({why_no_value(error)}): correct it there."
            ) from error
        yield _json_row(row)


def _candidate(row: dict[str, str]) -> Candidate:
    if not row.get("url"):
        raise OddRecord("an entry without a URL")
    page = row.get("landing_page", "")
    return Candidate(
        url=row["url"],
        source_id=row.get("source_id", row["url"]),
        landing_page=page,
        title=row.get("title", ""),
        author=row.get("author", ""),
        license=read_license(row.get("license"), url=row.get("license_url") or None),
        provenance_group=row.get("provenance_group", "") or provenance_group(page),
        taken_at=row.get("taken_at", ""),
        author_page=row.get("author_page", ""),
        citation=row.get("citation", ""),
    )
