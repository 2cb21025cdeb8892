"""A table that names its columns in its first line, as people and their spreadsheets save it."""

import csv
import io
from collections.abc import Iterator

_DELIMITERS = (",", ";", "\t")  # a spreadsheet saves a .csv with any of them, by the language that it is set to


def read_headed_table(text: str, *columns: str) -> Iterator[dict[str, str]]:
    """The rows by the names of their columns, which are lower-case and without spaces around them.

    The delimiter is the first one by which the first line that is not empty names one of the `columns`. Rows whose
    cells are all empty are left out, and so are cells of no column. Raises KeyError where no delimiter gives such a
    column, and csv.Error for a text that is no table.
    """
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip().lower() for name in next((row for row in rows if row), [])]
        if not set(columns).isdisjoint(header):
            break
    else:
        raise KeyError(*columns)
    for row in rows:
        if any(cell.strip() for cell in row):
            cells = dict.fromkeys(header, "") | dict(zip(header, row, strict=False))
            yield {name: cell for name, cell in cells.items() if name}
