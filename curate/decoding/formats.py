"""What a file is, by its first bytes and by its name: a picture, one that needs a package, or none."""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, NamedTuple

from curate.extras import not_installed

FORMATS: Final = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "PSD", "QOI", "SGI", "PCX", "DIB",
    "DDS", "ICNS", "TGA",
)  # fmt: skip
"""What Pillow itself may decode, most frequent first, and TGA last, which has no signature and takes what others
should. EPS, PDF and WMF stay out: they run programs, and are no photographs.
"""

NOT_READABLE: Final = "not readable here: "
"""How the reason begins for a file that may be whole, and that gives no pixels as things stand on this machine."""

_SUFFIXES = """
jpg jpeg jpe jfif jif png apng webp gif bmp dib tif tiff avif avifs jp2 j2k jpc jpf jpx j2c ppm pgm pbm pnm pfm ico psd
qoi sgi rgb rgba bw pcx dds icns tga icb vda vst heic heif hif heics heifs jxl
dng nef nrw cr2 cr3 arw srf sr2 orf rw2 raf pef srw x3f 3fr iiq
"""
PICTURE_SUFFIXES: Final = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Whatever is called so is judged as a picture, also where it cannot be read."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_AVIF_BRANDS = {b"avif", b"avis"}
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

_SIGNATURES = {
    b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"WEBP": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"BM": "BMP", b"\0\0\0\x0cjP": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"8BPS": "PSD", b"qoif": "QOI",
    b"DDS ": "DDS", b"icns": "ICNS", b"\0\0\1\0": "ICO",
}  # fmt: skip

_NETPBM = re.compile(rb"P[1-6]\s+(?:#|\d)|P[Ff]\s+\d")
_RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb")  # Olympus, Panasonic, Fuji, Sigma

HEAD: Final = 64
"""Bytes that are enough to tell a picture from another file."""


class _Extra(NamedTuple):
    """A package that decodes a format which Pillow itself does not."""

    title: str
    module: str
    package: str
    extra: str
    register: Callable[[object], None]


def _register_heif(module: object) -> None:
    module.register_heif_opener()  # type: ignore[attr-defined]


_EXTRAS = {
    "HEIF": _Extra("a HEIC picture", "pillow_heif", "pillow-heif", "heif", _register_heif),
    "JXL": _Extra("a JPEG XL picture", "pillow_jxl", "pillow-jxl-plugin", "jxl", lambda _: None),
}


def is_not_readable(reason: str) -> bool:
    """Whether a reason says that the file may be whole: it is no broken picture then."""
    return reason.startswith(NOT_READABLE)


def is_named_as_picture(name: str) -> bool:
    """Whether the name's suffix is a picture's."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and f".{suffix.lower()}" in PICTURE_SUFFIXES


def begins_as_picture(head: bytes) -> bool:
    """Whether a file's first `HEAD` bytes are those of a picture, whatever its name is."""
    if extra_format(head) or _brand(head) in _AVIF_BRANDS or head.startswith(_RAW_MAGIC):
        return True
    container = head[8:12] if head.startswith(b"RIFF") else head
    if container.startswith(b"BM"):  # a word may begin so: what follows the length is zero in a BMP
        return head[6:10] == bytes(4)
    if container.startswith(b"\0\0\1\0"):
        return head[5:6] == b"\0" and head[4:5] != b"\0"
    return any(map(container.startswith, _SIGNATURES)) or _NETPBM.match(head) is not None


def extra_format(data: bytes) -> str:
    """Pillow's name of the format, for one that a package has to decode; "" for any other."""
    if data.startswith(_JXL):
        return "JXL"
    return "HEIF" if _brand(data) in _HEIF_BRANDS else ""


def formats_for(data: bytes) -> tuple[str, ...]:
    """The formats that these bytes may be in, once the package is there that decodes them.

    Raises `ImportError`, with the reason in words, where it is not.
    """
    name = extra_format(data)
    if name:
        _register(name)
        return (name,)
    return FORMATS if _may_be_tga(data) else FORMATS[:-1]


@cache  # of an error nothing is kept
def _register(name: str) -> None:
    extra = _EXTRAS[name]
    try:
        extra.register(import_module(extra.module))
    except ImportError as error:
        sentence = str(not_installed(f"{extra.title} needs", extra.package, extra.extra))
        raise ImportError(f"{NOT_READABLE}{sentence.rstrip('.')}") from error


def readers() -> str:
    """Which of the packages are installed: where that changes, what could not be read may be readable."""
    return " ".join(extra.extra for extra in _EXTRAS.values() if find_spec(extra.module))


def stand_in(data: bytes) -> str:
    """Why a file in a picture's place is none yet: a pointer to it; "" for any other."""
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return f"{NOT_READABLE}an LFS pointer in the picture's place: run `git lfs pull`"
    if data[:200].lstrip(b"./").startswith(b"annex/objects/") and len(data) < 32_768:
        return f"{NOT_READABLE}a git-annex pointer in the picture's place: run `git annex get`"
    return ""


def what_it_is(start: bytes) -> str:
    """Why no decoder takes a file that begins like this."""
    container = start[8:12] if start.startswith(b"RIFF") else start
    for signature, name in _SIGNATURES.items():
        if container.startswith(signature):
            return f"it begins like a {name}, but its header is damaged or cut off"
    if extra_format(start):
        return f"it begins like {_EXTRAS[extra_format(start)].title}, but its header is damaged or cut off"
    if start.startswith(_RAW_MAGIC) or start[4:12] == b"ftypcrx ":
        return raw_reason("a camera's raw file")
    if start.startswith(b"\0\5\x16\7"):
        return "AppleDouble, what macOS notes of a file beside it, not a picture"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return "an SVG drawing, not a photograph" if b"<svg" in text else "a web page or other markup, not a picture"
    if text.startswith(b"%PDF"):
        return "a PDF document, not a picture"
    if start and all(byte >= 32 or byte in b"\t\n\r" for byte in start):
        return "text, not a picture"
    return "not a picture in a format that can be read"


def raw_reason(what: str) -> str:
    """Why a camera's raw file gives no pixels: the picture that its reader finds is a thumbnail of it."""
    return f"{NOT_READABLE}{what}, whose sensor data have to be developed: convert it to JPEG, PNG or TIFF"


def _may_be_tga(data: bytes) -> bool:
    """TGA has no signature, and its reader takes icons, cursors and films. Its second byte is 1 where the third is."""
    if data[4:8] == b"ftyp" or data.startswith(tuple(_SIGNATURES)):
        return False
    return not (data[:2] == b"\0\0" and (data[2:3] == b"\1" or (data[2:3] == b"\2" and data[3:8] != bytes(5))))


def _brand(data: bytes) -> bytes:
    """The brand of a file in the ISO base format; where AVIF and HEIF share it, one that tells."""
    if data[4:8] != b"ftyp":
        return b""
    major = data[8:12]
    if major in {b"mif1", b"msf1", b"mif2"}:
        end = min(int.from_bytes(data[:4], "big"), len(data), 256)
        compatible = {data[at : at + 4] for at in range(16, end - 3, 4)}
        if compatible & _AVIF_BRANDS and not compatible & (_HEIF_BRANDS - {b"mif1", b"msf1", b"mif2"}):
            return b"avif"
    return major
