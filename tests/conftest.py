"""What several test files share: the real photographs, where they are at hand."""

import builtins
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.forking import Forks

REPOSITORY = Path(__file__).resolve().parent.parent

# The files of tests are dealt to one process for each processor: in there, and in the programs that tests start, more
# threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts this in the background has it ignore Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device cuda`: the tests that take a device run there."""
    parser.addoption("--device", default="cpu", help="where tests/test_on_device.py runs its networks: cpu or cuda")


@pytest.fixture(scope="session")
def flowers() -> Path:
    """The root of a folder of real photographs in Udacity's layout, from FLORILEGIUM_FLOWERS or ../shared/flowers."""
    root = Path(os.environ.get("FLORILEGIUM_FLOWERS", REPOSITORY.parent / "shared" / "flowers"))
    if not (root / "train").is_dir():
        pytest.skip(f"no real photographs at {root}: set FLORILEGIUM_FLOWERS to Udacity's flower_data")
    return root


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch with one thread: tiny networks are only slowed down by threads that wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Runs programs as forks of one process that has imported PyTorch."""
    if not hasattr(os, "fork"):
        pytest.skip("no processes are forked here")
    server = Forks()
    yield server
    server.close()


Nest = Callable[..., Path]
"""(folder, levels, files={}) → the innermost of `levels` folders "d" that were made one in the other below `folder`,
with `files` (name → bytes) in it.
"""


@pytest.fixture
def nest() -> Iterator[Nest]:
    """Nests folders more deeply than a path may be long, and removes them after the test."""
    outermost: list[Path] = []

    def nested(folder: Path, levels: int, files: Mapping[str, bytes] | None = None) -> Path:
        outermost.append(folder / "d")
        here = os.open(folder, os.O_RDONLY)
        try:
            for _ in range(levels):
                os.mkdir("d", dir_fd=here)
                inner = os.open("d", os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = inner
            for name, content in (files or {}).items():
                with os.fdopen(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as file:
                    file.write(content)
        finally:
            os.close(here)
        return folder.joinpath(*["d"] * levels)

    yield nested
    for folder in outermost[:1]:  # those after it lie in it; Python's own removal calls itself for each folder
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with names of packages, and to import these fails as where they are not installed."""

    def hide(*packages: str) -> None:
        real = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.partition(".")[0] in packages:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)

    return hide
