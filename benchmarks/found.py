"""Copies found and strangers merged: florilegium, imagededup and cleanvision on one planted set of real photographs.

uv run python -m benchmarks.found [--flowers DIR] [--originals 400] [--ours]

All photographs of the folder lie in the set; some of them once more for each edit of `curate.lookalikes.edits`. A copy
is found where it is paired with its original; a merge of files of two different photographs is false. The peers run in
environments of their own, made by uv.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.duplicates import find_near_duplicates
from curate.image import load_pixels
from curate.lookalikes.edits import EDITS
from curate.parallel import ordered_map
from curate.scan import scan

HERE = Path(__file__).resolve().parent
TWINS = ({"image_07307", "image_07309"}, {"image_05716", "image_05733"})
"""Photographs that are one and the same in Oxford-102, so that pairing them is right: byte for byte, and as a crop to
four fifths of the width (which no tool here finds).
"""

Pairs = set[tuple[str, str]]


@dataclass(frozen=True)
class Result:
    """What one tool paired in the planted set, and how long it took, reading and hashing included."""

    tool: str
    pairs: Pairs
    seconds: float


def photograph(name: str) -> str:
    """The photograph that a file of the planted set was made from: its name begins with it."""
    return name.split("--")[0].split(".")[0]


def plant(flowers: Path, folder: Path, originals: int, seed: int = 0) -> list[str]:
    """Fill the folder; give the names of the photographs that were edited."""
    paths = sorted(flowers.glob("*/*/*.jpg"))
    folder.mkdir(parents=True)
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    order = np.random.default_rng(seed).permutation(len(paths))[:originals]
    chosen = [paths[at] for at in sorted(order.tolist())]

    def edit(path: Path) -> None:
        picture = load_pixels(path)
        for number, edit in enumerate(EDITS):
            suffix = {"re-encoded as PNG": "png", "re-encoded as WebP": "webp"}.get(edit.name, "jpg")
            (folder / f"{path.stem}--{number:02}.{suffix}").write_bytes(edit.make(picture))

    for _ in ordered_map(edit, chosen):
        pass
    return [path.stem for path in chosen]


def ours(folder: Path, *, geometry: bool) -> Result:
    began = time.monotonic()
    dataset = open_dataset(folder.parent)
    with tempfile.TemporaryDirectory() as home, Catalog.open(Path(home) / "catalog.sqlite") as catalog:
        scan(dataset, catalog)
        pictures = catalog.pictures()
    found = find_near_duplicates(dataset.root, pictures, geometry=geometry)
    names = [[Path(pictures[at].path).name for at in positions] for positions in found.contents]
    pairs = {pair for same in names for pair in combinations(sorted(same), 2)}
    for first, second, _ in found.verified():
        pairs |= {(min(a, b), max(a, b)) for a in names[first] for b in names[second]}
    return Result("florilegium, turned" if geometry else "florilegium", pairs, time.monotonic() - began)


def peer(package: str, folder: Path, *arguments: str) -> Result | None:
    """Run a peer in an environment of its own; None where that cannot be made."""
    with tempfile.TemporaryDirectory() as out:
        answer = Path(out) / "pairs.json"
        script = HERE / "peers" / f"{package.split('=')[0]}_pairs.py"
        command = ["uv", "run", "--isolated", "--no-project", "--with", package, "python", str(script)]
        began = time.monotonic()
        done = subprocess.run([*command, str(folder), str(answer), *arguments], capture_output=True, text=True)
        seconds = time.monotonic() - began
        if done.returncode:
            print(f"{package} did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        pairs = {(min(a, b), max(a, b)) for a, b in json.loads(answer.read_text())}
    return Result(package, pairs, seconds)


def recall(result: Result, chosen: list[str], number: int) -> float:
    """The share of copies by one edit that are paired with their original."""
    found = Counter(
        photograph(a)
        for a, b in result.pairs
        for original, copy in ((a, b), (b, a))
        if "--" not in original and f"{photograph(original)}--{number:02}" == copy.split(".")[0]
    )
    return len(found.keys() & set(chosen)) / len(chosen)


def false_pairs(result: Result, *, real: bool) -> list[tuple[str, str]]:
    """Pairs of files of different photographs; of unedited ones alone where `real`."""
    return sorted(
        (a, b)
        for a, b in result.pairs
        if photograph(a) != photograph(b)
        and {photograph(a), photograph(b)} not in TWINS
        and not (real and ("--" in a or "--" in b))
    )


def table(results: list[Result], chosen: list[str], folder: Path) -> None:
    files = [path.name for path in folder.iterdir()]
    reals = [name for name in files if "--" not in name]
    width = max(len(edit.name) for edit in EDITS) + 2
    print(f"{len(reals)} photographs, {len(chosen)} of them edited in {len(EDITS)} ways: {len(files)} files")
    print(f"{'recall':{width}}" + "".join(f"{result.tool:>24}" for result in results))
    for number, edit in enumerate(EDITS):
        row = "".join(f"{recall(result, chosen, number):24.3f}" for result in results)
        print(f"{edit.name:{width}}{row}")
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("false merges", lambda result: f"{len(false_pairs(result, real=False)):,}"),
        ("  per million pairs", lambda result: f"{rate(len(false_pairs(result, real=False)), len(files)):.3f}"),
        ("  of real pictures", lambda result: f"{len(false_pairs(result, real=True)):,}"),
        ("seconds", lambda result: f"{result.seconds:.1f}"),
    ]
    for name, value in rows:
        print(f"{name:{width}}" + "".join(f"{value(result):>24}" for result in results))


def rate(count: int, files: int) -> float:
    """Per million pairs of so many files."""
    return 1e6 * count / (files * (files - 1) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent / "shared" / "flowers")
    parser.add_argument("--originals", type=int, default=400)
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "planted" / "flowers"
        chosen = plant(options.flowers, folder, options.originals)
        results: list[Result | None] = [ours(folder, geometry=False), ours(folder, geometry=True)]
        if not options.ours:
            results += [peer("imagededup==0.3.3.post2", folder, "10"), peer("cleanvision==0.3.7", folder)]
        ran = [result for result in results if result]
        table(ran, chosen, folder)
        for result in ran[:2]:
            for pair in false_pairs(result, real=False)[:20]:
                print(f"{result.tool}: {pair[0]} and {pair[1]} were merged")


if __name__ == "__main__":
    main()
