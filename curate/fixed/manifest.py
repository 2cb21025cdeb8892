"""Manifests: what left a dataset whose files stay as they lie, and how it is split, in Parquet that any tool reads.

Needs pyarrow.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from curate.errors import UserError
from curate.extras import require_pyarrow
from curate.files.addresses import is_remote
from curate.files.atomic import written_whole
from curate.files.reading import open_file
from curate.files.remote import upload

ManifestKind = Literal["quarantine", "split"]

MANIFEST_VERSION: Final = 1
"""Of the schema: raised where a field changes its meaning, its type or its name."""

_VERSION, _KIND = b"florilegium.manifest", b"florilegium.kind"
_ROWS = 8_192


class ManifestRow(NamedTuple):
    """One picture: of a quarantine why it left, of a split where it is; `split` is "" for one held back, and why."""

    path: str
    label: str
    split: str
    reason: str
    sha256: str


_MEANS: Final = {
    "path": "where the file lies, relative to the dataset, with / between folders",
    "label": "its class",
    "split": "train, valid or test; empty for a picture in no split",
    "reason": "why it left the dataset, or is held back from the split; empty for one that is in its split",
    "sha256": "of the file's bytes, 64 hexadecimal digits",
}


def write_manifest(file: Path, kind: ManifestKind, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest whole, in place of an earlier one. Raises `UserError` where it cannot be written."""
    schema = manifest_schema(kind)
    from pyarrow import Table, parquet

    try:
        with written_whole(file) as stream, parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
            for part in _in_parts(rows):
                writer.write_table(Table.from_pylist([row._asdict() for row in part], schema=schema))
    except OSError as error:
        raise UserError(f"The manifest {file} cannot be written ({error.strerror}): check the disk's space.") from error


def copy_manifest(file: Path, folder: Path) -> Path:
    """Write a manifest once more into another folder, here or beyond the disk; where it is then.

    Raises `UserError` where it cannot be written there.
    """
    to = folder / file.name
    try:
        if is_remote(folder):
            upload(file, to)
        else:
            with written_whole(to) as stream:
                stream.write(file.read_bytes())
    except OSError as error:
        raise UserError(f"The manifest {to} cannot be written ({error.strerror}): look at the place.") from error
    return to


def read_manifest(file: Path, kind: ManifestKind) -> list[ManifestRow]:
    """The rows of a manifest; none, where there is none. Raises `UserError` for one that is not as we wrote it."""
    if not file.is_file():
        return []
    schema = manifest_schema(kind)
    from pyarrow import ArrowException, parquet

    try:
        with open_file(file) as stream:
            table = parquet.read_table(stream)
    except (ArrowException, OSError) as error:
        raise UserError(f"{file} is no Parquet file, or is cut short: run `{_maker(kind)}` again.") from error
    about = table.schema.metadata or {}
    if not table.schema.equals(schema, check_metadata=False) or about.get(_KIND) != kind.encode():
        raise UserError(f"{file} is no manifest of this version: run `{_maker(kind)}` again.")
    rows = [ManifestRow(**{name: str(value) for name, value in row.items()}) for row in table.to_pylist()]
    if any(row.split not in ("", "train", "valid", "test") for row in rows):
        raise UserError(f"{file} names a split that there is not: run `{_maker(kind)}` again.")
    return rows


def _maker(kind: ManifestKind) -> str:
    return "clean" if kind == "quarantine" else "split"


def manifest_schema(kind: ManifestKind) -> Any:
    """The schema, as pyarrow has it. Raises `UserError` where pyarrow is not installed."""
    pyarrow, _ = require_pyarrow()
    fields = [pyarrow.field(name, pyarrow.string(), metadata={"description": means}) for name, means in _MEANS.items()]
    return pyarrow.schema(fields, metadata={_VERSION: str(MANIFEST_VERSION), _KIND: kind})


def _in_parts(rows: Iterable[ManifestRow]) -> Iterator[list[ManifestRow]]:
    part: list[ManifestRow] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS:
            yield part
            part = []
    yield part  # one at least, so that the file has its schema
