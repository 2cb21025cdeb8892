"""The mark in a folder that `split` fills: whose split it is, and whether it is whole.

A split that is killed leaves some of its pictures in their places, and a classifier trained on those would be of fewer
classes, with pictures of test among its own. So the mark says "unfinished" before the first file is placed or removed,
and "whole" when the last one is; whoever reads a split asks it first.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.atomic import write_whole
from curate.files.ours import SPLIT_MARK
from curate.files.reading import read_file

MARK: Final = SPLIT_MARK

_LONGEST = 1 << 16  # bytes


@dataclass(frozen=True)
class Mark:
    """`dataset` is the identity of the catalog whose split this is, `command` what finishes it, `run` any one run.

    `of` is the dataset's folder, relative to the marked one; "" where it lies on another drive, or nobody noted it.
    """

    dataset: str
    whole: bool
    command: str
    run: str
    of: str = ""


def begin(out: Path, dataset: str, command: str, root: Path | None = None) -> None:
    """Mark a folder's split as unfinished, before anything in it changes; the dataset lies in `root`, or out itself.

    Raises `UserError` where it cannot be, and where the folder is gone, which the mark would bring back.
    """
    if not out.is_dir():
        raise UserError(f"The folder {out} is no longer there: it was removed or renamed meanwhile.")
    try:
        of = Path(os.path.relpath((root or out).resolve(), out.resolve())).as_posix()
    except ValueError:  # on another drive of Windows
        of = ""
    _write(out, Mark(dataset, False, command, secrets.token_hex(8), of))


def finish(out: Path) -> None:
    """Mark a folder's split as whole."""
    mark = _read(out)
    if mark is not None and not mark.whole:
        _write(out, replace(mark, whole=True))


def belongs_to(out: Path, dataset: str) -> bool:
    """Whether a folder holds a split of the catalog with this identity. A stranger's catalog may only claim it."""
    mark = _read(out)
    return mark is not None and mark.dataset == dataset


def marked_of(out: Path) -> tuple[str, str]:
    """Whose split a folder says that it holds: the catalog's identity, and the dataset's folder relative to this one.

    Both are "" where there is no mark, or one that cannot be read.
    """
    try:
        mark = _read(out)
    except UserError:
        mark = None
    return ("", "") if mark is None else (mark.dataset, mark.of)


def marked_at(out: Path) -> int:
    """When a folder's mark was written, in nanoseconds; 0 where there is none."""
    try:
        return (out / MARK).lstat().st_mtime_ns
    except OSError:
        return 0


def require_finished(dataset: Dataset) -> None:
    """Raise `UserError`, which names the command that goes on, where the split in a dataset's folder is unfinished."""
    _require_whole(dataset.root, _read(dataset.root))


def unfinished_in(out: Path) -> str:
    """A sentence where the split in a folder is unfinished, or its mark cannot be read; "" otherwise."""
    try:
        _require_whole(out, _read(out))
    except UserError as error:
        return str(error)
    return ""


@contextmanager
def steady_split(dataset: Dataset) -> Iterator[None]:
    """Read a split inside: raises `UserError` where it is unfinished, or was made anew meanwhile."""
    before = _read(dataset.root)
    _require_whole(dataset.root, before)
    yield
    if _read(dataset.root) != before:
        raise UserError(f"{dataset.root} was split anew while it was being read: run the same command again.")


def _require_whole(root: Path, mark: Mark | None) -> None:
    if mark is not None and not mark.whole:
        raise UserError(
            f"The split in {root} is unfinished, so some of its pictures are not in their places: finish it with "
            f"`{mark.command}`."
        )


def _read(out: Path) -> Mark | None:
    file = out / MARK
    if not os.path.lexists(file):
        return None
    values: Any = None
    try:
        values = json.loads(read_file(file, _LONGEST))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check your rights, or remove it.") from error
    except (ValueError, RecursionError):
        pass
    if (
        not isinstance(values, dict)
        or values.keys() - {"of"} != {"dataset", "whole", "command", "run"}
        or not all(isinstance(values[name], bool if name == "whole" else str) for name in values)
    ):
        raise UserError(f"{file} is no mark of a split that this program made: remove it, and run `split` again.")
    return Mark(**values)


def _write(out: Path, mark: Mark) -> None:
    try:
        write_whole(out / MARK, json.dumps(asdict(mark), indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"The folder {out} cannot be written ({error.strerror}): check the disk's free space and your rights."
        ) from error
