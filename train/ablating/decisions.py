"""What an audit or a plan decided on pictures, read from its file: out, or into another class."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from curate.dataset import Dataset
from curate.defaults import DEFAULT_SURENESS
from curate.errors import UserError
from curate.files.reading import read_file

AUDIT: Final = "audit.jsonl"
"""Beside the catalog."""


@dataclass(frozen=True)
class SuspectDecision:
    """What is to become of one picture: it leaves where `proposed` is None, else it goes to that class.

    `path` is relative to the dataset, `split` where that lies; `sha256` is "" where the file does not say it.
    """

    path: str
    sha256: str
    proposed: str | None
    split: str | None = None


def read_decisions(file: Path, dataset: Dataset, threshold: float = DEFAULT_SURENESS) -> list[SuspectDecision]:
    """Read an audit, a line of JSON a picture, or a plan of `clean`.

    A line of an audit counts where its `irrelevant` or `mislabelled`, 0 to 1, is `threshold` or more; the higher of the
    two says which, and `proposed` is the class of the second. A line of a plan counts always, and its `move_to` names
    the class. Raises UserError for a file that cannot be read, and for a line that is neither, by its number.
    """
    try:
        text = read_file(file).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The decisions {file} can't be read ({error.strerror}): name an audit or a plan.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no audit or plan: it is not text in UTF-8.") from error
    return list(_decisions(text, file, dataset, threshold))


def _decisions(text: str, file: Path, dataset: Dataset, threshold: float) -> Iterator[SuspectDecision]:
    # Not splitlines(): a file name may hold a line separator of Unicode's, and JSON does not escape those
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            decision = _of_plan(found, dataset) if "reason" in found else _of_audit(found, threshold)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise UserError(
                f"{file}, line {number} is no line of an audit or a plan: make the file anew, or delete the line."
            ) from error
        if decision:
            yield replace(decision, split=dataset.split_of(decision.path))


def _of_plan(found: dict[str, Any], dataset: Dataset) -> SuspectDecision:
    to = str(found.get("move_to", ""))
    return SuspectDecision(_text(found["path"]), _text(found["sha256"]), dataset.label_in(to) if to else None)


def _of_audit(found: dict[str, Any], threshold: float) -> SuspectDecision | None:
    irrelevant, mislabelled = float(found["irrelevant"]), float(found["mislabelled"])
    path, sha256 = _text(found["path"]), _text(found.get("sha256", ""))
    if max(irrelevant, mislabelled) < threshold:
        return None
    return SuspectDecision(path, sha256, None if irrelevant >= mislabelled else _text(found["proposed"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
