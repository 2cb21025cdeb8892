"""What an option is where nobody says otherwise is said once: a flag and the function behind it agree."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import curating, gathering, touring, training
from curate import defaults
from curate.clean import clean
from curate.scraping.scrape_options import ScrapeOptions
from curate.split import split
from curate.verify import verify
from demo.tour import walk
from train.run import options_of
from train.training import TrainOptions

REPOSITORY = Path(__file__).resolve().parent.parent


def default(function: Callable[..., object], name: str) -> object:
    return inspect.signature(function).parameters[name].default


@pytest.mark.parametrize(
    ("flag", "behind", "name"),
    [
        (curating.clean, clean, "radius"),
        (curating.verify, verify, "radius"),
        (curating.split, split, "seed"),
        (curating.split, split, "min_per_class"),
        (gathering.scrape, ScrapeOptions, "limit"),
        (gathering.scrape, ScrapeOptions, "min_size"),
        (training.train, options_of, "seed"),
        (training.train, TrainOptions, "seed"),
        (training.train, TrainOptions, "models"),
        (touring.demo, walk, "seed"),
    ],
)
def test_a_flag_and_its_function_agree(flag: Callable[..., object], behind: Callable[..., object], name: str) -> None:
    assert default(flag, name) == default(behind, name)


def test_the_seed_is_typed_once() -> None:
    typed = {
        path.relative_to(REPOSITORY).as_posix()
        for room in ("commands", "curate", "demo", "florilegium", "train")
        for path in (REPOSITORY / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == defaults.DEFAULT_SEED
    }
    assert typed == {"curate/defaults.py"}


def test_no_test_depends_on_hash() -> None:
    """`hash` of a text is another one in every process."""
    found = {
        f"{path.name}:{node.lineno}"
        for path in (REPOSITORY / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
    }
    assert found == set()
