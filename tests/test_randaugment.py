"""RandAugment: operation by operation torchvision's pixels, drawn from the view's seed, and off unless asked for."""

import random
from collections import Counter

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


def theirs(name: str, image: Image.Image, level: float) -> Image.Image:
    """What torchvision's RandAugment makes of it."""
    found: Image.Image = _apply_op(  # it takes pictures of Pillow's as well
        image, name, level, InterpolationMode.BILINEAR, [float(one) for one in FILL]
    )  # fmt: skip
    return found


def possible(image: Image.Image, magnitude: int) -> dict[bytes, str]:
    """All that one operation may make of it, and which."""
    return {
        one.change(image, sign * one.level(magnitude)).tobytes(): name
        for name, one in OPERATIONS.items()
        for sign in (1.0, -1.0)[: 1 + one.signed]
    }


def test_there_are_torchvisions_operations_with_its_levels(photograph: Image.Image) -> None:
    space = Torchvisions()._augmentation_space(MOST_MAGNITUDE + 1, (photograph.height, photograph.width))
    assert list(OPERATIONS) == list(space)
    for name, (levels, signed) in space.items():
        one = OPERATIONS[name]
        assert one.signed == signed
        of = {"TranslateX": photograph.width, "TranslateY": photograph.height}.get(name, 1)
        mine = [of * one.level(magnitude) for magnitude in range(MOST_MAGNITUDE + 1)]
        if name == "Posterize":
            assert [round(bits) for bits in mine] == levels.tolist()
        else:
            assert mine == pytest.approx(levels.tolist() if levels.ndim else [0.0] * len(mine), abs=1e-4)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 1, 9, 17, 30])
def test_an_operation_gives_torchvisions_pixels(name: str, magnitude: int, photograph: Image.Image) -> None:
    """The same; but for a shear, whose angle it takes by way of degrees: there a few are one level of 255 off."""
    one = OPERATIONS[name]
    of = {"TranslateX": photograph.width, "TranslateY": photograph.height}.get(name, 1)
    for sign in (1.0, -1.0)[: 1 + one.signed]:
        level = sign * one.level(magnitude)
        mine = np.asarray(one.change(photograph, level)).astype(int)
        other = np.asarray(theirs(name, photograph, round(level) if name == "Posterize" else of * level)).astype(int)
        if name.startswith("Shear"):
            assert np.abs(mine - other).max() <= 1
            assert (mine != other).mean() < 0.02
        else:
            np.testing.assert_array_equal(mine, other)


def test_every_operation_is_drawn_with_either_sign(photograph: Image.Image) -> None:
    pale = photograph.point(lambda value: value // 2 + 100)  # so that all but one operation change it
    might = possible(pale, 9)
    drawn = Counter(randaugment(pale, random.Random(seed), 1, 9).tobytes() for seed in range(1400))
    assert set(drawn) == set(might)
    by_name = Counter(dict.fromkeys(OPERATIONS, 0))
    for pixels, count in drawn.items():
        by_name[might[pixels]] += count
    assert all(50 < count < 160 for count in by_name.values())  # 100 each, with a deviation of 10
    for name, one in OPERATIONS.items():
        if one.signed:
            counts = [count for pixels, count in drawn.items() if might[pixels] == name]
            assert len(counts) == 2
            assert min(counts) > 20


def test_two_operations_are_one_after_the_other(photograph: Image.Image) -> None:
    once = [Image.frombytes("RGB", photograph.size, one) for one in possible(photograph, 9)]
    twice = {pixels for first in once for pixels in possible(first, 9)}
    drawn = {randaugment(photograph, random.Random(seed), 2, 9).tobytes() for seed in range(60)}
    assert drawn <= twice
    assert len(drawn - set(possible(photograph, 9))) > 30


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
        assert after.tobytes() in possible(before, 9)
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
