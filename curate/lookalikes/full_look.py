"""A picture as it is stored, at full scale: what tells which of two copies was made from the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.image import Encoding, decode, encoding_of

_FULL_SCALE = 1 << 16  # more pixels than any side has: no JPEG is reduced

Plane = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class FullLook:
    """The luma of a picture, upright, uint8[h, w], how the file holds it, and its format as `DecodedImage` names it."""

    luma: Plane
    encoding: Encoding
    format: str


def look_fully(data: bytes, path: str = "<bytes>") -> FullLook:
    """What a full look sees of a file's bytes. Raises `BrokenImage`."""
    image = decode(data, path=path, at_least=_FULL_SCALE, luma=True)
    return FullLook(np.asarray(image.pixels), encoding_of(data), image.format)
