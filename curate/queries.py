"""Which classes to search for, and by which words: the names file and the user's choice among it."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from curate.candidates import Query
from curate.errors import UserError


def read_queries(path: Path) -> list[Query]:
    """Read a names file: JSON, class folder → [name, query], or → name where that is the query too.

    In the file's order. Raises UserError where it is missing, no JSON, or of another shape.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The names file {path} cannot be read ({error.strerror}): check the path.") from error
    except ValueError as error:
        raise UserError(f"The names file {path} is not JSON ({error}): give class folder → [name, query].") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f'The names file {path} names no class: give {{"21": ["fire lily", "Gloriosa superba"]}}.')
    return [_query(path, label, entry) for label, entry in content.items()]


def choose_classes(queries: list[Query], classes: str | None) -> list[Query]:
    """The queries that `--classes 1,5,orchid` picks, by folder or by name, in the file's order; all for None.

    Raises UserError for a word that is neither.
    """
    if classes is None:
        return queries
    wanted = [word.strip() for word in classes.split(",") if word.strip()]
    by_word: Mapping[str, set[str]] = {
        word: {query.label for query in queries if word.lower() in (query.label.lower(), query.name.lower())}
        for word in wanted
    }
    for word, labels in by_word.items():
        if not labels:
            names = [query.name for query in queries]
            close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else "give class folders or names of the names file."
            raise UserError(f"There is no class '{word}': {hint}")
    if not wanted:
        raise UserError("--classes names no class: give class folders or names, separated by commas.")
    chosen = set().union(*by_word.values())
    return [query for query in queries if query.label in chosen]


def _query(path: Path, label: str, entry: object) -> Query:
    if label in ("", ".", "..") or any(sign in label for sign in "/\\\0"):
        raise UserError(f"The class '{label}' of the names file {path} cannot be a folder's name: rename it.")
    match entry:
        case str(name) if name.strip():
            return Query(label, name, name)
        case [str(name), str(text)] if name.strip() and text.strip():
            return Query(label, name, text)
    raise UserError(f"Class '{label}' of the names file {path} is neither a name nor [name, query]: correct it.")
