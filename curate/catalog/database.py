"""One open catalog file: opened and made, read without a trace, and written to in transactions."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from curate.catalog.files import cannot, connect_read_only, file_numbers, in_words, require_own_files
from curate.catalog.schema import check, is_empty, prepare
from curate.catalog.sqlite_wal import LOCK_SECONDS
from curate.errors import UserError
from curate.folders import OUR_ENDING

_ABOUT = "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"


class Database:
    """The connection, `db`, is for this package alone."""

    def __init__(self, path: Path, db: sqlite3.Connection, held: ExitStack | None = None) -> None:
        self.path = path
        self.db = db
        self._held = held or ExitStack()
        self._file = file_numbers(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the catalog. Raises `UserError` where it is damaged, not ours, newer than us, or unwritable.

        The folder that is kept beside a dataset is made; the dataset itself is not: someone may just have removed it.
        """
        with in_words(path):
            try:
                if path.parent.name.endswith(OUR_ENDING):
                    path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise UserError(f"The folder {path.parent} cannot be written ({error.strerror}).") from error
            require_own_files(path)
            db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
            try:
                prepare(path, db)
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    @classmethod
    def open_read_only(cls, path: Path, *, even_damaged: bool = False) -> Self:
        """Open the catalog to look at it: nothing is written beside it or into it, so its disk may be read-only.

        What is seen is whole, also while another process writes, and after one was killed. Raises `UserError` where
        there is none, and where it is damaged, not ours, newer than us, or unreadable. One that is `even_damaged` is
        opened where it is ours, to read of it what still can be read.
        """
        with in_words(path, "read"), ExitStack() as stack:
            try:
                db = connect_read_only(path, stack)
            except OSError as error:
                raise cannot("read", path, error.strerror) from error
            if is_empty(path, db):
                raise UserError(f"The catalog {path} is empty: any command that writes to it fills it.")
            check(path, db, even_damaged=even_damaged)
            return cls(path, db, stack.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        self._held.close()
        if isinstance(error, sqlite3.Error):
            with in_words(self.path):
                raise error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is written inside, or nothing of it. Raises `UserError` where it cannot be written."""
        with in_words(self.path):  # a server has the catalog open for long, and says it at once
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # a full disk has rolled it back already
                    self.db.execute("ROLLBACK")
                raise

    def require_in_place(self) -> None:
        """Raise `UserError` where the file that is open has lost its name: what is written to it, nobody reads."""
        if self._file != file_numbers(self.path):
            raise UserError(
                f"The catalog {self.path} was moved, removed or replaced meanwhile, so nothing was written: ask again."
            )

    def has_table(self, name: str) -> bool:
        """Whether a table is there that is made when it is first needed."""
        return self.db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None

    def identity(self) -> str:
        """A random name of this catalog, which marks what lies elsewhere and is its own; 32 hexadecimal digits.

        A catalog that a stranger has made cannot know the name that another one has.
        """
        if not self.about("identity"):
            with self.transaction() as db:
                db.execute(_ABOUT)
                db.execute("INSERT OR IGNORE INTO about VALUES ('identity', ?)", (secrets.token_hex(16),))
        return self.about("identity")

    def about(self, name: str) -> str:
        """What is on record of the catalog as a whole under a name; "" for nothing."""
        if not self.has_table("about"):
            return ""
        (value,) = self.db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone() or ("",)
        return str(value)

    def note_about(self, name: str, value: str) -> None:
        """Put something on record of the catalog as a whole. Belongs inside a transaction."""
        self.db.execute(_ABOUT)
        self.db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))
