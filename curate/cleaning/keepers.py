"""Which copy of a picture stays: named policies, each a list of criteria that also say in words why it won."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from curate.catalog import Catalog, Picture
from curate.catalog.credits import known_of_origins
from curate.dataset import natural_key
from curate.files.reading import read_file
from curate.image import BrokenImage, image_bytes, load_pixels
from curate.lookalikes.fingerprint import reduced, without_border

ENOUGH_BITS = 0.5
"""Bits of file per pixel from which a photograph's pixels count in full; what is squeezed harder counts in proportion.
The 1,614 photographs of Oxford-102 that this was chosen on, JPEGs of quality 75, hold 0.48 to 1.8 bits a pixel.
"""

CREDIT_WORTH = 1.25
"""A picture whose author or licence is known is worth a quarter more pixels: one without may not be published."""

BORDER_WORTH = 0.9
"""What a border costs beyond its own pixels: it is a flaw in itself, and its edge is known to a 64th only."""

_LOSSLESS = {"PNG", "BMP", "DIB", "TIFF", "PPM", "TGA", "QOI", "SGI", "PCX", "PSD"}
_SHARPNESS_SIDE = 512
_BORDER_SIDE = 96
_HELD_OUT = ("test", "valid", "train", "")

T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """What the catalog and the pixels know beyond a picture's own row.

    `credit` (by sha256) counts the facts known of a picture's origin, `fetched` is when it was downloaded, in seconds
    since 1970, `home` (by path) the split that a picture below raw/ was placed in, and `bordered` holds the sha256 of
    the pictures that are another one, or that another one is, but for a border.
    """

    root: Path
    credit: Mapping[str, int] = field(default_factory=dict)
    fetched: Mapping[str, float] = field(default_factory=dict)
    home: Mapping[str, str] = field(default_factory=dict)
    bordered: frozenset[str] = frozenset()
    _sharpness: dict[str, float] = field(default_factory=dict)
    _inside: dict[str, float] = field(default_factory=dict)
    _encoded: dict[str, int] = field(default_factory=dict)

    @classmethod
    def gather(cls, root: Path, catalog: Catalog, home: Mapping[str, str], bordered: frozenset[str]) -> "Evidence":
        """Read the credits of all pictures."""
        origins = known_of_origins(catalog)
        fetched = {known.sha256: _seconds(known.fetched_at) for known in origins if _seconds(known.fetched_at)}
        return cls(root, {known.sha256: known.facts for known in origins}, fetched, home, bordered)

    def of(self, pictures: Iterable[Picture]) -> "Evidence":
        """What is known of some pictures alone."""
        contents, paths = {picture.sha256 for picture in pictures}, {picture.path for picture in pictures}

        def among(known: Mapping[str, T], wanted: set[str]) -> dict[str, T]:
            return {key: known[key] for key in wanted & known.keys()}

        return Evidence(
            self.root,
            among(self.credit, contents), among(self.fetched, contents), among(self.home, paths),
            self.bordered & contents,
            among(self._sharpness, contents), among(self._inside, contents), among(self._encoded, contents),
        )  # fmt: skip

    def learn(self, other: "Evidence") -> None:
        """Take over what was seen of pictures' pixels and bytes."""
        self._sharpness.update(other._sharpness)
        self._inside.update(other._inside)
        self._encoded.update(other._encoded)

    def split(self, picture: Picture) -> str:
        """The split that a picture is in, by its own place or by that of its copy; "" for none."""
        return picture.split or self.home.get(picture.path, "")

    def first_seen(self, picture: Picture) -> float:
        """Seconds since 1970: when it was downloaded, or else its file's modification time."""
        return self.fetched.get(picture.sha256, picture.mtime_ns / 1e9)

    def sharpness(self, picture: Picture) -> float:
        """Standard deviation of the luma's Laplacian, in levels, at a scale common to all: 512 pixels the short side.

        At one scale, because a reduced copy looks the sharper pixel by pixel (Pech-Pacheco et al., ICPR 2000, use the
        variance). 0 for a file that no longer decodes.
        """
        if picture.sha256 not in self._sharpness:
            self._sharpness[picture.sha256] = _laplacian(self.root / picture.path)
        return self._sharpness[picture.sha256]

    def encoded(self, picture: Picture) -> int:
        """Bytes that the picture itself takes: a phone's video behind it, and further frames, are none of its detail.

        All of the file's where it can no longer be read.
        """
        if picture.sha256 not in self._encoded:
            try:
                self._encoded[picture.sha256] = image_bytes(read_file(self.root / picture.path))
            except OSError:
                return picture.size
        return self._encoded[picture.sha256]

    def inside(self, picture: Picture) -> float:
        """The share of its area that lies inside a border, in (0, 1]: 1 for the pictures that have none."""
        if picture.sha256 not in self.bordered:
            return 1.0
        if picture.sha256 not in self._inside:
            self._inside[picture.sha256] = _without_border(self.root / picture.path)
        return self._inside[picture.sha256]


@dataclass(frozen=True)
class Criterion:
    """One point of comparison: its value for a picture, the greater the better, and the words for winning by it."""

    value: Callable[[Picture, Evidence], float]
    why: Callable[[Picture, Picture, Evidence], str]


@dataclass(frozen=True)
class Policy:
    """Criteria in order of weight. Whatever the policy, a copy in a held-out split stays there: see `_IN_ITS_SPLIT`."""

    name: str
    summary: str
    criteria: tuple[Criterion, ...]
    by_source: bool = False

    def rank(self, picture: Picture, evidence: Evidence) -> tuple[object, ...]:
        """A sort key, best first; the first name where all else is equal: `rose.jpg` before `rose (1).jpg`."""
        values = (-criterion.value(picture, evidence) for criterion in (_IN_ITS_SPLIT, *self.criteria))
        without_ending = picture.path.removesuffix(Path(picture.path).suffix)  # a dot sorts behind a space and a hyphen
        return (*values, natural_key(without_ending), picture.path)

    def why(self, keeper: Picture, copy: Picture, evidence: Evidence) -> str:
        """The first point in which the keeper is better than the copy, in words."""
        for criterion in (_IN_ITS_SPLIT, *self.criteria):
            if criterion.value(keeper, evidence) > criterion.value(copy, evidence):
                return criterion.why(keeper, copy, evidence)
        return "its name comes first"


def worth(picture: Picture, evidence: Evidence) -> float:
    """Resolution, recompression and credit in one figure, in pixels. Those of a border are worth nothing."""
    pixels = picture.width * picture.height * evidence.inside(picture)
    flaw = BORDER_WORTH if evidence.inside(picture) < 1 else 1.0
    return pixels * flaw * _share_of_detail(picture, evidence) * _credit_worth(picture, evidence)


def _credit_worth(picture: Picture, evidence: Evidence) -> float:
    return CREDIT_WORTH if evidence.credit.get(picture.sha256) else 1.0


def _share_of_detail(picture: Picture, evidence: Evidence) -> float:
    """What share of its pixels the file can have kept the detail of, in (0, 1]."""
    if picture.format in _LOSSLESS:
        return 1.0
    return min(1.0, bits_per_pixel(picture, evidence) / ENOUGH_BITS)


def bits_per_pixel(picture: Picture, evidence: Evidence) -> float:
    """Of the picture as the file holds it, without what is appended."""
    return 8 * evidence.encoded(picture) / max(1, picture.width * picture.height)


def _why_worth_more(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    """Name the factors in which the keeper is ahead, the greatest first."""
    area = keeper.width * keeper.height / max(1, copy.width * copy.height)
    border = evidence.inside(keeper) / evidence.inside(copy)
    factors = [
        (area, _larger(keeper, copy, evidence)),
        (border, f"{1 - evidence.inside(copy):.0%} of this one is border"),
        (_share_of_detail(keeper, evidence) / _share_of_detail(copy, evidence), _less_squeezed(keeper, copy, evidence)),
        (_credit_worth(keeper, evidence) / _credit_worth(copy, evidence), "its source is known"),
    ]
    factors.sort(key=lambda factor: -factor[0])
    return " and ".join(words for ratio, words in factors if ratio > 1)


def _larger(keeper: Picture, copy: Picture, _: Evidence) -> str:
    return f"it is larger ({keeper.width} × {keeper.height} against {copy.width} × {copy.height})"


def _less_squeezed(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    more, less = (bits_per_pixel(it, evidence) for it in (keeper, copy))
    return f"it is less compressed ({more:.2f} against {less:.2f} bits a pixel)"


def _more_bytes(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    return f"it is less compressed ({evidence.encoded(keeper):,} bytes against {evidence.encoded(copy):,})"


def _why_in_split(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    there = evidence.split(copy)
    return f"it is in {evidence.split(keeper)}" + (f", and this one in {there}" if there else "")


def _why_seen_first(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    first, second = (datetime.fromtimestamp(evidence.first_seen(it), UTC) for it in (keeper, copy))
    return f"it was there first ({first:%Y-%m-%d %H:%M:%S} against {second:%Y-%m-%d %H:%M:%S})"


def _why_sharper(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    return (
        f"it is sharper ({evidence.sharpness(keeper):.1f} against {evidence.sharpness(copy):.1f} levels of Laplacian)"
    )


def _why_credited(keeper: Picture, copy: Picture, evidence: Evidence) -> str:
    known, other = (evidence.credit.get(it.sha256, 0) for it in (keeper, copy))
    return f"more is known of its source ({known} of 5 facts against {other})"


_IN_ITS_SPLIT = Criterion(lambda picture, evidence: -_HELD_OUT.index(evidence.split(picture)), _why_in_split)
_WORTH = Criterion(worth, _why_worth_more)
_PIXELS = Criterion(lambda picture, _: picture.width * picture.height, _larger)
# Of equal size in pixels, a lossless copy holds all that the lossy one was made from, or all that it holds itself.
_LOSSLESSNESS = Criterion(lambda picture, _: picture.format in _LOSSLESS, lambda *_: "it is stored without loss")
_BYTES = Criterion(
    lambda picture, evidence: 0 if picture.format in _LOSSLESS else evidence.encoded(picture), _more_bytes
)
_AGE = Criterion(lambda picture, evidence: -evidence.first_seen(picture), _why_seen_first)
_SHARPNESS = Criterion(lambda picture, evidence: evidence.sharpness(picture), _why_sharper)
_CREDIT = Criterion(lambda picture, evidence: evidence.credit.get(picture.sha256, 0), _why_credited)

POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("best", "the source, then resolution and credit", (_WORTH, _LOSSLESSNESS, _BYTES), by_source=True),
        Policy("largest", "the most pixels", (_PIXELS, _LOSSLESSNESS, _BYTES)),
        Policy("sharpest", "the most detail, measured on the pixels", (_SHARPNESS, _PIXELS, _BYTES)),
        Policy("first-seen", "downloaded or written first", (_AGE, _WORTH)),
        Policy("most-credited", "the most known of author, licence and source", (_CREDIT, _WORTH, _BYTES)),
    )
}


def _seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:  # a catalog that another program filled
        return 0.0


def _laplacian(path: Path) -> float:
    try:
        pixels = load_pixels(path, at_least=_SHARPNESS_SIDE).convert("L")
    except BrokenImage:
        return 0.0
    scale = _SHARPNESS_SIDE / min(pixels.size)
    size = (round(pixels.width * scale), round(pixels.height * scale))
    luma = np.asarray(pixels.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    centre = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * centre
    return float(laplacian.std())


def _without_border(path: Path) -> float:
    try:
        left, right, top, bottom = without_border(reduced(load_pixels(path, at_least=_BORDER_SIDE).convert("L")))
    except BrokenImage:
        return 1.0
    return (right - left) * (bottom - top)
