"""The recipes: read strictly, explained line by line, and each doing what its authors meant."""

import math
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from curate.errors import UserError
from tests.training_ground import TINY, grow
from train.backbones import load_backbone
from train.checkpoint import load_checkpoint
from train.optimising.layers import build_head, describe_head, head_from_description, linears
from train.optimising.schedule import Schedule
from train.optimising.settings import FitSettings
from train.options import LearningOptions
from train.predict import Prediction, Predictor
from train.recipe import FOLDER, Recipe, list_recipes, load_recipe, parse_overrides, recipe_names
from train.run import options_of, train_recipe
from train.training import TrainingReport

OF_OTHERS = ["inception-bottleneck", "landmarks", "resnet152", "scratch-cnn", "vgg-classifier", "vgg16-notebook"]
REPOSITORY = Path(__file__).resolve().parent.parent


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 4})


def train(root: Path, models: Path, name: str, **overrides: Any) -> TrainingReport:
    recipe = load_recipe(name, {"weights": "none", "crop": 64, **overrides})
    return train_recipe(root, options_of(recipe, models=models, device="cpu"))


# ---- the files


def test_all_six_systems_are_there_and_the_default_comes_first() -> None:
    assert recipe_names()[0] == "last-layer"
    assert set(OF_OTHERS) <= set(recipe_names())
    for recipe in list_recipes():
        assert recipe.summary
        assert recipe.reproduces
        assert recipe.reported


@pytest.mark.parametrize("name", recipe_names())
def test_every_option_is_one_line_that_says_what_it_means(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    meanings = dict(re.findall(r"^(\w+) = .*?  # (\S.*)$", text, re.MULTILINE))
    assert set(meanings) == set(tomllib.loads(text)) == set(load_recipe(name).to_dict())
    first = (FOLDER / "last-layer.toml").read_text("utf-8")
    default = dict(re.findall(r"^(\w+) = .*?  # (\S.*)$", first, re.MULTILINE))
    assert meanings == default  # an option means the same everywhere
    assert text.startswith("# ")


def test_the_default_recipe_is_what_the_settings_say_was_chosen() -> None:
    assert load_recipe().options == LearningOptions()


def test_listing_needs_no_torch() -> None:
    code = "import sys, train.recipe; train.recipe.list_recipes(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"learning_rat": 1}, ["learning_rat'", "did you mean learning_rate?"]),
        ({"unfreez": 1}, ["did you mean unfreeze?", "resnet152.toml"]),
        ({"epochs": 0}, ["epochs = 0 lies outside 1 to 100,000"]),
        ({"epochs": 2.5}, ["epochs = 2.5", "not a whole number"]),
        ({"standardise": 1}, ["not true or false"]),
        ({"hidden": [8.5]}, ["not a list of whole numbers"]),
        ({"hidden": [0]}, ["at least one unit"]),
        ({"optimizer": "adma"}, ["did you mean adam"]),
        ({"features": "clasifier"}, ["did you mean classifier?"]),
        ({"balance": 2}, ["balance = 2.0 lies outside 0 to 1"]),
        ({"views": 0}, ["views = 0"]),
        ({"backbone": 3}, ["not a text"]),
    ],
    ids=str,
)
def test_a_wrong_override_names_the_right_one(overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        load_recipe("resnet152", overrides)
    for word in words:
        assert word in str(raised.value)


def test_a_recipe_of_ones_own_needs_say_only_what_differs(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "landmarks"\nepochs = 3\nlearning_rate = 1  # an integer will do\n')
    recipe = load_recipe(mine, {"batch": 7})
    theirs = load_recipe("landmarks").to_dict()
    assert recipe.name == "mine"
    assert recipe.to_dict() == {**theirs, "epochs": 3, "learning_rate": 1.0, "batch": 7}
    (tmp_path / "ours.toml").write_text('base = "mine.toml"\nepochs = 4\n')
    assert load_recipe(str(tmp_path / "ours.toml")).options.head.epochs == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('base = "best"\nlabel_smothing = 0.1', ["mine.toml", "label_smothing", "did you mean label_smoothing?"]),
        ("epochs = 3", ["mine.toml lacks summary", 'base = "last-layer"']),
        ('base = "bset"', ["did you mean best?"]),
        ("base = 3", ["no recipe's name as its base"]),
        ('base = "mine.toml"', ["no recipe's name as its base"]),
        ("epochs = = 3", ["mine.toml can't be read as TOML"]),
    ],
    ids=str,
)
def test_a_faulty_file_is_named(tmp_path: Path, content: str, words: list[str]) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(UserError) as raised:
        load_recipe(tmp_path / "mine.toml")
    for word in words:
        assert word in str(raised.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean resnet152"):
        load_recipe("resnet-152")
    with pytest.raises(UserError, match="There is no recipe file"):
        load_recipe(Path("nowhere/mine.toml"))


def test_overrides_are_toml_or_bare_words() -> None:
    texts = ["epochs=3", "learning_rate = 1e-2", "hidden=[4, 5]", "optimizer=sgd", "unfreeze=layer4", "probe=true"]
    found = parse_overrides(texts)
    assert found == {
        "epochs": 3, "learning_rate": 0.01, "hidden": [4, 5], "optimizer": "sgd", "unfreeze": "layer4", "probe": True
    }  # fmt: skip
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_overrides(["epochs"])


# ---- what their authors meant


def layers_of(name: str, classes: int = 102) -> list[str]:
    recipe = load_recipe(name)
    backbone = load_backbone(recipe.options.backbone, "none", cut=recipe.options.features)
    fit = recipe.options.head
    head = build_head(
        backbone.dim, classes, hidden=fit.hidden, activation=fit.activation, dropout=fit.dropout
    )  # fmt: skip
    written = {"linear": "{in}→{out}", "dropout": "dropout {share}"}
    return [written.get(layer["kind"], layer["kind"]).format(**layer) for layer in describe_head(head)]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet152", ["2048→102"]),
        ("inception-bottleneck", ["2048→102"]),
        ("vgg-classifier", ["25088→512", "relu", "dropout 0.5", "512→102"]),
        ("landmarks", ["2048→512", "relu", "dropout 0.15", "512→102"]),
        (
            "scratch-cnn",
            ["50176→1024", "leaky_relu", "dropout 0.25", "1024→512", "leaky_relu", "dropout 0.25", "512→102"],
        ),
        pytest.param(
            "vgg16-notebook", ["25088→4096", "relu", "dropout 0.5", "4096→102"], marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_each_recipe_builds_the_head_of_its_row(name: str, layers: list[str]) -> None:
    assert layers_of(name) == layers


def test_each_recipe_trains_as_its_row_says() -> None:
    def told(name: str) -> tuple[object, ...]:
        recipe = load_recipe(name)
        fit = recipe.options.head
        return recipe.frozen, fit.optimizer, fit.learning_rate, fit.schedule, fit.epochs, fit.steps, fit.batch

    assert told("resnet152") == (True, "adam", 1e-3, "constant", 10, 0, 100)
    assert told("inception-bottleneck")[:4] == (True, "adam", 5e-3, "constant")
    assert 500 <= load_recipe("inception-bottleneck").options.head.steps <= 2000
    assert told("inception-bottleneck")[-1] == 32
    assert told("vgg-classifier")[:3] == (True, "sgd", 0.03)
    assert told("vgg16-notebook") == (True, "adam", 1e-3, "constant", 8, 0, 50)
    assert told("landmarks") == (True, "sgd", 0.01, "plateau", 50, 0, 32)
    assert told("scratch-cnn") == (False, "sgd", 0.01, "plateau", 60, 0, 32)
    for name in ("landmarks", "scratch-cnn"):
        fit = load_recipe(name).options.head
        assert (fit.momentum, fit.patience, fit.balance, fit.balance_by) == (0.9, 10, 1.0, "sampling")
    assert load_recipe("resnet152").options.augmentation.rotation == 20
    assert load_recipe("vgg16-notebook").options.augmentation.rotation == 45


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("last-layer", {"backbone": TINY}),
        ("best", {"backbone": TINY}),
        ("resnet152", {"backbone": TINY}),
        pytest.param("inception-bottleneck", {"crop": 80, "steps": 30}, marks=pytest.mark.slow),
        ("inception-bottleneck", {"backbone": TINY, "steps": 30, "optimizer": "sgd", "momentum": 0.0,
                                  "learning_rate": 0.2, "schedule": "exponential"}),
        ("vgg-classifier", {"backbone": "alexnet", "hidden": [32], "epochs": 15}),
        ("vgg16-notebook", {"backbone": "alexnet", "hidden": [32]}),
        ("landmarks", {"backbone": TINY, "epochs": 12}),
        ("scratch-cnn", {"epochs": 12, "hidden": [32, 16]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_recipe_runs_from_pictures_to_predictions(
    garden: Path, tmp_path: Path, name: str, overrides: dict[str, Any]
) -> None:
    report = train(garden, tmp_path, name, **overrides)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.recipe["name"] == report.recipe == name
    fit = load_recipe(name, overrides).options.head
    assert checkpoint.recipe["head"] == fit.to_dict()
    steps = fit.steps or fit.epochs
    assert 0 < len(checkpoint.history) <= steps
    started = checkpoint.history[0]["loss"] if fit.head == "sgd" else math.log(3)  # at once: from nothing
    assert checkpoint.history[-1]["loss"] < started
    predictor = Predictor(checkpoint, "cpu")
    answers = list(predictor.predict_files(sorted((garden / "valid").rglob("*.jpg"))))
    right = [isinstance(one, Prediction) and one.guesses[0].label == Path(one.path).parent.name for one in answers]
    assert sum(right) == report.valid.correct  # what is reported is what predicts
    assert report.valid.n == len(answers) == 12


# ---- heads and features


def test_a_head_describes_itself_in_plain_types() -> None:
    for head in (build_head(6, 3), build_head(6, 3, dropout=0.1), build_head(6, 3, hidden=[5, 4], activation="gelu")):
        again = head_from_description(describe_head(head), head.state_dict())
        assert str(again) == str(head)
        features = torch.randn(2, 6)
        assert torch.equal(again.eval()(features), head.eval()(features))
    with pytest.raises(ValueError, match="unknown kind"):
        head_from_description([{"kind": "conv"}], {})
    with pytest.raises(ValueError, match="do not fit each other"):
        head_from_description([{"kind": "linear", "in": 2, "out": 3}, {"kind": "linear", "in": 4, "out": 1}], {})
    with pytest.raises(ValueError, match="do not fit each other"):
        head_from_description([{"kind": "relu"}], {})
    with pytest.raises(TypeError, match="Conv2d"):
        describe_head(nn.Sequential(nn.Conv2d(1, 1, 1)))


@pytest.mark.thorough
def test_the_whole_classifier_can_be_cut() -> None:
    whole, last = (load_backbone("alexnet", "none", cut=cut) for cut in ("classifier", "last"))
    assert (whole.dim, last.dim) == (256 * 6 * 6, 4096)
    pictures = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = whole.network(pictures)
    classifier = last.network.get_submodule("classifier")
    assert torch.allclose(classifier(features), last.network(pictures))  # one continues the other
    assert load_backbone(TINY, "none", cut="classifier").dim == load_backbone(TINY, "none").dim
    assert load_backbone("convnext_tiny", "none", cut="classifier", crop=64).dim == 768
    with pytest.raises(UserError, match="torchvision:NAME"):
        load_backbone("timm:vgg11", "none", cut="classifier", crop=64)


def test_a_crop_that_a_network_cannot_take_is_said() -> None:
    with pytest.raises(UserError, match="can't take pictures of 100 × 100"):
        load_backbone("vit_b_16", "none", crop=100)


# ---- schedules, as functions


def test_the_cosine_warms_up_and_falls_to_nothing() -> None:
    schedule = Schedule(FitSettings(warmup=2, epochs=10), 5, 50)
    factors = [schedule.factor(step) for step in range(50)]
    assert factors[:11] == pytest.approx([*(i / 10 for i in range(1, 11)), 1.0])
    assert all(one > other for one, other in pairwise(factors[10:]))
    assert schedule.factor(50) == pytest.approx(0)


def test_the_exponential_falls_by_its_factor_an_epoch() -> None:
    schedule = Schedule(FitSettings(schedule="exponential", decay=0.5), 4, 40)
    assert [schedule.factor(step) for step in (0, 4, 8)] == pytest.approx([1, 0.5, 0.25])


def test_the_plateau_waits_its_patience_and_remembers_it() -> None:
    """Against PyTorch's own ReduceLROnPlateau, resumed in the middle."""
    losses = [1.0, 0.9, 0.95, 0.9, 0.91, 0.8, 0.85, 0.81, 0.82, 0.83, 0.84, 0.9]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    settings = FitSettings(schedule="plateau", patience=2, factor=0.1)
    ours = Schedule(settings, 3, 99)
    for number, loss in enumerate(losses):
        theirs.step(loss)
        ours.end_epoch(loss)
        assert ours.factor(number) == pytest.approx(optimizer.param_groups[0]["lr"])
        resumed = Schedule(settings, 3, 99)
        resumed.load_state_dict(ours.state_dict())
        ours = resumed
    assert ours.factor(0) < 0.05


def test_linears_are_found_in_order() -> None:
    assert [one.out_features for one in linears(build_head(3, 2, hidden=[5, 4]))] == [5, 4, 2]


def test_a_recipe_is_frozen_or_not() -> None:
    frozen: list[Recipe] = [load_recipe("last-layer", {"unfreeze": what}) for what in ("none", 0)]
    assert all(recipe.frozen for recipe in frozen)
    assert not any(load_recipe("last-layer", {"unfreeze": what}).frozen for what in ("all", 1, "layer4"))
