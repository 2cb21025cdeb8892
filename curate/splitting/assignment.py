"""Which split each picture goes to: what belongs together goes together, and what has a split keeps it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.dataset import SPLITS
from curate.splitting.grouping import Group, Links, groups_of
from curate.splitting.picture_table import NOWHERE, PictureTable

Ratio = tuple[float, float, float]
Splits = NDArray[np.int8]
"""int8[n]: for each picture a place in `SPLITS`, or `NOWHERE`."""


@dataclass(frozen=True)
class Rules:
    """The shares of train, valid and test; the seed; the splits that take nothing new; and how many pictures of each
    label valid and test are to hold at the least, where the label has three times as many.
    """

    ratio: Ratio
    seed: int
    frozen: frozenset[int] = frozenset()
    least: int = 1


Draw = Callable[[PictureTable, NDArray[np.int32], Splits, Rules], Splits]
"""(table, unit int32[n], the splits so far, rules) → splits in which every unit has one. Pictures of one unit go
together; a unit's number is the place of its first content in `PictureTable.sha256`, and `NOWHERE` is no unit.
"""


def assign(
    table: PictureTable, links: Links, remembered: Splits, rules: Rules, draw: Draw
) -> tuple[Splits, dict[int, str]]:
    """Give every picture a split: (splits, position → why it is held back).

    `remembered` are the splits of an earlier run, and of the folders that pictures arrived in. None of them changes,
    but that a picture leaves train or valid which turns out to belong together with one in a split further out.
    """
    split = remembered.copy()
    held_back = _part_company(table, links, split)
    new = split == NOWHERE
    new[list(held_back)] = False
    mask = _mask(table, split)
    unit = np.where(new & (mask[table.content] == 0), table.content, np.int32(NOWHERE))
    pictures = _Pictures(table.content, new)
    for group in _bound(links, mask, table.content[new & (mask[table.content] > 0)]):
        positions = pictures.of(group.contents)
        if not len(positions):
            continue
        to, reason = _follow(group, rules.frozen)
        unit[positions] = group.contents[0] if to is None else NOWHERE
        split[positions] = NOWHERE if to is None else to
        if reason:
            held_back |= dict.fromkeys(positions.tolist(), reason)
    return draw(table, unit, split, rules), held_back


def _bound(links: Links, mask: NDArray[np.uint8], joined: NDArray[np.int32]) -> Iterator[Group]:
    """The groups, and a group for each content that has a split while one of its pictures has none."""
    yield from (Group([content], _splits_of(int(mask[content]))) for content in np.unique(joined).tolist())
    yield from groups_of(links, mask)


def _follow(group: Group, frozen: frozenset[int]) -> tuple[int | None, str]:
    """(the split it must go to, or None where it is free to be drawn; why it is to be held back)."""
    if len(group.fixed) > 1:
        return NOWHERE, f"it belongs together with pictures of {_named(group.fixed)}"
    if group.fixed & frozen:
        return NOWHERE, f"it belongs together with a picture in {_named(group.fixed)}, which is frozen"
    return min(group.fixed, default=None), ""


def _part_company(table: PictureTable, links: Links, split: Splits) -> dict[int, str]:
    """Take out what had a split and now turns out to belong to a picture in another: a wider radius or a new credit
    may say so. What arrived in its folder stays; else the split further out keeps its picture.
    """
    arrived = _mask(table, np.where(table.arrived, split, np.int8(NOWHERE)))
    mask = _mask(table, split)
    pictures = _Pictures(table.content, (split != NOWHERE) & ~table.arrived)
    held_back: dict[int, str] = {}
    for contents in _crossing(links, mask):
        further_out = int(np.bitwise_or.reduce(mask[contents])).bit_length() - 1
        stays = _splits_of(int(np.bitwise_or.reduce(arrived[contents]))) or {further_out}
        for position in pictures.of(contents).tolist():
            if int(split[position]) not in stays:
                held_back[position] = f"it belongs together with a picture in {_named(stays)}"
    split[list(held_back)] = NOWHERE
    return held_back


def _crossing(links: Links, mask: NDArray[np.uint8]) -> Iterator[list[int]]:
    """The sets of contents that belong together directly, and lie in more than one split."""
    yield from ([content] for content in np.flatnonzero(np.bitwise_count(mask) > 1).tolist())
    pairs = links.parting()
    both = mask[pairs]
    crossing = both.all(axis=1) & (np.bitwise_count(np.bitwise_or.reduce(both, axis=1)) > 1)
    yield from pairs[crossing].tolist()
    for contents in links.together():
        if int(np.bitwise_or.reduce(mask[contents])).bit_count() > 1:
            yield contents


def _mask(table: PictureTable, split: Splits) -> NDArray[np.uint8]:
    """uint8[c]: bit s is set where a picture of the content is in split s."""
    mask = np.zeros(len(table.sha256), dtype=np.uint8)
    for number in range(len(SPLITS)):
        mask[table.content[split == number]] |= 1 << number
    return mask


def _splits_of(mask: int) -> set[int]:
    return {number for number in range(len(SPLITS)) if mask >> number & 1}


def _named(splits: Iterable[int]) -> str:
    return " and ".join(SPLITS[number] for number in sorted(splits))


class _Pictures:
    """The chosen pictures of each content."""

    def __init__(self, content: NDArray[np.int32], chosen: NDArray[np.bool_]) -> None:
        positions = np.flatnonzero(chosen)
        self._positions = positions[np.argsort(content[positions], kind="stable")]
        self._content = content[self._positions]

    def of(self, contents: list[int]) -> NDArray[np.intp]:
        """Their positions, ascending."""
        wanted = np.array(contents, dtype=self._content.dtype)  # of another type, all of the others would be converted
        starts = np.searchsorted(self._content, wanted)
        ends = np.searchsorted(self._content, wanted, side="right")
        return np.sort(np.concatenate([self._positions[a:b] for a, b in zip(starts, ends, strict=True)]))
