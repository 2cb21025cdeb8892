"""Two processes by `torchrun` see each picture as often as one does, and learn the same."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import UserError
from tests.forking import Forks
from tests.training_ground import grow
from train.checkpoint import Checkpoint, load_checkpoint
from train.optimising.distributed import joined_processes

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not torch.distributed.is_available(), reason="PyTorch has no processes here"
)

REPOSITORY = Path(__file__).resolve().parent.parent

# What is asked for comes as JSON; every process writes down which pictures it decoded, how often, and what it got
SCRIPT = """
import json, os, sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import torch
from train.features import extract
from train.features import pixels
from train.optimising.distributed import joined_processes
from train.recipe import load_recipe
from train.run import is_first_process, options_of, train_recipe

root, folder, jobs = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
seen, extracted = Counter(), Counter()
batches, prepared = pixels.PixelSource._batches, extract.prepared

def counted_batches(source, draws, counts, **told):
    wanted = iter(draws)
    for batch in batches(source, draws, counts, **told):
        for position, view in [next(wanted) for _ in range(len(batch))]:
            if view is not None:
                seen[source.pictures[position].path.relative_to(root).as_posix()] += 1
        yield batch

@contextmanager
def counted_prepared(pictures, *arguments, **options):
    def counted(results):
        for picture, found in zip(pictures, results, strict=True):
            if found.numbers:
                extracted[picture.path.relative_to(root).as_posix()] += 1
            yield found

    with prepared(pictures, *arguments, **options) as results:
        yield counted(results)

pixels.PixelSource._batches, extract.prepared = counted_batches, counted_prepared
with joined_processes(torch.device("cpu")) as processes:
    for name, asked in jobs.items():
        seen.clear()
        extracted.clear()
        recipe = load_recipe(asked.pop("recipe"), asked)
        options = options_of(recipe, models=folder / name, device="cpu")
        report = train_recipe(root, options, processes=processes)
        (folder / f"{name}-{processes.rank}.json").write_text(json.dumps({
            "first": is_first_process(), "seen": seen, "extracted": extracted,
            "checkpoint": str(report.checkpoint), "correct": report.valid.correct}))
"""

SCRATCH = {
    "recipe": "scratch-cnn", "crop": 32, "hidden": [16], "dropout": 0.0, "epochs": 3, "batch": 5,
    "learning_rate": 0.05, "precision": "float32",
}  # fmt: skip
TINY_NETWORK = {"backbone": "timm:test_resnet", "weights": "none", "crop": 64}
JOBS: dict[str, dict[str, Any]] = {
    "shuffled": {**SCRATCH, "balance": 0.0},
    "balanced": {**SCRATCH, "balance": 1.0},
    "normed": {
        **TINY_NETWORK, "recipe": "landmarks", "unfreeze": "all", "epochs": 8, "batch": 6, "backbone_rate": 1.0,
        "hidden": [16],
    },
    "banked": {**TINY_NETWORK, "recipe": "last-layer", "views": 2, "epochs": 6},
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    told: list[dict[str, Any]]  # by process
    checkpoint: Checkpoint
    models: Path

    def total(self, what: str) -> Counter[str]:
        return sum((Counter(one[what]) for one in self.told), Counter())

    def state(self) -> dict[str, torch.Tensor]:
        network = self.checkpoint.backbones[0].network.state_dict()
        return {**network, **{f"head.{name}": value for name, value in self.checkpoint.head.state_dict().items()}}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> dict[str, tuple[Outcome, Outcome]]:
    """Of every job, what one process made of it and what two did."""
    folder = tmp_path_factory.mktemp("torchrun")
    root = grow(folder / "garden", {"train": 7, "valid": 3})
    for path in sorted((root / "train/rose").iterdir())[4:]:  # unbalanced, and the shares of unlike size
        path.unlink()
    alone, both = start(root, folder / "1", 1, forks), start(root, folder / "2", 2, forks)
    return {name: (alone[name], both[name]) for name in JOBS}


def start(root: Path, folder: Path, count: int, forks: Forks) -> dict[str, Outcome]:
    folder.mkdir()
    if count == 1:
        done = forks.start(SCRIPT, root, folder, json.dumps(JOBS), cwd=folder).wait()
    else:
        script = folder / "script.py"
        script.write_text(SCRIPT)
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *torchrun, str(script), str(root), str(folder), json.dumps(JOBS)],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for name in JOBS:
        told = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(count)]
        (file,) = (folder / name).glob("model_*.pth")  # one writes, and all know where
        assert {one["checkpoint"] for one in told} == {str(file)}
        found[name] = Outcome(told, load_checkpoint(file), folder / name)
    return found


Outcomes = dict[str, tuple[Outcome, Outcome]]


@pytest.mark.parametrize("name", ["shuffled", "balanced"])
def test_two_processes_see_each_picture_as_often_as_one_and_take_the_same_steps(outcomes: Outcomes, name: str) -> None:
    """Trap: torchsampler in each process draws what it likes, so some pictures come twice and others never."""
    alone, both = outcomes[name]
    assert [told["first"] for told in both.told] == [True, False]
    assert both.total("seen") == alone.total("seen")
    assert both.total("seen").total() == 3 * 18
    assert min(sum(told["seen"].values()) for told in both.told) >= 3 * 18 * 0.35  # the work is shared
    assert (set(both.total("seen").values()) == {3}) == (name == "shuffled")
    # Without batch-norm or dropout the steps are the same ones, but for the order of sums
    expected = alone.state()
    for key, value in both.state().items():
        assert torch.allclose(value, expected[key], atol=1e-4), key
    for ours, theirs in zip(alone.checkpoint.history, both.checkpoint.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["train_accuracy"] == pytest.approx(theirs["train_accuracy"], abs=2 / 18)
    assert abs(both.told[0]["correct"] - alone.told[0]["correct"]) <= 1


def test_with_batch_norm_and_dropout_the_accuracy_lies_within_the_interval(outcomes: Outcomes) -> None:
    alone, both = outcomes["normed"]
    assert both.total("seen") == alone.total("seen")
    assert both.told[0]["correct"] == both.told[1]["correct"]
    interval = alone.checkpoint.metrics["valid"].interval
    assert interval.low <= both.checkpoint.metrics["valid"].top1 <= interval.high
    assert both.checkpoint.history[-1]["loss"] < both.checkpoint.history[0]["loss"]


def test_two_processes_fill_one_bank_and_fit_one_head(outcomes: Outcomes) -> None:
    alone, both = outcomes["banked"]
    assert set(both.total("extracted").values()) == {1}  # no picture is computed twice
    assert both.total("extracted") == alone.total("extracted")
    assert all(len(told["extracted"]) >= 9 for told in both.told)
    rows = []
    for outcome in (alone, both):
        (bank, *others) = sorted((outcome.models / "bank").glob("*.sqlite"))
        for file in (bank, *others):
            with closing(sqlite3.connect(file)) as db:
                rows.append((file.name, db.execute("SELECT count(*) FROM features").fetchone()[0]))
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
    expected = alone.state()
    for key, value in both.state().items():
        assert torch.allclose(value, expected[key], rtol=1e-3, atol=1e-4), key
    assert both.told[0]["correct"] == alone.told[0]["correct"]


def test_more_processes_than_gpus_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(UserError, match="use --nproc-per-node 1, or --device cpu"),
        joined_processes(torch.device("cuda")),
    ):
        pass
