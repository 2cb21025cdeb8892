"""A recipe as the text of a TOML file, in which every option is one line that says what it means.

`python -m train.recipe_text` writes the recipes that come with the program anew, each under its own first lines: after
an option was added, or its meaning said better.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, Final

from curate.files.atomic import write_whole
from train.recipe import FOLDER, KEYS, Recipe, list_recipes

_WIDEST: Final = 60  # characters of an option and its value; what comes after is not aligned with it


def recipe_text(recipe: Recipe, opening: Sequence[str]) -> str:
    """A recipe as TOML that `load_recipe` reads back to the same recipe, below `opening`, lines of comment."""
    return "\n".join([*opening, *_lines(recipe)]) + "\n"


def opening_of(name: str) -> list[str]:
    """What stands before the first option in the file of a recipe that comes with the program."""
    lines = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return list(takewhile(lambda line: line.strip(), lines))


def _lines(recipe: Recipe) -> Iterator[str]:
    values = recipe.to_dict()
    settings = {key: f"{key} = {_toml(value)}" for key, value in values.items()}
    width = 0
    for key, one in KEYS.items():
        if one.heading:
            yield from ("", f"# {one.heading}")
            width = max((len(settings[it]) for it in _part(key) if len(settings[it]) <= _WIDEST), default=0)
        yield f"{settings[key]:<{width}}  # {one.means}"


def _part(first: str) -> list[str]:
    """The keys below the heading of `first`."""
    after = list(KEYS.values())[list(KEYS).index(first) + 1 :]
    return [first, *(one.name for one in takewhile(lambda one: not one.heading, after))]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the one control character that JSON lets stand
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"a recipe has no value of type {type(value).__name__}")


if __name__ == "__main__":
    for known in list_recipes():
        write_whole(FOLDER / f"{known.name}.toml", recipe_text(known, opening_of(known.name)))
