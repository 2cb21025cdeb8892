"""The commands as a user meets them: real files, right input and wrong, and real processes where their start counts."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commanding import command
from tests.forking import Forks

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = (
    "demo", "download", "scrape", "clean", "restore", "split", "verify", "compare", "show", "summary", "train",
    "ablate", "runs", "recipes", "bank", "evaluate", "predict", "predict-random", "export", "model-card",
    "report", "import-facts",
)  # fmt: skip
OFFLINE = (
    "import socket\ndef refuse(*_a, **_k):\n    raise OSError('no network here')\nsocket.socket.connect = refuse\n"
)


def run(*arguments: object, cwd: Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, str(REPOSITORY / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def draw(path: Path, hue: tuple[int, int, int], number: int) -> None:
    """A blob of a colour at a place, on noise: easy to tell by class, and no two alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*hue, number])
    pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((120, 96), Image.Resampling.BICUBIC)
    picture.paste(hue, (20 + number % 5 * 8, 20, 70 + number % 5 * 8, 70))
    picture.save(path, quality=92)


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with spaces and Unicode in its names, below raw/, of three classes."""
    root = tmp_path_factory.mktemp("with space") / "мой сад"
    for label, hue in {"rote Röse": (200, 20, 30), "青い花": (30, 40, 200), "plain": (240, 220, 40)}.items():
        for number in range(12):
            draw(root / "raw" / label / f"bild {number} ü.jpg", hue, number)
    return root


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path, python=("-X", "importtime"))
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    heavy = {"torch", "torchvision", "timm", "numpy", "scipy", "PIL", "pandas", "rich", "httpx2", "httpcore2"}
    assert not loaded & heavy


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(name: str) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert f"Example: cli.py {name}" in done.out


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["clean", "split"])
def test_curation_does_not_load_torch(name: str, garden: Path, tmp_path: Path) -> None:
    done = run(name, garden, "--dry-run", cwd=tmp_path, python=("-X", "importtime"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "torch" not in {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads")
def test_blas_starts_no_threads(garden: Path, tmp_path: Path) -> None:
    """They would take turns with ours, and spin from the moment that numpy is imported."""
    count = "import atexit, os\natexit.register(lambda: print(len(os.listdir('/proc/self/task')), 'threads'))\n"
    (tmp_path / "sitecustomize.py").write_text(count)
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    asked = [sys.executable, str(REPOSITORY / "cli.py"), "clean", str(garden), "--dry-run"]
    done = subprocess.run(
        asked, cwd=tmp_path, env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "1 threads", done.stderr


def a_file(folder: Path) -> Path:
    (folder / "file.txt").write_text("no folder")
    return folder / "file.txt"


def an_empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def one_class(folder: Path) -> Path:
    for split in ("train", "valid"):
        for number in range(3):
            draw(folder / "one" / split / "rose" / f"{split}{number}.jpg", (9, 9, 9), number + len(split))
    return folder / "one"


def no_checkpoint(folder: Path) -> Path:
    root = one_class(folder)
    draw(root / "train" / "tulip" / "a.jpg", (1, 200, 1), 50)
    return root


def damaged_catalog(folder: Path) -> Path:
    root = one_class(folder)
    (root / "catalog.sqlite").write_bytes(b"this is no database, but long enough to look like a file " * 100)
    return root


WRONG: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str]] = {
    "missing folder": (lambda folder: folder / "nowhere", ("clean",), "nowhere"),
    "missing folder to train on": (lambda folder: folder / "nowhere", ("train",), "nowhere"),
    "file instead of a folder": (a_file, ("clean",), "file.txt is a file"),
    "file to split": (a_file, ("split",), "file.txt is a file"),
    "empty folder": (an_empty_folder, ("clean",), "no class folders"),
    "empty folder to train on": (an_empty_folder, ("train", "--backbone", "efficientnet_lite0"), "no class folders"),
    "one class only": (one_class, ("train", "--backbone", "efficientnet_lite0"), "at least two"),
    "no checkpoint yet": (no_checkpoint, ("evaluate", "--split", "valid"), "checkpoint"),
    "damaged catalog": (damaged_catalog, ("clean",), "catalog.sqlite is damaged"),
    "damaged catalog to split": (damaged_catalog, ("split",), "catalog.sqlite is damaged"),
    "no split at all": (one_class, ("split", "--ratio", "1,2"), "ratio"),
    "a ratio over one": (one_class, ("split", "--ratio", ".9,.9,.1"), "ratio"),
    "unknown reason": (one_class, ("restore", "--reason", "boredom"), "boredom"),
    "unknown network": (no_checkpoint, ("train", "--backbone", "resnet15"), "resnet"),
    "nothing of a split to show": (one_class, ("show", "--split", "test"), "no test pictures"),
    "an unknown class to show": (no_checkpoint, ("show", "--classes", "tulp"), "did you mean tulip"),
    "a sheet that is no PNG": (one_class, ("show", "--out", "sheet.jpg"), "sheet.jpg does not end in .png"),
    "a plan that is not there": (one_class, ("show", "--plan", "plan.jsonl"), "plan.jsonl cannot be read"),
    "missing names file": (no_checkpoint, ("train", "--names", "names.json"), "names.json"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, (name, *options), expected = WRONG[case]
    monkeypatch.chdir(tmp_path)
    done = command(name, make(tmp_path), *options)
    assert done.code == 2, done.err
    assert expected in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["missing folder", "no checkpoint yet"])
def test_so_is_all_that_a_process_says(case: str, tmp_path: Path) -> None:
    """With PyTorch and without, whatever its libraries print at the start and at the end."""
    make, (name, *options), expected = WRONG[case]
    done = run(name, make(tmp_path), *options, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout.strip()


def test_names_file_that_lacks_a_class_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = no_checkpoint(tmp_path)
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"rose": "Rose"}))
    monkeypatch.chdir(tmp_path)
    sentence = command("train", root, "--backbone", "efficientnet_lite0", "--names", names).sentence
    assert "tulip" in sentence
    assert "names.json" in sentence


@dataclass(frozen=True)
class Walk:
    """What each command answered on the way from pictures to a checkpoint, and where that was."""

    folder: Path
    clean: subprocess.CompletedProcess[str]
    split: subprocess.CompletedProcess[str]
    train: subprocess.CompletedProcess[str]

    @property
    def checkpoint(self) -> Path:
        (checkpoint,) = (self.folder / "models").glob("model_*.pth")
        return checkpoint


@pytest.fixture(scope="module")
def walk(garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    raw = garden / "raw" / "plain"
    (raw / "again.jpg").write_bytes((raw / "bild 3 ü.jpg").read_bytes())
    (raw / "cut.jpg").write_bytes((raw / "bild 1 ü.jpg").read_bytes()[:900])
    folder = tmp_path_factory.mktemp("walk")
    return Walk(
        folder,
        run("clean", garden, "--yes", cwd=folder),
        run("split", garden, "--ratio", ".5,.25,.25", cwd=folder),
        run("train", garden, "--backbone", "efficientnet_lite0", "--views", 2, cwd=folder),
    )


def test_clean_sets_aside_what_is_broken_or_double(walk: Walk, garden: Path) -> None:
    assert walk.clean.returncode == 0, walk.clean.stderr
    assert "1 broken" in walk.clean.stdout
    assert "1 duplicate" in walk.clean.stdout
    assert len(list((garden / "quarantine").rglob("*.jpg"))) == 2


def test_split_prints_its_proof(walk: Walk) -> None:
    assert walk.split.returncode == 0, walk.split.stderr
    assert "pairs across splits: copies 0, near 0, of one origin 0." in walk.split.stdout


@pytest.mark.parametrize("name", ["clean", "split", "train"])
def test_last_line_says_what_to_run_next(name: str, walk: Walk) -> None:
    done: subprocess.CompletedProcess[str] = getattr(walk, name)
    # As it was started: by this interpreter, or by uv.
    assert re.search(r"Next: (uv run|\S*python\S*) \S*cli\.py \w+ ", done.stdout.splitlines()[-1])


def test_train_writes_one_checkpoint_named_after_its_accuracy(
    walk: Walk, garden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert walk.train.returncode == 0, walk.train.stderr
    assert str(Path("models") / walk.checkpoint.name) in walk.train.stdout.splitlines()[-1]
    monkeypatch.chdir(walk.folder)
    evaluated = command("evaluate", garden, "--split", "valid")
    assert evaluated.code == 0, evaluated.err
    assert "95% interval" in evaluated.out
    assert f"Accuracy: {walk.checkpoint.stem.removeprefix('model_')}%" in evaluated.out


@pytest.mark.thorough
def test_prediction_needs_the_checkpoint_alone(walk: Walk, garden: Path, tmp_path: Path) -> None:
    """Another folder, no bank, no home, and every attempt at a connection fails."""
    (tmp_path / "sitecustomize.py").write_text(OFFLINE)
    pictures = sorted((garden / "test").rglob("*.jpg"))
    asked = [sys.executable, str(REPOSITORY / "cli.py"), "predict", "--json", "--top-k", "9",
             "--checkpoint", str(walk.checkpoint), *map(str, pictures)]  # fmt: skip
    done = subprocess.run(
        asked, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["path"] for answer in answers] == [str(picture) for picture in pictures]
    for answer in answers:
        assert {guess["label"] for guess in answer["guesses"]} == {"rote Röse", "青い花", "plain"}
        assert sum(guess["probability"] for guess in answer["guesses"]) == pytest.approx(1, abs=1e-5)


def test_answers_are_drawn_and_lines_of_json_stay_lines_of_json(
    walk: Walk, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = sorted((garden / "test").rglob("*.jpg"))[:2]
    asked = ("predict", "--json", "--checkpoint", walk.checkpoint, "--plot", tmp_path / "answers.png", *pictures)
    monkeypatch.chdir(walk.folder)
    done = command(*asked)
    assert done.code == 0, done.err
    assert len([json.loads(line) for line in done.out.splitlines()]) == 2
    with Image.open(tmp_path / "answers.png") as drawn:
        assert drawn.height > 2 * 224
    refused = command("predict", pictures[0], "--checkpoint", walk.checkpoint, "--plot", pictures[1])
    assert refused.code == 2
    drawn_one = command("predict-random", garden, "--seed", 3, "--plot", tmp_path / "one.png")
    assert drawn_one.code == 0, drawn_one.err
    assert (tmp_path / "one.png").exists()


def test_pictures_and_views_are_drawn(walk: Walk, garden: Path, tmp_path: Path) -> None:
    assert walk.split.returncode == 0
    for views, rows, columns in ((1, 1, 3), (4, 3, 4)):
        options = ("--split", "train", "--count", 3, "--views", views, "--out", tmp_path / "sheet.png")
        done = command("show", garden, *options)
        assert done.code == 0, done.err
        assert "3 pictures of 3 classes" in done.out
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert round(sheet.height / 260) == rows
            assert round(sheet.width / 208) == columns


@pytest.mark.thorough
def test_random_prediction_names_the_true_class_and_repeats_by_seed(
    walk: Walk, garden: Path, forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(walk.folder)
    drawn = command("predict-random", garden, "--seed", 3)
    assert drawn.code == 0, drawn.err
    assert "True class:" in drawn.out
    assert "drawn from test" in drawn.out
    elsewhere = forks.start_cli("predict-random", garden, "--seed", 3, cwd=walk.folder).wait()
    said, then = (text.split("Next:")[0] for text in (drawn.out, elsewhere.stdout))
    assert said == then, "in another process"


def test_broken_file_is_named_and_the_others_are_predicted(walk: Walk, garden: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.jpg"
    page.write_text("<html>not found</html>")
    picture = next((garden / "raw" / "plain").glob("*.jpg"))
    done = command("predict", page, picture, "--json", "--checkpoint", walk.checkpoint)
    assert done.code == 2
    assert "page.jpg" in done.err
    assert "Traceback" not in done.err
    first, second = map(json.loads, done.out.splitlines())
    assert "error" in first
    assert "guesses" in second


def test_every_held_out_picture_can_be_drawn_and_none_of_train(garden: Path, walk: Walk) -> None:
    """The trap: randint(1, 102) never draws class 102, and draws from train."""
    from curate.dataset import open_dataset
    from train.pictures import draw_held_out

    assert walk.split.returncode == 0
    dataset = open_dataset(garden)
    drawn = {draw_held_out(dataset, seed)[0].path for seed in range(300)}
    assert drawn == {dataset.root / file.path for file in dataset.files() if file.split == "test"}
