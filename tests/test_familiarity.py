"""What belongs to no class is told by its features, and pictures of the classes are not mistaken for it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.commanding import command
from tests.training_ground import TINY, grow
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.familiarity import STRANGE, Familiarity, learn_familiarity
from train.optimising.settings import FitSettings
from train.predict import Prediction, Predictor
from train.run import train_recipe
from train.training import TrainOptions

CLASSES, DIM = 4, 30


def crowd(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points around four corners, wide in the first directions, which say nothing of the class."""
    source = np.random.default_rng(seed)
    targets = np.arange(n) % CLASSES
    points = source.normal(0, 0.3, (n, DIM))
    points[:, :3] *= 40
    points[np.arange(n), 10 + targets] += 5
    return points.astype(np.float32) + 3, targets


@pytest.fixture(scope="module")
def learnt() -> Familiarity:
    points, targets = crowd(400, 0)
    found = learn_familiarity(torch.from_numpy(points), targets, CLASSES)
    assert found is not None
    return found


def test_pictures_of_the_classes_are_as_familiar_as_those_held_out(learnt: Familiarity) -> None:
    """Of new pictures of the classes, a share of about p has a familiarity of p or less."""
    shares = learnt.of(crowd(2000, 1)[0])
    for share in (STRANGE, 0.1, 0.5):
        assert (shares <= share).mean() == pytest.approx(share, abs=0.05)


def test_what_lies_between_the_classes_or_elsewhere_is_strange(learnt: Familiarity) -> None:
    source = np.random.default_rng(2)
    elsewhere = source.normal(0, 0.3, (50, DIM)).astype(np.float32) + 3
    elsewhere[:, 20] += 5  # a class that nobody taught
    assert (learnt.of(elsewhere) < STRANGE).mean() > 0.9
    assert (learnt.of(crowd(50, 3)[0]) < STRANGE).mean() < 0.1


def test_it_is_the_same_each_time_and_comes_back_from_plain_types(learnt: Familiarity) -> None:
    points, targets = crowd(400, 0)
    again = learn_familiarity(torch.from_numpy(points), targets, CLASSES)
    back = Familiarity.from_dict(learnt.to_dict(), dim=DIM, classes=CLASSES)
    for other in (again, back):
        assert other is not None
        for name, value in vars(learnt).items():
            np.testing.assert_array_equal(value, getattr(other, name))


@pytest.mark.parametrize(
    "fault",
    [
        {"centre": torch.zeros(DIM + 1)}, {"classes": torch.zeros(CLASSES + 1, 30)}, {"whitening": torch.zeros(DIM)},
        {"outside": torch.zeros(1)},
        {"held_out": torch.tensor([0.3, 0.2])}, {"centre": torch.full((DIM,), float("nan"))},
        {"held_out": torch.tensor([1, 2])},
    ],
)  # fmt: skip
def test_what_is_none_does_not_come_back(fault: dict[str, torch.Tensor], learnt: Familiarity) -> None:
    with pytest.raises(ValueError, match=r"its familiarity|its held-out"):
        Familiarity.from_dict({**learnt.to_dict(), **fault}, dim=DIM, classes=CLASSES)


@pytest.mark.parametrize("count", [3, 10, 48])
def test_of_few_pictures_or_none_alike_nothing_is_said(count: int) -> None:
    points, targets = crowd(count, 0)
    assert learn_familiarity(torch.from_numpy(points), targets, CLASSES) is None
    assert learn_familiarity(torch.ones(100, DIM), np.arange(100) % CLASSES, CLASSES) is None
    assert learn_familiarity(torch.full((100, DIM), torch.nan), np.arange(100) % CLASSES, CLASSES) is None


def test_a_class_of_one_picture_does_not_make_others_strange() -> None:
    points, targets = crowd(200, 0)
    targets[0] = CLASSES  # the only one of its class
    found = learn_familiarity(torch.from_numpy(points), targets, CLASSES + 1)
    assert found is not None
    assert len(found.held_out) == 199
    assert (found.of(crowd(200, 5)[0]) < STRANGE).mean() < 0.1


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 20, "valid": 6, "test": 6})


@pytest.fixture(scope="module")
def trained(garden: Path) -> Path:
    """On features that mean something."""
    options = TrainOptions(
        backbone="efficientnet_lite0", views=1, models=garden / "models", device="cpu", head=FitSettings(epochs=10)
    )
    return train_recipe(garden, options).checkpoint


def chart(file: Path) -> Path:
    image = Image.new("RGB", (400, 300), "white")
    draw = ImageDraw.Draw(image)
    for number in range(6):
        draw.rectangle((40 + 55 * number, 260 - 30 * number, 80 + 55 * number, 260), fill="black")
    image.save(file)
    return file


def test_a_chart_is_refused_whatever_it_is_taken_for(garden: Path, trained: Path, tmp_path: Path) -> None:
    """The promise: a face, a chart or a leaf is not "sure: true" a fire lily."""
    rose = min((garden / "test" / "rose").iterdir())
    asked = ("predict", chart(tmp_path / "chart.png"), rose, "--checkpoint", trained, "--device", "cpu")
    done = command(*asked, "--json", "--abstain", "0.1")
    strange, known = (json.loads(line) for line in done.out.splitlines())
    assert (strange["sure"], strange["like_no_class"]) == (False, True)
    assert strange["familiarity"] < STRANGE
    assert known["like_no_class"] is False
    told = command(*asked).out
    assert "chart.png: like none of the classes" in told
    assert told.count("like none of the classes") == 1


def test_a_checkpoint_that_cannot_tell_says_nothing(trained: Path, tmp_path: Path) -> None:
    loaded: Checkpoint = load_checkpoint(trained)
    assert loaded.familiarity is not None
    bare = save_checkpoint(dataclasses.replace(loaded, familiarity=None), tmp_path)
    (answer,) = Predictor.from_checkpoint(bare, "cpu").predict_files([chart(tmp_path / "chart.png")])
    assert isinstance(answer, Prediction)
    assert (answer.familiarity, answer.is_stranger, answer.sure) == (None, False, True)


@pytest.mark.thorough
def test_a_tuned_network_knows_its_own_features(garden: Path, tmp_path: Path) -> None:
    tuning = dataclasses.replace(TrainOptions().tuning, unfreeze="all")
    options = TrainOptions(
        backbone=TINY, weights="none", models=tmp_path, device="cpu", head=FitSettings(epochs=2), tuning=tuning
    )
    predictor = Predictor.from_checkpoint(train_recipe(garden, options).checkpoint, "cpu")
    answers = list(predictor.predict_files(sorted((garden / "valid").rglob("*.jpg"))))
    assert all(isinstance(answer, Prediction) and answer.familiarity is not None for answer in answers)
    assert sum(isinstance(answer, Prediction) and answer.is_stranger for answer in answers) <= 4  # of 18
