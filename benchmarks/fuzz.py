"""Damages files of every format that is decoded, and counts what comes of it: pixels, BrokenImage, or a fault of ours.

    uv run python benchmarks/fuzz.py                        20,000 cases
    uv run python benchmarks/fuzz.py --only 12345           one case again, in this process

A case is made from its number alone, so that any of them can be looked at again. They run in processes that may
reserve no more than 3 GiB and may think for 20 seconds about one case: whatever crashes or hangs does so in a
process of its own, and is put down to the case it was at.
"""

import argparse
import io
import os
import queue
import random
import resource
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageCms

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from curate.image import BrokenImage  # noqa: E402
from curate.inspect import inspect  # noqa: E402

MEMORY = 3 << 30
SECONDS = 20.0
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


# -- running them


@dataclass
class Tally:
    """What came of the cases: how often each, by whom faults were made, and the worst of time and memory."""

    outcomes: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)


def outcome(data: bytes) -> str:
    """What `inspect` makes of it: "pixels", "broken", or an exception, which there must not be."""
    try:
        return "broken" if inspect(data).broken else "pixels"
    except BrokenImage:
        return "BrokenImage out of inspect"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def work(numbers: Iterator[int]) -> None:
    """In a process of its own: say each case's number before it is looked at, and what came of it after."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libjpeg write what they think of each
    for number in numbers:
        name, data = case(number)
        print("case", number, name, sep="\t", flush=True)
        started = time.perf_counter()
        found = outcome(data)
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print("done", seconds, memory, found.replace("\n", " "), sep="\t", flush=True)


def watch(start: int, stop: int, step: int, tally: Tally, lock: threading.Lock) -> None:
    """Have every step-th case looked at, in one process after another as they crash or hang."""
    seeds()  # what is wrong with these is no fault of the decoder
    while start < stop:
        command = [sys.executable, __file__, "--work", str(start), str(stop), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            start = follow(process, start, step, tally, lock)


def follow(process: subprocess.Popen[str], start: int, step: int, tally: Tally, lock: threading.Lock) -> int:
    """Count what one process says; the number from which the next has to go on."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    number, name, patience = start, "start", 60.0
    while True:
        try:
            what, *rest = lines.get(timeout=patience).rstrip("\n").split("\t")
        except queue.Empty:
            process.kill()
            what, rest = "", [f"hang: no answer within {patience:.0f} s"]
        with lock:
            if what == "case":
                number, name, patience = int(rest[0]), rest[1], SECONDS
            elif what == "done":
                count(tally, number, name, float(rest[0]), int(rest[1]), rest[2])
                start, patience = number + step, 60.0
            elif start > number and not rest:
                return start if process.wait() else sys.maxsize
            else:
                problem = rest[0] if rest else f"crash: the process ended with {process.wait()}"
                count(tally, number, name, 0.0, 0, problem)
                return number + step


def read_lines(stream: IO[str], lines: "queue.Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def count(tally: Tally, number: int, name: str, seconds: float, memory: int, found: str) -> None:
    tally.made[name] += 1
    tally.slowest = max(tally.slowest, (seconds, number))
    tally.largest = max(tally.largest, (memory, -number))
    if found in {"pixels", "broken"}:
        tally.outcomes[found] += 1
    else:
        tally.outcomes["fault"] += 1
        tally.faults.append(f"case {number} ({name}): {found}")
        print(tally.faults[-1], file=sys.stderr)


def fuzz(cases: int, first: int = 0) -> Tally:
    """Look at that many cases, in as many processes as there are processors."""
    tally, lock, crowd = Tally(), threading.Lock(), os.cpu_count() or 1
    threads = [
        threading.Thread(target=watch, args=(first + offset, first + cases, crowd, tally, lock))
        for offset in range(crowd)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", type=int, help="look at one case, in this process")
    parser.add_argument("--save", type=Path, help="with --only: write the case's bytes to this file")
    parser.add_argument("--work", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(iter(range(*options.work)))
        return 0
    if options.only is not None:
        name, data = case(options.only)
        if options.save:
            options.save.write_bytes(data)
        print(f"case {options.only} ({name}, {len(data):,} bytes): {inspect(data)}")
        return 0
    started = time.perf_counter()
    tally = fuzz(options.cases, options.first)
    seconds = time.perf_counter() - started
    total = sum(tally.outcomes.values())
    print(f"{total:,} cases of {len(tally.made)} kinds in {seconds:.0f} s")
    for found in ("pixels", "broken", "fault"):
        print(f"  {found:8}{tally.outcomes[found]:8,}")
    print(f"  slowest {tally.slowest[0]:.2f} s (case {tally.slowest[1]}); most memory {tally.largest[0]:,} MiB")
    return 1 if tally.faults or total != options.cases else 0


if __name__ == "__main__":
    sys.exit(main())
