"""SourceOptions that no memory and no generator has room for: one sentence before anything is computed."""

import os
from pathlib import Path

import pytest

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.splitting.unfinished import begin, finish
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.device import free_memory, require_memory
from train.head import require_room
from train.optimising.settings import FitSettings
from train.pictures import draw_held_out, labelled_pictures
from train.recipe import load_recipe, parse_overrides

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = ["--backbone", TINY, "--weights", "none", "--set", "epochs=1"]


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden") / "data", {"train": 3, "valid": 2, "test": 2})


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", -1], ["--seed", 1 << 63], ["--seed", 10**30], ["--views", 65], ["--views", 10**12],
        ["--set", f"views={10**12}"], ["--set", f"batch={10**20}"], ["--set", f"accumulate={10**20}"],
        ["--set", f"epochs={10**20}"], ["--set", f"hidden=[{10**12}]"], ["--set", "hidden=[1000000, 1000000]"],
        ["--set", f"hidden={[4] * 200}"], ["--set", f"crop={10**9}"], ["--set", "learning_rate=inf"],
        ["--set", "learning_rate=nan"], ["--set", "weight_decay=nan"], ["--set", "epochs=" + "9" * 5000],
        ["--set", "hidden=" + "[" * 100_000], ["--folds", 10**12], ["--folds", 1000], ["--unfreeze", "²"],
        ["--unfreeze", "9" * 5000], ["--balance", "nan"], ["--budget", "9" * 5000 + "h"], ["--budget", "0s"],
    ],
    ids=lambda options: " ".join(map(str, options))[:40],
)  # fmt: skip
def test_train_refuses_what_there_is_no_room_for(options: list[object], garden: Path, tmp_path: Path) -> None:
    """Not a feature is computed first: of a thousand pictures that is the part that takes long."""
    if options[0] == "--budget" and options[1] != "0s":
        pytest.skip("a budget may be as long as one likes")
    done = command("train", garden, *NETWORK, *options, "--models", tmp_path / "models", "--runs", tmp_path / "runs")
    assert done.sentence
    assert not (tmp_path / "models" / "bank").exists()


@pytest.mark.parametrize("options", [["--seed", -1], ["--seed", 1 << 63], ["--top-k", 0]])
def test_predict_random_refuses(options: list[object], garden: Path, tmp_path: Path) -> None:
    assert command("predict-random", garden, *options, "--models", tmp_path).sentence


@pytest.mark.parametrize(
    "options", [["--views", 13], ["--count", 10**9], ["--count", 500, "--views", 12], ["--seed", -1]]
)
def test_show_refuses_a_sheet_that_no_viewer_opens(options: list[object], garden: Path, tmp_path: Path) -> None:
    assert command("show", garden, *options, "--out", tmp_path / "sheet.png").sentence
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("options", [["--classes", 10**12], ["--set", f"hidden=[{10**12}]"]])
def test_summary_refuses(options: list[object]) -> None:
    assert command("summary", "--backbone", TINY, *options).sentence


def test_summary_takes_no_memory_for_what_it_only_describes() -> None:
    done = command("summary", "--backbone", TINY, "--classes", 1_000_000, "--set", "hidden=[1000000, 1000000]")
    assert done.code == 0
    assert "2,000,0" in done.out


def test_the_largest_seed_trains(garden: Path, tmp_path: Path) -> None:
    done = command(
        "train",
        garden,
        *NETWORK,
        "--seed",
        (1 << 63) - 1,
        "--views",
        2,
        "--models",
        tmp_path,
        "--runs",
        tmp_path / "runs",
    )
    assert done.code == 0, done.err


def test_seeds_that_worked_before_draw_what_they_drew() -> None:
    from train.head import _draw_views

    assert _draw_views(12, 4, 1337, 2).tolist() == [3, 1, 1, 3, 2, 1, 0, 1, 1, 0, 0, 3]
    assert _draw_views(12, 4, 0, 0).tolist() == [1, 3, 0, 0, 3, 1, 3, 1, 3, 0, 0, 1]
    assert _draw_views(12, 4, (1 << 63) - 1, 2).tolist() == [0, 1, 0, 0, 0, 3, 1, 3, 1, 2, 3, 1]


def test_memory_is_asked_for_before_it_is_taken() -> None:
    free = free_memory(__import__("torch").device("cpu"))
    if free is None:
        pytest.skip("this system does not tell how much memory is free")
    with pytest.raises(UserError, match=r"The features would take [\d,.]+ GB of memory, and [\d,.]+ GB are free"):
        require_memory(free[1] + 1, "The features", "give fewer")
    require_memory(1, "The features", "give fewer")
    with pytest.raises(UserError, match="Fitting the head would take"):
        require_room(1_000_000, 100, FitSettings(hidden=(1_000_000,)))
    require_room(2048, 102, FitSettings(hidden=(4096,)))


def test_a_recipe_nested_without_end_is_one_sentence(tmp_path: Path) -> None:
    for text in (
        "a = " + "[" * 100_000,
        "a" + ".a" * 30_000 + " = 1",
        '"a"' + ' . "a"' * 9_000 + "=1",
        "epochs = " + "9" * 5000,
        "epochs = 0x" + "f" * 5000,
        "milestones = [0x" + "f" * 5000 + "]",
        "\xff",
    ):
        file = tmp_path / "deep.toml"
        file.write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=r"deep\.toml") as caught:
            load_recipe(file)
        assert "set_int_max_str_digits" not in str(caught.value)
        assert len(str(caught.value)) < 400
    assert parse_overrides(["epochs=" + "[" * 100_000])["epochs"].startswith("[[")


def test_a_split_that_a_kill_left_half_placed_is_not_read(garden: Path, tmp_path: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(garden, data)
    labelled_pictures(open_dataset(data), "train")
    begin(data, "of this catalog", "cli.py split data --seed 7")
    for arguments in (
        ["train", data, *NETWORK, "--models", tmp_path, "--runs", tmp_path],
        ["train", data, *NETWORK, "--models", tmp_path, "--folds", 2],
        ["train", data, *NETWORK, "--models", tmp_path, "--sweep"],
        ["show", data, "--out", tmp_path / "s.png"],
    ):
        assert "finish it with `cli.py split data --seed 7`" in command(*arguments).sentence
    with pytest.raises(UserError, match="unfinished"):
        draw_held_out(open_dataset(data))
    finish(data)
    labelled_pictures(open_dataset(data), "train")


def test_a_recipe_that_is_a_pipe_or_a_folder_is_one_sentence(garden: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.toml").mkdir()
    for name in ("pipe.toml", "pipe", "folder.toml"):
        assert "can't be read (not a file but" in command("train", garden, "--recipe", tmp_path / name).sentence
