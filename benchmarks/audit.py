"""What an audit finds: wrong labels and strays that were planted, how sure it may be, what is won back, and how fast.

    uv run -m benchmarks.audit labels [--backbone NAME] [--weights FILE] [--seeds 5] [--rate 0.1]
    uv run -m benchmarks.audit strays [--backbone NAME] [--weights FILE] [--seeds 5]
    uv run -m benchmarks.audit accuracy [--seeds 5]
    uv run -m benchmarks.audit speed [--pictures 8189] [--dimensions 1280] [--classes 102]

`labels` gives a share of the pictures the label of the nearest other class, by class means in the very features that
judge; ours stands beside what is common and beside cleanlab, which gets scikit-learn's logistic regression and the same
folds. AUROC says how often a wrong label is in front of a right one; P@k is the precision at as many as are wrong.
`strays` files 5% of drawn charts and pages, objects, faces, leaves, and flowers of 20 classes that are held out, and
gives the recall at 1% false alarms among pictures in their own class. Both end with a table of what was said to be so
sure and what was so, with Wilson's interval. `accuracy` takes out, or relabels, what an audit suspects, with no person.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.peers import run
from benchmarks.strays import auroc, drawn, foliage
from train.auditing.findings import FOLDS, Findings, find
from train.auditing.neighbours import nearest_of_own, unit
from train.backbones import load_backbone
from train.device import one_thread
from train.features.extract import extract
from train.features.prepare import PictureRef
from train.fold_assignment import assign_folds
from train.head import fit_head
from train.metrics import wilson_interval
from train.predict import mean_probabilities

HERE = Path(__file__).resolve().parent
SURE = (0.5, 0.8, 0.9, 0.95)
SETS = ((20, 40), (102, 18))  # classes, and the most pictures of each
FLIPPED = 0.05  # labels that are wrong among the strays

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Pictures:
    """Features of pictures by one network, computed once."""

    def __init__(self, backbone: str, weights: str, bank: Path) -> None:
        self.backbone = load_backbone(backbone, Path(weights) if weights != "default" else weights)
        self.bank = bank

    def features(self, files: Iterable[Path]) -> Floats:
        found = extract(
            self.backbone, [PictureRef(file) for file in files], bank=self.bank, device=torch.device("cpu"),
            precision="float32",
        )  # fmt: skip
        return np.asarray(found.features[:, 0].numpy(), np.float32)


def flowers_of(folder: Path, pictures: Pictures) -> tuple[Floats, Ints]:
    """Features and class indices of all flowers."""
    files = sorted(folder.glob("*/*/*.jpg"))
    _, targets = np.unique([file.parent.name for file in files], return_inverse=True)
    return pictures.features(files), targets.astype(np.int64)


def some_classes(x: Floats, y: Ints, classes: int, most: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    largest = np.sort(np.argsort(-np.bincount(y), kind="stable")[:classes])
    at = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:most] for label in largest])
    return x[at], np.searchsorted(largest, y[at])


def flipped(x: Floats, y: Ints, rate: float, rng: np.random.Generator) -> tuple[Ints, NDArray[np.bool_]]:
    """Labels of which a share is that of the class with the nearest mean, by cosine; and which they are."""
    rows = unit(x - x.mean(axis=0))
    means = unit(np.stack([rows[y == label].mean(axis=0) for label in range(int(y.max()) + 1)]))
    near = means @ means.T
    np.fill_diagonal(near, -2)
    wrong = np.zeros(len(y), bool)
    wrong[rng.permutation(len(y))[: round(rate * len(y))]] = True
    return np.where(wrong, near.argmax(axis=1)[y], y), wrong


def judged(x: Floats, y: Ints, seed: int) -> tuple[Findings, Ints]:
    fold = folds_of(y, seed)
    labels = [str(label) for label in range(int(y.max()) + 1)]
    with one_thread():
        return find(x, y, labels, fold, np.arange(len(y)), seed=seed), fold


def folds_of(y: Ints, seed: int) -> Ints:
    return assign_folds([f"{at:064x}" for at in range(len(y))], y, {}, folds=FOLDS, seed=seed)


def figures(score: NDArray[np.floating], wrong: NDArray[np.bool_]) -> tuple[float, float, float]:
    """(AUROC, average precision, precision at as many as are wrong)."""
    order = np.argsort(-score, kind="stable")
    hits = wrong[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return auroc(score[~wrong], score[wrong]), float(precision[hits].mean()), float(hits[: wrong.sum()].mean())


def labels(options: argparse.Namespace, x: Floats, y: Ints) -> None:
    for classes, most in SETS:
        table: dict[str, list[tuple[float, float, float]]] = {}
        sure: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
        plain: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
        seconds = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            rows, truth = some_classes(x, y, classes, most, rng)
            given, wrong = flipped(rows, truth, options.rate, rng)
            started = time.perf_counter()
            found, fold = judged(rows, given, seed)
            seconds.append(time.perf_counter() - started)
            doubt = found.scores.mislabelled + found.scores.irrelevant
            table.setdefault("ours", []).append(figures(doubt, wrong))
            sure.append((found.scores.mislabelled, wrong))
            before, _ = judged(rows, truth, seed)
            other = wrong | (before.scores.mislabelled + before.scores.irrelevant < 0.5)
            plain.append((found.scores.mislabelled[other], wrong[other]))
            if not options.alone:
                for name, score in peers(rows, given, fold).items():
                    table.setdefault(name, []).append(figures(score, wrong))
        print(
            f"\n{options.backbone}, {classes} classes, {len(rows)} pictures, {wrong.sum()} labels flipped, "
            f"{options.seeds} seeds; ours {np.mean(seconds):.1f} s"
        )
        print(f"{'':22}{'AUROC':>8}{'AP':>8}{'P@k':>8}")
        for name, several in table.items():
            print(f"{name:22}" + "".join(f"{value:8.3f}" for value in np.mean(several, axis=0)))
        reliability("mislabelled", sure)
        reliability("but for what was suspected before a label was flipped", plain)


def peers(x: Floats, y: Ints, fold: Ints) -> dict[str, NDArray[np.float64]]:
    with tempfile.TemporaryDirectory(prefix="florilegium-audit-") as folder:
        given, answer = Path(folder) / "features.npz", Path(folder) / "scores.npz"
        np.savez(given, x=x, y=y, fold=fold)
        packages = ["cleanlab==2.9.0", "scikit-learn==1.7.2", "numpy<2.4"]
        run(HERE / "peers" / "cleanlab_scores.py", [str(given), str(answer)], packages)
        with np.load(answer) as scores:
            return {name: scores[name] for name in scores}


def reliability(what: str, several: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> None:
    """What was said to be so sure or surer, and how much of it was so."""
    for level in SURE:
        chances = np.concatenate([score[score >= level] for score, _ in several])
        so = np.concatenate([truth[score >= level] for score, truth in several])
        if len(so):
            bounds = wilson_interval(int(so.sum()), len(so))
            print(
                f"{what} ≥ {level:.2f}: {len(so):5} pictures, said {chances.mean():6.1%}, were {so.mean():6.1%} "
                f"({bounds.low:.1%} to {bounds.high:.1%})"
            )


def strays(options: argparse.Namespace, x: Floats, y: Ints, pictures: Pictures, folder: Path) -> None:
    kinds = {"charts and pages": pictures.features(drawn(folder / "drawn"))}
    run(HERE / "peers" / "stray_pictures.py", [str(folder / "real")], ["scikit-image==0.26.0", "pillow"])
    for kind in ("objects", "faces"):
        kinds[kind] = pictures.features(sorted((folder / "real" / kind).iterdir()))
    kinds["leaves"] = pictures.features(foliage(options.flowers, folder / "leaves"))
    recalls: dict[str, dict[str, list[float]]] = {}
    sure: dict[str, list[tuple[NDArray[np.float64], NDArray[np.bool_]]]] = {"irrelevant": [], "either": []}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        held = np.isin(y, rng.choice(int(y.max()) + 1, 20, replace=False))
        known, truth = x[~held], np.unique(y[~held], return_inverse=True)[1].astype(np.int64)
        given, wrong = flipped(known, truth, FLIPPED, rng)
        pool = {**kinds, "other flowers": x[held]}
        each = round(0.05 * len(known) / len(pool))
        planted = {kind: rows[rng.permutation(len(rows))[:each]] for kind, rows in pool.items()}
        rows = np.concatenate([known, *planted.values()])
        strange = np.concatenate([rng.integers(int(truth.max()) + 1, size=len(part)) for part in planted.values()])
        filed = np.concatenate([given, strange])
        kind_of = np.repeat(np.arange(len(planted) + 1), [len(known), *map(len, planted.values())])
        own = np.concatenate([~wrong, np.zeros(len(strange), bool)])
        found, fold = judged(rows, filed, seed)
        for name, score in {"ours": found.scores.irrelevant, **distances(rows, filed, fold)}.items():
            alarm = np.quantile(score[own], 0.99)
            row = recalls.setdefault(name, {})
            for number, kind in enumerate(planted, start=1):
                row.setdefault(kind, []).append(float((score[kind_of == number] > alarm).mean()))
            row.setdefault("all", []).append(float((score[kind_of > 0] > alarm).mean()))
        sure["irrelevant"].append((found.scores.irrelevant, kind_of > 0))
        either = np.maximum(found.scores.irrelevant, found.scores.mislabelled)
        sure["either"].append((either, ~own))
    print(f"\n{options.backbone}, {len(rows)} pictures, {(kind_of > 0).sum()} strays, {wrong.sum()} labels flipped, "
          f"{options.seeds} seeds: recall at 1% false alarms")  # fmt: skip
    names = list(next(iter(recalls.values())))
    print(f"{'':30}" + "".join(f"{name:>18}" for name in names))
    for name, row in recalls.items():
        print(f"{name:30}" + "".join(f"{np.mean(row[kind]):18.2f}" for kind in names))
    for what, several in sure.items():
        reliability(what, several)


def distances(x: Floats, y: Ints, fold: Ints) -> dict[str, NDArray[np.float64]]:
    """What is common: the distance to the nearest of its class, of any class, and Mahalanobis' of its own class."""
    rows = unit(x - x.mean(axis=0))
    _, near = nearest_of_own(rows, y, np.arange(len(y)))
    _, any_class = nearest_of_own(rows, np.zeros(len(y), np.int64), np.arange(len(y)))
    mahalanobis = np.zeros(len(y))
    for number in range(int(fold.max()) + 1):
        learnt, held = fold != number, fold == number
        means = np.stack([x[learnt & (y == label)].mean(axis=0) for label in range(int(y.max()) + 1)])
        within = x[learnt] - means[y[learnt]]
        covariance = within.T @ within / len(within)
        covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance), dtype=np.float32)
        off = x[held] - means[y[held]]
        mahalanobis[held] = (off * np.linalg.solve(covariance, off.T).T).sum(axis=1)
    return {
        "nearest of its class": 1 - near[:, 1].astype(np.float64),
        "nearest of any class": 1 - any_class[:, 1].astype(np.float64),
        "Mahalanobis, own class": mahalanobis,
    }


def accuracy(options: argparse.Namespace, x: Floats, y: Ints) -> None:
    """Valid is a fifth of the pictures, with right labels; the head is the recipe's."""
    rows: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        valid = assign_folds([f"{at:064x}" for at in range(len(y))], y, {}, folds=5, seed=seed) == 0
        classes = int(y.max()) + 1
        given, _ = flipped(x[~valid], y[~valid], options.rate, rng)
        found, _ = judged(x[~valid], given, seed)
        doubtful = found.scores.mislabelled >= options.at
        leaving = found.scores.irrelevant >= options.at
        relabelled = np.where(doubtful, found.scores.proposed, given)
        everything = np.ones(len(given), bool)
        removed = ~(doubtful | leaving)
        for name, labels_, kept in (
            ("clean labels", y[~valid], everything),
            ("noisy labels", given, everything),
            ("suspects removed", given, removed),
            ("suspects relabelled", relabelled, ~leaving),
        ):
            rows.setdefault(name, []).append(
                accuracy_of(x[~valid][kept], labels_[kept], x[valid], y[valid], classes, seed)
            )
    noisy, clean = np.mean(rows["noisy labels"]), np.mean(rows["clean labels"])
    print(
        f"\n{options.backbone}, {options.rate:.0%} of the labels flipped, suspects from {options.at}, "
        f"{options.seeds} seeds"
    )
    for name, several in rows.items():
        back = (np.mean(several) - noisy) / (clean - noisy)
        print(f"{name:22}{np.mean(several):8.2%}  ± {np.std(several, ddof=1):.2%}   {back:6.0%} of the way back")


def accuracy_of(x: Floats, y: Ints, valid: Floats, truth: Ints, classes: int, seed: int) -> float:
    with one_thread():
        head = fit_head(torch.from_numpy(x)[:, None], y.tolist(), classes, seed=seed).head
        answers = mean_probabilities(head, torch.from_numpy(valid)[:, None])
    return float((answers.argmax(axis=1) == truth).mean())


def speed(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    targets = np.sort(rng.integers(options.classes, size=options.pictures))
    means = rng.standard_normal((options.classes, options.dimensions)).astype(np.float32)
    x = rng.standard_normal((options.pictures, options.dimensions), dtype=np.float32)
    for start in range(0, len(x), 65_536):
        x[start : start + 65_536] += means[targets[start : start + 65_536]]
    labels_ = [str(label) for label in range(options.classes)]
    fold = rng.integers(FOLDS, size=len(x))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started, spent = time.perf_counter(), time.process_time()
    find(x, targets, labels_, fold, np.arange(len(x)))
    print(
        f"{options.pictures:,} × {options.dimensions}, {options.classes} classes: "
        f"{time.perf_counter() - started:.1f} s, "
        f"{time.process_time() - spent:.1f} s of processor time, peak "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB ({before:.2f} with the features alone)"
    )
    own = np.flatnonzero(targets == 0)
    rows = unit(x[rng.permutation(len(x))[:100_000]])
    one = np.zeros(len(rows), np.int64)
    asked = rng.permutation(len(rows))[:1_000]
    cells, _ = nearest_of_own(rows, one, np.arange(len(rows)), large=1)
    exact = (rows[asked] @ rows.T).argsort(axis=1)[:, -4:-1][:, ::-1]
    recall = np.mean([len(set(cells[at]) & set(true)) / 3 for at, true in zip(asked, exact, strict=True)])
    print(
        f"Nearest by cells in one class of {len(rows):,}: recall {recall:.3f}; "
        f"classes of {len(own)} are searched exactly."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["labels", "strays", "accuracy", "speed"])
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--models", type=Path, help="A folder whose bank/ is used again.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--at", type=float, default=0.8)
    parser.add_argument("--alone", action="store_true", help="Without the peers.")
    parser.add_argument("--pictures", type=int, default=8189)
    parser.add_argument("--dimensions", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=102)
    options = parser.parse_args()
    if options.what == "speed":
        speed(options)
        return
    with tempfile.TemporaryDirectory(prefix="florilegium-audit-") as temporary:
        pictures = Pictures(options.backbone, options.weights, (options.models or Path(temporary)) / "bank")
        x, y = flowers_of(options.flowers, pictures)
        ways: dict[str, Callable[[], None]] = {
            "labels": lambda: labels(options, x, y),
            "strays": lambda: strays(options, x, y, pictures, Path(temporary)),
            "accuracy": lambda: accuracy(options, x, y),
        }
        ways[options.what]()


if __name__ == "__main__":
    main()
