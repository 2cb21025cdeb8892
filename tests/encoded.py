"""Pictures drawn and encoded for the tests of the decoder: in every format, stored turned, with colour profiles."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from curate.image import DecodedImage, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def photograph(width: int = 90, height: int = 72, seed: int = 0) -> Image.Image:
    """Something with the statistics of a photograph: smooth, with noise on it."""
    steps = np.random.default_rng(seed).integers(-9, 10, (height, width, 3))
    return Image.fromarray(np.clip(np.cumsum(steps, axis=1) + 128, 0, 255).astype(np.uint8))


def pixels(decoded: DecodedImage) -> NDArray[np.uint8]:
    assert decoded.pixels.mode == "RGB"
    return np.asarray(decoded.pixels)


def first_pixel(data: bytes) -> tuple[int, ...]:
    return tuple(pixels(decode(data))[0, 0].tolist())


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block.tobytes()


def four_corners() -> Image.Image:
    """48 × 32: red, green, blue and white quarters, so that every way to turn it looks different."""
    image = Image.new("RGB", (48, 32))
    for box, colour in {(0, 0): RED, (24, 0): GREEN, (0, 16): BLUE, (24, 16): WHITE}.items():
        image.paste(colour, (*box, box[0] + 24, box[1] + 16))
    return image


# What a camera stores for an upright picture: EXIF 2.32, 4.6.5.1.6 (the 0th row is the visual top, left, …).
STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.rotate(180),
    4: ImageOps.flip,
    5: lambda image: ImageOps.mirror(image).rotate(90, expand=True),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: ImageOps.mirror(image).rotate(-90, expand=True),
    8: lambda image: image.rotate(-90, expand=True),
}

# Profiles are built here, byte by byte, as ICC.1:2010 lays them out.


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    tags = {
        b"desc": text_description(b"test"),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    } | tags
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4sI4s4s4s12x4s4sII12xI12s48x", start + len(body), b"test", 0x02100000, kind, space, connection, b"acsp",
        b"APPL", 0, 0, 0, xyz(0.9642, 1.0, 0.8249)[8:],
    )  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + body


def text_description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(red: bytes, green: bytes, blue: bytes, exponent: float) -> bytes:
    curve = gamma(exponent)
    curves = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return icc(b"RGB ", {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue} | curves)


# Expected values: linearised, through the matrix between the two sets of primaries, and encoded again by hand.
# Colorants adapted to D50, as Apple's and Adobe's own profiles have them.
DISPLAY_P3 = rgb_profile(xyz(0.5151, 0.2412, -0.0011), xyz(0.2920, 0.6922, 0.0419), xyz(0.1571, 0.0666, 0.7841), 2.2)
ADOBE_RGB = rgb_profile(xyz(0.6097, 0.3111, 0.0195), xyz(0.2053, 0.6257, 0.0609), xyz(0.1492, 0.0632, 0.7446), 2.2)


def samples() -> dict[str, bytes]:
    image = photograph()
    encoded = {
        "JPEG": encode(image, "JPEG", quality=90),
        "JPEG progressive": encode(image, "JPEG", quality=90, progressive=True),
        "JPEG with restarts": encode(image, "JPEG", restart_marker_rows=1),
        "JPEG grey": encode(image.convert("L"), "JPEG"),
        "JPEG CMYK": encode(image.convert("CMYK"), "JPEG"),
        "PNG palette": encode(image.convert("P"), "PNG"),
        "WEBP lossless": encode(image, "WEBP", lossless=True),
        "TIFF LZW": encode(image, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF JPEG": encode(image, "TIFF", compression="jpeg"),
        "TGA RLE": encode(image, "TGA", compression="tga_rle"),
    }
    others = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "SGI", "PCX", "DIB", "DDS", "QOI")
    return encoded | {name: encode(image, name) for name in others}


SAMPLES = samples()


def palette_with_alpha() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *BLUE])
    return encode(image, "PNG", transparency=bytes([255, 128]))
