"""What an audit or a plan decided on pictures, read from its file: out, or into another class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.cleaning.audit_scores import AuditedPicture, read_scores
from curate.dataset import Dataset
from curate.defaults import DEFAULT_AUDIT_AT
from curate.errors import UserError
from curate.files.json_lines import JsonLine, read_json_lines


@dataclass(frozen=True)
class SuspectDecision:
    """What is to become of one picture: it leaves where `proposed` is None, else it goes to that class.

    `path` is relative to the dataset, `split` where that lies; `sha256` is "" where the file does not say it.
    """

    path: str
    sha256: str
    proposed: str | None
    split: str | None = None


def read_decisions(file: Path, dataset: Dataset, threshold: float = DEFAULT_AUDIT_AT) -> list[SuspectDecision]:
    """Read an audit, a line of JSON a picture, or a plan of `clean`.

    A line of an audit counts where its `irrelevant` or `mislabelled`, 0 to 1, is `threshold` or more; the higher of the
    two says which, and `proposed` is the class of the second. A line of a plan counts always, and its `move_to` names
    the class. Raises UserError for a file that cannot be read, and for a line that is neither, by its number.
    """
    lines = read_json_lines(file, what="an audit or a plan", remedy="correct it, or run `audit` again")
    if lines and "reason" not in lines[0].values:
        decisions = [
            _of_audit(line) for line in read_scores(file) if max(line.irrelevant, line.mislabelled) >= threshold
        ]
    else:
        decisions = list(_of_plans(lines, dataset))
    return [replace(decision, split=dataset.split_of(decision.path)) for decision in decisions]


def _of_plans(lines: Sequence[JsonLine], dataset: Dataset) -> Iterator[SuspectDecision]:
    for where, values in lines:
        try:
            yield _of_plan(values, dataset)
        except (LookupError, TypeError) as error:
            raise UserError(
                f"{where} is no line of an audit or a plan: delete the line, or run `audit` again."
            ) from error


def _of_plan(found: dict[str, Any], dataset: Dataset) -> SuspectDecision:
    to = str(found.get("move_to", ""))
    return SuspectDecision(_text(found["path"]), _text(found["sha256"]), dataset.label_in(to) if to else None)


def _of_audit(line: AuditedPicture) -> SuspectDecision:
    leaves = line.irrelevant >= line.mislabelled
    return SuspectDecision(line.path, line.sha256, None if leaves else line.proposed)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
