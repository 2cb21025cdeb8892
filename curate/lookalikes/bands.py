"""Bands: the bits of a hash, cut so that near hashes meet in one of the pieces, whichever bits they differ in.

The 64 bits are cut into c bands, and a hash is put under each band's value and under each value that differs from it in
one bit: 64 + c *keys*. Two hashes that differ in at most 3c − 1 bits have a key in common, since:

- If they differed in 3 bits or more of every band, they would differ in 3c bits or more. So there is a band whose two
  values u and v differ in at most 2 bits.
- If u = v, both are put under u. If they differ in one bit, both are put under u and under v, each of which is one bit
  from the other. If they differ in two bits, p and q, both are put under u with p changed, which is v with q changed.

Three bands, of 22, 21 and 21 bits, serve up to 8 bits; four serve up to 11, five up to 14.

So a pair may meet often. It *counts* once: in the first band in which it differs in at most 2 bits, and there under the
greater of its two values with the highest bit cleared in which they differ. By the above both are put under that key:
it is u = v; or of two values one bit apart the smaller; or one bit from each of two that are two bits apart.

Source of the method: multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012), with both sides one bit apart instead of
one side two.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.phash import Hashes

MOST_APART: Final = 2
"""Bits in which two values of a band may differ for their hashes to meet there."""

_BITS: Final = 64
_FEWEST: Final = 3
_SAMPLE: Final = 4_096
_CHUNK: Final = 1 << 15  # hashes rearranged at once: they stay in the second-level cache

Values = NDArray[np.uint32]
"""What hashes have in the bits of one band, or keys of that band, as numbers."""


def band_count(radius: int) -> int:
    """How many bands two hashes within the radius meet in: three, or more beyond 8 bits."""
    return max(_FEWEST, radius // (MOST_APART + 1) + 1)


@dataclass(frozen=True)
class Bands:
    """Which bits make up which band: bit `order[p]` of a hash is bit p of the hash *arranged*, and the bands lie in it
    one above the other, `widths` bits each.
    """

    order: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, hashes: Hashes, radius: int) -> "Bands":
        """Bands for hashes like these, uint64[n]: each has its share of the bits that tell much, and of those that
        tell little, so that in none of them a few keys hold nearly all.
        """
        count = band_count(radius)
        few = hashes[:: max(1, len(hashes) // _SAMPLE)].astype("<u8").view(np.uint8).reshape(-1, 8)
        set_in = np.unpackbits(few, axis=1, bitorder="little").mean(axis=0) if len(few) else np.full(_BITS, 0.5)
        ranked = np.argsort(np.abs(set_in - 0.5), kind="stable").tolist()
        dealt = [ranked[band::count] for band in range(count)]
        return cls(tuple(bit for band in dealt for bit in band), tuple(map(len, dealt)))

    @cached_property
    def lows(self) -> tuple[int, ...]:
        """The lowest bit of each band in an arranged hash."""
        return tuple(accumulate(self.widths, initial=0))[:-1]

    def arranged(self, hashes: Hashes) -> Hashes:
        """The same hashes, uint64[n], with their bits in the bands' order. The distances between them stay."""
        return _permuted(hashes, self.order)

    def restored(self, arranged: Hashes) -> Hashes:
        """The hashes that were arranged so."""
        place = [0] * _BITS
        for position, bit in enumerate(self.order):
            place[bit] = position
        return _permuted(arranged, tuple(place))

    def values(self, arranged: Hashes, band: int) -> Values:
        """What arranged hashes, uint64[n], have in a band: uint32[n]."""
        mask = np.uint64((1 << self.widths[band]) - 1)
        found: Values = (arranged >> np.uint64(self.lows[band]) & mask).astype(np.uint32)
        return found

    def count_in(self, first: Hashes, second: Hashes, band: int) -> NDArray[np.bool_]:
        """Which pairs of arranged hashes, uint64[p] each, count in this band, given that they meet in it: bool[p]."""
        differing = first ^ second
        here = np.ones(len(first), np.bool_)
        for earlier in range(band):
            apart: NDArray[np.uint8] = np.bitwise_count(self.values(differing, earlier))
            here &= apart > MOST_APART
        return here


def counted_at(first: Values, second: Values) -> Values:
    """The key under which pairs count whose values in a band, uint32[p] each, differ in at most 2 bits: uint32[p]."""
    differing = first ^ second
    without_lowest = differing & (differing - np.uint32(1))
    highest = np.where(without_lowest > 0, without_lowest, differing)
    return (np.maximum(first, second) & ~highest).astype(np.uint32)


def _permuted(hashes: Hashes, order: tuple[int, ...]) -> Hashes:
    """Hashes whose bit p is bit `order[p]` of the given ones."""
    tables = np.zeros((8, 256), np.uint64)  # what each value of each byte contributes
    values = np.arange(256, dtype=np.uint64)
    for position, bit in enumerate(order):
        tables[bit // 8] |= (values >> np.uint64(bit % 8) & np.uint64(1)) << np.uint64(position)
    permuted = np.empty_like(hashes)
    for begin, end in pairwise([*range(0, len(hashes), _CHUNK), len(hashes)]):
        part = hashes[begin:end].astype("<u8").view(np.uint8).reshape(-1, 8)
        permuted[begin:end] = np.bitwise_or.reduce([tables[byte][part[:, byte]] for byte in range(8)])
    return permuted
