"""Pictures a second by `--engine ray` on one machine, against `local`: what Ray costs where it is of no use.

    uv run python benchmarks/ray_overhead.py [--flowers DIR] [--pictures 20000] [--rounds 3] [--features 2000]

The scan is all of what `clean` does up to its plan: every file read and decoded to its last byte, sha256, pHash, the
fingerprint of its windows, all quality figures, and the catalog written. The pictures are links to those of --flowers,
as often as it takes. The features are those of EfficientNet-Lite0 in float32, from an empty bank. Each is run in turn
on both engines, in a process of its own; its best round counts. Ray's start-up is given apart: the cluster, its
workers, and what they import, until the first 64 pictures have been read (or had their features computed).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(REPOSITORY), str(HERE)]  # each task runs as a script

from benchmarks.peers import run

WANTED = 0.7
"""The share of the local engine's pictures a second that Ray is meant to reach."""

FIRST = 64  # pictures that count as start-up


def scan(folder: Path, few: Path, engine: str) -> dict[str, float]:
    from commands.running import share_processors

    share_processors()  # as every command does
    from curate.engine.engines import on_engine

    with on_engine(engine):
        first = _scan_seconds(few)
        return {"start-up": first, "seconds": _scan_seconds(folder)}


def _scan_seconds(folder: Path) -> float:
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    from curate.scan import scan

    with tempfile.TemporaryDirectory() as elsewhere:
        started = time.perf_counter()
        dataset = open_dataset(folder)
        with Catalog.open(Path(elsewhere) / "catalog.sqlite") as catalog:
            scan(dataset, catalog)
            seconds = time.perf_counter() - started
            assert all(picture.scores and not picture.broken for picture in catalog.pictures())
    return seconds


def features(folder: Path, few: Path, engine: str) -> dict[str, float]:
    from commands.running import share_processors

    share_processors()
    from curate.engine.engines import on_engine
    from train.backbones import load_backbone

    backbone = load_backbone("efficientnet_lite0")
    with on_engine(engine):
        first = _features_seconds(backbone, few)
        return {"start-up": first, "seconds": _features_seconds(backbone, folder)}


def _features_seconds(backbone: object, folder: Path) -> float:
    import torch

    from train.features.extract import extract
    from train.features.prepare import PictureRef

    refs = [PictureRef(path) for path in pictures(folder)]
    with tempfile.TemporaryDirectory() as bank:
        started = time.perf_counter()
        found = extract(backbone, refs, bank=Path(bank), device=torch.device("cpu"), precision="float32")  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        assert found.computed == len(refs)
    return seconds


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("raw/*/*.jpg"))


def links(flowers: Path, folder: Path, count: int) -> Path:
    """A dataset of `count` links to the pictures of `flowers`, each with a name of its own."""
    originals = sorted(flowers.glob("*/*/*.jpg"))
    for number in range(count):
        original = originals[number % len(originals)]
        place = folder / "raw" / original.parent.name / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(original)
    return folder


TASKS: dict[str, Callable[[Path, Path, str], dict[str, float]]] = {"scan": scan, "features": features}


def measure(task: str, folder: Path, few: Path, rounds: int) -> None:
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for engine in ("local", "ray"):
            done = run(Path(__file__), ["--task", task, "--engine", engine, "--folder", str(folder), "--few", str(few)])
            found = {name: float(value) for name, value in done.items()}
            before = best.setdefault(engine, found)
            best[engine] = {name: min(before[name], found[name]) for name in found}
    count = len(pictures(folder))
    rates = {engine: count / found["seconds"] for engine, found in best.items()}
    print(f"{rates['ray'] / rates['local']:7.2f} × local's pictures a second, {task} (wanted: {WANTED:g} ×)")
    for engine, rate in rates.items():
        start = best[engine]["start-up"]
        print(f"{rate:9,.1f} pictures a second, {engine}; {start:.1f} s until the first {FIRST} are done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    for name in ("--task", "--engine", "--folder", "--few"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](Path(options.folder), Path(options.few), options.engine)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        few = links(options.flowers.resolve(), Path(scratch) / "few", FIRST)
        for task, count in (("scan", options.pictures), ("features", options.features)):
            if count:
                measure(task, links(options.flowers.resolve(), Path(scratch) / task, count), few, options.rounds)


if __name__ == "__main__":
    main()
