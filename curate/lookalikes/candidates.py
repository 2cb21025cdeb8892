"""Pairs of pictures worth a second look: those of which any hash of one lies near the other's, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.crowds import most_alike
from curate.lookalikes.fingerprint import FRAMED, VARIANTS, Luma, unpack_hashes
from curate.lookalikes.pair_search import LOCAL_PAIRS, FoundPairs, PairSearch
from curate.phash import Hashes
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

    def joined(self, others: "CandidatePairs") -> "CandidatePairs":
        """These, then those."""
        names = CandidatePairs.__dataclass_fields__
        return CandidatePairs(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in names))

    def of(self, places: NDArray[np.int32]) -> "CandidatePairs":
        """The same, their pictures numbered as `places` int32[n] says."""
        return replace(self, first=places[self.first], second=places[self.second])

    def pair(self) -> NDArray[np.uint64]:
        """One number a pair of pictures, whichever is first."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        packed: NDArray[np.uint64] = low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)
        return packed


@dataclass(frozen=True, eq=False)
class Hashed:
    """The hashes of n pictures, as columns.

    `wholes` uint64[n] are of the pictures whole; `known` int32[k] are those whose windows' hashes are known, ascending,
    and `windows` uint64[k, variants] these. `small` bool[n] marks the pictures whose copies are as large as they.
    """

    wholes: Hashes
    known: NDArray[np.int32]
    windows: Hashes
    small: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.wholes)

    def take(self, chosen: NDArray[np.intp]) -> "Hashed":
        """Some of the pictures, by index, ascending."""
        place = np.full(len(self), -1, np.int32)
        place[chosen] = np.arange(len(chosen), dtype=np.int32)
        held = place[self.known] >= 0
        return Hashed(self.wholes[chosen], place[self.known][held], self.windows[held], self.small[chosen])


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
    windows = unpack_hashes([fingerprints[at] for at in known.tolist()]).astype(np.uint64)
    hashed = Hashed(hashes, known, windows, np.zeros(len(hashes), np.bool_))
    return candidates_among(hashed, radius, framed=framed, geometry=geometry, progress=progress)


def candidates_among(
    hashed: Hashed,
    radius: int,
    *,
    crowd: NDArray[np.int32] | None = None,
    luma: Callable[[int], Luma | None] = lambda _: None,
    framed: bool = True,
    geometry: bool = False,
    pairs: PairSearch = LOCAL_PAIRS,
    progress: Progress = silent,
) -> CandidatePairs:
    """All candidates among the pictures, as `find_candidates` gives them.

    `crowd` int32[n] is the crowd that each is in, -1 for none; of a crowd's pairs those are given that look most alike
    (`curate.lookalikes.crowds`), as `luma` says, which gives a picture's reduced luma. `pairs` searches the hashes.
    """
    crowd = np.full(len(hashed), -1, np.int32) if crowd is None else crowd
    found = [_of_wholes(hashed, radius, crowd, luma, pairs)]
    variants = _variants(framed=framed, geometry=geometry)
    with progress("Searching for copies", 1 + len(variants)) as advance:
        advance(1)
        for variant in variants:
            found.append(_of_variant(hashed, variant, min(radius, VARIANT_RADIUS), crowd, pairs))
            advance(1)
    return _sorted(found)


def candidates_of(
    added: NDArray[np.bool_],
    hashed: Hashed,
    radius: int,
    *,
    framed: bool = True,
    geometry: bool = False,
    pairs: PairSearch = LOCAL_PAIRS,
    progress: Progress = silent,
) -> CandidatePairs:
    """Of all candidates, those of the pictures that were added, bool[n], none of which is in a crowd.

    The pictures that were there before do not meet each other again.
    """
    found = [_added_wholes(added, hashed.wholes, radius, pairs)]
    variants = _variants(framed=framed, geometry=geometry) if added.any() else []
    with progress("Searching for copies", 1 + len(variants)) as advance:
        advance(1)
        for variant in variants:
            found.append(_added_variant(added, hashed, variant, min(radius, VARIANT_RADIUS), pairs))
            advance(1)
    return _sorted(found)


def _variants(*, framed: bool, geometry: bool) -> list[int]:
    return [*(range(len(FRAMED)) if framed else ()), *(range(len(FRAMED), len(VARIANTS)) if geometry else ())]


def _sorted(found: Sequence[CandidatePairs]) -> CandidatePairs:
    """All of them in one order, which does not depend on how they were found."""
    joined = CandidatePairs(
        *(np.concatenate([getattr(part, name) for part in found]) for name in CandidatePairs.__dataclass_fields__)
    )
    order = np.lexsort((joined.first, joined.both, joined.variant, joined.distance, joined.pair()))
    return joined.take(order)


def _of_wholes(
    hashed: Hashed, radius: int, crowd: NDArray[np.int32], luma: Callable[[int], Luma | None], pairs: PairSearch
) -> CandidatePairs:
    """All pairs, but of the crowds' only those that look most alike."""
    hashes = hashed.wholes
    apart = np.flatnonzero(crowd < 0).astype(np.int32)
    i, j, _ = _concatenated(pairs.within(hashes[apart], radius).expand())
    crowds = [np.flatnonzero(crowd == number) for number in np.unique(crowd[crowd >= 0]).tolist()]
    thin = [(apart[i], apart[j]), *(most_alike(members, hashes, radius, hashed.small, luma) for members in crowds)]
    i, j = (np.concatenate(side) for side in zip(*thin, strict=True))
    return _wholes(i, j, np.bitwise_count(hashes[i] ^ hashes[j]))


def _wholes(i: NDArray[np.int32], j: NDArray[np.int32], distance: NDArray[np.uint8]) -> CandidatePairs:
    return CandidatePairs(i, j, np.full(len(i), WHOLE, np.int8), np.zeros(len(i), np.bool_), distance)


def _added_wholes(added: NDArray[np.bool_], hashes: Hashes, radius: int, pairs: PairSearch) -> CandidatePairs:
    """The pairs that hold an added picture."""
    fresh = np.flatnonzero(added).astype(np.int32)
    i, j, distance = _concatenated(pairs.between(hashes[fresh], hashes, radius))
    first = fresh[i]
    chosen = (first != j) & ~(added[j] & (first > j))  # two that were both added meet twice
    low, high = np.minimum(first, j), np.maximum(first, j)
    return _wholes(low[chosen], high[chosen], distance[chosen])


def _of_variant(
    hashed: Hashed, variant: int, radius: int, crowd: NDArray[np.int32], pairs: PairSearch
) -> CandidatePairs:
    """Whole against variant, and variant against variant but for turned pictures, where that says what the wholes say.

    Not within a crowd, where the wholes are near already.
    """
    known, windows = _seen_as(hashed, variant)
    n = len(hashed)
    owner = np.concatenate([np.arange(n, dtype=np.int32), known])
    batches = []
    for i, j, distance in pairs.within(np.concatenate([hashed.wholes, windows]), radius).expand():
        chosen = (j >= n) & (owner[i] != owner[j])
        chosen &= (crowd[owner[i]] != crowd[owner[j]]) | (crowd[owner[i]] < 0)
        if variant >= len(FRAMED):
            chosen &= i < n
        batches.append((i[chosen], j[chosen], distance[chosen]))
    i, j, distance = _concatenated(iter(batches))
    return CandidatePairs(owner[i], owner[j], np.full(len(i), variant, np.int8), i >= n, distance)


def _added_variant(
    added: NDArray[np.bool_], hashed: Hashed, variant: int, radius: int, pairs: PairSearch
) -> CandidatePairs:
    """The same of the pictures that were added: their wholes and windows against all windows, then the wholes of the
    others against their windows.
    """
    known, windows = _seen_as(hashed, variant)
    fresh, there = np.flatnonzero(added).astype(np.int32), np.flatnonzero(~added).astype(np.int32)
    of_fresh = added[known]
    mine = known[of_fresh] if variant < len(FRAMED) else known[:0]
    few = np.concatenate([hashed.wholes[fresh], windows[of_fresh][: len(mine)]])
    owner = np.concatenate([fresh, mine])
    batches = []
    for i, j, distance in pairs.between(few, windows, radius):
        first, second, both = owner[i], known[j], i >= len(fresh)
        # Two windows that were both added meet twice.
        chosen = (first != second) & ~(both & added[second] & (first > second))
        first, second = _swapped(first, second, both & (first > second))
        batches.append((first[chosen], second[chosen], both[chosen], distance[chosen]))
    for i, j, distance in pairs.between(windows[of_fresh], hashed.wholes[there], radius):
        batches.append((there[j], known[of_fresh][i], np.zeros(len(i), np.bool_), distance))
    columns = [np.concatenate(column) for column in zip(_NO_BATCH, *batches, strict=True)]
    first, second, both, distance = columns
    return CandidatePairs(first, second, np.full(len(first), variant, np.int8), both, distance)


_NO_BATCH = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.bool_), np.empty(0, np.uint8)


def _swapped(
    first: NDArray[np.int32], second: NDArray[np.int32], where: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return np.where(where, second, first), np.where(where, first, second)


def _seen_as(hashed: Hashed, variant: int) -> tuple[NDArray[np.int32], Hashes]:
    """The pictures that have a variant of their own, and its hashes."""
    known, windows = hashed.known, np.ascontiguousarray(hashed.windows[:, variant])
    if variant == _BORDER:
        bordered = np.bitwise_count(windows ^ hashed.wholes[known]) > _NO_BORDER
        known, windows = known[bordered], windows[bordered]
    return known, windows


def _concatenated(
    batches: FoundPairs,
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
