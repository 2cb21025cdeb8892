"""What moves when a picture is added, and what leaks: our split and split-folders' own, in one run.

    uv run benchmarks/splitting.py --flowers PATH [--repeats 20] [--copies 300]

Moved: 200 drawn pictures of one class (beside another one) are split; one is added, and all are split again. Counted
are the old pictures that lie in another split than before; mean and range over --repeats different additions.

Leaked: the real pictures under PATH, and --copies planted copies of as many of them (recompressed, halved, as PNG),
each under its original's label. Counted are planted copies in another split than their original, and all pairs
across splits whose pHashes lie within 8 bits, by imagehash and by comparing all with all.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import imagehash
import numpy as np
import splitfolders
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.split import split

RADIUS = 8
RATIO = (0.8, 0.1, 0.1)
SEED = 1337

Splitter = Callable[[Path, Path], None]
"""Splits a flat dataset into a folder."""


def ours(root: Path, out: Path) -> None:
    split(root, out=out, ratio=RATIO, seed=SEED)


def ours_forgetting(root: Path, out: Path) -> None:
    """As if catalog and output had been lost in between: what the draw alone keeps in place."""
    shutil.rmtree(root.with_name(f"{root.name}.florilegium"), ignore_errors=True)
    split(root, out=out, ratio=RATIO, seed=SEED)


def wrapped(root: Path, out: Path) -> None:
    split(root, out=out, ratio=RATIO, seed=SEED, method="split-folders")


def theirs(root: Path, out: Path) -> None:
    state = random.getstate()
    splitfolders.ratio(root, out, seed=SEED, ratio=RATIO)
    random.setstate(state)


SPLITTERS: dict[str, Splitter] = {
    "ours": ours,
    "ours, catalog and output lost in between": ours_forgetting,
    "ours, `--method split-folders`": wrapped,
    "split-folders": theirs,
}


def placed(out: Path) -> dict[str, str]:
    """label/name → split."""
    return {
        file.relative_to(folder).as_posix(): "valid" if folder.name == "val" else folder.name
        for folder in out.iterdir()
        if folder.name in {"train", "val", "valid", "test"}
        for file in folder.glob("*/*")
    }


def draw(file: Path, number: int) -> None:
    colours = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize((64, 64), Image.Resampling.BICUBIC).save(file)


def moved(splitter: Splitter, repeats: int, folder: Path) -> list[tuple[int, int]]:
    """(old pictures that moved, those of them from test to train) for each addition."""
    found = []
    for turn in range(repeats):
        root = folder / str(turn) / "pictures"
        for number in range(200):
            draw(root / "1" / f"image_{number:05}.png", number)
        draw(root / "2" / "image_00000.png", 1000)
        forgets = splitter in (ours_forgetting, theirs)
        outs = [root.with_name("first"), root.with_name("second" if forgets else "first")]
        splitter(root, outs[0])
        before = placed(outs[0])
        # A name anywhere among the others, as a scraper or a camera gives it.
        draw(root / "1" / f"image_{random.Random(turn).randrange(200):05}a.png", 5000 + turn)
        splitter(root, outs[1])
        after = placed(outs[1])
        gone = [name for name, to in before.items() if after[name] != to]
        found.append((len(gone), sum(before[name] == "test" and after[name] == "train" for name in gone)))
    return found


def plant(flowers: Path, root: Path, copies: int) -> dict[str, str]:
    """Lay out the pictures with copies of some: copy → original, both as label/name."""
    originals = []
    for file in sorted(flowers.rglob("*.jpg")):
        target = root / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copy(file, target)
        originals.append(target)
    made = {}
    rng = random.Random(SEED)
    for turn, file in enumerate(rng.sample(originals, copies)):
        stem = f"image_{rng.randrange(10_000, 100_000):05}"
        copy = file.with_name(f"{stem}.png" if turn % 3 == 2 else f"{stem}.jpg")
        with Image.open(file) as image:
            halved = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
            (halved if turn % 3 == 1 else image).save(copy, quality=60)
        made[copy.relative_to(root).as_posix()] = file.relative_to(root).as_posix()
    return made


def hashes_of(root: Path) -> dict[str, int]:
    found = {}
    for file in root.glob("*/*"):
        with Image.open(file) as image:
            found[file.relative_to(root).as_posix()] = int(str(imagehash.phash(image)), 16)
    return found


def crossing(where: dict[str, str], hashes: dict[str, int]) -> int:
    """Pairs within the radius that lie in two splits."""
    names = sorted(where)
    values = np.array([hashes[name] for name in names], dtype=np.uint64)
    splits = np.array([where[name] for name in names])
    near: NDArray[np.bool_] = np.bitwise_count(values[:, None] ^ values) <= RADIUS
    return int((near & (splits[:, None] != splits)).sum() // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder of real pictures, JPEG")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--copies", type=int, default=300)
    args = parser.parse_args()
    vars(sys.modules["splitfolders.split"])["use_tqdm"] = False  # its progress bar

    print("| 1 added to 200 | moved, mean | least to most | from test to train |\n|:---|---:|---:|---:|")
    for name, splitter in SPLITTERS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = moved(splitter, args.repeats, Path(folder))
        counts = [count for count, _ in found]
        spilt = mean(into_train for _, into_train in found)
        print(f"| {name} | {mean(counts):.1f} | {min(counts)} to {max(counts)} | {spilt:.1f} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        copies = plant(args.flowers, root, args.copies)
        hashes = hashes_of(root)
        print(f"\n{len(hashes):,} pictures, {len(copies)} of them planted copies.\n")
        print(
            "| | copies parted from their original | pairs within 8 bits across splits | train, valid, test | seconds |"
        )
        print("|:---|---:|---:|---:|---:|")
        for name, splitter in SPLITTERS.items():
            if splitter is ours_forgetting:
                continue
            out = Path(folder) / f"out {name}"
            begun = time.perf_counter()
            splitter(root, out)
            seconds = time.perf_counter() - begun
            where = placed(out)
            parted = sum(where[copy] != where[original] for copy, original in copies.items())
            sizes = ", ".join(str(sum(to == one for one in where.values())) for to in ("train", "valid", "test"))
            print(f"| {name} | {parted} | {crossing(where, hashes)} | {sizes} | {seconds:.1f} |", flush=True)
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
