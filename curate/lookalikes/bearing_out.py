"""Whether there is detail in two pictures that bears out that one is a copy of the other, or a part of it."""

import numpy as np

from curate.lookalikes.colour import YCC
from curate.lookalikes.planes import Floats, Mask, halved, smoothed

_BEARING = 1.0, 4.0  # band of the detail that bears out where a part lies: widths of two Gaussians in pixels
_BORNE_OUT = 0.5  # its correlation: that of crops, also halved and saved at quality 25, is above 0.85, of chance 0.02
_DETAIL = 0.3  # levels, root mean square of a band, below which there is nothing but rounding
_OCTAVES = 2  # bands of detail, the second four times as wide; what is wider still, a lens may have done
_CONTRADICTED = 0.25  # correlation of detail below which it is another's: that of JPEGs of quality 25 of noise is 0.3


def is_borne_out(a: Floats, b: Floats, where: Mask, blur: float) -> bool:
    """Whether there is detail, fine or coarse, that both pictures have.

    Two fields of noise differ nowhere by more than their neighbouring pixels do, and two bare walls hardly at all:
    nothing in them tells a copy from another picture, unless the pixels are the same.
    """
    if np.array_equal(a, b):
        return True
    lumas, inside = [_levelled(x @ YCC[0]) for x in (a, b)], where.astype(np.float32)
    for _ in range(_OCTAVES):
        fine, wide = max(_BEARING[0], blur), _BEARING[1]
        bands = [smoothed(luma, fine) - smoothed(luma, max(wide, 2 * fine)) for luma in lumas]
        x, y = (band[inside == 1] for band in bands)
        powers = float(x @ x), float(y @ y)
        if min(powers) >= len(x) * _DETAIL**2 > 0:
            agreement = float(x @ y) / float(np.sqrt(powers[0] * powers[1]))
            if agreement >= _BORNE_OUT or agreement < _CONTRADICTED:
                return agreement >= _BORNE_OUT
        lumas, inside, blur = [halved(halved(luma)) for luma in lumas], halved(halved(inside)), blur / 4
    return False


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
