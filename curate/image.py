"""The one decoder: bytes → canonical RGB pixels, or BrokenImage with a reason in words.

Every room of the house sees the pixels that `decode` gives, so a hash, a feature and a prediction of one file
always speak of the same picture.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

MAX_PIXELS = 128 * 1024 * 1024
"""A picture with more pixels than this is refused before any of them is allocated (128 MiPx is 384 MiB of RGB)."""

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PSD", "QOI", "SGI", "PCX",
    "DIB", "DDS", "ICNS",
)  # fmt: skip
"""What may be decoded, most frequent first. EPS, PDF and WMF stay out: they run programs, and are no photographs."""

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_CUT_OFF = ("truncated", "broken data stream", "unrecognized data stream", "not enough image data")
"""What Pillow's decoders say when a file ends too early."""


class BrokenImage(Exception):
    """A file that gives no pixels: `path` says which, `reason` says why, in words for people."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class DecodedImage:
    """Canonical pixels and what the file said of itself.

    `pixels` is 8-bit RGB in sRGB, upright, alpha over white, possibly at reduced scale;
    `width` and `height` are those of the upright picture at full scale.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int


def decode(data: bytes, *, path: str = "<bytes>", at_least: int | None = None) -> DecodedImage:
    """Decode a whole file to canonical pixels.

    With `at_least`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its scale as long as its short side keeps that many
    pixels; every byte is still read, so a cut-off file is found all the same. Only the first frame of an animation
    is looked at. Whatever goes wrong, including in Pillow itself, is raised as `BrokenImage`.
    """
    if not data:
        raise BrokenImage(path, "the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode_opened(image, path, at_least)
    except BrokenImage:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every built-in exception on damaged files
        raise BrokenImage(path, _reason(error, data)) from error


def load(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Read and decode one file; `decode` says how. A file that cannot be read is a `BrokenImage` too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenImage(str(path), f"cannot be read ({error.strerror})") from error
    return decode(data, path=str(path), at_least=at_least).pixels


def _decode_opened(image: Image.Image, path: str, at_least: int | None) -> DecodedImage:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BrokenImage(path, f"{width} × {height} pixels is over the limit of {MAX_PIXELS:,} pixels")
    file_format = image.format or "unknown"
    if at_least is not None:
        image.draft(image.mode, (at_least, at_least))
    # Not verify(): that passes on half a JPEG. load() decodes to the last row, and fails where the data ends early.
    image.load()
    orientation = _orientation(image)
    pixels = _to_rgb(image)
    if orientation in _TRANSPOSE:
        pixels = pixels.transpose(_TRANSPOSE[orientation])
    # A TIFF turns itself upright in load(), so its sides are read off the pixels; only a JPEG can be at reduced scale.
    if file_format in {"JPEG", "MPO"}:
        width, height = (height, width) if orientation >= 5 else (width, height)
    else:
        width, height = pixels.size
    return DecodedImage(pixels, "JPEG" if file_format == "MPO" else file_format, width, height)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; a broken EXIF block says nothing, and is no reason to lose the picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Whatever Pillow's mode, 8-bit sRGB with alpha laid over white."""
    profile = image.info.get("icc_profile")
    if image.mode == "RGB" and profile is None and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(_to_srgb(image.convert("RGB"), profile), mask=alpha)
        return canvas
    if image.mode in {"1", "P"}:
        image = image.convert("RGB")
    return _to_srgb(image, profile)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits, or float, scaled to 0…255: convert("L") would clip it to white."""
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max(initial=0.0))
    if image.mode.startswith("I;16") or (image.mode == "I" and highest > 255):
        values = values / 257 if highest <= 65535 else values * (255 / highest)
    elif image.mode == "F":
        values = values * (255 if highest <= 1 else min(1.0, 255 / highest))
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8), "L")


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Apply an embedded ICC profile; one that is broken or of another colour space is passed over."""
    if isinstance(profile, bytes) and profile:
        transform = _srgb_transform(profile, image.mode)
        if transform is not None:
            try:
                converted = ImageCms.applyTransform(image, transform)
            except (ImageCms.PyCMSError, ValueError):
                converted = None
            if converted is not None:
                return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=64)
def _srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from an ICC profile to sRGB, or None where there is nothing to do or nothing to be done.

    Cached, because a folder of photographs holds few distinct profiles and building a transform costs more than
    decoding a small picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return None
        return ImageCms.buildTransform(source, _srgb_profile(), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _reason(error: Exception, data: bytes) -> str:
    """Pillow's many exceptions as one clause a person can act on."""
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        if data.lstrip()[:1] == b"<":
            return "a web page or other markup, not a picture"
        return "not a picture in a format that can be read"
    if isinstance(error, Image.DecompressionBombError):
        return f"its header claims more than {MAX_PIXELS:,} pixels"
    if isinstance(error, EOFError) or any(sign in text for sign in _CUT_OFF):
        return "cut off: the file ends before the picture does"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    return f"it cannot be decoded ({type(error).__name__}: {text[:120]})"
