"""How an option is declared: a dataclass's field with its default, its bounds and what it means, and nothing twice.

Recipe files, flags and the sentences about wrong values are made of it. The command line shows all of it in its help,
so nothing heavy is imported here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from curate.errors import UserError
from curate.printable import shown

T = TypeVar("T")

_KEY: Final = "option"


@dataclass(frozen=True)
class Bounds:
    """Numbers from `least` to `most`, these among them, or `above` and `below`, these not; never infinite or NaN."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether a number may be used."""
        return (
            (not isinstance(value, float) or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def sentence(self) -> str:
        """What is wrong with a number that may not be used, to be read after it."""
        if self.least is not None and self.most is not None:
            return f"lies outside {self.least:,} to {self.most:,}: give a number between them"
        low = f"above {self.above:,}" if self.above is not None else f"from {self.least:,} on"
        high = "" if self.below is None else f" and below {self.below:,}"
        return f"is no finite number {low}{high}: give one"


@dataclass(frozen=True)
class Said:
    """What a declaration says besides name, type and default."""

    means: str
    bounds: Bounds | None
    flag: str
    heading: str
    in_recipes: bool


@dataclass(frozen=True)
class Option:
    """One option: `name` is its key in a recipe, its argument in Python and, with hyphens, its flag."""

    name: str
    kind: Any  # its type
    default: Any  # MISSING where every recipe has to say it
    means: str
    bounds: Bounds | None
    flag: str  # the help of its flag; "": `--set` alone takes it
    heading: str  # of the part of a recipe that it begins; "" where it begins none
    in_recipes: bool
    path: str  # from the model to its value: "views", or "head.epochs"

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be; () for an option of another type."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()


def option(
    default: Any,
    means: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    flag: str = "",
    heading: str = "",
    in_recipes: bool = True,
) -> Any:
    """Declare an option: a field whose default is `default` and whose meaning is `means`, one line for recipe files.

    The bounds are those of `Bounds`; `flag`, `heading` and `in_recipes` are what `Option` says.
    """
    unbounded = least is most is above is below is None
    bounds = None if unbounded else Bounds(least, most, above, below)
    return field(default=default, metadata={_KEY: Said(means, bounds, flag, heading, in_recipes)})


@cache
def options_in(model: type) -> tuple[Option, ...]:
    """Every option that a dataclass declares, itself or in a field that is such a dataclass, in order."""
    found: list[Option] = []
    hints = get_type_hints(model)
    for one in fields(model):
        said: Said | None = one.metadata.get(_KEY)
        kind = hints[one.name]
        if said is not None:
            found.append(Option(one.name, kind, one.default, **vars(said), path=one.name))
        elif isinstance(kind, type) and is_dataclass(kind):
            found += [replace(inner, path=f"{one.name}.{inner.path}") for inner in options_in(kind)]
    return tuple(found)


def require_within(settings: Any) -> None:
    """Raise UserError for a value of an option of this very dataclass that is no choice of it, or out of bounds."""
    for one in options_in(settings.__class__):
        if one.path != one.name:
            continue  # its own dataclass has seen to it
        value = getattr(settings, one.name)
        if one.choices and value not in one.choices:
            raise UserError(f"{one.name} = {shown(value)} is none of {', '.join(one.choices)}: give one of them.")
        if one.bounds is not None and not one.bounds.hold(value):
            raise UserError(f"{one.name} = {shown(value)} {one.bounds.sentence()}.")


def values_of(settings: Any) -> dict[str, Any]:
    """The value of every option by its name, in plain types."""
    return {one.name: _plain(attrgetter(one.path)(settings)) for one in options_in(settings.__class__)}


def made_of(model: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """A dataclass from the values of its options, by name, and `others`, its fields that are no options.

    What is left out is at its default. Raises UserError as the dataclass itself does.
    """
    hints = get_type_hints(model)
    given = dict(others)
    for one in fields(model):  # type: ignore[arg-type]
        if _KEY in one.metadata:
            given |= {one.name: values[one.name]} if one.name in values else {}
        elif one.name not in given and is_dataclass(hints[one.name]):
            given[one.name] = made_of(hints[one.name], values)
    return model(**given)


def typed(value: object, kind: Any) -> Any:
    """`value`, as a TOML file has it, as an option of type `kind`; raises TypeError with what it should have been."""
    kinds = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    for one in kinds:
        origin = get_origin(one)
        if origin is tuple and isinstance(value, list | tuple) and all(type(part) is int for part in value):
            return tuple(value)
        if origin is tuple and type(value) is int:  # one stands for a list of one
            return (value,)
        if origin is tuple and isinstance(value, str) and re.fullmatch(r"\d{1,9}( *, *\d{1,9})*", value.strip()):
            return tuple(int(part) for part in value.split(","))
        if one is Path and isinstance(value, Path):
            return str(value)
        if one is float and type(value) in {int, float}:
            return float(value)  # type: ignore[arg-type]
        if (origin is Literal and value in get_args(one)) or (origin is None and type(value) is one):
            return value
    raise TypeError(" or ".join(dict.fromkeys(_in_words(one) for one in kinds)))


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of whole numbers"
    words = {int: "a whole number", float: "a number", str: "a text", Path: "a text", bool: "true or false"}
    return words.get(kind, "one of its words")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
