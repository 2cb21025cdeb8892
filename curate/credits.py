"""Whose pictures these are: CREDITS.md for people, metadata.csv for programs, both from the catalog."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from curate.catalog import Catalog
from curate.catalog.credits import FIELDS, Credit, credits_of_present, first_credits
from curate.dataset import Dataset, natural_key
from curate.errors import UserError
from curate.files.inside import inside
from curate.files.ours import is_signed, signed, write_ours
from curate.printable import printable
from curate.written import is_own, require_own, write_own

CREDITS = "CREDITS.md"
METADATA = "metadata.csv"
_NAMES = "class names"

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet runs (https://owasp.org/www-community/attacks/CSV_Injection)."""

_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#|!~&]")
_NO_TARGET = re.compile(r"[\s()<>\"'\\^`{|}]")


def read_credits(catalog: Catalog) -> list[Credit]:
    """One row per present picture, in natural order of label and path; the first credit of each content counts."""
    return sorted(credits_of_present(catalog), key=lambda credit: (natural_key(credit.label), natural_key(credit.path)))


def licences_of(dataset: Dataset, contents: Collection[str]) -> list[tuple[str, str, int]]:
    """(source, licence, pictures) of those of these contents, by sha256, that were found on the web, most first.

    Of a dataset without a catalog that can be read, what came with its pictures is known.
    """
    known = dict(dataset.credits_along)
    try:
        with Catalog.open_read_only(dataset.catalog_path) as catalog:
            known |= first_credits(catalog)
    except UserError:
        pass
    source, licence = FIELDS.index("source"), FIELDS.index("license")
    counted = Counter((known[one][source], known[one][licence]) for one in contents if one in known)
    return [(*which, count) for which, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]


def require_own_credits(dataset: Dataset, catalog: Catalog, folders: Iterable[str], *, force: bool = False) -> None:
    """Raise UserError where `write_credits` and `write_metadata` would overwrite a file that is not ours.

    `folders` are the class folders that may hold pictures by then.
    """
    if force:
        return
    _require_signed(dataset.root / CREDITS)
    for top in {"" if dataset.layout == "flat" else folder.partition("/")[0] for folder in folders}:
        path = f"{top}/{METADATA}" if top else METADATA
        require_own(catalog, inside(dataset.root, path))


def write_credits(dataset: Dataset, catalog: Catalog, names: Mapping[str, str], *, force: bool = False) -> Path:
    """Write CREDITS.md at the dataset's root: every credited picture with page, author and licence.

    Raises UserError where a file is there that is not as we wrote it, unless `force`.
    """
    path = dataset.root / CREDITS
    if not force:
        _require_signed(path)
    write_ours(path, signed(credits_text(read_credits(catalog), names)), known=None, force=True)
    return path


def credits_text(everything: Sequence[Credit], names: Mapping[str, str]) -> str:
    """CREDITS.md of these pictures, in this order: every credited one below its class; `names` are label → name."""
    credited = [credit for credit in everything if credit.source]
    introduction = (
        f"{len(credited)} of the {len(everything)} pictures in this dataset were found elsewhere{_where(credited)}. "
        "Each is listed with its author and licence; whoever passes the pictures on passes this list on with them."
    )
    lines = ["# Credits", "", introduction]
    cited = sorted({credit.source.partition(", ")[2] for credit in credited} - {""})
    if cited:
        lines += ["", "Whoever uses them cites where they come from:", "", *(f"- {_escaped(one)}" for one in cited)]
    label = None
    for credit in credited:
        if credit.label != label:
            label = credit.label
            name = names.get(label, label)
            lines += ["", f"## {_escaped(label)}" + (f": {_escaped(name)}" if name != label else ""), ""]
        lines.append(f"- {_line(credit)}")
    return "\n".join(lines) + "\n"


def _where(credited: Sequence[Credit]) -> str:
    """Where others than the user's own folders had part."""
    local = sum(credit.url.startswith("file:") for credit in credited)
    if not local:
        return ", on the web" if credited else ""
    own = "in a folder" if local == len(credited) else f"{local} of them in a folder and the others on the web"
    return f", {own}"


def keep_names(catalog: Catalog, names: Mapping[str, str]) -> None:
    """Put the classes' names on record, for the credits that are written again later."""
    with catalog.transaction():
        catalog.note_about(_NAMES, json.dumps(dict(names), ensure_ascii=False))


def refresh_credits(dataset: Dataset, catalog: Catalog) -> None:
    """Have CREDITS.md and each metadata.csv follow the pictures, which came, went or changed their class.

    Of these only what is there, and as we wrote it, is written again: what somebody has edited or removed stays so.
    Nothing is written into a dataset whose files stay as they lie.
    """
    if dataset.is_fixed:
        return
    names = names_on_record(catalog)
    if _is_there(dataset.root / CREDITS) and is_signed(dataset.root / CREDITS):
        write_credits(dataset, catalog, names)
    tables = _tables(dataset, catalog)
    for top in {*tables, *_tops(dataset)}:
        file = inside(dataset.root, f"{top}/{METADATA}" if top else METADATA)
        if is_own(catalog, file):
            write_own(catalog, file, _table(top, tables.get(top, []), names))


def _is_there(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def recorded_names(dataset: Dataset, catalog: Catalog) -> dict[str, str]:
    """Label → name: those that came with a dataset's pictures, and before them those under which it was scraped."""
    return {**dataset.names_along, **names_on_record(catalog)}


def names_on_record(catalog: Catalog) -> dict[str, str]:
    """Label → name, as the classes were called when they were scraped; nothing where none was."""
    try:
        known = json.loads(catalog.about(_NAMES) or "{}")
    except ValueError:
        return {}
    return {str(label): str(name) for label, name in known.items()} if isinstance(known, dict) else {}


def scraped_names(dataset: Dataset) -> dict[str, str]:
    """The same of a dataset whose catalog is not open, and the names that came with its pictures."""
    try:
        with Catalog.open_read_only(dataset.catalog_path) as catalog:
            return recorded_names(dataset, catalog)
    except UserError:
        return dict(dataset.names_along)


def _tops(dataset: Dataset) -> set[str]:
    return {"" if dataset.layout == "flat" else folder.path.partition("/")[0] for folder in dataset.class_folders()}


def write_metadata(dataset: Dataset, catalog: Catalog, names: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write a metadata.csv into each folder of class folders, in the form of Hugging Face's `imagefolder`.

    `file_name` is relative to the file that names it; every picture has a row, credited or not, because
    `imagefolder` refuses a folder in which some have none. Raises UserError as `write_credits` does.
    """
    written = []
    tables = _tables(dataset, catalog)
    for top in sorted({*tables, *_tops(dataset)}):
        file = inside(dataset.root, f"{top}/{METADATA}" if top else METADATA)
        if top in tables or is_own(catalog, file):  # all pictures of the one that is there may have gone
            write_own(catalog, file, _table(top, tables.get(top, []), names), force=force)
            written.append(file)
    return written


def _tables(dataset: Dataset, catalog: Catalog) -> dict[str, list[Credit]]:
    """The pictures by the folder of class folders that they lie in."""
    tables: dict[str, list[Credit]] = {}
    for credit in read_credits(catalog):
        top = "" if dataset.layout == "flat" else credit.path.partition("/")[0]
        tables.setdefault(top, []).append(credit)
    return tables


def cell(text: str) -> str:
    """A stranger's words as a cell that no spreadsheet runs: on one line, and begun by an apostrophe if need be."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def cell_content(text: str) -> str:
    """The words of a cell that `cell` has made."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(_FORMULA) else text


def _table(top: str, rows: Iterable[Credit], names: Mapping[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "label", "name", *FIELDS])
    for row in rows:
        path = printable(row.path.removeprefix(f"{top}/") if top else row.path)
        # A path of the same file, which no spreadsheet runs; an apostrophe would lead to no file at all.
        path = f"./{path}" if path.lstrip().startswith(_FORMULA) else path
        values = (row.label, names.get(row.label, row.label), *(getattr(row, field) for field in FIELDS))
        writer.writerow([path, *map(cell, values)])
    return text.getvalue()


def _require_signed(path: Path) -> None:
    try:
        if (path.exists() or path.is_symlink()) and not is_signed(path):
            raise UserError(
                f"{path} is there already, and is not as this program wrote it: move it away, or replace it with "
                "--force."
            )
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): move it away.") from error


def _line(credit: Credit) -> str:
    title = _escaped(credit.title) or "untitled"
    work = _linked(title, _target(credit.landing_page) or _target(credit.url))
    license_ = _linked(_escaped(credit.license) or "licence unknown", _target(credit.license_url))
    author = _escaped(credit.author) or "unknown author"
    if credit.author:
        author = _linked(author, _target(credit.author_page))
    return f"{work} by {author}, {license_}, via {_escaped(credit.source)}: {_code(credit.path)}"


def _linked(words: str, target: str) -> str:
    """The words, as a link where there is somewhere to go."""
    return f"[{words}]({target})" if target else words


def _escaped(text: str) -> str:
    """A stranger's words on one line of Markdown, without their markup."""
    return _MARKUP.sub(lambda sign: f"\\{sign[0]}", printable(" ".join(text.split())))


def _code(text: str) -> str:
    """Words to be read as they are: between more backticks than they have in a row."""
    words = printable(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    space = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{space}{words}{space}{ticks}"


def _target(url: str) -> str:
    """A link's target that cannot end the link, and that leads to nothing but the web."""
    if not url.startswith(("http://", "https://")):
        return ""
    return "".join(sign if sign == printable(sign) and not _NO_TARGET.match(sign) else _quoted(sign) for sign in url)


def _quoted(sign: str) -> str:
    return quote(sign, safe="", errors="replace")
