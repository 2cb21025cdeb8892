"""Small pictures at their own scale: which are equal but for recompression, told of many pairs at once.

A picture below 64 pixels has no detail to spare. Enlarged, registered and smoothed it looks like others: a digit that
is moved and stretched a little, like the next digit. Its copy has its size and its pixels, but for what saving takes
from them; and how much that may be, a JPEG's quantisation steps say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.small_look import FRACTIONS, Floats, OnGround, Planes, SmallLook

_MOST = 27.0  # levels of smoothed luma by which copies differ at most; real digits differ by 35
_LUMA_OF_BLOCK = 0.5  # the means of blocks may differ by so much of that
_CHROMA_OF_BLOCK = 0.9
_OF_QUARTER = 10.0, 0.7, 30.0  # levels of Cb and Cr in a quarter of a block: so many, and that share, but no more
_DRAWN_BLOCK = (2.5, 0.2), (3.5, 0.2)  # levels of luma, and of Cb and Cr, in drawings: so many, and so much of that
_OF_EVEN_BLOCK = 4.0, 6.0  # levels of luma, and of Cb and Cr: saving leaves an even colour as it is
_FRAMES_APART = 24  # levels, as the mean of 4 × 4 pixels
_TWICE_SAVED = 1.15  # by how much more than one saving alone two may part two editions
_PAIRS = 4_096  # compared at once

Places = NDArray[np.integer]
Flags = NDArray[np.bool_]


def are_equal(first: Places, second: Places, look: Callable[[int], SmallLook | None]) -> Flags:
    """Whether the two of each pair of small pictures are equal but for recompression: bool[p].

    `first` and `second` int[p] number the pictures; `look` gives one of them, or None where it can no longer be
    decoded. Pictures of two sizes are not equal. A grey picture may be a coloured one's, unless both are drawings.
    """
    pictures, ends = np.unique(np.concatenate([first, second]), return_inverse=True)
    by_size: dict[tuple[int, ...], list[SmallLook]] = {}
    size, place = np.full((2, len(pictures)), -1)
    numbers: dict[tuple[int, ...], int] = {}
    for at, picture in enumerate(pictures.tolist()):
        seen = look(picture)
        if seen is not None:
            shape = seen.on_white.soft.shape
            members = by_size.setdefault(shape, [])
            size[at], place[at] = numbers.setdefault(shape, len(numbers)), len(members)
            members.append(seen)
    a, b = ends.reshape(2, -1)
    equal = np.zeros(len(a), np.bool_)
    for number, members in enumerate(by_size.values()):
        pairs = np.flatnonzero((size[a] == number) & (size[b] == number))
        columns = _Columns.of(members)
        for start in range(0, len(pairs), _PAIRS):
            chosen = pairs[start : start + _PAIRS]
            equal[chosen] = columns.equal(place[a[chosen]], place[b[chosen]])
    return equal


@dataclass(frozen=True, eq=False)
class _Columns:
    """What is compared of m small pictures of one size; the columns are those of `SmallLook` and `OnGround`."""

    looks: Sequence[SmallLook]
    soft: Planes
    means: Planes
    quarters: Planes
    even: Flags
    saving: Floats
    grey: Flags
    graphic: Flags
    plain: Flags

    @classmethod
    def of(cls, looks: Sequence[SmallLook]) -> "_Columns":
        return cls(
            looks,
            np.stack([look.on_white.soft for look in looks]),
            np.stack([look.on_white.means for look in looks]),
            np.stack([look.on_white.quarters for look in looks]),
            np.stack([look.on_white.even for look in looks]),
            np.array([look.saving for look in looks], np.float32),
            np.array([look.is_grey for look in looks]),
            np.array([look.is_graphic for look in looks]),
            np.array([look.on_black is None and not look.further for look in looks]),
        )

    def equal(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> Flags:
        """Whether pairs of these are equal, by their places intp[p]: bool[p]."""
        # Two editions that were saved alike err alike: the sum of squares would allow for more than they differ by
        most = np.minimum(_MOST, _TWICE_SAVED * np.maximum(self.saving[a], self.saving[b]))
        equal: Flags = _apart(self.soft[a], self.soft[b]) <= most
        left = np.flatnonzero(equal)  # few
        a, b, most = a[left], b[left], most[left]
        drawn = self.graphic[a] | self.graphic[b]
        coloured = (self.grey[a] == self.grey[b]) | (self.graphic[a] & self.graphic[b])
        even = self.even[a] & self.even[b]
        agree = _blocks_agree(self.means[a], self.means[b], even, most, coloured, drawn)
        agree &= ~coloured | _quarters_agree(self.quarters[a], self.quarters[b], most)
        for at in np.flatnonzero(agree & ~(self.plain[a] & self.plain[b])).tolist():
            one, other = self.looks[int(a[at])], self.looks[int(b[at])]
            agree[at] = _agree_on_black(one, other, most[at : at + 1]) and _agree_later(one, other)
        equal[left] = agree
        return equal


def _apart(a: Planes, b: Planes) -> Floats:
    """The largest difference of planes int16[p, …], in levels: float32[p]."""
    apart = np.abs(a - b).max(axis=tuple(range(1, a.ndim)), initial=0)
    levels: Floats = (apart / FRACTIONS).astype(np.float32)
    return levels


def _blocks_agree(a: Planes, b: Planes, even: Flags, most: Floats, coloured: Flags, drawn: Flags) -> Flags:
    """Whether the means of blocks int16[p, 3, rows, columns] agree, of pairs that may differ by `most` float32[p].

    Colours count where bool[p] `coloured`. In what is `drawn` an icon of another colour, or a plus for a minus, changes
    a block by less than saving changes a photograph's: 98% of 400 icons of 16 pixels changed by less than this.
    """
    agree = np.ones(len(a), np.bool_)
    for plane in range(3):
        share, in_even = (_CHROMA_OF_BLOCK, _OF_EVEN_BLOCK[1]) if plane else (_LUMA_OF_BLOCK, _OF_EVEN_BLOCK[0])
        least, more = _DRAWN_BLOCK[min(plane, 1)]
        one, other = a[:, plane], b[:, plane]
        within = _apart(one, other) <= np.where(drawn, np.minimum(share * most, least + more * most), share * most)
        within &= _apart(np.where(even, one, 0), np.where(even, other, 0)) <= in_even
        agree &= within | ~coloured if plane else within
    return agree


def _quarters_agree(a: Planes, b: Planes, most: Floats) -> Flags:
    """Whether Cb and Cr agree in the quarters of blocks, int16[p, 3, rows, columns]: a small icon of another colour
    changes a block of 8 × 8 by little.
    """
    least, share, never = _OF_QUARTER
    agree: Flags = _apart(a[:, 1:], b[:, 1:]) <= np.minimum(never, least + share * most)
    return agree


def _agree_on_black(one: SmallLook, other: SmallLook, most: Floats) -> bool:
    """Whether two pictures that agree on white do so on black, which tells what is transparent."""

    def on_black(look: SmallLook) -> OnGround:
        return look.on_white if look.on_black is None else look.on_black

    a, b = on_black(one), on_black(other)
    if (_apart(a.soft[None], b.soft[None]) > most).any():
        return False
    even, yes = a.even & b.even, np.ones(1, np.bool_)
    drawn = yes & (one.is_graphic or other.is_graphic)
    return bool(_blocks_agree(a.means[None], b.means[None], even[None], most, yes, drawn)[0])


def _agree_later(one: SmallLook, other: SmallLook) -> bool:
    """Whether the frames that follow agree."""
    if one.further != other.further or one.frames.shape != other.frames.shape:
        return False
    apart = np.abs(one.frames.astype(np.float32) - other.frames)
    k, height, width, channels = apart.shape
    means = apart.reshape(k, height // 4, 4, width // 4, 4, channels).mean(axis=(2, 4))
    return bool(means.max(initial=0) <= _FRAMES_APART)
