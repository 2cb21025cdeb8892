"""A sweep finds what is better, does not chase what is not, and measures on folds of train alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from curate.errors import UserError
from tests.test_folds import options
from tests.training_ground import grow
from train.fold_assignment import assign_folds
from train.folds import FoldResult, LearningSet
from train.metrics import measure_accuracy
from train.optimising.settings import FitSettings
from train.sweep import GRID, Trial, _paired, race, sweep

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = FitSettings(epochs=4, batch=32)


def learnable(n: int = 240, noise: float = 1.0, seed: int = 0) -> LearningSet:
    source = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(4, 16)) * 1.2
    targets = source.integers(4, size=n)
    features = centres[targets] + source.normal(size=(n, 16)) * noise
    sha256 = [f"{number:064x}" for number in range(n)]
    return LearningSet(
        features=torch.from_numpy(features).float()[:, None],
        targets=targets,
        labels=list("abcd"),
        fold=assign_folds(sha256, targets, {}, folds=3, seed=0),
        folds=3,
        seed=0,
        broken=[],
        notes=[],
    )


def with_rate(*rates: float) -> list[FitSettings]:
    return [FitSettings(epochs=4, batch=32, learning_rate=rate, weight_decay=0.0) for rate in rates]


def test_better_settings_are_found_and_chosen() -> None:
    field = with_rate(1e-7, 1e-6, 3e-2, 1e-5)
    found = race(learnable(), field)
    assert found.best.settings == found.chosen == field[2]
    assert found.given.settings == field[0]
    assert found.given.folds == found.best.folds == 3
    assert found.gain > 0.3 > found.gain_error > 0
    assert found.gain == pytest.approx(found.best.accuracy - found.given.accuracy)
    assert found.chosen_validation.pooled.n == 240
    assert [trial.folds for trial in found.trials] == sorted((trial.folds for trial in found.trials), reverse=True)


def test_a_gain_is_measured_on_the_same_pictures() -> None:
    def trial(*wrong: int) -> Trial:
        right = np.ones(40, dtype=bool)
        right[list(wrong)] = False
        accuracy = measure_accuracy(np.eye(2)[(~right).astype(int)], np.zeros(40, dtype=np.int64), 2)
        return Trial(QUICK, [FoldResult(accuracy, 0.0, right)])

    gain, error = _paired(trial(1, 2), trial(1, 2, 3))
    assert gain == pytest.approx(1 / 40)
    assert error == pytest.approx(1 / 40)  # one picture in forty: as likely luck as not
    gain, error = _paired(trial(), trial(*range(10)))
    assert gain == 0.25
    assert error == pytest.approx(np.sqrt(0.25 * 0.75 / 39))
    assert _paired(trial(4), trial(4)) == (0, 0)


def test_luck_is_not_chased() -> None:
    """Settings that answer alike: whichever comes first by a hair, what was given stays."""
    data = learnable()
    found = race(data, with_rate(1e-2, 1.0001e-2, 0.9999e-2, 1.0002e-2))
    assert found.gain <= found.gain_error
    assert found.chosen == found.given.settings == with_rate(1e-2)[0]


def test_the_field_shrinks_and_who_was_there_before_reaches_the_end() -> None:
    field = with_rate(1e-9, *(3e-2 * (1 + number / 10) for number in range(11)))
    found = race(learnable(), field)
    assert found.fits == 12 + 4 + 4
    assert found.given.folds == 3  # though it is the worst of all
    assert sum(trial.folds == 3 for trial in found.trials) == 4
    assert found.trials[-1].folds == 1
    assert len(found.trials) == 12


def test_it_is_the_same_each_time() -> None:
    one, other = (race(learnable(), with_rate(1e-3, 1e-2, 3e-2)) for _ in range(2))
    assert [trial.settings for trial in one.trials] == [c.settings for c in other.trials]
    assert one.gain == other.gain


def test_the_whole_way_on_pictures(tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": 6, "valid": 1, "test": 1})
    found = sweep(
        root, options(tmp_path / "models", head=QUICK), grid={"learning_rate": (1e-3, 1e-2), "balance": (0, 1)},
        folds=2,
    )  # fmt: skip
    assert found.axes == {"learning_rate": [1e-3, 1e-2]}
    assert "balance was not swept" in found.notes[0]
    assert len(found.trials) == 3  # the two and the one that was given
    assert not list(root.rglob("*.opened.json"))
    with pytest.raises(UserError, match="over 'rate'"):
        sweep(root, options(tmp_path / "models"), grid={"rate": (1,)}, folds=2)


def test_the_grid_names_settings() -> None:
    for name, values in GRID.items():
        assert hasattr(QUICK, name)
        for value in values:
            FitSettings(**{name: value})  # type: ignore[arg-type]
