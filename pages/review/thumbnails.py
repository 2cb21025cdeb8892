"""Small pictures for the page, kept beside the catalog by content; and whole ones of a size that a screen shows."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from curate.errors import UserError
from curate.files.atomic import write_cached
from curate.files.inside import inside
from curate.files.ours import WorkFolder
from curate.files.reading import read_file
from curate.image import BrokenImage, decode

SIDES: Final = (160, 320)
MOST_SIDE: Final = 2048

FOLDER: Final = ".florilegium.thumbnails"
"""Where they are kept: hidden, so that no folder of it is taken for a class."""

MOST_BYTES: Final = 512 << 20
"""Thumbnails that are kept: 50,000 of 160 pixels take about 300 MB."""

_MOST_READ: Final = 64 << 10
_QUALITY: Final = 82
_LOSSLESS: Final = {"PNG", "GIF", "BMP", "DIB", "PPM", "TGA", "QOI", "SGI", "PCX", "ICO"}
_FEW_PIXELS: Final = 1 << 20


@dataclass(frozen=True)
class Drawn:
    """An encoded picture, its media type, and whether it is of the content that was asked for: else it is not kept."""

    data: bytes
    kind: str
    is_certain: bool = True


class Thumbnails:
    """The cache of one dataset, at most `most_bytes` large. Safe to be used by several threads and processes."""

    def __init__(self, home: Path, most_bytes: int = MOST_BYTES) -> None:
        self._work = WorkFolder(home / FOLDER)
        self._most_bytes = most_bytes
        self._folder: Path | None = None
        with suppress(UserError):  # without a cache each is drawn when it is asked for
            self._folder = self._work.make()
        self._written = 0
        self.tidy()

    def of(self, root: Path, path: str, sha256: str, side: int) -> Drawn:
        """A picture that fits into a square of `side` pixels, as JPEG; a drawn placeholder for one without pixels."""
        if (kept := self._kept(sha256, side)) is not None:
            return Drawn(kept, "image/jpeg")
        try:
            data = read_file(inside(root, path))
            image = decode(data, path=path, at_least=side)
        except (BrokenImage, OSError, UserError):
            return placeholder(side)
        encoded = _fitted(image.pixels, side)
        certain = hashlib.sha256(data).hexdigest() == sha256
        if certain:
            self._keep(sha256, side, encoded)
        return Drawn(encoded, "image/jpeg", certain)

    def tidy(self) -> None:
        """Remove those that were looked at longest ago, until the others take no more than three quarters of the most
        bytes.
        """
        self._written = 0
        found = sorted(self._files())
        left = sum(size for _, size, _ in found)
        if left <= self._most_bytes:
            return
        for _, size, name in found:
            if left <= self._most_bytes * 3 // 4:
                return
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - a scan's own name
            left -= size

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """(when it was last looked at, bytes, path) of each."""
        if self._folder is None:
            return
        with suppress(OSError):
            for part in os.scandir(self._folder):
                if part.is_dir(follow_symlinks=False):
                    with suppress(OSError):
                        for entry in os.scandir(part.path):
                            status = entry.stat(follow_symlinks=False)
                            yield status.st_mtime, status.st_size, entry.path

    def _file(self, sha256: str, side: int) -> Path | None:
        if self._folder is None or len(sha256) != 64 or not sha256.isalnum():
            return None
        return self._folder / sha256[:2] / f"{sha256[2:]}-{side}.jpg"

    def _kept(self, sha256: str, side: int) -> bytes | None:
        file = self._file(sha256, side)
        if file is None:
            return None
        try:
            data = read_file(file, _MOST_READ * (side // SIDES[0]) ** 2)
        except OSError:
            return None
        if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
            return None
        with suppress(OSError):
            os.utime(file)
        return data

    def _keep(self, sha256: str, side: int, data: bytes) -> None:
        file = self._file(sha256, side)
        if file is None:
            return
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)  # of a dataset that was renamed under the page nothing is made again
            write_cached(file, data)
            self._written += len(data)
        if self._written > self._most_bytes // 4:
            self.tidy()


def whole(root: Path, path: str, sha256: str) -> Drawn:
    """A picture of at most `MOST_SIDE` pixels a side, upright; as PNG where it is small and was stored without loss."""
    try:
        data = read_file(inside(root, path))
        image = decode(data, path=path, at_least=MOST_SIDE)
    except (BrokenImage, OSError, UserError):
        return placeholder(SIDES[-1])
    pixels = image.pixels
    certain = hashlib.sha256(data).hexdigest() == sha256
    if max(pixels.size) > MOST_SIDE:
        pixels.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    if image.format in _LOSSLESS and pixels.width * pixels.height <= _FEW_PIXELS:
        return Drawn(_encoded(pixels, "PNG", optimize=False), "image/png", certain)
    return Drawn(_encoded(pixels, "JPEG", quality=90), "image/jpeg", certain)


def placeholder(side: int) -> Drawn:
    """A grey square with a cross through it, in place of a picture that has no pixels to show."""
    drawn = Image.new("RGB", (side, side), "#8a8a86")
    draw = ImageDraw.Draw(drawn)
    draw.line((0, 0, side, side), "#6f6f6b", max(2, side // 60))
    draw.line((0, side, side, 0), "#6f6f6b", max(2, side // 60))
    return Drawn(_encoded(drawn, "JPEG", quality=_QUALITY), "image/jpeg", is_certain=False)


def _fitted(pixels: Image.Image, side: int) -> bytes:
    pixels.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _encoded(pixels, "JPEG", quality=_QUALITY)


def _encoded(pixels: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    pixels.save(stream, kind, **options)
    return stream.getvalue()
