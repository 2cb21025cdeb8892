"""Pictures added to many: what the search for their near-duplicates costs against a search of everything anew.

    uv run python -m benchmarks.incremental --flowers DIR [--rows 100000] [--added 1,100,10000] [--files 600]

The hashes are resampled from the real pictures, as `benchmarks/pairs.py` does, with fingerprints that are drawn; one in
ten is that of a picture before with a few bits changed. The files are empty, so a pair that is looked at a second
time is told apart at once, and what is timed is the search itself: `find_neighbours`, which `split` asks, once over all
rows anew, then after more were entered in the catalog. `pairs` counts the second looks, which cost most where the files
are there. `--files` tells how much: so many of the pictures are copied, every third with a cropped copy, and copies of
one and of 20 others are added.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

import curate.lookalikes.looks
import curate.lookalikes.search_engine
from benchmarks.pairs import Hashes, real_coefficients, resample
from curate.catalog import Catalog, Picture
from curate.dataset import Dataset, open_dataset
from curate.lookalikes.cached_search import find_neighbours
from curate.lookalikes.candidates import CandidatePairs
from curate.lookalikes.edits import cropped, encode
from curate.lookalikes.fingerprint import VARIANTS
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import Verdicts, look_again
from curate.progress import Progress
from curate.quality import CHECKS
from curate.scan import scan
from curate.splitting.picture_table import read_picture_table

RADIUS = 8
SHARE_NEAR = 0.1


def enter(catalog: Catalog, hashes: Hashes, begin: int) -> None:
    """Enter pictures as scanned, numbered from `begin`."""
    rng = np.random.default_rng(begin)
    with catalog.transaction():
        catalog.put(
            Picture(
                path=f"raw/flowers/{number:07}.jpg", folder="raw/flowers", label="flowers", split="", size=9,
                mtime_ns=1, sha256=hashlib.sha256(str(number).encode()).hexdigest(), format="JPEG", width=667,
                height=500, phash=phash, broken="", state="present", fingerprint=rng.bytes(8 * len(VARIANTS)),
                scores=(1.0,) * len(CHECKS),
            )
            for number, phash in enumerate(hashes.tolist(), start=begin)
        )  # fmt: skip


def search(dataset: Dataset, catalog: Catalog) -> tuple[float, int]:
    """Seconds of one search, and the candidates that it looked at a second time."""
    table = read_picture_table(dataset, catalog)
    looked = []

    def count(candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        looked.append(len(candidates))
        return look_again(candidates, looks, progress)

    began = time.perf_counter()
    with (
        patch.object(curate.lookalikes.search_engine, "look_again", count),
        patch.object(curate.lookalikes.looks, "read_file", lambda _: b""),
    ):
        find_neighbours(dataset, catalog, table, RADIUS)
    return time.perf_counter() - began, sum(looked)


def with_neighbours(hashes: Hashes, rng: np.random.Generator) -> Hashes:
    """The same, but one in ten is another with up to six bits changed."""
    near = rng.random(len(hashes)) < SHARE_NEAR
    found = hashes.copy()
    found[near] = rng.choice(hashes, int(near.sum()))
    for _ in range(6):
        found[near] ^= np.uint64(1) << rng.integers(0, 64, int(near.sum()), dtype=np.uint64)
    return found


def forget(catalog: Catalog) -> None:
    """Forget the search before, so that the next one begins anew."""
    with catalog.transaction() as db:
        db.execute("DELETE FROM searches")


def with_files(flowers: Path, count: int) -> None:
    """Print what copies of pictures cost that were added to real files, second looks and all."""
    files = sorted(flowers.rglob("*.jpg"))[:count]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "raw" / "flowers"
        folder.mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copy(file, folder / f"{number}.jpg")
            if number % 3 == 0:
                copy = encode(cropped(Image.open(file).convert("RGB"), 0.05), quality=70)
                (folder / f"{number} cropped.jpg").write_bytes(copy)
        dataset = open_dataset(Path(place))
        with Catalog.open(dataset.catalog_path) as catalog:

            def timed() -> tuple[float, int]:
                scan(dataset, catalog)
                table = read_picture_table(dataset, catalog)
                began = time.perf_counter()
                found = find_neighbours(dataset, catalog, table, RADIUS)
                return time.perf_counter() - began, len(found.first)

            timed()
            for added in (1, 20):
                for number in range(added):
                    copy = encode(Image.open(files[3 * number + 1]).convert("RGB"), quality=60 + added)
                    (folder / f"{added} {number}.jpg").write_bytes(copy)
                seconds, pairs = timed()
                forget(catalog)
                anew, every = timed()
                assert pairs == every, f"{pairs} pairs after adding, {every} anew"
                rows = len(list(folder.iterdir()))
                print(
                    f"{f'{added} files added':>24}{rows:9,}{seconds:10.2f}{anew:10.2f}{seconds / anew:8.3f}", flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent.parent / "shared" / "flowers")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--added", default="1,100,10000")
    parser.add_argument("--files", type=int, help="instead: with so many of the pictures, which are looked at")
    options = parser.parse_args()
    if options.files:
        with_files(options.flowers, options.files)
        return
    added = [int(count) for count in options.added.split(",")]
    rng = np.random.default_rng(0)
    hashes = with_neighbours(resample(real_coefficients(options.flowers), options.rows + sum(added), rng), rng)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "raw" / "flowers").mkdir(parents=True)
        dataset = open_dataset(Path(place))
        with Catalog.open(dataset.catalog_path) as catalog:
            enter(catalog, hashes[: options.rows], 0)
            seconds, pairs = search(dataset, catalog)
            print(f"{'':>24}{'rows':>9}{'seconds':>10}{'anew':>10}{'share':>8}{'pairs':>10}{'anew':>10}")
            print(f"{'the first search':>24}{options.rows:9,}{'':10}{seconds:10.2f}{'':18}{pairs:10,}", flush=True)
            rows = options.rows
            for count in added:
                enter(catalog, hashes[rows : rows + count], rows)
                rows += count
                seconds, pairs = search(dataset, catalog)
                forget(catalog)
                anew, every = search(dataset, catalog)
                row = f"{rows:9,}{seconds:10.2f}{anew:10.2f}{seconds / anew:8.3f}{pairs:10,}{every:10,}"
                print(f"{f'{count:,} added':>24}{row}", flush=True)


if __name__ == "__main__":
    main()
