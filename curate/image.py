"""The one decoder: bytes → canonical RGB pixels, or BrokenImage with a reason in words.

Every stage sees the pixels that `decode` gives, so a hash, a feature and a prediction of one file
always speak of the same picture.
"""

import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from curate.colour import needs_transform, to_rgb
from curate.decoding.extent import image_bytes
from curate.decoding.formats import FORMATS, formats_for, is_not_readable, raw_reason, stand_in, what_it_is
from curate.decoding.jpeg_end import candidates, has_end
from curate.decoding.jpeg_xl import claimed_size
from curate.decoding.png_text import is_too_much_text, without_text
from curate.files.reading import read_file

__all__ = [
    "FORMATS", "MAX_PIXELS", "MAX_SIDE", "BrokenImage", "DecodedImage", "UnreadableHere", "decode", "frames",
    "image_bytes", "load_pixels", "read",
]  # fmt: skip

MAX_PIXELS = 128 * 1024 * 1024
"""A picture with more pixels than this is refused before any of them is allocated (128 MiPx is 384 MiB of RGB)."""

MAX_SIDE = 65_535
"""A longer side is refused too: no JPEG has one, and Pillow keeps 8 bytes for each row however short it is."""

_LOSSLESS = frozenset({"PNG", "BMP", "DIB", "TIFF", "PPM", "TGA", "QOI", "SGI", "PCX", "PSD", "ICO", "GIF"})
_ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ORIENTATION_TAGS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
"""Where `Image.info` may say which way is up."""

_PNG_END = b"IEND\xaeB`\x82"

_CUT_OFF = ("truncated", "broken data stream", "unrecognized data stream", "not enough image data", "but only got")
"""What Pillow's decoders say when a file ends too early."""

_ENDS_EARLY = "cut off: the file ends before the picture does"

_RAW_SUFFIXES = (".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".pef", ".srw", ".3fr", ".iiq")
_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR_DATA = {32803, 34892}  # what a TIFF calls the mosaic of a colour filter, and its values before development
_MOST_PAGES = 64

# What Pillow only warns of is decided here: a picture is whole, or it is a BrokenImage.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BrokenImage(Exception):
    """A file that gives no pixels: `path` says which, `reason` says why, in words for people."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UnreadableHere(BrokenImage):
    """A file that may be whole, and that nothing on this machine reads: `reason` says what to do about it."""


@dataclass(frozen=True)
class BrokenPicture:
    """The same in a report: a picture of a dataset that was left out or is damaged, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class DecodedImage:
    """Canonical pixels and what the file said of itself.

    `pixels` is 8-bit RGB (or luma, where that was asked for) in sRGB, upright, alpha over white, possibly at reduced
    scale;
    `width` and `height` are those of the upright picture at full scale. `box` (left, upper, right, lower, in pixels
    of `pixels`) is what of them the picture covers: 500 pixels at an eighth of the scale are 62.5, so the last column
    is half padding. What compares pictures resamples from this box, or sees them 1% stretched. `ended` is False for a
    JPEG that is whole but for the two bytes at its end.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int
    box: tuple[float, float, float, float]
    ended: bool = True


def decode(
    data: bytes,
    *,
    path: str = "<bytes>",
    at_least: int | None = None,
    luma: bool = False,
    over: Literal["white", "black"] = "white",
) -> DecodedImage:
    """Decode a whole file to canonical pixels.

    With `at_least`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its scale as long as its short side keeps that many
    pixels; every byte is still read, so a cut-off file is found all the same. Of an animation, a multi-page TIFF or
    an MPO only the first picture is looked at, so what is missing of the others is not missed. Whatever goes wrong,
    including in Pillow itself, is raised as `BrokenImage`.

    With `luma` the pixels are of mode "L"; of a JPEG at reduced scale they are the luma that is stored in it, which is
    had without its colours and is that of its RGB but for rounding, and for colours that RGB has no room for.

    `over` is the ground that transparent pixels are laid on: white everywhere, but where two pictures are told apart.
    """
    if not data:
        raise BrokenImage(path, "the file is empty")
    if pointer := stand_in(data):
        raise UnreadableHere(path, pointer)
    try:
        return _decode(data, path, at_least, luma=luma, over=over)
    except BrokenImage as broken:
        whole = _with_its_end(data, path, at_least, luma=luma, over=over) if broken.reason == _ENDS_EARLY else None
        if whole is None:
            raise
        return whole


def _decode(
    data: bytes, path: str, at_least: int | None, *, luma: bool, over: str, profile: bytes = b""
) -> DecodedImage:
    """As `decode`, of a file that has its end. `profile` stands in for one that was taken out of the bytes."""
    try:
        with _open(data, path) as image:
            if profile:
                image.info["icc_profile"] = profile
            return _decode_opened(image, data, path, at_least, luma=luma, over=over)
    except BrokenImage:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every built-in exception on damaged files
        if is_too_much_text(error):
            rest, profile = without_text(data)
            if len(rest) < len(data):
                return _decode(rest, path, at_least, luma=luma, over=over, profile=profile)
        raise _broken(path, _reason(error, data)) from error


def _open(data: bytes, path: str) -> Image.Image:
    """Raises `UnreadableHere` where a package is missing, and `BrokenImage` for too large a JPEG XL."""
    try:
        formats = formats_for(data)
    except ImportError as error:
        raise UnreadableHere(path, str(error)) from error
    if formats == ("JXL",):  # opening it decodes it
        _require_size(*claimed_size(data), path)
    return Image.open(io.BytesIO(data), formats=formats)


def _broken(path: str, reason: str) -> BrokenImage:
    return UnreadableHere(path, reason) if is_not_readable(reason) else BrokenImage(path, reason)


def _with_its_end(data: bytes, path: str, at_least: int | None, *, luma: bool, over: str) -> DecodedImage | None:
    """A JPEG that lacks nothing but its end, or None."""
    try:
        given = candidates(data)
        if given is None:
            return None
        plain, *filled = (_decode(version, path, None, luma=False, over=over).pixels.tobytes() for version in given)
        if any(other != plain for other in filled):
            return None
        return replace(_decode(given[0], path, at_least, luma=luma, over=over), ended=False)
    except (BrokenImage, IndexError, ValueError):
        return None


def frames(path: Path) -> int:
    """How many pictures a file holds: the frames of an animation, the pages of a TIFF, the views of an MPO.

    Only the first is ever looked at. Raises `BrokenImage` for a file that none can be read from.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise BrokenImage(str(path), f"cannot be read ({error.strerror})") from error
    if pointer := stand_in(data):
        raise UnreadableHere(str(path), pointer)
    try:
        with _open(data, str(path)) as image:
            return int(getattr(image, "n_frames", 1))
    except BrokenImage:
        raise
    except Exception as error:
        raise _broken(str(path), _reason(error, data)) from error


def read(path: Path, *, at_least: int | None = None) -> DecodedImage:
    """Read and decode one file; `decode` says how. A file that cannot be read is a `BrokenImage` too."""
    try:
        data = read_file(path)
    except OSError as error:
        raise BrokenImage(str(path), f"cannot be read ({error.strerror})") from error
    return decode(data, path=str(path), at_least=at_least)


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a file holds its picture.

    `quantisation` float32[8, 8] has the steps of a JPEG's luma by frequency, down and across, or is None for another
    format. `lossless` is true of formats that keep every pixel. `orientation` is the EXIF tag, 1 to 8: how the stored
    pixels lie. `camera` tells that the file names the camera that took it. `opaque` tells that nothing in it is
    transparent, and `still` that nothing follows its first picture.
    """

    quantisation: NDArray[np.float32] | None
    lossless: bool
    orientation: int
    camera: bool
    opaque: bool = False
    still: bool = False


def encoding_of(data: bytes) -> Encoding:
    """How a file's bytes hold their picture; of a file that cannot be read, nothing is known."""
    try:
        with _open(data, "<bytes>") as image:
            tables = getattr(image, "quantization", None)
            steps = np.array(tables[0], np.float32).reshape(8, 8) if tables and 0 in tables else None
            camera = bool(image.getexif().get(ExifTags.Base.Model))
            lossless = image.format in _LOSSLESS or (image.format == "WEBP" and b"VP8L" in data[:64])
            opaque, still = not image.has_transparency_data, getattr(image, "n_frames", 1) == 1
            return Encoding(steps, lossless, _orientation(image), camera, opaque, still)
    except Exception:  # Pillow's plugins raise nearly every built-in exception on damaged files
        return Encoding(None, lossless=False, orientation=1, camera=False)


def as_stored(plane: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """An upright plane, uint8[h, w], as a file of that EXIF orientation stores it."""
    method = _TRANSPOSE.get(orientation)
    if method is None:
        return plane
    inverse = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    return np.asarray(Image.fromarray(plane).transpose(inverse.get(method, method)))


def further_frames(data: bytes, most: int) -> tuple[int, list[Image.Image]]:
    """How many frames follow the first in an animation, and at most so many of them, spread evenly, in RGB over white.

    (0, []) for a picture that does not move, and for one whose further frames cannot be read. A JPEG's further pictures
    are previews and depth, and a TIFF's are pages: both are other pictures, and no frames.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_ANIMATED) as image:
            count = getattr(image, "n_frames", 1) - 1
            frames = []
            if image.width * image.height * count <= MAX_PIXELS:  # each frame before one is decoded to have it
                for number in sorted({round(count * (part + 1) / most) for part in range(most)} - {0}):
                    image.seek(number)
                    frames.append(to_rgb(image.copy(), "white"))
            return count, frames
    except Exception:  # Pillow's plugins raise nearly every built-in exception on damaged files
        return 0, []


def load_pixels(path: Path, *, at_least: int | None = None) -> Image.Image:
    """The pixels that `read` gives, of mode "RGB"; raises BrokenImage as it does."""
    return read(path, at_least=at_least).pixels


def _decode_opened(
    image: Image.Image, data: bytes, path: str, at_least: int | None, *, luma: bool, over: str
) -> DecodedImage:
    file_format = image.format or "unknown"
    if file_format == "TIFF":
        _seek_whole(image, data, path)
    width, height = image.size
    _require_size(width, height, path)
    if file_format == "PNG" and _PNG_END not in data:  # Pillow does not miss the end of a PNG
        raise BrokenImage(path, _ENDS_EARLY)
    covered = None
    colourless = luma and image.mode == "RGB" and not needs_transform(image)
    # Not of others: of a HEIC, draft() gives the thumbnail in it.
    may_draft = at_least is not None and file_format in {"JPEG", "MPO"}
    if may_draft and (drafted := image.draft("L" if colourless else image.mode, (at_least or 0, at_least or 0))):
        covered = drafted[1][2:]
    # Not verify(): that passes on half a JPEG. load() decodes to the last row, and fails where the data ends early.
    image.load()
    orientation = _orientation(image)
    pixels = image if colourless and image.mode == "L" else to_rgb(image, over)
    if luma and pixels.mode != "L":
        pixels = pixels.convert("L")
    if orientation in _TRANSPOSE:
        pixels = pixels.transpose(_TRANSPOSE[orientation])
    # Only these can be at reduced scale, and a TIFF turns itself in load().
    if file_format not in {"JPEG", "MPO"}:
        return DecodedImage(pixels, file_format, *pixels.size, box=(0, 0, *pixels.size))
    box = _box(image.size, covered or image.size, orientation)
    if orientation >= 5:
        width, height = height, width
    return DecodedImage(pixels, "JPEG", width, height, box, has_end(data))


def _require_size(width: int, height: int, path: str) -> None:
    if width * height > MAX_PIXELS:
        raise BrokenImage(path, f"{width} × {height} pixels is over the limit of {MAX_PIXELS:,} pixels")
    if max(width, height) > MAX_SIDE:
        raise BrokenImage(path, f"{width} × {height} pixels is over the limit of {MAX_SIDE:,} pixels a side")


def _seek_whole(image: Image.Image, data: bytes, path: str) -> None:
    """Leave a thumbnail that stands first in a TIFF for the picture that it is of.

    Raises `UnreadableHere` for a camera's raw file, which is a TIFF with a thumbnail or a preview first.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    reduced, photometric = int(tags.get(_SUBFILE_TYPE, 0)) & 1, tags.get(_PHOTOMETRIC)
    named_raw = path.lower().endswith(_RAW_SUFFIXES)
    if _DNG_VERSION in tags or path.lower().endswith(".dng"):
        if reduced or photometric in _SENSOR_DATA:
            raise UnreadableHere(path, raw_reason("a DNG raw file"))
        return
    if named_raw or data[8:10] == b"CR" or photometric in _SENSOR_DATA or (reduced and _SUB_IFDS in tags):
        raise UnreadableHere(path, raw_reason("a camera's raw file"))
    if reduced:
        for page in range(1, min(getattr(image, "n_frames", 1), _MOST_PAGES)):
            image.seek(page)
            if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & 1:  # type: ignore[attr-defined]
                return
        image.seek(0)


def _box(size: tuple[int, int], covered: tuple[float, float], orientation: int) -> tuple[float, float, float, float]:
    """What the picture covers of its upright pixels; libjpeg pads it at the right and below, before it is turned."""
    padding = size[0] - covered[0], size[1] - covered[1]
    (left, right), (upper, lower) = (0.0, padding[0]), (0.0, padding[1])
    if orientation in {2, 3, 7, 8}:
        left, right = right, left
    if orientation in {3, 4, 6, 7}:
        upper, lower = lower, upper
    if orientation >= 5:
        return (upper, left, size[1] - lower, size[0] - right)
    return (left, upper, size[0] - right, size[1] - lower)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; a broken EXIF block says nothing, and is no reason to lose the picture."""
    if _ORIENTATION_TAGS.isdisjoint(image.info):
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _reason(error: Exception, data: bytes) -> str:
    """Pillow's many exceptions as one clause a person can act on."""
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return what_it_is(data[:1024])
    if isinstance(error, Image.DecompressionBombError):
        return f"its header claims more than {MAX_PIXELS:,} pixels"
    if isinstance(error, EOFError) or any(sign in text.lower() for sign in _CUT_OFF):
        return _ENDS_EARLY
    if data.startswith(b"\xff\x0a") or data[4:8] == b"JXL ":  # its decoder has one message for all that goes wrong
        return "its JPEG XL data are damaged or cut off"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    return f"it cannot be decoded ({type(error).__name__}: {text[:120]})"
