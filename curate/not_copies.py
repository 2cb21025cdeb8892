"""What a person has said of two pictures that look alike: that they are no copies of each other.

The file `not-copies.csv` beside the catalog has a line for each two, and may be edited by hand. It outlives the
catalog. A line names the two pictures, by their paths relative to the dataset, and their contents, by sha256. Where it
names contents, those count, wherever the pictures go; a line that was written by hand may leave them out, and means the
files that have the paths.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from curate.catalog import Picture
from curate.dataset import Dataset
from curate.duplicates import NearDuplicates
from curate.errors import UserError
from curate.files.atomic import write_whole
from curate.files.inside import inside, is_plain
from curate.files.reading import MAX_BYTES, read_file, sha256_of
from curate.lookalikes.second_look import NEAR

if TYPE_CHECKING:
    from curate.lookalikes.cached_search import Neighbours

COLUMNS: Final = ("first", "second", "first_sha256", "second_sha256")

_NAME: Final = "not-copies.csv"
_MOST_BYTES: Final = 64 << 20
_SHA256 = re.compile("[0-9a-f]{64}|")


@dataclass(frozen=True)
class NotCopies:
    """Pairs of contents, by sha256, that a person has told apart; and what was said by path alone."""

    pairs: frozenset[frozenset[str]] = frozenset()
    by_path: tuple[tuple[str, str], ...] = ()

    def of(self, files: Iterable[tuple[str, str]]) -> "NotCopies":
        """With the contents of the pictures that were named by path alone: `files` are (path, sha256).

        A path that is not among them says nothing.
        """
        if not self.by_path:
            return self
        wanted = {path for pair in self.by_path for path in pair}
        digests = {path: digest for path, digest in files if path in wanted}
        named = ((digests.get(first, ""), digests.get(second, "")) for first, second in self.by_path)
        more = {frozenset(pair) for pair in named if all(pair) and pair[0] != pair[1]}
        return NotCopies(self.pairs | more)

    def __bool__(self) -> bool:
        return bool(self.pairs or self.by_path)

    def __str__(self) -> str:
        """The same for the same pairs, however the file has them."""
        pairs = sorted(sorted(pair) for pair in self.pairs)
        return f"not copies {sha256(repr((pairs, sorted(self.by_path))).encode()).hexdigest()}" if self else ""

    def tells_apart(self, some: Collection[str], others: Collection[str]) -> bool:
        """Whether any of some contents, by sha256, is no copy of any of others."""
        return any(frozenset((one, other)) in self.pairs for one in some if one in self.named for other in others)

    @cached_property
    def named(self) -> frozenset[str]:
        """The contents that any pair names."""
        return frozenset(digest for pair in self.pairs for digest in pair)


def file_of(dataset: Dataset) -> Path:
    """Where the file is."""
    return dataset.home / _NAME


def read_not_copies(dataset: Dataset) -> NotCopies:
    """Read the file; nothing was said where there is none. Raises `UserError`, naming the line, for what is no pair."""
    file = file_of(dataset)
    pairs: set[frozenset[str]] = set()
    by_path = []
    for where, first, second, *digests in _rows(file):
        if not all(_SHA256.fullmatch(digest) for digest in digests):
            raise UserError(f"{where}: a sha256 has 64 hexadecimal digits; correct it, or leave both of them out.")
        if all(digests) and digests[0] != digests[1]:
            pairs.add(frozenset(digests))
        elif is_plain(first) and is_plain(second):
            by_path.append((first, second))
        else:
            raise UserError(f"{where} names no two pictures below {dataset.root}: correct the line or delete it.")
    return NotCopies(frozenset(pairs), tuple(by_path))


def add_not_copies(dataset: Dataset, pairs: Sequence[tuple[str, str]]) -> None:
    """Write down that these pictures, by their paths relative to the dataset, are no copies of each other.

    To be called by the holder of the dataset's lock. Raises `UserError`, before anything is written, for a picture that
    is not there and for two of the same bytes.
    """
    known = read_not_copies(dataset)
    lines = [tuple(line) for _, *line in _rows(file_of(dataset))]
    fresh = []
    for first, second in pairs:
        digests = [_digest(dataset, path) for path in (first, second)]
        if digests[0] == digests[1]:
            raise UserError(f"{first} and {second} have the same bytes, and so are copies: leave them out.")
        if frozenset(digests) not in known.pairs:
            fresh.append((first, second, *digests))
    if not fresh:
        return
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([COLUMNS, *lines, *fresh])
    try:
        dataset.home.mkdir(exist_ok=True)
        write_whole(file_of(dataset), stream.getvalue())
    except OSError as error:
        raise UserError(f"{file_of(dataset)} cannot be written ({error.strerror}): check your rights.") from error


def apart(found: NearDuplicates, pictures: Sequence[Picture], told: NotCopies) -> NearDuplicates:
    """The same search, in which contents that a person has told apart are near, and no copies."""
    if not told:
        return found
    contents, near = _parted(found.contents, pictures, told)
    digests = [{pictures[at].sha256 for at in positions} for positions in contents]
    verdict = found.verdict.copy()
    for pair in np.flatnonzero(found.same).tolist():
        if told.tells_apart(digests[int(found.first[pair])], digests[int(found.second[pair])]):
            verdict[pair] = NEAR
    more, many = np.array(near, dtype=np.int32).reshape(-1, 2), len(near)
    return replace(
        found,
        contents=contents,
        first=np.concatenate([found.first, more[:, 0]]),
        second=np.concatenate([found.second, more[:, 1]]),
        distance=np.concatenate([found.distance, np.zeros(many, found.distance.dtype)]),
        verdict=np.concatenate([verdict, np.full(many, NEAR, verdict.dtype)]),
        # Both are empty where they are unknown, and so without a row for each pair.
        variant=np.concatenate([found.variant, np.full(min(many, len(found.variant)), -1, np.int8)]),
        placement=np.concatenate([found.placement, np.zeros((min(many, len(found.placement)), 4), np.float32)]),
    )


def neighbours_apart(neighbours: "Neighbours", told: NotCopies) -> "Neighbours":
    """The same for what a search found among contents by their digests."""
    if not told:
        return neighbours
    digests = [digest.decode("ascii", "replace") for digest in neighbours.sha256.tolist()]
    verdict, crowd = neighbours.verdict.copy(), neighbours.crowd.copy()
    for pair in np.flatnonzero(neighbours.same).tolist():
        one, other = digests[int(neighbours.first[pair])], digests[int(neighbours.second[pair])]
        if told.tells_apart([one], [other]):
            verdict[pair] = NEAR
    members = defaultdict[int, list[int]](list)
    for row, (number, _) in enumerate(crowd.tolist()):
        members[number].append(row)
    fresh = max(members, default=-1) + 1
    for rows in members.values():
        _, *others = _parts([(row, digests[int(crowd[row, 1])]) for row in rows], told)
        for part in others:
            crowd[part, 0] = fresh
            fresh += 1
    return replace(neighbours, verdict=verdict, crowd=crowd)


def _parted(
    contents: Sequence[list[int]], pictures: Sequence[Picture], told: NotCopies
) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """The contents, each without two that were told apart; and (content, content) of those that were one before."""
    parted: list[list[int]] = []
    more: list[list[int]] = []
    near: list[tuple[int, int]] = []
    for content, positions in enumerate(contents):
        first, *others = _parts([(at, pictures[at].sha256) for at in positions], told)
        parted.append(first)
        for part in others:
            near.append((content, len(contents) + len(more)))
            more.append(part)
    return [*parted, *more], near


def _parts(members: Sequence[tuple[int, str]], told: NotCopies) -> list[list[int]]:
    """Put (member, its sha256) into the first part that holds nothing it was told apart from."""
    parts: list[tuple[list[int], set[str]]] = [([], set())]
    for member, digest in members:
        for part, digests in parts:
            if digest in digests or not told.tells_apart([digest], digests):
                part.append(member)
                digests.add(digest)
                break
        else:
            parts.append(([member], {digest}))
    return [part for part, _ in parts]


def _rows(file: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """(where, first, second, first_sha256, second_sha256) of each line but the first, which names the columns."""
    try:
        text = read_file(file, _MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check your rights.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8: save it as such, or move it away.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for values in reader:
            where = f"{file}, line {reader.line_num}"
            if not any(values) or tuple(values) == COLUMNS[: len(values)]:
                continue
            if len(values) not in (2, 4):
                raise UserError(f"{where} is no pair: give the paths of two pictures, with a comma between.")
            first, second, *digests = values
            yield where, first, second, *(digests or ("", ""))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num} is not CSV ({error}): correct the line.") from error


def _digest(dataset: Dataset, path: str) -> str:
    try:
        return sha256_of(inside(dataset.root, path), MAX_BYTES)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give the paths of two pictures below {dataset.root}."
        ) from error
