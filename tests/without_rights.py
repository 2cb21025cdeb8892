"""Processes to which the rights on files apply: root, as whom tests may run, reads and writes whatever it likes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_SETPRIV = shutil.which("setpriv")

needs_rights = pytest.mark.skipif(
    not hasattr(os, "geteuid") or (_IS_ROOT and not _SETPRIV), reason="nothing here takes root's privileges away"
)


def without_privileges(command: list[str]) -> list[str]:
    """The command as one that is no more than the owner of its files."""
    return [str(_SETPRIV), "--bounding-set=-all", "--inh-caps=-all", "--", *command] if _IS_ROOT else command


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below and in a folder may be written meanwhile."""
    modes = {Path(folder): folder.stat().st_mode}
    modes |= {path: path.stat().st_mode for path in folder.rglob("*") if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
