"""A stratified draw: each label's share of each split, in an order that depends on content and seed alone."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
from numpy.typing import NDArray

from curate.dataset import SPLITS
from curate.splitting.assignment import Ratio, Rules, Splits
from curate.splitting.picture_table import NOWHERE, PictureTable

TRAIN, VALID, TEST = range(len(SPLITS))


def draw_stable(table: PictureTable, unit: NDArray[np.int32], split: Splits, rules: Rules) -> Splits:
    """Fill test and valid up to each label's quota with the units that come first in the seed's order; the rest is
    train. What is in a split already counts towards its quota. `unit` int32[n] numbers the unit of each
    picture; `split` and what is returned are int8[n], as in `Splits`.
    """
    drawn = split.copy()
    quotas = _Quotas(table, split, rules)
    units = _Units(table, unit)
    labels = table.label.tolist()
    to_train: list[int] = []
    for number in units.in_order_of(rules.seed):
        positions = units.positions(number)
        wanted = Counter([labels[at] for at in positions])
        to = quotas.take(wanted)
        drawn[positions] = to
        if to == TRAIN:
            to_train.append(number)
    _fill_up(drawn, labels, units, to_train, quotas)
    return drawn


def quota(total: int, ratio: Ratio, least: int) -> tuple[int, int, int]:
    """Pictures of one label for train, valid and test: by ratio, but in each at least `least`, or a third where the
    label has less than three times as many. Of two pictures one is held out; one alone is for train.
    """
    valid, test = (max(int(total * share + 0.5), min(least, total // 3)) if share else 0 for share in ratio[1:])
    if total == 2:
        valid, test = (1, 0) if ratio[VALID] else (0, 1 if ratio[TEST] else 0)
    while valid + test > max(0, total - 1):
        valid, test = (valid - 1, test) if valid >= test else (valid, test - 1)
    return total - valid - test, valid, test


class _Quotas:
    """How many pictures of each label each split has and is to have: `have[split][label]`, `quota`, and at the least,
    `floor`.
    """

    def __init__(self, table: PictureTable, split: Splits, rules: Rules) -> None:
        self.open = [to for to in (TEST, VALID) if to not in rules.frozen]
        count = len(table.labels)
        quotas = [quota(total, rules.ratio, rules.least) for total in np.bincount(table.label, minlength=count)]
        self.have = [np.bincount(table.label[split == to], minlength=count).tolist() for to in range(len(SPLITS))]
        self.quota = [[quotas[at][to] for at in range(count)] for to in range(len(SPLITS))]
        self.floor = [[min(rules.least, quotas[at][to]) for at in range(count)] for to in range(len(SPLITS))]

    def take(self, wanted: Counter[int]) -> int:
        """The first split whose quota has space for all of a unit under each of its labels; train has always."""
        for to in self.open:
            if all(self.have[to][label] + count <= self.quota[to][label] for label, count in wanted.items()):
                break
        else:
            to = TRAIN
        self.move(wanted, None, to)
        return to

    def move(self, wanted: Counter[int], out_of: int | None, to: int) -> None:
        """Count a unit in, and out of where it was."""
        for label, count in wanted.items():
            self.have[to][label] += count
            if out_of is not None:
                self.have[out_of][label] -= count

    def short(self, to: int) -> list[int]:
        """The labels of which a split has less than it should at the least."""
        return [at for at, floor in enumerate(self.floor[to]) if self.have[to][at] < floor]


def _fill_up(drawn: Splits, labels: list[int], units: "_Units", to_train: list[int], quotas: _Quotas) -> None:
    """Give a split that large units left short of a label the smallest one that train can spare."""
    if not any(quotas.short(to) for to in quotas.open):
        return
    spare: dict[int, list[tuple[int, Counter[int]]]] = defaultdict(list)
    for number in to_train:
        wanted = Counter([labels[at] for at in units.positions(number)])
        for label in wanted:
            spare[label].append((number, wanted))
    for to in quotas.open:
        for label in quotas.short(to):
            for number, wanted in sorted(spare[label], key=lambda found: found[1].total()):  # stable: the seed's order
                positions = units.positions(number)
                spared = all(quotas.have[TRAIN][at] > count for at, count in wanted.items())
                if quotas.have[to][label] < quotas.floor[to][label] and spared and drawn[positions[0]] == TRAIN:
                    drawn[positions] = to
                    quotas.move(wanted, TRAIN, to)


class _Units:
    """The pictures of each unit."""

    def __init__(self, table: PictureTable, unit: NDArray[np.int32]) -> None:
        there = np.flatnonzero(unit != NOWHERE)
        order = there[np.argsort(unit[there], kind="stable")]
        self.numbers, starts = np.unique(unit[order], return_index=True)
        self.sha256 = table.sha256[self.numbers].tolist()
        self._order: list[int] = order.tolist()
        self._bounds: list[int] = [*starts.tolist(), len(order)]

    def positions(self, number: int) -> list[int]:
        """The positions of the pictures of one unit, the `number`th."""
        return self._order[self._bounds[number] : self._bounds[number + 1]]

    def in_order_of(self, seed: int) -> list[int]:
        """All units, in an order that is uniform and a function of the seed and each unit's content only."""
        prefix = f"{seed}:".encode()
        keys = [hashlib.sha256(prefix + sha256).digest()[:8] for sha256 in self.sha256]
        order: list[int] = np.argsort(np.array(keys, dtype="S8").view(">u8"), kind="stable").tolist() if keys else []
        return order
