"""Pictures that tests draw for themselves."""

import numpy as np
from PIL import Image


def scene(seed: int, width: int = 192, height: int = 128) -> Image.Image:
    """A picture with light and detail at every scale, of which no two seeds look alike."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pixels += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), dtype=float) / cells**0.5
    pixels -= pixels.min()
    return Image.fromarray((pixels * (255 / pixels.max())).astype(np.uint8))
