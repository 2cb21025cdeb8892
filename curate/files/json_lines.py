"""Files of JSON Lines that people may have edited: each line is an object, or a sentence names the line."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import UserError, why_no_value
from curate.files.reading import read_file


class JsonLine(NamedTuple):
    """One line: where it stands, as "plan.jsonl, line 3", and the object that it is."""

    where: str
    values: dict[str, Any]


def read_json_lines(file: Path, *, what: str, remedy: str) -> list[JsonLine]:
    """The lines of a file that are not empty.

    Raises `UserError` for a file that cannot be read, is no text, or has a line that is no JSON object: `file` is not
    `what` ("a plan"), and `remedy` says what to do ("write one with --dry-run").
    """
    try:
        text = read_file(file).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): {remedy}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not {what}: it is not text in UTF-8; {remedy}.") from error
    found = []
    # Not splitlines(): a file name may hold a line separator of Unicode's, and JSON does not escape those.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            found.append(JsonLine(where, _object(line, where, what, remedy)))
    return found


def _object(line: str, where: str, what: str, remedy: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({why_no_value(error)}): {remedy}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} is no line of {what}: it has to be a JSON object; {remedy}.")
    return values
