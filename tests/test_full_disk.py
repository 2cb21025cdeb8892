"""A disk that fills up while something large is written: one sentence about the disk, and nothing half-written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.files.lock import LOCK
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.backbones import load_backbone
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.export import export
from train.exporting.export_formats import FORMATS
from train.features.bank import CLEAN, BankKey, FeatureBank
from train.metrics import measure_accuracy
from train.model_card import write_model_card
from train.optimising.unfinished import UnfinishedRun
from train.pictures import labelled_pictures

pytestmark = pytest.mark.usefixtures("one_thread")

FULL = "No space left on device"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden") / "data", {"train": 3, "valid": 2})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = np.zeros((10, 3))
    scores[:, 0] = 1
    made = Checkpoint(
        backbones=[load_backbone(TINY, "none")], head=nn.Linear(96, 3).eval().requires_grad_(False),
        labels=["iris", "rose", "sun flower"], names=["iris", "rose", "sun flower"], recipe={},
        metrics={"valid": measure_accuracy(scores, np.array([0] * 4 + [1] * 6), 3)}, history=[], dataset={},
        versions={},
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return save_checkpoint(made, tmp_path_factory.mktemp("models"))


def test_a_checkpoint(checkpoint: Path, small_disk: Path) -> None:
    with pytest.raises(UserError, match=f"can't be written into .* \\({FULL}\\): check the disk's free space"):
        save_checkpoint(load_checkpoint(checkpoint), small_disk)
    assert [file.name for file in small_disk.iterdir()] == [LOCK]


@pytest.mark.thorough
@pytest.mark.parametrize("format_", FORMATS)
def test_an_export(format_: str, root: Path, checkpoint: Path, small_disk: Path) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxscript")
    pictures = [one.path for one in labelled_pictures(open_dataset(root), "valid")]
    with pytest.raises(UserError, match=f"can't be written \\({FULL}\\): check the disk's free space"):
        export(checkpoint, format_, pictures, out=small_disk)
    assert list(small_disk.iterdir()) == []


def test_a_model_card(checkpoint: Path, small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(UserError, match=FULL):
        write_model_card(checkpoint, small_disk / "card.md")


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"\1" * 4096)
        except OSError:
            pass


def test_an_unfinished_run_keeps_what_was_written_last(small_disk: Path) -> None:
    run = UnfinishedRun(small_disk, {"run": 1}, every=0)
    run.save({"small": torch.zeros(10)})
    assert run.failed is None
    run.save({"large": torch.zeros(1_000_000)})
    assert run.failed is not None
    assert FULL in run.failed
    assert "enforce" not in run.failed
    state = run.load()
    assert state is not None
    assert state.keys() == {"small"}
    assert [file.name for file in small_disk.iterdir()] == [run.file.name]


def test_a_bank(small_disk: Path) -> None:
    key = BankKey("timm:net", "00" * 32, {"resize": 256}, "float32", 100_000)
    rows = [(f"{number:064x}", CLEAN, torch.ones(100_000)) for number in range(10)]
    with (
        FeatureBank(small_disk, key) as bank,
        pytest.raises(UserError, match="can't be written: database or disk is full"),
    ):
        bank.put(rows)
    with FeatureBank(small_disk, key) as bank:
        assert not bank.rebuilt
        assert bank.views_of([CLEAN]) == {}


def test_training_goes_on_without_its_story(root: Path, small_disk: Path, tmp_path: Path) -> None:
    """The disk of the runs is full, that of the models is not: hours of training are worth more than their curves."""
    fill(small_disk)
    arguments = [
        "train",
        root,
        "--backbone",
        TINY,
        "--weights",
        "none",
        "--set",
        "epochs=3",
        "--models",
        tmp_path / "m",
    ]
    assert FULL in command(*arguments, "--runs", small_disk).sentence
    assert [entry.name for entry in small_disk.iterdir()] == ["filler"], "a run that never began leaves no folder"
    (small_disk / "filler").unlink()
    leave_room(small_disk, 12_000)
    done = command(*arguments, "--runs", small_disk)
    assert done.code == 0, done.err
    assert f"could not be written into {small_disk}" in done.out
    assert FULL in done.out
    (run,) = small_disk.glob("*_last-layer")
    for line in (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").exists() else ():
        assert line.startswith("{")
        assert line.endswith("}")
    assert list((tmp_path / "m").glob("model_*.pth"))


def leave_room(disk: Path, bytes_: int) -> None:
    free = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(b"\1" * (free.f_bavail * free.f_frsize - bytes_))
