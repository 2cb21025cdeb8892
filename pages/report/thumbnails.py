"""Pictures made small and put into the page itself, as long as it stays small enough."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from curate.image import BrokenImage, load_pixels
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.rendering import thumbnail

SIDE: Final = 160
"""Pixels of the longer side."""

MOST_BYTES: Final = 15_000_000
"""Of all pictures in a page, as they stand in it: with words and tables it stays below 20 MB."""

_QUALITY: Final = 74


@dataclass(frozen=True)
class Thumbnail:
    """A picture at its own aspect as a `data:` URI, or why there is none."""

    uri: str = ""
    width: int = 0
    height: int = 0
    why_not: str = ""


def make_thumbnails(files: Sequence[Path], progress: Progress = silent) -> tuple[Mapping[Path, Thumbnail], int]:
    """A thumbnail of each file, and how many were left out so that the page stays small.

    A file that is named several times stands in the page several times. The first ones come first.
    """
    times = Counter(files)
    unique = list(times)
    made: dict[Path, Thumbnail] = {}
    left_out, taken = 0, 0
    with progress("Drawing small pictures", len(unique)) as advance:
        for file, drawn in zip(unique, ordered_map(_thumbnail, unique), strict=True):
            advance(1)
            size = len(drawn.uri) * times[file]
            if taken + size > MOST_BYTES:
                left_out += 1
                made[file] = Thumbnail(why_not="left out, so that this file stays small")
                continue
            taken += size
            made[file] = drawn
    return made, left_out


def _thumbnail(file: Path) -> Thumbnail:
    try:
        small = thumbnail(load_pixels(file, at_least=SIDE), SIDE, SIDE)
    except BrokenImage as broken:
        return Thumbnail(why_not=broken.reason)
    stream = BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{data}", *small.size)
