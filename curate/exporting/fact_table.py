"""Facts of pictures as Parquet that any tool reads: one schema, with a description of each field, and its version.

Integers are signed, for Spark knows no others; hashes of 64 bits are in two's complement. Needs pyarrow.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from curate.catalog.credits import CreditRow
from curate.catalog.pictures import Picture, Stamp
from curate.catalog.shared_facts import KnownFile
from curate.errors import UserError
from curate.extras import require_pyarrow
from curate.files.inside import is_plain
from curate.lookalikes.fingerprint import VARIANTS, is_flat
from curate.lookalikes.method import facts_method
from curate.quality import CHECKS

FACTS_VERSION: Final = 1
"""Of the schema: raised where a field changes its meaning, its type or its name."""

_VERSION, _METHOD = b"florilegium.facts", b"florilegium.method"
_SHA256, _FORMAT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[A-Z0-9]{1,16}")
_ROWS_OF_A_FILE, _ROWS_OF_A_GROUP = 100_000, 8_192


class FactField(NamedTuple):
    """One column of the schema."""

    name: str
    kind: str
    means: str


FACT_FIELDS: Final = (
    FactField("path", "text", "where the file lies, relative to the dataset, with / between folders"),
    FactField("label", "text", "its class; empty where nobody has said what it shows"),
    FactField("split", "text", "train, valid or test; empty for a picture in no split"),
    FactField("size", "integer", "bytes"),
    FactField("mtime_ns", "integer", "last change of the content, nanoseconds since 1970"),
    FactField("inode", "integer", "the file's number on its disk, or one made of a remote object's ETag"),
    FactField("ctime_ns", "integer", "last change of any kind, nanoseconds since 1970"),
    FactField("sha256", "text", "of the file's bytes, 64 hexadecimal digits"),
    FactField("format", "text", "JPEG, PNG, ...; empty for a file that gives no pixels"),
    FactField("width", "integer", "pixels of the upright picture at full scale"),
    FactField("height", "integer", "likewise"),
    FactField("phash", "integer", "pHash of the whole picture, 64 bits in two's complement"),
    FactField("windows", "integers", "pHashes of windows and turns, in two's complement; null for one that is flat"),
    FactField("flat_colour", "integer", "mean colour of a flat picture, 0xRRGGBB; null for any other"),
    FactField("broken", "text", "why the file gives no pixels; empty for an intact picture"),
    *(FactField(check.column, "number", f"0 to 1; below {check.threshold:g}: {check.means}; null for no pixels")
      for check in CHECKS),
    FactField("credits", "credits", "where pictures with this content were found: url, author, license and so on"),
)  # fmt: skip


class FactRow(NamedTuple):
    """A file as a table of facts has it, with the credits of its content."""

    file: KnownFile
    credits: list[CreditRow]


def fact_schema() -> Any:
    """The schema, as pyarrow has it. Raises `UserError` where pyarrow is not installed."""
    pyarrow, _ = require_pyarrow()
    told = [name for name in CreditRow._fields if name != "sha256"]
    kinds = {
        "text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64(),
        "integers": pyarrow.list_(pyarrow.int64()),
        "credits": pyarrow.list_(pyarrow.struct([(name, pyarrow.string()) for name in told])),
    }  # fmt: skip
    fields = [pyarrow.field(one.name, kinds[one.kind], metadata={"description": one.means}) for one in FACT_FIELDS]
    return pyarrow.schema(fields, metadata={_VERSION: str(FACTS_VERSION), _METHOD: facts_method()})


def write_facts(parts: Iterator[list[FactRow]], files: int, folder: Path) -> Iterator[tuple[Path, int]]:
    """Write `facts-00000-of-00003.parquet` and so on for so many `files`: (each, rows in it), as it is whole.

    `parts` are written in their order. The same rows give the same bytes.
    """
    schema = fact_schema()
    from pyarrow import Table, parquet

    shards = max(1, -(-files // _ROWS_OF_A_FILE))
    waiting: list[FactRow] = []
    for number in range(shards):
        while len(waiting) < _ROWS_OF_A_FILE and (part := next(parts, None)) is not None:
            waiting += part
        rows, waiting = waiting[:_ROWS_OF_A_FILE], waiting[_ROWS_OF_A_FILE:]
        file = folder / f"facts-{number:05}-of-{shards:05}.parquet"
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for start in range(0, len(rows), _ROWS_OF_A_GROUP):
                group = [_values(row) for row in rows[start : start + _ROWS_OF_A_GROUP]]
                writer.write_table(Table.from_pylist(group, schema=schema))
        yield file, len(rows)


def read_facts_of(stream: BinaryIO, file: Path) -> Iterator[list[FactRow]]:
    """The rows of intact pictures in one file of facts, in parts; what is said of broken ones is passed over.

    Raises `UserError` for a file of another schema, version or method, and for a value that no picture has.
    """
    schema = fact_schema()
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.ParquetFile(stream)
        _require_ours(table.schema_arrow, schema, file)
        for batch in table.iter_batches(batch_size=_ROWS_OF_A_GROUP):
            rows = (_row(values, file) for values in batch.to_pylist())
            yield [row for row in rows if row is not None]
    except (ArrowException, OSError) as error:
        raise UserError(f"{file} is no Parquet file, or is cut short: export the facts again.") from error


def _require_ours(there: Any, schema: Any, file: Path) -> None:
    about = there.metadata or {}
    if about.get(_VERSION) != str(FACTS_VERSION).encode():
        raise UserError(f"{file} holds no facts of version {FACTS_VERSION}: write them with `export --format facts`.")
    if about.get(_METHOD) != facts_method().encode():
        raise UserError(f"{file} was written by another version of the program, which sees other facts: export again.")
    if not there.equals(schema, check_metadata=False):
        raise UserError(f"{file} has other columns than facts have: write them with `export --format facts`.")


def _values(row: FactRow) -> dict[str, object]:
    picture, stamp = row.file
    print_ = picture.fingerprint
    return {
        "path": picture.path, "label": picture.label, "split": picture.split, **stamp._asdict(),
        "sha256": picture.sha256, "format": picture.format, "width": picture.width, "height": picture.height,
        "phash": _signed(picture.phash), "broken": picture.broken,
        "windows": None if is_flat(print_) or not print_ else [
            int.from_bytes(print_[at : at + 8], "big", signed=True) for at in range(0, len(print_), 8)
        ],
        "flat_colour": int.from_bytes(print_, "big") if is_flat(print_) else None,
        **dict(zip((check.column for check in CHECKS), picture.scores or [None] * len(CHECKS), strict=True)),
        "credits": [{k: v for k, v in one._asdict().items() if k != "sha256"} for one in row.credits],
    }  # fmt: skip


def _row(values: Mapping[str, Any], file: Path) -> FactRow | None:
    """One row; None for a file that gives no pixels. Raises `UserError` for values that are no picture's."""
    if values["broken"]:
        return None
    scores = tuple(values[check.column] for check in CHECKS)
    windows, colour = values["windows"], values["flat_colour"]
    numbers = [values[name] for name in ("size", "mtime_ns", "inode", "ctime_ns", "width", "height", "phash")]
    texts = [values[name] for name in ("path", "label", "split", "sha256", "format", "broken")]
    sound = (
        all(isinstance(one, str) for one in texts)
        and all(isinstance(one, int) for one in numbers)
        and is_plain(values["path"])
        and _SHA256.fullmatch(values["sha256"]) is not None
        and min(values["size"], values["width"], values["height"]) > 0
        and _FORMAT.fullmatch(values["format"]) is not None
        and all(isinstance(score, float) and 0 <= score <= 1 for score in scores)
        and ((windows is None) != (colour is None))
        and (windows is None or (len(windows) == len(VARIANTS) and None not in windows))
        and (colour is None or 0 <= colour < 1 << 24)
        and _are_credits(values["credits"])
    )
    if not sound:
        raise UserError(f"{file} has a row on {values['path']!a} that no picture can have: export the facts again.")
    fingerprint = (
        colour.to_bytes(3, "big")
        if windows is None
        else b"".join(one.to_bytes(8, "big", signed=True) for one in windows)
    )
    picture = Picture(
        values["path"], "", values["label"], values["split"], values["size"], values["mtime_ns"], values["sha256"],
        values["format"], values["width"], values["height"], values["phash"] % (1 << 64), "", "present", fingerprint,
        scores,
    )  # fmt: skip
    stamp = Stamp(*(values[name] for name in Stamp._fields))
    told = [CreditRow(sha256=values["sha256"], **one) for one in values["credits"]]
    return FactRow(KnownFile(picture, stamp), told)


def _are_credits(found: Sequence[Mapping[str, Any]] | None) -> bool:
    return found is not None and all(
        one is not None and all(isinstance(value, str) for value in one.values()) for one in found
    )


def placed_at(row: FactRow, *, folder: str, label: str, split: str, stamp: Stamp) -> KnownFile:
    """The file of a row, where it was found to lie."""
    picture = replace(
        row.file.picture, folder=folder, label=label, split=split, size=stamp.size, mtime_ns=stamp.mtime_ns
    )
    return KnownFile(picture, stamp)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
