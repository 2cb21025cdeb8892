"""All pairs of hashes within a radius: ours, faiss and imagededup, in one table.

    uv run benchmarks/pairs.py --flowers PATH [--sizes 10000,100000,1000000] [--radius 8]

The hashes are resampled from the real pictures under PATH (see `resample`), with planted neighbours and flat
pictures. Each search is a process of its own; each peer has an environment of its own. A search too slow for all
n queries gets the first few, as the table says, and its time is extrapolated: all of them are linear in the queries.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]
HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.peak import peak_rss
from benchmarks.peers import run

PLANTED, FLAT = 0.05, 0.02  # shares of all hashes
FAISS, IMAGEDEDUP = ["faiss-cpu==1.15.1"], ["imagededup==0.3.3.post2"]


# ---- the hashes


def real_coefficients(folder: Path) -> Floats:
    """8×8 DCT coefficients of every JPEG under the folder: float64[pictures, 64]."""
    from curate.image import load_pixels
    from curate.phash import coefficients

    paths = sorted(folder.rglob("*.jpg"))
    return np.array([coefficients(load_pixels(path, at_least=64)).ravel() for path in paths])


def hashes_of(coefficients: Floats) -> Hashes:
    """Hash many pictures, from their coefficients float64[n, 64]."""
    bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def resample(real: Floats, n: int, rng: np.random.Generator) -> Hashes:
    """Draw n hashes as of pictures like the real ones, by a Gaussian copula.

    Each coefficient keeps its real distribution (relative to the picture's contrast) and each two their rank
    correlation; what is drawn is thresholded at its median, as the hash is.
    """
    from scipy.special import ndtr, ndtri

    scaled = real / np.linalg.norm(real[:, 1:], axis=1, keepdims=True)
    levels = (np.arange(len(scaled)) + 0.5) / len(scaled)
    normal = ndtri(levels)[scaled.argsort(axis=0).argsort(axis=0)]
    mix = np.linalg.cholesky(np.corrcoef(normal.T) + 1e-9 * np.eye(64)).T
    quantiles = np.sort(scaled, axis=0)
    parts = []
    for begin in range(0, n, 20_000):
        drawn = ndtr(rng.standard_normal((min(20_000, n - begin), 64)) @ mix)
        parts.append(hashes_of(np.stack([np.interp(drawn[:, c], levels, quantiles[:, c]) for c in range(64)], axis=1)))
    return np.concatenate(parts)


def flat(n: int, rng: np.random.Generator) -> Hashes:
    """Hashes of n pictures with next to nothing on them: one grey, a faint slope or none, faint noise or none."""
    from scipy.fftpack import dct

    y, x = np.mgrid[:32, :32] / 31
    parts = [np.empty(0, np.uint64)]
    for begin in range(0, n, 4_000):
        shape = (min(4_000, n - begin), 1, 1)
        slopes = [rng.choice([0, 0, 1, 4, 16], shape) * rng.standard_normal(shape) * axis for axis in (x, y)]
        noise = rng.choice([0, 0.3, 1], shape) * rng.standard_normal((shape[0], 32, 32))
        grey = (rng.integers(0, 256, shape) + slopes[0] + slopes[1] + noise).clip(0, 255).astype(np.uint8)
        parts.append(hashes_of(dct(dct(grey, axis=1), axis=2)[:, :8, :8].reshape(-1, 64)))
    return np.concatenate(parts)


def neighbours(hashes: Hashes, rng: np.random.Generator) -> Hashes:
    """Flip 0 to 12 random bits of each hash."""
    bits = np.uint64(1) << rng.random((len(hashes), 64)).argsort(axis=1).astype(np.uint64)[:, :12]
    flipped = np.arange(12) < rng.integers(0, 13, (len(hashes), 1))
    flips: Hashes = np.bitwise_xor.reduce(np.where(flipped, bits, np.uint64(0)), axis=1)
    return hashes ^ flips


def make_hashes(real: Floats, n: int) -> Hashes:
    rng = np.random.default_rng(n)
    base = resample(real, n - int(n * PLANTED) - int(n * FLAT), rng)
    made = [base, flat(int(n * FLAT), rng), neighbours(rng.choice(base, int(n * PLANTED)), rng)]
    return rng.permutation(np.concatenate(made))


# ---- the searches: each gives seconds for all n queries, and the neighbours found of the first `queries` hashes


def ours(hashes: Hashes, queries: int, radius: int, repeats: int = 3) -> tuple[float, int]:
    from curate.phash import pairs_within

    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        pairs = pairs_within(hashes, radius)
        seconds.append(time.perf_counter() - begun)
    return min(seconds), sum(int((i < queries).sum() + (j < queries).sum()) for i, j, _ in pairs.expand())


def faiss_search(index: Any, hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    codes = hashes.astype("<u8").view(np.uint8).reshape(-1, 8)
    begun = time.perf_counter()
    index.add(codes)
    added = time.perf_counter()
    limits, _, _ = index.range_search(codes[:queries], radius + 1)  # faiss wants strictly less
    searched = time.perf_counter()
    return added - begun + (searched - added) * len(hashes) / queries, int(limits[-1]) - queries


def faiss_flat(hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    import faiss  # type: ignore[import-not-found]

    return faiss_search(faiss.IndexBinaryFlat(64), hashes, queries, radius)


def faiss_multi(hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    """Multi-index hashing: with 3 tables, radius // 3 flips in each find everything."""
    import faiss

    index = faiss.IndexBinaryMultiHash(64, 3, 21)
    index.nflip = radius // 3
    return faiss_search(index, hashes, queries, radius)


def imagededup_search(method: str, hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    from imagededup.handlers.search.retrieval import HashEval  # type: ignore[import-not-found]
    from imagededup.methods.hashing import Hashing  # type: ignore[import-not-found]

    names = {f"{i}.jpg": f"{value:016x}" for i, value in enumerate(hashes.tolist())}

    def search(few: int) -> tuple[float, int]:
        begun = time.perf_counter()
        asked = dict(list(names.items())[:few])
        found = HashEval(
            names, asked, Hashing.hamming_distance, verbose=False, threshold=radius, search_method=method
        ).retrieve_results()
        return time.perf_counter() - begun, sum(len(near) for near in found.values())

    fixed, _ = search(1)  # building the tree, starting its processes
    seconds, found = search(queries)
    return fixed + (seconds - fixed) * len(hashes) / queries, found


def imagededup_cython(hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    return imagededup_search("brute_force_cython", hashes, queries, radius)


def imagededup_tree(hashes: Hashes, queries: int, radius: int) -> tuple[float, int]:
    return imagededup_search("bktree", hashes, queries, radius)


Search = Callable[[Hashes, int, int], tuple[float, int]]
# name → search, packages, most hashes, most queries
SEARCHES: dict[str, tuple[Search, list[str], int, int]] = {
    "ours": (ours, [], 10**9, 10**9),
    "faiss IndexBinaryFlat": (faiss_flat, FAISS, 10**9, 20_000),
    "faiss IndexBinaryMultiHash": (faiss_multi, FAISS, 10**9, 2_000),
    "imagededup brute force (Cython)": (imagededup_cython, IMAGEDEDUP, 20_000, 2_000),
    "imagededup BK-tree": (imagededup_tree, IMAGEDEDUP, 20_000, 100),
}


# ---- the table


def compare(file: Path, n: int, radius: int, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Run each search on one file of hashes; ours also on each peer's queries, to compare what was found."""

    def ask(name: str, queries: int, packages: list[str]) -> dict[str, Any]:
        arguments = ["--search", name, "--hashes", str(file), "--queries", str(queries), "--radius", str(radius)]
        found: dict[str, Any] = run(HERE, arguments, packages)
        return found

    rows = {}
    for name in names:
        _, packages, most_hashes, most_queries = SEARCHES[name]
        if n <= most_hashes:
            queries = min(n, most_queries)
            row = ask(name, queries, packages) | {"queries": queries}
            row["agrees"] = True if name == "ours" else ask("ours", queries, [])["found"] == row["found"]
            rows[name] = row
    return rows


def print_table(results: dict[int, dict[str, dict[str, Any]]]) -> None:
    print("| hashes | search | times ours | seconds | peak RSS, MB | queries timed | neighbours of these | as ours |")
    print("|---:|:---|---:|---:|---:|---:|---:|:---|")
    for n, rows in results.items():
        for name, row in rows.items():
            ratio = row["seconds"] / rows["ours"]["seconds"]
            asked = "all" if row["queries"] == n else f"{row['queries']:,}, extrapolated"
            agrees = "yes" if row["agrees"] else "**NO**"
            print(
                f"| {n:,} | {name} | {ratio:,.1f}× | {row['seconds']:,.3g} | {row['rss'] / 1e6:,.0f} "
                f"| {asked} | {row['found']:,} | {agrees} |"
            )
    sizes = sorted(results)
    for small, large in pairwise(sizes):
        growth = results[large]["ours"]["seconds"] / results[small]["ours"]["seconds"]
        print(f"\nOurs, from {small:,} to {large:,} hashes ({large / small:.3g} times): {growth:.1f} times the time.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, help="a folder of real pictures, JPEG")
    parser.add_argument("--sizes", default="10000,20000,100000,1000000")
    parser.add_argument("--radius", type=int, default=8)
    parser.add_argument("--only", default=",".join(SEARCHES), help="which searches, of: " + ", ".join(SEARCHES))
    for inner in ("--search", "--hashes", "--queries"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.search:
        seconds, found = SEARCHES[args.search][0](np.load(args.hashes), int(args.queries), args.radius)
        print(json.dumps({"seconds": seconds, "found": found, "rss": peak_rss()}))
        return
    if args.flowers is None:
        parser.error("--flowers PATH is needed: the hashes are resampled from real pictures")
    real = real_coefficients(args.flowers)
    print(f"Radius {args.radius}. Hashes resampled from {len(real):,} pictures, {PLANTED:.0%} planted neighbours at")
    print(f"distances 0 to 12, {FLAT:.0%} flat pictures. Peers: {', '.join(FAISS + IMAGEDEDUP)}.\n", flush=True)
    results = {}
    names = ["ours", *(name for name in args.only.split(",") if name != "ours")]
    with tempfile.TemporaryDirectory() as folder:
        for n in (int(size) for size in args.sizes.split(",")):
            file = Path(folder, f"{n}.npy")
            np.save(file, make_hashes(real, n))
            results[n] = compare(file, n, args.radius, names)
    print_table(results)


if __name__ == "__main__":
    main()
