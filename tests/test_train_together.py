"""Two runs at once on one dataset, one bank and one folder of models, and runs after one that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.features.bank_shelf import list_banks

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden") / "data", {"train": 40, "valid": 10})


def started(garden: Path, models: Path, *options: object) -> subprocess.Popen[str]:
    command = [
        sys.executable, str(REPOSITORY / "cli.py"), "train", str(garden), "--backbone", TINY, "--weights", "none",
        "--models", str(models), "--runs", str(models / "runs"), *map(str, options),
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def weights(file: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(file).head.state_dict())


@pytest.mark.parametrize(
    "options", [["--views", "4"], ["--unfreeze", "1", "--set", "epochs=3"]], ids=["the head", "the network"]
)
def test_two_at_once_lose_nothing(options: list[str], garden: Path, tmp_path: Path) -> None:
    both = [started(garden, tmp_path, *options) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=500)
        assert one.returncode == 0, err
        assert "Traceback" not in err
        assert "could not be written" not in out
    files = sorted(tmp_path.glob("model_*.pth"))
    assert len(files) == 2
    first, second = map(weights, files)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    if options[0] == "--views":
        assert sum(bank.features for bank in list_banks(tmp_path / "bank")) == 120 * 4 + 30
    assert leftovers(tmp_path) == []


def leftovers(models: Path) -> list[Path]:
    every = list(models.rglob("*"))
    return [file for file in every if file.name.endswith(".partial") or file.parent.name == "unfinished"]


@pytest.mark.parametrize("delay", [0.2, 1.0, 2.0, 3.0])
def test_nothing_that_a_kill_leaves_is_in_the_way(delay: float, garden: Path, tmp_path: Path) -> None:
    options = ["--unfreeze", "1", "--set", "epochs=6"]
    killed = started(garden, tmp_path, *options)
    runs = tmp_path / "runs"
    while killed.poll() is None and not runs.exists():
        time.sleep(0.05)
    time.sleep(delay)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = started(garden, tmp_path, *options)
    _, err = again.communicate(timeout=500)
    assert again.returncode == 0, err
    for file in tmp_path.glob("model_*.pth"):
        load_checkpoint(file)
    assert leftovers(tmp_path) == []
