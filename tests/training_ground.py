"""What the tests of the train half share: small folders of drawn pictures, and a network that answers in no time."""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from train.backbones import load_backbone
from train.checkpoint import Checkpoint
from train.metrics import Accuracy, measure_accuracy

# timm's own test network: 370,000 weights at 160 pixels
TINY = "timm:test_resnet"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
"""What lies in a picture's place where Git LFS has not brought the picture."""

COLOURS = {"rose": (200, 40, 90), "iris": (90, 60, 190), "sun flower": (230, 190, 30), "Ähre": (80, 160, 70)}


def picture(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (220, 190)) -> Image.Image:
    """Blobs of one colour on a speckled ground: classes that even random weights tell apart."""
    source = random.Random(seed)
    image = Image.new("RGB", size, tuple(source.randrange(30, 70) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius = source.randrange(size[0]), source.randrange(size[1]), source.randrange(15, 50)
        shade = tuple(min(255, max(0, value + source.randrange(-25, 25))) for value in colour)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)
    return image


def grow(root: Path, counts: dict[str, int], classes: int = 3, suffix: str = ".jpg") -> Path:
    """`counts[split]` pictures of each of the first `classes` classes below `root`, every one different."""
    for split, count in counts.items():
        for number, (label, colour) in enumerate(list(COLOURS.items())[:classes]):
            folder = root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                seed = hash_free_seed(split, number, index)
                picture(colour, seed).save(folder / f"picture {index}{suffix}", quality=90)
    return root


def hash_free_seed(split: str, number: int, index: int) -> int:
    """A seed that is the same in every process, as `hash` of a string is not."""
    return sum(split.encode()) * 100_000 + number * 1_000 + index


def accuracy(correct: int, n: int) -> Accuracy:
    """Figures of three classes: `correct` of `n` pictures are right."""
    scores = np.zeros((n, 3))
    scores[:, 0] = 1
    return measure_accuracy(scores, np.array([0] * correct + [1] * (n - correct)), 3)


def small_checkpoint() -> Checkpoint:
    """Three classes on the tiny network with random weights; 94.6% on valid."""
    torch.manual_seed(4)
    return Checkpoint(
        backbones=[load_backbone(TINY, "none")],
        head=nn.Linear(96, 3).eval(),
        labels=["1", "10", "2"],
        names=["rose", "Ähre", "iris"],
        recipe={"views": 2, "head": {"epochs": 3}},
        metrics={"valid": accuracy(946, 1000)},
        history=[{"number": 1, "loss": 0.5}],
        dataset={"fingerprint": "ab" * 32},
        versions={"torch": "2"},
        created="2026-01-01T00:00:00+00:00",
    )
