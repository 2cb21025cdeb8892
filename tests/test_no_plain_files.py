"""A pipe, a device, a ring or a name without text where a file should be: an answer, and never a wait."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.errors import UserError
from curate.image import BrokenImage
from tests.commanding import command
from tests.conftest import Nest
from tests.forking import Forks
from tests.training_ground import TINY, grow, picture
from train.checkpoint_choice import best_checkpoint
from train.inputs import expand
from train.recipe import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

REPOSITORY = Path(__file__).resolve().parent.parent

# All commands in one process: one that waits is ended with it, and the rest are not asked.
EACH = """
import json, sys
from tests.commanding import command
for arguments in json.loads(sys.argv[1]):
    done = command(*arguments)
    print(json.dumps([done.code, done.out, done.err]), flush=True)
"""


Each = Callable[..., list[tuple[int, str, str]]]


@pytest.fixture
def each(forks: Forks) -> Each:
    """(command, …) → the exit code, and what was printed to both streams, of each."""

    def asked(*commands: list[object]) -> list[tuple[int, str, str]]:
        words = json.dumps([[str(one) for one in arguments] for arguments in commands])
        done = forks.start(EACH, words).wait(timeout=400)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(commands)
        return [(code, out, err) for code, out, err in found]

    return asked


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In each class folder a pipe that nobody writes to, and a file without an end."""
    root = grow(tmp_path_factory.mktemp("garden") / "data", {"train": 4, "valid": 3, "test": 3})
    for folder in root.glob("*/*"):
        os.mkfifo(folder / "pipe.jpg")
        (folder / "zero.jpg").symlink_to("/dev/zero")
        (folder / "ring.jpg").symlink_to("ring.jpg")
    return root


@pytest.fixture(scope="module")
def checkpoint(garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was learnt from the garden."""
    models = tmp_path_factory.mktemp("models")
    network = ["--backbone", TINY, "--weights", "none", "--views", "2", "--set", "epochs=2"]
    assert command("train", garden, *network, "--models", models, "--runs", models / "runs").code == 0
    return best_checkpoint(models)


@pytest.mark.thorough
def test_no_command_waits_for_what_is_no_file(garden: Path, tmp_path: Path, each: Each) -> None:
    models, runs, out = garden.parent / "models", tmp_path / "runs", tmp_path / "sheet.png"
    network = ["--backbone", TINY, "--weights", "none", "--views", "2", "--set", "epochs=2"]
    trained, tuned, *_ = each(
        ["train", garden, *network, "--models", models, "--runs", runs],
        ["train", garden, *network, "--unfreeze", "all", "--models", models, "--runs", runs],
    )
    for code, out_, err in (trained, tuned):
        assert code == 0, err
        assert "pipe.jpg: cannot be read (not a file but a pipe, a device or a folder)" in out_
        assert "zero.jpg: cannot be read (not a file but a pipe, a device or a folder)" in out_
    checkpoint = best_checkpoint(models)
    evaluated, shown, seen, predicted, random = each(
        ["evaluate", garden, "--models", models],
        ["show", garden, "--out", out, "--count", 60],
        ["show", garden, "--out", out, "--count", 60, "--views", "3"],
        ["predict", garden / "test", "--checkpoint", checkpoint, "--json"],
        ["predict", garden / "test" / "iris" / "pipe.jpg", "--checkpoint", checkpoint, "--plot", tmp_path / "p.png"],
    )
    assert evaluated[0] == shown[0] == seen[0] == 0, (evaluated, shown, seen)
    assert "pipe.jpg: cannot be read" in evaluated[1]
    lines = [json.loads(line) for line in predicted[1].splitlines()]
    assert sum("guesses" in line for line in lines) == 9
    errors = {Path(line["path"]).name: line["error"] for line in lines if "error" in line}
    assert errors.keys() == {"pipe.jpg", "zero.jpg", "ring.jpg"}
    assert "Too many levels of symbolic links" in errors["ring.jpg"]
    assert predicted[0] == random[0] == 2


@pytest.mark.thorough
def test_no_option_waits_for_what_is_no_file(garden: Path, tmp_path: Path, each: Each) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    weights = tmp_path / "pipe.pth"
    os.mkfifo(weights)
    endless, ring = tmp_path / "zero.toml", tmp_path / "ring.toml"
    endless.symlink_to("/dev/zero")
    ring.symlink_to(ring)
    record = tmp_path / "model_50.00.opened.json"
    for odd in (pipe, endless, ring, tmp_path):
        with pytest.raises(UserError, match="recipe"):
            load_recipe(odd)
    commands = [
        ["train", garden, "--recipe", pipe],
        ["train", garden, "--backbone", TINY, "--weights", weights, "--models", tmp_path, "--runs", tmp_path],
        ["predict", garden / "test", "--checkpoint", weights],
        ["evaluate", garden, "--checkpoint", weights],
        ["model-card", "--checkpoint", weights],
        ["export", garden, "--format", "safetensors", "--checkpoint", weights],
        ["show", garden, "--plan", weights],
        ["show", garden, "--out", record.with_suffix(".png"), "--names", pipe],
    ]
    for code, out, err in each(*commands):
        assert code == 2, (out, err)
        assert "pipe." in err


@pytest.mark.thorough
def test_a_record_of_openings_that_is_a_pipe_is_said(
    garden: Path, checkpoint: Path, tmp_path: Path, each: Each
) -> None:
    copy = tmp_path / checkpoint.name
    copy.write_bytes(checkpoint.read_bytes())
    os.mkfifo(copy.with_suffix(".opened.json"))
    ((code, _, err),) = each(["evaluate", garden, "--checkpoint", copy, "--models", tmp_path])
    assert code == 2
    assert "opened.json can't be read" in err


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"test": ' + "[" * 100_000, '{"test": [1]}', '{"test": [{"checkpoint": 1}]}',
             '{"test": [{"checkpoint": "a", "at": "x", "pictures": -1, "fingerprint": "", "views": 1}]}']
)  # fmt: skip
def test_a_record_that_we_did_not_write_is_said(text: str, garden: Path, checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / checkpoint.name
    copy.write_bytes(checkpoint.read_bytes())
    record = copy.with_suffix(".opened.json")
    record.write_text(text)
    done = command("evaluate", garden, "--checkpoint", copy, "--models", tmp_path)
    assert "is damaged: it counts how often test was opened" in done.sentence
    assert record.read_text() == text


@pytest.mark.thorough
def test_predict_names_each_path_that_it_cannot_use(
    garden: Path, checkpoint: Path, tmp_path: Path, forks: Forks
) -> None:
    """A list from elsewhere: NUL, bytes that are no text, names too long, rings, folders that nest without end."""
    rose = tmp_path / "rose.jpg"
    picture((200, 40, 90), 1).save(rose)
    no_text = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(no_text)).write_bytes(rose.read_bytes())
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    lines = [b"nul\0.jpg", no_text, b"x" * 300 + b".jpg", b"d/" * 3000 + b"x.jpg", os.fsencode(tmp_path / "ring"),
             b"", os.fsencode(rose)]  # fmt: skip
    for as_json in (True, False):
        options = ["--json"] if as_json else []
        asked = forks.start_cli(
            "predict", "-", "--checkpoint", checkpoint, *options, cwd=tmp_path, stdin=b"\n".join(lines)
        )
        done = asked.wait()
        assert "Traceback" not in done.stderr
        assert done.returncode == 2
        assert "4 of 6 files could not be predicted" in done.stderr
        if as_json:
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            assert [os.fsencode(answer["path"]) for answer in answers if "guesses" in answer] == [
                no_text, os.fsencode(rose)
            ]  # fmt: skip
            assert ["embedded null byte" in answer.get("error", "") for answer in answers][:2] == [True, False]
        else:
            assert done.stdout.count("rose") >= 2


@pytest.mark.thorough
def test_predict_says_that_standard_input_is_closed(garden: Path, checkpoint: Path) -> None:
    script = '"$0" cli.py predict - --checkpoint "$1" <&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, str(checkpoint)], cwd=REPOSITORY, capture_output=True, timeout=300
    )
    assert done.returncode == 2
    assert b"Standard input is closed or empty" in done.stderr
    assert b"Traceback" not in done.stderr


def test_folders_may_nest_as_deeply_as_they_like(tmp_path: Path, nest: Nest) -> None:
    """1,500 deep is more than calls may nest, and 3,000 more than a path may be long."""
    picture((200, 40, 90), 1).save(tmp_path / "rose.jpg")
    nest(nest(tmp_path, 1_500, {"deep.jpg": (tmp_path / "rose.jpg").read_bytes()}), 1_500)
    found = list(expand([tmp_path]))
    files = [one.name for one in found if isinstance(one, Path)]
    assert files == ["rose.jpg", "deep.jpg"]
    (broken,) = (one for one in found if isinstance(one, BrokenImage))
    assert "File name too long" in broken.reason
