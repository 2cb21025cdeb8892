"""Runs a benchmark's own script in an environment of its own, where a peer is installed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run(script: Path, arguments: Sequence[str], packages: Sequence[str] = (), python: str = "") -> dict[str, Any]:
    """Run `script` with uv and `packages`, or with this Python where there are none; give the JSON of its last line.

    `python` is the version that the packages need, this one's unless said. The environment is thrown away afterwards,
    so no peer's dependency meets ours. Raises RuntimeError with the end of the script's error output when it fails.
    """
    python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    isolated = ["uv", "run", "--quiet", "--isolated", "--no-project", "--python", python]
    withs = [part for package in packages for part in ("--with", package)]
    command = [*isolated, *withs, "python"] if packages else [sys.executable]
    done = subprocess.run([*command, str(script), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script.name} {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
