"""Other views of a training picture: turned, cropped, mirrored and changed, each drawn from its own seed."""

import hashlib
import json
import math
import random
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from train.features.preprocessing import INTERPOLATIONS, Preprocessing
from train.features.randaugment import FILL, randaugment
from train.options import AugmentationSettings

# Raised when the pixels of a view change for the same seed, so that no bank keeps features of the old ones.
VIEWS_VERSION: Final = 1

_LATER: Final = {"flip_vertical", "hue", "randaugment", "magnitude"}


@dataclass(frozen=True)
class Augmentation(AugmentationSettings):
    """`AugmentationSettings`, and the views that are drawn by them."""

    def digest(self) -> str:
        """Eight hex digits that name this recipe for views, and the code that draws them."""
        # What came later is left out where it does nothing: the views are those from before
        told = self.to_dict() if self.randaugment else {**self.to_dict(), "magnitude": 0}
        settings = {key: value for key, value in told.items() if value or key not in _LATER}
        text = json.dumps([VIEWS_VERSION, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def view(self, picture: Image.Image, preprocessing: Preprocessing, draw: int) -> NDArray[np.uint8]:
        """One view, (crop, crop, 3) 8-bit RGB; the same for the same picture and `draw` on every machine.

        A square of random size and angle is placed anywhere it lies wholly inside the picture, and is scaled to the
        network's size with antialiasing before it is turned.
        """
        source = random.Random(draw)
        if preprocessing.squash and picture.width != picture.height:
            short = min(picture.size)
            picture = picture.resize((short, short), INTERPOLATIONS[preprocessing.interpolation])
        angle = math.radians(source.uniform(-self.rotation, self.rotation))
        size, across, down, flipped = (source.random() for _ in range(4))
        width, height = picture.size
        short = min(width, height)
        # A turned square of side s fills a box of side s · spread, and that box has to fit
        spread = abs(math.cos(angle)) + abs(math.sin(angle))
        largest = short / spread
        side = min(largest, short * (self.smallest + (1 - self.smallest) * size))
        box = side * spread
        left, top = (max(0.0, share * (room - box)) for share, room in ((across, width), (down, height)))
        scaled = max(1, math.ceil(preprocessing.crop * spread))
        region = (left, top, min(width, left + box), min(height, top + box))
        square = picture.resize((scaled, scaled), INTERPOLATIONS[preprocessing.interpolation], box=region)
        turned = _turn(square, angle, preprocessing.crop, scaled / spread, mirrored=flipped < self.flip)
        if self.jitter:
            turned = _jittered(turned, source, self.jitter)
        if self.hue:
            turned = _hue_turned(turned, source.uniform(-self.hue, self.hue))
        if self.flip_vertical and source.random() < self.flip_vertical:
            turned = turned.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        turned = randaugment(turned, source, self.randaugment, self.magnitude)
        return np.asarray(turned, dtype=np.uint8)


def view_draw(seed: int, sha256: str, view: int | str) -> int:
    """The seed of one view: it depends on nothing else, so neither order, nor batch, nor number of workers matters."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{sha256}:{view}".encode()).digest()[:8], "big")


def _jittered(picture: Image.Image, source: random.Random, jitter: float) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(1 + source.uniform(-jitter, jitter))
    return picture


def _hue_turned(picture: Image.Image, share: float) -> Image.Image:
    """Every colour by a share of the circle of colours; greys stay."""
    hue, saturation, value = picture.convert("HSV").split()
    by = round(256 * share)
    turned = hue.point([(level + by) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _turn(square: Image.Image, angle: float, crop: int, side: float, *, mirrored: bool) -> Image.Image:
    """Cut the turned square of `side` pixels out of the middle of `square`, as crop × crop pixels."""
    scale = side / crop
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    mirror = -1.0 if mirrored else 1.0
    middle, half = square.width / 2, crop / 2
    # Pillow asks where an output pixel comes from
    matrix = (
        mirror * cosine, -sine, middle - mirror * cosine * half + sine * half,
        mirror * sine, cosine, middle - mirror * sine * half - cosine * half,
    )  # fmt: skip
    return square.transform(
        (crop, crop), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC, fillcolor=FILL
    )
