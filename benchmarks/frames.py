"""Crowds: frames, small digits, icons, near-uniform pictures, equal files: what the search costs as they grow.

    uv run python -m benchmarks.frames [--sizes 100,400,1600] [--digits 60000] [--others 10000] [--icons 5000]

Each line is one dataset, scanned first; then a process of its own plans `clean`, and its processor seconds and those
of its children count. "growth" is how many times faster they grew than n · log n, against the line before.
"""

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks import drawn
from benchmarks.drawn import Drawn, grainy, png, scene
from benchmarks.peers import run
from curate.lookalikes.edits import encode


def pan(count: int, rng: np.random.Generator) -> Drawn:
    """A camera goes over a wide scene, four pixels a frame at most."""
    wide = Image.new("RGB", (1_920, 360))
    for part in range(4):
        wide.paste(scene(rng), (480 * part, 0))
    step = min(4.0, 1_440 / count)
    for number in range(count):
        matrix = (1, 0, step * number, 0, 1, 0)
        frame = wide.transform((480, 360), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        yield f"{number:06}.jpg", encode(grainy(frame, rng, 3), quality=85)


def fixed(count: int, rng: np.random.Generator) -> Drawn:
    """A camera stands still; somebody walks through."""
    base = scene(rng)
    for number in range(count):
        frame, x = base.copy(), int(480 * number / count)
        draw = ImageDraw.Draw(frame)
        draw.ellipse((x, 160, x + 70, 340), fill="#c83c28")
        draw.ellipse((x + 15, 120, x + 55, 165), fill="#e6c8aa")
        light = 1 + 0.05 * math.sin(number / 40)
        yield f"{number:06}.jpg", encode(grainy(frame, rng, 4, light), quality=85)


def digits(count: int, rng: np.random.Generator) -> Drawn:
    yield from drawn.digits(rng, count)


def icons(count: int, rng: np.random.Generator) -> Drawn:
    yield from drawn.icons(rng, count)


def near_uniform(count: int, rng: np.random.Generator) -> Drawn:
    """A grey wall with a faint slope and faint noise."""
    slope = np.linspace(-1, 1, 96)[None, :]
    for number in range(count):
        pixels = rng.uniform(100, 150) + rng.uniform(-6, 6) * slope + rng.normal(0, 1.0, (72, 96))
        yield f"{number:06}.png", png(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def equal(count: int, rng: np.random.Generator) -> Drawn:
    """One file under many names."""
    data = encode(scene(rng))
    for number in range(count):
        yield f"{number:06}.jpg", data


CROWDS = {
    "pan": pan, "fixed camera": fixed, "digits 28 × 28": digits, "icons": icons, "near-uniform": near_uniform,
    "equal files": equal,
}  # fmt: skip


def measure(root: Path) -> dict[str, float | int]:
    """Plan `clean` for a dataset that has been scanned: seconds, processor seconds, and how many leave."""
    from curate.catalog import Catalog
    from curate.cleaning.planning import make_plan
    from curate.dataset import open_dataset

    def processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        before, began = processor(), time.perf_counter()
        plan = make_plan(dataset, catalog)
        return {
            "processor": processor() - before,
            "seconds": time.perf_counter() - began,
            "leave": len(plan.decisions),
        }


def crowd(name: str, count: int, place: Path) -> dict[str, float | int]:
    """Draw a dataset, scan it, and measure the search in a process of its own."""
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    from curate.scan import scan

    folder = place / f"{name}-{count}" / "crowd"
    folder.mkdir(parents=True)
    for file, data in CROWDS[name](count, np.random.default_rng([count, len(name)])):
        (folder / file).write_bytes(data)
    dataset = open_dataset(folder.parent)
    began = time.perf_counter()
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
    scanned = time.perf_counter() - began
    return {"scan": scanned, **run(HERE, ["--measure", str(folder.parent)])}


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    sizes = [int(size) for size in options.sizes.split(",")]
    yield from (("pan", size) for size in sizes)
    yield from (("fixed camera", size) for size in sizes)
    last = {"digits 28 × 28": options.digits, "icons": options.icons}
    for name in ("digits 28 × 28", "icons", "near-uniform", "equal files"):
        largest = last.get(name, options.others)
        yield from ((name, size) for size in (largest // 4, largest) if size > 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,400,1600", help="frames")
    parser.add_argument("--digits", type=int, default=60_000)
    parser.add_argument("--icons", type=int, default=5_000)
    parser.add_argument("--others", type=int, default=10_000, help="near-uniform pictures, and equal files")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    print(f"{'':18}{'n':>8}{'scan, s':>10}{'search, s':>11}{'processor s':>13}{'growth':>8}{'leave':>9}")
    before: tuple[str, int, float] = ("", 0, 0.0)
    for name, count in wanted(options):
        with tempfile.TemporaryDirectory() as place:
            row = crowd(name, count, Path(place))
        growth = ""
        if before[0] == name:
            expected = before[2] * count * math.log(count) / (before[1] * math.log(before[1]))
            growth = f"{row['processor'] / expected:.2f}"
        before = name, count, row["processor"]
        print(
            f"{name:18}{count:8,}{row['scan']:10.1f}{row['seconds']:11.1f}{row['processor']:13.1f}{growth:>8}"
            f"{row['leave']:9,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
