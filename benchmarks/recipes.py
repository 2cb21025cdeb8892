"""Every training recipe, run through on real flowers: what its row promises, what it does here, how well.

    uv run benchmarks/recipes.py --flowers PATH [--resnet50 FILE] [--only NAME] [--models DIR] [--quick]

Two tables. In the first, each recipe runs with its own backbone. Where that one's weights can't be fetched they are
random, and then a few pictures must do: the run shows the head, the steps and the time, and its accuracy says
nothing. In the second, the same recipes run on the backbones whose weights are at hand, EfficientNet-Lite0 and, with
--resnet50 FILE, ResNet50, on all training pictures, with accuracy on valid and its 95% interval.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

OFFLINE = "efficientnet_lite0"

# Sizes at which two processors come to an end; a run of one's own takes none of them
SHORT: dict[str, dict[str, Any]] = {
    "last-layer": {"views": 2},
    "best": {"views": 2},
    "resnet152": {"views": 2},
    "inception-bottleneck": {"views": 2, "steps": 500},
    "vgg-classifier": {"views": 2},
    "vgg16-notebook": {"views": 2},
    "landmarks": {"views": 2},
    "scratch-cnn": {"crop": 112, "epochs": 12},
    "finetune": {"epochs": 3, "views": 2},
}
# And for a network of random weights, from which nothing is to be learnt
FEW_CLASSES, FEW_PICTURES = 10, 8
FASTER: dict[str, dict[str, Any]] = {
    "vgg16-notebook": {"epochs": 2},
    "finetune": {"epochs": 1, "crop": 96},
    "landmarks": {"epochs": 20},
}


@dataclass(frozen=True)
class Row:
    recipe: str
    does: str
    weights: str
    pictures: str
    steps: int
    seconds: float
    valid: str
    loss: str


def run(root: Path, models: Path, name: str, overrides: dict[str, Any]) -> Row:
    from train.checkpoint import load_checkpoint
    from train.optimising.layers import linears
    from train.recipe import load_recipe
    from train.run import options_of, train_recipe

    recipe = load_recipe(name, overrides)
    started = time.perf_counter()
    report = train_recipe(root, options_of(recipe, models=models))
    seconds = time.perf_counter() - started
    checkpoint = load_checkpoint(report.checkpoint)
    layers = linears(checkpoint.head)
    shape = "→".join(str(size) for size in [layers[0].in_features, *(layer.out_features for layer in layers)])
    fit = recipe.options.head
    samples = report.train_pictures * len(checkpoint.history)
    interval = report.valid.interval
    return Row(
        recipe=name,
        does=f"{'+'.join(report.backbones)}: {report.trained}, {shape}; {fit.optimizer} {fit.learning_rate:g} "
        f"{fit.schedule}, batch {fit.batch}, {len(checkpoint.history)} epochs",
        weights=checkpoint.backbones[0].weights,
        pictures=f"{report.train_pictures} of {report.classes} classes, {report.views} views",
        steps=fit.steps or -(-samples // (fit.batch * fit.accumulate)),
        seconds=seconds,
        valid=f"{report.valid.percent()} ({100 * interval.low:.1f}–{100 * interval.high:.1f}, n = {report.valid.n})",
        loss=f"{checkpoint.history[0]['loss']:.2f} → {checkpoint.history[-1]['loss']:.2f}",
    )


def weights_can_be_had(name: str) -> bool:
    from curate.errors import UserError
    from train.backbones import load_backbone
    from train.recipe import load_recipe

    recipe = load_recipe(name)
    if recipe.options.weights == "none":
        return True
    try:
        load_backbone(recipe.options.backbone, recipe.options.weights, cut=recipe.options.features)
    except UserError:
        return False
    return True


def few_pictures(flowers: Path, folder: Path) -> Path:
    """A small part of the pictures, as hard links or copies."""
    for split, most in (("train", FEW_PICTURES), ("valid", 2)):
        for label in sorted(path.name for path in (flowers / "train").iterdir() if path.is_dir())[:FEW_CLASSES]:
            target = folder / split / label
            target.mkdir(parents=True)
            for path in sorted((flowers / split / label).iterdir())[:most]:
                try:
                    os.link(path, target / path.name)
                except OSError:
                    shutil.copyfile(path, target / path.name)
    return folder


def own_backbones(arguments: argparse.Namespace, names: list[str], models: Path) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        few = few_pictures(arguments.flowers, Path(folder) / "few")
        for name in names:
            short = dict(SHORT.get(name, {}))
            if weights_can_be_had(name):
                yield run(arguments.flowers, models, name, short)
            else:
                yield run(few, models / "random", name, {**short, **FASTER.get(name, {}), "weights": "none"})


def backbones_at_hand(arguments: argparse.Namespace, names: list[str], models: Path) -> Iterator[Row]:
    from train.recipe import load_recipe

    at_hand: list[dict[str, Any]] = [{"backbone": OFFLINE, "weights": "default"}]
    if arguments.resnet50:
        at_hand.append({"backbone": "torchvision:resnet50", "weights": str(arguments.resnet50)})
    for name in names:
        for backbone in at_hand:
            recipe = load_recipe(name)
            if recipe.options.backbone == "scratch_cnn" or (not recipe.frozen and backbone["backbone"] != OFFLINE):
                continue  # one has no backbone, and training a whole ResNet50 takes two processors an hour
            yield run(arguments.flowers, models, name, {**SHORT.get(name, {}), **backbone})


def print_table(title: str, rows: Iterator[Row]) -> None:
    from train.recipe import load_recipe

    print(f"\n## {title}\n", flush=True)
    print("| recipe | its row | here | weights | pictures | steps | loss | valid | seconds |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for row in rows:
        recipe = load_recipe(row.recipe)
        print(
            f"| `{row.recipe}` | {recipe.summary}; reported: {recipe.reported} | {row.does} | {row.weights} "
            f"| {row.pictures} | {row.steps} | {row.loss} | {row.valid} | {row.seconds:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/ and valid/")
    parser.add_argument("--resnet50", type=Path, help="a state dict of ResNet50's ImageNet weights")
    parser.add_argument("--only", action="append", help="a recipe's name; repeatable")
    parser.add_argument("--models", type=Path, help="keeps the feature bank for the next time")
    parser.add_argument("--quick", action="store_true", help="the first table alone")
    arguments = parser.parse_args()

    from train.recipe import recipe_names

    names = arguments.only or recipe_names()
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models or Path(folder)
        print_table("With its own backbone", own_backbones(arguments, names, models))
        if not arguments.quick:
            print_table("On the backbones whose weights are at hand", backbones_at_hand(arguments, names, models))


if __name__ == "__main__":
    main()
