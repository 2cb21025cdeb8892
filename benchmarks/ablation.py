"""The flattery of leaks on real photographs: as they are, without any near-duplicates, and with leaks planted.

    uv run python -m benchmarks.ablation [--flowers DIR] [--share 0.2] [--seeds 3] [--backbone NAME] [--weights FILE]

Three datasets of links to the same train and valid. "as they are" is the folder itself. "one of each group" keeps one
picture of each group that `split` would keep together. "leaks planted" is that with copies, by one edit each, of some
of its train pictures in valid: smaller, lighter, cut at the border, or saved anew. Naive is the accuracy in five folds
that are drawn picture by picture, ours that in folds which part no group, on the same pictures of train and valid; the
difference has its 95% interval by the bootstrap over groups and seeds (`train/ablating/paired.py`). It has to exclude 0
where leaks are planted, and to hold 0 where none can be. "leaks, on valid" is what taking them out of train does to the
figure on valid, which holds their copies, and to that on the rest of valid.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from PIL import Image, ImageEnhance

from curate.dataset import open_dataset
from curate.files.reading import sha256_of
from train.ablate import ablate
from train.ablating.report import AblationReport
from train.fold_assignment import near_duplicate_groups
from train.training import TrainOptions

EDITS = ("smaller", "lighter", "cut at the border", "saved anew")


def linked(flowers: Path, root: Path, *, apart: bool) -> Path:
    """Train and valid as links; with `apart` one picture of each group, the first by its path."""
    for file in sorted(flowers.glob("train/*/*.jpg")) + sorted(flowers.glob("valid/*/*.jpg")):
        link = root / file.relative_to(flowers)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    if apart:
        groups, _ = near_duplicate_groups(open_dataset(root))
        seen = set[int | str]()
        for link in sorted(root.glob("*/*/*.jpg")):
            content = sha256_of(link)
            group = groups.get(content, content)
            if group in seen:
                link.unlink()
            seen.add(group)
    return root


def plant_leaks(root: Path, share: float, seed: int) -> int:
    """Put a copy by one edit of a share of train's pictures into valid; returns how many."""
    files = sorted(root.glob("train/*/*.jpg"))
    chosen = Random(seed).sample(files, round(share * len(files)))
    for number, file in enumerate(sorted(chosen)):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        edit = EDITS[number % len(EDITS)]
        if edit == "smaller":
            image = image.resize((width * 3 // 4, height * 3 // 4), Image.Resampling.LANCZOS)
        elif edit == "lighter":
            image = ImageEnhance.Brightness(image).enhance(1.15)
        elif edit == "cut at the border":
            image = image.crop((width // 50, height // 50, width - width // 50, height - height // 50))
        to = root / "valid" / file.parent.name / f"copy of {file.stem}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        image.save(to, quality=80)
    return len(chosen)


def row(name: str, report: AblationReport) -> str:
    found = report.flattery
    assert found is not None
    leaks = [f"{100 * one.gain.mean:+.2f}" for one in report.rows if one.step == "leaks"]
    gain = found.gain
    interval = f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}"
    return (
        f"{name:20}{found.pictures:10}{found.groups:8}{found.naive.mean:9.2%}{found.ours.mean:9.2%}"
        f"{100 * gain.mean:+13.2f}{interval:>18}{'yes' if gain.is_told else 'no':>12}{' / '.join(leaks):>24}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--models", type=Path, help="A folder whose bank/ is used again.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="florilegium-ablation-") as temporary:
        place = Path(temporary)
        told = TrainOptions(
            backbone=options.backbone, weights=options.weights, views=1, models=options.models or place / "models"
        )
        roots = {
            "as they are": linked(options.flowers, place / "whole", apart=False),
            "one of each group": linked(options.flowers, place / "apart", apart=True),
            "leaks planted": linked(options.flowers, place / "leaks", apart=True),
        }
        planted = plant_leaks(roots["leaks planted"], options.share, seed=0)
        print(f"{options.backbone}, {options.seeds} seeds, {planted} leaks planted")
        print(f"{'':20}{'pictures':>10}{'groups':>8}{'naive':>9}{'ours':>9}{'difference':>13}{'95% interval':>18}"
              f"{'excludes 0':>12}{'leaks, on valid':>24}", flush=True)  # fmt: skip
        for name, root in roots.items():
            started = time.process_time()
            report = ablate(root, told, seeds=options.seeds, only=["leaks", "flattery"])
            print(f"{row(name, report)}   {report.fits} heads, {time.process_time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
