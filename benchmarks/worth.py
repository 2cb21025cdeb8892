"""What each piece of our training is worth: views, views at prediction, balance, regularisation, two backbones at once.

    uv run benchmarks/worth.py --flowers ../shared/flowers --weights resnet50=FILE

FILE is a state dict, such as ../shared/weights/resnet50_imagenet_fp16.pth; without it the library's weights are taken.
Each line differs from the first of its backbone (four views, class-balanced, regularised, one clean view at prediction)
in what it names and in nothing else. Heads are fitted from `--seeds` seeds on one set of views and measured on valid,
which nothing here is chosen on: the settings are the program's defaults. ± in the second column is the spread over
seeds. What one picture of valid weighs is more than that, so each difference has its own ±: the standard error of its
mean over the pictures, each answered both ways. ECE is the expected calibration error as the head is, and "at T" with a
temperature that was fitted on the other half of valid; nats are the cross-entropy at that temperature. Features lie in
a bank in `--models`: a run that was stopped goes on where it was. The rough linear head is what one writes first: Adam
at 1e-3 for 20 epochs on the clean view, with nothing of ours around it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands import console
from commands.console import say, table
from curate.dataset import open_dataset
from train.backbones import Backbone, load_backbone
from train.calibration import calibrate_confidence, cross_entropy, expected_calibration_error
from train.device import fast_precision, resolve_device
from train.evaluate import side_by_side
from train.features.augmentation import Augmentation
from train.features.views import Views, prediction_views
from train.head import fit_head
from train.metrics import measure_accuracy, wilson_interval
from train.optimising.layers import Head
from train.optimising.settings import FitSettings
from train.pictures import LabelledPicture, labelled_pictures
from train.predict import head_logits, mean_probabilities

DEFAULT = FitSettings()
VIEWS = 4


@dataclass(frozen=True)
class Line:
    """One row: what is fitted, and from how many views it answers."""

    name: str
    views: int = VIEWS
    asked: int = 1
    settings: FitSettings = DEFAULT


@dataclass(frozen=True, eq=False)
class Features:
    """Of one backbone or several side by side: (N, K, dim) to learn from, (M, K, dim) to be asked about."""

    name: str
    learnt: torch.Tensor
    asked: torch.Tensor
    targets: NDArray[np.int64]
    truth: NDArray[np.int64]
    classes: int


@dataclass(frozen=True, eq=False)
class Result:
    right: NDArray[np.bool_]  # (seeds, M)
    mean_per_class: list[float]
    error: list[float]  # expected calibration error at temperature 1
    calibrated: list[float]  # and at the one fitted on the other half of valid, each half by the other
    entropy: list[float]


def lines(most: int) -> list[Line]:
    plain = replace(DEFAULT, weight_decay=0.0, label_smoothing=0.0)
    rough = replace(
        plain, optimizer="adam", learning_rate=1e-3, schedule="constant", standardise=False, balance=0.0, epochs=20
    )
    found = [Line("as it is")]
    found += [Line(f"views: {count}", views=count) for count in (1, 2, 8)]
    found += [Line(f"views at prediction: {count}", asked=count) for count in (2, 4, 8)]
    found += [
        Line("balance off", settings=replace(DEFAULT, balance=0.0)),
        Line("balance half way", settings=replace(DEFAULT, balance=0.5)),
        Line("balance by class weights", settings=replace(DEFAULT, balance_by="weights")),
        Line("balance by adjusted logits", settings=replace(DEFAULT, balance_by="logits")),
        Line("no weight decay", settings=replace(DEFAULT, weight_decay=0.0)),
        Line("no label smoothing", settings=replace(DEFAULT, label_smoothing=0.0)),
        Line("no regularisation at all", settings=plain),
        Line("no regularisation, 1 view", views=1, settings=plain),
        Line("a rough linear head, 1 view", views=1, settings=rough),
    ]
    return [line for line in found if max(line.views, line.asked) <= most]


def main() -> None:
    options = arguments()
    started = time.perf_counter()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    files = dict(one.split("=", 1) for one in options.weights)
    backbones = [load_backbone(name, files.get(name, "default")) for name in options.backbones.split(",")]
    sets = [features_of([backbone], options) for backbone in backbones]
    if len(backbones) > 1:
        sets.append(features_of(backbones, options))
    extracted = time.perf_counter() - started
    torch.set_num_threads(1)  # a layer is too little for two threads to share
    n = len(sets[0].truth)
    say(
        f"{len(sets[0].targets):,} training pictures, {n} of valid, {sets[0].classes} classes, {options.seeds} seeds; "
        f"one picture of valid is {100 / n:.2f} points. PyTorch {torch.__version__}."
    )
    for features in sets:
        print_table(features, options)
    say(f"Features {extracted:.0f} s, heads and figures {time.perf_counter() - started - extracted:.0f} s.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--flowers", type=Path, required=True, help="a dataset with train/ and valid/")
    parser.add_argument("--backbones", default="efficientnet_lite0,resnet50", help="comma-separated")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE, once for each backbone that has one")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most-views", type=int, default=8, help="leave out what takes more views than this")
    parser.add_argument("--limit", type=int, default=0, help="only so many pictures of each split, spread evenly")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the feature bank lies")
    return parser.parse_args()


def features_of(backbones: Sequence[Backbone], options: argparse.Namespace) -> Features:
    dataset = open_dataset(options.flowers)
    train, valid = (spread(labelled_pictures(dataset, split), options.limit) for split in ("train", "valid"))
    device = resolve_device(options.device)
    views = Views(options.most_views, 1337, Augmentation())
    learnt = side_by_side(
        backbones, train, bank=options.models / "bank", device=device, precision=fast_precision(device), views=views,
        progress=console.bars, description="Training pictures",
    )  # fmt: skip
    asked = side_by_side(
        backbones, valid, bank=options.models / "bank", device=device, precision="float32",
        views=prediction_views(options.most_views), progress=console.bars, description="Valid pictures",
    )  # fmt: skip
    labels = sorted({picture.label for picture in train})
    index = {label: number for number, label in enumerate(labels)}
    return Features(
        name=" + ".join(backbone.name for backbone in backbones),
        learnt=learnt.features,
        asked=asked.features,
        targets=np.array([index[train[position].label] for position in learnt.kept], dtype=np.int64),
        truth=np.array([index[valid[position].label] for position in asked.kept], dtype=np.int64),
        classes=len(labels),
    )


def spread(pictures: list[LabelledPicture], limit: int) -> list[LabelledPicture]:
    return pictures[:: max(1, len(pictures) // limit)] if limit else pictures


def print_table(features: Features, options: argparse.Namespace) -> None:
    results: list[tuple[Line, Result]] = []
    wanted = lines(options.most_views)
    heads: dict[tuple[int, FitSettings, int], Head] = {}
    with console.bars(f"Fitting on {features.name}", len(wanted) * options.seeds) as advance:
        for line in wanted:
            found = []
            for seed in range(options.seeds):
                key = (line.views, line.settings, seed)
                if key not in heads:
                    heads[key] = fit_head(
                        features.learnt[:, : line.views], features.targets.tolist(), features.classes, line.settings,
                        seed=seed,
                    ).head  # fmt: skip
                found.append(heads[key])
                advance(1)
            results.append((line, measured(features, line, found)))
    base = results[0][1]
    rows = [row(line, result, base) for line, result in results]
    table(
        features.name,
        ("what", "valid, %", "95%", "against the first", "±", "per class, %", "ECE", "at T", "nats"),
        rows,
    )


def measured(features: Features, line: Line, heads: Sequence[Head]) -> Result:
    asked, truth = features.asked[:, : line.asked], features.truth
    rights, per_class, errors, calibrated, entropies = [], [], [], [], []
    for head in heads:
        probabilities = mean_probabilities(head, asked)
        rights.append(probabilities.argmax(axis=1) == truth)
        per_class.append(measure_accuracy(probabilities, truth, features.classes).mean_per_class)
        errors.append(expected_calibration_error(probabilities, truth))
        mended = np.empty_like(probabilities)
        # A temperature is only worth what it does to pictures that it was not fitted on
        halves = np.arange(len(truth)) % 2
        for half in (0, 1):
            mine, others = halves == half, halves != half
            temperature = calibrate_confidence(head_logits(head, features.asked[others, 0]), truth[others]).temperature
            mended[mine] = mean_probabilities(head, asked[mine], temperature)
        calibrated.append(expected_calibration_error(mended, truth))
        entropies.append(cross_entropy(mended, truth))
    return Result(np.array(rights), per_class, errors, calibrated, entropies)


def row(line: Line, result: Result, base: Result) -> tuple[str, ...]:
    shares = 100 * result.right.mean(axis=1)
    interval = wilson_interval(round(float(result.right.mean(axis=0).sum())), result.right.shape[1])
    # Of the pictures' mean over seeds: the pictures are the sample, the seeds only blur it
    difference = 100 * (result.right.mean(axis=0) - base.right.mean(axis=0))
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return (
        line.name,
        f"{shares.mean():.2f} ± {shares.std(ddof=1) if len(shares) > 1 else 0:.2f}",
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
        "" if result is base else f"{difference.mean():+.2f}",
        "" if result is base else f"{error:.2f}",
        f"{100 * np.mean(result.mean_per_class):.2f}",
        f"{np.mean(result.error):.3f}",
        f"{np.mean(result.calibrated):.3f}",
        f"{np.mean(result.entropy):.3f}",
    )


if __name__ == "__main__":
    main()
