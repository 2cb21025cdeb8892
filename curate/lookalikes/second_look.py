"""The second look at candidate pairs: decode the pictures, lay them over each other, and give the verdict."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image import DecodedImage
from curate.lookalikes.candidates import WHOLE, CandidatePairs
from curate.lookalikes.colour import CHROMA_SIDE, Chroma, chroma, coloured_alike
from curate.lookalikes.fingerprint import FRAMED, SIDE, VARIANTS, Luma, reduced, window_of
from curate.lookalikes.registration import IDENTITY, Agreement, register
from curate.parallel import ordered_map
from curate.progress import Progress, silent

_CHUNK = 8_192  # candidates whose pictures are held at once: at most 64 MiB of luma


@dataclass(frozen=True, eq=False)
class Look:
    """What a second look sees of a picture: its luma uint8[64, 64], chroma uint8[2, 16, 16], and shape in pixels."""

    luma: Luma
    chroma: Chroma
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What second looks found: `same` bool[c], and `detail` float32[c], the correlation it rests on (NaN: no look)."""

    same: NDArray[np.bool_]
    detail: NDArray[np.float32]


LOOK_AT_LEAST = 96
"""Pixels of the short side at which a JPEG is looked at a second time, which is finer than the first."""


def look_at(image: DecodedImage) -> Look:
    """What is seen of a picture, which may be reduced."""
    pixels = image.pixels
    return Look(reduced(pixels.convert("L"), image.box), chroma(pixels), pixels.width, pixels.height)


Looker = Callable[[int], Look | None]
"""Position of a picture → what is seen of it, or None where it can no longer be decoded."""


def look_again(candidates: CandidatePairs, look: Looker, progress: Progress = silent) -> Verdicts:
    """Whether each candidate is the same picture. Once a pair is, its other guesses are not looked at.

    A picture is decoded once, unless the web of candidates that it belongs to is larger than memory should be.
    """
    verdicts = _undecided(len(candidates))
    with progress("Comparing look-alikes", len(candidates)) as advance:
        for chunk in _chunks(candidates):
            part = candidates.take(chunk)
            found = _look_at(part, look)
            verdicts.same[chunk], verdicts.detail[chunk] = found.same, found.detail
            advance(len(chunk))
    return verdicts


def _undecided(n: int) -> Verdicts:
    return Verdicts(np.zeros(n, np.bool_), np.full(n, np.nan, np.float32))


def _chunks(candidates: CandidatePairs) -> Iterator[NDArray[np.intp]]:
    """Cut into chunks that share few pictures: what hangs together stays together, each pair's guesses in order."""
    if not len(candidates):
        return
    from scipy.sparse import coo_array  # takes a while to import
    from scipy.sparse.csgraph import connected_components

    pictures, ends = np.unique(np.concatenate([candidates.first, candidates.second]), return_inverse=True)
    first, second = ends.reshape(2, -1)
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(len(pictures), len(pictures)))
    component = connected_components(graph, directed=False)[1][first]
    order = np.argsort(component, kind="stable")
    for start in range(0, len(order), _CHUNK):
        yield order[start : start + _CHUNK]


def _look_at(candidates: CandidatePairs, look: Looker) -> Verdicts:
    pictures = np.unique(np.concatenate([candidates.first, candidates.second]))
    looks = dict(zip(pictures.tolist(), ordered_map(look, pictures.tolist()), strict=True))
    seen = np.array([looks[a] is not None and looks[b] is not None for a, b in _ends(candidates)], np.bool_)
    verdicts = _undecided(len(candidates))
    pairs, pair = np.unique(candidates.pair(), return_inverse=True)
    settled = np.zeros(len(pairs), dtype=np.bool_)
    turn = _turns(pair)
    for number in range(int(turn.max(initial=-1)) + 1):
        todo = np.flatnonzero((turn == number) & seen & ~settled[pair])
        if len(todo):
            agreement = _compare(candidates.take(todo), looks)
            verdicts.same[todo], verdicts.detail[todo] = agreement.same, agreement.detail
            settled[pair[todo[agreement.same]]] = True
    return verdicts


def _turns(pair: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which guess of its pair each candidate is, from 0."""
    order = np.argsort(pair, kind="stable")
    ranked = pair[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])[: len(ranked)])
    turn = np.empty(len(pair), dtype=np.intp)
    turn[order] = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return turn


def _compare(candidates: CandidatePairs, looks: dict[int, Look | None]) -> Agreement:
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
            second[row], colours[1, row] = turned(of_b.luma, variant), [turned(plane, variant) for plane in of_b.chroma]
        elif variant != WHOLE:
            placement[row] = window_of(variant, of_b.luma, of_b.width, of_b.height)
            if both:
                part[row] = window_of(variant, of_a.luma, of_a.width, of_a.height)
                placement[row] = _beyond(placement[row], part[row])
    agreement = register(first, second, placement, part)
    same = np.flatnonzero(agreement.same)
    agreement.same[same] = coloured_alike(colours[0, same], colours[1, same], agreement.placement[same], part[same])
    return agreement


def turned(luma: Luma, variant: int) -> Luma:
    """One plane of a picture, uint8[n, n], turned as a variant of `TURNED` says."""
    method = VARIANTS[variant].turned
    assert method is not None
    return np.asarray(Image.fromarray(luma).transpose(method))


def _beyond(there: NDArray[np.float32], here: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the whole first picture lies in the second, when the window `here` of it is the window `there`."""
    edges = []
    for low, high, begin, end in ((*there[:2], *here[:2]), (*there[2:], *here[2:])):
        scale = (high - low) / (end - begin)
        edges += [low - begin * scale, low + (1 - begin) * scale]
    return np.array(edges, dtype=np.float32)


def _ends(candidates: CandidatePairs) -> list[tuple[int, int]]:
    return list(zip(candidates.first.tolist(), candidates.second.tolist(), strict=True))
