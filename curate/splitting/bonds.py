"""What a split was bound by besides pixels and credits, kept in the folder that it fills.

The user's groups, whether near pictures are kept together, and the shots of one scene that features proposed: whoever
proves the split again or cuts it into folds needs them, also where the groups' table and the features are gone, and the
split was moved to another machine.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from curate.defaults import DEFAULT_BIND, Bind
from curate.errors import UserError, why_no_value
from curate.files.atomic import write_whole
from curate.files.reading import read_file
from curate.splitting.grouping import NO_PAIRS
from curate.splitting.picture_table import PictureTable

RECORD: Final = ".florilegium.groups"

_LONGEST = 1 << 30  # bytes; ten million pictures take 700 MB


@dataclass(frozen=True)
class Bonds:
    """`bind` and `group_by` as `split` was told, the name of each group → the sha256 of its contents, and the pairs of
    contents that show one scene.
    """

    bind: Bind = DEFAULT_BIND
    group_by: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    scenes: list[list[str]] = field(default_factory=list)

    def links(self, table: PictureTable) -> NDArray[np.int32]:
        """The groups of what a table holds, as in `Links.groups`: int32[q, 2]."""
        rows = [(sha256, number) for number, group in enumerate(self.groups.values()) for sha256 in group]
        if not rows or not len(table.sha256):
            return NO_PAIRS
        content, held = table.find(np.array([sha256 for sha256, _ in rows], dtype="S64"))
        number = np.array([number for _, number in rows])
        return np.column_stack([content, number])[held].astype(np.int32)

    def scene_pairs(self) -> list[tuple[str, str]]:
        """(sha256, sha256) of contents that show one scene."""
        return [(first, second) for first, second in self.scenes]


def write_bonds(folder: Path, bonds: Bonds) -> None:
    """Keep what a split was bound by. Nothing is written of one that has no groups, no scenes and binds as usual.

    Raises `UserError` where that is not possible.
    """
    file = folder / RECORD
    try:
        if bonds == Bonds():
            file.unlink(missing_ok=True)
        else:
            write_whole(file, json.dumps(asdict(bonds), indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"The file {file} cannot be written ({error.strerror}): check the disk's free space and your rights."
        ) from error


def read_bonds(folder: Path) -> Bonds:
    """What the split in a folder was bound by. Raises `UserError` for a record that this program did not write."""
    file = folder / RECORD
    try:
        found: Any = json.loads(read_file(file, _LONGEST))
    except FileNotFoundError:
        return Bonds()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): remove it, and run `split` again.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON ({why_no_value(error)}): remove it, and run `split` again.") from error
    if not _is_ours(found):
        raise UserError(f"{file} is no record of groups that this program made: remove it, and run `split` again.")
    return Bonds(**found)


def _is_ours(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and set(found) | {"scenes"} == {"bind", "group_by", "groups", "scenes"}  # an older record has none
        and found["bind"] in get_args(Bind)
        and isinstance(found["group_by"], str)
        and isinstance(found["groups"], dict)
        and all(isinstance(group, list) for group in found["groups"].values())
        and isinstance(scenes := found.get("scenes", []), list)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in scenes)
        and all(
            isinstance(one, str) and one.isascii() for group in [*found["groups"].values(), *scenes] for one in group
        )
    )
