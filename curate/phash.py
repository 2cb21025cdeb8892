"""Perceptual hashes, and all pairs of them within a radius."""

import numpy as np
from PIL import Image
from scipy.fft import dct


def phash(pixels: Image.Image) -> int:
    """64-bit pHash, bit for bit that of `imagehash.phash` on the same pixels."""
    grey = np.asarray(pixels.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dct(dct(grey, axis=0), axis=1)[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")
