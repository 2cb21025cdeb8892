"""What a bank keeps features of has a version: the pixels of a clean view, and those of an augmented one.

The pictures are drawn from integers. Where a test here fails because pixels were meant to change: raise that version,
so that no bank keeps features of the old ones, and put its number and the new digest here.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from train.features import augmentation, preprocessing
from train.features.augmentation import VIEWS_VERSION, Augmentation, view_draw
from train.features.bank_file import PIXELS_VERSION
from train.features.preprocessing import INTERPOLATIONS, Preprocessing
from train.features.views import Views, prediction_views

GOLDEN = {"pixels": (1, "ca752ddaf1526d19"), "views": (1, "3aecb9b4504c2ceb")}
"""What → (its version, the digest of what it gives)."""

SIZES = [(64, 64), (97, 61), (61, 97), (20, 30), (300, 32), (9, 200), (48, 40)]
"""Of a square, of wide and high ones, of one smaller than the crop, of strips, and of one that is nearly the crop."""


def pictures() -> Iterator[Image.Image]:
    for seed, (width, height) in enumerate(SIZES):
        levels = np.random.default_rng(seed).integers(0, 256, (height // 3 + 1, width // 3 + 1, 3))
        yield Image.fromarray(np.kron(levels, np.ones((3, 3, 1)))[:height, :width].astype(np.uint8))


def to(interpolation: str = "bicubic", resize: int = 40, crop: int = 32) -> Preprocessing:
    return Preprocessing(resize, crop, interpolation, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def of_pixels() -> Iterator[bytes]:
    for picture in pictures():
        for interpolation in INTERPOLATIONS:
            yield to(interpolation).clean(picture).tobytes()
        yield to(resize=32).clean(picture).tobytes()


def of_views() -> Iterator[bytes]:
    recipes = [
        Augmentation(),
        Augmentation(rotation=45.0, smallest=0.3, flip=0.5, jitter=0.4),
        Augmentation(rotation=0.0, flip=1.0),
    ]
    for picture in pictures():
        for recipe in recipes:
            for number in range(1, 5):
                yield recipe.view(picture, to(), view_draw(7, "ab" * 32, number)).tobytes()
        yield Views(3, 1).draw(picture, "cd" * 32, range(3), to("bilinear")).tobytes()
        yield prediction_views(3).draw(picture, "cd" * 32, range(3), to()).tobytes()


SETS: dict[str, Callable[[], Iterator[bytes]]] = {"pixels": of_pixels, "views": of_views}
VERSIONS = {"pixels": PIXELS_VERSION, "views": VIEWS_VERSION}


def digest(what: str) -> str:
    """Of all that is given of the drawn pictures: 16 hexadecimal digits."""
    return hashlib.sha256(b"".join(SETS[what]())).hexdigest()[:16]


@pytest.mark.parametrize("what", SETS)
def test_a_version_gives_the_pixels_that_it_always_gave(what: str) -> None:
    found = digest(what)
    assert GOLDEN[what] == (VERSIONS[what], found), f"{what} are others: raise their version, and put {found} here"


def test_the_drawn_pictures_tell_of_a_small_change(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, constant, value, what in CHANGES:
        with monkeypatch.context() as changed:
            changed.setattr(module, constant, value)
            assert digest(what) != GOLDEN[what][1], constant


CHANGES: list[tuple[object, str, object, str]] = [
    (preprocessing, "_LONGEST_RATIO", 7, "pixels"),
    (preprocessing, "INTERPOLATIONS", {**INTERPOLATIONS, "box": Image.Resampling.NEAREST}, "pixels"),
    (augmentation, "INTERPOLATIONS", dict.fromkeys(INTERPOLATIONS, Image.Resampling.BOX), "views"),
]
