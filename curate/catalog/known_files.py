"""What a catalog knows of files, for a reader that can do without it: no catalog, or a damaged one, knows nothing."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from curate.catalog.own_facts import place_of
from curate.catalog.pictures import LastRead

_SHA256 = re.compile("[0-9a-f]{64}")


def known_files(file: Path) -> dict[str, LastRead]:
    """Path → the present file as it was last read, from the catalog if there is one; it is only read.

    A catalog that was written elsewhere knows nothing either: what it says of a file may be untrue.
    """
    if not file.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'pictures'").fetchone():
                return {}  # a view of that name may run without end
            about = "SELECT value FROM about WHERE name = 'place'"
            if db.execute(about).fetchone() != (place_of(file) or None,):
                return {}
            rows = db.execute("SELECT path, size, mtime_ns, sha256 FROM pictures WHERE state = 'present'")
            return {
                path: LastRead(size, mtime_ns, sha256)
                for path, size, mtime_ns, sha256 in rows
                if isinstance(sha256, str) and _SHA256.fullmatch(sha256)
            }
    except (sqlite3.Error, OSError):  # damaged or of another version: the files themselves tell the same, only slower
        return {}
