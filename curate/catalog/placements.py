"""The files that `split` made: what is ours in an output folder, and which pictures are such files.

An output folder is named relative to the dataset's root, which itself is ".".
"""

from collections.abc import Iterable, Iterator

from curate.catalog.pictures import Catalog

IN_PLACE = "."
"""The output folder that is the dataset itself."""

PresentRow = tuple[str, str, str, str, str, str | None]
"""(path, label, split, sha256, why it is broken, the sha256 with which it was placed or None where it was not)."""

_ROWS = 1 << 16


def placed_in(catalog: Catalog, out: str) -> dict[str, str]:
    """Path → sha256 of the files that `split` made in an output."""
    return dict(catalog.db.execute("SELECT path, sha256 FROM placements WHERE out = ?", (out,)).fetchall())


def outs_elsewhere(catalog: Catalog) -> list[str]:
    """The outputs that are not the dataset itself."""
    rows = catalog.db.execute("SELECT DISTINCT out FROM placements WHERE out != ?", (IN_PLACE,))
    return [str(out) for (out,) in rows]


def placed_elsewhere(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """(output, path, sha256) of the files in those outputs, output by output."""
    return catalog.db.execute("SELECT out, path, sha256 FROM placements WHERE out != ? ORDER BY out", (IN_PLACE,))


def enter_placed(catalog: Catalog, out: str, files: Iterable[tuple[str, str]]) -> None:
    """Say that files (path, sha256) in an output are ours. Belongs inside a transaction."""
    rows = ((out, path, sha256) for path, sha256 in files)
    catalog.db.executemany("INSERT OR REPLACE INTO placements VALUES (?, ?, ?)", rows)


def forget_placed(catalog: Catalog, out: str, paths: Iterable[str]) -> None:
    """Say that there are no longer files of ours under these paths. Belongs inside a transaction."""
    rows = [(out, path) for path in paths]
    catalog.db.executemany("DELETE FROM placements WHERE out = ? AND path = ?", rows)


def present_and_placed(catalog: Catalog, out: str) -> Iterator[list[PresentRow]]:
    """The present pictures but for those that a move on record is about to take away, in order of path, in parts.

    The last of a row tells of the files that `split` made in `out`.
    """
    cursor = catalog.db.execute(
        "SELECT pictures.path, label, split, pictures.sha256, broken, placements.sha256 "
        "FROM pictures LEFT JOIN placements ON placements.out = ? AND placements.path = pictures.path "
        "WHERE state = 'present' AND pictures.path NOT IN (SELECT path FROM quarantine WHERE state = 'moving') "
        "ORDER BY pictures.path",
        (out,),
    )
    while part := cursor.fetchmany(_ROWS):
        yield part
