"""Which source and which query each picture of a dataset came from, as the catalogs say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from curate.catalog import Catalog
from curate.catalog.credits import FIELDS, first_credits
from curate.catalog.found_by import SearchQuery, searches_by_content
from curate.dataset import Dataset
from curate.errors import UserError


@dataclass(frozen=True)
class Searched:
    """By a content's sha256: the source that it is credited to, without what is to be cited, and the query."""

    sources: Mapping[str, str] = field(default_factory=dict)
    queries: Mapping[str, SearchQuery] = field(default_factory=dict)


def read_searched(datasets: list[Dataset]) -> Searched:
    """Read it from the catalogs of these datasets, the first of which has the last word; none knows nothing."""
    sources: dict[str, str] = {}
    queries: dict[str, SearchQuery] = {}
    at = FIELDS.index("source")
    for dataset in reversed(datasets):
        try:
            with Catalog.open_read_only(dataset.catalog_path) as catalog:
                credited = {sha256: credit[at].partition(",")[0] for sha256, credit in first_credits(catalog).items()}
                sources |= {sha256: source for sha256, source in credited.items() if source}
                queries |= searches_by_content(catalog)
        except UserError:  # a folder that nothing was scraped into has no catalog, or one that tells nothing
            continue
    return Searched(sources, queries)
