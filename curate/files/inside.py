"""Whether a path that somebody else wrote down stays inside the folder that it is meant for."""

import re
from pathlib import Path

from curate.errors import UserError

# An empty part, "." or ".." between slashes; a NUL; what Windows takes for a drive or a separator is a plain name here.
# Not "$": that matches before a newline at the end, and "\n" is a file's name.
_NOT_PLAIN = re.compile(r"(?:\A|/)(?:\.{0,2})(?:/|\Z)|\0")


def is_plain(relative: str) -> bool:
    """Whether `relative` is a path of names alone, with "/" between: not absolute, no "..", and text in UTF-8."""
    return not _NOT_PLAIN.search(relative) and is_text(relative)


def is_text(name: str) -> bool:
    """Whether a file's name is text in UTF-8. Others are passed over, for neither a catalog nor JSON can hold them;
    `curate.undecodable` counts them.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, once it is certain that it lies below `root` also where links on the way are followed.

    The last name may itself be a link; whoever opens it follows it. Raises `UserError` otherwise. To be called for
    every path that comes out of a catalog, a plan, a bank, a checkpoint or an archive, before the path is used.
    """
    if not is_plain(relative):
        raise UserError(
            f"{relative!a} is no path inside {root}: whoever wrote it down may mean harm; nothing was done."
        )
    path = root / relative
    try:
        top = root.resolve()
        parent = path.parent.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead round in a circle
        raise UserError(f"{path} cannot be followed ({error}): remove the link that leads nowhere.") from error
    if parent != top and top not in parent.parents:
        raise UserError(
            f"{path} leads out of {root} by a link, to {parent}: remove the link, or put the folder itself there."
        )
    return path
