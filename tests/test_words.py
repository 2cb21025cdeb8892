"""Words from other programs lead on: to an option that means the same, or to an answer; never to a wild guess."""

import zipfile
from functools import partial
from pathlib import Path

import pytest

from commands.words import in_our_words, recipe_key
from curate.errors import UserError
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.checkpoint import load_checkpoint
from train.checkpoint_choice import best_checkpoint
from train.recipe import load_recipe, parse_overrides


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 4, "valid": 2})


def test_a_command_line_in_others_words_trains_as_it_says(garden: Path, tmp_path: Path) -> None:
    done = command(
        "train", "--data_dir", garden, "--arch", TINY, "--weights", "none", "--epochs", "2", "--lr=0.05",
        "--batch-size", "5", "--hidden_units", "12,8", "--dropout", "0.1", "--save_dir", tmp_path / "models",
        "--runs", tmp_path / "runs", "--cpu", "--views", "1",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = load_checkpoint(best_checkpoint(tmp_path / "models"))
    head = found.recipe["head"]
    assert [head[name] for name in ("epochs", "learning_rate", "batch", "hidden", "dropout")] == [
        2, 0.05, 5, [12, 8], 0.1,
    ]  # fmt: skip
    assert found.backbones[0].name == TINY


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("train", "--workers", "4"), "There is no --workers: pictures are decoded by as many workers"),
        (("train", "--means", "0.5,0.5,0.5"), "There is no --means: mean and standard deviation are those"),
        (("train", "--stds", "[1]"), "There is no --stds: mean and standard deviation are those"),
        (("predict", "x.jpg", "--category_names", "f.json"), "inside the checkpoint: give them to `train --names"),
        (("train", "--resume"), "goes on when the same command is given again"),
        (("train", "--backbon", "x"), "The command train has no option --backbon: did you mean --backbone?"),
        (("train", "--freeze"), "There is no --freeze: all but the last layer is frozen"),
        (("train", "-zzz"), "The command train has no option --zzz"),
        (("train", "--zzz"), "The command train has no option --zzz: `cli.py train --help` lists its options."),
        (("evaluate", "--lr", "1"), "The command evaluate has no option --lr: `cli.py evaluate --help` lists"),
        (("clean", "--gpu"), "The command clean has no option --gpu: `cli.py clean --help` lists"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_answered_by_name(words: tuple[str, ...], answer: str) -> None:
    assert answer in command(*words).sentence


@pytest.mark.parametrize(
    ("words", "unknown", "said"),
    [
        (["predict", "a.jpg", "--gpu"], "--gpu", ["predict", "a.jpg", "--device", "cuda"]),
        (["predict", "a.jpg", "--gpu", "b.jpg"], "--gpu", ["predict", "a.jpg", "--device", "cuda", "b.jpg"]),
        (["predict", "--gpu", "0", "a.jpg"], "--gpu", ["predict", "--device", "cuda", "a.jpg"]),
        (["predict", "--top_k=3", "a.jpg"], "--top_k", ["predict", "--top-k", "3", "a.jpg"]),
        (["predict", "--topk", "3", "a.jpg"], "--topk", ["predict", "--top-k", "3", "a.jpg"]),
        (["predict", "-top-k", "3", "a.jpg"], "-t", ["predict", "--top-k", "3", "a.jpg"]),
        (["predict", "-topk=3", "a.jpg"], "-t", ["predict", "--topk=3", "a.jpg"]),
    ],
)
def test_a_word_becomes_ours_and_takes_its_value_along(words: list[str], unknown: str, said: list[str]) -> None:
    assert in_our_words(words, unknown, "predict", ["--device", "--top-k", "--checkpoint"]) == said


def test_pretrained_is_a_switch_unless_weights_follow(tmp_path: Path) -> None:
    """`train --pretrained flowers` names the data, and what follows may be a file of weights all the same."""
    train = partial(in_our_words, unknown="--pretrained", command="train", known=["--weights", "DATA"])
    assert train(["train", "--pretrained", str(tmp_path)]) == ["train", str(tmp_path)]
    assert train(["train", str(tmp_path), "--pretrained"]) == ["train", str(tmp_path)]
    assert train(["train", "--pretrained", "--views", "1"]) == ["train", "--views", "1"]
    assert train(["train", "--pretrained", "net.pth"]) == ["train", "--weights", "net.pth"]
    assert train(["train", "--pretrained=none"]) == ["train", "--weights", "none"]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("learning_rate=.1", "learning_rate", 0.1),
        ("learning_rate=+1.", "learning_rate", 1.0),
        ("learning_rate=1E-3", "learning_rate", 0.001),
        ("epochs=05", "epochs", 5),
        ("probe=True", "probe", True),
        ("standardise=FALSE", "standardise", False),
    ],
)
def test_values_are_read_as_people_type_them(text: str, key: str, value: object) -> None:
    found = load_recipe("last-layer", parse_overrides([text])).to_dict()[key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["learning_rate=1e", "learning_rate=.", "learning_rate=١", "epochs=5.5", "probe=yes"])
def test_a_value_that_is_none_is_said_of_who_gave_it(text: str) -> None:
    with pytest.raises(UserError, match=r"^(learning_rate|epochs|probe) = \S+ is not ") as raised:
        load_recipe("last-layer", parse_overrides([text]))
    assert "last-layer" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "key"),
    [("lr", "learning_rate"), ("batch-size", "batch"), ("batch_size", "batch"), ("weight-decay", "weight_decay"),
     ("views", "views"), ("hiden", "hiden")],
)  # fmt: skip
def test_others_words_are_keys_too(word: str, key: str) -> None:
    assert recipe_key(word) == key


@pytest.mark.parametrize(("text", "units"), [("512", (512,)), ("[512, 64]", (512, 64)), ("512,64", (512, 64))])
def test_hidden_layers_are_said_in_any_way(text: str, units: tuple[int, ...]) -> None:
    assert load_recipe("last-layer", parse_overrides([f"hidden={text}"])).options.head.hidden == units


@pytest.mark.parametrize("overrides", [{"qqq": 1}, {"optimizer": "zzz"}])
def test_no_guess_is_wild(overrides: dict[str, object]) -> None:
    with pytest.raises(UserError) as raised:
        load_recipe("last-layer", overrides)
    assert "did you mean" not in str(raised.value)


def test_an_archive_that_is_here_is_laid_out_without_a_network(tmp_path: Path) -> None:
    """A classroom hands one file round."""
    root = grow(tmp_path / "pictures", {"train": 2, "valid": 1})
    archive = tmp_path / "class room.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for picture in root.rglob("*.jpg"):
            file.write(picture, picture.relative_to(tmp_path))
    before = archive.read_bytes()
    done = command("download", archive, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Laid out 6 in train, 3 in valid" in done.out
    assert archive.read_bytes() == before
    (tmp_path / "bad.zip").write_text("no archive")
    sentence = command("download", tmp_path / "bad.zip", "--out", tmp_path / "no").sentence
    assert "It is as it was: give another." in sentence
    assert (tmp_path / "bad.zip").read_text() == "no archive"
