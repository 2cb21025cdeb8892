"""A picture as the close look sees it: at the scale of letters and labels, with what it hides and what follows it."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image import decode, further_frames
from curate.lookalikes.alignment import SIDEWAYS, Turn, turned

CLOSE_SIDE = 256
"""Pixels of each side of a picture at a close look, whatever its shape."""

_BLUR = 0.6  # the width of a Gaussian, in pixels of the picture or of the close look, whichever are larger

_FRAME_SIDE = 32
_FRAMES = 4  # of an animation that are looked at besides the first

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CloseLook:
    """A picture as a close look sees it.

    `pixels` is uint8[256, 256, 3] over white; `on_black` the same over black, or None where nothing is transparent.
    `frames` uint8[k, 32, 32, 3] are samples of the frames that follow in an animation, of which there are `further`.
    `width` and `height` are pixels of the upright picture at full scale.
    """

    pixels: Pixels
    width: int
    height: int
    on_black: Pixels | None = None
    frames: Pixels = field(default_factory=lambda: np.empty((0, _FRAME_SIDE, _FRAME_SIDE, 3), np.uint8))
    further: int = 0

    @property
    def blur(self) -> float:
        """The width of the Gaussian, in pixels of the close look, that leaves what the picture can hold."""
        return max(_BLUR, _BLUR * CLOSE_SIDE / min(self.width, self.height))

    def is_plain(self, most: int) -> bool:
        """Whether each channel keeps within `most` levels, with nothing transparent and nothing that follows."""
        spread = self.pixels.max(axis=(0, 1)).astype(np.int16) - self.pixels.min(axis=(0, 1))
        return self.on_black is None and not self.further and int(spread.max()) <= most

    def turned(self, turn: Turn) -> "CloseLook":
        """The picture turned; its further frames are not."""
        if turn is None:
            return self
        black = None if self.on_black is None else turned(self.on_black, turn)
        size = (self.height, self.width) if turn in SIDEWAYS else (self.width, self.height)
        return replace(self, pixels=turned(self.pixels, turn), on_black=black, width=size[0], height=size[1])


def look_closely(data: bytes, path: str = "<bytes>") -> CloseLook:
    """What a close look sees of a file's bytes. Raises `BrokenImage`."""
    image = decode(data, path=path, at_least=CLOSE_SIDE)
    black = decode(data, path=path, over="black").pixels if image.format != "JPEG" else image.pixels
    on_black = None if black is image.pixels or black.tobytes() == image.pixels.tobytes() else _square(black)
    further, frames = further_frames(data, _FRAMES)
    small = [np.asarray(frame.resize((_FRAME_SIDE, _FRAME_SIDE), Image.Resampling.BOX)) for frame in frames]
    look = CloseLook(_square(image.pixels, image.box), image.width, image.height, on_black, further=further)
    return replace(look, frames=np.stack(small)) if small else look


def _square(pixels: Image.Image, box: tuple[float, float, float, float] | None = None) -> Pixels:
    return np.asarray(pixels.resize((CLOSE_SIDE, CLOSE_SIDE), Image.Resampling.HAMMING, box=box))
