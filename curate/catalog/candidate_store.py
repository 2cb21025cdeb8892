"""The record of a scrape: every candidate that a search has found, and what became of it."""

import datetime
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field

from curate.catalog.check import REBUILD
from curate.catalog.credits import CreditRow, enter_credit, withdraw_credit
from curate.catalog.pictures import Catalog
from curate.errors import UserError
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query
from curate.sources.protocol.licenses import License
from curate.sources.protocol.picture_urls import picture_key

_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS scrape_searches (
    label    TEXT NOT NULL,
    source   TEXT NOT NULL,     -- as --source gave it: "openverse", "urls:list.csv"
    words    TEXT NOT NULL,     -- the query and the licences that it was limited to
    cursor   TEXT,              -- of the page to ask for next; NULL for the first, or where all are read
    repeats  INTEGER NOT NULL,  -- results that an earlier page of it had brought already
    complete INTEGER NOT NULL,  -- 1: there is no further page
    odd      INTEGER NOT NULL DEFAULT 0,  -- records that could not be read
    specimens INTEGER NOT NULL DEFAULT 0, -- records of dead plants and animals that were left out
    PRIMARY KEY (label, source, words)
) WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS scrape_candidates (
    id               INTEGER PRIMARY KEY,  -- the order in which they are tried
    label            TEXT NOT NULL,
    source           TEXT NOT NULL,
    words            TEXT NOT NULL,        -- of the search that found it first
    picture          TEXT NOT NULL,        -- the same for all URLs of one picture
    url              TEXT NOT NULL,
    source_id        TEXT NOT NULL,
    landing_page     TEXT NOT NULL,
    title            TEXT NOT NULL,
    author           TEXT NOT NULL,
    license          TEXT NOT NULL,        -- the code: "by-sa"; "" where it is unknown
    license_version  TEXT NOT NULL,
    license_url      TEXT NOT NULL,
    width            INTEGER,              -- pixels as the source tells them
    height           INTEGER,
    provenance_group TEXT NOT NULL,
    status           TEXT NOT NULL,        -- one of STATUSES
    kind             TEXT NOT NULL,        -- why it fell away, in a word or two to count by
    reason           TEXT NOT NULL,        -- the same as a sentence
    runs             INTEGER NOT NULL,     -- how many runs have tried to fetch it
    sha256           TEXT NOT NULL,        -- once it was fetched
    path             TEXT NOT NULL,        -- once it was kept: relative to the dataset's root
    taken_at         TEXT NOT NULL DEFAULT '',  -- when the picture was taken, as the source wrote it
    author_page      TEXT NOT NULL DEFAULT '',
    noai             INTEGER NOT NULL DEFAULT 0,  -- 1: its author wants no AI trained with it
    citation         TEXT NOT NULL DEFAULT '',  -- of the whole that it was found in; "" for none
    redirected       INTEGER NOT NULL DEFAULT 0,  -- 1: its bytes came from another URL
    UNIQUE (label, source, picture)
)""",
)
_LATER_COLUMNS = (
    ("scrape_searches", "odd", "INTEGER NOT NULL DEFAULT 0"),
    ("scrape_searches", "specimens", "INTEGER NOT NULL DEFAULT 0"),
    ("scrape_candidates", "taken_at", "TEXT NOT NULL DEFAULT ''"),
    ("scrape_candidates", "author_page", "TEXT NOT NULL DEFAULT ''"),
    ("scrape_candidates", "noai", "INTEGER NOT NULL DEFAULT 0"),
    ("scrape_candidates", "citation", "TEXT NOT NULL DEFAULT ''"),
    ("scrape_candidates", "redirected", "INTEGER NOT NULL DEFAULT 0"),
)
"""What older versions have not: they get it when the tables are opened."""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS scrape_candidates_by_picture ON scrape_candidates (picture)",
    "CREATE INDEX IF NOT EXISTS scrape_candidates_by_sha256 ON scrape_candidates (sha256)",
    "DROP INDEX IF EXISTS scrape_candidates_by_author",  # of older versions: by class first, which a kept one changes
    "CREATE INDEX IF NOT EXISTS scrape_candidates_of_author ON scrape_candidates (author)",
)
_LIES = "FROM pictures WHERE pictures.sha256 = scrape_candidates.sha256 AND pictures.state = 'present'"
_OWN = "scrape_candidates.label"
_PRESENT_LABEL = (
    f"CASE status WHEN 'kept' THEN COALESCE((SELECT pictures.label {_LIES} AND pictures.label = {_OWN} LIMIT 1), "
    f"(SELECT MIN(pictures.label) {_LIES}), {_OWN}) ELSE {_OWN} END"
)
"""The class of a candidate: of a kept one the class that its picture is in now, whoever has moved it there."""

STATUSES = {
    "found": "waits to be tried",
    "refused": "its licence or its announced size is not wanted",
    "repeat": "the same picture was found before",
    "retry": "could not be fetched, for a reason that may pass",
    "failed": "could not be fetched",
    "fetched": "lies whole among the incoming files, to be judged",
    "broken": "is no intact picture, or too small",
    "duplicate": "is a picture that the dataset holds already, or nearly so",
    "kept": "is in the dataset",
}
RUNS = 5
"""So many runs try a URL that fails for a passing reason."""
_TOLD = (
    *("label", "source", "words", "picture", "url", "source_id", "landing_page", "title", "author"),
    *("license", "license_version", "license_url", "width", "height", "provenance_group"),
)
"""The first columns of what `_row` gives, which a source tells."""
_TOLD_LATER = ("taken_at", "author_page", "noai", "citation")
"""The last ones of it, which a source tells too."""
ENOUGH_OF_AUTHOR = "enough of one author"
"""The kind of a candidate that was passed over because of what else its author has in the class."""
UNLISTED = "no longer listed"
"""The kind of a candidate whose line has gone from a list of the user's own."""
_TRIED = ("status", "kind", "reason", "runs", "sha256", "path")
_ENTER = (
    f"INSERT OR IGNORE INTO scrape_candidates ({', '.join((*_TOLD, *_TRIED, *_TOLD_LATER))}) "
    f"VALUES ({', '.join('?' * len((*_TOLD, *_TRIED, *_TOLD_LATER)))})"
)
_OPEN = ("found", "refused", "retry", "fetched")
_TAKEN = ("retry", "failed", "fetched", "broken", "duplicate", "kept")


@dataclass(frozen=True)
class SearchTally:
    """What came of one class's searches of one source: results that came again, records that were skipped or left out,
    and (status, kind) → candidates.
    """

    repeats: int = 0
    odd: int = 0
    specimens: int = 0
    candidates: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class StoredCandidate:
    """One row of `scrape_candidates`, as far as the next step needs it."""

    id: int
    label: str
    source: str
    picture: str
    candidate: Candidate
    status: str
    sha256: str
    path: str
    redirected: bool = False


class CandidateStore:
    """The two tables, in the catalog's own file."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._db = catalog.db
        with catalog.transaction() as db:
            for statement in _SCHEMA:
                db.execute(statement)
            for table, column, kind in _LATER_COLUMNS:
                if column not in [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]:
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            self._require_shape()
            for index in _INDEXES:
                db.execute(index)

    def _require_shape(self) -> None:
        """Raise UserError where somebody else has made a table of our name."""
        with closing(sqlite3.connect(":memory:")) as fresh:
            for statement in _SCHEMA:
                fresh.execute(statement)
            for table in ("scrape_searches", "scrape_candidates"):
                ours, theirs = _columns(fresh, table), _columns(self._db, table)
                if table == "scrape_searches":  # whose columns are asked for by name, in whichever order they came
                    ours, theirs = sorted(ours), sorted(theirs)
                if ours != theirs:
                    raise UserError(
                        f"The catalog {self._catalog.path} holds a table {table} that this program did not make: it is "
                        f"not used. {REBUILD}"
                    )

    def cursor(self, query: Query, source: str, words: str) -> tuple[str | None, bool]:
        """(the cursor of the page to ask for next, whether there is none any more)."""
        row = self._db.execute(
            "SELECT cursor, complete FROM scrape_searches WHERE label = ? AND source = ? AND words = ?",
            (query.label, source, words),
        ).fetchone()
        return (None if row[0] is None else str(row[0]), bool(row[1])) if row else (None, False)

    def add(self, query: Query, source: str, words: str, page: CandidatePage, *, correct: bool = False) -> bool:
        """Enter a page and the way on from it, in one transaction: no page is asked for twice.

        Whether it held a candidate that the same search had not found before.

        With `correct`, what the page says counts before what an earlier search of the source has said.
        """
        with self._catalog.transaction() as db:
            repeats = sum(self._enter(query.label, source, words, one, correct=correct) for one in page.candidates)
            db.execute(
                "INSERT INTO scrape_searches (label, source, words, cursor, repeats, complete, odd, specimens) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET cursor = excluded.cursor, "
                "repeats = repeats + excluded.repeats, complete = excluded.complete, odd = odd + excluded.odd, "
                "specimens = specimens + excluded.specimens",
                (query.label, source, words, page.next, repeats, page.next is None, page.odd, page.specimens),
            )
        return repeats < len(page.candidates)

    def _enter(self, label: str, source: str, words: str, candidate: Candidate, *, correct: bool) -> bool:
        """Insert one candidate; whether the same search had found it before.

        With `correct`, a candidate that another search has found gets what is said of it now, and another try.
        """
        row = _row(label, source, words, candidate)
        if self._db.execute(_ENTER, row).rowcount:
            return False
        number, first = self._db.execute(
            "SELECT id, words FROM scrape_candidates WHERE label = ? AND source = ? AND picture = ?",
            (label, source, _picture(candidate)),
        ).fetchone()
        if correct and first != words:
            self._correct(number, row)
        return bool(first == words)

    def _correct(self, number: int, row: tuple[object, ...]) -> None:
        """Put what is said of a candidate in the place of what was said, in its credit too."""
        before = self.by_id(number)
        told = {**dict(zip(_TOLD, row, strict=False)), **dict(zip(_TOLD_LATER[::-1], row[::-1], strict=False))}
        self._db.execute(
            f"UPDATE scrape_candidates SET {', '.join(f'{name} = :{name}' for name in told)} WHERE id = :id",
            {**told, "id": number},
        )
        self._db.execute(
            "UPDATE scrape_candidates SET status = 'found', kind = '', reason = '', runs = 0 WHERE id = ? "
            "AND (status IN ('failed', 'broken') OR kind = ?)",
            (number, UNLISTED),
        )
        stored = self.by_id(number)
        if before is not None and stored is not None and stored.status == "kept":
            # The picture came when it came, and its former credit no longer holds.
            came = withdraw_credit(self._catalog, stored.sha256, before.candidate.url)
            self._credit(stored, stored.sha256, came)

    def after(self, label: str, source: str, last: int) -> StoredCandidate | None:
        """The first candidate behind the id `last` that is still to be tried."""
        marks = ", ".join("?" * len(_OPEN))
        return self._stored(
            f"label = ? AND source = ? AND id > ? AND status IN ({marks}) AND runs < ? AND kind != ? "
            "ORDER BY id LIMIT 1",
            (label, source, last, *_OPEN, RUNS, UNLISTED),
        )

    def begin_list(self, label: str, source: str, words: str) -> None:
        """Forget the readings of a user's list whose content, or what was asked of it, was another one.

        What it says then is entered anew, and `withdraw_unlisted` tells what it says no longer.
        """
        which = (label, source)
        others = "SELECT 1 FROM scrape_searches WHERE label = ? AND source = ? AND words != ? LIMIT 1"
        if self._db.execute(others, (*which, words)).fetchone() is not None:
            with self._catalog.transaction() as db:
                db.execute("DELETE FROM scrape_searches WHERE label = ? AND source = ?", which)
                db.execute("UPDATE scrape_candidates SET words = '' WHERE label = ? AND source = ?", which)

    def withdraw_unlisted(self, label: str, source: str, words: str) -> None:
        """Once a list was read whole: nobody tries, or names as failed, what it says no longer."""
        with self._catalog.transaction() as db:
            db.execute(
                "UPDATE scrape_candidates SET status = 'refused', kind = ?, reason = 'its line has gone from the list' "
                "WHERE label = ? AND source = ? AND words != ? AND status IN ('found', 'refused', 'retry', 'failed')",
                (UNLISTED, label, source, words),
            )

    def of_other_licences(self, labels: Iterable[str], licences: Iterable[str]) -> list[str]:
        """The paths of the present pictures of these classes that were kept, and whose licence is none of these."""
        wanted, codes = set(labels), list(licences)
        rows = self._db.execute(
            "SELECT DISTINCT pictures.label, pictures.path FROM scrape_candidates JOIN pictures USING (sha256) "
            f"WHERE status = 'kept' AND state = 'present' AND license NOT IN ({', '.join('?' * len(codes))}) "
            "ORDER BY pictures.path",
            codes,
        )
        return [path for label, path in rows if label in wanted]

    def by_id(self, number: int) -> StoredCandidate | None:
        """The candidate of this id."""
        return self._stored("id = ?", (number,))

    def taken_before(self, stored: StoredCandidate) -> bool:
        """Whether another candidate, of any class and source, is this picture and had its turn."""
        marks = ", ".join("?" * len(_TAKEN))
        row = self._db.execute(
            f"SELECT 1 FROM scrape_candidates WHERE picture = ? AND id != ? AND status IN ({marks}) LIMIT 1",
            (stored.picture, stored.id, *_TAKEN),
        ).fetchone()
        return row is not None

    def of_bytes(self, sha256: str) -> list[StoredCandidate]:
        """All candidates for which these very bytes came, in order."""
        ids = self._db.execute("SELECT id FROM scrape_candidates WHERE sha256 = ? ORDER BY id", (sha256,)).fetchall()
        return [stored for (number,) in ids if (stored := self.by_id(number)) is not None]

    def tried_of_author(self, stored: StoredCandidate) -> int:
        """How many pictures of its author and class were kept from other sources, or tried before it from its own."""
        (count,) = self._db.execute(
            f"SELECT COUNT(*) FROM scrape_candidates WHERE author = :author AND {_PRESENT_LABEL} = :label "
            "AND CASE source WHEN :source THEN id < :id AND status NOT IN ('refused', 'repeat') "
            "ELSE status = 'kept' END",
            {
                "label": stored.label,
                "author": stored.candidate.author,
                "source": stored.source,
                "id": stored.id,
            },
        ).fetchone()
        return int(count)

    def mark(self, number: int, status: str, kind: str = "", reason: str = "") -> None:
        """Say what became of a candidate."""
        assert status in STATUSES
        self._db.execute(
            "UPDATE scrape_candidates SET status = ?, kind = ?, reason = ? WHERE id = ?", (status, kind, reason, number)
        )

    def mark_failed(self, number: int, kind: str, reason: str, *, passing: bool) -> None:
        """One more run has tried it in vain; one that its host's limit has kept from trying does not count."""
        if kind != "rate limited":  # which says nothing of the picture
            self._db.execute("UPDATE scrape_candidates SET runs = runs + 1 WHERE id = ?", (number,))
        self.mark(number, "retry" if passing else "failed", kind, reason)

    def mark_fetched(self, number: int, sha256: str, *, redirected: bool | None = None) -> None:
        """Its bytes lie whole among the incoming files; None leaves on record whether a redirect led to them."""
        self._db.execute(
            "UPDATE scrape_candidates SET sha256 = ?, redirected = COALESCE(?, redirected) WHERE id = ?",
            (sha256, redirected, number),
        )
        self.mark(number, "fetched")

    def keep(self, stored: StoredCandidate, sha256: str, path: str) -> None:
        """Enter a picture's place in the dataset and its credit. Belongs inside a transaction."""
        self._db.execute(
            "UPDATE scrape_candidates SET status = 'kept', kind = '', reason = '', sha256 = ?, path = ? WHERE id = ?",
            (sha256, path, stored.id),
        )
        self._credit(stored, sha256)

    def _credit(self, stored: StoredCandidate, sha256: str, fetched_at: str = "") -> None:
        candidate = stored.candidate
        enter_credit(
            self._catalog,
            CreditRow(
                sha256,
                candidate.url,
                ", ".join(filter(None, (stored.source.partition(":")[0], candidate.citation))),
                candidate.source_id,
                candidate.landing_page,
                candidate.title,
                candidate.author,
                candidate.license.name if candidate.license.code else "",
                candidate.license.url,
                candidate.provenance_group,
                fetched_at or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            ),
        )

    def ask_again(self, labels: Iterable[str], ends: Iterable[tuple[str, str]]) -> None:
        """Give another try to the candidates of these classes that ended so: (status, kind)."""
        with self._catalog.transaction() as db:
            db.executemany(
                "UPDATE scrape_candidates SET status = 'found', kind = '', reason = '', runs = 0 "
                "WHERE label = ? AND status = ? AND kind = ?",
                [(label, status, kind) for label in labels for status, kind in ends],
            )

    def judge_waiting(self, labels: Iterable[str], refusal: Callable[[Candidate], tuple[str, str] | None]) -> None:
        """Mark the candidates of these classes that nobody has tried by what is refused now: (kind, reason), or None.

        They wait because their class was full; what an earlier run had refused, and this one does not, waits as well.
        """
        told = "license, license_version, license_url, width, height, noai"
        with self._catalog.transaction() as db:
            for label in labels:
                rows = db.execute(
                    f"SELECT id, status, kind, {told} FROM scrape_candidates WHERE label = ? "
                    "AND status IN ('found', 'refused') AND kind NOT IN (?, ?)",
                    (label, ENOUGH_OF_AUTHOR, UNLISTED),
                ).fetchall()
                for number, status, kind, code, version, deed, width, height, noai in rows:
                    one = Candidate(
                        "", "", license=License(code, version, deed), width=width, height=height, noai=bool(noai)
                    )
                    now = refusal(one)
                    if now is not None and (status, kind) != ("refused", now[0]):
                        self.mark(number, "refused", *now)
                    elif now is None and status == "refused":
                        self.mark(number, "found")

    def too_small(self, label: str) -> list[tuple[int, str]]:
        """(id, why) of each candidate of a class that was fetched and found too small."""
        return self._db.execute(
            "SELECT id, reason FROM scrape_candidates WHERE label = ? AND status = 'broken' AND kind = 'too small'",
            (label,),
        ).fetchall()

    def failures(self, label: str) -> list[tuple[str, str, int]]:
        """(URL, why, count) of the candidates of a class that could not be fetched: the first one for each reason."""
        rows = self._db.execute(
            "SELECT MIN(id), url, reason, COUNT(*) FROM scrape_candidates WHERE label = ? "
            "AND status IN ('failed', 'retry') GROUP BY reason ORDER BY MIN(id)",  # the other columns are that row's
            (label,),
        )
        return [(url, reason, count) for _, url, reason, count in rows]

    def relocate(self, stored: StoredCandidate, path: str) -> None:
        """Say that a kept picture gets another place than the one on record."""
        with self._catalog.transaction() as db:
            (present,) = db.execute("SELECT path FROM scrape_candidates WHERE id = ?", (stored.id,)).fetchone()
            db.execute("UPDATE scrape_candidates SET path = ? WHERE id = ?", (path, stored.id))
            self._catalog.rename(present, path)

    def duplicates_in_a_row(self, label: str, source: str) -> int:
        """How many of the last judged candidates of a search were duplicates, one after the other."""
        (count,) = self._db.execute(
            "SELECT COUNT(*) FROM scrape_candidates WHERE label = :label AND source = :source AND status = 'duplicate' "
            "AND id > (SELECT COALESCE(MAX(id), 0) FROM scrape_candidates WHERE label = :label AND source = :source "
            "AND status IN ('kept', 'broken'))",
            {"label": label, "source": source},
        ).fetchone()
        return int(count)

    def labels(self) -> set[str]:
        """The classes that anything was ever searched for, and those that what was kept is in now."""
        searched = self._db.execute("SELECT label FROM scrape_searches").fetchall()
        found = self._db.execute(f"SELECT DISTINCT {_PRESENT_LABEL} FROM scrape_candidates").fetchall()
        return {str(label) for (label,) in (*searched, *found)}

    def tally(self, labels: Iterable[str]) -> dict[tuple[str, str], SearchTally]:
        """(class, source) → what came of it, first asked first.

        A picture that was kept counts for the class that it is in now.
        """
        wanted = set(labels)
        counts: dict[tuple[str, str], SearchTally] = {}
        rows = self._db.execute(
            "SELECT label, source, SUM(repeats), SUM(odd), SUM(specimens) FROM scrape_searches AS search "
            "GROUP BY label, source ORDER BY (SELECT MIN(id) FROM scrape_candidates AS found "
            "WHERE found.label = search.label AND found.source = search.source)"
        )
        for label, source, repeats, odd, specimens in rows:
            if label in wanted:
                counts[label, source] = SearchTally(repeats, odd, specimens)
        rows = self._db.execute(
            f"SELECT {_PRESENT_LABEL}, source, status, kind, COUNT(*) FROM scrape_candidates GROUP BY 1, 2, 3, 4"
        )
        for label, source, status, kind, count in rows:
            if label in wanted:
                counts.setdefault((label, source), SearchTally()).candidates[status, kind] += count
        return counts

    def _stored(self, where: str, parameters: tuple[object, ...]) -> StoredCandidate | None:
        row: sqlite3.Row | None = (
            self._db.cursor().execute(f"SELECT * FROM scrape_candidates WHERE {where}", parameters).fetchone()
        )
        return _stored(tuple(row)) if row is not None else None


def _columns(db: sqlite3.Connection, table: str) -> list[tuple[str, str, int, int]]:
    return db.execute("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()


def _row(label: str, source: str, words: str, candidate: Candidate) -> tuple[object, ...]:
    license_ = candidate.license
    return (
        label,
        source,
        words,
        _picture(candidate),
        candidate.url,
        candidate.source_id,
        candidate.landing_page,
        candidate.title,
        candidate.author,
        license_.code,
        license_.version,
        license_.url,
        candidate.width,
        candidate.height,
        candidate.provenance_group,
        *("found", "", "", 0, "", ""),
        *(candidate.taken_at, candidate.author_page, int(candidate.noai), candidate.citation),
    )


def _picture(candidate: Candidate) -> str:
    """What is the same for all URLs of one picture."""
    return candidate.key or picture_key(candidate.url)


def _stored(row: tuple[object, ...]) -> StoredCandidate:
    number, label, source, _, picture, url, source_id, landing_page, title, author, *rest = row
    code, version, deed, width, height, group, status, _, _, _, sha256, path, taken_at, page, noai, citation, led = rest
    license_ = License(str(code), str(version), str(deed))
    size = (width if isinstance(width, int) else None, height if isinstance(height, int) else None)
    texts = (str(url), str(source_id), str(landing_page), str(title), str(author))
    key = "" if picture == picture_key(str(url)) else str(picture)
    told = (str(group), str(taken_at), str(page))
    candidate = Candidate(*texts, license_, *size, *told, noai=bool(noai), key=key, citation=str(citation))
    assert isinstance(number, int)
    return StoredCandidate(
        number, str(label), str(source), str(picture), candidate, str(status), str(sha256), str(path), bool(led)
    )
