"""Which classes to search for: the names file, and the user's choice among it."""

from pathlib import Path

from curate.errors import UserError
from curate.names import chosen_labels, load_queries
from curate.scraping.image_search import Query


def plan_queries(names: Path | None = None, classes: str | None = None) -> list[Query]:
    """The queries of a names file, or those that `--classes 1,5,orchid` picks by folder or by name.

    In the file's order. Raises UserError for a file that cannot be used, a class that could not be a folder, and
    a word that names no class.
    """
    queries = [_query(label, name, text) for label, (name, text) in load_queries(names).items()]
    if classes is None:
        return queries
    chosen = set(chosen_labels(classes, {query.label: query.name for query in queries}))
    return [query for query in queries if query.label in chosen]


def _query(label: str, name: str, text: str) -> Query:
    if label.startswith(".") or any(sign in label for sign in "/\\\0"):
        raise UserError(f"The class folder {label!r} cannot be a folder's name: rename it in the names file.")
    return Query(label, name, text)
