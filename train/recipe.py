"""Training recipes: TOML files in which every option is one line, read strictly and overridden by name."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Final

from curate.defaults import DEFAULT_RECIPE
from curate.errors import UserError, why_no_value
from curate.files.reading import read_file
from curate.printable import shown
from train.optimising.settings import Keep
from train.option_fields import Option, made_of, option, options_in, typed, values_of
from train.options import LearningOptions

FOLDER: Final = Path(__file__).parent / "recipes"

_LARGEST = 1 << 16  # bytes
_ALIKE: Final = 0.6  # share of letters from which on a word may be meant: less would be a wild guess
_LONGEST = 64  # bits
_NUMBER: Final = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_DEEP = re.compile(r"""(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){16}""")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is learnt, and what is to be said of it. The files say what each option means, in the options' own words."""

    name: str
    summary: str = option(MISSING, "one line for the list of recipes", heading="What it is")
    reproduces: str = option(MISSING, "whose recipe it is")
    reported: str = option(MISSING, "what its authors measured, on their split")
    authors_kept: Keep = option("last", "the epoch that its authors kept, in the words of `keep`: offered after a run")
    options: LearningOptions = field(default_factory=LearningOptions)
    # The options that were given in the place of the recipe's own. A file has none: to be equal is to learn alike.
    asked: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def frozen(self) -> bool:
        """Whether the head alone trains, on the bank."""
        return self.options.tuning.frozen

    def to_dict(self) -> dict[str, Any]:
        """Every option by its key in the TOML file, plain types alone."""
        values = values_of(self)
        return {key: values[key] for key in KEYS}


KEYS: Final = {one.name: one for one in options_in(Recipe) if one.in_recipes}
"""Every key of a recipe file, in order, with the option that it is."""


def recipe_names() -> list[str]:
    """Names of the recipes that come with the program, the default first."""
    return sorted((file.stem for file in FOLDER.glob("*.toml")), key=lambda name: (name != DEFAULT_RECIPE, name))


def list_recipes() -> list[Recipe]:
    """All recipes that come with the program, the default first."""
    return [load_recipe(name) for name in recipe_names()]


def load_recipe(name: str | Path = DEFAULT_RECIPE, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by its name, or a TOML file of the user's, and put `overrides` in its options' place.

    A file may name another recipe as its `base`, and needs then say only what differs. Without one, what it leaves out
    is at the option's own default, so that a run's recipe is read when options were added since. Raises
    UserError for a name, a key or a value that nobody knows, with the file and the nearest right one.
    """
    file = _file_of(name)
    content = _complete(file, _read(file))
    for key, value in (overrides or {}).items():
        _require_key(key, "a recipe", file)
        content[key] = value
    missing = [key for key, one in KEYS.items() if one.default is MISSING and key not in content]
    if missing:
        raise UserError(
            f'The recipe {file} lacks {", ".join(missing)}: add them, or begin it with base = "{DEFAULT_RECIPE}".'
        )
    return _recipe_of(file, content, set(overrides or {}))


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Turn `KEY=VALUE` texts into overrides; a value is TOML, or a bare word."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} sets nothing: write KEY=VALUE, such as learning_rate=0.01.")
        try:
            found[key.strip()] = _toml(f"value = {value.strip()}")["value"]
        except (ValueError, RecursionError):  # no TOML, a number of thousands of digits, brackets in brackets
            found[key.strip()] = _as_typed(value.strip())
    return found


def _as_typed(word: str) -> str | float | bool:
    """A bare word; or the number or truth value that TOML would not have written so: `.1`, `5.`, `01`, `True`."""
    if _NUMBER.fullmatch(word):
        return float(word) if set(word) & set(".eE") else int(word)
    return word.lower() == "true" if word.lower() in {"true", "false"} else word


def _file_of(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or path.name != str(name):
        if not os.path.lexists(path):
            raise UserError(f"There is no recipe file {path}.")
        return path
    known = recipe_names()
    if str(name) not in known:
        nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}."
        raise UserError(f"No recipe is called {str(name)!r}: {hint}")
    return FOLDER / f"{name}.toml"


def _read(file: Path) -> dict[str, Any]:
    try:
        return _toml(read_file(file, _LARGEST).decode("utf-8"))
    except OSError as error:
        raise UserError(f"The recipe {file} can't be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"The recipe {file} can't be read as TOML: {why_no_value(error)}.") from error


def _toml(text: str) -> dict[str, Any]:
    """Raises ValueError or RecursionError for what is no TOML, or is nested as no recipe is."""
    if _DEEP.search(text):  # of a key of n parts tomllib keeps n × n / 2: of 200 KB 40 GB
        raise ValueError("a key has too many parts")
    found = tomllib.loads(text)
    if any(type(one) is int and one.bit_length() > _LONGEST for value in found.values() for one in _parts(value)):
        raise ValueError("a number is larger than any that an option may be")  # in hexadecimal it may have any length
    return found


def _parts(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _complete(file: Path, content: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    base = content.pop("base", None)
    for key in content:
        _require_key(key, f"the recipe {file}", file)
    if base is None:
        return content
    if not isinstance(base, str) or depth > 8:
        raise UserError(f"The recipe {file} has no recipe's name as its base: {base!r}.")
    # A base that is a file lies beside the file that names it
    beside = file.parent / base
    below = _file_of(beside if beside.suffix == ".toml" else base)
    return {**_complete(below, _read(below), depth + 1), **content}


def _require_key(key: str, where: str, file: Path) -> None:
    if key not in KEYS:
        nearest = difflib.get_close_matches(key, KEYS, n=1, cutoff=_ALIKE)
        hint = f"did you mean {nearest[0]}? See {file.name}." if nearest else f"{file.name} has a line for each."
        raise UserError(f"{where[0].upper()}{where[1:]} has no option {key!r}: {hint}")


def _recipe_of(file: Path, content: Mapping[str, Any], overridden: AbstractSet[str]) -> Recipe:
    checked = {
        key: _typed(value, KEYS[key], "" if key in overridden else f" in the recipe {file.name}")
        for key, value in content.items()
    }
    try:
        return made_of(Recipe, checked, name=file.stem, asked=frozenset(overridden))
    except UserError as error:
        raise UserError(f"The recipe {file.name} can't be used: {error}") from error


def _typed(value: object, one: Option, place: str) -> Any:
    """`value` as the option it is of; raises UserError where it is of another type, or none of its words.

    `place` says where it stands, "" where somebody has just given it.
    """
    try:
        return typed(value, one.kind)
    except TypeError as error:
        where = f"{one.name} = {shown(value)}{place}"
        if not one.choices:
            raise UserError(f"{where} is not {error}.") from error
        nearest = difflib.get_close_matches(str(value), one.choices, n=1, cutoff=_ALIKE)
        hint = f"did you mean {nearest[0]}?" if nearest else "give one of them."
        raise UserError(f"{where} is none of {', '.join(one.choices)}: {hint}") from error
