"""Two runs at once on one dataset, one bank and one folder of models, and runs after one that was killed."""

import time
from pathlib import Path

import pytest
import torch

from tests.forking import Forks, Program
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.features.bank_shelf import list_banks

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden") / "data", {"train": 40, "valid": 10})


def started(forks: Forks, garden: Path, models: Path, *options: object) -> Program:
    network = ("--backbone", TINY, "--weights", "none")
    return forks.start_cli("train", garden, *network, "--models", models, "--runs", models / "runs", *options)


def weights(file: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(file).head.state_dict())


@pytest.mark.parametrize(
    "options", [["--views", "4"], ["--unfreeze", "1", "--set", "epochs=3"]], ids=["the head", "the network"]
)
def test_two_at_once_lose_nothing(options: list[str], garden: Path, tmp_path: Path, forks: Forks) -> None:
    both = [started(forks, garden, tmp_path, *options) for _ in range(2)]
    for one in both:
        ended = one.wait(timeout=500)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        assert "could not be written" not in ended.stdout
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
def test_nothing_that_a_kill_leaves_is_in_the_way(delay: float, garden: Path, tmp_path: Path, forks: Forks) -> None:
    options = ["--unfreeze", "1", "--set", "epochs=6"]
    killed = started(forks, garden, tmp_path, *options)
    runs = tmp_path / "runs"
    while killed.poll() is None and not runs.exists():
        time.sleep(0.05)
    time.sleep(delay)
    killed.kill()
    killed.wait()
    again = started(forks, garden, tmp_path, *options)
    ended = again.wait(timeout=500)
    assert ended.returncode == 0, ended.stderr
    for file in tmp_path.glob("model_*.pth"):
        load_checkpoint(file)
    assert leftovers(tmp_path) == []
