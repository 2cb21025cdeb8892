"""A catalog of a million pictures: how long, and in how much memory, `split` and a `clean` without changes take.

    uv run benchmarks/million.py --flowers PATH [--rows 1000000] [--place]

The pictures are synthetic and the rest is real: a folder of as many files (hard links, one inode for each class, as
nobody reads their bytes), and a catalog that knows them all. The hashes are resampled from the real pictures under
PATH, with planted neighbours (see pairs.py). The catalog is as `clean` leaves it: nothing is left to do, and the
search is on record, in which the pixels told every pair within the radius apart. So no pixel is looked at here.

Each command is a process of its own. `split` plans (--dry-run); with --place it also makes a million hard links.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.pairs import PLANTED, Floats, Hashes, neighbours, real_coefficients, resample
from benchmarks.peak import peak_rss
from benchmarks.peers import run

CLASSES = 102
RADIUS = 8


def make_files(root: Path, rows: int) -> list[tuple[str, str, int]]:
    """Make the class folders, unequal as real ones are: (path, label, mtime_ns) of each file."""
    rng = np.random.default_rng(102)
    shares = rng.dirichlet(np.full(CLASSES, 8.0))
    sizes = np.minimum(rng.multinomial(rows, shares), 60_000)  # ext4 allows 65,000 links to one file
    sizes[: rows - sizes.sum()] += 1
    files = []
    for label, size in zip((str(number + 1) for number in range(CLASSES)), sizes.tolist(), strict=True):
        folder = root / "raw" / label
        folder.mkdir(parents=True)
        first = folder / "image_0000000.jpg"
        first.write_bytes(b"a picture")
        mtime_ns = first.stat().st_mtime_ns
        for number in range(1, size):
            os.link(first, folder / f"image_{number:07}.jpg")
        files += [(f"raw/{label}/image_{number:07}.jpg", label, mtime_ns) for number in range(size)]
    return files


def make_hashes(real: Floats, rows: int) -> Hashes:
    """Without flat pictures: their hashes are noise, and `clean` goes by their colour."""
    rng = np.random.default_rng(rows)
    base = resample(real, rows - int(rows * PLANTED), rng)
    return rng.permutation(np.concatenate([base, neighbours(rng.choice(base, int(rows * PLANTED)), rng)]))


def make_catalog(root: Path, files: list[tuple[str, str, int]], hashes: Hashes) -> int:
    """Enter all files as scanned, and their search as one that told all apart; returns the pairs within the radius."""
    from curate.catalog import Catalog, Picture
    from curate.cleaning.clean_cache import remember_clean
    from curate.cleaning.clean_options import CleanOptions
    from curate.dataset import open_dataset
    from curate.lookalikes.cached_search import Neighbours, keep
    from curate.lookalikes.fingerprint import VARIANTS
    from curate.phash import pairs_within
    from curate.quality import CHECKS

    fingerprints = np.random.default_rng(0)

    def pictures(digests: NDArray[np.bytes_]) -> Iterator[Picture]:
        for (path, label, mtime_ns), digest, phash in zip(files, digests.tolist(), hashes.tolist(), strict=True):
            yield Picture(
                path=path, folder=f"raw/{label}", label=label, split="", size=9, mtime_ns=mtime_ns,
                sha256=digest.decode(), format="JPEG", width=667, height=500, phash=phash, broken="", state="present",
                fingerprint=fingerprints.bytes(8 * len(VARIANTS)), scores=(1.0,) * len(CHECKS),
            )  # fmt: skip

    digests = np.array([hashlib.sha256(str(number).encode()).hexdigest() for number in range(len(files))], dtype="S64")
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        with catalog.transaction():
            catalog.put(pictures(digests))
        none = np.empty(0, np.int32)
        nothing = Neighbours.of_pairs(np.sort(digests), none, none, none.astype(np.uint8), none.astype(np.int8))
        remember_clean(catalog, str(CleanOptions(RADIUS)))
        keep(catalog, nothing, RADIUS)
    return sum(len(first) for first, *_ in pairs_within(hashes, RADIUS).expand())


def measure(command: str, root: Path) -> dict[str, float | int | str]:
    """Carry out one command in this process; seconds count from its own imports on."""
    begun = time.perf_counter()
    if command == "clean":
        from curate.clean import clean

        report = clean(root)
        done = f"{report.scan.files:,} files compared, {report.scan.read:,} read, {len(report.plan.decisions):,} leave"
    else:
        from curate.split import split

        outcome = split(root, dry_run=command == "split --dry-run")
        totals = {to: sum(counts[to] for counts in outcome.counts.values()) for to in ("train", "valid", "test")}
        done = ", ".join(f"{count:,} {to}" for to, count in totals.items())
        done += f"; across: {outcome.proof.near_duplicates:,} copies, {outcome.proof.near:,} near"
    return {"seconds": time.perf_counter() - begun, "rss": peak_rss(), "done": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, help="a folder of real pictures, JPEG")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--place", action="store_true", help="also make the split's million hard links")
    parser.add_argument("--folder", type=Path, help="where to make the dataset; on the disk that matters")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.folder)))
        return
    if args.flowers is None:
        parser.error("--flowers PATH is needed: the hashes are resampled from real pictures")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        begun = time.perf_counter()
        files = make_files(Path(folder), args.rows)
        pairs = make_catalog(Path(folder), files, make_hashes(real_coefficients(args.flowers), len(files)))
        size = (Path(folder) / "catalog.sqlite").stat().st_size
        print(f"{len(files):,} files, {pairs:,} pairs within {RADIUS} bits, a catalog of {size / 1e6:,.0f} MB,")
        print(f"made in {time.perf_counter() - begun:,.0f} s.\n", flush=True)
        print("| command | seconds | peak RSS, MB | |\n|:---|---:|---:|:---|")

        commands = ["clean", "split --dry-run", *(["split", "split"] if args.place else [])]
        for command in commands:
            row = run(HERE, ["--measure", command, "--folder", folder])
            print(f"| {command} | {row['seconds']:.1f} | {row['rss'] / 1e6:,.0f} | {row['done']} |", flush=True)


if __name__ == "__main__":
    main()
