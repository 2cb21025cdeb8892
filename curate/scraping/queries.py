"""Which classes to search for: the names file, and the user's choice among it."""

from collections.abc import Mapping
from pathlib import Path

from curate.errors import UserError
from curate.file_names import LONGEST_NAME
from curate.files.inside import is_plain
from curate.names import chosen_labels, load_queries
from curate.printable import printable
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.records import is_no_text


def plan_queries(names: Path | Mapping[str, tuple[str, str]] | None = None, classes: str | None = None) -> list[Query]:
    """The queries of a names file, or those that `--classes 1,5,orchid` picks by folder or by name.

    `names` may be what such a file says: class folder → (name, search query). In the file's order. Raises UserError
    for a file that cannot be used, a class that could not be a folder, and a word that names no class.
    """
    known = names if isinstance(names, Mapping) else load_queries(names)
    queries = [_query(label, name, text) for label, (name, text) in known.items()]
    if classes is None:
        return queries
    chosen = set(chosen_labels(classes, {query.label: query.name for query in queries}))
    return [query for query in queries if query.label in chosen]


def _query(label: str, name: str, text: str) -> Query:
    if label.startswith(".") or not is_plain(label) or "\\" in label:
        raise UserError(f"The class folder {label!a} cannot be a folder's name: rename it in the names file.")
    if len(label.encode()) > LONGEST_NAME:
        raise UserError(f"The class folder {printable(label)} is too long for a folder's name: shorten it.")
    for words in (name, text):
        if is_no_text(words):
            raise UserError(f"The names file says {words!a} of class folder {label}, which is no text: correct it.")
    return Query(label, name, text)
