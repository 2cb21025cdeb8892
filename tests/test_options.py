"""Every option of training is declared once: recipe, flag, argument, run folder and checkpoint have it alike."""

import inspect
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import florilegium as fl
from commands import training
from commands.option_flags import WITH_FLAG
from curate import defaults
from curate.errors import UserError
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.optimising.settings import FitSettings
from train.option_fields import Option, made_of, option, options_in, require_within, typed, values_of
from train.options import OPTIONS, LearningOptions
from train.recipe import FOLDER, KEYS, load_recipe, parse_overrides, recipe_names
from train.recipe_text import opening_of, recipe_text
from train.run import options_of
from train.run_folder import recipe_as_run
from train.training import TrainOptions, recipe_facts

pytestmark = pytest.mark.usefixtures("one_thread")

REPOSITORY = Path(__file__).resolve().parent.parent
IN_RECIPES = [one for one in OPTIONS if one.in_recipes]
WORDS = {"backbone": "alexnet", "weights": "none", "unfreeze": "layer4"}
"""Another value for options whose type does not give one."""


def another(one: Option) -> Any:
    """A value that the option may be, and is not by default."""
    if one.name in WORDS:
        return WORDS[one.name]
    if one.choices:
        return next(choice for choice in one.choices if choice != one.default)
    if one.kind is bool:
        return not one.default
    if get_origin(one.kind) is tuple:
        return [5, 4]
    candidates = (one.default + 1, 0.5, 0.25, 1.5)
    return next(
        one.kind(value) for value in candidates
        if one.bounds is None or (one.bounds.hold(value) and one.kind(value) != one.default)
    )  # fmt: skip


def inner(facts: dict[str, Any], one: Option) -> Any:
    """The fact at the option's path."""
    for step in one.path.split("."):
        facts = facts[step]
    return facts


def parameter(function: Any, name: str) -> inspect.Parameter:
    return inspect.signature(function).parameters[name]


# ---- one place


def test_there_are_all_options() -> None:
    assert {"views", "seed", "epochs", "learning_rate", "hidden", "rotation", "unfreeze", "balance"} <= {
        one.name for one in OPTIONS
    }
    assert len({one.name for one in OPTIONS}) == len(OPTIONS) > 40
    assert all(one.means for one in OPTIONS)


@pytest.mark.parametrize("one", IN_RECIPES, ids=lambda one: one.name)
def test_an_option_goes_from_recipe_to_run_and_checkpoint(one: Option, tmp_path: Path) -> None:
    """Its default is that of the default recipe; another value reaches all that is made of it, under one name."""
    assert KEYS[one.name].default == one.default
    assert load_recipe().to_dict()[one.name] == values_of(LearningOptions())[one.name]
    value = another(one)
    recipe = load_recipe(defaults.DEFAULT_RECIPE, {"unfreeze": "all", one.name: value})
    assert recipe.to_dict()[one.name] == value
    told = options_of(recipe)
    assert values_of(told)[one.name] == value
    file = tmp_path / "mine.toml"
    file.write_text(recipe_text(recipe_as_run(load_recipe(), told), []), encoding="utf-8")
    assert load_recipe(file).options == recipe.options
    assert f"# {one.means}\n" in file.read_text(encoding="utf-8")
    facts = recipe_facts(told, "float32")
    assert inner(facts, one) == (value if one.name != "precision" else "float32")


def test_the_seed_is_an_option_that_no_recipe_has() -> None:
    assert [one.name for one in OPTIONS if not one.in_recipes] == ["seed"]
    with pytest.raises(UserError, match="no option 'seed'"):
        load_recipe(defaults.DEFAULT_RECIPE, {"seed": 3})
    assert LearningOptions().seed == TrainOptions().seed == defaults.DEFAULT_SEED
    assert recipe_facts(options_of(load_recipe(), seed=9), "float32")["seed"] == 9


def test_facts_name_no_place_on_the_users_disk() -> None:
    told = TrainOptions(weights=Path("/home/somebody/weights.pth"))
    assert recipe_facts(told, "float32")["weights"] == "weights.pth"


def test_what_is_frozen_says_nothing_of_its_rates() -> None:
    assert recipe_facts(options_of(load_recipe()), "float32")["tuning"] is None


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_are_as_the_options_say(name: str) -> None:
    """After an option was added: `python -m train.recipe_text`."""
    written = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert written == recipe_text(load_recipe(name), opening_of(name))


def test_a_recipe_from_before_an_option_was_added_is_read(tmp_path: Path) -> None:
    lines = recipe_text(load_recipe("landmarks"), []).splitlines()
    old = tmp_path / "old.toml"
    old.write_text("\n".join(line for line in lines if not line.startswith("cutmix")), encoding="utf-8")
    assert load_recipe(old).options == load_recipe("landmarks").options
    assert "cutmix" not in old.read_text(encoding="utf-8")


# ---- flags and arguments


@pytest.mark.parametrize("one", WITH_FLAG.values(), ids=lambda one: one.name)
def test_a_flag_has_the_options_default_bounds_and_help(one: Option) -> None:
    flag = parameter(training.train, one.name)
    assert flag.kind is flag.KEYWORD_ONLY
    assert flag.default == (None if one.in_recipes else one.default)
    (shown,) = get_args(flag.annotation)[1:]
    assert shown.help == one.flag
    assert (shown.min, shown.max) == ((one.bounds.least, one.bounds.most) if one.bounds else (None, None))


def test_the_python_api_has_an_argument_for_each_flag() -> None:
    taken = inspect.signature(fl.Dataset.train).parameters
    for one in WITH_FLAG.values():
        assert taken[one.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert taken[one.name].default == (None if one.in_recipes else one.default)
    assert any(it.kind is it.VAR_KEYWORD for it in taken.values())  # all other options by name
    assert {name for name in taken if name in KEYS} == {one.name for one in WITH_FLAG.values() if one.in_recipes}


@pytest.mark.parametrize("one", IN_RECIPES, ids=lambda one: one.name)
def test_set_takes_every_option(one: Option) -> None:
    value = another(one)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert load_recipe(defaults.DEFAULT_RECIPE, parse_overrides([f"{one.name}={text}"])).to_dict()[one.name] == value


@pytest.mark.thorough
def test_flag_set_and_argument_train_alike(tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": 3, "valid": 2})
    done = command(
        "train", root, "--backbone", TINY, "--weights", "none", "--views", 2, "--balance", 0.5, "--seed", 5,
        "--set", "epochs=2", "--models", tmp_path / "one", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert done.code == 0, done.err
    model = fl.open(root).train(
        backbone=TINY, weights="none", views=2, balance=0.5, seed=5, epochs=2, models=tmp_path / "two",
        runs=tmp_path / "runs", progress=None,
    )  # fmt: skip
    (theirs,) = (load_checkpoint(file) for file in (tmp_path / "one").glob("*.pth"))
    assert load_checkpoint(model.path).recipe == theirs.recipe
    facts = {one.name: inner(theirs.recipe, one) for one in OPTIONS if not one.path.startswith("tuning")}
    assert (facts["views"], facts["balance"], facts["seed"], facts["epochs"]) == (2, 0.5, 5, 2)


# ---- wrong values


@pytest.mark.parametrize("one", [it for it in IN_RECIPES if it.bounds], ids=lambda one: one.name)
def test_a_value_out_of_bounds_is_one_sentence(one: Option) -> None:
    assert one.bounds is not None
    edges = (one.bounds.least, one.bounds.above)
    low = next(edge for edge in edges if edge is not None)
    below = low - 1 if one.bounds.least is not None else low
    for wrong in (below, *([float("nan"), float("inf")] if one.kind is float else [])):
        with pytest.raises(UserError, match=rf"{one.name} = .*: give [^\n]*\.$") as raised:
            load_recipe(defaults.DEFAULT_RECIPE, {one.name: wrong})
        assert f"{defaults.DEFAULT_RECIPE}.toml" in str(raised.value)
    if one.bounds.most is not None:
        load_recipe(defaults.DEFAULT_RECIPE, {one.name: one.kind(one.bounds.most)})
        with pytest.raises(UserError, match=f"{one.name} = .* lies outside"):
            load_recipe(defaults.DEFAULT_RECIPE, {one.name: one.kind(one.bounds.most * 2)})


def test_words_are_checked_from_python_too() -> None:
    with pytest.raises(UserError, match=r"optimizer = 'adma' is none of adamw, adam, sgd: give one of them\.$"):
        FitSettings(optimizer="adma")  # type: ignore[arg-type]


# ---- another option


@dataclass(frozen=True)
class Sauce:
    heat: float = option(0.5, "how hot", least=0, most=1, heading="The sauce")
    kind: Literal["red", "green"] = option("red", "its colour")

    def __post_init__(self) -> None:
        require_within(self)


@dataclass(frozen=True, kw_only=True)
class Meal:
    plates: int = option(MISSING, "for so many", above=0)
    sauce: Sauce = field(default_factory=Sauce)
    note: str = ""

    def __post_init__(self) -> None:
        require_within(self)


def test_a_field_is_all_that_it_takes() -> None:
    """A model of another kind: what is declared is listed, read, checked and written."""
    plates, heat, kind = options_in(Meal)
    assert (plates.name, plates.default, heat.path, heat.heading, kind.choices) == (
        "plates", MISSING, "sauce.heat", "The sauce", ("red", "green"),
    )  # fmt: skip
    meal = made_of(Meal, {"plates": 2, "kind": "green"}, note="quick")
    assert meal == Meal(plates=2, sauce=Sauce(kind="green"), note="quick")
    assert values_of(meal) == {"plates": 2, "heat": 0.5, "kind": "green"}
    with pytest.raises(UserError, match=r"heat = 2 lies outside 0 to 1: give a number between them\.$"):
        made_of(Meal, {"plates": 2, "heat": 2})
    with pytest.raises(UserError, match=r"plates = 0 is no finite number above 0: give one\.$"):
        made_of(Meal, {"plates": 0})
    with pytest.raises(FrozenInstanceError):
        meal.plates = 3  # type: ignore[misc]
    assert replace(meal, plates=3).plates == 3


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [(2.5, int, "a whole number"), (True, int, "a whole number"), ("x", float, "a number"), (3, str, "a text"),
     (1, bool, "true or false"), ([1.5], tuple[int, ...], "a list of whole numbers"),
     (2.5, int | str, "a whole number or a text"), (3, str | Path, "a text")],
)  # fmt: skip
def test_a_value_of_another_type_is_told_its_own(value: object, kind: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"^{words}$"):
        typed(value, kind)


def test_the_declarations_import_nothing_heavy() -> None:
    code = "import sys, train.options; sys.exit(bool({'torch', 'numpy', 'PIL', 'tomllib', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
