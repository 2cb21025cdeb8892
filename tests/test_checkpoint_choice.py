"""Which checkpoint answers: the one for the classes at hand, and no trial on other pictures for ever."""

import dataclasses
import json
from pathlib import Path

import pytest

import florilegium
from curate.errors import UserError
from tests.commanding import command
from tests.training_ground import accuracy, grow, picture, small_checkpoint
from train.checkpoint import Checkpoint, save_checkpoint
from train.checkpoint_choice import best_checkpoint
from train.evaluate import evaluate


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    return small_checkpoint()


def saved(small: Checkpoint, models: Path, correct: int, n: int, *, day: int, of: str, labels: str = "") -> Path:
    """A checkpoint of that figure, made on a day of January, measured on the valid pictures that `of` names."""
    names = labels.split() or small.labels
    made = dataclasses.replace(
        small, labels=names, names=names, metrics={"valid": accuracy(correct, n)}, created=f"2026-01-{day:02}T00:00:00",
        dataset={"fingerprint": f"{day:02x}" * 32, "valid_fingerprint": of * 32},
    )  # fmt: skip
    return save_checkpoint(made, models)


def test_a_trial_on_other_pictures_does_not_win_for_ever(small: Checkpoint, tmp_path: Path) -> None:
    """Twelve pictures, all right, then two hundred: 100% of other pictures says nothing of these."""
    trial = saved(small, tmp_path, 12, 12, day=1, of="aa")
    assert best_checkpoint(tmp_path) == trial
    good = saved(small, tmp_path, 190, 200, day=2, of="bb")
    assert best_checkpoint(tmp_path) == good
    # Of one valid set, the best; whether train has grown meanwhile is no matter
    saved(small, tmp_path, 180, 200, day=3, of="bb")
    assert best_checkpoint(tmp_path) == good
    equal = saved(small, tmp_path, 190, 200, day=4, of="bb")
    assert best_checkpoint(tmp_path) == equal


def test_a_damaged_file_or_another_programs_is_passed_over(small: Checkpoint, tmp_path: Path) -> None:
    good = saved(small, tmp_path, 190, 200, day=2, of="bb")
    (tmp_path / "model_99.00.pth").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "model_99.50.pth").write_text("not a checkpoint")
    assert best_checkpoint(tmp_path) == good
    good.unlink()
    with pytest.raises(UserError, match="cut off, damaged, or not one of ours"):
        evaluate(best_checkpoint(tmp_path), grow(tmp_path / "data", {"test": 1}))


def test_the_classes_of_the_dataset_decide(small: Checkpoint, tmp_path: Path) -> None:
    flowers = saved(small, tmp_path, 190, 200, day=1, of="aa", labels="rose iris tulip")
    more = saved(small, tmp_path, 199, 200, day=2, of="bb", labels="rose iris lily")
    assert best_checkpoint(tmp_path, ["rose", "tulip"]) == flowers
    assert best_checkpoint(tmp_path, ["iris", "rose"]) == more
    assert best_checkpoint(tmp_path, ["tulip", "iris", "rose"]) == flowers
    with pytest.raises(UserError, match=r"knows the classes of these pictures \(cat\): the newest, .*model_99.50.pth"):
        best_checkpoint(tmp_path, ["cat"])


# Whichever picture is drawn: of one seed it is of a class that the other checkpoint lacks, of another it is not
@pytest.mark.thorough
@pytest.mark.parametrize("words", [("evaluate",), *(("predict-random", "--seed", str(seed)) for seed in range(4))])
def test_a_dataset_is_answered_for_by_the_checkpoint_that_knows_its_classes(
    words: tuple[str, ...], small: Checkpoint, tmp_path: Path
) -> None:
    """Two datasets and one folder of checkpoints: the better one knows other classes."""
    data, models = grow(tmp_path / "other", {"test": 2}), tmp_path / "models"
    knowing = dataclasses.replace(
        small, labels=["iris", "rose", "sun flower"], names=["Iris", "Rose", "Sun flower"],
        metrics={"valid": accuracy(10, 20)},
    )  # fmt: skip
    right = save_checkpoint(knowing, models)
    wrong = saved(small, models, 20, 20, day=2, of="bb")
    name, *options = words
    done = command(name, data, *options, "--models", models, "--device", "cpu")
    assert done.code == 0, done.err
    assert str(right) in done.out
    assert str(wrong) not in done.out
    # Named outright it is refused, and the one that fits is offered
    refused = command(name, data, *options, "--models", models, "--checkpoint", wrong, "--device", "cpu").sentence
    assert f"that the checkpoint {wrong} lacks" in refused
    assert f"{right} knows them all: --checkpoint takes it." in refused
    if name == "predict-random":
        with pytest.raises(UserError, match="knows them all"):
            florilegium.Model(wrong, device="cpu").predict_random(data, seed=int(options[-1]))


def test_every_answer_names_the_checkpoint(small: Checkpoint, tmp_path: Path) -> None:
    file = saved(small, tmp_path, 19, 20, day=1, of="aa")
    rose = tmp_path / "rose.jpg"
    picture((200, 40, 90), 1).save(rose)
    told = command("predict", rose, "--models", tmp_path, "--device", "cpu")
    assert f"That is what {file} says, which knows 3 classes; on valid 95.00% of 20." in told.out
    both = command("predict", rose, tmp_path / "absent.jpg", "--models", tmp_path, "--device", "cpu", "--json")
    assert [json.loads(line)["checkpoint"] for line in both.out.splitlines()] == [str(file)] * 2
