"""What this program is called by those who run it: its version, and its command."""

import os
import shlex
import shutil
import sys
from pathlib import Path

__version__ = "0.1.0"

INSTALLED = __name__.startswith("florilegium.")
"""Whether this is the installed package, where all rooms lie below `florilegium`, and not the checkout."""

COMMAND = "florilegium" if INSTALLED else "cli.py"
"""What a command line begins with, in texts that do not depend on who reads them."""


def started_as() -> str:
    """What a command line begins with that the user can paste: the way in which this program was started.

    COMMAND, where it was started by none of its command lines.
    """
    program = Path(sys.argv[0]) if sys.argv else Path()
    if program.name == "__main__.py" and program.parent.name == "florilegium":
        return f"{_python()} -m florilegium"
    if INSTALLED or program.suffix != ".py":
        return shlex.quote(str(program)) if program.name == COMMAND and shutil.which(COMMAND) is None else COMMAND
    if program.name != COMMAND:
        return COMMAND
    # uv says so to what it runs, and finds the environment by itself.
    return f"{'uv run' if 'UV' in os.environ else _python()} {shlex.quote(str(program))}"


def _python() -> str:
    """The interpreter that runs: by its name alone, where a shell finds it by that."""
    name = Path(sys.executable).name
    return name if shutil.which(name) == sys.executable else shlex.quote(sys.executable)
