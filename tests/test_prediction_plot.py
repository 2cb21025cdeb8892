"""Answers and curves as pictures: bars as long as probabilities, green where right, red where wrong, every epoch."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate.image import load_pixels
from tests.pictures import draw
from train.curves_plot import plot_curves
from train.optimising.fitting import Epoch
from train.predict import Guess, Prediction
from train.prediction_plot import MOST, MOST_GUESSES, LabelledPrediction, plot_predictions

BLUE, GREEN, RED = (91, 127, 165), (76, 145, 92), (178, 84, 76)


def prediction(path: Path, *probabilities: float) -> Prediction:
    guesses = [Guess(str(number), f"class {number}", one) for number, one in enumerate(probabilities)]
    return Prediction(str(path), guesses)


@pytest.fixture
def rose(tmp_path: Path) -> Path:
    file = tmp_path / "rose.jpg"
    file.write_bytes(draw(1, (300, 200)))
    return file


def runs(image: Image.Image, colour: tuple[int, int, int]) -> list[int]:
    """The widths of the bars of one colour, from the top."""
    widths: NDArray[np.int64] = (np.asarray(image)[:, 250:] == colour).all(axis=2).sum(axis=1)
    starts = [row for row in range(len(widths)) if widths[row] and (row == 0 or not widths[row - 1])]
    return [int(widths[row + 2]) for row in starts]


def test_bars_are_as_long_as_probabilities(rose: Path) -> None:
    bars = runs(plot_predictions([LabelledPrediction(prediction(rose, 0.6, 0.3, 0.1, 0.0))]), BLUE)
    assert len(bars) == 4
    assert bars[0] / bars[1] == pytest.approx(2, abs=0.05)
    assert bars[0] / bars[2] == pytest.approx(6, abs=0.4)
    assert bars[3] <= 2


@pytest.mark.parametrize(("truth", "colour"), [("0", GREEN), ("1", RED)])
def test_the_first_guess_is_told_right_or_wrong(rose: Path, truth: str, colour: tuple[int, int, int]) -> None:
    drawn = plot_predictions([LabelledPrediction(prediction(rose, 0.6, 0.4), truth, "a rose")])
    assert len(runs(drawn, colour)) == 1
    assert len(runs(drawn, BLUE)) == 1


def test_the_picture_stands_beside_its_answer(rose: Path) -> None:
    left = plot_predictions([LabelledPrediction(prediction(rose, 1.0))]).crop((12, 12, 236, 236))
    small = load_pixels(rose).resize((224, 149), Image.Resampling.LANCZOS)
    middle = np.asarray(left.crop((0, 40, 224, 180)), dtype=float) - np.asarray(
        small.crop((0, 40 - 38 + 1, 224, 180 - 38 + 1)), dtype=float
    )
    assert np.abs(middle).mean() < 4


def test_many_answers_make_no_endless_picture(rose: Path) -> None:
    one = plot_predictions([LabelledPrediction(prediction(rose, 0.5, 0.5))])
    many = plot_predictions([LabelledPrediction(prediction(rose, 0.5, 0.5))] * (MOST + 30))
    assert many.height == MOST * one.height
    long = plot_predictions([LabelledPrediction(prediction(rose, *[0.01] * 40))])
    assert len(runs(long, BLUE)) == 40
    assert len(runs(plot_predictions([LabelledPrediction(prediction(rose, *[1e-5] * 5000))]), BLUE)) == MOST_GUESSES


def test_a_picture_that_vanished_leaves_its_answer(tmp_path: Path) -> None:
    assert len(runs(plot_predictions([LabelledPrediction(prediction(tmp_path / "gone.jpg", 0.7, 0.3))]), BLUE)) == 2


# -- curves

VALID = (204, 121, 60)


def points(image: Image.Image, colour: tuple[int, int, int], panel: int) -> NDArray[np.int64]:
    """Rows and columns of one colour's pixels below the titles."""
    pixels = np.asarray(image)[30:, panel * 480 : (panel + 1) * 480]
    return np.argwhere((pixels == colour).all(axis=2))


def test_what_falls_is_drawn_falling_and_what_rises_rising() -> None:
    history = [Epoch(number, 4 / number, number / 10, 0.5, 1.0) for number in range(1, 9)]
    image = plot_curves(history)
    for panel, falls in ((0, True), (1, False)):
        found = points(image, BLUE, panel)
        left, right = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
        assert bool(left[0] < right[0]) is falls  # a row further down is less
    level = points(image, VALID, 1)
    assert np.ptp(level[:, 0]) < 10


def test_curves_do_without_what_is_missing() -> None:
    assert points(plot_curves([]), BLUE, 0).size == 0
    alone = plot_curves([Epoch(1, 2.0, 0.5, None)])
    assert len(points(alone, BLUE, 1)) > 10
    assert points(alone, VALID, 1).size == 0
    plot_curves([Epoch(1, float("nan"), 0.5, 0.1, float("inf")), Epoch(2, 0.0, 0.5, 0.1, 0.0)])
    assert plot_curves([Epoch(number, 1.0, 0.1, 0.1, 1.0) for number in range(1, 501)]).size == (960, 300)
