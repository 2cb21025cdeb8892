"""One Parquet file of a dataset: its labels first, and then the pictures of some rows, a few at a time."""

import json
from collections.abc import Collection, Iterator
from io import RawIOBase
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from curate.sources.hub.columns import Columns, Features

LARGEST_GROUP = 512 << 20
"""Bytes of the pictures of a row group, which come into memory as a whole: mostly they are one page. The hub makes row
groups of a hundred pictures, and of 300 MB at most.
"""
MOST_ROWS = 100_000_000
"""Of a file; each takes eight bytes of memory."""
_AT_ONCE = 16  # pictures that are Python's at once
_BUFFER = 4 << 20
_LOOKED_AT = 1000  # values of a column of texts


class PictureRows:
    """Reads an open file with pyarrow. Raises what reading the file raises, and ValueError where it is no Parquet."""

    def __init__(self, file: IO[bytes] | RawIOBase) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        if min(counts, default=0) < 0 or sum(counts) > MOST_ROWS:
            raise ValueError(f"it says that it has {sum(counts):,} rows")
        self.starts: NDArray[np.int64] = np.cumsum([0, *counts])
        """The first row of each row group, and behind them the number of rows."""

    def features(self) -> Features:
        """What the columns hold: as the `datasets` library wrote it, else by their types."""
        schema = self._file.schema_arrow
        try:
            stated = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        except (KeyError, TypeError, ValueError, RecursionError):
            stated = None
        known = stated if isinstance(stated, dict) else {}
        return {field.name: known.get(field.name) or _feature(field.type) for field in schema}

    def first_values(self, column: str) -> list[str]:
        """The first values of a column of texts, without what is none."""
        rows = next(self._file.iter_batches(_LOOKED_AT, columns=[column], use_threads=False), None)
        values = rows.column(0).to_pylist() if rows is not None else []
        return [value for value in values if isinstance(value, str)]

    def labels(self, columns: Columns, wanted: Collection[int]) -> tuple[NDArray[np.int64], list[str]]:
        """Each row's label as its place among the names, −1 for none, and the names.

        A row group that by its statistics has none of the numbers `wanted` is not read; its rows count as −1.
        """
        codes = np.full(int(self.starts[-1]), -1, dtype=np.int64)
        names: dict[str, int] = {name: code for code, name in enumerate(columns.names or ())}
        for group in range(len(self.starts) - 1):
            if columns.names is not None and not self._may_hold(group, columns.labels, wanted):
                continue
            rows = slice(int(self.starts[group]), int(self.starts[group + 1]))
            values = self._file.read_row_group(group, columns=[columns.labels], use_threads=False).column(0)
            if columns.names is not None:
                codes[rows] = np.asarray(values.fill_null(-1).to_numpy(), dtype=np.int64)
                continue
            for chunk in values.dictionary_encode().chunks:
                ours = [names.setdefault(str(name), len(names)) for name in chunk.dictionary.to_pylist()]
                place = np.asarray(chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
                codes[rows.start : rows.start + len(place)] = np.array([*ours, -1], dtype=np.int64)[place]
                rows = slice(rows.start + len(place), rows.stop)
        return codes, list(columns.names) if columns.names is not None else list(names)

    def pictures(self, column: str, group: int, rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """(row, the picture's bytes) of some rows of a row group, in order; one without bytes is left out.

        Raises ValueError for a row group that is larger than LARGEST_GROUP.
        """
        size = sum(about.total_uncompressed_size for about in self._about(group, column))
        if size > LARGEST_GROUP:
            raise ValueError(
                f"its row group {group} has {size / 2**20:,.0f} MiB of pictures, too many to be read at once"
            )
        last, row = max(rows, default=-1), int(self.starts[group])
        for batch in self._file.iter_batches(_AT_ONCE, row_groups=[group], columns=[column], use_threads=False):
            values = batch.column(0)
            for place in range(len(values)):
                if row in rows:
                    content = values[place].as_py()
                    content = content.get("bytes") if isinstance(content, dict) else content
                    if isinstance(content, bytes):
                        yield row, content
                row += 1
            if row > last:
                return

    def texts(self, column: str, rows: Collection[int]) -> dict[int, str]:
        """Row → its text, of some rows."""
        found: dict[int, str] = {}
        for group in sorted({self.group_of(row) for row in rows}):
            start = int(self.starts[group])
            values = self._file.read_row_group(group, columns=[column], use_threads=False).column(0)
            inside = [row for row in rows if start <= row < int(self.starts[group + 1])]
            found |= {row: text for row in inside if isinstance(text := values[row - start].as_py(), str)}
        return found

    def group_of(self, row: int) -> int:
        """The row group that a row lies in."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def _may_hold(self, group: int, column: str, wanted: Collection[int]) -> bool:
        (about,) = self._about(group, column)
        known = about.statistics
        if known is None or not known.has_min_max or not isinstance(known.min, int):
            return True
        return any(known.min <= code <= known.max for code in wanted)

    def _about(self, group: int, column: str) -> list[Any]:
        """What the file says of the parts of a column in a row group."""
        about = self._file.metadata.row_group(group)
        parts = [about.column(place) for place in range(about.num_columns)]
        return [part for part in parts if part.path_in_schema.partition(".")[0] == column]


def _feature(kind: Any) -> dict[str, object]:
    """What a column of this Arrow type holds, in the words of `Features`."""
    from pyarrow import types

    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return {"_type": "Image"}
    if types.is_binary(kind) or types.is_large_binary(kind):
        return {"_type": "Image"}
    return {"_type": "Value", "dtype": str(kind)}
