"""RandAugment: operation by operation torchvision's pixels, drawn from the view's seed, and off unless asked for."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import RandAugment as Torchvisions
from torchvision.transforms.autoaugment import _apply_op

from tests.training_ground import picture
from train.features.augmentation import Augmentation, view_draw
from train.features.preprocessing import Preprocessing
from train.features.randaugment import FILL, MOST_MAGNITUDE, OPERATIONS, randaugment

TO = Preprocessing(112, 96, "bicubic", (0.5,) * 3, (0.5,) * 3)
STILL = {"rotation": 0.0, "smallest": 1.0, "flip": 0.0}

BEFORE = {
    Augmentation(): "c42bb2d2",
    Augmentation(rotation=45.0, smallest=0.3, flip=0.5, jitter=0.4): "c18d1b18",
    Augmentation(hue=0.1): "5158d3e3",
    Augmentation(flip_vertical=0.5): "46f19206",
}
"""The names under which banks keep views that were drawn before there was RandAugment."""


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """Wide, with all levels of each colour in it."""
    drawn = picture((200, 90, 40), 3, (130, 97))
    ramp = np.linspace(0, 255, 130 * 20).reshape(20, 130, 1).repeat(3, axis=2)
    pixels = np.asarray(drawn).copy()
    pixels[40:60] = ramp
    return Image.fromarray(pixels)


def theirs(name: str, image: Image.Image, magnitude: int, sign: float) -> Image.Image:
    """What torchvision's RandAugment makes of it, were it to draw this operation and sign."""
    space = Torchvisions()._augmentation_space(MOST_MAGNITUDE + 1, (image.height, image.width))
    levels, signed = space[name]
    level = float(levels[magnitude]) if levels.ndim else 0.0
    found: Image.Image = _apply_op(  # it takes pictures of Pillow's as well
        image, name, sign * level if signed else level, InterpolationMode.BILINEAR, [float(one) for one in FILL]  # type: ignore[arg-type]
    )  # fmt: skip
    return found


def test_there_are_torchvisions_operations_in_its_order() -> None:
    space = Torchvisions()._augmentation_space(MOST_MAGNITUDE + 1, (100, 100))
    assert list(OPERATIONS) == list(space)
    assert [one.signed for one in OPERATIONS.values()] == [signed for _, signed in space.values()]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 1, 9, 17, 30])
def test_an_operation_gives_torchvisions_pixels(name: str, magnitude: int, photograph: Image.Image) -> None:
    one = OPERATIONS[name]
    for sign in (1.0, -1.0) if one.signed else (1.0,):
        mine = np.asarray(one.change(photograph, sign * one.level(magnitude)))
        np.testing.assert_array_equal(mine, np.asarray(theirs(name, photograph, magnitude, sign)))


def test_what_is_drawn_is_what_torchvision_might_have_drawn(photograph: Image.Image) -> None:
    """Every operation comes, with either sign; two of them are one after the other."""
    might = {
        theirs(name, photograph, 9, sign).tobytes(): name for name, one in OPERATIONS.items() for sign in (1.0, -1.0)
    }
    drawn = [randaugment(photograph, random.Random(seed), 1, 9).tobytes() for seed in range(400)]
    assert set(drawn) == set(might)
    once = {one: Image.frombytes("RGB", photograph.size, one) for one in might}
    twice = {
        theirs(name, first, 9, sign).tobytes() for first in once.values() for name in OPERATIONS for sign in (1, -1)
    }
    assert {randaugment(photograph, random.Random(seed), 2, 9).tobytes() for seed in range(60)} <= twice


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_views_are_of_8_bits_and_follow_from_their_draw(magnitude: int, photograph: Image.Image) -> None:
    drawn = Augmentation(randaugment=2, magnitude=magnitude)
    draws = [view_draw(1, "ab" * 32, number) for number in range(20)]
    views = [drawn.view(photograph, TO, draw) for draw in draws]
    assert {(view.shape, view.dtype) for view in views} == {((96, 96, 3), np.dtype(np.uint8))}
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    for view, draw in zip(reversed(views), reversed(draws), strict=True):
        np.testing.assert_array_equal(view, drawn.view(photograph, TO, draw))


def test_a_view_is_cut_as_without_it(photograph: Image.Image) -> None:
    """What is drawn for it comes after all that was drawn before there was RandAugment."""
    plain = Augmentation(jitter=0.3, hue=0.1, flip_vertical=0.5)
    same = 0
    for number in range(40):
        draw = view_draw(2, "cd" * 32, number)
        before = Image.fromarray(plain.view(photograph, TO, draw))
        after = Augmentation(jitter=0.3, hue=0.1, flip_vertical=0.5, randaugment=1).view(photograph, TO, draw)
        might = {theirs(name, before, 9, sign).tobytes() for name in OPERATIONS for sign in (1.0, -1.0)}
        assert after.tobytes() in might
        same += after.tobytes() == before.tobytes()
    assert same < 20  # of 14 operations one does nothing


@pytest.mark.parametrize("drawn", BEFORE, ids=str)
def test_off_it_leaves_names_and_pixels_of_views(drawn: Augmentation, photograph: Image.Image) -> None:
    assert drawn.digest() == BEFORE[drawn]
    without = Augmentation(**{**drawn.to_dict(), "magnitude": 30})
    assert without.digest() == BEFORE[drawn]  # of nothing
    np.testing.assert_array_equal(without.view(photograph, TO, 7), drawn.view(photograph, TO, 7))
    names = {Augmentation(randaugment=n, magnitude=m).digest() for n in (1, 2) for m in (0, 9, 10)}
    assert len(names) == 6
    assert not names & set(BEFORE.values())
