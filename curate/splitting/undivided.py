"""Classes that have pictures enough for every split and cannot be divided, and what holds their pictures together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.splitting.grouping import NO_PAIRS, Links, groups_of
from curate.splitting.picture_table import PictureTable

BondKind = Literal["copies", "origins", "groups", "near", "scenes"]
"""A column of `Links`, from the surest to the least sure."""

_KINDS: tuple[BondKind, ...] = ("copies", "origins", "groups", "near", "scenes")


@dataclass(frozen=True)
class Undivided:
    """A label of `pictures` pictures that belong together in `groups` groups, because of `kind` at the last."""

    label: str
    pictures: int
    groups: int
    kind: BondKind


def find_undivided(table: PictureTable, links: Links, short: Iterable[str], least: int) -> Iterator[Undivided]:
    """Those of the `short` labels that have `least` pictures, and are short because too few can be parted.

    `kind` is the one without which, and all less sure ones, there would be more groups.
    """
    of_kind: dict[BondKind, NDArray[np.int32]] = {}
    count = np.bincount(table.label, minlength=len(table.labels))
    for label in short:
        code = table.labels.index(label)
        if count[code] < least:
            continue
        of_kind = of_kind or dict(_first_of_group(len(table.sha256), links))
        contents = np.unique(table.content[table.label == code])
        groups = {kind: len(np.unique(first[contents])) for kind, first in of_kind.items()}
        fewest = groups[_KINDS[-1]]
        if fewest < count[code]:
            kind = next(kind for kind in _KINDS if groups[kind] == fewest)
            yield Undivided(label, int(count[code]), fewest, kind)


def _first_of_group(count: int, links: Links) -> Iterator[tuple[BondKind, NDArray[np.int32]]]:
    """For each kind int32[c], the first content of each one's group by the links of that kind and the surer ones."""
    held = Links(NO_PAIRS, NO_PAIRS, NO_PAIRS, NO_PAIRS)
    for kind in _KINDS:
        held = replace(held, **{kind: getattr(links, kind)})
        first = np.arange(count, dtype=np.int32)
        for group in groups_of(held, np.zeros(count, dtype=np.uint8)):
            first[group.contents] = group.contents[0]
        yield kind, first
