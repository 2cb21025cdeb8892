"""Plants known faults in a dataset, and remembers each: what `clean` ought to find there."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from curate.errors import UserError


class FaultKind(StrEnum):
    """What is wrong with a planted file."""

    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_A_PICTURE = "not a picture"
    RE_ENCODED = "re-encoded copy"
    RESIZED = "resized copy"
    REFORMATTED = "format-changed copy"
    ROTATED = "EXIF-rotated copy"
    TWO_LABELS = "copy under another label"


BROKEN = frozenset({FaultKind.TRUNCATED, FaultKind.EMPTY, FaultKind.NOT_A_PICTURE})
"""No decoder may accept these; the other kinds are intact copies of a picture of the dataset."""
_FROM_ORIGINAL = frozenset(FaultKind) - {FaultKind.EMPTY, FaultKind.NOT_A_PICTURE}

PLANTED: Mapping[FaultKind, int] = {
    FaultKind.TRUNCATED: 4,
    FaultKind.EMPTY: 2,
    FaultKind.NOT_A_PICTURE: 3,
    FaultKind.RE_ENCODED: 4,
    FaultKind.RESIZED: 4,
    FaultKind.REFORMATTED: 4,
    FaultKind.ROTATED: 3,
    FaultKind.TWO_LABELS: 3,
}
"""How many files of each kind one planting adds."""


@dataclass(frozen=True)
class Fault:
    """One planted file; `path` and the picture it was made from, `of`, are posix, relative to the folder."""

    path: str
    kind: FaultKind
    of: str | None


def plant_faults(
    folder: Path,
    seed: int,
    counts: Mapping[FaultKind, int] = PLANTED,
    *,
    note: Callable[[bytes], None] = lambda _picture: None,
) -> list[Fault]:
    """Add `counts` faulty files to the class folders in `folder`; the same for the same seed and pictures.

    Nothing that was there is touched. No picture is copied twice, no copy is copied, and no name gives a
    fault away: it continues the numbering of the pictures around it. Call it once, for it takes whatever it
    finds for originals. `note` is told of each file's bytes before they are written. Raises UserError, before
    anything is written, where there are fewer than two class folders or too few JPEG pictures.
    """
    rng = np.random.default_rng(seed)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; name one that holds class folders.")
    labels = sorted(place.name for place in folder.iterdir() if place.is_dir() and place.name[0] != ".")
    names = _Names(folder, labels, rng)
    if len(labels) < 2 or not names.before:
        raise UserError(f"{folder}: faults need at least two class folders with pictures.")
    kinds = [kind for kind, number in counts.items() for _ in range(number)]
    needed = sum(kind in _FROM_ORIGINAL for kind in kinds)
    originals = _draw_originals(folder, labels, needed, rng)
    faults = []
    for turn, kind in enumerate(kinds):
        if kind in _FROM_ORIGINAL:
            of = originals.pop()
            data, suffix = _make(kind, (folder / of).read_bytes(), turn, rng)
            label = Path(of).parent.name
            if kind is FaultKind.TWO_LABELS:
                label = str(rng.choice([other for other in labels if other != label]))
            path = names.new(label, Path(of).stem, suffix or Path(of).suffix)
        else:
            of, data = None, b"" if kind is FaultKind.EMPTY else _NO_PICTURES[turn % len(_NO_PICTURES)]
            path = names.new(str(rng.choice(labels)), None, ".jpg")
        note(data)
        with (folder / path).open("xb") as stream:
            stream.write(data)
        faults.append(Fault(path, kind, of))
    return faults


def _draw_originals(folder: Path, labels: list[str], needed: int, rng: np.random.Generator) -> list[str]:
    """Intact upright JPEGs, at random; as few are decoded as will do."""
    jpegs = [
        f"{label}/{file.name}"
        for label in labels
        for file in sorted((folder / label).iterdir())
        if file.suffix.lower() in (".jpg", ".jpeg") and file.is_file()
    ]
    found: list[str] = []
    for place in rng.permutation(len(jpegs)):
        if len(found) == needed:
            break
        if _is_plain_jpeg((folder / jpegs[place]).read_bytes()):
            found.append(jpegs[place])
    if len(found) < needed:
        raise UserError(f"{folder}: faults need {needed} intact JPEG pictures, and {len(found)} are there.")
    return found


class _Names:
    """Hands out file names that look like those around them."""

    def __init__(self, folder: Path, labels: list[str], rng: np.random.Generator) -> None:
        self.rng = rng
        self.stems = {label: sorted({file.stem for file in (folder / label).iterdir()}) for label in labels}
        self.taken = {stem for stems in self.stems.values() for stem in stems}
        self.before = frozenset(self.taken)

    def new(self, label: str, like: str | None, suffix: str) -> str:
        """A path in the folder of `label`, numbered as `like` or, without it, as any picture there."""
        if like is None:
            like = str(self.rng.choice(self.stems[label] or sorted(self.before)))
        stem = next(stem for stem in self._candidates(like) if stem not in self.taken)
        self.taken.add(stem)
        return f"{label}/{stem}{suffix}"

    def _candidates(self, like: str) -> Iterator[str]:
        match = re.fullmatch(r"(.*?)(\d{1,12})(\D*)", like)
        if match is None:
            yield from (f"{like}-{number}" for number in count(2))
            return
        before, digits, after = match.groups()
        sibling = re.compile(re.escape(before) + r"(\d{1,12})" + re.escape(after))
        numbers = [int(found[1]) for stem in self.before if (found := sibling.fullmatch(stem))]
        low, high = min(numbers), max(numbers) + len(numbers) + 1
        first = int(self.rng.integers(low, high))
        for number in chain(range(first, high), range(low, first), count(high)):
            yield f"{before}{number:0{len(digits)}}{after}"


def _make(kind: FaultKind, data: bytes, turn: int, rng: np.random.Generator) -> tuple[bytes, str | None]:
    """The faulty file's bytes from the original's, and its suffix where that changes."""
    picture = _decode(data)
    match kind:
        case FaultKind.TRUNCATED:
            return _cut(data, rng.uniform(0.3, 0.9)), None
        case FaultKind.RE_ENCODED:
            return _encode(picture, "JPEG", quality=60), None
        case FaultKind.RESIZED:
            size = (round(picture.width * 0.6), round(picture.height * 0.6))
            return _encode(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=90), None
        case FaultKind.REFORMATTED if turn % 2:
            return _encode(picture, "PNG"), ".png"
        case FaultKind.REFORMATTED:
            return _encode(picture, "WEBP", quality=85), ".webp"
        case FaultKind.ROTATED:
            return _turn(picture, *_TURNS[turn % len(_TURNS)]), None
        case FaultKind.TWO_LABELS:
            return data, None
    raise ValueError(f"{kind} is made from no picture")


def _cut(data: bytes, share: float) -> bytes:
    """The first `share` of the file; less where a decoder gets a whole picture out of that."""
    end = round(len(data) * share)
    while end and _loads(data[:end]):
        end //= 2
    return data[:end]


def _turn(picture: Image.Image, orientation: int, stored: Image.Transpose) -> bytes:
    """Stored turned, with the tag that turns it back: it looks the same where the tag is heeded."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = picture.transpose(stored)
    turned.info.update(picture.info)
    return _encode(turned, "JPEG", quality=92, exif=exif)


_TURNS = ((6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270), (3, Image.Transpose.ROTATE_180))


def _encode(picture: Image.Image, file_format: str, **options: object) -> bytes:
    """Without the original's EXIF block, whose thumbnail and orientation would no longer be true."""
    stream = BytesIO()
    options = {"exif": Image.Exif(), "icc_profile": picture.info.get("icc_profile"), **options}
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def _decode(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture


def _loads(data: bytes) -> bool:
    try:
        _decode(data)
    except (OSError, SyntaxError, ValueError):  # all that Pillow raises at bad bytes
        return False
    return True


def _is_plain_jpeg(data: bytes) -> bool:
    if not _loads(data):
        return False
    picture = _decode(data)
    upright = picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    return picture.format == "JPEG" and picture.mode in ("RGB", "L") and upright and min(picture.size) >= 64


_NO_PICTURES = (
    b"<!DOCTYPE html>\n<html><head><title>404</title></head><body><h1>Not Found</h1></body></html>\n",
    b"Too many requests. Please wait for a minute and try again.\n",
    b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>\n',
)
