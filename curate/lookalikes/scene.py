"""Whether two pictures show one scene: patches of one are found again in the other, in one arrangement and detail.

Two shots of one flower differ by what a moved camera does: shift, scale, light, and parallax, which no one placement of
a whole frame undoes. So it is patches that are looked for: coarsely anywhere, where many of them must agree on how the
camera moved, and then finely where that says. Another flower of its kind has its outline, and not its detail.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from curate.image import decode

SCENE_SIDE: Final = 256
"""Pixels of each side of a picture in which a scene is looked for, whatever its shape."""

LEAST_SIDE: Final = 128
"""Pixels of the shorter side below which a picture has too little detail to tell one scene from its like."""

LEAST_AGREEING: Final = 20
"""Patches, of 81, that must agree on how the camera moved: two shots have 33 and more, 90% of strangers 14 at most."""

LEAST_FINE: Final = 48
"""Patches, of 196, with detail both across and down that both pictures must show."""

LEAST_CORRELATION: Final = 0.6
"""The lower quartile of these patches' correlations, at least.

Of 100 drawn pairs of shots the least has 0.80, real ones have 0.41 to 0.97; of the 7,397 pairs of nearest neighbours
among 1,613 photographs of flowers none of two scenes has more than 0.46. benchmarks/README.md has the figures.
"""

MOST_EVEN: Final = 0.35
"""Share of pixels that equal their neighbours, beyond which a picture was drawn, and not taken.

It has no grain that would tell one scene from its like: codes, pages and enlarged digits fit each other's patches. Of
photographs 90% have 0.10 at most.
"""

_COARSE_SIDE = 64
_COARSE_PATCH, _COARSE_STEP = 16, 6
_FINE_PATCH, _FINE_STEP = 20, 16
_REACH = 9  # pixels, of 256, that parallax may move a patch by
_BAND = 0.7, 3.0  # widths in pixels of two Gaussians, whose difference is the detail
_COARSE_DETAIL, _FINE_DETAIL = 1.0, 1.5  # levels: patches with less of it are empty
_TWO_WAYS = 0.08  # the lesser of a patch's two principal gradients, as a share of the greater: an edge has 0
_BEST = 24  # patches, whose pairs each propose how the camera moved
_TOLERANCE = 3.0  # pixels, of 64
_FARTHEST_APART = 10.0  # pixels, of 64, between two patches that propose a motion, at least
_SCALES = 0.75, 1.33
_MOST_TURN = 0.3  # as the tangent

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SceneLook:
    """What is seen of a picture: luma uint8[256, 256], and the pixels of its shorter side at full scale."""

    luma: NDArray[np.uint8]
    short_side: int

    @property
    def tells(self) -> bool:
        """Whether the picture has the detail that tells a scene from its like: it is large enough, and not drawn."""
        if self.short_side < LEAST_SIDE:
            return False
        inner = self.luma[1:, 1:]
        even = (inner == self.luma[:-1, 1:]) & (inner == self.luma[1:, :-1])
        return bool(even.mean() <= MOST_EVEN)


def look_for_scene(data: bytes, path: str = "<bytes>") -> SceneLook:
    """What is seen of a file's bytes. Raises `BrokenImage`."""
    image = decode(data, path=path, at_least=SCENE_SIDE)
    size = (SCENE_SIDE, SCENE_SIDE)
    luma = np.asarray(image.pixels.convert("L").resize(size, Image.Resampling.HAMMING, box=image.box))
    return SceneLook(luma, min(image.width, image.height))


def are_one_scene(first: SceneLook, second: SceneLook) -> bool:
    """Whether two pictures are two shots of one scene, for all that their detail tells."""
    if not (first.tells and second.tells):
        return False
    motion = motion_between(first.luma, second.luma)
    if motion is None:
        return False
    correlations = fine_correlations(first.luma, second.luma, motion)
    return len(correlations) >= LEAST_FINE and bool(np.quantile(correlations, 0.25) >= LEAST_CORRELATION)


def motion_between(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats | None:
    """Where a point (x, y, 1) of the first lies in the second: float32[3, 2] in frames, 0…1; None where too few agree.

    Each patch of the first is looked for all over the second by normalised correlation. Each two of the best say how
    the camera moved, by shift, scale and a little turn; the motion with which most agree is fitted to those.
    """
    found, score = _found_again(_halved_twice(first), _halved_twice(second))
    start = _starts(_COARSE_SIDE, _COARSE_PATCH, _COARSE_STEP).astype(np.float32)
    agreeing = _largest_agreement(start, found, score)
    if np.count_nonzero(agreeing) < LEAST_AGREEING:
        return None
    middle = _COARSE_PATCH / 2
    here, there = ((points[agreeing] + middle) / _COARSE_SIDE for points in (start, found))
    fitted = np.linalg.lstsq(np.column_stack([here, np.ones(len(here))]), there, rcond=None)[0]
    return fitted.astype(np.float32)


def fine_correlations(first: NDArray[np.uint8], second: NDArray[np.uint8], motion: Floats) -> Floats:
    """The correlation of each patch of the first that both show with its like in the second, float32[k].

    The second is laid on the first by `motion`; parallax may have moved a patch by a little more.
    """
    laid, shown = _laid_on(second, motion)
    mine, other = _detail(first.astype(np.float32)), np.where(shown, _detail(laid), 0)
    starts = _starts(SCENE_SIDE, _FINE_PATCH, _FINE_STEP)
    inner = (starts >= _REACH).all(axis=1) & (starts <= SCENE_SIDE - _FINE_PATCH - _REACH).all(axis=1)
    wide = _FINE_PATCH + 2 * _REACH
    correlations = []
    for x, y in starts[inner].tolist():
        around = slice(y - _REACH, y - _REACH + wide), slice(x - _REACH, x - _REACH + wide)
        patch = mine[y : y + _FINE_PATCH, x : x + _FINE_PATCH]
        if not shown[around].all() or patch.std() < _FINE_DETAIL or not _changes_both_ways(patch):
            continue
        windows = sliding_window_view(other[around], (_FINE_PATCH, _FINE_PATCH)).reshape(-1, _FINE_PATCH**2)
        correlations.append(float((_normed(windows, _FINE_DETAIL) @ _normed(patch.reshape(1, -1), 0)[0]).max()))
    return np.array(correlations, np.float32)


def _halved_twice(luma: NDArray[np.uint8]) -> Floats:
    quarter = SCENE_SIDE // _COARSE_SIDE
    halved: Floats = luma.reshape(_COARSE_SIDE, quarter, _COARSE_SIDE, quarter).mean(axis=(1, 3), dtype=np.float32)
    return halved


@lru_cache(maxsize=4)
def _starts(side: int, patch: int, step: int) -> NDArray[np.int32]:
    """The (x, y) of the upper left corners of all patches: int32[k, 2]."""
    along = np.arange(0, side - patch + 1, step, dtype=np.int32)
    down, across = np.meshgrid(along, along, indexing="ij")
    return np.column_stack([across.ravel(), down.ravel()])


def _detail(plane: Floats) -> Floats:
    fine, wide = (gaussian_filter(plane, width) for width in _BAND)
    return np.asarray(fine - wide, np.float32)


def _normed(patches: Floats, least: float) -> Floats:
    """Patches float32[k, d] of mean 0 and length 1; 0 throughout where the deviation is less than `least` levels."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("kd,kd->k", centred, centred))
    empty = length <= max(least * patches.shape[1] ** 0.5, 1e-6)
    return np.asarray(np.where(empty[:, None], 0, centred / np.maximum(length, 1e-6)[:, None]), np.float32)


def _found_again(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Of each patch of the first: the (x, y) in the second where it fits best, float32[k, 2], and how well."""
    span = _COARSE_SIDE - _COARSE_PATCH + 1
    mine, other = (
        _normed(
            sliding_window_view(_detail(plane), (_COARSE_PATCH, _COARSE_PATCH)).reshape(span**2, -1), _COARSE_DETAIL
        )
        for plane in (first, second)
    )
    across, down = _starts(_COARSE_SIDE, _COARSE_PATCH, _COARSE_STEP).T
    scores = mine[down * span + across] @ other.T
    best = scores.argmax(axis=1)
    return np.column_stack([best % span, best // span]).astype(np.float32), scores[np.arange(len(best)), best]


def _largest_agreement(start: Floats, found: Floats, score: Floats) -> NDArray[np.bool_]:
    """Which patches agree on the motion that most agree on, weighed by how well they fit: bool[k]."""
    best = np.argsort(-score, kind="stable")[:_BEST]
    some, others = (best[side] for side in np.triu_indices(len(best), 1))
    (x, y), (u, v) = (start[others] - start[some]).T, (found[others] - found[some]).T
    apart = np.maximum(x * x + y * y, 1e-6)
    along, turn = (x * u + y * v) / apart, (x * v - y * u) / apart
    scale = np.hypot(along, turn)
    likely = (apart >= _FARTHEST_APART**2) & (scale > _SCALES[0]) & (scale < _SCALES[1])
    likely &= np.abs(turn) <= _MOST_TURN * scale
    some, along, turn = some[likely], along[likely, None], turn[likely, None]
    if not len(some):
        return np.zeros(len(start), np.bool_)
    dx, dy = (start[None] - start[some][:, None]).transpose(2, 0, 1)
    off_x, off_y = (found[None] - found[some][:, None]).transpose(2, 0, 1)
    agree = (off_x - along * dx + turn * dy) ** 2 + (off_y - turn * dx - along * dy) ** 2 < _TOLERANCE**2
    agree &= score > 0
    return np.asarray(agree[int((agree * score).sum(axis=1).argmax())], np.bool_)


def _laid_on(second: NDArray[np.uint8], motion: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The second as the first's camera would have seen it, and where it shows anything."""
    matrix = motion[:2].T[::-1, ::-1].astype(np.float64)  # rows first, as arrays have it
    middle = np.full(2, 0.5)
    offset = matrix @ middle + motion[2, ::-1].astype(np.float64) * SCENE_SIDE - middle
    plane = second.astype(np.float32)
    laid = affine_transform(plane, matrix, offset, order=1, mode="nearest")
    at = [np.arange(SCENE_SIDE)[:, None], np.arange(SCENE_SIDE)[None, :]]
    places = [matrix[axis, 0] * at[0] + matrix[axis, 1] * at[1] + offset[axis] for axis in (0, 1)]
    shown = np.logical_and.reduce([(place >= 0) & (place <= SCENE_SIDE - 1) for place in places])
    return laid, shown


def _changes_both_ways(patch: Floats) -> bool:
    """Whether a patch has detail across and down: along a mere edge it would fit anywhere (Shi and Tomasi 1994)."""
    down, across = np.gradient(patch)
    xx, yy, xy = float((across**2).sum()), float((down**2).sum()), float((across * down).sum())
    middle, spread = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    return middle - spread >= _TWO_WAYS * (middle + spread)
