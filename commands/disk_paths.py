"""Paths of a command that have to lie on this disk: an address among them is refused before anything is done."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

Command = TypeVar("Command", bound=Callable[..., None])


def with_paths_on_disk(command: Command) -> Command:
    """The command, which raises `UserError` for a path that was written as an address where none is understood.

    pathlib would make a folder `s3:` of it, and what was to lie in a bucket would lie on this disk.
    """

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        for value in (*arguments, *options.values()):
            if isinstance(value, Path):
                _require_path(value)
        command(*arguments, **options)

    run.__signature__ = inspect.signature(command, eval_str=True)  # type: ignore[attr-defined]
    return cast(Command, run)


def _require_path(path: Path) -> None:
    from curate.errors import UserError
    from curate.files.addresses import refusal_as_path

    if why := refusal_as_path(path):
        raise UserError(why)
