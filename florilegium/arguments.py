"""Arguments from Python, held against their own annotations: a wrong one is one sentence, not another's traceback.

What a text or a number may be is for the stage to say; here it is that it is a text or a number at all, that a number
is one, and that a path names something.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from math import isnan
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar

from curate.errors import UserError
from curate.printable import shown

if TYPE_CHECKING:
    from typing import TypeGuard

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_LARGEST: Final = 1 << 63
_UNIONS: Final = re.compile(r" \| (?![^\[]*\])")


class ArgumentKind(NamedTuple):
    """Whether a value is of a kind, and what the kind is called."""

    holds: Callable[[object], bool]
    words: str


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    """Not one of thousands of digits either, which cannot even be printed."""
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < _LARGEST


def _is_number(value: object) -> bool:
    if isinstance(value, Integral):
        return _is_whole(value)
    return isinstance(value, Real) and not isnan(value)


def _are_texts(value: object) -> bool:
    """A collection of texts; what can be gone through once only is left as it is."""
    return isinstance(value, Iterable) and (not isinstance(value, Collection) or all(map(_is_text, value)))


def _are_pairs(value: object) -> bool:
    if not isinstance(value, Collection) or _is_text(value):
        return False
    return all(isinstance(one, (tuple, list)) and len(one) == 2 and all(map(_is_text, one)) for one in value)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and _are_texts(value) and all(map(_is_text, value.values()))


def _are_numbers(value: object) -> bool:
    return isinstance(value, Collection) and not _is_text(value) and all(map(_is_number, value))


def _is_dataset(value: object) -> bool:
    from florilegium.dataset import Dataset

    return isinstance(value, Dataset)


def _are_pictures(value: object) -> bool:
    from PIL import Image

    return isinstance(value, Collection) and all(isinstance(one, Image.Image) for one in value)


_TEXT = ArgumentKind(_is_text, "a text")
ARGUMENT_KINDS: Final[Mapping[str, ArgumentKind]] = {
    "str": _TEXT,
    "Path": ArgumentKind(lambda value: isinstance(value, PathLike), "a path"),
    "int": ArgumentKind(_is_whole, "a whole number"),
    "float": ArgumentKind(_is_number, "a number"),
    "bool": ArgumentKind(lambda value: type(value).__name__ in {"bool", "bool_"}, "True or False"),  # numpy has its own
    "None": ArgumentKind(lambda value: value is None, "None"),
    **dict.fromkeys(("Sequence[str]", "Collection[str]", "Iterable[str]"), ArgumentKind(_are_texts, "a list of texts")),
    "Mapping[str, str]": ArgumentKind(_is_mapping, "a dictionary of texts"),
    "Sequence[tuple[str, str]]": ArgumentKind(_are_pairs, "a list of pairs of texts"),
    "Sequence[Image.Image]": ArgumentKind(_are_pictures, "a list of Pillow's pictures"),
    "Ratio": ArgumentKind(_are_numbers, "three numbers, such as (.8, .1, .1)"),
    "Dataset": ArgumentKind(_is_dataset, "a dataset that was opened"),
    **dict.fromkeys(
        ("PolicyName", "ConflictMode", "CopyKind", "Method", "Bind", "Mode", "Format", "HeadMethod"), _TEXT
    ),
    "Literal['train', 'valid', 'test', 'raw']": _TEXT,
}
"""Annotation of an argument → what it allows; several are joined by "|"."""

ANY: Final = frozenset({"Any", "Watch", "TrainingReport | None", "Path | None"})
"""Annotations of arguments that are not checked here: by those who take them, or given by the program alone."""


def rules_of(annotation: str) -> list[ArgumentKind]:
    """The rules of an annotation, one of which a value has to meet. Raises `KeyError` for one that has none."""
    return [] if annotation in ANY else [ARGUMENT_KINDS[part] for part in _UNIONS.split(annotation)]


def checked(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Have a function raise `UserError`, before it does anything, for an argument that is not what it says."""
    signature = inspect.signature(function)
    rules = {name: rules_of(str(one.annotation)) for name, one in signature.parameters.items() if name != "self"}
    paths = {name for name, one in signature.parameters.items() if "Path" in str(one.annotation)}

    @wraps(function)
    def call(*given: Given.args, **named: Given.kwargs) -> Returned:
        for name, value in signature.bind(*given, **named).arguments.items():
            if signature.parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL:
                _require(f"{function.__name__}: {name}", value, rules.get(name, []), path=name in paths)
        return function(*given, **named)

    return call


def _require(what: str, value: object, rules: list[ArgumentKind], *, path: bool) -> None:
    if rules and not any(rule.holds(value) for rule in rules):
        words = " or ".join(dict.fromkeys(rule.words for rule in rules))
        raise UserError(f"{what} is {shown(value)}: give {words}.")
    if path and value == "":
        raise UserError(f"{what} is empty, and names no file or folder: say which one is meant.")
    if path and isinstance(value, (str, PathLike)) and "\0" in str(value):
        raise UserError(f"{what} is {shown(value)}, which no file can be called: give another.")
