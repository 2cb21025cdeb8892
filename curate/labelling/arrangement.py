"""The record in a folder that `--label-from` has filled: whose pictures lie there by their labels, and by what."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from curate.errors import UserError
from curate.files.atomic import write_whole
from curate.files.ours import LABELS_MARK
from curate.files.reading import read_file

RECORD: Final = LABELS_MARK
ENDING: Final = "_labelled"
"""What follows the dataset's name in that of the folder beside it where its pictures lie by their labels."""

_LONGEST = 1 << 30  # bytes


@dataclass(frozen=True)
class Arrangement:
    """`source` is the dataset's folder, relative to that of the record; `label_from` as the user gave it; `placed` are
    the pictures, source → place, that have been put there at any time.
    """

    source: str
    label_from: str
    placed: dict[str, str] = field(default_factory=dict)


def labelled_folder(root: Path) -> Path:
    """Where the pictures of a dataset lie by their labels, or would."""
    resolved = root.resolve()
    return resolved.with_name(f"{resolved.name}{ENDING}")


def arranged_from(root: Path) -> tuple[Path, str] | None:
    """The folder in which the pictures of a dataset lie by their labels, and by what; None where there is none."""
    try:
        folder = labelled_folder(root)
        if not os.path.lexists(folder / RECORD):
            return None
        found = read_arrangement(folder)
        if found is None or (folder / found.source).resolve() != root.resolve():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    beside = root.parent / folder.name
    return (beside if root.name and beside.resolve() == folder else folder), found.label_from


def read_arrangement(folder: Path) -> Arrangement | None:
    """The record in a folder; None where there is none. Raises `UserError` for one that this program did not write."""
    file = folder / RECORD
    try:
        values: Any = json.loads(read_file(file, _LONGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, dict)
        or values.keys() != {"source", "label_from", "placed"}
        or not isinstance(values["placed"], dict)
        or not all(isinstance(text, str) for text in (values["source"], values["label_from"]))
        or not all(isinstance(place, str) for place in values["placed"].values())
    ):
        raise UserError(f"{file} is no record of labels that this program made: remove it, and run the command again.")
    return Arrangement(**values)


def write_arrangement(folder: Path, record: Arrangement) -> None:
    """Write the record."""
    write_whole(folder / RECORD, json.dumps(asdict(record), indent=1) + "\n")
