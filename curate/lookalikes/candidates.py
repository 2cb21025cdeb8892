"""Pairs of pictures worth a second look: those of which any hash of one lies near the other's, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import FRAMED, VARIANTS, unpack_hashes
from curate.phash import Hashes, pairs_within
from curate.progress import Progress, silent

WHOLE = -1
"""In place of a variant: both pictures whole."""

VARIANT_RADIUS = 6
"""Bits for the hashes of windows and turned pictures: the right window lies within 4, one 1% off within 6, and of
strangers there are ten times fewer than within 8."""

_BORDER = len(FRAMED) - 1
_NO_BORDER = 4  # bits from the whole's hash, up to which the picture without its border is the whole


@dataclass(frozen=True, eq=False)
class CandidatePairs:
    """Guesses of how one picture lies in another, sorted by pair, the nearest hashes of each pair first.

    The picture `first` int32[c] whole is `variant` int8[c] of the picture `second` int32[c] (`WHOLE`, or an index into
    `VARIANTS`), or, where `both` bool[c], that variant of one is that variant of the other. `distance` uint8[c] is the
    Hamming distance of the two hashes.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    variant: NDArray[np.int8]
    both: NDArray[np.bool_]
    distance: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, chosen: NDArray[np.intp]) -> "CandidatePairs":
        """Some of them, by index."""
        return CandidatePairs(
            self.first[chosen], self.second[chosen], self.variant[chosen], self.both[chosen], self.distance[chosen]
        )

    def of(self, places: NDArray[np.int32]) -> "CandidatePairs":
        """The same, their pictures numbered as `places` int32[n] says."""
        return replace(self, first=places[self.first], second=places[self.second])

    def pair(self) -> NDArray[np.uint64]:
        """One number a pair of pictures, whichever is first."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        packed: NDArray[np.uint64] = low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)
        return packed


def find_candidates(
    hashes: Hashes,
    fingerprints: Sequence[bytes],
    radius: int,
    *,
    framed: bool = True,
    geometry: bool = False,
    progress: Progress = silent,
) -> CandidatePairs:
    """Find all pairs of pictures whose wholes lie within `radius`, or a whole and a variant within `VARIANT_RADIUS`.

    `hashes` uint64[n] are of the wholes; `fingerprints` those of the same pictures, or b"" where there is none.
    `framed` looks for crops, borders and captions, `geometry` for turned and mirrored copies. Each variant is one
    search in twice as many hashes, one after the other, so memory stays that of one search.
    """
    known = np.array([at for at, whole in enumerate(fingerprints) if len(whole) == 8 * len(VARIANTS)], dtype=np.int32)
    unpacked = unpack_hashes([fingerprints[at] for at in known.tolist()])
    variants = [*(range(len(FRAMED)) if framed else ()), *(range(len(FRAMED), len(VARIANTS)) if geometry else ())]
    found = [_of_wholes(hashes, radius)]
    with progress("Searching for copies", 1 + len(variants)) as advance:
        advance(1)
        for variant in variants:
            found.append(
                _of_variant(hashes, known, unpacked[:, variant].astype(np.uint64), variant, min(radius, VARIANT_RADIUS))
            )
            advance(1)
    joined = CandidatePairs(
        *(np.concatenate([getattr(part, name) for part in found]) for name in CandidatePairs.__dataclass_fields__)
    )
    return joined.take(np.lexsort((joined.variant, joined.distance, joined.pair())))


def _of_wholes(hashes: Hashes, radius: int) -> CandidatePairs:
    i, j, distance = _concatenated(pairs_within(hashes, radius).expand())
    return CandidatePairs(i, j, np.full(len(i), WHOLE, np.int8), np.zeros(len(i), np.bool_), distance)


def _of_variant(wholes: Hashes, known: NDArray[np.int32], windows: Hashes, variant: int, radius: int) -> CandidatePairs:
    """Whole against variant, and variant against variant; not of turned pictures, where that says what wholes say."""
    if variant == _BORDER:
        bordered = np.bitwise_count(windows ^ wholes[known]) > _NO_BORDER
        known, windows = known[bordered], windows[bordered]
    n = len(wholes)
    owner = np.concatenate([np.arange(n, dtype=np.int32), known])
    batches = []
    for i, j, distance in pairs_within(np.concatenate([wholes, windows]), radius).expand():
        chosen = (j >= n) & (owner[i] != owner[j])
        if variant >= len(FRAMED):
            chosen &= i < n
        batches.append((i[chosen], j[chosen], distance[chosen]))
    i, j, distance = _concatenated(iter(batches))
    return CandidatePairs(owner[i], owner[j], np.full(len(i), variant, np.int8), i >= n, distance)


def _concatenated(
    batches: Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    held = list(batches)
    return (
        np.concatenate([np.empty(0, np.int32), *(i for i, _, _ in held)]),
        np.concatenate([np.empty(0, np.int32), *(j for _, j, _ in held)]),
        np.concatenate([np.empty(0, np.uint8), *(distance for _, _, distance in held)]),
    )


def variant_name(variant: int) -> str:
    """How a copy relates to its original, in a word; "" where both are whole."""
    return "" if variant == WHOLE else VARIANTS[variant].name
