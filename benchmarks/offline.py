"""Which networks are worth their time side by side: those that need no download, and a file of yours beside them.

    uv run benchmarks/offline.py --flowers ../shared/flowers --weights resnet50=FILE

FILE is a state dict, such as ../shared/weights/resnet50_imagenet_fp16.pth; without it the packaged networks stand
alone. The first table has every set of networks, judged twice: by folds inside train, which is what a choice may be
made by, and on valid, which nothing is chosen on. The set that `--backbone offline` means is the smallest whose share
right over the folds is within a standard error of the best. The second table goes from a rough linear head on
the first network of that set, and each line adds what it names to the line above: its share. Heads are fitted from
`--seeds` seeds on one set of views. ± beside a share is the spread over seeds; beside a difference it is the standard
error of its mean over the pictures, each answered both ways. The head is the recipe's, so `--recipe NAME` and
`--set KEY=VALUE` judge another. `--recipe best` chooses its heads by folds of its own, which takes minutes for each
set; with `--valid-only` they are not judged by folds once more, and only the sets that have a goal are fitted. Features
lie in a bank in `--models`: a run that was stopped goes on where it was.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands import console
from commands.console import say, table
from curate.defaults import DEFAULT_RECIPE
from curate.splitting.since_split import open_current_split
from train.evaluate import side_by_side
from train.features.packaged_weights import PACKAGED
from train.features.views import prediction_views
from train.folds import LearningSet, fit_fold, learning_set
from train.head import fit_head, threads_for
from train.metrics import wilson_interval
from train.optimising.layers import Head
from train.optimising.settings import FitSettings
from train.predict import mean_probabilities
from train.recipe import load_recipe, parse_overrides
from train.run import options_of
from train.training import Place, TrainOptions, load_backbones, pictures_of

FOLDS = 5


@dataclass(frozen=True)
class Line:
    """One row: which networks, how the head is fitted on how many views, and from how many it answers."""

    name: str
    networks: tuple[str, ...]
    settings: FitSettings
    views: int
    asked: int = 1


@dataclass(frozen=True, eq=False)
class Features:
    """Of all networks side by side, in the order of `columns`."""

    data: LearningSet
    asked: torch.Tensor  # (M, K, dim)
    truth: NDArray[np.int64]  # (M,)
    columns: dict[str, slice]

    def of(self, line: Line) -> tuple[LearningSet, torch.Tensor]:
        """What a line learns from, and what it is asked about."""
        places = torch.cat([torch.arange(self.columns[one].start, self.columns[one].stop) for one in line.networks])
        learnt = self.data.features[:, : line.views, places]
        return replace(self.data, features=learnt), self.asked[:, : line.asked, places]


@dataclass(frozen=True, eq=False)
class Result:
    """What came of one line: right answers of pictures that were held out of train, and of valid from each seed."""

    held_out: NDArray[np.bool_] | None  # (N,); None: not asked
    held_out_per_class: float
    right: NDArray[np.bool_]  # (seeds, M)


def main() -> None:
    told = arguments()
    started = time.perf_counter()
    files = dict(one.split("=", 1) for one in told.weights)
    recipe = load_recipe(told.recipe, parse_overrides(told.set))
    options = replace(
        options_of(recipe, models=told.models, device=told.device),
        backbone="+".join([*PACKAGED, *files]),
        weights=",".join(f"{name}={file}" for name, file in files.items()) or "default",
    )
    features = features_of(told.flowers, options)
    extracted = time.perf_counter() - started
    n = len(features.truth)
    say(
        f"{len(features.data.targets):,} training pictures, {n} of valid, {len(features.data.labels)} classes, "
        f"{told.seeds} seeds; one picture of valid is {100 / n:.2f} points. Recipe {recipe.name}, "
        f"{options.views} views, PyTorch {torch.__version__}."
    )
    first, whole, bench = next(iter(PACKAGED)), tuple(PACKAGED), Bench(features, told.seeds, folds=not told.valid_only)
    sets = [networks for size in range(1, len(PACKAGED) + 1) for networks in combinations(PACKAGED, size)]
    sets += [combined for name in files for combined in ((name,), (first, name), (*PACKAGED, name))]
    if told.valid_only:
        sets = [one for one in sets if one in {(first,), whole} or (one[-1] in files and len(one) > 1)]
    lines = [Line(" + ".join(map(short, one)), one, options.head, options.views) for one in sets]
    results = dict(zip(sets, bench.measured(lines), strict=True))
    print_sets(lines, list(results.values()))
    chosen = whole
    if not told.valid_only:
        chosen = preferred({one: results[one] for one in sets if set(one) <= set(PACKAGED)})
        say(f"By folds inside train, `--backbone offline` is {' + '.join(map(short, chosen))}.")
    steps = shares(chosen, tuple(files), options)
    print_shares(steps, bench.measured(steps))
    say(f"Features {extracted:.0f} s, heads and figures {time.perf_counter() - started - extracted:.0f} s.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--flowers", type=Path, required=True, help="a dataset with train/ and valid/")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE of a network to stand beside")
    parser.add_argument("--recipe", default=DEFAULT_RECIPE, help="whose head and views are taken")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe; repeatable")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--valid-only", action="store_true", help="judge by valid alone, and fewer sets")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the feature bank lies")
    return parser.parse_args()


def short(name: str) -> str:
    return name.removeprefix("efficientnet_")


def features_of(root: Path, options: TrainOptions) -> Features:
    data = learning_set(root, options, folds=FOLDS, progress=console.bars)
    backbones = load_backbones(options.backbone, options.weights)
    _, valid, labels = pictures_of(open_current_split(root))
    place = Place.of(options, None, console.bars).exact()
    asked = side_by_side(
        backbones, valid, bank=options.models / "bank", device=place.device, precision=place.precision,
        views=prediction_views(options.views), progress=console.bars, description="Valid pictures",
    )  # fmt: skip
    ends = np.cumsum([backbone.dim for backbone in backbones]).tolist()
    index = {label: number for number, label in enumerate(labels)}
    return Features(
        data,
        asked.features,
        np.array([index[valid[position].label] for position in asked.kept], dtype=np.int64),
        {one.name: slice(end - one.dim, end) for one, end in zip(backbones, ends, strict=True)},
    )


class Bench:
    """Fits heads, each once: a line that only asks otherwise takes those of the line before."""

    def __init__(self, features: Features, seeds: int, *, folds: bool) -> None:
        self.features, self.seeds, self.folds = features, seeds, folds
        self._fitted: dict[tuple[object, ...], list[Head]] = {}

    def measured(self, lines: Sequence[Line]) -> list[Result]:
        with console.bars("Fitting", len(lines)) as advance:
            found = []
            for line in lines:
                found.append(self._measured(line))
                advance(1)
        return found

    def _measured(self, line: Line) -> Result:
        data, asked = self.features.of(line)
        right = [mean_probabilities(head, asked).argmax(axis=1) == self.features.truth for head in self._heads(line)]
        held_out = np.zeros(len(data.targets), dtype=bool)
        confusion = np.zeros((len(data.labels), len(data.labels)), dtype=np.int64)
        for fold in range(FOLDS) if self.folds else ():
            result = fit_fold(data, fold, line.settings)
            held_out[data.fold == fold] = result.right
            confusion += result.accuracy.confusion
        per_class = confusion.diagonal() / np.maximum(confusion.sum(axis=1), 1)
        per_class = per_class[confusion.sum(axis=1) > 0]
        return Result(
            held_out[data.fold >= 0] if self.folds else None,
            float(per_class.mean()) if self.folds else float("nan"),
            np.array(right),
        )

    def _heads(self, line: Line) -> list[Head]:
        key = (line.networks, line.settings, line.views)
        if key not in self._fitted:
            data, _ = self.features.of(line)
            targets, classes = data.targets.tolist(), len(data.labels)
            with threads_for(line.settings):
                self._fitted[key] = [
                    fit_head(data.features, targets, classes, line.settings, seed=seed).head
                    for seed in range(self.seeds)
                ]
        return self._fitted[key]


def preferred(results: dict[tuple[str, ...], Result]) -> tuple[str, ...]:
    """The smallest set whose share right over the folds is within a standard error of the best."""
    held_out = {networks: result.held_out for networks, result in results.items() if result.held_out is not None}
    best = max(held_out.values(), key=lambda one: one.mean())
    for networks, right in sorted(held_out.items(), key=lambda one: (len(one[0]), -one[1].mean())):
        difference, error = compared(best, right)
        if difference <= error:
            return networks
    raise AssertionError("the best is within its own error")


def compared(mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[float, float]:
    """(mean difference in points, its standard error) over pictures that each answered, (N,) or (seeds, N)."""
    difference = 100 * (np.atleast_2d(mine).mean(axis=0) - np.atleast_2d(theirs).mean(axis=0))
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def shares(chosen: tuple[str, ...], files: tuple[str, ...], options: TrainOptions) -> list[Line]:
    default, first, whole = options.head, chosen[:1], (*chosen, *files)
    rough = FitSettings(
        optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=20, standardise=False,
        weight_decay=0.0, label_smoothing=0.0, balance=0.0,
    )  # fmt: skip
    return [
        Line(f"{short(first[0])}, a rough linear head, 1 view", first, rough, 1),
        Line("the recipe's head", first, default, 1),
        Line(f"{options.views} views to learn from", first, default, options.views),
        *(
            Line(f"{short(whole[count - 1])} beside it", whole[:count], default, options.views)
            for count in range(2, len(whole) + 1)
        ),
        Line(f"{options.views} views at prediction", whole, default, options.views, options.views),
    ]


def print_sets(lines: Sequence[Line], results: Sequence[Result]) -> None:
    judged = [result.held_out for result in results if result.held_out is not None]
    best = max(judged, key=lambda one: one.mean()) if judged else None
    rows = []
    for line, result in zip(lines, results, strict=True):
        folds: tuple[str, ...] = ()
        if best is not None and result.held_out is not None:
            difference, error = compared(result.held_out, best)
            against = "" if result.held_out is best else f"{difference:+.2f} ± {error:.2f}"
            folds = f"{100 * result.held_out.mean():.2f}", against, f"{100 * result.held_out_per_class:.2f}"
        rows.append((line.name, *folds, *valid_columns(result)))
    columns = ("folds, %", "against the best", "per class, %") if best is not None else ()
    table("Side by side", ("networks", *columns, "valid, %", "95%"), rows)


def print_shares(lines: Sequence[Line], results: Sequence[Result]) -> None:
    rows = []
    for at, (line, result) in enumerate(zip(lines, results, strict=True)):
        before = results[at - 1] if at else result
        folds: tuple[str, ...] = ()
        if result.held_out is not None and before.held_out is not None:
            # What is held out of train is asked from one view
            asked = f"{100 * result.held_out.mean():.2f}", in_words(compared(result.held_out, before.held_out), at)
            folds = asked if line.asked == 1 else ("", "")
        rows.append((line.name, *folds, *valid_columns(result), in_words(compared(result.right, before.right), at)))
    columns = ("folds, %", "its share") if results[0].held_out is not None else ()
    table("Each choice's share, one upon the other", ("what", *columns, "valid, %", "95%", "its share of that"), rows)


def in_words(share: tuple[float, float], at: int) -> str:
    return f"{share[0]:+.2f} ± {share[1]:.2f}" if at else ""


def valid_columns(result: Result) -> tuple[str, str]:
    shares = 100 * result.right.mean(axis=1)
    interval = wilson_interval(round(float(result.right.mean(axis=0).sum())), result.right.shape[1])
    spread = shares.std(ddof=1) if len(shares) > 1 else 0.0
    return f"{shares.mean():.2f} ± {spread:.2f}", f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


if __name__ == "__main__":
    main()
