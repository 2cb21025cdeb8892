"""Whose pictures these are: CREDITS.md for people, metadata.csv for programs, both from the catalog."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.catalog import Catalog
from curate.dataset import Dataset, natural_key

CREDITS = "CREDITS.md"
METADATA = "metadata.csv"
FIELDS = ("source", "url", "landing_page", "title", "author", "license", "license_url")


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


def read_credits(catalog: Catalog) -> list[Credit]:
    """One row per present picture, in natural order of label and path; the first credit of each content counts."""
    columns = ", ".join(f"COALESCE({field}, '')" for field in FIELDS)
    rows = catalog.db.execute(
        f"SELECT path, label, {columns} FROM pictures "
        "LEFT JOIN credits ON credits.sha256 = pictures.sha256 AND credits.url = ("
        "  SELECT url FROM credits AS other WHERE other.sha256 = pictures.sha256 ORDER BY fetched_at, url LIMIT 1"
        ") WHERE state = 'present'"
    )
    found = [Credit(*row) for row in rows]
    return sorted(found, key=lambda credit: (natural_key(credit.label), natural_key(credit.path)))


def write_credits(dataset: Dataset, catalog: Catalog, names: Mapping[str, str]) -> Path:
    """Write CREDITS.md at the dataset's root: every credited picture with page, author and licence."""
    everything = read_credits(catalog)
    credited = [credit for credit in everything if credit.source]
    introduction = (
        f"{len(credited)} of the {len(everything)} pictures in this dataset were found on the web. Each is listed "
        "with its author and licence; whoever passes the pictures on passes this list on with them."
    )
    lines = ["# Credits", "", introduction]
    label = None
    for credit in credited:
        if credit.label != label:
            label = credit.label
            name = names.get(label, label)
            lines += ["", f"## {_escaped(label)}" + (f": {_escaped(name)}" if name != label else ""), ""]
        lines.append(f"- {_line(credit)}")
    path = dataset.root / CREDITS
    _write(path, "\n".join(lines) + "\n")
    return path


def write_metadata(dataset: Dataset, catalog: Catalog, names: Mapping[str, str]) -> list[Path]:
    """Write a metadata.csv into each folder of class folders, in the form of Hugging Face's `imagefolder`.

    `file_name` is relative to the file that names it; every picture has a row, credited or not, because
    `imagefolder` refuses a folder in which some have none.
    """
    tables: dict[str, list[Credit]] = {}
    for credit in read_credits(catalog):
        top = "" if dataset.layout == "flat" else credit.path.partition("/")[0]
        tables.setdefault(top, []).append(credit)
    written = []
    for top, rows in sorted(tables.items()):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file_name", "label", "name", *FIELDS])
        for row in rows:
            values = [getattr(row, field) for field in FIELDS]
            path = row.path.removeprefix(f"{top}/") if top else row.path
            writer.writerow([path, row.label, names.get(row.label, row.label), *values])
        target = dataset.root / top / METADATA
        _write(target, text.getvalue())
        written.append(target)
    return written


def _line(credit: Credit) -> str:
    title = _escaped(credit.title) or "untitled"
    work = f"[{title}]({_target(credit.landing_page)})" if credit.landing_page else f"[{title}]({_target(credit.url)})"
    license_ = _escaped(credit.license) or "licence unknown"
    if credit.license_url:
        license_ = f"[{license_}]({_target(credit.license_url)})"
    author = _escaped(credit.author) or "unknown author"
    return f"{work} by {author}, {license_}, via {credit.source}: `{credit.path}`"


def _escaped(text: str) -> str:
    """A stranger's words on one line of Markdown, without their markup."""
    words = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#|!~" else sign for sign in words)


def _target(url: str) -> str:
    """A link's target that cannot end the link, and that leads to nothing but the web."""
    if not url.startswith(("http://", "https://")):
        return ""
    return url.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)
