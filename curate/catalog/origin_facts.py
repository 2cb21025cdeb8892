"""What the catalog knows of where contents come from, as far as it tells which of them show one thing."""

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from curate.catalog.pictures import Catalog


class OriginFacts(NamedTuple):
    """What one credit says of one content. `taken_at` is when it was taken, as the source wrote it; "" for unknown."""

    sha256: str
    url: str
    landing_page: str
    title: str
    author: str
    provenance_group: str
    taken_at: str


def origin_facts(catalog: Catalog) -> list[OriginFacts]:
    """All credits, in order of content and URL."""
    fields = "sha256, url, landing_page, title, author, provenance_group"
    if not _was_scraped(catalog.db):
        rows = catalog.db.execute(f"SELECT {fields}, '' FROM credits ORDER BY sha256, url")
        return list(map(OriginFacts._make, rows))
    dated = _dated(catalog.db)
    rows = catalog.db.execute(f"SELECT {fields} FROM credits ORDER BY sha256, url")
    return [OriginFacts._make((*row, dated.get((row[0], row[1]), ""))) for row in rows]


def observed_photos(catalog: Catalog) -> Mapping[str, str]:
    """The key of a picture on iNaturalist (`inaturalist:<photo>`) → the provenance group of its observation.

    And so for each observation that GBIF passes on, by its record there (`gbif:<key>`).
    Of every photo that any search has told, whether it was fetched or not. An observation that one source knows by its
    number and another by its UUID is told by a photo that both know, and goes by one of the two.
    """
    if not _was_scraped(catalog.db):
        return {}
    rows = catalog.db.execute(
        "SELECT CASE WHEN picture GLOB 'inaturalist:*' THEN picture ELSE 'inaturalist:' || source_id END, "
        "provenance_group FROM scrape_candidates WHERE provenance_group GLOB 'inaturalist:[0-9a-f]*' "
        "AND (source = 'inaturalist' OR source GLOB 'inaturalist_open_data*' OR picture GLOB 'inaturalist:*') "
        "ORDER BY id"
    )
    passed_on = catalog.db.execute(
        "SELECT DISTINCT 'gbif:' || substr(source_id, 1, instr(source_id, ':') - 1), provenance_group "
        "FROM scrape_candidates WHERE provenance_group GLOB 'inaturalist:[0-9a-f]*' "
        "AND source GLOB 'gbif*' AND source_id GLOB '[0-9]*:[0-9]*' ORDER BY id"
    )
    return _under_one_name([*rows.fetchall(), *passed_on.fetchall()])


def _under_one_name(told: list[tuple[str, str]]) -> dict[str, str]:
    """Photo → observation, where all names of an observation that share a photo are replaced by one of them."""
    names: dict[str, str] = {}
    first: dict[str, str] = {}
    for photo, observation in told:
        one, other = _name_of(names, first.setdefault(photo, observation)), _name_of(names, observation)
        if one != other:
            names[other] = one
    return {photo: _name_of(names, observation) for photo, observation in first.items()}


def _name_of(names: dict[str, str], observation: str) -> str:
    while observation in names:
        observation = names[observation]
    return observation


def _dated(db: sqlite3.Connection) -> dict[tuple[str, str], str]:
    columns = {name for (name,) in db.execute("SELECT name FROM pragma_table_xinfo('scrape_candidates')")}
    if "taken_at" not in columns:  # of an older version, read without writing to it
        return {}
    rows = db.execute("SELECT sha256, url, taken_at FROM scrape_candidates WHERE taken_at != '' AND sha256 != ''")
    return {(sha256, url): taken_at for sha256, url, taken_at in rows}


def _was_scraped(db: sqlite3.Connection) -> bool:
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'scrape_candidates'").fetchone()
    return found is not None
