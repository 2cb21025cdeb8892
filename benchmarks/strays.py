"""How strays are refused: drawn charts and pages, real objects and faces, flowers of classes that were held out.

    uv run python -m benchmarks.strays [--flowers DIR] [--held-out 20] [--seed 0] [--backbone NAME] [--weights FILE]

A head is trained on all classes but those held out. Known are the valid pictures of its classes. "confidence" is the
largest probability, "distance" that of `train/familiarity.py`. AUROC says how often a stray stands behind a known
picture. "cover" is the largest share of the known pictures that can be answered, right, while 95% of all answers are
right, where there are as many strays as known pictures: before by confidence alone, after with what is like no class
refused first. "sure" is the share that `predict --abstain P` answers, before by the share right on valid, after by its
bound and the distance.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import rankdata

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.peers import run
from benchmarks.quality import page
from curate.dataset import open_dataset
from curate.errors import UserError
from train.calibration import Calibration, abstention
from train.checkpoint import Checkpoint, load_checkpoint
from train.evaluate import side_by_side
from train.familiarity import STRANGE
from train.pictures import LabelledPicture, labelled_pictures
from train.predict import familiarities, mean_probabilities
from train.training import TrainOptions, train_head

PRECISION = 0.95
LEAFY = 0.97  # share of a square that is green, from which on it shows leaves alone
HERE = Path(__file__).resolve().parent


def chart(seed: int) -> Image.Image:
    """Bars, lines, dots or a pie, on white, with a title."""
    choose = Random(seed)
    width, height = choose.choice([(640, 480), (800, 600), (500, 500)])
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    inks = [tuple(choose.randrange(40, 230) for _ in range(3)) for _ in range(6)]
    draw.text((width // 3, 10), f"Sales {2000 + seed}", fill="black", font=ImageFont.load_default(18))
    foot = height - 40
    if seed % 4 < 3:
        draw.line((50, 40, 50, foot, width - 20, foot), fill="black", width=2)
    if seed % 4 == 0:
        step = (width - 100) // 7
        for number in range(7):
            left = 60 + number * step
            draw.rectangle(
                (left, foot - choose.randrange(30, height - 120), left + step * 2 // 3, foot), inks[number % 6]
            )
    elif seed % 4 == 1:
        for ink in inks[:3]:
            heights = np.clip(height // 2 + np.cumsum([choose.randrange(-25, 26) for _ in range(30)]), 45, foot - 5)
            draw.line([(50 + number * (width - 80) // 30, int(y)) for number, y in enumerate(heights)], ink, 3)
    elif seed % 4 == 2:
        for _ in range(120):
            x, y = choose.randrange(60, width - 30), choose.randrange(45, foot - 10)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=choose.choice(inks))
    else:
        radius, start = height // 3, 0
        box = (width // 2 - radius, height // 2 - radius + 10, width // 2 + radius, height // 2 + radius + 10)
        for number in range(6):
            end = 360 if number == 5 else min(360, start + choose.randrange(30, 70))
            draw.pieslice(box, start, end, fill=inks[number])
            start = end
    return image


def drawn(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    files = []
    for number in range(100):
        files.append(folder / f"{number:03}.png")
        (chart(number) if number < 60 else page(number)).save(files[-1])
    return files


def foliage(flowers: Path, folder: Path) -> list[Path]:
    """Leaves: of each photograph the greenest of the squares of 200 pixels, where nearly all of it is green."""
    folder.mkdir(parents=True)
    files = []
    for file in sorted(flowers.glob("*/*/*.jpg")):
        with Image.open(file) as photograph:
            image = photograph.convert("RGB")
        hue, saturation, value = np.moveaxis(np.asarray(image.convert("HSV")), -1, 0)
        green = (hue > 45) & (hue < 110) & (saturation > 50) & (value > 40)
        sums = np.pad(green.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        shares = (sums[200:, 200:] - sums[:-200, 200:] - sums[200:, :-200] + sums[:-200, :-200]) / 200**2
        if shares.size and shares.max() >= LEAFY:
            top, left = np.unravel_index(shares.argmax(), shares.shape)
            files.append(folder / f"{file.parent.name} {file.stem}.png")
            image.crop((int(left), int(top), int(left) + 200, int(top) + 200)).save(files[-1])
    return files


def known_part(flowers: Path, root: Path, held_out: set[str]) -> None:
    """The splits as links, without the classes that are held out."""
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True)
        for folder in sorted((flowers / split).iterdir()):
            if folder.is_dir() and folder.name not in held_out:
                (root / split / folder.name).mkdir()
                for file in folder.glob("*.jpg"):
                    (root / split / folder.name / file.name).symlink_to(file)


def answers(
    checkpoint: Checkpoint, files: list[Path], bank: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """(probabilities, distances, familiarities) of each file."""
    pictures = [LabelledPicture(file, "") for file in files]
    found = side_by_side(
        checkpoint.backbones, pictures, bank=bank, device=torch.device("cpu"), precision="float32", description=""
    )
    assert checkpoint.familiarity is not None
    known = familiarities(checkpoint, found.features)
    assert known is not None
    rows = mean_probabilities(checkpoint.head, found.features, checkpoint.temperature)
    return rows, checkpoint.familiarity.distances(found.features[:, 0].float().numpy()), known


def auroc(known: NDArray[np.floating], stray: NDArray[np.floating]) -> float:
    """How often a stray's score is above a known picture's; a tie counts half."""
    ranks = rankdata(np.concatenate([stray, known]))
    return float((ranks[: len(stray)].sum() - len(stray) * (len(stray) + 1) / 2) / (len(stray) * len(known)))


def coverage(known: NDArray[np.float32], right: NDArray[np.bool_], stray: NDArray[np.float32], asked: int) -> float:
    """Share of the `asked` known pictures that is answered right at the lowest threshold with PRECISION.

    `known` and `stray` are confidences, below 0 where the picture was refused already.
    """
    scores = np.concatenate([known, stray])
    good = np.concatenate([right.astype(float), np.zeros(len(stray))])
    weight = np.concatenate([np.ones(len(known)), np.full(len(stray), asked / len(stray))])
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= 0]
    share = np.cumsum(good[order]) / np.cumsum(weight[order])
    enough = np.flatnonzero(share >= PRECISION)
    return float(np.cumsum(good[order])[enough[-1]] / asked) if len(enough) else 0.0


def before(calibration: Calibration, precision: float) -> float:
    """The lowest threshold at which the share right on valid is the precision: as it was."""
    share = np.cumsum(calibration.right) / np.arange(1, len(calibration.right) + 1)
    enough = np.flatnonzero(share >= precision)
    last = int(enough[-1]) if len(enough) else -1
    return float(calibration.confidence[last]) if last + 1 < len(calibration.right) else 0.0


def sure(checkpoint: Checkpoint, precision: float) -> tuple[float, float]:
    """The thresholds of `--abstain`, before and after; 2 where no threshold can be promised."""
    assert checkpoint.calibration is not None
    try:
        after = abstention(checkpoint.calibration, precision).threshold
    except UserError:
        after = 2.0
    return before(checkpoint.calibration, precision), after


def strays(flowers: Path, held_out: set[str], folder: Path) -> Iterator[tuple[str, list[Path]]]:
    yield "charts and pages", drawn(folder / "drawn")
    run(HERE / "peers" / "stray_pictures.py", [str(folder / "real")], ["scikit-image==0.26.0", "pillow"])
    yield "objects", sorted((folder / "real" / "objects").iterdir())
    yield "faces", sorted((folder / "real" / "faces").iterdir())
    yield "leaves", foliage(flowers, folder / "leaves")
    yield "other flowers", [one for label in sorted(held_out) for one in sorted(flowers.glob(f"*/{label}/*.jpg"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--models", type=Path, help="A folder whose bank/ is used again.")
    options = parser.parse_args()
    labels = sorted(folder.name for folder in (options.flowers / "train").iterdir() if folder.is_dir())
    held_out = set(Random(options.seed).sample(labels, options.held_out))
    with tempfile.TemporaryDirectory(prefix="florilegium-strays-") as temporary:
        root, models = Path(temporary) / "known", options.models or Path(temporary) / "models"
        known_part(options.flowers, root, held_out)
        told = TrainOptions(backbone=options.backbone, weights=options.weights, views=1, models=models)
        checkpoint = load_checkpoint(train_head(root, told).checkpoint)
        pictures = labelled_pictures(open_dataset(root), "valid")
        rows, distances, familiar = answers(checkpoint, [one.path for one in pictures], models / "bank")
        truth = np.array([checkpoint.labels.index(one.label) for one in pictures])
        right, confidence, n = rows.argmax(axis=1) == truth, rows.max(axis=1), len(rows)
        gated = np.where(familiar >= STRANGE, confidence, -1)
        print(
            f"{options.backbone}, {len(checkpoint.labels)} classes, {right.mean():.2%} of {n} known pictures right; "
            f"{(familiar < STRANGE).mean():.1%} of them taken for strays ({STRANGE:.0%} meant)"
        )
        thresholds = {precision: sure(checkpoint, precision) for precision in (0.9, 0.95, 0.98)}
        print(f"{'':18}{'of':>5}{'AUROC: confidence':>19}{'distance':>10}{'cover: before':>15}{'after':>7}", end="")
        print("".join(f"{f'sure at {precision:g}':>16}" for precision in thresholds))
        shown = [f"{(confidence >= old).mean():.0%} → {(gated >= new).mean():.0%}" for old, new in thresholds.values()]
        print(f"{'known':18}{n:5}{'':51}" + "".join(f"{text:>16}" for text in shown))
        for kind, files in strays(options.flowers, held_out, Path(temporary) / "strays"):
            found, far, theirs = answers(checkpoint, files, models / "bank")
            sureness = found.max(axis=1)
            refused = np.where(theirs >= STRANGE, sureness, -1)
            print(
                f"{kind:18}{len(files):5}{auroc(-confidence, -sureness):19.3f}{auroc(distances, far):10.3f}"
                f"{coverage(confidence, right, sureness, n):15.1%}{coverage(gated, right, refused, n):7.1%}"
                + "".join(
                    f"{f'{(sureness >= old).mean():.0%} → {(refused >= new).mean():.0%}':>16}"
                    for old, new in thresholds.values()
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
