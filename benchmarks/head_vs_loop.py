"""Our training of the last layer against the plain published loop: same backbone, same pictures, one run.

    uv run benchmarks/head_vs_loop.py --flowers ../shared/flowers --backbone efficientnet_lite0

The loop is the ResNet152 system's as published, with its faults mended: torchvision's ImageFolder and a default
DataLoader, resize 224 and centre crop, float32, the frozen backbone forwarded anew in every epoch (in eval mode), Adam
1e-3 on the last layer, batches of 100, accuracy on valid after each epoch. `--rotation 20` adds its random rotation.
With `--timed-epochs`, only so many of its epochs are run, and its time is made out from theirs. Its accuracy, from
several seeds or with epochs that were not run, is then that of the same steps over features kept from one pass: without
random rotation a frozen network says the same of a picture in every epoch.

Ours is `train` as the command line runs it, from an empty bank. Both are timed from pictures on disk to a checkpoint on
disk, with PyTorch imported and the files in the page cache. Two limits follow: each picture decoded once and nothing
else, and each forwarded once and nothing else.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, transforms

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.dataset import open_dataset
from curate.image import load_pixels
from curate.parallel import ordered_map, processors
from train.backbones import Backbone, load_backbone
from train.device import fast_precision, resolve_device
from train.features.freeze import FrozenNetwork
from train.metrics import wilson_interval
from train.options import Precision
from train.pictures import LabelledPicture, labelled_pictures
from train.training import TrainOptions, train_head


@dataclass(frozen=True)
class Measured:
    seconds: float
    correct: list[int]  # one entry a seed
    n: int

    def line(self, name: str) -> str:
        shares = 100 * np.array(self.correct) / self.n
        interval = wilson_interval(self.correct[0], self.n)
        spread = f"{shares.mean():.2f} ± {shares.std(ddof=1):.2f}" if len(shares) > 1 else f"{shares[0]:.2f}"
        return (
            f"{name:<22} {self.seconds:>9.1f} s   {spread:>13} ({len(shares)} seed{'s' if len(shares) > 1 else ''})"
            f"   {100 * interval.low:.1f} to {100 * interval.high:.1f}"
        )


def main() -> None:
    options = arguments()
    device = resolve_device(options.device)
    backbone = load_backbone(options.backbone, options.weights)
    train, valid = (labelled_pictures(open_dataset(options.flowers), split) for split in ("train", "valid"))
    for picture in train + valid:
        picture.path.read_bytes()  # into the page cache, for both alike
    print(
        f"{options.backbone}, {len(train)} training and {len(valid)} valid pictures, "
        f"{processors()} processors, {device}, PyTorch {torch.__version__}"
    )
    if options.rotation and (options.loop_seeds > 1 or options.timed_epochs):
        sys.exit("With --rotation each epoch sees other pictures: give --loop-seeds 1 and no --timed-epochs.")
    # The loop goes first: ours changes how the process keeps freed memory, which the loop as published does not
    loop = measure_loop(options, device) if options.epochs else None
    ours = measure_ours(options)
    print(f"{'':<22} {'to checkpoint':>11}   {'valid, %':>13}            95% interval of the first seed")
    print(ours.line(f"ours, {options.views} view(s)"))
    if loop:
        print(loop.line(f"loop, {options.epochs} epochs"))
        if 0 < options.timed_epochs < options.epochs:
            print(f"{'':<22} its time is that of {options.timed_epochs} epochs, made out for {options.epochs}")
        print(f"{'ratio':<22} {loop.seconds / ours.seconds:>9.1f} ×   {mean_gain(ours, loop):>+13.2f} points")
    decode, pixels = timed(lambda: decode_all(backbone, train + valid))
    precision = fast_precision(device)
    forward = sum(
        forward_all(backbone, part, device, kind)
        for part, kind in ((pixels[: len(train)], precision), (pixels[len(train) :], "float32"))
    )
    print(f"limit: decode once     {decode:>9.1f} s   ({len(pixels) / decode:.0f} pictures/s)")
    print(f"limit: forward once    {forward:>9.1f} s   (training pictures in {precision}, valid ones in float32)")


def measure_ours(options: argparse.Namespace) -> Measured:
    correct, seconds, n = [], 0.0, 0
    with tempfile.TemporaryDirectory() as models:
        for seed in range(options.seeds):
            settings = TrainOptions(
                backbone=options.backbone, weights=options.weights, views=options.views, seed=seed,
                models=Path(models), device=options.device,
            )  # fmt: skip
            spent, report = timed(partial(train_head, options.flowers, settings))
            seconds = seconds or spent  # the first run, from an empty bank
            correct.append(report.valid.correct)
            n = report.valid.n
    return Measured(seconds, correct, n)


def measure_loop(options: argparse.Namespace, device: torch.device) -> Measured:
    """The published loop's time over `--timed-epochs`, made out for all, and its accuracy from each seed."""
    torch.manual_seed(0)
    loop = PublishedLoop(options, device)
    timed_epochs = min(options.timed_epochs or options.epochs, options.epochs)
    overhead, right = timed(lambda: loop.saved(loop.run(loop.pictures(), timed_epochs)))
    seconds = overhead * options.epochs / timed_epochs
    if options.loop_seeds == 1 and timed_epochs == options.epochs:
        return Measured(seconds, [right], loop.valid_pictures)
    features = loop.features()
    correct = []
    for seed in range(options.loop_seeds):
        torch.manual_seed(seed)
        correct.append(loop.run(features, options.epochs)[1])
    return Measured(seconds, correct, loop.valid_pictures)


Batches = DataLoader[tuple[torch.Tensor, torch.Tensor]]


class PublishedLoop:
    """The loop itself, over pictures or over what the frozen network once said of them."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        backbone = load_backbone(options.backbone, options.weights)
        size = backbone.preprocessing.crop
        normalise = transforms.Normalize(backbone.preprocessing.mean, backbone.preprocessing.std)
        frame = [transforms.Resize(size), transforms.CenterCrop(size)]
        turn = [transforms.RandomRotation(options.rotation)] if options.rotation else []
        seen = transforms.Compose([*frame, *turn, transforms.ToTensor(), normalise])
        clean = transforms.Compose([*frame, transforms.ToTensor(), normalise])
        self.train = datasets.ImageFolder(options.flowers / "train", seen)
        self.valid = datasets.ImageFolder(options.flowers / "valid", clean)
        self.valid_pictures = len(self.valid)
        self.device = device
        self.dim = backbone.dim
        self.network = backbone.network.to(device)

    def pictures(self) -> tuple[Batches, Batches, nn.Module]:
        return (*self._loaders(self.train, self.valid), self.network)

    def features(self) -> tuple[Batches, Batches, nn.Module]:
        """What the network says of each picture, once: without random rotation it says the same in every epoch."""
        kept = []
        for dataset in (self.train, self.valid):
            with torch.no_grad():
                batches = [
                    (self.network(images.to(self.device)), labels) for images, labels in DataLoader(dataset, 100)
                ]
            kept.append(TensorDataset(torch.cat([seen for seen, _ in batches]), torch.cat([to for _, to in batches])))
        return (*self._loaders(*kept), nn.Identity())

    def _loaders(self, train: Any, valid: Any) -> tuple[Batches, Batches]:
        return DataLoader(train, batch_size=100, shuffle=True), DataLoader(valid, batch_size=100)

    def run(self, over: tuple[Batches, Batches, nn.Module], epochs: int) -> tuple[nn.Module, int]:
        """The head, and how many pictures of valid it gets right."""
        train, valid, network = over
        head = nn.Linear(self.dim, len(self.train.classes)).to(self.device)
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
        right = 0
        for _ in range(epochs):
            for images, labels in train:
                with torch.no_grad():
                    features = network(images.to(self.device))
                loss = nn.functional.cross_entropy(head(features), labels.to(self.device))
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            right = 0
            with torch.no_grad():
                for images, labels in valid:
                    right += int((head(network(images.to(self.device))).argmax(dim=1).cpu() == labels).sum())
        return head, right

    def saved(self, trained: tuple[nn.Module, int]) -> int:
        head, right = trained
        with tempfile.TemporaryDirectory() as folder:
            torch.save(
                {"network": self.network.state_dict(), "head": head.state_dict()}, Path(folder) / "checkpoint.pth"
            )
        return right


def decode_all(backbone: Backbone, pictures: list[LabelledPicture]) -> NDArray[np.uint8]:
    at_least = backbone.preprocessing.resize
    clean = ordered_map(lambda one: backbone.preprocessing.clean(load_pixels(one.path, at_least=at_least)), pictures)
    return np.stack(list(clean))


def forward_all(backbone: Backbone, pixels: NDArray[np.uint8], device: torch.device, precision: Precision) -> float:
    network = FrozenNetwork(backbone.network, backbone.preprocessing, device, precision)
    batches = torch.from_numpy(pixels).split(64)  # type: ignore[no-untyped-call]
    network(batches[0]).cpu()
    seconds, _ = timed(lambda: [network(batch).cpu() for batch in batches])
    return seconds


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def mean_gain(ours: Measured, loop: Measured) -> float:
    return float(100 * (np.mean(ours.correct) / ours.n - np.mean(loop.correct) / loop.n))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/ and valid/")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--views", type=int, default=1, help="our views of each training picture")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of ours; the first run fills the bank and is timed")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of the loop; 0 leaves it out")
    parser.add_argument("--timed-epochs", type=int, default=0, help="so many of them are run and timed; 0: all")
    parser.add_argument("--loop-seeds", type=int, default=5)
    parser.add_argument("--rotation", type=float, default=0.0, help="degrees of the loop's random rotation")
    return parser.parse_args()


if __name__ == "__main__":
    main()
