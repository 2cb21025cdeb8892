"""Cases for the fuzzing of the decoder: files of every format, and the ways to damage them."""

import io
import random
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

PICTURE = (72, 56)

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


# -- the files that are damaged


@cache
def picture() -> Image.Image:
    steps = np.random.default_rng(0).integers(-9, 10, (PICTURE[1], PICTURE[0], 3))
    return Image.fromarray(np.clip(np.cumsum(steps, axis=1) + 128, 0, 255).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def psd() -> bytes:
    width, height = PICTURE
    header = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + bytes(12)
    return header + b"\0\0" + picture().tobytes()


def exif() -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = 6
    block[0x010F] = "Maker"
    block[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x829A: (1, 250)}
    return block


@cache
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def seeds() -> dict[str, bytes]:
    """A small file of every format, and of every way to pack one that is decoded differently."""
    image = picture()
    grey, palette = image.convert("L"), image.convert("P")
    clear = image.convert("RGBA")
    clear.putalpha(grey)
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    frames: dict[str, Any] = {"save_all": True, "append_images": [image.rotate(turn) for turn in (9, 20, 33)]}
    plain = (
        "JPEG",
        "PNG",
        "WEBP",
        "GIF",
        "BMP",
        "TIFF",
        "AVIF",
        "JPEG2000",
        "PPM",
        "TGA",
        "QOI",
        "SGI",
        "PCX",
        "DIB",
        "DDS",
    )
    files = {name: encode(image, name) for name in plain}
    files |= {
        f"{name} with EXIF": encode(image, name, exif=exif().tobytes()) for name in ("JPEG", "PNG", "WEBP", "TIFF")
    }
    files |= {
        f"{name} with ICC": encode(image, name, icc_profile=profile()) for name in ("JPEG", "PNG", "WEBP", "TIFF")
    }
    files |= {
        f"{name} of frames": encode(image, name, **frames) for name in ("GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF")
    }
    files |= {
        f"TIFF {way}": encode(image, "TIFF", compression=way)
        for way in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    }
    files |= {f"DDS {way}": encode(clear, "DDS", pixel_format=way) for way in ("DXT1", "DXT3", "DXT5")}
    return files | {
        "JPEG progressive": encode(image, "JPEG", progressive=True),
        "JPEG with restarts": encode(image, "JPEG", restart_marker_rows=1),
        "JPEG grey": encode(grey, "JPEG"),
        "JPEG CMYK": encode(image.convert("CMYK"), "JPEG"),
        "PNG palette": encode(palette, "PNG", transparency=bytes(range(256))),
        "PNG RGBA": encode(clear, "PNG"),
        "PNG 16 bits": encode(wide, "PNG"),
        "PNG 1 bit": encode(grey.convert("1"), "PNG"),
        "WEBP lossless": encode(clear, "WEBP", lossless=True),
        "TIFF 16 bits": encode(wide, "TIFF"),
        "TIFF float": encode(grey.convert("F"), "TIFF"),
        "TIFF group 4": encode(grey.convert("1"), "TIFF", compression="group4"),
        "JPEG2000 lossy": encode(image, "JPEG2000", quality_mode="rates", quality_layers=[20]),
        "JPEG2000 stream": encode(image, "JPEG2000", no_jp2=True),
        "PPM text": b"P3 4 3 255 " + b" ".join(b"%d" % (7 * value % 256) for value in range(36)),
        "PPM 16 bits": b"P5 4 2 65535\n" + bytes(range(16)),
        "PFM": encode(grey.convert("F"), "PPM"),
        "TGA RLE": encode(clear, "TGA", compression="tga_rle"),
        "SGI RLE": encode(grey, "SGI"),
        "PSD": psd(),
        "ICO": encode(clear.resize((32, 32)), "ICO"),
        "ICO of BMP": encode(clear.resize((32, 32)), "ICO", bitmap_format="bmp"),
        "ICNS": icns(),
        "BMP RLE": bmp_rle(),
    }  # fmt: skip


def icns() -> bytes:
    entry = encode(picture().resize((32, 32)), "PNG")
    return b"icns" + struct.pack(">I", 16 + len(entry)) + b"icp5" + struct.pack(">I", 8 + len(entry)) + entry


def bmp_rle() -> bytes:
    rows = (b"\x20\x05" + b"\0\4\1\2\3\4" + b"\x0c\x09" + b"\0\0") * 8 + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 48, 8, 1, 8, 1, len(rows), 2835, 2835, 256, 0)
    colours = b"".join(bytes([level, 255 - level, level, 0]) for level in range(256))
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colours + rows


# -- the ways to damage them


def flip_bits(choose: random.Random, data: bytearray) -> None:
    for _ in range(choose.choice([1, 1, 2, 4, 16, 64])):
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)


def flip_bits_of_the_header(choose: random.Random, data: bytearray) -> None:
    for _ in range(choose.choice([1, 1, 2, 4])):
        data[choose.randrange(min(len(data), 64))] ^= 1 << choose.randrange(8)


def cut(choose: random.Random, data: bytearray) -> None:
    del data[choose.randrange(len(data)) :]


def cut_out(choose: random.Random, data: bytearray) -> None:
    start = choose.randrange(len(data))
    del data[start : start + choose.choice([1, 2, 4, 100, len(data) // 3])]


def repeat(choose: random.Random, data: bytearray) -> None:
    start = choose.randrange(len(data))
    piece = data[start : start + choose.randint(1, 200)]
    data[start:start] = piece * choose.choice([1, 2, 50])


def overwrite(choose: random.Random, data: bytearray) -> None:
    start = choose.randrange(len(data))
    length = min(choose.choice([1, 4, 40, 400]), len(data) - start)
    data[start : start + length] = choose.choice([bytes(length), b"\xff" * length, choose.randbytes(length)])


def extreme_number(choose: random.Random, data: bytearray) -> None:
    """Sides, lengths, counts and offsets are numbers of 2 or 4 bytes, most of them near the beginning."""
    for _ in range(choose.choice([1, 1, 2, 3])):
        packed = struct.pack(choose.choice("<>") + "I", choose.choice(EXTREMES))
        packed = choose.choice([packed, packed[:2], packed[2:], packed[:1]])
        start = choose.randrange(choose.choice([min(len(data), 64), min(len(data), 400), len(data)]))
        data[start : start + len(packed)] = packed


def splice(choose: random.Random, data: bytearray) -> None:
    other = choose.choice(list(seeds().values()))
    data[choose.randrange(len(data)) :] = other[choose.randrange(len(other)) :]


DAMAGE = (flip_bits, flip_bits_of_the_header, cut, cut_out, repeat, overwrite, extreme_number, extreme_number, splice)


def damaged(choose: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for damage in choose.choices(DAMAGE, k=choose.choice([1, 1, 1, 2, 4])):
        if changed:
            damage(choose, changed)
    return bytes(changed)


def absurd_exif(choose: random.Random) -> bytes:
    return encode(picture(), choose.choice(["JPEG", "PNG", "WEBP"]), exif=damaged(choose, exif().tobytes())[:60_000])


def absurd_profile(choose: random.Random) -> bytes:
    image = choose.choice([picture(), picture().convert("L"), picture().convert("CMYK")])
    return encode(image, "TIFF" if image.mode == "CMYK" else "PNG", icc_profile=damaged(choose, profile()))


def deep_animation(choose: random.Random) -> bytes:
    small = picture().resize((16, 12))
    frames = [small.rotate(turn) for turn in range(4)] * choose.choice([50, 250])
    return damaged(choose, encode(small, choose.choice(["GIF", "PNG", "WEBP"]), save_all=True, append_images=frames))


def endless_gif(choose: random.Random) -> bytes:
    """Hundreds of thousands of empty frames or comments before the first that shows anything."""
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 12, 0x80, 0, 0) + bytes(6)
    filler = choose.choice([b"!\xfe\x01x\0", b"!\xf9\x04\0\0\0\0\0", b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"])
    return head + filler * choose.choice([1_000, 300_000]) + b";"


def bomb(choose: random.Random) -> bytes:
    """A header that claims far more pixels than there are bytes, on either side of the limit."""
    width, height = choose.choice(
        [(60_000, 60_000), (11_000, 11_000), (1, 120_000_000), (65_500, 2_000), (3, 40_000_000)]
    )
    short = min(width, 65_535), min(height, 65_535)
    ihdr = struct.pack(">IIBBBBB", width, height, choose.choice([1, 8, 16]), choose.choice([0, 2, 3, 4, 6]), 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + ihdr + bytes(4)
    gif = b"GIF89a" + struct.pack("<HH", *short) + b"\0\0\0," + bytes(4) + struct.pack("<HH", *short) + b"\0\x08"
    tail = seeds()["PNG"][33:]
    return choose.choice([
        png + tail,
        gif + choose.randbytes(200),
        b"P6 %d %d 255\n" % (width, height) + bytes(1000),
        b"P3 %d %d 255\n" % (width, height) + b"1 " * 1000,
        b"qoif" + struct.pack(">IIBB", width, height, 4, 0) + b"\xfd" * 2000,
        b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, width, height, 1, choose.choice([1, 8, 24]), 0) + bytes(900),
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + bytes(500),
        bytes([0, 0, choose.choice([2, 10])]) + bytes(9) + struct.pack("<HHBB", *short, 24, 0) + b"\xff\0\0\0" * 300,
        b"\x01\xda\1\1" + struct.pack(">HHHH", 3, *short, 3) + bytes(2000),
        b"\n\5\1\x08" + struct.pack("<HHHH", 0, 0, *short) + bytes(4000),
    ])  # fmt: skip


OTHERS: tuple[Callable[[random.Random], bytes], ...] = (
    absurd_exif, absurd_profile, absurd_profile, deep_animation, endless_gif, bomb, bomb,
)  # fmt: skip


def case(number: int) -> tuple[str, bytes]:
    """What the case of this number is called, and its bytes."""
    choose = random.Random(number)
    if choose.random() < 0.15:
        make = choose.choice(OTHERS)
        return make.__name__.replace("_", " "), make(choose)
    name = choose.choice(list(seeds()))
    return name, damaged(choose, seeds()[name])
