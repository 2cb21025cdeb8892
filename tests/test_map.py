"""The map is true: it has a row for every package, and its walks lead from file to file that there are."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MAP = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_HOPS = 8


class Hop(NamedTuple):
    """One file of a walk, and what to look for in it."""

    number: int
    file: str
    name: str


def walks() -> dict[str, list[Hop]]:
    """Heading → hops."""
    sections = re.split(r"^### ", MAP.split("## A newcomer's walk")[1], flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        title, text = section.split("\n", 1)
        hops = re.findall(r"^(\d+)\. `([^`]+)` `([^`]+)`:", text, flags=re.MULTILINE)
        assert len(hops) == len(re.findall(r"^\d+\. ", text, flags=re.MULTILINE)), f"{title}: a hop without a name"
        found[title] = [Hop(int(number), file, name) for number, file, name in hops]
    return found


WALKS = walks()


def defined_in(file: str) -> set[str]:
    """Functions, classes and methods of a file, these as `Class.method`."""
    found = set()
    for node in ast.parse((REPOSITORY / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}" for one in members}
    return found


def named_in(file: str) -> set[str]:
    """Every name that a file imports or uses."""
    names = set()
    for node in ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return names


def test_the_walks_are_those_that_were_promised() -> None:
    options = {"`clean --radius`", "`train --views`", "`train --seed`", "`split --seed`"}
    assert set(WALKS) == {"One picture, from URL to prediction", *options}


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_is_short_and_leads_somewhere(title: str) -> None:
    hops = WALKS[title]
    assert [hop.number for hop in hops] == list(range(1, len(hops) + 1))
    assert 3 < len(hops) <= MOST_HOPS
    for hop in hops:
        assert hop.name in defined_in(hop.file), f"{hop.file} has no {hop.name}"


@pytest.mark.parametrize("title", [title for title in WALKS if "--" in title])
def test_each_hop_of_an_option_is_called_by_an_earlier_one(title: str) -> None:
    """So that no hop is left out: what a hop defines is named in a file before it."""
    hops = WALKS[title]
    for number, hop in enumerate(hops[1:], start=1):
        earlier = {name for before in hops[:number] for name in named_in(before.file)}
        assert hop.name in earlier, f"no file before {hop.file} names {hop.name}"


@pytest.mark.parametrize("title", [title for title in WALKS if "--" in title])
def test_a_walk_begins_at_its_flag(title: str) -> None:
    command, option = re.findall(r"`(\w+) --(\w+)`", title)[0]
    (first, *_) = WALKS[title]
    assert (first.name, first.file.split("/")[0]) == (command, "commands")
    function = getattr(import_module(first.file.removesuffix(".py").replace("/", ".")), command)
    # As the command line reads it: some flags of a command are made of the options of training
    taken = inspect.signature(function).parameters[option]
    assert taken.kind is taken.KEYWORD_ONLY


def test_the_map_has_every_package_and_no_other() -> None:
    rows = set(re.findall(r"^\| `([\w/]+)/` \|", MAP, flags=re.MULTILINE))
    tops = [path.parent for path in REPOSITORY.glob("*/__init__.py")]  # an environment in the checkout is no package
    found = [path.parent for top in tops for path in top.rglob("__init__.py")]
    packages = {path.relative_to(REPOSITORY).as_posix() for path in found}
    assert rows == {package for package in packages if package.split("/")[0] not in {"tests", "benchmarks"}}


def test_every_path_of_the_map_is_there() -> None:
    paths = {path for path in re.findall(r"`([\w./]+(?:/|\.py|\.json))`", MAP) if "/" in path or path.endswith(".py")}
    assert len(paths) > 30
    assert {path for path in paths if not (REPOSITORY / path).exists()} == set()
