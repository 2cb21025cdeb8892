"""By which search each content was found: what a query brought into the dataset."""

from collections.abc import Mapping
from typing import NamedTuple

from curate.catalog.pictures import Catalog


class SearchQuery(NamedTuple):
    """What was asked of which source; the licences and sizes that the search was limited to are left out."""

    source: str
    text: str


def searches_by_content(catalog: Catalog) -> Mapping[str, SearchQuery]:
    """sha256 → the search that first found a picture that was kept; nothing where nothing was scraped."""
    columns = "SELECT name FROM pragma_table_xinfo('scrape_candidates')"
    if ("words",) not in catalog.db.execute(columns).fetchall():
        return {}
    rows = catalog.db.execute(
        "SELECT sha256, source, words FROM scrape_candidates WHERE status = 'kept' AND sha256 != '' ORDER BY id DESC"
    )
    return {
        str(sha256): SearchQuery(str(source).partition(":")[0], str(words).partition(" | ")[0])
        for sha256, source, words in rows
    }
