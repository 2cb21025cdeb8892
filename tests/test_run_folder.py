"""The run folder: a recipe that trains again, a log of whole lines whenever the run dies, curves that are the run's."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import UserError
from tests.commanding import command
from tests.forking import Forks
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.optimising.fitting import Epoch
from train.optimising.settings import FitSettings
from train.optimising.unfinished import UnfinishedRun
from train.recipe import Recipe, list_recipes, load_recipe
from train.recipe_text import recipe_text
from train.run import options_of
from train.run_folder import RunFolder, list_runs, read_curves, recipe_as_run, train_in_folder
from train.training import TrainOptions, data_notes, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 5, "valid": 3})


def quick(**changes: Any) -> Recipe:
    return load_recipe("last-layer", {"backbone": TINY, "weights": "none", "epochs": 3, "views": 1, **changes})


def options(recipe: Recipe, models: Path) -> TrainOptions:
    return options_of(recipe, models=models, device="cpu")


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_recipe_comes_back_from_its_folder(recipe: Recipe, tmp_path: Path) -> None:
    tuning = replace(recipe.options.tuning, unfreeze="layer4")
    odd = replace(recipe, summary='of "quotes", \\ and ümläuts\x7f\n', options=replace(recipe.options, tuning=tuning))
    for one in (recipe, odd):
        file = tmp_path / f"{recipe.name}.toml"
        file.write_text(recipe_text(one, []), encoding="utf-8")
        assert load_recipe(file) == one


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_tells_its_story(garden: Path, tmp_path: Path) -> None:
    recipe = quick()
    report, folder = train_in_folder(garden, options(recipe, tmp_path / "models"), recipe, runs=tmp_path / "runs")
    assert folder is not None
    assert folder.parent == tmp_path / "runs"
    assert folder.name.endswith("_last-layer")
    assert sorted(path.name for path in folder.iterdir()) == ["curves.csv", "curves.png", "log.jsonl", "recipe.toml"]
    lines = log(folder)
    assert [line["event"] for line in lines] == ["started", *["epoch"] * 3, "finished"]
    assert lines[0]["options"]["backbone"] == TINY
    assert lines[-1]["checkpoint"] == str(report.checkpoint)
    assert lines[-1]["valid"]["correct"] == report.valid.correct
    history = load_checkpoint(report.checkpoint).history
    for line, row, epoch in zip(lines[1:-1], read_curves(folder), history, strict=True):
        for name, value in epoch.items():
            assert line[name] == value
            assert float(row[name]) == value
    # The recipe in the folder trains the same bits again
    again = train_head(garden, options(load_recipe(folder / "recipe.toml"), tmp_path / "models"))
    one, other = load_checkpoint(report.checkpoint), load_checkpoint(again.checkpoint)
    assert all(torch.equal(value, other.head.state_dict()[key]) for key, value in one.head.state_dict().items())


def test_more_than_the_last_layer_is_watched_too(garden: Path, tmp_path: Path) -> None:
    recipe = quick(unfreeze=1, epochs=2, weight_decay=0.01)
    report, folder = train_in_folder(garden, options(recipe, tmp_path / "models"), recipe, runs=tmp_path / "runs")
    assert folder is not None
    assert len(read_curves(folder)) == 2
    assert load_checkpoint(report.checkpoint).calibration is not None


def test_the_folder_has_the_recipe_as_it_was_run(garden: Path, tmp_path: Path) -> None:
    """A budget or a sweep changes the options after the recipe was read."""
    recipe = quick()
    given = options(recipe, tmp_path / "models")
    changed = replace(given, views=2, crop=96, head=replace(given.head, learning_rate=0.02, balance=0.5))
    _, folder = train_in_folder(garden, changed, recipe, runs=tmp_path / "runs")
    assert folder is not None
    again = load_recipe(folder / "recipe.toml")
    assert options(again, tmp_path / "models") == replace(changed, recipe="recipe")
    assert recipe_as_run(recipe, given) == recipe


def test_two_runs_of_one_second_do_not_meet(tmp_path: Path) -> None:
    folders = {RunFolder.begin(tmp_path / "runs", quick()).folder for _ in range(4)}
    assert len(folders) == 4
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        RunFolder.begin(tmp_path / "file", quick())


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    recipe = quick()
    with pytest.raises(UserError, match="no folder"):
        train_in_folder(tmp_path / "absent", options(recipe, tmp_path), recipe, runs=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_that_fails_under_way_says_why(garden: Path, tmp_path: Path) -> None:
    recipe = quick()

    def fail(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise UserError("The second epoch was too much.")

    given = replace(options(recipe, tmp_path), watch=fail)
    with pytest.raises(UserError, match="too much"):
        train_in_folder(garden, given, recipe, runs=tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert [line["event"] for line in log(folder)] == ["started", "epoch", "epoch", "failed"]
    assert "The second epoch was too much" in log(folder)[-1]["reason"]
    (story,) = list_runs(tmp_path / "runs")
    assert (story.state, story.epochs, story.valid) == ("failed", 2, None)


def test_each_epoch_is_a_line_and_runs_are_a_table(garden: Path, tmp_path: Path) -> None:
    network = ("--backbone", TINY, "--weights", "none", "--views", "1", "--set", "epochs=3", "--models", tmp_path / "m")
    done = command("train", garden, *network, "--runs", tmp_path / "runs")
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("Epoch ")]
    assert [line.split(":")[0] for line in lines] == ["Epoch 1", "Epoch 2", "Epoch 3"]
    (story,) = list_runs(tmp_path / "runs")
    assert story.valid is not None
    assert f"valid loss {load_checkpoint(Path(story.checkpoint)).history[-1]['valid_loss']:.3f}" in lines[-1]
    assert story.changes == {"backbone": TINY, "weights": "none", "views": 1, "epochs": 3}
    (tmp_path / "runs" / "no run").mkdir()
    kept = tmp_path / "m" / "unfinished"
    UnfinishedRun(kept, {"recipe": {"name": "best", "backbone": TINY}}).save({"epoch": 4})
    (kept / "mine.pth").write_text("not ours")
    shown = command("runs", "--runs", tmp_path / "runs", "--models", tmp_path / "m").out
    assert "epochs=3" in shown
    assert f"{story.valid.percent()}%" in shown
    assert "1 runs in" in shown
    assert "1 unfinished ones" in shown
    assert f"evaluate {garden} --checkpoint {story.checkpoint}" in shown.partition("Next: ")[2]
    cleared = command("runs", "--runs", tmp_path / "runs", "--models", tmp_path / "m", "--clear-unfinished").out
    assert "Removed 1 unfinished runs" in cleared
    assert [file.name for file in kept.iterdir()] == ["mine.pth"]


def test_a_better_epoch_is_offered() -> None:
    better = [Epoch(1, 1.0, 0.5, 0.75), Epoch(2, 0.9, 0.6, 0.5)]
    settings = FitSettings()
    (note,) = data_notes(settings, ["a"], ["a"], balanced=False, history=better)
    assert note.startswith("Epoch 1 of 2 was right more often (75.00%) on valid: --set keep=best keeps that epoch; its")
    assert "authors" not in note
    assert data_notes(settings, ["a"], ["a"], balanced=False, history=better[:1]) == []
    assert "flattered" in data_notes(replace(settings, keep="best"), ["a"], ["a"], balanced=False, history=better)[0]


@pytest.mark.parametrize(("recipe", "keep"), [("resnet152", "best"), ("landmarks", "lowest_loss")])
def test_the_offer_is_what_the_authors_of_the_recipe_did(recipe: str, keep: str) -> None:
    kept = load_recipe(recipe).authors_kept
    history = [Epoch(1, 1.0, 0.5, 0.5, 0.7), Epoch(2, 1.0, 0.5, 0.75, 0.9), Epoch(3, 1.0, 0.5, 0.5, 0.8)]
    (note,) = data_notes(FitSettings(), ["a"], ["a"], balanced=False, history=history, authors_kept=kept)
    assert f"--set keep={keep} keeps that epoch, as the recipe's authors did" in note
    assert note.startswith(f"Epoch {2 if keep == 'best' else 1} of 3 was ")
    done = FitSettings(keep=kept)
    (flattered,) = data_notes(done, ["a"], ["a"], balanced=False, history=history, authors_kept=kept)
    assert "chosen on valid" in flattered


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_whole_lines(tmp_path: Path, forks: Forks) -> None:
    code = """
import sys
from collections.abc import Callable
from pathlib import Path
from tests.test_run_folder import quick
from train.optimising.fitting import Epoch
from train.run_folder import RunFolder
run = RunFolder.begin(Path(sys.argv[1]), quick())
number = 0
while True:
    number += 1
    run.epoch(Epoch(number, 0.5, 0.5, None))
"""
    program = forks.start(code, tmp_path)
    while sum(file.stat().st_size for file in tmp_path.glob("*/curves.csv")) < 3_000:
        assert program.poll() is None
        time.sleep(0.01)
    program.kill()
    program.wait()
    (folder,) = tmp_path.iterdir()
    lines, rows = log(folder), read_curves(folder)
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert [int(row["number"]) for row in rows] == list(range(1, len(rows) + 1))
    assert 0 <= len(lines) - len(rows) <= 1
    assert rows[0]["valid_accuracy"] == ""


def test_tensorboard_reads_what_was_written(garden: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = quick()
    report, folder = train_in_folder(
        garden, options(recipe, tmp_path / "models"), recipe, runs=tmp_path / "runs", tensorboard=True
    )
    events = EventAccumulator(str(folder)).Reload()
    history = load_checkpoint(report.checkpoint).history
    for tag, name in (("loss/train", "loss"), ("accuracy/valid", "valid_accuracy"), ("learning_rate", "learning_rate")):
        found = events.Scalars(tag)
        assert [one.step for one in found] == [1, 2, 3]
        assert [one.value for one in found] == pytest.approx([epoch[name] for epoch in history], rel=1e-6)


def test_without_tensorboard_there_is_a_sentence_and_no_folder(
    tmp_path: Path, not_installed: Callable[..., None]
) -> None:
    not_installed("tensorboard")
    with pytest.raises(UserError, match="uv sync --extra tensorboard"):
        RunFolder.begin(tmp_path / "runs", quick(), tensorboard=True)
    assert not (tmp_path / "runs").exists()
