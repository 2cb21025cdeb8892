"""Flags that are given to commands: those of the options of training that have words for the help (`--set` takes all
others by name), and the engine that a command's work is done by.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, cast, get_args

import typer

from commands.options import Engine
from curate.defaults import DEFAULT_ENGINE
from train.option_fields import Option
from train.options import OPTIONS

Command = TypeVar("Command", bound=Callable[..., None])

WITH_FLAG: Final = {one.name: one for one in OPTIONS if one.flag}


def takes(*names: str) -> Callable[[Command], Command]:
    """Give a command the flags of these options of training, after its flag `--recipe`.

    The command takes their values as `**options`: None for one of a recipe that was not given.
    """

    def give(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                parameters.append(parameter)
            if parameter.name == "recipe":
                parameters += [_flag(WITH_FLAG[name]) for name in names]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return give


def on_an_engine(command: Command) -> Command:
    """Give a command the flag `--engine`, and have all that it does be done by the engine that is named."""

    @wraps(command)
    def run(*arguments: Any, engine: str, **options: Any) -> None:
        from curate.engine.engines import on_engine

        with on_engine(engine):
            command(*arguments, **options)

    signature = inspect.signature(command, eval_str=True)
    parameters = list(signature.parameters.values())
    at = len(parameters) - (parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)
    flag = inspect.Parameter("engine", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_ENGINE, annotation=Engine)
    parameters.insert(at, flag)
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast(Command, run)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe that were given, as `load_recipe` takes them."""
    found = {name: value for name, value in options.items() if value is not None and WITH_FLAG[name].in_recipes}
    for name, value in found.items():
        if int in get_args(WITH_FLAG[name].kind) and re.fullmatch("[0-9]{1,9}", value):
            found[name] = int(value)
    return found


def flags_of(options: Mapping[str, Any]) -> list[str]:
    """The flags that give a command these options again: those that were given, and are not at their default."""
    said = ((WITH_FLAG[name], value) for name, value in options.items())
    return [
        word
        for one, value in said
        if value is not None and (one.in_recipes or value != one.default)
        for word in (f"--{one.name.replace('_', '-')}", str(value))
    ]


def _flag(one: Option) -> inspect.Parameter:
    """A parameter with the option's bounds and, unless a recipe says it, its default."""
    least, most = (one.bounds.least, one.bounds.most) if one.bounds else (None, None)
    # Of several types one is a text, and the others are read from it
    kind = str if {int, Path} & set(get_args(one.kind)) else one.kind
    shown = typer.Option(min=least, max=most, help=one.flag)
    default, annotation = (None, kind | None) if one.in_recipes else (one.default, kind)
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, shown]
    )
