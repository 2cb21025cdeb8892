"""SQLite's WAL mode, turned on where several processes may be doing so at once."""

import sqlite3
import time

LOCK_SECONDS = 60.0
"""Seconds that one process waits for another's lock."""


def enable_wal(db: sqlite3.Connection) -> None:
    """Turn WAL mode on. While another process does the same, SQLite fails at once: it does not wait for this lock."""
    deadline = time.monotonic() + LOCK_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return  # a file system that cannot share memory keeps its own mode
