"""How large options may be: beyond, memory would run out, or a library would fail in its own words."""

from typing import Final

MOST_VIEWS: Final = 64
"""An epoch shows one view of each picture, and no recipe has more than 60 epochs, so more would not all be seen; the
mean of a prediction has settled long before. All views of a picture are in memory at once: 64 of 224 pixels are 10 MB.
"""

MOST_CLASSES: Final = 1_000_000

MAX_CROP: Final = 4096
"""Pixels a side, and twice that for the short side: a picture of more takes gigabytes on its way through a network."""
