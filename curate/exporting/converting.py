"""Pictures in formats that the next tool does not read, written as PNG or JPEG by our decoder."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from curate.decoding.formats import FORMATS, is_named_as_picture
from curate.errors import UserError
from curate.exporting.examples import Example
from curate.image import BrokenImage, decode

TORCHVISION_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
"""What `ImageFolder` takes for a picture; other files it passes over without a word."""

SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "DIB": ".bmp", "TIFF": ".tiff", "PPM": ".ppm",
    "GIF": ".gif", "AVIF": ".avif", "JPEG2000": ".jp2", "HEIF": ".heic", "JXL": ".jxl", "TGA": ".tga", "ICO": ".ico",
    "PSD": ".psd", "QOI": ".qoi", "SGI": ".sgi", "PCX": ".pcx", "DDS": ".dds", "ICNS": ".icns",
}  # fmt: skip

_LOSSY = {"AVIF", "JPEG2000", "HEIF", "JXL"}
_QUALITY = 95


def exported_name(example: Example) -> str:
    """The picture's own name, on one level, with one suffix: its own, where torchvision knows it, or its format's.

    Hugging Face calls the class what the innermost folder is called, so there is one.
    """
    name = example.name.replace("/", "_")
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in TORCHVISION_SUFFIXES:
        named = suffix if is_named_as_picture(name) else ""
        suffix = SUFFIX_OF_FORMAT.get(example.format, named)
    while is_named_as_picture(name) and PurePosixPath(name).stem:
        name = PurePosixPath(name).stem
    return f"{name}{suffix}"


def is_read_downstream(example: Example, *, by_name: bool) -> bool:
    """Whether a plain Pillow reads it, and with `by_name` whether torchvision's `ImageFolder` lists it too."""
    suffix = PurePosixPath(exported_name(example)).suffix.lower()
    return example.format in FORMATS and (not by_name or suffix in TORCHVISION_SUFFIXES)


def converted(examples: Iterable[Example], folder: Path, *, by_name: bool) -> list[Example]:
    """The examples, with those that are not read downstream written into `folder`, first frame only, as RGB.

    Lossy formats become JPEG at quality 95, others PNG; the same pixels give the same bytes.
    """
    return [
        example if is_read_downstream(example, by_name=by_name) else _convert(example, folder) for example in examples
    ]


def _convert(example: Example, folder: Path) -> Example:
    to = "JPEG" if example.format in _LOSSY else "PNG"
    target = folder / f"{example.sha256}{SUFFIX_OF_FORMAT[to]}"
    try:
        pixels = decode(example.read(), path=str(example.file)).pixels
    except BrokenImage as error:
        raise UserError(f"{example.file} cannot be converted ({error.reason}): run the same command again.") from error
    buffer = io.BytesIO()
    pixels.save(buffer, to, **({"quality": _QUALITY} if to == "JPEG" else {}))
    target.write_bytes(buffer.getvalue())
    name = PurePosixPath(example.name)
    name = name.with_name(f"{PurePosixPath(exported_name(replace(example, name=name.name))).stem}{target.suffix}")
    return replace(
        example, original=example.file, file=target, name=name.as_posix(), format=to, size=len(buffer.getvalue()),
        sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
    )  # fmt: skip
