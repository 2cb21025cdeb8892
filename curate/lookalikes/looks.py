"""What is seen of pictures by the coarse, close, full and small looks, each decoded when it is first asked for."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import numpy as np

from curate.files.reading import read_file
from curate.image import BrokenImage, decode, encoding_of
from curate.lookalikes.bearing_out import Detail, detail_of
from curate.lookalikes.close_look import CloseLook, look_closely
from curate.lookalikes.colour import Chroma, chroma
from curate.lookalikes.fingerprint import Luma, reduced
from curate.lookalikes.full_look import FullLook, look_fully
from curate.lookalikes.small_look import SmallLook, is_small, look_at_small

LOOK_AT_LEAST = 96
"""Pixels of the short side at which a JPEG is looked at coarsely."""

_SPREAD = 6  # levels between the least and the most of a channel, that saving one colour with loss may give
_ROUNDED = 2  # levels, by which it may change that colour

_COARSE_KEPT = 4096  # of 5 KB each
_SMALL_KEPT = 2048  # of 12 KB each
_CLOSE_KEPT = 256  # of 200 KB each
_FULL_KEPT = 16  # of a byte a pixel

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Look:
    """What the coarse look sees: luma uint8[64, 64], chroma uint8[2, 16, 16], and the size of what was decoded."""

    luma: Luma
    chroma: Chroma
    width: int
    height: int

    @property
    def is_small(self) -> bool:
        """Whether the picture is compared with other small ones at its own scale."""
        return is_small(self.width, self.height)


@dataclass(frozen=True)
class Plain:
    """What is seen of a picture of one colour: its red, green and blue, and whether the file keeps every pixel."""

    colour: tuple[int, int, int]
    lossless: bool

    def is_copy_of(self, other: "Plain") -> bool:
        """Whether the colours are one. What is saved with loss rounds its colour."""
        apart = max(abs(one - another) for one, another in zip(self.colour, other.colour, strict=True))
        return apart <= (0 if self.lossless and other.lossless else _ROUNDED)


def look_at_plain(data: bytes, path: str = "<bytes>") -> Plain | None:
    """What is seen of a file's bytes, None for a picture of several colours. Raises `BrokenImage`."""
    look, lossless = look_closely(data, path), encoding_of(data).lossless
    if not look.is_plain(0 if lossless else _SPREAD):
        return None
    red, green, blue = np.median(look.pixels, axis=(0, 1)).astype(int).tolist()
    return Plain((red, green, blue), lossless)


def look_at(data: bytes, path: str = "<bytes>") -> Look:
    """What the coarse look sees of a file's bytes. Raises `BrokenImage`."""
    image = decode(data, path=path, at_least=LOOK_AT_LEAST)
    pixels = image.pixels
    return Look(reduced(pixels.convert("L"), image.box), chroma(pixels), pixels.width, pixels.height)


class Looks:
    """Looks at pictures by their position. `read` gives a picture's bytes, or raises OSError.

    Each look is None for a picture that can no longer be read or decoded. Safe to be used by several threads.
    `unread` are the pictures that could not be read, and `path` gives the file of each, where they have files.
    """

    def __init__(self, read: Callable[[int], bytes], path: Callable[[int], Path] | None = None) -> None:
        self.unread: set[int] = set()
        self.path = path
        self._read = read
        self._coarse: _Kept[Look] = _Kept(_COARSE_KEPT)
        self._small: _Kept[SmallLook] = _Kept(_SMALL_KEPT)
        self._close: _Kept[CloseLook] = _Kept(_CLOSE_KEPT)
        self._plain: dict[int, Plain | None] = {}
        self._detail: dict[int, Detail | None] = {}
        self._full: _Kept[FullLook] = _Kept(_FULL_KEPT)

    @classmethod
    def at_files(cls, path: Callable[[int], Path]) -> "Looks":
        """At the pictures in these files."""
        return cls(lambda at: read_file(path(at)), path)

    def coarse(self, at: int) -> Look | None:
        """At 64 × 64; the last 4,096 are kept."""
        return self._coarse.get(at, lambda: self._seen(at, look_at))

    def close(self, at: int) -> CloseLook | None:
        """At 256 × 256; the last 256 are kept."""
        return self._close.get(at, lambda: self._seen(at, look_closely))

    def small(self, at: int) -> SmallLook | None:
        """A small picture at its own scale; the last 2,048 are kept."""
        return self._small.get(at, lambda: self._seen(at, look_at_small))

    def plain(self, at: int) -> Plain | None:
        """A picture of one colour; None for any other."""
        if at not in self._plain:
            self._plain[at] = self._seen(at, look_at_plain)
        return self._plain[at]

    def detail(self, at: int) -> Detail | None:
        """The detail of a picture; None where something in it is transparent."""
        if at not in self._detail:
            look = self.close(at)
            self._detail[at] = None if look is None else detail_of(look)
        return self._detail[at]

    def full(self, at: int) -> FullLook | None:
        """At full scale; the last 16 are kept."""
        return self._full.get(at, lambda: self._seen(at, look_fully))

    def _seen(self, at: int, look: Callable[[bytes], T | None]) -> T | None:
        try:
            data = self._read(at)
        except OSError:
            self.unread.add(at)
            return None
        try:
            return look(data)
        except (BrokenImage, OSError):
            return None


class _Kept(Generic[T]):
    """The last values that were asked for, by position."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[int, T | None] = OrderedDict()
        self._lock = Lock()

    def get(self, at: int, make: Callable[[], T | None]) -> T | None:
        with self._lock:
            if at in self._values:
                self._values.move_to_end(at)
                return self._values[at]
        value = make()
        with self._lock:
            self._values[at] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value
