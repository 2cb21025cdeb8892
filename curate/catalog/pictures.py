"""The table of pictures: what is known of each file, and where it is now."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from curate.catalog.database import Database
from curate.catalog.schema import SCORE_COLUMNS
from curate.decoding.formats import NOT_READABLE
from curate.quality import CHECKS, Scores

if TYPE_CHECKING:
    from curate.inspect import Facts


@dataclass(frozen=True, slots=True)  # slots: there may be a million of them
class Picture:
    """One row of `pictures`. `phash` is unsigned here, signed in SQLite; `scores` has a column for each check.

    The row of a file that was read is made by `of`, which leaves no fact out.
    """

    path: str
    folder: str
    label: str
    split: str
    size: int
    mtime_ns: int
    sha256: str
    format: str
    width: int
    height: int
    phash: int
    broken: str
    state: str
    fingerprint: bytes = b""
    scores: Scores = ()

    @classmethod
    def of(
        cls,
        facts: "Facts",
        *,
        path: str,
        label: str,
        split: str,
        folder: str = "",
        size: int = 0,
        mtime_ns: int = 0,
        state: str = "present",
    ) -> Self:
        """The row of a file with these facts, which lies at `path`."""
        return cls(
            path, folder, label, split, size, mtime_ns, facts.sha256, facts.format, facts.width, facts.height,
            facts.phash, facts.broken, state, facts.fingerprint, facts.scores,
        )  # fmt: skip


class Seen(NamedTuple):
    """What the catalog knows of a file without reading it.

    `sha256` is its content's, "" where that is to be read again: its row lacks a fact, or may say another thing now.
    """

    stamp: "Stamp"
    state: str
    label: str
    split: str
    sha256: str
    broken: int

    @property
    def lacks_a_fact(self) -> bool:
        """Whether it is to be read again in any case."""
        return not (self.sha256 or self.broken)


class Stamp(NamedTuple):
    """What tells without reading that a file is the one that was read. Size and time do not: an archive gives many
    files the same, and a renamed folder brings others to a path. Its number on the disk and the time of its last
    change of any kind do, where the disk keeps them.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Of a file as `stat` has it; the number as SQLite takes it, signed."""
        inode = status.st_ino - (1 << 64) if status.st_ino >> 63 else status.st_ino
        return cls(status.st_size, status.st_mtime_ns, inode, status.st_ctime_ns)


class LastRead(NamedTuple):
    """A file as it was when it was last read."""

    size: int
    mtime_ns: int
    sha256: str


_NAMES = [field.name for field in fields(Picture) if field.name != "scores"]
_COLUMNS = ", ".join(_NAMES + SCORE_COLUMNS)
_PLACES = ", ".join("?" for _ in _NAMES + SCORE_COLUMNS)
_PHASH = _NAMES.index("phash")
_SHARED = [_NAMES.index(name) for name in ("folder", "label", "split", "format", "state")]
_values = attrgetter(*_NAMES)


class Catalog(Database):
    """One open catalog: its file, and its pictures. Lists are sorted by path."""

    def put(self, pictures: Iterable[Picture]) -> None:
        """Insert or replace rows of `pictures`."""
        rows = (_row(picture) for picture in pictures)
        self.db.executemany(f"INSERT OR REPLACE INTO pictures ({_COLUMNS}) VALUES ({_PLACES})", rows)

    def pictures(self) -> list[Picture]:
        """The present pictures, broken files among them."""
        return self._where("state = 'present'")

    def intact(self) -> list[Picture]:
        """The present pictures that give pixels."""
        return self._where("state = 'present' AND broken = ''")

    def broken(self) -> list[Picture]:
        """The present files that give no pixels."""
        return self._where("state = 'present' AND broken != ''")

    def unreadable(self) -> list[tuple[str, str]]:
        """(path, why) of each present file that may be whole, and that nothing on this machine reads; by path."""
        query = "SELECT path, broken FROM pictures WHERE state = 'present' AND broken LIKE ? ORDER BY path"
        return self.db.execute(query, (f"{NOT_READABLE}%",)).fetchall()

    def count_of(self, label: str) -> int:
        """How many different pictures of a class are there that give pixels; one in raw and in a split counts once."""
        query = "SELECT COUNT(DISTINCT sha256) FROM pictures WHERE label = ? AND state = 'present' AND broken = ''"
        return int(self.db.execute(query, (label,)).fetchone()[0])

    def absent(self) -> list[Picture]:
        """The pictures in the quarantine, and those whose files are gone."""
        return self._where("state != 'present'")

    def _where(self, condition: str) -> list[Picture]:
        query = f"SELECT {_COLUMNS} FROM pictures WHERE {condition} ORDER BY path"
        return [picture_of_row(row) for row in self.db.execute(query)]

    def folders(self) -> list[str]:
        """Every class folder that any picture lay in."""
        return [folder for (folder,) in self.db.execute("SELECT DISTINCT folder FROM pictures")]

    def seen_in(self, folder: str) -> dict[str, Seen]:
        """Path → what tells whether a file must be read again, for each row of a class folder."""
        known = " AND ".join(f"{column} IS NOT NULL" for column in SCORE_COLUMNS)
        query = (
            "SELECT path, size, mtime_ns, inode, ctime_ns, state, label, split, "
            f"CASE WHEN mtime_ns != -1 AND (broken != '' OR fingerprint != x'' AND {known}) THEN sha256 ELSE '' END, "
            "broken != '' "
            "FROM pictures WHERE folder = ?"
        )
        return {path: Seen(Stamp(*seen[:4]), *seen[4:]) for path, *seen in self.db.execute(query, (folder,))}

    def count_flags(self) -> dict[str, int]:
        """How many present pictures bear each quality flag; flags that none bears are left out."""
        sums = ", ".join(f"TOTAL({check.column} < {check.threshold})" for check in CHECKS)
        counts = self.db.execute(f"SELECT {sums} FROM pictures WHERE state = 'present'").fetchone()
        return {check.flag: int(count) for check, count in zip(CHECKS, counts, strict=True) if count}

    def paths_of(self, sha256: str) -> list[str]:
        """Where the present pictures of one content lie."""
        rows = self.db.execute("SELECT path FROM pictures WHERE sha256 = ? AND state = 'present'", (sha256,))
        return [path for (path,) in rows]

    def mark_missing(self, paths: Iterable[str]) -> None:
        """Say of pictures that were present that their files are gone. Belongs inside a transaction."""
        rows = [(path,) for path in paths]
        self.db.executemany("UPDATE pictures SET state = 'missing' WHERE path = ? AND state = 'present'", rows)

    def mark_folders_missing(self, folders: Iterable[str]) -> int:
        """Say that class folders are gone, and their pictures with them; returns how many were present."""
        lost = [(folder,) for folder in folders]
        if not lost:
            return 0
        with self.transaction() as db:
            return db.executemany(
                "UPDATE pictures SET state = 'missing' WHERE folder = ? AND state = 'present'", lost
            ).rowcount

    def rename(self, path: str, to: str) -> None:
        """Say that a picture has another place. Belongs inside a transaction."""
        self.db.execute("UPDATE OR REPLACE pictures SET path = ? WHERE path = ?", (to, path))

    def enter_copies(self, copies: Iterable[tuple[str, str, str, str]]) -> None:
        """Enter files (path, class folder, split, path of the original) that were placed: the facts are known, and the
        next scan
        need not read them again.
        """
        columns = [column[0] for column in self.db.execute("SELECT * FROM pictures LIMIT 0").description]
        own = {"path": ":path", "folder": ":folder", "split": ":split"}
        rows = (
            {"path": path, "folder": folder, "split": split, "source": source} for path, folder, split, source in copies
        )
        with self.transaction() as db:
            db.executemany(
                f"INSERT OR REPLACE INTO pictures SELECT {', '.join(own.get(name, name) for name in columns)} "
                "FROM pictures WHERE path = :source",
                rows,
            )

    def have_unreadable_read(self) -> None:
        """Have the next scan read those files again that nothing on this machine could read. Belongs inside a
        transaction.
        """
        self.db.execute("UPDATE pictures SET mtime_ns = -1 WHERE broken LIKE ?", (f"{NOT_READABLE}%",))

    def have_all_read(self) -> None:
        """Have the next scan read every file again. Belongs inside a transaction."""
        self.db.execute("UPDATE pictures SET mtime_ns = -1")

    def stamp(self, files: Iterable[tuple[str, Stamp]]) -> None:
        """Put on record which files were read, under these paths. Belongs inside a transaction."""
        self.db.executemany(
            "UPDATE pictures SET size = ?, mtime_ns = ?, inode = ?, ctime_ns = ? WHERE path = ?",
            ((*stamp, path) for path, stamp in files),
        )

    def enter_same(self, files: Iterable[tuple[str, str, str, str]]) -> None:
        """Say of files (path, class folder, label, split) that they are there, with the content that is known.

        Belongs inside a transaction.
        """
        self.db.executemany(
            "UPDATE pictures SET folder = ?, label = ?, split = ?, state = 'present' WHERE path = ?",
            ((folder, label, split, path) for path, folder, label, split in files),
        )

    def is_as_read(self, path: str, status: os.stat_result, sha256: str) -> bool:
        """Whether a file is, without a look into it, the one that was read under this path, with this content."""
        row = self.db.execute(
            "SELECT size, mtime_ns, inode, ctime_ns, sha256 FROM pictures WHERE path = ?", (path,)
        ).fetchone()
        return row is not None and tuple(row) == (*Stamp.of(status), sha256)

    def set_state(self, path: str, state: str) -> None:
        """Say where a picture is now: "present", "quarantined" or "missing"."""
        self.db.execute("UPDATE pictures SET state = ? WHERE path = ?", (state, path))


def picture_columns() -> str:
    """The columns of `pictures`, in the order in which `picture_of_row` takes their values."""
    return _COLUMNS


def _row(picture: Picture) -> list[object]:
    values = list(_values(picture))
    values[_PHASH] = picture.phash - (1 << 64) if picture.phash >> 63 else picture.phash
    return values + list(picture.scores or [None] * len(SCORE_COLUMNS))


def picture_of_row(row: tuple[Any, ...]) -> Picture:
    """A picture of the values of `picture_columns`."""
    values = list(row[: len(_NAMES)])
    values[_PHASH] %= 1 << 64
    for place in _SHARED:  # SQLite gives each of a million rows a string of its own
        values[place] = sys.intern(values[place])
    scores = row[len(_NAMES) :]
    values.append(() if None in scores else tuple(map(_shared_score, scores)))
    return Picture(*values)


@lru_cache(maxsize=1024)  # to three decimals there are 1,001 scores
def _shared_score(score: float) -> float:
    return score
