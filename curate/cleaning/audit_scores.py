"""What `audit` found out of each picture, as JSON Lines beside the catalog: written by it, read by `clean`.

The fields of a line, always these and in this order:

    path         relative to the dataset's root, with "/" between folders
    label        its class folder
    irrelevant   the chance that it shows none of the classes
    mislabelled  the chance that it shows another class than its label says
    proposed     the class that is likeliest among the others
    outlier      the share of its class that lies nearer to the class
    ambiguous    how nearly two classes claim it alike
    redundant    how much nearer than usual its neighbours are
    nearest      the paths of the nearest pictures of its class
    sha256       of the picture's bytes when it was looked at: a line about other bytes says nothing
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from curate.catalog import Catalog
from curate.errors import UserError
from curate.files.inside import is_plain
from curate.files.json_lines import read_json_lines
from curate.written import write_own

AUDIT_FILE: Final = "audit.jsonl"

SCORES: Final = ("irrelevant", "mislabelled", "outlier", "ambiguous", "redundant")
"""What a line gives a number from 0 to 1 for."""

REMOVABLE: Final = ("irrelevant", "mislabelled")
"""The scores that mean a chance, by which pictures may leave without a person."""

_WHAT: Final = "what `audit` wrote"

_WORD = re.compile(r"([a-z]+)@(0?\.\d+|0|1(?:\.0*)?)")


@dataclass(frozen=True)
class AuditedPicture:
    """One line of the file; see the module."""

    path: str
    label: str
    irrelevant: float
    mislabelled: float
    proposed: str
    outlier: float
    ambiguous: float
    redundant: float
    nearest: tuple[str, ...]
    sha256: str

    @property
    def chance(self) -> float:
        """The chance that it does not belong where it is, 0 to 1."""
        return max(self.irrelevant, self.mislabelled)

    @property
    def shows_no_class(self) -> bool:
        """Whether, if it does not belong, it rather shows none of the classes than another."""
        return self.irrelevant >= self.mislabelled


def write_scores(file: Path, pictures: Iterable[AuditedPicture], catalog: Catalog, *, force: bool = False) -> None:
    """Write the file whole or not at all; raises `UserError` where a file of somebody else's is there."""
    lines = (json.dumps(asdict(as_written(picture)), ensure_ascii=False) for picture in pictures)
    write_own(catalog, file, "".join(f"{line}\n" for line in lines), force=force)


def read_scores(file: Path) -> list[AuditedPicture]:
    """Read what `write_scores` wrote. Raises `UserError`, naming the line, for what it did not."""
    if not file.exists():
        raise UserError(f"There is no {file}: run `audit` first, which says what does not belong.")
    return [_parse(values, where) for where, values in read_json_lines(file, what=_WHAT, remedy="run `audit` again")]


def thresholds_of(words: Sequence[str]) -> dict[str, float]:
    """Score → threshold, of those of the words that have one, as "irrelevant@0.99" has.

    Raises `UserError` for a score by which nothing leaves, and for a threshold that is no chance.
    """
    found = {}
    for word in words:
        if "@" not in word:
            continue
        match = _WORD.fullmatch(word)
        if match is None or match[1] not in REMOVABLE:
            offer = " or ".join(f"{name}@0.99" for name in REMOVABLE)
            raise UserError(f"{word!r} is no score with a chance from 0 to 1: give {offer}.")
        if float(match[2]) < 0.5:
            raise UserError(f"{word} would take out pictures that more likely belong: give a chance from 0.5 to 1.")
        found[match[1]] = float(match[2])
    return found


def as_written(picture: AuditedPicture) -> AuditedPicture:
    """The line as the file has it: scores to four decimals, floored, so that nothing is said to be surer than it is.

    What decides and what counts uses this too, so that a reader of the file comes to the same.
    """
    scores = {name: math.floor(round(getattr(picture, name) * 10_000, 6)) / 10_000 for name in SCORES}
    return replace(picture, **scores)


def _parse(values: dict[str, Any], where: str) -> AuditedPicture:
    problem = f"{where} is not what `audit` wrote; run `audit` again."
    names = [field.name for field in fields(AuditedPicture)]
    if any(name not in values for name in names):
        raise UserError(problem)
    texts = [values[name] for name in ("path", "label", "proposed", "sha256")]
    nearest = values["nearest"]
    if not all(isinstance(text, str) for text in texts) or not is_plain(values["path"]):
        raise UserError(problem)
    if not isinstance(nearest, list) or not all(isinstance(path, str) for path in nearest):
        raise UserError(problem)
    for name in SCORES:
        if type(values[name]) not in (float, int) or not 0 <= values[name] <= 1:
            raise UserError(problem)
    return AuditedPicture(**{name: values[name] for name in names if name != "nearest"}, nearest=tuple(nearest))
