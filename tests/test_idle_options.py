"""What was asked for and changes nothing is said, or refused before anything is computed."""

from pathlib import Path
from typing import Any

import pytest

from curate.errors import UserError
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.ablate import ablate
from train.budget import plan_budget
from train.folds import cross_validate
from train.idle_options import idle_notes
from train.recipe import load_recipe
from train.run import options_of, train_recipe
from train.training import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 6, "valid": 3})


def asked(models: Path, recipe: str = "last-layer", **changes: Any) -> TrainOptions:
    wanted = load_recipe(recipe, {"backbone": TINY, "weights": "none", **changes})
    return options_of(wanted, models=models, device="cpu")


def said(*, recipe: str = "last-layer", **changes: Any) -> list[str]:
    options = asked(Path("models"), recipe, **changes)
    return idle_notes(options, options.asked)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"head": "ridge", "epochs": 5}, "epochs, as head = ridge"),
        ({"head": "auto", "learning_rate": 0.1, "optimizer": "sgd"}, "learning_rate and optimizer, as head = auto"),
        ({"head": "lda", "dropout": 0.5, "mixup": 0.2, "ema": 0.9}, "dropout, ema and mixup, as head = lda"),
        ({"strength": 0.1}, "strength, as head = sgd"),
        ({"probe": True, "backbone_rate": 0.5}, "backbone_rate and probe, as nothing is unfrozen"),
        ({"views": 1, "randaugment": 2}, "randaugment, as with one view"),
        ({"momentum": 0.5}, "momentum, as optimizer = adamw"),
        ({"schedule": "cosine", "patience": 3}, "patience, as schedule = cosine"),
        ({"steps": 10, "epochs": 3}, "epochs, as steps = 10"),
    ],
)
def test_what_has_no_effect_is_named_with_the_reason(changes: dict[str, Any], named: str) -> None:
    (note,) = said(**changes)
    assert named in note


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "ridge", "strength": 0.1, "balance": 0.5, "views": 2, "randaugment": 2},
        {"epochs": 3, "learning_rate": 0.1, "mixup": 0.2, "keep": "best", "balance_by": "logits"},
        {"optimizer": "sgd", "momentum": 0.5, "schedule": "plateau", "patience": 3},
        {"hidden": [8], "activation": "gelu"},
        {
            "recipe": "finetune",
            "head": "auto",
            "epochs": 2,
            "cutmix": 1.0,
            "rate_decay": 0.9,
            "views": 1,
            "jitter": 0.1,
        },
        {"recipe": "best"},
    ],
)
def test_what_has_an_effect_is_not_named(changes: dict[str, Any]) -> None:
    assert said(**changes) == []


def test_a_run_says_it_and_nothing_false_of_an_epoch(garden: Path, tmp_path: Path) -> None:
    report = train_recipe(garden, asked(tmp_path, head="ridge", views=1, epochs=5, keep="best"))
    assert [note for note in report.notes if "Without effect here: epochs and keep" in note]
    assert not [note for note in report.notes if "chosen on valid" in note]
    assert "keep" in str(cross_validate(garden, asked(tmp_path, head="ridge", views=1, keep="best"), folds=2).notes)


@pytest.mark.parametrize("changes", [{"cutmix": 1.0}, {"final_crop": 64}], ids=str)
def test_what_no_bank_can_do_is_refused_before_a_feature_is_computed(
    changes: dict[str, Any], garden: Path, tmp_path: Path
) -> None:
    options = asked(tmp_path / "models", **changes)
    for work in (train_recipe, cross_validate, ablate):
        with pytest.raises(UserError, match=next(iter(changes))):
            work(garden, options)
    with pytest.raises(UserError, match=next(iter(changes))):
        plan_budget(garden, 600, options)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unfreeze": "all"}, "planned for a frozen network"),
        ({"views": 2}, "--budget chooses views"),
        ({"crop": 64}, "--budget chooses crop"),
    ],
)
def test_a_budget_overrules_nothing_silently(
    changes: dict[str, Any], sentence: str, garden: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        plan_budget(garden, 600, asked(tmp_path, **changes))


@pytest.mark.thorough
def test_after_folds_within_a_budget_the_planned_run_is_advised(garden: Path, tmp_path: Path) -> None:
    ended = command(
        "train", garden, "--backbone", TINY, "--weights", "none", "--budget", "5m", "--folds", 2, "--models", tmp_path
    )
    assert ended.code == 0, ended.err
    assert f"--backbone {TINY} --weights none --views 8" in ended.out
