"""Programs that use Ray, each in a process of its own, and what they leave behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

TWO_NODES = """
    import os, signal
    from ray.cluster_utils import Cluster
    from curate.engine.process_tree import children_of, with_descendants

    def start(cpus=1):
        before = children_of(os.getpid())
        cluster.add_node(num_cpus=cpus, object_store_memory=200 << 20)
        return children_of(os.getpid()) - before

    def kill(node):
        for process in with_descendants(node):
            os.kill(process.pid, signal.SIGKILL)

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20, "include_dashboard": False},
    )
    second = start()
    ENGINE = f"ray:{cluster.address}"
"""
"""Starts two nodes of Ray's, each of processes of its own; `kill(second)` ends all those of the second at once."""


class Place:
    """A home and a temporary folder, both empty at first, whose paths are short enough for Ray's sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.temporary = folder, folder / "h", folder / "t"
        self.home.mkdir()
        self.temporary.mkdir()

    def run(self, code: str, *arguments: object, timeout: float = 240) -> str:
        """Run a program's text; gives what it printed. Fails where it does."""
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        return self._ended(command, timeout)

    def command(self, *arguments: object, timeout: float = 240) -> str:
        """Run `cli.py` with these arguments, likewise."""
        return self._ended([sys.executable, str(REPOSITORY / "cli.py"), *map(str, arguments)], timeout)

    def _ended(self, command: list[str], timeout: float) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {
            "HOME": str(self.home), "TMPDIR": str(self.temporary), "RAY_TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
            "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "10000",
        }  # fmt: skip
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def processes(self, seconds: float = 10) -> list[str]:
        """The command lines of all processes that still use the temporary folder, after so many seconds at most."""
        end = time.monotonic() + seconds
        while (left := list(self._processes())) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def _processes(self) -> Iterator[str]:
        mark = os.fsencode(self.temporary)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                said = (process / "cmdline").read_bytes()
                if int(process.name) != os.getpid() and (mark in said or mark in (process / "environ").read_bytes()):
                    yield said.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue

    def files(self) -> list[str]:
        """All files in the home and in the temporary folder, but for the empty one that PyTorch makes on import."""
        files = (file for where in (self.home, self.temporary) for file in where.rglob("*"))
        return sorted(str(file) for file in files if file.name != f"torchinductor_{getuser()}")


@pytest.fixture
def place() -> Iterator[Place]:
    """Where a program that uses Ray is at home."""
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
    yield Place(folder)
    shutil.rmtree(folder, ignore_errors=True)
