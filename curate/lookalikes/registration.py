"""The second look at two pictures: lay one over the other, and see whether the fine detail agrees too.

Two strangers may have one pHash: it says where a picture is light and where dark. What it never saw is the detail,
so that is independent evidence, if only the two lie on each other to within a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.fingerprint import SIDE
from curate.parallel import ordered_map

Lumas = NDArray[np.uint8]
Floats = NDArray[np.float32]

MIN_DETAIL = 0.88
"""Correlation of the detail. Among real photographs strangers within 14 bits stay below 0.82 (two orchids of one
species, each before black), and copies, heavily edited ones too, above 0.89; benchmarks/README.md has the table.
"""

MIN_WHOLE = 0.85
_MIN_TEXTURE = 0.5  # levels: with less, the detail is what rounding and compression left
_MIN_COMMON = 0.25
_FARTHEST = 0.06  # frames that an edge may move from where it was guessed
_CERTAIN = 0.97  # correlation of the detail where it was guessed: above, registering is not needed
_HOPELESS = 0.5  # correlation of the luma where it was guessed: below, registering is not tried

_COARSE, _FINE = (2.0, 8.0), (0.7, 3.0)  # band-pass: one Gaussian less another, by their widths in pixels
_STEPS = ((_COARSE, 4), (_FINE, 3))
_GUESS_RIM = 2.5 / SIDE  # what the guess may be wrong by, and is left out while it is
_RIM = 1.5 / SIDE
_STRIDE = 0.02  # frames that an edge moves in one step, at most
_CLIP = 2.0  # standard deviations
_BATCH = 64  # pairs at once: their arrays stay in the cache

IDENTITY = (0.0, 1.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How p pairs of pictures agree where they overlap, once registered.

    `placement` float32[p, 4] is (left, right, top, bottom) of the first picture's frame in the second's, where the
    second's is 0…1. `whole` float32[p] is the correlation of their luma, `detail` float32[p] that of the frequencies
    above those of a pHash. `texture` float32[p] is the smaller standard deviation of that detail in levels, `common`
    float32[p] the share of the first's frame that was compared. `same` bool[p] is the verdict.
    """

    placement: Floats
    whole: Floats
    detail: Floats
    texture: Floats
    common: Floats
    same: NDArray[np.bool_]


def register(first: Lumas, second: Lumas, placement: Floats, part: Floats, *, in_place: bool = False) -> Agreement:
    """Refine where each first picture lies in its second, and compare the two there.

    `first` and `second` are uint8[p, 64, 64]; `placement` float32[p, 4] is the guess to start from, which may be off
    by about 2% of the frame; `part` float32[p, 4] says which part of the first picture to compare at all. `in_place`
    says that the guess is the whole of both, and stays.

    Method: Gauss–Newton on offset and scale of both axes (Lucas and Kanade, IJCAI 1981) with the gain of the luma
    projected out, on a band of low frequencies first and of higher ones after.
    """
    batches = [slice(start, start + _BATCH) for start in range(0, max(1, len(first)), _BATCH)]
    parts = list(ordered_map(lambda b: _register(first[b], second[b], placement[b], part[b], in_place), batches))
    placed, whole, detail, texture, common = (np.concatenate(found) for found in zip(*parts, strict=True))
    near = np.abs(placed - placement).max(axis=1, initial=0) <= _FARTHEST
    same = near & (whole >= MIN_WHOLE) & (detail >= MIN_DETAIL) & (texture >= _MIN_TEXTURE) & (common >= _MIN_COMMON)
    return Agreement(placed, whole, detail, texture, common, same)


def _register(first: Lumas, second: Lumas, guess: Floats, part: Floats, in_place: bool) -> tuple[Floats, ...]:
    a, b = first.astype(np.float32), second.astype(np.float32)
    placement = guess.astype(np.float32)
    results = tuple(np.zeros(len(a), np.float32) for _ in range(4))

    def compare(chosen: NDArray[np.intp]) -> None:
        there = b[chosen] if in_place else warp(b[chosen], placement[chosen])
        found = _compare(a[chosen], there, overlap(placement[chosen], part[chosen], _RIM))
        for result, values in zip(results, found, strict=True):
            result[chosen] = values

    there = b if in_place else warp(b, placement)
    results[0][:] = _whole(a, there, overlap(placement, part, _GUESS_RIM))
    hopeful = np.flatnonzero(results[0] >= (MIN_WHOLE if in_place else _HOPELESS))
    compare(hopeful)
    # What agrees so well already needs no refining: a copy that fills the frame as its original does.
    doubtful = hopeful[results[1][hopeful] < _CERTAIN]
    if len(doubtful) and not in_place:
        placement[doubtful] = refine(a[doubtful], b[doubtful], placement[doubtful], part[doubtful])
        compare(doubtful)
    return placement, *results


def refine(
    a: Floats, b: Floats, placement: Floats, part: Floats, schedule: Sequence[tuple[tuple[float, float], int]] = _STEPS
) -> Floats:
    """Refine where each first luma float32[p, side, side] lies in its second: `placement` float32[p, 4] → the same.

    `schedule` names the bands, by the widths in pixels of the two Gaussians whose difference passes them, and how many
    steps to take in each.
    """
    for band, steps in schedule:
        mask = overlap(placement, part, _GUESS_RIM, a.shape[-1])
        fixed = _band(a, mask, band)
        for _ in range(steps):
            placement = _step(fixed, _band(warp(b, placement), mask, band), mask, placement)
    return placement


def _compare(a: Floats, b: Floats, mask: tuple[Floats, Floats]) -> tuple[Floats, ...]:
    """(whole, detail, texture, common) of pictures that lie on each other."""
    return _whole(a, b, mask), *_detail(a, b, mask), mask[0].mean(axis=1) * mask[1].mean(axis=1)


@lru_cache(maxsize=8)
def _grid(side: int) -> Floats:
    return ((np.arange(side) + 0.5) / side).astype(np.float32)


@lru_cache(maxsize=16)
def gaussian(width: float, side: int) -> Floats:
    """The weights of a Gaussian of that width round each of so many pixels of a line: float32[side, side]."""
    distance = np.arange(side)[:, None] - np.arange(side)
    return np.exp(-0.5 * (distance / width) ** 2).astype(np.float32)


def overlap(placement: Floats, part: Floats, rim: float, side: int = SIDE) -> tuple[Floats, Floats]:
    """Where the two overlap, in the first one's frame: its columns and its rows, float32[p, side] of 0 and 1 each.

    `rim` is what is left out along the edges of either picture, in frames.
    """
    here = _grid(side)
    masks = []
    for axis in (0, 2):
        low, high = placement[:, axis, None], placement[:, axis + 1, None]
        begin, end = part[:, axis, None] + rim, part[:, axis + 1, None] - rim
        there = low + (high - low) * here
        masks.append(((there > rim) & (there < 1 - rim) & (here > begin) & (here < end)).astype(np.float32))
    return masks[0], masks[1]


def _band(images: Floats, mask: tuple[Floats, Floats], band: tuple[float, float]) -> Floats:
    """Band-pass what lies under the mask, as if there were nothing beside it; 0 elsewhere."""
    columns, rows = mask
    smooth = []
    for width in band:
        kernel = gaussian(width, images.shape[-1])
        across, down = (kernel * m[:, None, :] / np.maximum(m @ kernel, 1e-6)[:, :, None] for m in (columns, rows))
        smooth.append(down @ images @ across.transpose(0, 2, 1))
    passed: Floats = (smooth[0] - smooth[1]) * rows[:, :, None] * columns[:, None, :]
    return passed


def _sampling(low: Floats, high: Floats, side: int) -> Floats:
    """Linear interpolation at so many places between `low` and `high`: float32[p, side, side], rows are places."""
    at = (low[:, None] + (high - low)[:, None] * _grid(side)) * side - 0.5
    at = np.clip(at, 0, side - 1)
    weights: Floats = np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(side, dtype=np.float32)))
    return weights


def warp(images: Floats, placement: Floats) -> Floats:
    """What lies at `placement` float32[p, 4] of the images float32[p, side, side], at the size of the whole."""
    left, right, top, bottom = (placement[:, edge] for edge in range(4))
    side = images.shape[-1]
    down, across = _sampling(top, bottom, side), _sampling(left, right, side)
    warped: Floats = np.matmul(np.matmul(down, images), across.transpose(0, 2, 1), dtype=np.float32)
    return warped


def _step(fixed: Floats, moving: Floats, mask: tuple[Floats, Floats], placement: Floats) -> Floats:
    """One Gauss–Newton step of the four edges."""
    n = len(fixed)
    inner = [m * np.roll(m, 1, axis=1) * np.roll(m, -1, axis=1) for m in mask]  # where differences are whole
    weight = inner[1][:, :, None] * inner[0][:, None, :]
    down, across = np.gradient(moving, axis=(1, 2))
    gain = (fixed * moving).sum(axis=(1, 2)) / np.maximum((fixed * fixed).sum(axis=(1, 2)), 1e-6)
    error = (fixed * gain[:, None, None] - moving) * weight
    side = fixed.shape[-1]
    at = _grid(side)
    # How the warped picture changes as its left, right, top and bottom edges move by one frame of the first.
    moves = np.stack([across * (1 - at), across * at, down * (1 - at)[:, None], down * at[:, None]], axis=1)
    moves = (moves * (side * weight[:, None])).reshape(n, 4, -1)
    curvature = moves @ moves.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(curvature, axis1=1, axis2=2) + 1e-3
    curvature += np.eye(4, dtype=np.float32) * ridge[:, None, None]
    step = np.linalg.solve(curvature, moves @ error.reshape(n, -1, 1))[:, :, 0]
    size = np.repeat(placement[:, 1::2] - placement[:, ::2], 2, axis=1)
    moved: Floats = placement + np.clip(step, -_STRIDE, _STRIDE) * size
    return moved


def _correlation(a: Floats, b: Floats) -> Floats:
    spread = np.sqrt(np.einsum("pij,pij->p", a, a) * np.einsum("pij,pij->p", b, b))
    correlation: Floats = np.einsum("pij,pij->p", a, b) / np.maximum(spread, 1e-6)
    return correlation


def _whole(a: Floats, b: Floats, mask: tuple[Floats, Floats]) -> Floats:
    """Correlation of the luma under the mask."""
    area = mask[1][:, :, None] * mask[0][:, None, :]
    n = np.maximum(area.sum(axis=(1, 2)), 1)
    a, b = ((x - (np.einsum("pij,pij->p", x, area) / n)[:, None, None]) * area for x in (a, b))
    return _correlation(a, b)


def _detail(a: Floats, b: Floats, mask: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Correlation of the detail under the mask, and the smaller of the two standard deviations."""
    n = np.maximum(mask[0].sum(axis=1) * mask[1].sum(axis=1), 1)
    clipped, spreads = [], []
    for fine in (_band(a, mask, _FINE), _band(b, mask, _FINE)):
        spread = np.sqrt(np.einsum("pij,pij->p", fine, fine) / n)
        # No single edge may decide: the outline of one flower before a black ground is like another's.
        limit = (_CLIP * spread)[:, None, None]
        clipped.append(np.clip(fine, -limit, limit))
        spreads.append(spread)
    return _correlation(clipped[0], clipped[1]), np.minimum(spreads[0], spreads[1])
