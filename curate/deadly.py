"""What is said of a picture at which a process ended that read it."""

from pathlib import Path

from curate.errors import UserError
from curate.forked import is_crash


def crash_at(path: Path, exit_code: int) -> str:
    """Why the picture has no pixels: it crashes its decoder. Raises `UserError` where that was not its doing."""
    if not is_crash(exit_code):
        raise UserError(killed_at(path, exit_code))
    return "whatever decodes it crashes"


def killed_at(path: Path, exit_code: int) -> str:
    """What is said of a process that was killed from outside while it read `path`."""
    return (
        f"The process that read {path} was killed (exit code {exit_code}), as happens where memory runs out: make some "
        f"free and run the command again, which goes on from there."
    )
