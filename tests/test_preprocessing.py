"""Scale, crop and normalise as torchvision does, without ever bending a picture."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torchvision.transforms import functional, v2

from train.features.augmentation import Augmentation, view_draw
from train.features.preprocessing import Preprocessing
from train.features.views import Views

IMAGENET = Preprocessing(64, 56, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BICUBIC = Preprocessing(64, 64, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.sampled_from([IMAGENET, BICUBIC]))
def test_equal_to_torchvision_bit_for_bit(width: int, height: int, preprocessing: Preprocessing) -> None:
    if max(width, height) > 8 * min(width, height):
        return
    image = noise(width, height, seed=width * 1000 + height)
    theirs = v2.functional.resize(
        image, [preprocessing.resize], interpolation=v2.InterpolationMode(preprocessing.interpolation)
    )
    theirs = functional.center_crop(theirs, [preprocessing.crop])
    ours = preprocessing.clean(image)
    assert np.array_equal(ours, np.asarray(theirs))
    expected = functional.normalize(functional.to_tensor(theirs), list(preprocessing.mean), list(preprocessing.std))
    batch = preprocessing.normalise(torch.from_numpy(ours.copy())[None])
    assert batch.shape == (1, 3, preprocessing.crop, preprocessing.crop)
    assert torch.equal(batch[0], expected)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def blob_sides(pixels: np.ndarray) -> tuple[int, int]:
    dark = pixels[..., 0] < 128
    return int(dark.any(axis=0).sum()), int(dark.any(axis=1).sum())


def disc(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    x, y, r = width / 2, height / 2, min(width, height) / 5
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill="black")
    return image


@pytest.mark.parametrize("size", [(300, 120), (120, 300), (200, 200)])
def test_a_circle_stays_a_circle_in_every_view(size: tuple[int, int]) -> None:
    """Trap: Resize([224, 224]) and a random resized crop of free ratio bend the picture."""
    width, height = blob_sides(IMAGENET.clean(disc(*size)))
    assert abs(width - height) <= 1
    assert width > 10
    whole = Augmentation(rotation=20, smallest=0.95, flip=0.5)
    seen = 0
    for draw in range(60):
        pixels = whole.view(disc(*size), IMAGENET, draw)
        dark = pixels[..., 0] < 128
        if dark.any() and not (dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any()):
            seen += 1
            width, height = blob_sides(pixels)
            assert abs(width - height) <= 2
    assert seen >= 5


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 250), st.integers(10, 250), st.integers(0, 2**63))
def test_no_view_reaches_beyond_the_picture(width: int, height: int, draw: int) -> None:
    pixels = Augmentation().view(Image.new("RGB", (width, height), (255, 0, 255)), IMAGENET, draw)
    assert pixels.shape == (56, 56, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (255, 0, 255)).all()


def test_a_view_is_turned_by_its_angle_and_mirrored() -> None:
    """A gradient's direction tells the angle: all angles within the limit, both mirrorings, none at zero settings."""
    ramp = Image.fromarray(np.repeat(np.linspace(0, 255, 200, dtype=np.uint8)[None, :, None], 200, 0).repeat(3, 2))
    angles, mirrored = [], 0
    for draw in range(80):
        values = Augmentation().view(ramp, IMAGENET, draw)[..., 0].astype(float)
        down, across = (float(np.gradient(values, axis=axis)[4:-4, 4:-4].mean()) for axis in (0, 1))
        mirrored += across < 0
        angles.append(math.degrees(math.atan2(down, abs(across))))
    assert 20 <= mirrored <= 60
    assert max(abs(angle) for angle in angles) <= 21
    assert max(angles) > 12
    assert min(angles) < -12
    still = Augmentation(rotation=0, smallest=1, flip=0)
    assert np.array_equal(still.view(ramp, IMAGENET, 1), still.view(ramp, IMAGENET, 2))


@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_view_keeps_its_colours(jitter: float) -> None:
    """A red flower is red in every view, as it is in the clean one; a jitter changes it by its share, no further."""
    rose = Image.new("RGB", (120, 90), (200, 90, 40))
    assert IMAGENET.clean(rose)[28, 28].tolist() == [200, 90, 40]
    for draw in range(20):
        red, green, blue = (int(value) for value in Augmentation(jitter=jitter).view(rose, IMAGENET, draw)[28, 28])
        if jitter:
            assert red > green > blue
        else:
            assert (red, green, blue) == (200, 90, 40)
    views = Views(3, seed=2, augmentation=Augmentation(jitter=jitter))
    for red, green, blue in views.draw(rose, "ab" * 32, range(3), IMAGENET)[:, 28, 28].tolist():
        assert red > green > blue


def test_a_view_depends_on_its_seed_picture_and_number_alone() -> None:
    image = noise(90, 70)
    again = [Augmentation().view(image, IMAGENET, view_draw(1337, "ab" * 32, number)) for number in (1, 2, 1)]
    assert np.array_equal(again[0], again[2])
    assert not np.array_equal(again[0], again[1])
    draws = {view_draw(seed, sha, number) for seed in range(5) for sha in ("aa", "bb") for number in range(1, 9)}
    assert len(draws) == 5 * 2 * 8


def test_a_strip_costs_no_more_memory_than_a_picture() -> None:
    """Scaled whole, 2 × 60,000 pixels would become 64 × 1,920,000."""
    for size in ((2, 60_000), (60_000, 2), (1, 1)):
        assert IMAGENET.clean(Image.new("RGB", size, (9, 8, 7))).tolist() == [[[9, 8, 7]] * 56] * 56


def test_it_survives_a_checkpoint_as_plain_types() -> None:
    plain = IMAGENET.to_dict()
    assert {type(value) for value in plain.values()} <= {int, str, list}
    assert Preprocessing.from_dict(plain) == IMAGENET


@pytest.mark.parametrize(
    "fault", [{"crop": 65}, {"crop": 0}, {"interpolation": "cubic spline"}, {"std": (0.5, 0.0, 0.5)}]
)
def test_settings_that_make_no_picture_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"crop|interpolation|std"):
        Preprocessing.from_dict({**IMAGENET.to_dict(), **fault})
