"""Whether there is detail in two pictures that bears out that one is a copy of the other, or a part of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.close_look import CloseLook
from curate.lookalikes.colour import YCC
from curate.lookalikes.planes import Floats, Mask, box_mean, halved, smoothed

_BEARING = 1.0, 4.0  # band of the detail that bears out where a part lies: widths of two Gaussians in pixels
_BORNE_OUT = 0.5  # its correlation: that of crops, also halved and saved at quality 25, is above 0.85, of chance 0.02
_DETAIL = 0.3  # levels, root mean square of a band, below which there is nothing but rounding
_OCTAVES = 2  # bands of detail, the second four times as wide; what is wider still, a lens may have done
_CONTRADICTED = 0.25  # correlation of detail below which it is another's: that of JPEGs of quality 25 of noise is 0.3
_MIDDLE = slice(48, 208)  # of rows and columns, far from borders and captions
_BUCKETS = 32, 16  # of a sketch
_UNLIKE = 0.125  # correlation of sketches, which err by 0.04, below which that of the bands is below `_CONTRADICTED`
_CALM = 2.0  # levels of the finest band, as the mean over 5 × 5, up to which two pictures are not registered anew


def is_borne_out(a: Floats, b: Floats, where: Mask, blur: float) -> bool:
    """Whether there is detail, fine or coarse, that both pictures have.

    Two fields of noise differ nowhere by more than their neighbouring pixels do, and two bare walls hardly at all:
    nothing in them tells a copy from another picture, unless the pixels are the same.
    """
    if np.array_equal(a, b):
        return True
    inside = where.astype(np.float32)
    for bands in zip(*(_octaves(x, blur) for x in (a, b)), strict=True):
        x, y = (band[inside == 1] for band in bands)
        powers = float(x @ x), float(y @ y)
        if min(powers) >= len(x) * _DETAIL**2 > 0:
            agreement = float(x @ y) / float(np.sqrt(powers[0] * powers[1]))
            if agreement >= _BORNE_OUT or agreement < _CONTRADICTED:
                return agreement >= _BORNE_OUT
        inside = halved(halved(inside))
    return False


def _octaves(pixels: Floats, blur: float) -> Iterator[Floats]:
    """The bands of a picture float32[256, 256, 3], from fine to wide: float32[256, 256], float32[64, 64]."""
    luma = _levelled(pixels @ YCC[0])
    for octave in range(_OCTAVES):
        fine = max(_BEARING[0], blur / 4**octave)
        yield smoothed(luma, fine) - smoothed(luma, max(_BEARING[1], 2 * fine))
        luma = halved(halved(luma))


@dataclass(frozen=True, eq=False)
class Detail:
    """What is known of a picture's detail before it is laid on another that fills the same frame.

    `powers` are the mean squares of its bands in levels². `whole` and `middle` float32[512] are sketches of the finest
    band, of length 1, or only 0 where it says too little. `pixels` is a digest of all that a close look sees.
    """

    powers: tuple[float, ...]
    whole: Floats
    middle: Floats
    pixels: bytes


def detail_of(look: CloseLook) -> Detail | None:
    """The detail of a picture; None where something is transparent, for that is compared on two grounds."""
    if look.on_black is not None:
        return None
    bands = list(_octaves(look.pixels.astype(np.float32), look.blur))
    powers = tuple(float(np.mean(band**2)) for band in bands)
    whole, middle = (_sketch(part) for part in (bands[0], bands[0][_MIDDLE, _MIDDLE]))
    if box_mean(np.abs(bands[0]), 5).max() > _CALM:
        whole, middle = np.zeros_like(whole), np.zeros_like(middle)
    return Detail(powers, whole, middle, hashlib.sha256(look.pixels.tobytes()).digest()[:8])


def _sketch(band: Floats) -> Floats:
    """A band float32[n, n] by so few numbers that their products tell of its correlation with others: float32[512].

    Pixels that lie far apart are added up with signs drawn once for all (Charikar, Chen and Farach-Colton, ICALP 2002),
    so that a few strong ones count as in the band itself.
    """
    signs = np.random.default_rng(band.shape).choice(np.array([-1, 1], np.float32), band.shape)
    rows, columns = (len(band) // count for count in _BUCKETS)
    sums: Floats = (band * signs).reshape(rows, _BUCKETS[0], columns, _BUCKETS[1]).sum(axis=(0, 2)).ravel()
    length = float(np.sqrt(np.sum(band**2)))
    return sums / np.float32(length) if length >= _DETAIL * len(band) else np.zeros_like(sums)


def may_be_borne_out(one: Detail, others: list[Detail]) -> NDArray[np.bool_]:
    """Which of n others a picture may be a copy of, for all that their detail tells: bool[n]; no copy is missing.

    Walls and noise come in crowds, of which each has to be looked at closely with each, unless this leaves it out.
    """
    if not others:
        return np.zeros(0, np.bool_)
    enough = np.array([detail.powers for detail in (one, *others)]) >= _DETAIL**2
    shared = enough[0] & enough[1:]
    unlike = shared[:, 0].copy()
    for part in ("whole", "middle"):
        sketches, sketch = np.array([getattr(detail, part) for detail in others]), getattr(one, part)
        unlike &= (sketches @ sketch < _UNLIKE) & sketches.any(axis=1) & bool(sketch.any())
    equal = np.array([detail.pixels == one.pixels for detail in others], np.bool_)
    may: NDArray[np.bool_] = equal | shared.any(axis=1) & ~unlike
    return may


def _levelled(luma: Floats) -> Floats:
    """A luma float32[n, n] without the plane that fits it best: light that falls off is on any wall."""
    axis = np.linspace(-1, 1, len(luma), dtype=np.float32)
    slopes = 1 / float((axis**2).mean())
    down, across = (float(axis @ luma.mean(axis=1 - along)) / len(axis) * slopes for along in (0, 1))
    level: Floats = luma - luma.mean() - down * axis[:, None] - across * axis
    return level


def is_part_borne_out(a: Floats, b: Floats, where: Mask, blur: float) -> bool:
    """Whether detail that changes across, and detail that changes down, is where it is in both pictures.

    Light that falls off over stripes fits any part of such a picture: along the stripes nothing tells where it lies.
    """
    fine, wide = max(_BEARING[0], blur), _BEARING[1]
    bands = [smoothed(luma, fine) - smoothed(luma, max(wide, 2 * fine)) for luma in (a @ YCC[0], b @ YCC[0])]
    for axis in (0, 1):
        changes = [np.diff(band if axis else band.T, axis=1) for band in bands]
        both = where if axis else where.T
        x, y = (change[both[:, 1:] & both[:, :-1]] for change in changes)
        if float(x @ y) < _BORNE_OUT * float(np.sqrt((x @ x) * (y @ y))) or not x.any():
            return False
    return True
