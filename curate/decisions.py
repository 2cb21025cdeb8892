"""What people decided about pictures, and what follows: which stay for good, which copy stays, what is to be done.

A decision is about a picture: the bytes and the place that they had. It goes with the bytes to another name, and where
several files have the same bytes it is about the one that was looked at. A picture below raw/ and the copy of it that
`split` has placed are one picture.
"""

import getpass
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final, NamedTuple, Protocol

from curate.catalog import Catalog
from curate.catalog.decisions import (
    CARRY_OUT,
    LAPSE,
    UNDO,
    DecisionBatch,
    DecisionRow,
    batches_since,
    deciding,
    decisions_since,
    enter_batch,
    last_batch,
)
from curate.errors import UserError

KEEP: Final = "keep"
ASIDE: Final = "aside"
RELABEL: Final = "relabel"
KEEPER: Final = "keeper"
RESTORE: Final = "restore"
ACTIONS: Final = (KEEP, ASIDE, RELABEL, KEEPER, RESTORE)
"""It stays; leaves with a reason; goes to another class; stays in place of the copy that was to; comes back."""

EVERY_CAUSE: Final = "*"

COPY_CAUSES: Final = frozenset({"duplicate", "leak", "conflict"})
"""The causes that speak of a picture and another one."""

CLASS_CAUSES: Final = frozenset({"conflict", "mislabelled", "outlier"})
"""The causes that speak of a picture and its class: under another label the question is another one."""

_RIGHT_CLASS: Final = frozenset({"irrelevant", "mislabelled", "outlier"})
"""What a person answers who says which class a picture belongs to."""


class _PictureRow(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def label(self) -> str: ...


class PictureKey(NamedTuple):
    """What a decision is about: where the picture lay, and its content; "" for a file too large to be read."""

    path: str
    sha256: str


class Overtaken(UserError):
    """Somebody decided on the same pictures meanwhile: in another window, or by another command."""

    def __init__(self, message: str, keys: Sequence[PictureKey] = ()) -> None:
        super().__init__(message)
        self.keys = list(keys)


@dataclass
class PictureStanding:
    """What holds for a picture now, of all that was decided about it.

    `kept` has the causes for which it stays, with the row that says so by label; `chosen` says that it is the copy
    that stays of its cluster. `pending` is by what it is still to leave or to change its class, `coming` by what it is
    to come back from the quarantine.
    """

    kept: dict[str, dict[str, DecisionRow]] = field(default_factory=dict)
    pending: DecisionRow | None = None
    coming: DecisionRow | None = None
    chosen: DecisionRow | None = None

    def keeps(self, cause: str, label: str) -> DecisionRow | None:
        """The decision by which the picture, under this label, stays for this cause; None where there is none."""
        if always := self.kept.get(EVERY_CAUSE):
            return next(iter(always.values()))
        by_label = self.kept.get(cause, {})
        return by_label.get(label) if cause in CLASS_CAUSES else next(iter(by_label.values()), None)

    def _keep(self, row: DecisionRow, causes: Iterable[str], labels: Iterable[str]) -> None:
        for cause in causes:
            self.kept.setdefault(cause, {}).update(dict.fromkeys(labels, row))

    def take(self, row: DecisionRow, *, carried_out: bool, is_own: bool) -> None:
        """Let one more decision hold, after all that were made before it."""
        if carried_out:
            if row.action == RESTORE:
                self.coming = None
            elif self.pending is not None and self.pending.action == row.action:
                self.pending = None
            return
        if row.action == KEEP:
            self.pending = None
            self._keep(row, row.causes.split(), [row.label])
        elif row.action == KEEPER:
            self.chosen = row
            self._keep(row, COPY_CAUSES, [row.label])
            if self.pending is not None and self.pending.action == ASIDE:
                self.pending = None
        elif row.action == RESTORE:
            self.coming = row if is_own else None
        elif row.action == ASIDE:
            self.kept.clear()
            self.chosen = None
            self.pending = row if is_own else None
        elif row.action == RELABEL:
            self._keep(row, _RIGHT_CLASS, [row.label, row.value])
            self.pending = row if is_own else None


class DecisionRecord:
    """All that was decided about the pictures of one dataset, as its catalog has it; `update` reads what is new."""

    def __init__(self) -> None:
        self.batches: dict[int, DecisionBatch] = {}
        self.undone: dict[int, int] = {}
        """Batch → the batch that undoes it."""
        self.rows: dict[int, list[DecisionRow]] = defaultdict(list)
        """Batch → its pictures."""
        self._of_content: dict[str, list[DecisionRow]] = defaultdict(list)

    @classmethod
    def read(cls, catalog: Catalog) -> "DecisionRecord":
        """All decisions of a catalog."""
        record = cls()
        record.update(catalog)
        return record

    @property
    def last(self) -> int:
        """The number of the newest batch; 0 for none."""
        return next(reversed(self.batches), 0)

    def update(self, catalog: Catalog) -> list[int]:
        """Read what was decided since; the numbers of the new batches."""
        known = self.last
        if last_batch(catalog) == known:
            return []
        fresh = batches_since(catalog, known)
        rows = decisions_since(catalog, known)  # afterwards: a batch that came between is read next time
        numbers = {batch.batch for batch in fresh}
        for batch in fresh:
            self.batches[batch.batch] = batch
            if batch.action == UNDO:
                self.undone[batch.undoes] = batch.batch
        for row in rows:
            if row.batch in numbers:
                self.rows[row.batch].append(row)
                self._of_content[_content(row)].append(row)
        return sorted(numbers)

    def touched(self, batches: Iterable[int]) -> list[PictureKey]:
        """The pictures that these batches decide on, or take a decision back about."""
        found: dict[PictureKey, None] = {}
        for number in batches:
            undoes = self.batches[number].undoes
            for row in (*self.rows.get(number, ()), *self.rows.get(undoes, ())):
                found[PictureKey(row.path, row.sha256)] = None
        return list(found)

    def keys(self) -> list[PictureKey]:
        """The pictures that anything was decided about, each once."""
        return self.touched(self.batches)

    def about(self, key: PictureKey) -> list[DecisionRow]:
        """The decisions about the content of a picture, in order, undone ones too, wherever it lay."""
        return self._of_content.get(key.sha256 or f"\0{key.path}", [])

    def holds(self, row: DecisionRow) -> bool:
        """Whether a decision was not taken back."""
        return row.batch not in self.undone

    def is_carrying(self, row: DecisionRow) -> bool:
        """Whether a row says that a picture was moved, or no longer is to be."""
        return self.batches[row.batch].action in (CARRY_OUT, LAPSE)


class Standings:
    """What holds for each of the pictures that are present.

    `present` is path → sha256; `origin` gives, for a copy that `split` has placed, the path of the picture below raw/.
    """

    def __init__(
        self, record: DecisionRecord, present: Mapping[str, str], origin: Mapping[str, str] | None = None
    ) -> None:
        self.record = record
        self._present = present
        self._origin = origin or {}

    @cached_property
    def _places(self) -> Mapping[str, list[str]]:
        """sha256 → where it lies; a picture below raw/ and its placed copies are one place."""
        found = defaultdict[str, dict[str, None]](dict)
        for path, sha256 in self._present.items():
            found[sha256][self._origin.get(path, path)] = None
        return {sha256: list(paths) for sha256, paths in found.items()}

    def content_at(self, path: str) -> str | None:
        """The sha256 of the picture that lies there; None where there is none."""
        return self._present.get(path)

    def places_of(self, sha256: str) -> Sequence[str]:
        """Where the pictures of one content lie."""
        return self._places.get(sha256, ()) if sha256 else ()

    def follower(self, row: DecisionRow) -> str:
        """Where the picture lies now that a decision yet to be carried out goes with, its file renamed; "" for nowhere.

        Its content lies in this one place alone. Not for a decision on copies, for which the one place may be that of
        the copy that stays; and to another class only a picture goes that lies in the class in which it was seen.
        """
        places = self.places_of(row.sha256)
        if len(places) != 1 or self._present.get(row.path) == row.sha256:
            return ""
        (place,) = places
        if row.action == ASIDE:
            return "" if COPY_CAUSES.intersection((row.value, *row.causes.split())) else place
        return place if row.action == RELABEL and _folder(place) == _folder(row.path) else ""

    def of(self, key: PictureKey) -> PictureStanding:
        """What holds for one picture."""
        standing = PictureStanding()
        place = self._origin.get(key.path, key.path)
        for row in self.record.about(key):
            is_own = self._origin.get(row.path, row.path) == place or self.follower(row) == place
            # What was said of a file of the same bytes that is still there is about that one.
            if (is_own or self._present.get(row.path) != key.sha256) and self.record.holds(row):
                standing.take(row, carried_out=self.record.is_carrying(row), is_own=is_own)
        return standing


class Answers:
    """What people's decisions change about a plan: who stays for which cause, and which copy stays.

    `held_back` gathers the paths of the pictures that would have been proposed.
    """

    def __init__(self, standings: Standings, labels: Mapping[str, str], *, after: float | None = None) -> None:
        self._standings = standings
        self._labels = labels
        self._after = after
        self.held_back: set[str] = set()

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        pictures: Iterable[_PictureRow],
        placed: Mapping[str, Sequence[_PictureRow]] | None = None,
        *,
        after: float | None = None,
    ) -> "Answers":
        """Those in a catalog, about pictures that are present; `placed` are the copies of some, by path.

        `after` leaves out what was decided before a moment, in seconds since 1970.
        """
        record = DecisionRecord.read(catalog)
        present, labels = dict[str, str](), dict[str, str]()
        if record.batches:
            for picture in pictures:
                present[picture.path], labels[picture.path] = picture.sha256, picture.label
        origin = {copy.path: path for path, copies in (placed or {}).items() for copy in copies}
        return cls(Standings(record, present, origin), labels, after=after)

    def stays(self, path: str, sha256: str, cause: str) -> bool:
        """Whether a person has decided that a picture stays for this cause; it counts as held back then."""
        row = self._standings.of(PictureKey(path, sha256)).keeps(cause, self._labels.get(path, ""))
        if row is None or (self._after is not None and self._made(row) <= self._after):
            return False
        self.held_back.add(path)
        return True

    def chosen(self, pictures: Sequence[_PictureRow]) -> dict[int, int]:
        """Position → when it was said, as the number of a batch, of the pictures that a person chose to stay."""
        found = {}
        for at, picture in enumerate(pictures if self._standings.record.batches else ()):
            key = PictureKey(picture.path, picture.sha256)
            chosen = self._standings.of(key).chosen if self._standings.record.about(key) else None
            if chosen is not None:
                found[at] = chosen.batch
        return found

    def stays_until_carried_out(
        self, path: str, cause: str, pictures: Mapping[str, _PictureRow], keeper: str, others: Iterable[str]
    ) -> bool:
        """Whether a picture stays until a decision about its copy, or its own class, is carried out; held back then.

        No picture leaves as the copy of `keeper` when that is to leave too; and of one picture under two labels none
        leaves when a person has said of it, or of one of the `others`, to which class it belongs.
        """
        if keeper:
            waits = self._pending(keeper, pictures) is not None and self._pending(path, pictures) is None
        else:
            rows = [self._pending(one, pictures) for one in (path, *others)] if cause == "conflict" else []
            waits = any(row is not None and row.action == RELABEL for row in rows)
        if waits:
            self.held_back.add(path)
        return waits

    def _pending(self, path: str, pictures: Mapping[str, _PictureRow]) -> DecisionRow | None:
        picture = pictures.get(path) if self._standings.record.batches else None
        return None if picture is None else self._standings.of(PictureKey(path, picture.sha256)).pending

    def _made(self, row: DecisionRow) -> float:
        try:
            return datetime.fromisoformat(self._standings.record.batches[row.batch].made_at).timestamp()
        except ValueError:  # a catalog that another program filled
            return 0.0


def count_waiting(
    catalog: Catalog, pictures: Iterable[_PictureRow], placed: Mapping[str, Sequence[_PictureRow]]
) -> int:
    """How many of these pictures are still to leave, or to change their class, because a person decided so."""
    record = DecisionRecord.read(catalog)
    if not record.batches:
        return 0
    keys = [PictureKey(picture.path, picture.sha256) for picture in pictures]
    copies = [(path, copy) for path, found in placed.items() for copy in found]
    present = {key.path: key.sha256 for key in keys} | {copy.path: copy.sha256 for _, copy in copies}
    standings = Standings(record, present, {copy.path: path for path, copy in copies})
    return sum(bool(record.about(key)) and standings.of(key).pending is not None for key in keys)


def open_rows(record: DecisionRecord, key: PictureKey) -> list[DecisionRow]:
    """What was decided about a picture under this very path, and is not on record as done."""
    standing = PictureStanding()
    for row in record.about(key):
        if row.path == key.path and record.holds(row):
            standing.take(row, carried_out=record.is_carrying(row), is_own=True)
    return [row for row in (standing.pending, standing.coming) if row is not None]


def restoring(record: DecisionRecord, key: PictureKey) -> DecisionRow | None:
    """The decision, not carried out yet, by which a picture comes back from the quarantine; None for none."""
    found = None
    for row in record.about(key):
        if row.path == key.path and record.holds(row) and row.action == RESTORE:
            found = None if record.is_carrying(row) else row
    return found


def decide(
    catalog: Catalog,
    record: DecisionRecord,
    who: str,
    action: str,
    rows: Callable[[], Sequence[DecisionRow]],
) -> int:
    """Put decisions on record; the number of their batch. They are on the disk when this returns.

    `rows` is called when all earlier decisions are known and no other can come between: it gives what is decided, or
    raises `Overtaken`, and nothing is written.
    """
    with deciding(catalog):
        record.update(catalog)
        batch = enter_batch(catalog, moment(), who, action, rows())
    record.update(catalog)
    return batch


def undo(catalog: Catalog, record: DecisionRecord, who: str, batch: int) -> int:
    """Take a batch back; the number of the undo. It is on the disk when this returns.

    Raises `Overtaken` where it was undone already, carried out, or followed by a decision on one of its pictures, and
    `UserError` where there is no such batch.
    """
    with deciding(catalog):
        record.update(catalog)
        _require_last(record, batch)
        number = enter_batch(catalog, moment(), who, UNDO, (), undoes=batch)
    record.update(catalog)
    return number


def _require_last(record: DecisionRecord, batch: int) -> None:
    found = record.batches.get(batch)
    if found is None or found.action in (UNDO, CARRY_OUT):
        what = "has no decision of that number" if found is None else "cannot be undone: decide anew, or use `restore`"
        raise UserError(f"Batch {batch} {what}.")
    keys = {PictureKey(row.path, row.sha256) for row in record.rows.get(batch, ())}
    if batch in record.undone:
        raise Overtaken(f"Batch {batch} was undone already.", list(keys))
    later: dict[PictureKey, int] = {}
    for key in keys:
        for row in record.about(key):
            if row.batch > batch and row.path == key.path and record.holds(row):
                later[key] = row.batch
    restored = {key for key in keys if _came_back(record, key, batch)}
    if restored:
        names = ", ".join(sorted(key.path for key in restored)[:_MOST_NAMED])
        raise Overtaken(
            f"Batch {batch} was carried out, and `restore` has taken that back since, so nothing is left to undo: "
            f"{names}.", sorted(restored),
        )  # fmt: skip
    if later:
        names = ", ".join(sorted(key.path for key in later)[:_MOST_NAMED])
        carried = any(record.batches[number].action == CARRY_OUT for number in later.values())
        why = "was carried out, and `restore` brings back what has left" if carried else (
            f"was followed by batch {max(later.values())}, which is to be undone first"
        )  # fmt: skip
        raise Overtaken(f"Batch {batch} {why}: {names}.", sorted(later))


def _came_back(record: DecisionRecord, key: PictureKey, batch: int) -> bool:
    """Whether a batch was carried out for this picture, and `restore` brought it back afterwards."""
    left = False
    for row in record.about(key):
        if row.batch > batch and row.path == key.path:
            action = record.batches[row.batch].action
            left = left or action == CARRY_OUT
            if left and action == RESTORE and row.action == KEEP:
                return True
    return False


_MOST_NAMED: Final = 5


def person() -> str:
    """The name under which whoever runs this process is on record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return ""


def moment() -> str:
    """ISO 8601, in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _folder(path: str) -> str:
    """The name of the folder that a file lies in."""
    return PurePosixPath(path).parent.name


def _content(row: DecisionRow) -> str:
    return row.sha256 or f"\0{row.path}"
