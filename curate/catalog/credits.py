"""Where pictures come from: who made them, under which licence, and which of them are of one origin."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from curate.catalog.pictures import Catalog

FIELDS: Final = ("source", "url", "landing_page", "title", "author", "license", "license_url")
"""What a credit tells people, as it is named in metadata.csv and in exports."""


class CreditRow(NamedTuple):
    """One row of `credits`: what one URL says of one content. `fetched_at` is ISO 8601, in UTC.

    `source` is a source's name and, behind a comma, what is to be cited for all that it gave: the DOI of a download.
    """

    sha256: str
    url: str
    source: str
    source_id: str
    landing_page: str
    title: str
    author: str
    license: str
    license_url: str
    provenance_group: str
    fetched_at: str


@dataclass(frozen=True)
class Credit:
    """One picture that lies in the dataset and, where it is known, where it comes from; "" where it is not."""

    path: str
    label: str
    source: str
    url: str
    landing_page: str
    title: str
    author: str
    license: str
    license_url: str
    author_page: str = ""


class Known(NamedTuple):
    """How much is known of one content's origin.

    `facts` of five are known in the row that has most: author, licence, licence URL, page, title. `fetched_at` is when
    it was first downloaded, ISO 8601.
    """

    sha256: str
    facts: int
    fetched_at: str


def enter_credit(catalog: Catalog, credit: CreditRow) -> None:
    """Insert or replace a credit."""
    catalog.db.execute(f"INSERT OR REPLACE INTO credits VALUES ({', '.join('?' * len(credit))})", credit)


def withdraw_credit(catalog: Catalog, sha256: str, url: str) -> str:
    """Remove what one URL said of one content; when that was fetched, "" where it said nothing."""
    query = "DELETE FROM credits WHERE sha256 = ? AND url = ? RETURNING fetched_at"
    (row,) = catalog.db.execute(query, (sha256, url)).fetchall() or [("",)]
    return str(row[0])


def credits_of_present(catalog: Catalog) -> list[Credit]:
    """One row per present picture, in no order; the first credit of each content counts."""
    pages = author_pages(catalog)
    columns = ", ".join(f"COALESCE({field}, '')" for field in FIELDS)
    rows = catalog.db.execute(
        f"SELECT path, label, {columns}, pictures.sha256 FROM pictures "
        "LEFT JOIN credits ON credits.sha256 = pictures.sha256 AND credits.url = ("
        "  SELECT url FROM credits AS other WHERE other.sha256 = pictures.sha256 ORDER BY fetched_at, url LIMIT 1"
        ") WHERE state = 'present'"
    )
    found = [(Credit(*map(str, row)), str(sha256)) for *row, sha256 in rows]
    return [replace(one, author_page=pages.get((sha256, one.url), "")) if pages else one for one, sha256 in found]


def author_pages(catalog: Catalog) -> Mapping[tuple[str, str], str]:
    """(sha256, URL) → the page of the picture's author, where the search that found it told one."""
    columns = "SELECT name FROM pragma_table_xinfo('scrape_candidates')"  # none where nothing was scraped
    if ("author_page",) not in catalog.db.execute(columns).fetchall():
        return {}
    told = "SELECT sha256, url, author_page FROM scrape_candidates WHERE author_page != '' AND sha256 != ''"
    return {(str(sha256), str(url)): str(page) for sha256, url, page in catalog.db.execute(told)}


def first_credits(catalog: Catalog) -> Mapping[str, tuple[str, ...]]:
    """sha256 → the values of `FIELDS` in the first credit of each content."""
    query = f"SELECT sha256, {', '.join(FIELDS)} FROM credits ORDER BY fetched_at DESC, url DESC"
    return {sha256: tuple(credit) for sha256, *credit in catalog.db.execute(query)}


def origins_in_short(catalog: Catalog) -> Mapping[str, tuple[str, str]]:
    """sha256 → (source, licence) in the first credit of each content; equal texts are kept once."""
    query = "SELECT sha256, source, license FROM credits ORDER BY fetched_at DESC, url DESC"
    return {
        sha256: (sys.intern(str(source)), sys.intern(str(licence)))
        for sha256, source, licence in catalog.db.execute(query)
    }


def credit_of(catalog: Catalog, sha256: str) -> dict[str, str]:
    """The values of `FIELDS` in the first credit of one content, by their names; {} where there is none."""
    query = f"SELECT {', '.join(FIELDS)} FROM credits WHERE sha256 = ? ORDER BY fetched_at, url LIMIT 1"
    row = catalog.db.execute(query, (sha256,)).fetchone()
    return {} if row is None else dict(zip(FIELDS, map(str, row), strict=True))


def known_of_origins(catalog: Catalog) -> list[Known]:
    """How much is known of each content that has a credit."""
    rows = catalog.db.execute(
        "SELECT sha256, MAX((author != '') + (license != '') + (license_url != '') + (landing_page != '') "
        "+ (title != '')), MIN(fetched_at) FROM credits GROUP BY sha256"
    )
    return list(map(Known._make, rows))
