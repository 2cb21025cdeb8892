"""How one picture lies in another: turned or not, and where; alignments are inverted and composed."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.lookalikes.fingerprint import FRAMED, VARIANTS

Box = tuple[float, float, float, float]
Turn = Image.Transpose | None

_T = Image.Transpose
SIDEWAYS = frozenset({_T.TRANSPOSE, _T.TRANSVERSE, _T.ROTATE_90, _T.ROTATE_270})
"""The turns that exchange width and height."""

# Where a point (x, y) of a turned picture lies in the picture: (m, t) of m · (x, y) + t, its frame being 0…1.
_MAPS: dict[Turn, tuple[tuple[tuple[int, int], tuple[int, int]], tuple[int, int]]] = {
    None: (((1, 0), (0, 1)), (0, 0)),
    _T.FLIP_LEFT_RIGHT: (((-1, 0), (0, 1)), (1, 0)),
    _T.FLIP_TOP_BOTTOM: (((1, 0), (0, -1)), (0, 1)),
    _T.ROTATE_180: (((-1, 0), (0, -1)), (1, 1)),
    _T.TRANSPOSE: (((0, 1), (1, 0)), (0, 0)),
    _T.TRANSVERSE: (((0, -1), (-1, 0)), (1, 1)),
    _T.ROTATE_90: (((0, -1), (1, 0)), (1, 0)),
    _T.ROTATE_270: (((0, 1), (-1, 0)), (0, 1)),
}


@dataclass(frozen=True)
class Alignment:
    """Where a first picture lies in a second: at `box` (left, right, top, bottom) of the second turned by `turn`.

    The turned second's frame is 0…1 across and down; a box that reaches beyond it says that the first holds more.
    """

    turn: Turn = None
    box: Box = (0.0, 1.0, 0.0, 1.0)

    def inverse(self) -> "Alignment":
        """Where the second lies in the first."""
        matrix, shift = self._map()
        inverse = np.linalg.inv(matrix)
        return Alignment._of(inverse, -inverse @ shift)

    def then(self, other: "Alignment") -> "Alignment":
        """Where the first lies in a third, when the second lies there as `other` says."""
        (matrix, shift), (further, there) = self._map(), other._map()
        return Alignment._of(further @ matrix, further @ shift + there)

    def _map(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """From a point of the first to a point of the second."""
        left, right, top, bottom = self.box
        turned, shift = (np.array(part, np.float64) for part in _MAPS[self.turn])
        scale, offset = np.diag([right - left, bottom - top]), np.array([left, top])
        return turned @ scale, turned @ offset + shift

    @classmethod
    def _of(cls, matrix: NDArray[np.floating], shift: NDArray[np.floating]) -> Self:
        signs = np.rint(matrix / np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12)).astype(int)
        turn = next(turn for turn, (turned, _) in _MAPS.items() if np.array_equal(np.array(turned), signs))
        turned, corner = (np.array(part, np.float64) for part in _MAPS[turn])
        scale = (turned.T @ matrix).diagonal()  # a turn's matrix is orthogonal
        left, top = (turned.T @ (shift - corner)).tolist()
        return cls(turn, (left, left + float(scale[0]), top, top + float(scale[1])))


def turn_of(variant: int) -> Turn:
    """How a variant of `VARIANTS` turns a picture; None for a window into it."""
    return VARIANTS[variant].turned if variant >= len(FRAMED) else None


def unturned(plane: NDArray[np.uint8], turn: Turn) -> NDArray[np.uint8]:
    """The plane that, turned, is this one."""
    inverse = {_T.ROTATE_90: _T.ROTATE_270, _T.ROTATE_270: _T.ROTATE_90}
    return plane if turn is None else turned(plane, inverse.get(turn, turn))


def turned(plane: NDArray[np.uint8], turn: Turn) -> NDArray[np.uint8]:
    """A picture's plane, uint8[h, w] or uint8[h, w, 3], turned."""
    return plane if turn is None else np.asarray(Image.fromarray(plane).transpose(turn))
