"""The second look at candidate pairs: lay the pictures over each other, coarsely, then closely; give the verdict."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.alignment import Alignment, turn_of, turned
from curate.lookalikes.candidates import WHOLE, CandidatePairs
from curate.lookalikes.colour import CHROMA_SIDE, coloured_alike
from curate.lookalikes.comparison import NEAR_SHARE, Comparison, compare
from curate.lookalikes.difference import SMALL_DIFFERENCE
from curate.lookalikes.fingerprint import FRAMED, SIDE, window_of
from curate.lookalikes.looks import Look, Looks
from curate.lookalikes.registration import IDENTITY, Agreement, register
from curate.lookalikes.relation import is_independent
from curate.lookalikes.small_look import is_small
from curate.lookalikes.small_pictures import are_equal
from curate.parallel import ordered_map
from curate.progress import Progress, silent

CANDIDATES_AT_ONCE = 512
"""Candidates that are looked at together, on any machine: where a picture lies depends on it in the last digits."""


DIFFERENT, NEAR, COPY = range(3)
"""The verdict on a pair. A copy shows nothing that its original does not; what is near is another picture of the same
thing: a frame, a form filled in otherwise, a second shot. Copies leave; what is near stays, on one side of a split.
"""

_MOST_CLOSE = 2  # guesses of one pair that are looked at closely


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What second looks found of c candidates.

    `verdict` int8[c] is `DIFFERENT`, `NEAR` or `COPY`; `detail` float32[c] the correlation of the detail, NaN without a
    look; `placement` float32[c, 4] where the first lies in the second, turned as the candidate's variant says.
    """

    verdict: NDArray[np.int8]
    detail: NDArray[np.float32]
    placement: NDArray[np.float32]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which candidates are copies: bool[c]."""
        copies: NDArray[np.bool_] = self.verdict == COPY
        return copies


Looking = Callable[[Iterable[CandidatePairs]], Iterable[Verdicts]]
"""Gives the verdicts on parts of the candidates, in the order of the parts, as `look_at_part` does."""


def look_again(
    candidates: CandidatePairs,
    looks: Looks,
    progress: Progress = silent,
    *,
    looking: Looking | None = None,
    at_once: int = CANDIDATES_AT_ONCE,
) -> Verdicts:
    """The verdict on each candidate. Once a pair is a copy, its other guesses are not looked at.

    A picture is decoded once at each scale, unless the web of candidates that it belongs to is larger than memory
    should be. A picture that cannot be decoded is different from all. About `at_once` candidates are looked at
    together, by `look_at_part` or by whom `looking` gives them to.
    """
    verdicts = _undecided(len(candidates))
    with progress("Comparing look-alikes", len(candidates)) as advance:
        chunks = list(_chunks(candidates, at_once))
        parts = (candidates.take(chunk) for chunk in chunks)
        results = (look_at_part(part, looks) for part in parts) if looking is None else looking(parts)
        for chunk, found in zip(chunks, results, strict=True):
            verdicts.verdict[chunk], verdicts.detail[chunk] = found.verdict, found.detail
            verdicts.placement[chunk] = found.placement
            advance(len(chunk))
    return verdicts


def _undecided(n: int) -> Verdicts:
    return Verdicts(
        np.zeros(n, np.int8), np.full(n, np.nan, np.float32), np.tile(np.array(IDENTITY, np.float32), (n, 1))
    )


def _chunks(candidates: CandidatePairs, size: int) -> Iterator[NDArray[np.intp]]:
    """Cut into chunks that share few pictures, all guesses of a pair in one of them, in order.

    What hangs together stays together; and within a crowd pictures are numbered so that neighbours have like numbers
    (Cuthill and McKee, ACM National Conference 1969).
    """
    if not len(candidates):
        return
    from scipy.sparse import coo_array  # takes a while to import
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    pictures, ends = np.unique(np.concatenate([candidates.first, candidates.second]), return_inverse=True)
    first, second = ends.reshape(2, -1)
    both_ways = np.concatenate([first, second]), np.concatenate([second, first])
    graph = coo_array((np.ones(2 * len(first), np.bool_), both_ways), shape=(len(pictures), len(pictures)))
    number = np.empty(len(pictures), np.intp)
    number[reverse_cuthill_mckee(graph.tocsr(), symmetric_mode=True)] = np.arange(len(pictures))
    low, high = np.minimum(number[first], number[second]), np.maximum(number[first], number[second])
    order = np.lexsort((high, low))
    begins = np.flatnonzero(np.diff(low[order], prepend=-1) | np.diff(high[order], prepend=-1))
    cuts = begins[np.searchsorted(begins, np.arange(size, begins[-1] + 1, size))]
    yield from np.split(order, np.unique(cuts))


def look_at_part(candidates: CandidatePairs, looks: Looks, workers: int | None = None) -> Verdicts:
    """The verdict on each of some candidates, which hold all guesses of their pairs, the nearest of each pair first.

    By so many threads, one for each processor unless said.
    """
    pictures = np.unique(np.concatenate([candidates.first, candidates.second]))
    coarse = dict(zip(pictures.tolist(), ordered_map(looks.coarse, pictures.tolist(), workers=workers), strict=True))
    seen = np.array([coarse[a] is not None and coarse[b] is not None for a, b in _ends(candidates)], np.bool_)
    verdicts = _undecided(len(candidates))
    small = seen & _are_small(candidates, coarse)
    whole = np.flatnonzero(small & (candidates.variant == WHOLE))
    verdicts.verdict[whole] = _small_verdicts(candidates.take(whole), coarse, looks, workers)
    seen[small] = False  # a copy has their pixels: what only a part of one says is nothing
    pairs, pair = np.unique(candidates.pair(), return_inverse=True)
    closely = np.zeros(len(pairs), dtype=np.int64)  # guesses that were looked at closely
    turn = _turns(pair)
    for number in range(int(turn.max(initial=-1)) + 1):
        todo = np.flatnonzero((turn == number) & seen & (closely[pair] < _MOST_CLOSE))
        if not len(todo):
            continue
        agreement = _compare(candidates.take(todo), coarse)
        verdicts.detail[todo], verdicts.placement[todo] = agreement.detail, agreement.placement
        registered = todo[agreement.same]
        for at, (verdict, box) in zip(
            registered.tolist(),
            _closely(candidates.take(registered), verdicts.placement[registered], looks, workers),
            strict=True,
        ):
            verdicts.verdict[at], verdicts.placement[at] = verdict, box
            closely[pair[at]] += _MOST_CLOSE if verdict == COPY else 1
    return verdicts


def _are_small(candidates: CandidatePairs, coarse: Mapping[int, Look | None]) -> NDArray[np.bool_]:
    """Which candidates are of two small pictures, neither turned: bool[c]."""
    small = {at for at, look in coarse.items() if look is not None and look.is_small}
    both = np.array([a in small and b in small for a, b in _ends(candidates)], np.bool_)
    upright: NDArray[np.bool_] = both & (candidates.variant < len(FRAMED))
    return upright


def _small_verdicts(
    candidates: CandidatePairs, coarse: Mapping[int, Look | None], looks: Looks, workers: int | None
) -> NDArray[np.int8]:
    """The verdict on pairs of small pictures, which lie on each other as they are: int8[c].

    A copy is equal but for recompression. What is near agrees as copies of large pictures do in a coarse look, and no
    more of it differs than in other near pictures.
    """
    pictures = np.unique(np.concatenate([candidates.first, candidates.second])).tolist()
    small = dict(zip(pictures, ordered_map(looks.small, pictures, workers=workers), strict=True))
    equal = are_equal(candidates.first, candidates.second, small.get)
    verdict = np.where(equal, COPY, DIFFERENT).astype(np.int8)
    others = np.flatnonzero(~equal)
    alike = others[_compare(candidates.take(others), coarse, in_place=True).same]
    for at, (a, b) in zip(alike.tolist(), _ends(candidates.take(alike)), strict=True):
        one, other = coarse[a], coarse[b]
        assert one is not None
        assert other is not None
        if _share_differing(one, other) <= NEAR_SHARE:
            verdict[at] = NEAR
    return verdict


def _share_differing(one: Look, other: Look) -> float:
    """Of two small pictures the share of places that differ by more than they may in a copy."""
    return float((np.abs(one.luma.astype(np.int16) - other.luma) > SMALL_DIFFERENCE).mean())


def _closely(
    candidates: CandidatePairs, placement: NDArray[np.float32], looks: Looks, workers: int | None
) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """(verdict, where the first lies in the second) of candidates that register."""

    def look(row: int) -> tuple[int, tuple[float, float, float, float]]:
        left, right, top, bottom = placement[row].tolist()
        guess = Alignment(turn_of(int(candidates.variant[row])), (left, right, top, bottom))
        found = look_closer(int(candidates.first[row]), int(candidates.second[row]), guess, looks)
        return found if found[0] != DIFFERENT else (DIFFERENT, guess.box)

    yield from ordered_map(look, range(len(candidates)), workers=workers)


def look_closer(
    first: int, second: int, guess: Alignment, looks: Looks
) -> tuple[int, tuple[float, float, float, float]]:
    """(verdict, box) of two pictures that register at about that placement; the box is refined."""
    close = looks.close(first), looks.close(second)
    if guess.turn is None and all(look is not None and is_small(look.width, look.height) for look in close):
        equal = are_equal(np.array([first]), np.array([second]), looks.small)
        return (COPY if equal[0] else DIFFERENT), IDENTITY
    comparison = compared(first, second, guess, looks)
    if comparison is None:
        return DIFFERENT, guess.box
    if not comparison.is_copy():
        return (NEAR if comparison.is_near() else DIFFERENT), comparison.placement
    full = looks.full(first), looks.full(second)
    if full[0] is None or full[1] is None:
        return DIFFERENT, guess.box
    independent = is_independent(full[0], full[1], guess.turn, comparison)
    return (NEAR if independent else COPY), comparison.placement


def compared(first: int, second: int, guess: Alignment, looks: Looks) -> Comparison | None:
    """The close comparison of two pictures; None where one can no longer be decoded."""
    close = looks.close(first), looks.close(second)
    if close[0] is None or close[1] is None:
        return None
    return compare(close[0], close[1].turned(guess.turn), guess.box)


def _turns(pair: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which guess of its pair each candidate is, from 0."""
    order = np.argsort(pair, kind="stable")
    ranked = pair[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])[: len(ranked)])
    turn = np.empty(len(pair), dtype=np.intp)
    turn[order] = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return turn


def _compare(candidates: CandidatePairs, looks: Mapping[int, Look | None], *, in_place: bool = False) -> Agreement:
    n = len(candidates)
    first, second = np.empty((2, n, SIDE, SIDE), np.uint8)
    colours = np.empty((2, n, 2, CHROMA_SIDE, CHROMA_SIDE), np.uint8)
    placement, part = np.tile(np.array(IDENTITY, np.float32), (2, n, 1))
    for row, ((a, b), variant, both) in enumerate(
        zip(_ends(candidates), candidates.variant.tolist(), candidates.both.tolist(), strict=True)
    ):
        of_a, of_b = looks[a], looks[b]
        assert of_a is not None
        assert of_b is not None
        first[row], second[row], colours[:, row] = of_a.luma, of_b.luma, (of_a.chroma, of_b.chroma)
        if variant >= len(FRAMED):
            turn = turn_of(variant)
            second[row], colours[1, row] = turned(of_b.luma, turn), [turned(plane, turn) for plane in of_b.chroma]
        elif variant != WHOLE:
            placement[row] = window_of(variant, of_b.luma, of_b.width, of_b.height)
            if both:
                part[row] = window_of(variant, of_a.luma, of_a.width, of_a.height)
                placement[row] = _beyond(placement[row], part[row])
    agreement = register(first, second, placement, part, in_place=in_place)
    same = np.flatnonzero(agreement.same)
    agreement.same[same] = coloured_alike(colours[0, same], colours[1, same], agreement.placement[same], part[same])
    return agreement


def _beyond(there: NDArray[np.float32], here: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the whole first picture lies in the second, when the window `here` of it is the window `there`."""
    edges = []
    for low, high, begin, end in ((*there[:2], *here[:2]), (*there[2:], *here[2:])):
        scale = (high - low) / (end - begin)
        edges += [low - begin * scale, low + (1 - begin) * scale]
    return np.array(edges, dtype=np.float32)


def _ends(candidates: CandidatePairs) -> list[tuple[int, int]]:
    return list(zip(candidates.first.tolist(), candidates.second.tolist(), strict=True))
