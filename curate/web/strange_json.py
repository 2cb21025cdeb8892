"""JSON from strangers, read so that one odd value spoils its own record and not the whole answer."""

import json
import re

DEEPEST = 64
"""Objects and lists within one another; no service nests its answers so deeply."""
_LONGEST_NUMBER = 20  # digits; all that fits 64 bits is shorter

_LARGEST_NESTED = 4 << 20  # bytes; a larger answer that is nested so deeply is no answer of a service

# A string, to the end where it has none: nothing is looked at twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def read_json(body: bytes) -> object:
    """The value that a body of JSON holds. Raises ValueError where it is no JSON.

    Bytes that are no text become U+FFFD. A whole number of more than 20 digits becomes a float, which no reader takes
    for a count. What lies more than DEEPEST levels deep becomes null.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        if len(body) > _LARGEST_NESTED:
            raise ValueError("it is nested too deeply") from None
    try:
        return json.loads(_without_depths(text.encode()), parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else float(digits)


def _without_depths(text: bytes) -> bytes:
    """The same with null in the place of each object and list that lies too deep."""
    kept, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth == DEEPEST + 1:
                kept += [text[start : token.start()], b"null"]
        elif sign in (b"]", b"}"):
            if depth == DEEPEST + 1:
                start = token.end()
            depth -= 1
    return b"".join([*kept, text[start:]])
