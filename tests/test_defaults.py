"""What an option is where nobody says otherwise is said once: a flag and the function behind it agree."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

import florilegium as fl
from commands import ablating, curating, gathering, predicting, showing, touring, training
from curate import defaults
from curate.clean import clean
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.keepers import POLICIES
from curate.defaults import ConflictMode, Format, Method, Mode, OfficialSplit, PolicyName
from curate.export import export
from curate.scraping.scrape_options import ScrapeOptions
from curate.split import split
from curate.verify import verify
from demo.tour import walk
from train.ablate import ablate
from train.predict import Predictor
from train.run import options_of
from train.training import TrainOptions

REPOSITORY = Path(__file__).resolve().parent.parent


def default(function: Callable[..., object], name: str) -> object:
    return inspect.signature(function).parameters[name].default


@pytest.mark.parametrize(
    ("flag", "behind", "name"),
    [
        *((curating.clean, clean, name) for name in ("radius", "keep", "conflicts", "geometry", "only", "yes")),
        *((clean, CleanOptions, one.name) for one in fields(CleanOptions)),
        (curating.verify, verify, "radius"),
        *((curating.split, split, name) for name in ("seed", "min_per_class", "method")),
        (gathering.scrape, ScrapeOptions, "limit"),
        (gathering.scrape, ScrapeOptions, "min_size"),
        (training.train, options_of, "seed"),
        (training.train, TrainOptions, "seed"),
        (training.train, TrainOptions, "models"),
        (ablating.ablate, ablate, "seeds"),
        (touring.demo, walk, "seed"),
        *(
            (fl.Dataset.clean, clean, name)
            for name in ("radius", "keep", "conflicts", "geometry", "remove", "only", "not_copies")
        ),
        *((fl.Dataset.split, split, name) for name in ("ratio", "seed", "min_per_class", "method", "mode")),
        (predicting.export, export, "convert"),
        *((fl.Dataset.export, export, name) for name in ("format", "convert")),
        *((fl.Dataset.show, showing.show, name) for name in ("count", "views", "seed", "recipe")),
        *((fl.Dataset.train, training.train, name) for name in ("recipe", "seed", "device", "models", "runs")),
        *((fl.Dataset.ablate, ablating.ablate, name) for name in ("recipe", "seeds", "seed", "device", "models")),
        *((fl.Model.predict, predicting.predict, name) for name in ("top_k", "views", "abstain")),
        *((fl.Model.evaluate, predicting.evaluate, name) for name in ("split", "views", "abstain")),
        (fl.load, Predictor, "device"),
    ],
)
def test_a_flag_and_its_function_agree(flag: Callable[..., object], behind: Callable[..., object], name: str) -> None:
    assert default(flag, name) == default(behind, name)


def test_a_ratio_is_written_as_it_is_read() -> None:
    assert curating._shares(curating.RATIO) == defaults.DEFAULT_RATIO == default(split, "ratio")


def test_the_seed_is_typed_once() -> None:
    typed = {
        path.relative_to(REPOSITORY).as_posix()
        for room in ("commands", "curate", "demo", "florilegium", "train")
        for path in (REPOSITORY / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == defaults.DEFAULT_SEED
    }
    assert typed == {"curate/defaults.py"}


ROOMS = ("commands", "curate", "demo", "florilegium", "train")
FRONT = ("commands", "florilegium")
"""Where options meet their users: what is a default there has a name."""


def literal_defaults(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, value) of each parameter and each field whose default is typed there, unless it means "not given"."""
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positional = [*node.args.posonlyargs, *node.args.args]
            with_default = positional[len(positional) - len(node.args.defaults) :]
            pairs += zip((one.arg for one in with_default), node.args.defaults, strict=True)
            pairs += zip((one.arg for one in node.args.kwonlyargs), node.args.kw_defaults, strict=True)
        elif isinstance(node, ast.ClassDef):
            pairs += [
                (one.target.id, one.value)
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            ]
        for name, value in pairs:
            if value is not None and is_typed(value):
                yield name.rstrip("_"), ast.unparse(value)


def is_typed(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):  # Path("models")
        return bool(value.args) and all(isinstance(one, ast.Constant) for one in value.args)
    try:
        found = ast.literal_eval(value)
    except ValueError:
        return False
    return found is not None and type(found) is not bool and found not in ("", (), 0.0)


def typed_twice(sources: Mapping[str, str]) -> set[str]:
    """Names whose default is typed in a room of `FRONT`, and typed the same once more anywhere."""
    places = defaultdict[tuple[str, str], list[str]](list)
    for file, text in sources.items():
        for found in literal_defaults(ast.parse(text)):
            places[found].append(file)
    return {
        f"{name} = {value}: {', '.join(files)}"
        for (name, value), files in places.items()
        if len(files) > 1 and any(file.split("/")[0] in FRONT for file in files)
    }


@pytest.mark.thorough
def test_no_default_is_typed_twice() -> None:
    """It comes from the declaration of the option (`train/options.py`) or from `curate/defaults.py`."""
    files = [path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")]
    assert len(files) > 150
    assert typed_twice({path.relative_to(REPOSITORY).as_posix(): path.read_text("utf-8") for path in files}) == set()


def test_what_is_typed_twice_is_found() -> None:
    command = "def show(*, count: A[int, o(min=1)] = 24, out: Path = Path('a.png'), wait: float | None = 0.0): ..."
    behind = "def sheet(lines, count=24, *, out=None, wait=0.0): ..."
    assert typed_twice({"commands/showing.py": command, "curate/show.py": behind}) == {
        "count = 24: commands/showing.py, curate/show.py"
    }
    options = "class Options:\n    license_: str = 'open'"
    api = "async def scrape(license='open'): ..."
    assert len(typed_twice({"florilegium/a.py": api, "train/b.py": options})) == 1
    named = "def sheet(lines, count=DEFAULT_COUNT): ..."
    assert typed_twice({"commands/showing.py": command, "curate/show.py": named}) == set()
    assert typed_twice({"train/a.py": behind, "curate/show.py": behind}) == set()  # no user's option


def test_every_policy_is_a_word_of_the_option() -> None:
    assert list(get_args(PolicyName)) == list(POLICIES)


def test_each_default_is_among_its_words() -> None:
    for words, one in (
        (PolicyName, defaults.DEFAULT_POLICY), (ConflictMode, defaults.DEFAULT_CONFLICTS),
        (Method, defaults.DEFAULT_METHOD), (Mode, defaults.DEFAULT_MODE), (Format, defaults.DEFAULT_FORMAT),
        (OfficialSplit, defaults.DEFAULT_OFFICIAL),
    ):  # fmt: skip
        assert one in get_args(words)


def test_no_test_depends_on_hash() -> None:
    """`hash` of a text is another one in every process."""
    found = {
        f"{path.name}:{node.lineno}"
        for path in (REPOSITORY / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
    }
    assert found == set()
