"""The photos of many classes, found in one pass over each table: observations, then photos, then observers.

Observations and photos are joined by the observations' UUIDs. Of each row of photos the first eight letters of its UUID
are looked up in a table of bits; only the few that may be wanted are looked at more closely. Of a class that has very
many observations as many are kept as anybody will want, spread over observers, places and years.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import UserError
from curate.sources.open_data.table_rows import Block, Places, columns_of, read_blocks, whole_rows
from curate.sources.protocol.long_reading import Watch
from curate.sources.protocol.variety import spread

MOST_OBSERVATIONS = 20_000
"""Of one class; a quarter of their photos or so is openly licensed."""
PHOTO = np.dtype(
    [
        *(("photo", "<i8"), ("high", "<u8"), ("low", "<u8"), ("observer", "<i8"), ("day", "<i4"), ("cell", "<i4")),
        *(("slot", "<i4"), ("extension", "u1"), ("license", "u1"), ("width", "<i4"), ("height", "<i4")),
        ("position", "<i4"),
    ]
)
"""A photo: its number, its observation's UUID in two halves, observer, day (20210501, 0 for unknown), cell of ten
degrees (-1), which classes it is of, extension and licence as places in the lists of these, pixels (-1), and its place
in the observation.
"""
_OBSERVATION = np.dtype([(name, PHOTO[name]) for name in ("high", "low", "observer", "day", "cell", "slot")])
OBSERVATION_COLUMNS = (
    *("observation_uuid", "observer_id", "latitude", "longitude", "taxon_id", "quality_grade", "observed_on"),
)
PHOTO_COLUMNS = ("photo_id", "observation_uuid", "extension", "license", "width", "height", "position")
OBSERVER_COLUMNS = ("observer_id", "login", "name")
_RESEARCH = b"research"
_UUID = 36
_HEX_AT = np.array([place for place in range(_UUID) if place not in (8, 13, 18, 23)])
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_SHORT = 8  # letters of a UUID that are looked up in the table of bits
_LARGEST_TABLE = 27  # binary digits of its places
_MIX = np.uint64(0x9E3779B97F4A7C15)
_LONGEST_WORD = 16  # letters of a licence or an extension
_MOST_WORDS = 255
_QUOTE = "\b"  # what the tables are written with where a name holds a tab or an end of line

Rows = NDArray[np.void]


@dataclass(frozen=True)
class FoundPhotos:
    """`photos` is PHOTO[n], with what its numbers stand for: `extensions`, `licenses`, and observer → name.

    `seen` and `kept` count the observations of each slot.
    """

    photos: Rows
    extensions: Sequence[str]
    licenses: Sequence[str]
    observers: Mapping[int, str]
    seen: Mapping[int, int]
    kept: Mapping[int, int]


def find_photos(
    tables: Mapping[str, Path], slot_of: Mapping[int, int], watch: Watch, most: int = MOST_OBSERVATIONS
) -> FoundPhotos:
    """All photos of research-grade observations of some taxa; `slot_of` is taxon → which classes it is of, as a number.

    `tables` has the files of observations, photos and observers by these names; `most` observations are kept of each
    slot. Raises UserError for a table that cannot be read.
    """
    observations, seen = _observations(tables["observations"], slot_of, watch, most)
    kept = dict(enumerate(np.bincount(observations["slot"]).tolist())) if len(observations) else {}
    words = (_Words(), _Words())
    photos = _photos(tables["photos"], observations, words, watch)
    wanted = set(np.unique(photos["observer"]).tolist())
    observers = dict(_observers(tables["observers"], wanted, watch))
    return FoundPhotos(photos, words[0].known, words[1].known, observers, seen, kept)


def _observations(table: Path, slot_of: Mapping[int, int], watch: Watch, most: int) -> tuple[Rows, dict[int, int]]:
    """The wanted observations, in order of UUID, and how many of each slot there were."""
    slots = np.full(max(slot_of, default=0) + 1, -1, np.int32)
    slots[list(slot_of)] = list(slot_of.values())
    found: list[Rows] = []
    waiting = 0
    seen: dict[int, int] = dict.fromkeys(slot_of.values(), 0)
    for block in read_blocks(table, OBSERVATION_COLUMNS, watch):
        taxon = block.numbers(4)
        slot = np.where((taxon >= 0) & (taxon < len(slots)), slots[np.clip(taxon, 0, len(slots) - 1)], -1)
        rows = np.flatnonzero(slot >= 0)
        rows = rows[block.some(rows).equals(5, _RESEARCH)]
        chosen = _read_observations(block.some(rows), slot[rows])
        for number, count in enumerate(np.bincount(chosen["slot"]).tolist()):
            if count:
                seen[number] += count
        found.append(chosen)
        waiting += len(chosen)
        if waiting > 2 * most * max(len(seen), 1):
            found = [_thinned(np.concatenate(found), most)]
            waiting = len(found[0])
    together = _thinned(np.concatenate(found), most) if found else np.zeros(0, _OBSERVATION)
    return together[np.lexsort((together["low"], together["high"]))], seen


def _read_observations(block: Block, slot: NDArray[np.int32]) -> Rows:
    high, low, good = _uuids(block.letters(0, _UUID + 1))
    read = np.zeros(len(slot), _OBSERVATION)
    read["high"], read["low"], read["slot"] = high, low, slot
    read["observer"] = block.numbers(1)
    read["cell"] = _cells(block.letters(2, 4), block.letters(3, 5))
    read["day"] = _days(block.letters(6, 10))
    return read[good]


def _thinned(observations: Rows, most: int) -> Rows:
    """At most so many of each slot, of many observers, places and years."""
    parts = []
    for slot in np.unique(observations["slot"]):
        own = observations[observations["slot"] == slot]
        if len(own) > most:
            own = own[spread(own["observer"], settings_of(own), lots_of(own))[:most]]
        parts.append(own)
    return np.concatenate(parts) if parts else observations


def settings_of(rows: Rows) -> NDArray[np.int64]:
    """Where and in which year: a cell of ten degrees and a year as one number, int64[n]."""
    settings: NDArray[np.int64] = rows["cell"].astype(np.int64) * 10_000 + rows["day"] // 10_000
    return settings


def lots_of(rows: Rows) -> NDArray[np.int64]:
    """A number that is drawn by lot for each observation, the same in every run, int64[n]: its UUID is one."""
    lots: NDArray[np.int64] = ((rows["low"] * _MIX) >> np.uint64(1)).astype(np.int64)
    return lots


def _photos(table: Path, observations: Rows, words: "tuple[_Words, _Words]", watch: Watch) -> Rows:
    may_be = _Bits(observations["high"])
    found = []
    for block in read_blocks(table, PHOTO_COLUMNS, watch):
        some = block.some(may_be.rows_in(block, 1))
        high, low, good = _uuids(some.letters(1, _UUID + 1))
        place = np.minimum(np.searchsorted(observations["high"], high), max(len(observations) - 1, 0))
        if len(observations):
            good &= (observations["high"][place] == high) & (observations["low"][place] == low)
        else:
            good[:] = False
        own, some = observations[place[good]], some.some(np.flatnonzero(good))
        read = np.zeros(len(some), PHOTO)
        for name in _OBSERVATION.names or ():
            read[name] = own[name]
        read["photo"] = some.numbers(0)
        read["extension"] = words[0].places(some.words(2, _LONGEST_WORD))
        read["license"] = words[1].places(some.words(3, _LONGEST_WORD))
        for name, column in (("width", 4), ("height", 5), ("position", 6)):
            read[name] = np.minimum(some.numbers(column), np.iinfo(np.int32).max)
        found.append(read[read["photo"] >= 0])
    return np.concatenate(found) if found else np.zeros(0, PHOTO)


def _observers(table: Path, wanted: set[int], watch: Watch) -> Iterator[tuple[int, str]]:
    """(observer, name or else login) of those that are wanted."""
    lines = (
        line for part in whole_rows(table, watch) for line in io.StringIO(part.decode("utf-8", "replace"), newline="\n")
    )
    try:
        rows = csv.reader(lines, delimiter="\t", quotechar=_QUOTE)
        header = next(rows, [])
        number, login, name = columns_of(table, header, OBSERVER_COLUMNS)
        for row in rows:
            if len(row) == len(header) and row[number].isdecimal() and int(row[number][:18]) in wanted:
                yield int(row[number][:18]), row[name].strip() or row[login].strip()
    except csv.Error as error:
        raise UserError(f"The table {table} is damaged ({error}): remove it, and bring it anew.") from error


def _uuids(letters: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """Both halves of UUIDs written in letters, uint8[n, 37], and which of them are one."""
    nibbles = _NIBBLES[letters[:, _HEX_AT]]
    good = (nibbles < 16).all(axis=1) & (letters[:, _UUID] == 0)
    halves = np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(">u8").astype(np.uint64)
    return halves[:, 0], halves[:, 1], good


def _cells(latitude: NDArray[np.uint8], longitude: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which cell of ten degrees a place lies in, from the first letters of its coordinates; -1 where it has none."""
    south, rows = _whole_degrees(latitude)
    west, columns = _whole_degrees(longitude)
    row = np.where(south, 8 - rows // 10, 9 + rows // 10)
    column = np.where(west, 17 - columns // 10, 18 + columns // 10)
    return np.where((rows >= 0) & (columns >= 0), row * 36 + column, -1)


def _whole_degrees(letters: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether coordinates are below zero, and the whole degrees before their point; -1 for none."""
    below = letters[:, 0] == ord("-")
    value, digits = np.zeros(len(letters), np.int64), np.zeros(len(letters), np.int64)
    going = np.ones(len(letters), np.bool_)
    for place in range(letters.shape[1]):
        sign = letters[:, place].astype(np.int64) - ord("0")
        is_digit = (sign >= 0) & (sign <= 9)
        going &= is_digit | ((place == 0) & below)
        value = np.where(going & is_digit, value * 10 + sign, value)
        digits += going & is_digit
    return below, np.where(digits > 0, value, -1)


def _days(letters: NDArray[np.uint8]) -> NDArray[np.int64]:
    """`2021-05-01` as 20210501, 0 for what is no date."""
    digits = letters[:, [0, 1, 2, 3, 5, 6, 8, 9]].astype(np.int64) - ord("0")
    good = ((digits >= 0) & (digits <= 9)).all(axis=1)
    days: NDArray[np.int64] = np.where(good, digits @ (10 ** np.arange(7, -1, -1)), 0)
    return days


class _Bits:
    """Tells of most UUIDs that they are none of those that were given, by their first eight letters."""

    def __init__(self, high: NDArray[np.uint64]) -> None:
        digits = min(max(16, int(64 * len(high)).bit_length()), _LARGEST_TABLE)
        self._shift = np.uint64(64 - digits)
        self._table = np.zeros(1 << digits, np.bool_)
        first = (high >> np.uint64(32)).astype(np.uint32)
        nibbles = (first[:, None] >> np.arange(28, -4, -4, dtype=np.uint32)) & np.uint32(15)
        letters = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles]
        self._table[self._places(np.ascontiguousarray(letters).view("<u8")[:, 0])] = True

    def rows_in(self, block: Block, column: int) -> Places:
        """The rows in which a column may be one of those that were given."""
        starts = block.starts(column)
        long_enough = block.ends(column) - starts >= _SHORT
        content = block.content
        if len(content) < _SHORT:
            return np.zeros(0, np.int64)
        at_every_byte: NDArray[Any] = np.ndarray(len(content) - _SHORT + 1, "<u8", content.data, strides=(1,))
        keys = at_every_byte[np.minimum(starts, len(at_every_byte) - 1)]
        return np.flatnonzero(self._table[self._places(keys)] & long_enough)

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        places: NDArray[np.uint64] = (keys * _MIX) >> self._shift
        return places


class _Words:
    """Numbers a few words in the order in which they come; `known` are those words."""

    def __init__(self) -> None:
        self.known: list[str] = [""]
        self._numbers = {b"": 0}

    def places(self, words: NDArray[np.bytes_]) -> NDArray[np.uint8]:
        """The number of each word, uint8[n]; 0, that of the empty word, for those beyond the first 255."""
        different, which = np.unique(words, return_inverse=True)
        numbers = []
        for word in different.tolist():
            if word not in self._numbers and len(self.known) < _MOST_WORDS:
                self._numbers[word] = len(self.known)
                self.known.append(word.decode("ascii", "replace"))
            numbers.append(self._numbers.get(word, 0))
        return np.array(numbers, np.uint8)[which]
