"""A list of URLs that somebody made: `urls:FILE`, as text, CSV or JSONL.

A text holds one URL a line, all of one class. CSV (with a header) and JSONL have a `url`, and may have `label`
(class folder or name), `title`, `author`, `license`, `license_url`, `landing_page` and `provenance_group`.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from curate.errors import UserError, why_no_value
from curate.files.reading import read_file
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import read_license
from curate.sources.protocol.picture_urls import provenance_group
from curate.sources.protocol.records import read_records
from curate.web.api import Api

PAGE_SIZE = 500


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
        self._file = Path(options.argument).expanduser()
        self._rows = list(_rows(self._file))
        if len(options.labels) > 1 and not all(row.get("label") for row in self._rows):
            raise UserError(
                f"{self._file} does not say which class its URLs belong to: choose one with --classes, "
                "or give every URL a `label`."
            )

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The number of rows listed so far is the cursor."""
        start = whole_number(cursor, 0)
        own = {query.label.lower(), query.name.lower()}
        rows = [row for row in self._rows if (row.get("label") or query.label).lower() in own]
        part = rows[start : start + PAGE_SIZE]
        following = start + PAGE_SIZE
        found, odd = read_records(part, lambda row: [_candidate(row)])
        return CandidatePage(found, str(following) if following < len(rows) else None, odd)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        text = read_file(path).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The list {path} cannot be read ({error.strerror}): check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The list {path} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    if path.suffix.lower() == ".csv":
        yield from _csv_rows(path, text)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_rows(path, text)
    else:
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield {"url": line.strip()}


def _csv_rows(path: Path, text: str) -> Iterator[dict[str, str]]:
    try:
        for row in csv.DictReader(io.StringIO(text)):
            if "url" not in row:
                raise UserError(f"The list {path} has no column `url`: name its columns in the first line.")
            if row["url"]:
                yield {key: (value or "").strip() for key, value in row.items() if key and not isinstance(value, list)}
    except csv.Error as error:
        raise UserError(f"The list {path} is no CSV ({error}): correct it.") from error


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
        if not isinstance(row, dict) or not isinstance(row.get("url"), str):
            raise UserError(f"The list {path} has no `url` in line {number}: correct it there.")
        yield {key: str(value) for key, value in row.items() if isinstance(value, (str, int, float))}


def _candidate(row: dict[str, str]) -> Candidate:
    page = row.get("landing_page", "")
    return Candidate(
        url=row["url"],
        source_id=row.get("source_id", row["url"]),
        landing_page=page,
        title=row.get("title", ""),
        author=row.get("author", ""),
        license=read_license(row.get("license"), url=row.get("license_url") or None),
        provenance_group=row.get("provenance_group", "") or provenance_group(page),
    )
