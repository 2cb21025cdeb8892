"""Pictures a second: our scan, the plain way, imagededup and cleanvision, and the limit that decoding sets.

    uv run python benchmarks/scan.py [--flowers DIR] [--rounds 3] [--ours]

The scan is all of what `clean` does up to its plan: every file read and decoded to its last byte, sha256, pHash, the
fingerprint of its windows, all quality figures, and the catalog written. The plain way is Pillow's `load`, then
`imagehash.phash`, in one process. The limit is Pillow's reduced decode alone, at the scale and of the channel that the
scan decodes, in as many threads or processes as there are processors, whichever is faster. Each is run in turn, in a
process of its own whose start does not count, and its best round does. The peers run in environments made by uv.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(REPOSITORY), str(HERE)]  # each task runs as a script

from benchmarks.peers import run

CHUNK = 32

WANTED = {"plain": 6.0, "imagededup": 3.0, "cleanvision": 20.0, "limit": 0.6}
"""How many times as many pictures a second the scan is meant to read."""


def ours(folder: Path) -> float:
    from commands.running import share_processors

    share_processors()  # as every command does
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    from curate.inspect import inspect
    from curate.scan import scan

    dataset = open_dataset(folder)
    inspect((folder / dataset.files()[0].path).read_bytes())  # what is imported at the first picture
    with tempfile.TemporaryDirectory() as elsewhere:
        started = time.perf_counter()
        with Catalog.open(Path(elsewhere) / "catalog.sqlite") as catalog:
            scan(dataset, catalog)
            seconds = time.perf_counter() - started
            assert all(picture.scores and not picture.broken for picture in catalog.pictures())
    return seconds


def plain(folder: Path) -> float:
    import imagehash
    from PIL import Image

    files = pictures(folder)
    imagehash.phash(Image.open(files[0]))
    started = time.perf_counter()
    for file in files:
        with Image.open(file) as image:
            image.load()
            imagehash.phash(image)
    return time.perf_counter() - started


def decode_reduced(files: Sequence[Path]) -> int:
    from PIL import Image

    from curate.inspect import AT_LEAST

    for file in files:
        with Image.open(file) as image:
            image.draft("L", (AT_LEAST, AT_LEAST))
            image.load()
    return len(files)


def limit(make: Callable[[int], Executor], folder: Path) -> float:
    from curate.parallel import processors

    files = pictures(folder)
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with make(processors()) as pool:
        list(pool.map(decode_reduced, [files[:1]] * 4 * processors()))  # starts and imports
        started = time.perf_counter()
        assert sum(pool.map(decode_reduced, chunks)) == len(files)
        return time.perf_counter() - started


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.jpg"))


TASKS: dict[str, Callable[[Path], float]] = {
    "florilegium": ours,
    "plain": plain,
    "limit, threads": partial(limit, ThreadPoolExecutor),
    "limit, processes": partial(limit, ProcessPoolExecutor),
}


def own(task: str, folder: Path) -> float:
    done = run(Path(__file__), ["--task", task, "--flowers", str(folder)])
    return float(done["seconds"])


def peer(script: str, package: str, folder: Path) -> float:
    done = run(HERE / "peers" / script, [str(folder)], [package])
    assert done["pictures"] == len(pictures(folder)), done
    return float(done["seconds"])


PEERS: dict[str, Callable[[Path], float]] = {
    "imagededup": partial(peer, "imagededup_encode.py", "imagededup"),
    "cleanvision": partial(peer, "cleanvision_issues.py", "cleanvision"),
}


def measure(folder: Path, rounds: int, *, with_peers: bool) -> dict[str, float]:
    """Pictures a second of each tool, by its best round."""
    tools: dict[str, Callable[[Path], float]] = {task: partial(own, task) for task in TASKS}
    best: dict[str, float] = {}
    for number in range(rounds):
        # Once is enough for what takes a minute, and is not near the line.
        turn = tools | PEERS if with_peers and number == 0 else tools
        for name, task in turn.items():
            best[name] = min(best.get(name, float("inf")), task(folder))
    count = len(pictures(folder))
    rates = {name: count / seconds for name, seconds in best.items()}
    threads, processes = rates.pop("limit, threads"), rates.pop("limit, processes")
    return rates | {"limit": max(threads, processes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="leave out imagededup and cleanvision")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps({"seconds": TASKS[options.task](options.flowers)}))
        return
    rates = measure(options.flowers, options.rounds, with_peers=not options.ours)
    for name, rate in rates.items():
        if name in WANTED:
            ratio = rates["florilegium"] / rate
            print(f"{ratio:7.2f} × {name:12} (wanted: {WANTED[name]:g} ×)")
    print(f"\n{len(pictures(options.flowers)):,} pictures; pictures a second")
    for name, rate in rates.items():
        print(f"{rate:9,.0f}  {name}")


if __name__ == "__main__":
    main()
