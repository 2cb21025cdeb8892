"""What options of fine-tuning are worth, inside a training set: no picture of valid or test is looked at.

    uv run benchmarks/tuning.py --flowers ../shared/flowers [--backbone efficientnet_lite0] [--crop 128] [--epochs 6]

The recipe `finetune` is run on the train split but for one fold of five, with `--final-crop` and all else that a line
names changed, and asked about that fold; then with the next one held out, `--folds` of them. What belongs together
(near-duplicates, shots of one scene) lies in one fold. The first line is the head alone, fitted on the bank at the size
that the others begin with. The difference is to the recipe, on the same pictures, with its standard error over them;
seconds are of the whole run, and say little on a machine that has other things to do. `--only` names lines, by commas;
the recipe is run in any case.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.console import say, table
from curate.dataset import open_dataset
from train.checkpoint import load_checkpoint
from train.fold_assignment import assign_folds, near_duplicate_groups
from train.pictures import LabelledPicture, class_folder_labels, labelled_pictures
from train.predict import Prediction, Predictor
from train.recipe import load_recipe
from train.run import options_of, train_recipe

FOLDS = 5
RECIPE = "the recipe"
LINES: dict[str, dict[str, Any]] = {
    "the head alone": {"unfreeze": "none", "mixup": 0.0, "cutmix": 0.0},
    RECIPE: {},
    "RandAugment 1 of 5": {"randaugment": 1, "magnitude": 5},
    "RandAugment 2 of 9": {"randaugment": 2, "magnitude": 9},
    "larger at last": {"final_epochs": 2},
    "larger throughout": {},
    "no mixing": {"mixup": 0.0, "cutmix": 0.0},
    "no average of weights": {"ema": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--final-crop", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--views", type=int, default=2, help="that the first head is fitted on")
    parser.add_argument("--folds", type=int, default=1, help="of five, how many are held out in turn")
    parser.add_argument("--classes", type=int, default=0, help="so many of the classes alone; 0: all")
    parser.add_argument("--only", default="", help="of the lines, these, by commas")
    options = parser.parse_args()
    wanted = [name for name in LINES if name == RECIPE or not options.only or name in options.only.split(",")]
    right: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in wanted}
    taken = dict.fromkeys(wanted, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        fold, pictures = folds_of(options.flowers, options.classes)
        for held in range(options.folds):
            root = laid_out(pictures, fold, held, Path(folder) / f"data {held}")
            for name in wanted:
                started = time.perf_counter()
                right[name].append(answers(name, root, Path(folder) / f"models {held}", options))
                taken[name] += time.perf_counter() - started
                say(f"fold {held}, {name}: {right[name][-1].mean():.2%}, {taken[name]:.0f} s so far")
    rows = [row(name, np.concatenate(right[name]), np.concatenate(right[RECIPE]), taken[name]) for name in wanted]
    n = len(np.concatenate(right[RECIPE]))
    table(f"{options.backbone} at {options.crop} pixels, {options.epochs} epochs, {n} held out", COLUMNS, rows)


COLUMNS = ["line", "right", "to the recipe", "seconds"]


def row(name: str, right: NDArray[np.bool_], other: NDArray[np.bool_], taken: float) -> list[str]:
    difference = right.astype(float) - other
    error = difference.std(ddof=1) / len(difference) ** 0.5
    told = "" if name == RECIPE else f"{100 * difference.mean():+.2f} ± {100 * error:.2f}"
    return [name, f"{right.mean():.2%}", told, f"{taken:.0f}"]


def folds_of(flowers: Path, classes: int) -> tuple[NDArray[np.int64], list[LabelledPicture]]:
    """The fold of each picture of train, and the pictures; of so many classes, 0: all."""
    from curate.files.reading import sha256_of

    dataset = open_dataset(flowers)
    labels = class_folder_labels(dataset, "train")[: classes or None]
    pictures = [one for one in labelled_pictures(dataset, "train") if one.label in labels]
    groups, notes = near_duplicate_groups(dataset)
    for note in notes:
        say(note)
    targets = np.array([labels.index(one.label) for one in pictures])
    content = [sha256_of(one.path, 1 << 30) for one in pictures]
    return assign_folds(content, targets, groups, folds=FOLDS, seed=1337), pictures


def laid_out(pictures: list[LabelledPicture], fold: NDArray[np.int64], held: int, root: Path) -> Path:
    """A dataset whose valid is the fold that is held out."""
    for one, number in zip(pictures, fold, strict=True):
        into = root / ("valid" if number == held else "train") / one.label
        into.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.path, into / one.path.name)
    return root


def answers(name: str, root: Path, models: Path, options: argparse.Namespace) -> NDArray[np.bool_]:
    """Which of the held-out pictures were named right."""
    changes = {
        "backbone": options.backbone, "weights": options.weights, "crop": options.crop, "views": options.views,
        "epochs": options.epochs, "final_crop": 0, **LINES[name],
    }  # fmt: skip
    if name == "larger at last":
        changes["final_crop"] = options.final_crop
    if name == "larger throughout":
        changes["crop"] = options.final_crop
    if name == "the head alone":
        changes |= {"epochs": 30, **{key: load_recipe().to_dict()[key] for key in OF_THE_HEAD}}
    report = train_recipe(root, options_of(load_recipe("finetune", changes), models=models))
    predictor = Predictor(load_checkpoint(report.checkpoint), "cpu")
    found = predictor.predict_files(sorted((root / "valid").rglob("*.jpg")))
    return np.array(
        [isinstance(one, Prediction) and one.guesses[0].label == Path(one.path).parent.name for one in found]
    )


OF_THE_HEAD = ("learning_rate", "weight_decay", "clip", "warmup", "batch", "label_smoothing", "ema", "balance")


if __name__ == "__main__":
    main()
