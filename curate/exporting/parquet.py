"""Parquet files with the pictures inside, in the layout of Hugging Face's image feature. Needs pyarrow."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.catalog.credits import FIELDS
from curate.exporting.examples import Example, Examples, Whole, contents_in_turn, plan_shards, untold
from curate.extras import require_pyarrow

MOST_BYTES = 256 << 20
"""Of pictures in one file, unless a single one is larger."""

_ROW_GROUP = 8 << 20  # bytes: what a reader holds at once, and may skip
_TEXT = ("name", "sha256", *FIELDS)


def write_parquet(
    examples: Examples,
    folder: Path,
    advance: Callable[[int], None],
    whole: Whole = untold,
    *,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Write `data/<split>-00000-of-00002.parquet` and so on, as the Hub names them. A picture is a struct of its bytes
    and its name, a label a number whose class folder the schema tells; the rest is text.
    """
    pyarrow, parquet = require_pyarrow()
    schema = _schema(pyarrow, examples.labels)
    (folder / "data").mkdir()
    for split, members in examples.splits.items():
        shards = plan_shards([example.size for example in members], most_bytes)
        for number, shard in enumerate(shards):
            file = folder / "data" / f"{split}-{number:05}-of-{len(shards):05}.parquet"
            part = [members[at] for at in shard]
            # Pictures are compressed already, and no two alike: neither a codec nor a dictionary would help.
            with parquet.ParquetWriter(file, schema, compression="none", use_dictionary=list(_TEXT[2:])) as writer:
                for group in plan_shards([example.size for example in part], _ROW_GROUP):
                    writer.write_table(_table(pyarrow, schema, examples, [part[at] for at in group]))
                    advance(len(group))
            whole(file)


def count_pictures(folder: Path) -> dict[str, int]:
    """The pictures of each split as they lie on the disk."""
    _, parquet = require_pyarrow()
    counts = Counter[str]()
    for file in sorted((folder / "data").glob("*.parquet")):
        counts[file.name.partition("-")[0]] += parquet.read_metadata(file).num_rows
    return dict(counts)


def _schema(pyarrow: Any, labels: Sequence[str]) -> Any:
    text = {"dtype": "string", "_type": "Value"}
    features = {"image": {"_type": "Image"}, "label": {"names": list(labels), "_type": "ClassLabel"}}
    features |= dict.fromkeys(_TEXT, text)
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    fields = [("image", image), ("label", pyarrow.int64()), *((name, pyarrow.string()) for name in _TEXT)]
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _table(pyarrow: Any, schema: Any, examples: Examples, members: Sequence[Example]) -> Any:
    rows = [examples.row(example) for example in members]
    columns: dict[str, list[object]] = {
        "image": [
            {"bytes": content, "path": example.name}
            for example, content in zip(members, contents_in_turn(members), strict=True)
        ],
        "label": [example.label for example in members],
    }
    columns |= {name: [row[name] for row in rows] for name in _TEXT}
    return pyarrow.table(columns, schema=schema)
