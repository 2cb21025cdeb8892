"""Pictures added to many: what the search for their near-duplicates costs against a search of everything anew.

    uv run python -m benchmarks.incremental --flowers DIR [--rows 100000] [--added 1,100,10000]

The hashes are resampled from the real pictures, as `benchmarks/pairs.py` does, with fingerprints that are drawn; the
files are not there, so a pair that is looked at a second time is told apart. What is timed is `find_neighbours`, which
`split` asks: once over all rows anew, then after more were entered in the catalog.
"""

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.pairs import Hashes, real_coefficients, resample
from curate.catalog import Catalog, Picture
from curate.dataset import Dataset, open_dataset
from curate.lookalikes.cached_search import find_neighbours
from curate.lookalikes.fingerprint import VARIANTS
from curate.quality import CHECKS
from curate.splitting.picture_table import read_picture_table

RADIUS = 8


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
    """Seconds of one search, and the pairs that it names."""
    table = read_picture_table(dataset, catalog)
    began = time.perf_counter()
    found = find_neighbours(dataset, catalog, table, RADIUS)
    return time.perf_counter() - began, len(found.first)


def forget(catalog: Catalog) -> None:
    """Forget the search before, so that the next one begins anew."""
    with catalog.transaction() as db:
        db.execute("DELETE FROM searches")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent.parent / "shared" / "flowers")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--added", default="1,100,10000")
    options = parser.parse_args()
    added = [int(count) for count in options.added.split(",")]
    hashes = resample(real_coefficients(options.flowers), options.rows + sum(added), np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "raw" / "flowers").mkdir(parents=True)
        dataset = open_dataset(Path(place))
        with Catalog.open(dataset.catalog_path) as catalog:
            enter(catalog, hashes[: options.rows], 0)
            seconds, pairs = search(dataset, catalog)
            print(f"{'':>24}{'rows':>9}{'seconds':>10}{'anew':>10}{'share':>8}{'pairs':>10}")
            print(f"{'the first search':>24}{options.rows:9,}{seconds:10.2f}{'':18}{pairs:10,}", flush=True)
            rows = options.rows
            for count in added:
                enter(catalog, hashes[rows : rows + count], rows)
                rows += count
                seconds, pairs = search(dataset, catalog)
                forget(catalog)
                anew, same = search(dataset, catalog)
                assert same == pairs, f"{pairs} pairs after adding, {same} anew"
                row = f"{rows:9,}{seconds:10.2f}{anew:10.2f}{seconds / anew:8.3f}{pairs:10,}"
                print(f"{f'{count:,} added':>24}{row}", flush=True)


if __name__ == "__main__":
    main()
