"""A command line that is printed for the user to run, spelt so that a shell takes it for what is meant."""

import os
import shlex
from pathlib import PurePath

from curate.printable import printable
from curate.program import COMMAND, started_as


def command_line(*words: object) -> str:
    """The program as it was started and these words, each quoted where a shell would read it otherwise; no path is
    taken for an option.
    """
    return " ".join((started_as(), *map(_as_meant, words)))


def as_command(*words: object) -> str:
    """The same for a text that others read: by the command's own name, not by the way it was started here."""
    return " ".join((COMMAND, *map(_as_meant, words)))


def _as_meant(word: object) -> str:
    return shell_word(f"./{word}" if _looks_like_an_option(word) else str(word))


def _looks_like_an_option(word: object) -> bool:
    return isinstance(word, PurePath) and str(word).startswith("-")


def shell_word(word: str) -> str:
    """One word for a shell; what would not come through a terminal is spelt as bytes, as bash and zsh read them."""
    if printable(word) == word:
        return shlex.quote(word)
    plain = (
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(word)
    )
    return f"$'{''.join(plain)}'"
