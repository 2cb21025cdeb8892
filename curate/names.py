"""What a class is called: class folder → human name and search query.

Names are looked up by the folder's own name, never by its place in a listing: "10" sorts before "2" as text,
so a place says nothing about a class.

Three JSON forms are read, and may be mixed: `{"21": "fire lily"}`, `{"21": ["fire lily", "Gloriosa superba"]}` and
`{"10": {"name": "globe thistle", "query": "Echinops flower head", "taxon": "Echinops", "kingdom": "Plantae"}}`, whose
`query` is for searches by words and whose `taxon` and `kingdom` are for searches by species. A query asks for what the
class *shows*. In Oxford-102 that is not always what its name says: "ball moss" shows Tillandsia cyanea, "pelargonium"
Alyogyne huegelii, "geranium" a zonal pelargonium, "orange dahlia" Tithonia, "mallow" Abutilon, "tree mallow" Lavatera
trimestris, and "watercress" the garden nasturtium, Tropaeolum majus.
"""

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import UserError
from curate.files.addresses import is_remote
from curate.files.reading import read_file
from curate.layout import top_folders
from curate.printable import printable
from curate.program import INSTALLED

_FOLDER = Path(__file__).resolve().parent.parent / ("names" if INSTALLED else "aux")
NAMES_FILE = _FOLDER / "cat_to_name.json"
QUERIES_FILE = _FOLDER / "cat_to_names.json"
OWN_NAMES = "cat_to_name.json"
"""A dataset may carry its names itself, in a file so called at its root, as Udacity's flower_data does."""

_SHAPE = '{"21": "fire lily"}, {"21": ["fire lily", "Gloriosa superba"]} or {"21": {"name": …, "query": …, "taxon": …}}'
_MOST_BYTES = 64 << 20
_NUMBERED = re.compile(r"\d{1,6}\.([^\W\d].*)")
_OXFORD_LABELS = frozenset(str(number) for number in range(1, 103))
_OXFORD_PICTURE = re.compile(r"image_(\d{5})\.jpg")
_OXFORD_PICTURES = 8189


class SearchTerms(NamedTuple):
    """A class's name, the words to search for it by, and its taxon and kingdom, "" where the file names none."""

    name: str
    query: str
    taxon: str = ""
    kingdom: str = ""


def load_names(file: Path | None = None) -> dict[str, str]:
    """Names by class folder, in the file's order; without `file`, Oxford-102's from aux/cat_to_name.json.

    Raises UserError where the file cannot be read, is no JSON, names a folder twice, or has another shape.
    """
    return {label: terms.name for label, terms in _read(file or NAMES_FILE).items()}


def load_queries(file: Path | None = None) -> dict[str, SearchTerms]:
    """What to search for by class folder, in the file's order; without `file`, from aux/cat_to_names.json.

    A class that the file gives no query is searched for by its name. Raises UserError as `load_names` does.
    """
    return _read(file or QUERIES_FILE)


def names_for(
    dataset_root: Path, labels: Sequence[str], file: Path | None = None, recorded: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """A name for each of `labels`, and the labels that an explicit `file` does not name.

    The first of these that there is decides: `file`; the dataset's own cat_to_name.json; the `recorded` name of a
    class, under which it was scraped; Oxford-102's names, where the folders are Oxford's; the labels themselves. A
    label that is not named stands for itself, `09.Golden_Gate_Bridge` without its number.
    Folders "1" to "102" are Oxford's if all of them are there, or some with at least one picture that bears an Oxford
    file name (image_06734.jpg); whatever other folders stand beside them. Five folders "1" to "5" alone prove nothing:
    any dataset may number its classes, and a bare number is better than a wrong flower's name; a names file settles it.
    Raises UserError where a names file is there but cannot be used.
    """
    own = dataset_root / OWN_NAMES
    if file is not None:
        names = load_names(file)
    elif own.is_file():
        names = load_names(own)
    elif NAMES_FILE.is_file() and (oxford := _oxford_labels(dataset_root, labels)):  # no folder `aux` on Windows
        names = {label: name for label, name in load_names().items() if label in oxford}
    else:
        names = {}
    if file is None and not own.is_file():
        names |= {label: name for label, name in (recorded or {}).items() if name != label}
    found = {label: _lookup(names, label) for label in labels}
    missing = [label for label, name in found.items() if name is None] if file is not None else []
    return {label: _readable(label) if name is None else name for label, name in found.items()}, missing


def require_names(
    dataset_root: Path, labels: Sequence[str], file: Path | None = None, recorded: Mapping[str, str] | None = None
) -> dict[str, str]:
    """`names_for`; raises UserError where an explicit `file` does not name each of `labels`."""
    names, missing = names_for(dataset_root, labels, file, recorded)
    if missing:
        raise UserError(
            f"{file} names no class for the folder{'s' if len(missing) > 1 else ''} {', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''} of {dataset_root}: add them to the file."
        )
    return names


def chosen_labels(classes: str, names: Mapping[str, str]) -> list[str]:
    """The class folders that `--classes 1,5,orchid` picks by folder or by name, in the order of `names`.

    A word that is no whole name picks all names that it is a word of.

    Raises UserError for a word that names no class, with those it may have meant.
    """
    wanted = [word.strip() for word in classes.split(",") if word.strip()]
    if not wanted:
        raise UserError("--classes names no class: give class folders or names, separated by commas.")
    chosen: set[str] = set()
    for word in wanted:
        labels = {label for label, name in names.items() if word.lower() in (label.lower(), name.lower())}
        if not labels:  # "orchid" is "moon orchid" and "ruby-lipped cattleya orchid" alike
            said = re.compile(rf"(?<!\w){re.escape(word.lower())}(?!\w)")
            labels = {label for label, name in names.items() if said.search(name.lower())}
        if not labels:
            close = difflib.get_close_matches(word.lower(), names.values(), n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else "give class folders or names of the names file."
            raise UserError(f"There is no class '{word}': {hint}")
        chosen |= labels
    return [label for label in names if label in chosen]


def composed(name: str) -> str:
    """A name in the Unicode form in which "é" is one code point, to be compared: macOS writes two."""
    return unicodedata.normalize("NFC", name)


def _readable(label: str) -> str:
    """`09.Golden_Gate_Bridge` is Golden Gate Bridge, as CUB-200 and the landmarks number their folders."""
    numbered = _NUMBERED.fullmatch(label)
    return numbered[1].replace("_", " ").strip() or label if numbered else label


def _lookup(names: Mapping[str, str], label: str) -> str | None:
    """A folder's "é" may be two code points (macOS) where the file's is one: the same name to its owner."""
    if label in names:
        return names[label]
    return next((name for key, name in names.items() if composed(key) == composed(label)), None)


def _oxford_labels(root: Path, labels: Sequence[str]) -> set[str]:
    """The labels that are Oxford's numbers; none, where nothing says that they are."""
    numbers = _OXFORD_LABELS.intersection(labels)
    if len(numbers) == len(_OXFORD_LABELS):
        return set(numbers)
    if not is_remote(root) and any(
        _is_oxford_picture(picture.name)
        for label in sorted(numbers)
        for folder in (label, f"raw/{label}", *(top.class_folder(label) for top in top_folders(root)))
        for picture in (root / folder).glob("image_*.jpg")
    ):
        return set(numbers)
    return set()


def oxford_names(pictures: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Label → Oxford-102's name, where one of these (label, file name) proves that the numbered labels are Oxford's.

    For pictures that were listed already, where a folder of theirs cannot be looked into.
    """
    if not NAMES_FILE.is_file() or not any(
        label in _OXFORD_LABELS and _is_oxford_picture(name) for label, name in pictures
    ):
        return {}
    return load_names()


def _is_oxford_picture(name: str) -> bool:
    found = _OXFORD_PICTURE.fullmatch(name)
    return found is not None and 1 <= int(found[1]) <= _OXFORD_PICTURES


def _read(file: Path) -> dict[str, SearchTerms]:
    try:
        text = read_file(file, _MOST_BYTES).decode("utf-8-sig")
        content: object = json.loads(text, object_pairs_hook=partial(_once, file))
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such names file; give one with --names FILE.") from None
    except OSError as error:
        raise UserError(f"{file}: the names file cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 at byte {error.start}; save the names file as UTF-8.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{file}: not valid JSON at {where} ({error.msg}); correct it there.") from error
    except (RecursionError, ValueError) as error:  # too deep, or a number of thousands of digits
        raise UserError(f"{file}: nested too deeply or no JSON; a names file is one object, {_SHAPE}.") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: a names file is one JSON object with at least one class, {_SHAPE}.")
    return {label: _entry(file, label, value) for label, value in content.items()}


def _once(file: Path, pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:  # json.loads would keep the last one without a word
            raise UserError(f"{file}: class folder {key!r} is named twice; keep one of the two.")
        members[key] = value
    return members


def _entry(file: Path, label: str, value: Any) -> SearchTerms:
    match value:
        case str(name) | [str(name)]:
            terms = SearchTerms(name, name)
        case [str(name), str(query)]:
            terms = SearchTerms(name, query)
        case {"name": str(name)} if value.keys() <= set(SearchTerms._fields) and _are_texts(value.values()):
            terms = SearchTerms(**{"query": name, **value})
        case _:
            raise UserError(f"{file}: class folder {label!r} needs a name or [name, query], as in {_SHAPE}.")
    if not (label.strip() and terms.name.strip() and terms.query.strip()):
        raise UserError(f"{file}: class folder {label!r} has an empty folder, name or query; fill it in.")
    for words in terms:
        if printable(words) != words:  # it goes into checkpoints, tables and URLs
            raise UserError(
                f"{file}: the name or query of class folder {label!r} has a control character or half of one, "
                f"“{printable(words)}”; write plain text."
            )
    return terms


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
