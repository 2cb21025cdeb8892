"""Training recipes: TOML files in which every option is one line, read strictly and overridden by name."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from curate.errors import UserError
from curate.files.reading import read_file
from train.limits import MAX_CROP, MOST_VIEWS
from train.optimising.settings import FitSettings

FOLDER: Final = Path(__file__).parent / "recipes"
DEFAULT: Final = "best"

_LARGEST = 1 << 16  # bytes
_DEEP = re.compile(r"""(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){16}""")


@dataclass(frozen=True)
class Recipe:
    """All that decides what is learnt, besides the pictures and the seed. The TOML files say what each option means."""

    name: str
    summary: str
    reproduces: str
    reported: str
    # The network
    backbone: str
    weights: str
    features: Literal["last", "classifier"]
    crop: int
    unfreeze: int | str
    probe: bool
    backbone_rate: float
    rate_decay: float
    backbone_weight_decay: float
    precision: Literal["auto", "float32", "bfloat16"]
    compiled: bool
    # The pictures
    views: int
    rotation: float
    smallest: float
    flip: float
    jitter: float
    # The fit
    fit: FitSettings

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(
                    f"{name} = {getattr(self, name)} in the recipe {self.name} lies outside {low} to {high}."
                )

    @property
    def frozen(self) -> bool:
        """Whether the head alone trains, on the bank."""
        return self.unfreeze in {0, "none"}

    def to_dict(self) -> dict[str, Any]:
        """Every option by its key in the TOML file, plain types alone."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in {"name", "fit"}}
        fit = self.fit.to_dict()
        fit.pop("seed")
        return {**own, **fit}


_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "crop": (0, MAX_CROP),
    "backbone_rate": (0, 1000),
    "rate_decay": (1e-6, 1),
    "backbone_weight_decay": (0, 1000),
    "views": (1, MOST_VIEWS),
    "rotation": (0, 180),
    "smallest": (0.01, 1),
    "flip": (0, 1),
    "jitter": (0, 1),
}


def recipe_names() -> list[str]:
    """Names of the recipes that come with the program, the default first."""
    return sorted((file.stem for file in FOLDER.glob("*.toml")), key=lambda name: (name != DEFAULT, name))


def list_recipes() -> list[Recipe]:
    """All recipes that come with the program, the default first."""
    return [load_recipe(name) for name in recipe_names()]


def load_recipe(name: str | Path = DEFAULT, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by its name, or a TOML file of the user's, and put `overrides` in its options' place.

    A file may name another recipe as its `base`, and needs then say only what differs. Raises UserError for a name,
    a key or a value that nobody knows, with the file and the nearest right one.
    """
    file = _file_of(name)
    content = _complete(file, _read(file))
    for key, value in (overrides or {}).items():
        _require_key(key, "a recipe", file)
        content[key] = value
    missing = [key for key in _types() if key not in content]
    if missing:
        raise UserError(
            f'The recipe {file} lacks {", ".join(missing[:5])}: add them, or begin it with base = "{DEFAULT}".'
        )
    return _recipe_of(file, content)


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
            found[key.strip()] = value.strip()
    return found


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
        raise UserError(f"The recipe {file} can't be read as TOML: {error}.") from error


def _toml(text: str) -> dict[str, Any]:
    """Raises ValueError or RecursionError for what is no TOML, or is nested as no recipe is."""
    if _DEEP.search(text):  # of a key of n parts tomllib keeps n × n / 2: of 200 KB 40 GB
        raise ValueError("a key has too many parts")
    return tomllib.loads(text)


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


def _types() -> dict[str, Any]:
    """Every key of a recipe file, with its type."""
    fit = {name: kind for name, kind in get_type_hints(FitSettings).items() if name != "seed"}
    return {**{name: kind for name, kind in get_type_hints(Recipe).items() if name not in {"name", "fit"}}, **fit}


def _require_key(key: str, where: str, file: Path) -> None:
    known = list(_types())
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{where[0].upper()}{where[1:]} has no option {key!r}: did you mean {nearest}? See {file.name}."
        )


def _recipe_of(file: Path, content: Mapping[str, Any]) -> Recipe:
    checked = {key: _typed(content[key], kind, key, file) for key, kind in _types().items()}
    of_fit = {one.name for one in fields(FitSettings)}
    try:
        fit = FitSettings(**{key: value for key, value in checked.items() if key in of_fit})
        own = {key: value for key, value in checked.items() if key not in of_fit}
        return Recipe(name=file.stem, fit=fit, **own)
    except UserError as error:
        raise UserError(f"The recipe {file.name} can't be used: {error}") from error


def _typed(value: object, kind: Any, key: str, file: Path) -> Any:
    """`value` as an option of type `kind`; raises UserError where it is of another."""
    origin = get_origin(kind)
    if origin in {Union, UnionType} and type(value) in get_args(kind):
        return value
    if origin is tuple and isinstance(value, list) and all(type(one) is int for one in value):
        return tuple(value)
    if origin is Literal and value in get_args(kind):
        return value
    if kind is float and type(value) in {int, float}:
        return float(value)  # type: ignore[arg-type]
    if origin is None and type(value) is kind:
        return value
    if origin is Literal:
        choices = [str(one) for one in get_args(kind)]
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{key} = {value!r} in the recipe {file.name} is none of {', '.join(choices)}: did you mean {nearest}?"
        )
    wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(
        kind, "a list of whole numbers" if origin is tuple else "a whole number or a text"
    )
    raise UserError(f"{key} = {value!r} in the recipe {file.name} is not {wanted}.")
