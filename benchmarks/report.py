"""What a report is worth: each figure against the commands' own, and its time and size for 8,189 pictures.

    python benchmarks/report.py FLOWERS [--pictures 8189] [--backbone efficientnet_lite0]

FLOWERS is a folder of class folders in train/. First the local web serves them: they are scraped, some faults are
planted, and the garden goes the whole way, `clean`, `split`, `train`, `audit`, `evaluate`, and `report`, each of whose
figures is compared with what these commands have printed and written. Then so many pictures are made of FLOWERS, each a
part of one in another light, and split. A tiny network is trained on them, whose many mistakes make a large report.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image, ImageEnhance

from benchmarks.peak import peak_rss
from commands import scraping_reports
from curate.image import load_pixels
from curate.names import load_names
from curate.parallel import ordered_map
from curate.scrape import scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.localweb import LocalWeb
from tests.commanding import command
from tests.reading_reports import ReadReport, compare_with_commands
from tests.training_ground import TINY
from tests.walked_garden import printed_by


def run(*words: object) -> tuple[str, float]:
    """What a command printed, and the seconds that it took."""
    started = time.perf_counter()
    ended = command(*words)
    assert ended.code == 0, (words, ended.out[-2000:], ended.err[-2000:])
    return ended.out, time.perf_counter() - started


def plant(root: Path) -> None:
    """In a dozen classes a smaller copy, in some the same bytes of another class, cut off files, and dark ones."""
    labels = sorted(folder.name for folder in root.iterdir())
    for number, label in enumerate(labels[:12]):
        first, *_ = sorted((root / label).glob("*.jpg"))
        picture = load_pixels(first)
        picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(root / label / "smaller.jpg", quality=85)
        if number < 4:
            shutil.copy(first, root / labels[number + 20] / f"of {label}.jpg")
            (root / label / "cut.jpg").write_bytes(first.read_bytes()[:9000])
            other, *_ = sorted((root / labels[number + 40]).glob("*.jpg"))
            load_pixels(other).point(lambda level: level // 8).save(root / label / "dark.jpg")


def figures(flowers: Path, place: Path, backbone: str) -> Iterator[tuple[str, str]]:
    """The whole way from the local web, and how many figures and lines of the report are the commands' own."""
    names, data, printed = load_names(), place / "garden", dict[str, str]()
    labels = sorted((folder.name for folder in (flowers / "train").iterdir()), key=int)
    queries = [Query(label, names[label], names[label]) for label in labels]
    with LocalWeb(flowers / "train", {label: (name, name) for label, name in names.items()}) as web:
        found = scrape(data, queries, ScrapeOptions(100, OPEN, 100), network=web.network(), keys={}, names=names)
    printed["scrape"] = printed_by(lambda: scraping_reports.scraping(found))
    plant(data / "raw")
    models = ("--models", place / "models")
    printed["clean"], _ = run("clean", data, "--yes")
    printed["split"], _ = run("split", data)
    run("train", data, "--backbone", backbone, *models, "--runs", place / "runs")
    (checkpoint,) = (place / "models").glob("*.pth")
    printed["audit"], _ = run("audit", data, "--checkpoint", checkpoint, *models)
    out = place / "report.html"
    for split, more in (("valid", ()), ("test", ("--evaluation", place / "test"))):
        printed["evaluate"], _ = run(
            "evaluate", data, "--split", split, "--checkpoint", checkpoint, *models, "--out", place / split
        )
        printed["dry-run"], _ = run("clean", data, "--dry-run", "--save-plan", place / "plan.jsonl")
        printed["verify"], _ = run("verify", data)
        _, seconds = run("report", data, *models, "--out", out, *more)
        report = ReadReport(out)
        compared = compare_with_commands(report, printed, {"data": data, "evaluated": place / split})
        shown = sum(map(len, report.pictures.values()))
        yield (
            f"{found.new:,} pictures from the local web, figures on {split}",
            f"{compared:,} compared, all equal | {shown:,} | {out.stat().st_size / 1e6:.1f} MB | {seconds:.0f} s",
        )


def make(flowers: Path, place: Path, count: int) -> Path:
    """So many pictures below `raw/`, in the proportions of the classes: parts of them, lighter or darker, turned."""
    files = sorted((flowers / "train").rglob("*.jpg"))

    def one(number: int) -> None:
        source, chance = files[number % len(files)], random.Random(number)
        picture = load_pixels(source)
        if number >= len(files):
            width, height = (round(side * chance.uniform(0.55, 0.9)) for side in picture.size)
            left, top = chance.randrange(picture.width - width + 1), chance.randrange(picture.height - height + 1)
            picture = picture.crop((left, top, left + width, top + height))
            if chance.random() < 0.5:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.6, 1.4))
        target = place / "raw" / source.parent.name / f"{number:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=88)

    for _ in ordered_map(one, range(count)):
        pass
    return place


def size(flowers: Path, place: Path, count: int) -> Iterator[tuple[str, str]]:
    """Time and size of a report of so many pictures, cleaned, split and trained on."""
    data = make(flowers, place / "many", count)
    models = ("--models", place / "many models")
    run("clean", data, "--yes")
    run("split", data)
    run("train", data, "--backbone", TINY, "--weights", "none", *models, "--runs", place / "runs", "--views", 1)
    out = place / "many.html"
    _, seconds = run("report", data, *models, "--out", out)
    _, again = run("report", data, *models, "--out", out)
    shown = sum(map(len, ReadReport(out).pictures.values()))
    assert out.stat().st_size < 20e6
    yield (
        f"{count:,} pictures",
        f"| {shown:,} | {out.stat().st_size / 1e6:.1f} MB | {seconds:.0f} s, again {again:.0f} s",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowers", type=Path)
    parser.add_argument("--pictures", type=int, default=8189)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--keep", type=Path, help="a folder in which all is left")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = chosen.keep or Path(temporary)
        print("| report of | figures | pictures shown | size | time |\n|---|---|---:|---:|---:|")
        for rows in (figures(chosen.flowers, place, chosen.backbone), size(chosen.flowers, place, chosen.pictures)):
            for what, found in rows:
                print(f"| {what} | {found} |", flush=True)
    print(f"\nPeak memory of the process that did all of it: {peak_rss() / 1e6:,.0f} MB.")


if __name__ == "__main__":
    main()
