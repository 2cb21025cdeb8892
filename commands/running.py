"""Runs the command line, and says in one sentence what ended it: a mistake, a full disk, a signal, a closed pipe."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

from commands import console, stopping, streams
from curate.errors import UserError
from curate.files.disk import what_to_do

_MISTAKE = 2
_DEFECT = 1
_NOBODY_READS = 141  # as a shell counts a process that SIGPIPE has ended

_MAY_BE_EMPTY = {"--freeze", "--remove", "--contact", "--title"}
"""Options of which nothing at all means something."""


@runtime_checkable
class _UsageMistake(Protocol):
    """An exception of the parser's, which knows how it is shown. Its class has moved about among its releases."""

    exit_code: int

    def show(self, file: StringIO) -> None: ...


def run(command: Callable[..., object]) -> NoReturn:
    """Run the command line and leave the process.

    A mistake that the user can mend is one sentence and exit code 2, without a traceback; a signal is one line and 128
    plus its number; a pipe that nobody reads any more is 141 and no word.
    """
    share_processors()
    console.clean_what_others_print()
    stopping.interrupt()
    code: int | None = None
    with suppress(KeyboardInterrupt):
        code = _outcome(command)
    if code is None or stopping.is_stopped():  # the parser makes an exit code of a stop, modules of C another exception
        streams.flush()
        stopping.end()
    stopping.ending(code)
    if not streams.flush() and code == 0:
        code = _NOBODY_READS
    sys.exit(code)


def share_processors() -> None:
    """Keep numpy's and scipy's BLAS from starting threads of their own, unless the environment asks for them.

    The commands share the processors out themselves; and each such thread begins by spinning for some hundredths of a
    second, in which a hundred pictures could be read. It has to be said before numpy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _outcome(command: Callable[..., object]) -> int:
    """The exit code of a command that came to an end, said in words where it is not as it should be."""
    try:
        _require_words(sys.argv[1:])
        _require_working_directory()
        returned = _run_in_our_words(command, sys.argv[1:])
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # whoever prints ends the process so
            return _NOBODY_READS
        return end.code if isinstance(end.code, int) else _DEFECT
    except Exception as error:
        if stopping.is_stopped():
            return _DEFECT
        try:
            return _said(error)
        except (OSError, SystemExit):  # nobody can be told
            return _MISTAKE
    return returned if isinstance(returned, int) else 0


def _run_in_our_words(command: Callable[..., object], words: list[str]) -> object:
    """Run it; an option that only others have is put into our words, before anything has been done."""
    for _ in words:
        try:
            return command(args=words, standalone_mode=False)
        except Exception as error:
            unknown, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
            if not (
                unknown and context and isinstance(error, _UsageMistake) and type(error).__name__ == "NoSuchOption"
            ):
                raise
            parameters = context.command.params
            known = [name for one in parameters for name in (*one.opts, one.metavar or "")]
            from commands.words import in_our_words

            words = in_our_words(words, unknown, context.command.name or "", known)
    return command(args=words, standalone_mode=False)


def _require_words(words: list[str]) -> None:
    """Raises `UserError` for an empty word: a path that is empty is the current folder, which nobody has named.

    It comes of a variable that is not set.
    """
    for before, word in zip(["", *words], words, strict=False):
        option = word.removesuffix("=") if word.startswith("--") and word.endswith("=") else ""
        if word == "":
            option = before if before.startswith("--") else "An argument"
        if option and option not in _MAY_BE_EMPTY:
            raise UserError(f"{option} is empty, as a variable is that is not set: say what is meant, or leave it out.")


def _require_working_directory() -> None:
    """Raises `UserError` where it was removed: relative paths lead nowhere then, and libraries end the process."""
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(
            "The working directory is no longer there: change to another folder, and run the command again."
        ) from error


def _said(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    match error:
        case UserError():
            console.mistake(str(error))
        case BrokenPipeError():
            return _NOBODY_READS
        case OSError(errno=int(code)):
            console.mistake(_in_words(error, code))
        case RecursionError():
            console.mistake(
                "A folder or a file is nested too deeply to be read: look for folders in folders in folders."
            )
        case MemoryError():
            console.mistake(
                "Memory ran out: close other programs, or ask for less at a time, and run the command again."
            )
        case _UsageMistake():
            shown = StringIO()
            error.show(shown)
            for line in shown.getvalue().splitlines():
                console.note(line)
            return error.exit_code
        case _:
            for line in "".join(traceback.format_exception(error)).splitlines():
                console.note(line)
            console.mistake("This is a mistake of the program, not of yours: please report the lines above.")
            return _DEFECT
    return _MISTAKE


def _in_words(error: OSError, code: int) -> str:
    place = (
        f"{_named(error.filename)} cannot be written or read" if error.filename else "A file cannot be written or read"
    )
    return f"{place} ({error.strerror}): {what_to_do(code)}"


def _named(filename: object) -> str:
    """A name in full, unless nobody would read it to its end."""
    name = os.fsdecode(filename) if isinstance(filename, (str, bytes)) else str(filename)
    return name if len(name) <= 400 else f"{name[:200]} … {name[-100:]}"
