"""Who finds the pairs of hashes within a radius: this machine, or whoever else gives the same answers."""

from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.phash import Hashes, Pairs, pairs_between, pairs_within

FoundPairs = Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]]
"""Pairs (i, j) of places and their distances, some at once."""


class PairSearch(Protocol):
    """Finds pairs of hashes."""

    def within(self, hashes: Hashes, radius: int) -> Pairs:
        """As `curate.phash.pairs_within`."""
        ...

    def between(self, few: Hashes, many: Hashes, radius: int) -> FoundPairs:
        """As `curate.phash.pairs_between`."""
        ...


class LocalPairSearch:
    """Finds them in threads of this process."""

    def within(self, hashes: Hashes, radius: int) -> Pairs:
        """All pairs of these hashes."""
        return pairs_within(hashes, radius)

    def between(self, few: Hashes, many: Hashes, radius: int) -> FoundPairs:
        """All pairs of one of a few and one of many."""
        return pairs_between(few, many, radius)


LOCAL_PAIRS: Final[PairSearch] = LocalPairSearch()
