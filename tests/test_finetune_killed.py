"""A training that is stopped at any instant, for whatever reason, ends as if nothing had happened."""

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from curate.errors import UserError
from tests.forking import Forks
from tests.training_ground import grow
from train.checkpoint import load_checkpoint
from train.optimising.fitting import Fitting, Measured, Work
from train.optimising.layers import build_head
from train.optimising.optimiser import parameter_groups
from train.optimising.settings import FitSettings
from train.optimising.unfinished import UnfinishedRun

pytestmark = pytest.mark.usefixtures("one_thread")

# Everything at once that has a memory of its own
EVERYTHING = FitSettings(
    optimizer="adamw", learning_rate=0.01, weight_decay=0.01, schedule="plateau", patience=0, factor=0.7, warmup=1,
    epochs=5, batch=7, accumulate=2, mixup=0.4, ema=0.9, clip=1.0, keep="best", dropout=0.3, hidden=(8,),
    balance=0.7,
)  # fmt: skip


class Interrupted(Exception):
    pass


class Numbers:
    """Inputs that are there already, until a step comes that interrupts."""

    def __init__(self, inputs: torch.Tensor, stop_before: int | None) -> None:
        self.values, self.stop_before = inputs, stop_before
        self.given = 0

    def inputs(self, _epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for part in parts:
            if self.given == self.stop_before:
                raise Interrupted
            self.given += 1
            yield self.values[drawn[part]]


def fitting(folder: Path | None, settings: FitSettings = EVERYTHING, stop_before: int | None = None) -> Fitting:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 5, generator=generator)
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.8).long()
    model = nn.Sequential(nn.BatchNorm1d(5), build_head(5, 3, hidden=settings.hidden, dropout=settings.dropout, seed=3))

    def validate(classifier: nn.Module) -> Measured:
        length = sum(float(parameter.square().sum()) for parameter in classifier.parameters())
        # A loss that rises as the weights grow, so that the plateau schedule has something to remember
        return Measured(60, int((classifier(inputs).argmax(dim=1) == targets).sum()), length)

    work = Work(
        model,
        parameter_groups(model.parameters(), weight_decay=0.01),
        Numbers(inputs, stop_before),
        targets,
        3,
        validate,
    )
    unfinished = None if folder is None else UnfinishedRun(folder, {"run": "this one"}, every=0)
    return Fitting(work, settings, seed=3, unfinished=unfinished)


def tensors(run: Fitting) -> dict[str, torch.Tensor]:
    return run.work.model.state_dict()


@pytest.mark.thorough
@pytest.mark.parametrize("keep", ["best", "last"])
def test_it_may_be_stopped_before_every_single_step(tmp_path: Path, keep: Any) -> None:
    settings = replace(EVERYTHING, keep=keep)
    whole = fitting(None, settings)
    whole.run()
    assert whole.steps == 25
    # One step a process: after each, everything that goes on comes from the file
    stops = 0
    while True:
        run = fitting(tmp_path, settings, stop_before=1)
        try:
            run.run()
            break
        except Interrupted:
            stops += 1
    assert stops == 24
    assert run.notes == ["It went on from where an earlier run was stopped."]
    assert run.history == whole.history
    assert all(torch.equal(value, tensors(whole)[name]) for name, value in tensors(run).items())


def test_without_its_memory_a_resumed_run_would_end_elsewhere(tmp_path: Path) -> None:
    """The test above can fail: each part of what is kept is needed."""
    whole = fitting(None)
    whole.run()
    for part in ("optimizer", "schedule", "average", "sums"):
        folder = tmp_path / part
        with pytest.raises(Interrupted):
            fitting(folder, stop_before=22).run()
        unfinished = UnfinishedRun(folder, {"run": "this one"})
        state = unfinished.load()
        assert state is not None
        fresh = fitting(None)._state()
        unfinished.save({**state, part: fresh[part]})
        run = fitting(folder)
        run.run()
        same = all(torch.equal(value, tensors(whole)[name]) for name, value in tensors(run).items())
        assert not same or run.history != whole.history, part


def test_what_is_of_another_run_or_damaged_is_not_read(tmp_path: Path) -> None:
    one = UnfinishedRun(tmp_path, {"seed": 1})
    assert one.load() is None
    one.save({"epoch": 3})
    assert UnfinishedRun(tmp_path, {"seed": 1}).load() == {"epoch": 3}
    other = UnfinishedRun(tmp_path, {"seed": 2})
    assert other.file != one.file
    one.file.rename(other.file)
    assert other.load() is None  # what the file says of itself counts, not its name
    other.file.rename(one.file)
    content = one.file.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        one.file.write_bytes(content[:length])
        assert one.load() is None
    one.discard()
    assert not list(tmp_path.iterdir())


def test_writing_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("train.optimising.unfinished.time.monotonic", lambda: clock[0])
    run = UnfinishedRun(tmp_path, {}, every=60)
    assert not run.due()
    clock[0] += 61
    assert run.due()
    save = torch.save

    def slow(*args: Any) -> None:
        clock[0] += 10  # a large network on a slow disk
        save(*args)

    monkeypatch.setattr("train.optimising.unfinished.torch.save", slow)
    run.save({})
    clock[0] += 100
    assert not run.due()
    clock[0] += 100
    assert run.due()


SCRIPT = """
import json, os, random, resource, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from curate.errors import UserError
from tests.training_ground import TINY
from train.features.augmentation import Augmentation
from train.backbones import load_backbone
from train.finetune import train_network
from train.optimising.settings import FitSettings, Tuning
from train.training import TrainOptions

def train(root, models, save_every=0.0):
    settings = FitSettings(
        optimizer="adamw", learning_rate=2e-3, weight_decay=0.01, epochs=4, batch=4, mixup=0.3, cutmix=0.5, ema=0.9,
        clip=1.0, warmup=1, keep="best", hidden=(8,), dropout=0.3, label_smoothing=0.1, balance=0.5)
    return train_network(Path(root), TrainOptions(
        backbone=TINY, weights="none", views=1, crop=48, device="cpu", models=Path(models), head=settings,
        tuning=Tuning(unfreeze="layer2", backbone_rate=0.5, rate_decay=0.8, final_crop=64, final_epochs=2),
        save_every=save_every,
        augmentation=Augmentation(20, 0.6, 0.5, 0.2)))

def in_a_child(work):
    # A process of its own, forked where nothing but one thread runs, so that torch need not be imported anew
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child
"""

KILLED = (
    SCRIPT
    + """
root, whole, folder = sys.argv[1:]
load_backbone(TINY, "none", crop=48)  # imports what is imported late
started = time.monotonic()
child = in_a_child(lambda: train(root, whole, save_every=1e9))
assert os.waitpid(child, 0)[1] == 0
duration = time.monotonic() - started
random.seed(int.from_bytes(os.urandom(8)))
for attempt in range(6):  # a run may end before its instant comes: then it was killed too seldom, and another is
    killed = f"{folder} {attempt}"
    statuses, writes = [], 0
    while not statuses or statuses[-1]:
        def resume():
            report = train(root, killed)
            Path(killed, "notes.json").write_text(json.dumps(report.notes))
        child = in_a_child(resume)
        if len(statuses) < 6:
            time.sleep(random.uniform(0, duration))
            os.kill(child, signal.SIGKILL)
        statuses.append(os.waitpid(child, 0)[1])
        writes += bool(list(Path(killed, "unfinished").glob("*.pth")))
        assert len(statuses) < 20
    if statuses.count(signal.SIGKILL) >= 3 and writes:
        break
print(json.dumps({"statuses": statuses, "writes": writes, "killed": killed}))
"""
)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no fork")
def test_killed_at_random_instants_it_ends_with_the_same_tensors(tmp_path: Path, forks: Forks) -> None:
    root = grow(tmp_path / "data", {"train": 10, "valid": 3})
    done = forks.start(KILLED, root, tmp_path / "whole", tmp_path / "killed").wait()
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    killed_in = Path(outcome["killed"])
    assert outcome["statuses"][-1] == 0
    assert outcome["statuses"].count(signal.SIGKILL) >= 3
    assert outcome["writes"] >= 1
    assert "It went on from" in json.loads((killed_in / "notes.json").read_text())[0]
    (whole,) = (tmp_path / "whole").glob("*.pth")
    (killed,) = killed_in.glob("*.pth")
    assert killed.name == whole.name
    one, other = load_checkpoint(whole), load_checkpoint(killed)
    assert one.history == other.history
    for expected, found in ((one.backbones[0].network, other.backbones[0].network), (one.head, other.head)):
        state = found.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in expected.state_dict().items())
    assert not list((killed_in / "unfinished").iterdir())


DRAWN = (
    SCRIPT
    + """
import threading
from contextlib import contextmanager

ours, view = os.getpid(), Augmentation.view

def noted(*arguments):
    with open(sys.argv[3], "a") as file:
        print(os.getpid(), file=file)
    return view(*arguments)

Augmentation.view = noted
bars = []

@contextmanager
def bar(description, total):
    over = threading.Event()  # as the command line's bar, it has a thread
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        yield lambda count: bars.append(threading.active_count())
    finally:
        over.set()
        other.join()

settings = FitSettings(optimizer="sgd", learning_rate=0.01, weight_decay=0.0, epochs=int(sys.argv[4]), batch=4)
print(os.getpid(), flush=True)
train_network(Path(sys.argv[1]), TrainOptions(
    backbone=TINY, weights="none", views=1, crop=48, device="cpu", models=Path(sys.argv[2]), head=settings,
    tuning=Tuning(unfreeze="layer2")), bar)
print(max(bars), flush=True)
"""
)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_views_are_drawn_in_other_processes_though_a_bar_has_a_thread(tmp_path: Path, forks: Forks) -> None:
    root = grow(tmp_path / "data", {"train": 6, "valid": 2})
    done = forks.start(DRAWN, root, tmp_path / "models", tmp_path / "drawn", 2).wait()
    assert done.returncode == 0, done.stderr
    ours, threads = done.stdout.split()
    assert int(threads) > 1
    drawn = (tmp_path / "drawn").read_text().split()
    assert len(drawn) == 2 * 18
    assert ours not in drawn


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_who_draws_does_not_outlive_a_run_that_is_killed(tmp_path: Path, forks: Forks) -> None:
    root = grow(tmp_path / "data", {"train": 6, "valid": 2})
    run = forks.start(DRAWN, root, tmp_path / "models", tmp_path / "drawn", 1000)
    deadline = time.monotonic() + 120
    while not (tmp_path / "drawn").exists() or len((tmp_path / "drawn").read_text().split()) < 40:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.kill()
    drawn = set((tmp_path / "drawn").read_text().split())
    assert str(run.pid) not in drawn
    while any(Path(f"/proc/{pid}").exists() for pid in drawn):
        assert time.monotonic() < deadline, "a process outlives the one it worked for"
        time.sleep(0.02)


FULL = (
    SCRIPT
    + """
root, models = sys.argv[1:]
report = train(root, models)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, resource.RLIM_INFINITY))
try:
    train(root, models)
except UserError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("then:", train(root, models).checkpoint.name)
"""
)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit")
def test_a_full_disk_costs_no_checkpoint(tmp_path: Path, forks: Forks) -> None:
    root = grow(tmp_path / "data", {"train": 4, "valid": 2}, classes=2)
    done = forks.start(FULL, root, tmp_path / "models").wait()
    assert done.returncode == 0, done.stderr
    assert "refused: The checkpoint can't be written into" in done.stdout
    checkpoints = sorted((tmp_path / "models").glob("*.pth"))
    assert len(checkpoints) == 2
    for path in checkpoints:
        load_checkpoint(path)
    assert not list((tmp_path / "models").rglob("*saving*"))
    assert not list((tmp_path / "models/unfinished").iterdir())


def test_a_disk_that_is_full_for_a_while_is_said_and_borne(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fitting(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("train.optimising.unfinished.torch.save", no_space)
        run.run()
    assert "could not be written" in run.notes[-1]
    assert "No space left on device" in run.notes[-1]
    assert not list(tmp_path.iterdir())
    whole = fitting(None)
    whole.run()
    assert all(torch.equal(value, tensors(whole)[name]) for name, value in tensors(run).items())


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_error_that_ends_a_run_leaves_what_was_kept(tmp_path: Path) -> None:
    """A loss that is no number at last: what was kept is of before, so nothing is lost by trying another rate."""
    with pytest.raises(Interrupted):
        fitting(tmp_path, stop_before=8).run()
    kept = next(tmp_path.iterdir()).read_bytes()
    run = fitting(tmp_path, replace(EVERYTHING, learning_rate=1e38, clip=0.0))
    run.unfinished = UnfinishedRun(tmp_path, {"run": "this one"}, every=1e9)
    with pytest.raises(UserError, match="The loss became"):
        run.run()
    assert next(tmp_path.iterdir()).read_bytes() == kept
