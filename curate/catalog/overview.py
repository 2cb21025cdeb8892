"""All present pictures at a glance, without what only searches need: for pages that show tens of thousands of them."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from curate.catalog.pictures import Catalog
from curate.quality import CHECKS


class Glance(NamedTuple):
    """A picture's place and plain facts: bytes of the file, pixels upright; `broken` says why it gives no pixels."""

    path: str
    folder: str
    label: str
    split: str
    size: int
    sha256: str
    format: str
    width: int
    height: int
    broken: str


class Flagged(NamedTuple):
    """A quality check that a picture fails: its flag, the score, what that means and below which score it is raised."""

    flag: str
    score: float
    means: str
    threshold: float


def glances(catalog: Catalog, *, absent: bool = False) -> Iterator[Glance]:
    """The present pictures, or those that are not, in order of path."""
    state = "!= 'present'" if absent else "= 'present'"
    rows = catalog.db.execute(f"SELECT {', '.join(Glance._fields)} FROM pictures WHERE state {state} ORDER BY path")
    share = sys.intern  # SQLite gives each row strings of its own
    for path, folder, label, split, size, sha256, kind, width, height, broken in rows:
        yield Glance(path, share(folder), share(label), share(split), size, sha256, share(kind), width, height, broken)


def flagged(catalog: Catalog) -> Mapping[str, list[Flagged]]:
    """Path → the quality checks that a present picture fails, in the order of the table."""
    columns = ", ".join(check.column for check in CHECKS)
    fails = " OR ".join(f"{check.column} < {check.threshold}" for check in CHECKS)
    rows = catalog.db.execute(f"SELECT path, {columns} FROM pictures WHERE state = 'present' AND ({fails})")
    return {
        path: [
            Flagged(check.flag, score, check.means, check.threshold)
            for check, score in zip(CHECKS, scores, strict=True)
            if score is not None and score < check.threshold
        ]
        for path, *scores in rows
    }


def phashes_of(catalog: Catalog, paths: Iterable[str]) -> dict[str, int]:
    """Path → the pHash of a present picture, unsigned, for these paths."""
    found = {}
    for path in paths:
        row = catalog.db.execute("SELECT phash FROM pictures WHERE path = ? AND state = 'present'", (path,)).fetchone()
        if row is not None:
            found[path] = int(row[0]) % (1 << 64)
    return found


def count_changed_since(catalog: Catalog, mtime_ns: int) -> int:
    """How many present pictures were written, renamed or linked after a moment, in nanoseconds since 1970."""
    query = "SELECT COUNT(*) FROM pictures WHERE state = 'present' AND MAX(mtime_ns, ctime_ns) > ?"
    return int(catalog.db.execute(query, (mtime_ns,)).fetchone()[0])


def state_in_short(catalog: Catalog) -> tuple[tuple[object, ...], ...]:
    """What differs as soon as pictures came, went, moved or changed: to be compared with what it was."""
    rows = catalog.db.execute(
        "SELECT state, COUNT(*), TOTAL(length(path)), TOTAL(size), MAX(ctime_ns) FROM pictures GROUP BY state"
    )
    return tuple(map(tuple, rows))


def changes_by_others(catalog: Catalog) -> int:
    """A number that changes whenever another connection has written to the catalog's file."""
    return int(catalog.db.execute("PRAGMA data_version").fetchone()[0])


class MoreFacts(NamedTuple):
    """What one picture's row has beyond a glance: pHash (unsigned), when it was written (ns since 1970), and scores."""

    phash: int
    mtime_ns: int
    scores: list[tuple[str, float]]


def more_facts(catalog: Catalog, path: str, sha256: str) -> MoreFacts | None:
    """Of the picture at a path, be it present or not, as long as it has this content."""
    columns = ", ".join(check.column for check in CHECKS)
    query = f"SELECT phash, mtime_ns, {columns} FROM pictures WHERE path = ? AND sha256 = ?"
    row = catalog.db.execute(query, (path, sha256)).fetchone()
    if row is None:
        return None
    phash, mtime_ns, *scores = row
    known = [(check.flag, score) for check, score in zip(CHECKS, scores, strict=True) if score is not None]
    return MoreFacts(int(phash) % (1 << 64), mtime_ns, known)
