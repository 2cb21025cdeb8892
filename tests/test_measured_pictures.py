"""Which pictures a checkpoint is measured on: the split that exists, or a plain folder as it is."""

import json
import shlex
import shutil
import unicodedata
from pathlib import Path

import pytest

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.split import split
from tests.commanding import command
from tests.training_ground import TINY, grow
from train.evaluate import evaluate
from train.pictures import classes_at_hand, draw_held_out, pictures_to_measure, spelt_as
from train.training import TrainOptions, train_head


def measured(root: Path, split: str | None = None, *, plain: bool = False) -> tuple[int, str]:
    pictures, taken = pictures_to_measure(root, split, plain=plain)
    return len(pictures), taken


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"train": 2, "valid": 1, "test": 3}, (9, "test")),
        ({"train": 2, "val": 1}, (3, "valid")),
        ({"test": 3}, (9, "test")),
        ({"raw": 2, "Testing": 1}, (3, "test")),
        ({".": 2}, (6, "")),
        ({"raw": 2}, (6, "")),
    ],
)
def test_the_split_that_exists_is_taken(tmp_path: Path, there: dict[str, int], taken: tuple[int, str]) -> None:
    assert measured(grow(tmp_path / "data", there)) == taken


def test_train_alone_says_what_to_do(tmp_path: Path) -> None:
    root = grow(tmp_path / "my data", {"train": 2})
    with pytest.raises(UserError, match=r"has no valid pictures: run `.* split '.*my data'`, which takes them out of"):
        measured(root)
    assert measured(root, "train") == (6, "train")


def test_a_split_that_is_lacking_names_the_one_that_is_there(tmp_path: Path) -> None:
    root = grow(tmp_path, {"train": 2, "val": 1})
    with pytest.raises(UserError, match="has no test pictures: take valid, with --split valid"):
        measured(root, "test")


def test_a_test_without_labels_is_not_measured_on(tmp_path: Path) -> None:
    root = grow(tmp_path, {"train": 2, "valid": 1})
    (root / "test").mkdir()
    shutil.copy(next((root / "train").rglob("*.jpg")), root / "test" / "1.jpg")
    assert measured(root) == (3, "valid")
    assert draw_held_out(open_dataset(root), 1)[1] == "valid"
    with pytest.raises(UserError, match=r"has no test pictures: those in its folder have no labels\. take valid"):
        measured(root, "test")


def test_class_folders_without_a_picture_are_not_said_to_lack_labels(tmp_path: Path) -> None:
    root = grow(tmp_path, {"train": 1, "valid": 1})
    for file in (root / "train").rglob("*.jpg"):
        file.unlink()
    with pytest.raises(UserError, match=r"has no train pictures: (?!those)"):
        measured(root, "train")


def test_a_flat_folder_that_was_split_is_measured_on_its_test_unless_asked_for_all(tmp_path: Path) -> None:
    root = grow(tmp_path / "flat", {".": 10})
    split(root)
    assert measured(root) == (3, "test")
    assert measured(root, plain=True) == (30, "")


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = grow(tmp_path / "data", {"train": 4, "val": 2})
    other = grow(tmp_path / "others", {".": 2})
    trained = command("train", root, "--backbone", TINY, "--weights", "none", "--views", "1", "--device", "cpu")
    assert trained.code == 0, trained.err
    for words, said in (
        ((root,), f"on valid of {root}. Next: "),
        ((root, "--split", "val"), f"on valid of {root}. Next: "),
        ((root, "--split", "validation"), f"on valid of {root}. Next: "),
        ((other,), f"on all pictures of {other}. Next: "),
        (("--data", other), f"on all pictures of {other}. Next: "),
    ):
        done = command("evaluate", *words, "--device", "cpu")
        assert done.code == 0, (words, done.err)
        assert said in done.out.splitlines()[-1]
        assert "(6 of 6" in done.out or " of 6; 95%" in done.out


def test_a_class_in_another_unicode_form_is_the_same_class(tmp_path: Path) -> None:
    """A Mac writes "Ä" as two code points: a right answer stays right on its folders."""
    root = grow(tmp_path / "data", {"train": 4, "valid": 2}, classes=4)
    options = TrainOptions(backbone=TINY, weights="none", views=1, device="cpu", models=tmp_path / "models")
    checkpoint = train_head(root, options).checkpoint
    before = evaluate(checkpoint, root, device="cpu", split="valid").accuracy.correct
    for folder in (root / "train", root / "valid"):
        (folder / "Ähre").rename(folder / unicodedata.normalize("NFD", "Ähre"))
    again = evaluate(checkpoint, root, device="cpu", split="valid")
    assert (again.accuracy.correct, again.accuracy.n) == (before, 8)
    spelt = {picture.label for picture in spelt_as(["Ähre"], pictures_to_measure(root, "valid")[0])}
    assert spelt == {"rose", "iris", "sun flower", "Ähre"}


def test_a_class_in_two_unicode_forms_can_be_trained_and_measured(tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": 3, "valid": 2}, classes=4)
    (root / "valid" / "Ähre").rename(root / "valid" / unicodedata.normalize("NFD", "Ähre"))
    options = TrainOptions(backbone=TINY, weights="none", views=1, device="cpu", models=tmp_path / "models")
    report = train_head(root, options)
    assert (report.classes, report.valid.n) == (4, 8)


def with_an_untaught_class(root: Path, split_name: str) -> Path:
    """Pictures of a class that train lacks: 2 among the 6 of a split."""
    grow(root, {"train": 6, "valid": 2, "test": 2})
    for other in {"train", "valid", "test"} - {split_name}:
        shutil.rmtree(root / other / "rose")
    return root


@pytest.mark.thorough
@pytest.mark.parametrize("split_name", ["test", "valid"])
def test_a_class_that_train_lacks_ends_no_way(split_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before training; figures leave it out and say what they were with it; nothing that follows fails."""
    monkeypatch.chdir(tmp_path)
    root = with_an_untaught_class(tmp_path / "data", split_name)
    assert "never learnt, nor named right: rose (2)" in command("split", root).out
    trained = command("train", root, "--backbone", TINY, "--weights", "none", "--views", "1", "--device", "cpu")
    assert trained.code == 0, trained.err
    left_out = "Valid has pictures of classes that train lacks, which are left out: rose (2)."
    assert (left_out in trained.out) == (split_name == "valid")
    for words in ((), ("--checkpoint", next((tmp_path / "models").glob("*.pth")))):
        done = command("evaluate", root, "--split", split_name, *words, "--out", tmp_path / "out", "--device", "cpu")
        assert done.code == 0, done.err
        figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        assert (figures["n"], figures["untaught"]) == (4, {"rose": 2})
        share = figures["correct"] / 6
        assert (
            f"as train has no such class: rose (2). Counted as mistakes they make the accuracy {share:.2%}" in done.out
        )
    assert command("predict-random", root, "--device", "cpu").code == 0
    dataset = open_dataset(root)
    assert classes_at_hand(dataset) == {"iris", "sun flower"}
    assert {draw_held_out(dataset, seed)[0].label for seed in range(40)} == {"iris", "sun flower"}


def test_a_class_that_train_has_and_the_checkpoint_lacks_is_refused_still(tmp_path: Path) -> None:
    root = with_an_untaught_class(tmp_path / "data", "test")
    options = TrainOptions(backbone=TINY, weights="none", views=1, device="cpu", models=tmp_path / "models")
    checkpoint = train_head(root, options).checkpoint
    grow(root, {"train": 2})
    with pytest.raises(UserError, match=r"has 1 class that the checkpoint .* lacks"):
        evaluate(checkpoint, root, device="cpu")


@pytest.mark.parametrize("there", [("test",), ("val",), ("valid", "test")])
def test_nothing_to_learn_from_is_said_and_the_way_out_works(there: tuple[str, ...], tmp_path: Path) -> None:
    root = grow(tmp_path / "data", dict.fromkeys(there, 6))
    first = root / there[0]
    for words in ("split", "split --freeze ''", "train", "clean"):
        done = command(*shlex.split(words), root)
        said = done.out.splitlines()[-1] if words == "clean" else done.sentence
        assert (
            f"alone, and so nothing to learn from: to have {there[0]}/ divided, rename {first} to {root / 'raw'}"
            in said
        )
        assert "Next" not in said
    first.rename(root / "raw")
    assert command("split", root).code == 0
    assert {folder.split for folder in open_dataset(root).class_folders()} >= {"train", None}
