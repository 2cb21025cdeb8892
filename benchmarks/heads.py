"""Heads that are fitted at once: how long folds and choice take, and what they are worth with few pictures a class.

    uv run -m benchmarks.heads speed
    uv run -m benchmarks.heads few --flowers ../shared/flowers

`speed` fits on a bank of random numbers of the size of Oxford-102 with four views of two networks side by side:
clusters of decaying variance, rectified as pooled activations are. It prints seconds and processor seconds by part, the
peak of memory, and what folds chose. With `--head lda` and the like the others are left out.

`few` draws 3, 5, 10 and 20 pictures of each class that has so many, `--seeds` times, and asks all other pictures of
these classes, those of valid among them. All fit the same features: ours on all views (`--head auto`, folds within the
drawn pictures alone) and as `train` does by default; a plain linear probe (Adam at 1e-3 for 20 epochs on standardised
clean views); and scikit-learn, in an environment of its own, on the clean views: logistic regression at its defaults,
neighbours by cosine, and the best that its grid search finds in three folds among logistic regression, ridge, linear
discriminant analysis and support vectors. ± is the standard error of the mean over seeds; the difference to ours is
paired by seed. "ours, one view" learns from the clean views alone, as the peers do.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peak import forget_peak_rss, peak_rss
from benchmarks.peers import run
from commands import console
from commands.console import say, table
from curate.dataset import open_dataset
from train.backbones import load_backbone
from train.device import fast_precision, resolve_device
from train.evaluate import side_by_side
from train.features.augmentation import Augmentation
from train.features.views import Views
from train.fold_assignment import deal_out
from train.head import fit_head, threads_for
from train.heads.choice import choose_head
from train.heads.sentences import choice_in_words
from train.optimising.settings import FitSettings
from train.pictures import labelled_pictures
from train.predict import head_logits

HERE = Path(__file__).resolve().parent
DEFAULT = FitSettings()
AUTO = replace(DEFAULT, head="auto")
PROBE = replace(
    DEFAULT, optimizer="adam", learning_rate=1e-3, schedule="constant", weight_decay=0.0, label_smoothing=0.0,
    balance=0.0, epochs=20,
)  # fmt: skip
PACKAGES = ["scikit-learn==1.7.2", "numpy<2.4"]
OURS = "ours, --head auto"

Ints = NDArray[np.int64]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    if options.what == "speed":
        measure_speed(options)
    else:
        measure_few(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "few"])
    parser.add_argument("--pictures", type=int, default=6552)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--dim", type=int, default=3300)
    parser.add_argument("--classes", type=int, default=102)
    parser.add_argument("--head", default="auto", choices=["auto", "ridge", "lda", "logistic"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--flowers", type=Path, help="a dataset with train/ and valid/")
    parser.add_argument("--backbones", default="efficientnet_lite0", help="comma-separated, side by side")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE, once for each backbone that has one")
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the feature bank lies")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", default="3,5,10,20", help="pictures a class")
    parser.add_argument("--alone", action="store_true", help="without scikit-learn")
    return parser.parse_args()


# ---- how long


class Laps:
    """Seconds, and processor seconds, from one step of progress to the next."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []
        self._last = time.perf_counter(), time.process_time()

    def lap(self, _steps: int = 1) -> None:
        now = time.perf_counter(), time.process_time()
        self.found.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Stands in the place of a bar."""
        self._last = time.perf_counter(), time.process_time()
        yield self.lap


def measure_speed(options: argparse.Namespace) -> None:
    features, targets = drawn_bank(options)
    laps, held = Laps(), forget_peak_rss()
    found = choose_head(
        features, targets, options.classes, replace(DEFAULT, head=options.head), deal_out(targets, 5, 0), laps.progress
    )
    laps.lap()
    kinds = ["ridge", "lda", "logistic"] if options.head == "auto" else [options.head]
    parts = [f"{what}{where}" for where in ("", ", on roots") for what in ("rows and products", "ridge", "lda")]
    parts += [f"{kind}, in the better" for kind in kinds] + ["on all pictures"]
    rows = [(part, f"{wall:.1f}", f"{spent:.1f}") for part, (wall, spent) in zip(parts, laps.found, strict=True)]
    total = ("all", *(f"{sum(column):.1f}" for column in zip(*laps.found, strict=True)))
    title = f"{options.pictures:,} pictures, {options.views} views, {options.dim:,} features, {options.classes} classes"
    table(title, ("part", "s", "processor s"), [*rows, total], last_is_total=True)
    say(f"Memory: {(peak_rss() - held) / 1e9:.1f} GB at most beside the {features.nbytes / 1e9:.1f} GB of the bank.")
    say(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}. {choice_in_words(found, DEFAULT.balance)}")


def drawn_bank(options: argparse.Namespace) -> tuple[torch.Tensor, Ints]:
    """Features (N, K, dim) in bfloat16, and targets (N,): unequal classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.linspace(1, 5, options.classes)
    targets = torch.multinomial(sizes, options.pictures, replacement=True, generator=generator)
    targets[: options.classes] = torch.arange(options.classes)
    fading = torch.linspace(1, 60, options.dim) ** -0.5
    mixing = torch.randn(options.dim, options.dim, generator=generator) * options.dim**-0.5
    centres = torch.randn(options.classes, options.dim, generator=generator) * 0.35
    features = torch.empty(options.pictures, options.views, options.dim, dtype=torch.bfloat16)
    for block in torch.split(torch.arange(options.pictures), 512):
        own = centres[targets[block]] + torch.randn(len(block), options.dim, generator=generator)
        views = own[:, None] + 0.4 * torch.randn(len(block), options.views, options.dim, generator=generator)
        features[block] = torch.relu((views * fading) @ mixing).to(torch.bfloat16)
    return features, targets.numpy()


# ---- few pictures a class


def measure_few(options: argparse.Namespace) -> None:
    x, y, views_of_all = bank_of(options)
    for shots in (int(text) for text in options.shots.split(",")):
        found: dict[str, list[float]] = {}
        classes = np.flatnonzero(np.bincount(y[views_of_all]) >= shots)
        asked = 0
        for seed in range(options.seeds):
            learnt, held = draw(y, views_of_all, classes, shots, seed)
            asked = len(held)
            answers = answers_of(x, y, learnt, held, classes, seed, alone=options.alone)
            for name, answer in answers.items():
                found.setdefault(name, []).append(float((answer == y[held]).mean()))
        say_few(f"{shots} pictures of each of {len(classes)} classes, {asked:,} asked", found)


def say_few(title: str, found: dict[str, list[float]]) -> None:
    ours = 100 * np.array(found[OURS])
    rows = []
    for name, shares in found.items():
        mine = 100 * np.array(shares)
        gain = ours - mine
        rows.append(
            (
                name,
                f"{mine.mean():.2f} ± {standard_error(mine):.2f}",
                "" if name == OURS else f"{gain.mean():+.2f} ± {standard_error(gain):.2f}",
            )
        )
    table(title, ("what", "right, %", "ours ahead by"), rows)


def standard_error(several: NDArray[np.float64]) -> float:
    return float(several.std(ddof=1) / np.sqrt(len(several))) if len(several) > 1 else float("nan")


def bank_of(options: argparse.Namespace) -> tuple[torch.Tensor, Ints, NDArray[np.bool_]]:
    """Features (N, 4, dim) of train and valid, targets (N,), and which pictures are of train."""
    files = dict(one.split("=", 1) for one in options.weights)
    backbones = [load_backbone(name, files.get(name, "default")) for name in options.backbones.split(",")]
    dataset, device = open_dataset(options.flowers), resolve_device(options.device)
    parts, labels, of_train = [], [], []
    for split in ("train", "valid"):
        pictures = labelled_pictures(dataset, split)
        found = side_by_side(
            backbones, pictures, bank=options.models / "bank", device=device,
            precision=fast_precision(device) if split == "train" else "float32",
            views=Views(4 if split == "train" else 1, 1337, Augmentation()),
            progress=console.bars, description=f"Pictures of {split}",
        )  # fmt: skip
        parts.append(found.features.float().expand(-1, 4, -1))
        labels += [pictures[at].label for at in found.kept]
        of_train += [split == "train"] * len(found.kept)
    index = {label: number for number, label in enumerate(sorted(set(labels)))}
    return torch.cat(parts), np.array([index[label] for label in labels]), np.array(of_train)


def draw(y: Ints, of_train: NDArray[np.bool_], classes: Ints, shots: int, seed: int) -> tuple[Ints, Ints]:
    """(places of `shots` training pictures of each class, of all other pictures of these classes)."""
    order = np.random.default_rng(seed)
    learnt = np.concatenate(
        [order.permutation(np.flatnonzero((y == one) & of_train))[:shots] for one in classes.tolist()]
    )
    return learnt, np.setdiff1d(np.flatnonzero(np.isin(y, classes)), learnt)


def answers_of(
    x: torch.Tensor, y: Ints, learnt: Ints, held: Ints, classes: Ints, seed: int, *, alone: bool
) -> dict[str, Ints]:
    """What each says of the pictures `held`, as targets (M,)."""
    number = np.searchsorted(classes, y[learnt]).tolist()
    asked = x[torch.from_numpy(held), 0]
    found = {}
    for name, settings, views in (
        (OURS, AUTO, 4), ("ours, one view", AUTO, 1), ("ours, --head sgd", DEFAULT, 4),
        ("a plain linear probe", PROBE, 1),
    ):  # fmt: skip
        features = x[torch.from_numpy(learnt), :views]
        if settings is PROBE:
            scale = features.flatten(0, 1)
            mean, deviation = scale.mean(dim=0), scale.std(dim=0) + 1e-6
            features = (features - mean) / deviation
            seen = (asked - mean) / deviation
        else:
            seen = asked
        with threads_for(settings):
            head = fit_head(features, number, len(classes), settings, seed=seed).head
        found[name] = classes[head_logits(head, seen).argmax(axis=1)]
    return found if alone else found | peers(x, y, learnt, held)


def peers(x: torch.Tensor, y: Ints, learnt: Ints, held: Ints) -> dict[str, Ints]:
    with tempfile.TemporaryDirectory(prefix="florilegium-heads-") as folder:
        given, answer = Path(folder) / "features.npz", Path(folder) / "answers.npz"
        np.savez(
            given, x=x[torch.from_numpy(learnt), 0].numpy(), y=y[learnt], asked=x[torch.from_numpy(held), 0].numpy()
        )
        run(HERE / "peers" / "sklearn_heads.py", [str(given), str(answer)], PACKAGES)
        with np.load(answer) as answers:
            return {name: answers[name] for name in answers}


if __name__ == "__main__":
    main()
