"""Text that others wrote, made fit to be shown: it moves no cursor, breaks no line and turns no writing round."""

import re
from typing import Final

_SHOWN: Final = 80

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 and C1: escape sequences, tabs, ends of lines
    "\u2028\u2029"  # ends of lines, too
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of bidirectional text
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated and interlinear format characters
    "\ud800-\udfff"  # surrogates: bytes of a file name that are not text, or half a character of JSON
    "]"
)


_STYLE = re.compile("\x1b\\[[0-9;]*m")


def without_escapes(text: str) -> str:
    """`text` without what makes a terminal bold or coloured: libraries put it into their exceptions."""
    return _STYLE.sub("", text)


def printable(text: str) -> str:
    r"""`text` with what is no ordinary character spelt out, as `\x1b` or `\u202e`; text of any script is unchanged.

    The result has one line, and encodes to UTF-8.
    """
    return _UNPRINTABLE.sub(_spelt, text)


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown(value: object) -> str:
    """A value in a sentence: as Python writes it, but no longer than anybody reads."""
    try:
        return printable(repr(value)[:_SHOWN])
    except ValueError:  # Python prints no number of thousands of digits
        return "a number of thousands of digits"
