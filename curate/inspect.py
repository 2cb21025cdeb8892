"""Every fact about a picture, in one read of its bytes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image import BrokenImage, decode
from curate.lookalikes.fingerprint import fingerprints, mean_colour, reduced
from curate.phash import phashes
from curate.quality import LumaBatch, Scores, quality_scores

AT_LEAST = 56
"""Pixels of the short side at which a JPEG may be looked at: an eighth of the scale for most photographs.

It is enough because what is resampled from such pixels is exactly the box that the picture covers. The pHash of an
eighth is 0.3 bits from that of the whole on average, seldom 4; without the box it is 1.7, and often 6.
"""

_LOW_CONTRAST = 64  # levels: of 4,096 pixels that deviate by less than one level, none can deviate by more


@dataclass(frozen=True)
class Facts:
    """What one read of a file tells. `broken` is "" for an intact picture, else why there are no pixels.

    `phash` is unsigned, 64 bits; `width` and `height` are pixels of the upright picture at full scale; `fingerprint`
    is that of `curate.lookalikes.fingerprint`; `scores` are those of `curate.quality`, none for a broken file.
    """

    sha256: str
    format: str
    width: int
    height: int
    phash: int
    broken: str
    fingerprint: bytes = b""
    scores: Scores = ()


def inspect(data: bytes, path: str = "<bytes>") -> Facts:
    """All facts about one file's bytes. Never raises for what the bytes are: `broken` says it."""
    return inspect_many([(data, path)])[0]


def inspect_many(files: Iterable[tuple[bytes, str]]) -> list[Facts]:
    """`inspect` each of some files (their bytes and path), at less cost: what follows decoding is done for all at once.

    The files may be an iterator: of each only 5 kB stay in memory.
    """
    facts, seen = dict[int, Facts](), list[_Seen]()
    for place, (data, path) in enumerate(files):
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            seen.append(_see(place, sha256, data, path))
        except BrokenImage as error:
            facts[place] = Facts(sha256, "", 0, 0, 0, error.reason)
    if seen:
        lumas = np.stack([view.luma for view in seen])
        hashes = phashes(np.stack([view.small for view in seen]))
        prints = fingerprints(lumas, [view.reduced_to for view in seen], [view.colour for view in seen])
        sides = np.array([(view.width, view.height) for view in seen])
        ended = np.array([view.ended for view in seen])
        scores = quality_scores(LumaBatch(lumas, sides[:, 0], sides[:, 1], ended))
        for view, whole, windows, score in zip(seen, hashes, prints, scores, strict=True):
            facts[view.place] = Facts(
                view.sha256, view.format, view.width, view.height, whole, broken="", fingerprint=windows, scores=score
            )
    return [facts[place] for place in range(len(facts))]


def import_decoders() -> None:
    """Import what the first picture would: once, before those who read them part into processes."""
    Image.preinit()
    phashes(np.zeros((1, 32, 32), np.uint8))


class _Seen(NamedTuple):
    """Of one picture among several: what is known already, and its luma at 32 × 32 and at 64 × 64."""

    place: int
    sha256: str
    format: str
    width: int
    height: int
    small: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    reduced_to: tuple[int, int]
    colour: bytes  # of a picture that may be flat, the mean; of others b""
    ended: bool


def _see(place: int, sha256: str, data: bytes, path: str) -> _Seen:
    image = decode(data, path=path, at_least=AT_LEAST, luma=True)
    # imagehash resamples the whole of its pixels like this.
    small = np.asarray(image.pixels.resize((32, 32), Image.Resampling.LANCZOS, box=image.box))
    luma = reduced(image.pixels, image.box)
    colour = b""
    if luma.max() - luma.min() < _LOW_CONTRAST:
        colour = mean_colour(decode(data, path=path, at_least=AT_LEAST).pixels)
    return _Seen(
        place, sha256, image.format, image.width, image.height, small, luma, image.pixels.size, colour, image.ended
    )
