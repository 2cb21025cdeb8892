"""Programs as forks of one process that has imported PyTorch and the like: without seconds of import each.

Of this project that process imports nothing, so a fork runs all of its own imports of ours. Where a test is about what
a fresh interpreter does (its environment, its standard streams, what it imports), it starts one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CLI = "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__')"

_SERVER = """
import json, os, sys
import torch, torchvision, timm, torchsampler, scipy.fftpack, scipy.optimize
torch.set_num_threads(1)  # a pool of threads does not survive a fork

def serve():
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "pid" in asked:
            pid, status = os.waitpid(asked["pid"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        else:
            pid = os.fork()
            if not pid:
                return asked
            print(pid, flush=True)
    sys.exit()

asked = serve()
for number, path in enumerate(asked["streams"]):
    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY), number)
sys.stdin = open(0, closefd=False)
os.chdir(asked["cwd"])
os.environ.clear()
os.environ.update(asked["env"])
sys.argv = asked["argv"]
exec(compile(asked["code"], "<string>", "exec"), {"__name__": "__main__"})
"""


class Program:
    """A fork at work; what it prints goes to files."""

    def __init__(self, forks: "Forks", pid: int, folder: Path) -> None:
        self._forks, self.pid, self._folder = forks, pid, folder
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self._code is None:
            self._code = self._forks.ask({"pid": self.pid})
        return self._code

    def output(self) -> str:
        """What it has printed so far."""
        return (self._folder / "out").read_text("utf-8", "surrogateescape")

    def kill(self) -> None:
        """Kill it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """Wait for its end; raises `TimeoutExpired` where it does not come in time, having killed it."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                self.kill()
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        out, err = ((self._folder / name).read_text("utf-8", "surrogateescape") for name in ("out", "err"))
        return subprocess.CompletedProcess(str(self.pid), code, out, err)


class Forks:
    """The process that has imported PyTorch, and that every program is a fork of."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER], cwd=REPOSITORY, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ask(self, what: Mapping[str, object]) -> int | None:
        """What the process answers: the id of a new program, or the exit code of one that has ended."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(what) + "\n")
        self._server.stdin.flush()
        answer: int | None = json.loads(self._server.stdout.readline())
        return answer

    def start(self, code: str, *arguments: object, cwd: Path = REPOSITORY, **environment: object) -> Program:
        """Run a program's text with these arguments in a folder."""
        return self._start(code, ["-c", *map(str, arguments)], cwd, environment, b"")

    def start_cli(
        self, *arguments: object, cwd: Path = REPOSITORY, stdin: bytes = b"", **environment: object
    ) -> Program:
        """Run `cli.py` with these arguments in a folder."""
        return self._start(CLI, [str(REPOSITORY / "cli.py"), *map(str, arguments)], cwd, environment, stdin)

    def _start(self, code: str, argv: list[str], cwd: Path, environment: Mapping[str, object], stdin: bytes) -> Program:
        folder = Path(self._place.name) / str(self._count)
        self._count += 1
        folder.mkdir()
        streams = [folder / name for name in ("in", "out", "err")]
        for stream, content in zip(streams, (stdin, b"", b""), strict=True):
            stream.write_bytes(content)
        changes = {"PYTHONPATH": REPOSITORY, "COLUMNS": 10_000, **environment}
        env = {**os.environ, **{name: str(value) for name, value in changes.items()}}
        pid = self.ask({"code": code, "argv": argv, "cwd": str(cwd), "env": env, "streams": [*map(str, streams)]})
        assert pid is not None
        return Program(self, pid, folder)

    def close(self) -> None:
        """End the process; its programs have ended."""
        self._server.communicate()
        self._place.cleanup()
