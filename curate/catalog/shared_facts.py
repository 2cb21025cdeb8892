"""What is known of the present files, for other tools; and what other tools knew of them, once it is proved."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from curate.catalog.credits import CreditRow
from curate.catalog.pictures import Catalog, Picture, Stamp, picture_columns, picture_of_row

_ROWS = 1 << 13


class KnownFile(NamedTuple):
    """A present file's row, and the stamp of the file when it was read."""

    picture: Picture
    stamp: Stamp


def count_present(catalog: Catalog) -> int:
    """How many files are present, broken ones among them."""
    return int(catalog.db.execute("SELECT COUNT(*) FROM pictures WHERE state = 'present'").fetchone()[0])


def known_of_present(catalog: Catalog) -> Iterator[list[KnownFile]]:
    """The present files, broken ones among them, in order of path, in parts."""
    stamp = ", ".join(Stamp._fields)
    cursor = catalog.db.execute(
        f"SELECT {stamp}, {picture_columns()} FROM pictures WHERE state = 'present' ORDER BY path"
    )
    while part := cursor.fetchmany(_ROWS):
        width = len(Stamp._fields)
        yield [KnownFile(picture_of_row(row[width:]), Stamp(*row[:width])) for row in part]


def credits_among(catalog: Catalog, sha256: Iterable[str]) -> dict[str, list[CreditRow]]:
    """sha256 → every credit of that content, the first one first, of those of some contents that have any."""
    wanted = sorted(set(sha256))
    found: dict[str, list[CreditRow]] = {}
    for start in range(0, len(wanted), _ROWS):
        part = wanted[start : start + _ROWS]
        query = (
            f"SELECT {', '.join(CreditRow._fields)} FROM credits WHERE sha256 IN ({', '.join('?' * len(part))}) "
            "ORDER BY fetched_at, url"
        )
        for row in catalog.db.execute(query, part):
            found.setdefault(row[0], []).append(CreditRow(*row))
    return found


def enter_proved(catalog: Catalog, files: Sequence[KnownFile], credits_told: Iterable[CreditRow]) -> None:
    """Enter the facts of files that were proved to be theirs, and credits where there is none from that URL.

    Belongs inside a transaction.
    """
    catalog.put(file.picture for file in files)
    catalog.stamp((file.picture.path, file.stamp) for file in files)
    places = ", ".join("?" * len(CreditRow._fields))
    catalog.db.executemany(f"INSERT OR IGNORE INTO credits VALUES ({places})", credits_told)
