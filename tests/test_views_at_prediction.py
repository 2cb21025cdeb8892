"""Views at prediction: folds say whether they pay, the checkpoint answers from them, and their time is shown."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import florilegium as fl
from curate.errors import UserError
from tests.commanding import Ended, command
from tests.test_head import clusters
from tests.training_ground import COLOURS, TINY, grow, small_checkpoint
from train.answer_time import seconds_of_answer, timed
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.evaluate import evaluate, evaluate_pictures
from train.export import export
from train.fold_assignment import deal_out
from train.heads import choice
from train.heads.choice import choose_head
from train.heads.held_out import HeldOutHeads, ViewsGain
from train.model_card import model_card
from train.optimising.layers import linears
from train.optimising.settings import FitSettings
from train.pictures import LabelledPicture
from train.predict import Prediction, Predictor, mean_probabilities, require_abstention
from train.training import TrainingReport, TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

VIEWS = 4


def held_out_heads(features: torch.Tensor, targets: NDArray[np.int64], fold: NDArray[np.int64]) -> HeldOutHeads:
    told = FitSettings(head="lda", strength=0.8)
    found = choose_head(features, targets, 4, told, fold, with_held_out=True).held_out
    assert found is not None
    return found


# ---- what folds say


def test_a_fold_is_asked_by_the_head_that_never_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels there move its head in no direction, but the others; and the gain can be counted by hand."""
    monkeypatch.setattr(choice, "COORDINATES", (False,))
    features, labels = clusters()
    targets = np.array(labels)
    fold = deal_out(targets, 5, 0)
    found = held_out_heads(features, targets, fold)
    poisoned = held_out_heads(features, np.where(fold == 2, (targets + 1) % 4, targets), fold)

    def moved(fold: int) -> float:
        """How far, in shares of its length: a temperature, which all folds have a part in, only lengthens it."""
        mine, theirs = (linears(one.heads[fold])[0].weight.numpy() for one in (found, poisoned))
        return float(np.abs(mine / np.linalg.norm(mine) - theirs / np.linalg.norm(theirs)).max())

    assert moved(2) < 1e-5 < 1e-2 < moved(1)
    own = fold == 2
    answers = mean_probabilities(found.heads[2], features[torch.from_numpy(own)]).argmax(axis=1)
    assert (answers == targets[own]).mean() > 0.8

    drawn = found.drawn(seed=3, most=50)
    seen = features[drawn].repeat(1, 2, 1) + 4 * torch.randn(
        50, 4, features.shape[2], generator=torch.Generator().manual_seed(0)
    )
    gain = found.gain(drawn, seen)
    weights, difference = np.zeros(50), np.zeros(50)
    for number, (at, views) in enumerate(zip(drawn, seen, strict=True)):
        logits = found.heads[int(found.fold[at])](views)
        together = int(torch.softmax(logits, dim=1).mean(dim=0).argmax()) == targets[at]
        difference[number] = int(together) - int(int(logits[0].argmax()) == targets[at])
        # balance = 1: classes count alike, whatever was drawn of each
        weights[number] = 1 / 4 / (targets[drawn] == targets[at]).sum()
    assert gain.gain == pytest.approx((weights * difference).sum())
    assert gain.error == pytest.approx(np.sqrt((weights**2 * difference**2).sum()))
    assert (gain.views, gain.pictures) == (4, 50)
    assert np.count_nonzero(difference) > 1


def test_without_being_asked_for_no_heads_of_folds_are_made() -> None:
    features, labels = clusters()
    targets = np.array(labels)
    assert choose_head(features, targets, 4, FitSettings(head="lda"), deal_out(targets, 5, 0)).held_out is None


def test_held_out_pictures_are_drawn_evenly_over_classes_by_the_seed() -> None:
    targets = np.repeat([0, 1, 2, 3], [400, 40, 6, 5])
    fold = np.arange(len(targets)) % 5
    fold[targets == 3] = -1
    found = HeldOutHeads({}, fold, targets, 1.0)
    drawn = found.drawn(7, 100)
    assert np.bincount(targets[drawn], minlength=4).tolist() == [54, 40, 6, 0]
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, found.drawn(7, 100))
    assert set(drawn) != set(found.drawn(8, 100))
    assert len(found.drawn(7)) == 446  # there are fewer than may be looked at
    # Of the last turn that some classes alone have a part in, another seed takes other classes
    even = HeldOutHeads({}, np.zeros(300, np.int64), np.arange(300) % 100, 1.0)
    last = [{int(one) for one in np.arange(300)[even.drawn(seed, 150)] % 100} for seed in range(4)]
    assert all(len(one) == 100 for one in last)
    twice = [np.bincount(even.targets[even.drawn(seed, 150)]).tolist() for seed in range(4)]
    assert all(sorted(counts) == [1] * 50 + [2] * 50 for counts in twice)
    assert len({tuple(counts) for counts in twice}) > 1


@pytest.mark.parametrize(
    ("right", "wrong", "pays"), [(0, 0, False), (1, 0, False), (2, 0, True), (3, 1, False), (4, 1, True), (2, 2, False)]
)
def test_views_pay_where_their_gain_is_greater_than_its_standard_error(right: int, wrong: int, pays: bool) -> None:
    """McNemar's: (right - wrong) against the root of (right + wrong). A single picture never pays."""
    n = 40
    # Every picture is of class 0, and a view says its class in its features
    head = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    zero, one = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 9.0])
    features = torch.stack([torch.stack([zero, zero, zero])] * n)
    features[:right] = torch.stack([one, zero, zero])
    features[right : right + wrong] = torch.stack([zero, one, one])
    held = HeldOutHeads({0: head}, np.zeros(n, np.int64), np.zeros(n, np.int64), 1.0)
    found = held.gain(np.arange(n), features)
    assert found.gain == pytest.approx((right - wrong) / n)
    assert found.error == pytest.approx(np.sqrt(right + wrong) / n)
    assert found.pays is pays


def test_a_single_picture_does_not_pay_whatever_it_weighs() -> None:
    for weight in np.random.default_rng(0).random(1000):
        assert not ViewsGain(4, float(weight), float(np.sqrt(weight**2)), 100).pays


# ---- a garden whose flowers stand at both ends of wide pictures: the clean view is cut out of the middle


def wide(root: Path, counts: dict[str, int]) -> Path:
    source = np.random.default_rng(5)
    for split, count in counts.items():
        for label, colour in list(COLOURS.items())[:3]:
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = source.integers(60, 90, (40, 120, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).resize((480, 160))
                draw = ImageDraw.Draw(image)
                for left in (0, 320):
                    for _ in range(6):
                        x, y = left + int(source.integers(10, 100)), int(source.integers(0, 110))
                        draw.ellipse((x, y, x + 50, y + 50), fill=colour)
                image.save(root / split / label / f"picture {number}.png")
    return root


@dataclasses.dataclass(frozen=True)
class Trained:
    root: Path
    said: Ended
    file: Path
    checkpoint: Checkpoint
    runs: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("wide")
    root = wide(place / "data", {"train": 8, "valid": 6, "test": 2})
    said = command(
        "train", root, "--backbone", TINY, "--weights", "none", "--head", "auto", "--set", f"asked_views={VIEWS}",
        "--models", place / "models", "--runs", place / "runs", "--device", "cpu",
    )  # fmt: skip
    assert said.code == 0, said.err
    (file,) = (place / "models").glob("*.pth")
    return Trained(root, said, file, load_checkpoint(file), place / "runs")


def test_where_they_pay_the_report_says_so_with_their_time(trained: Trained) -> None:
    found = re.search(
        r"4 views answered right \+([\d.]+)% ± ([\d.]+)% more often than one, on 24 held-out pictures: ([\d,]+) ms a "
        r"picture in place of ([\d,]+)\. Answers come from 4, unless --views says otherwise\.",
        trained.said.out,
    )
    assert found is not None, trained.said.out
    assert float(found[1]) > float(found[2]) > 0
    assert int(found[3]) >= int(found[4]) >= 0
    assert ", each answer the mean of 4 views." in trained.said.out
    (log,) = trained.runs.glob("*/log.jsonl")
    finished = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert finished["asked_views"] == VIEWS
    one, several = finished["answer_seconds"]
    assert 0 < one < several
    assert finished["views_gain"]["gain"] == pytest.approx(float(found[1]) / 100, abs=1e-3)
    assert "views" in finished["parts"]


def test_the_checkpoint_answers_from_them_everywhere(trained: Trained) -> None:
    """Its figures on valid, `evaluate`, `predict`, `predict-random` and the API, unless another number is given."""
    assert trained.checkpoint.asked_views == VIEWS
    valid = trained.checkpoint.metrics["valid"]
    measured = evaluate(trained.file, trained.root, split="valid", device="cpu")
    assert measured.views == VIEWS
    np.testing.assert_array_equal(measured.accuracy.confusion, valid.confusion)
    clean = evaluate(trained.file, trained.root, split="valid", device="cpu", views=1)
    assert clean.views == 1
    assert clean.accuracy.correct < valid.correct  # the flowers are not in the middle
    predictor = Predictor(trained.checkpoint, "cpu")
    assert predictor.views.count == VIEWS
    paths = [Path(path) for path in measured.paths]
    for answer, row in zip(predictor.predict_files(paths, top_k=3), measured.probabilities, strict=True):
        assert isinstance(answer, Prediction)
        given = {guess.label: guess.probability for guess in answer.guesses}
        np.testing.assert_allclose([given[label] for label in measured.labels], row, atol=1e-4)
    model = fl.load(trained.file, device="cpu")
    asked = model.predict(paths[0], top_k=3)
    assert asked == model.predict(paths[0], top_k=3, views=VIEWS)
    assert asked != model.predict(paths[0], top_k=3, views=1)
    (drawn,) = model.predict_random(trained.root, seed=1, top_k=3)
    assert isinstance(drawn, Prediction)
    assert [drawn] == list(model.predict(drawn.path, top_k=3, views=VIEWS))
    image = Image.open(paths[0]).convert("RGB")
    np.testing.assert_array_equal(model.probabilities([image]), Predictor(trained.checkpoint, "cpu", views=VIEWS)
                                  .probabilities([image]))  # fmt: skip


def test_probabilities_are_calibrated_from_as_many_views(trained: Trained) -> None:
    """The temperature is the best for the mean over views, and the thresholds are of such answers."""
    found, calibration = (
        evaluate(trained.file, trained.root, split="valid", device="cpu"),
        trained.checkpoint.calibration,
    )
    assert calibration is not None
    confidence = np.sort(found.probabilities.max(axis=1))[::-1]
    np.testing.assert_allclose(calibration.confidence, confidence, atol=1e-5)
    assert calibration.right.sum() == found.accuracy.correct
    pictures = [
        LabelledPicture(Path(path), found.labels[at]) for path, at in zip(found.paths, found.truth, strict=True)
    ]

    # A picture more of a wrong answer is counted, so that a faultless valid does not ask for temperature 0
    n, classes = found.probabilities.shape
    targets = np.full((n, classes), 1 / (n + 2) / (classes - 1))
    targets[np.arange(n), found.truth] = 1 - 1 / (n + 2)

    def loss(factor: float) -> float:
        other = dataclasses.replace(calibration, temperature=calibration.temperature * factor)
        changed = dataclasses.replace(trained.checkpoint, calibration=other)
        given = evaluate_pictures(changed, pictures, device="cpu").probabilities
        return float(-(targets * np.log(given)).sum(axis=1).mean())

    assert loss(1.0) < min(loss(0.8), loss(1.25))


def test_abstaining_demands_the_views_that_valid_was_measured_with(trained: Trained) -> None:
    answered = require_abstention(trained.checkpoint, 0.1)
    assert answered is not None
    assert answered == require_abstention(trained.checkpoint, 0.1, VIEWS)
    wanted = r"found with 4 views and says nothing of 1: use --views 4\."
    with pytest.raises(UserError, match=wanted):
        Predictor(trained.checkpoint, "cpu", views=1, abstain=0.1)
    with pytest.raises(UserError, match=wanted):
        evaluate(trained.file, trained.root, device="cpu", views=1, abstain=0.1)
    assert evaluate(trained.file, trained.root, split="valid", device="cpu", abstain=0.1).abstaining is not None


def test_predict_and_evaluate_show_what_views_cost(trained: Trained, tmp_path: Path) -> None:
    picture = next((trained.root / "valid").rglob("*.png"))
    said = command("predict", picture, "--checkpoint", trained.file, "--device", "cpu")
    assert re.search(r"Each answer is the mean of 4 views: [\d,]+ ms a picture\. --views 1 looks once\.", said.out)
    assert "mean of" not in command("predict", picture, "--checkpoint", trained.file, "--views", 1).out.replace(
        "each answer the mean of 4 views", ""
    )
    lines = [json.loads(command("predict", picture, "--checkpoint", trained.file, "--json", *more).out) for more in
             ([], ["--views", "1"])]  # fmt: skip
    assert lines[0]["views"] == VIEWS
    assert 0 < lines[0]["seconds"] < 100
    assert lines[1]["views"] == 1
    assert "seconds" not in lines[1]

    models = tmp_path / "models"
    told = ("evaluate", trained.root, "--checkpoint", trained.file, "--split", "valid", "--models", models)
    first, again = (command(*told, "--out", tmp_path / name) for name in ("first", "again"))
    assert re.search(
        r"Each answer is the mean of 4 views; 72 went through a network, in [\d.]+ s: [\d,]+ ms each\.", first.out
    )
    assert "Each answer is the mean of 4 views, all of which the bank had." in again.out
    for name, computed in (("first", 72), ("again", 0)):
        figures = json.loads((tmp_path / name / "evaluation.json").read_text(encoding="utf-8"))
        assert (figures["views"], figures["computed_views"]) == (VIEWS, computed)
        assert figures["seconds"] > 0


def test_the_same_run_again_computes_nothing(trained: Trained) -> None:
    told = TrainOptions(
        backbone=TINY, weights="none", head=FitSettings(head="auto"), asked_views=VIEWS, models=trained.file.parent,
        device="cpu",
    )  # fmt: skip
    again = train_head(trained.root, told)
    assert again.computed == 0
    assert again.asked_views == VIEWS
    assert again.views_gain is not None
    assert load_checkpoint(again.checkpoint).recipe["views_gain"] == trained.checkpoint.recipe["views_gain"]
    again.checkpoint.unlink()


@pytest.mark.thorough
def test_an_export_computes_one_view_and_says_so(trained: Trained, tmp_path: Path) -> None:
    pictures = sorted((trained.root / "valid").rglob("*.png"))
    report = export(trained.file, "torchscript", pictures, out=tmp_path)
    assert report.largest_difference <= 1e-4  # of the checkpoint's answers from one view
    beside = json.loads(report.beside.read_text(encoding="utf-8"))
    assert beside["views"]["computed"] == 1
    assert beside["views"]["figures_from"] == VIEWS
    sentence = "The file computes one view of a picture. The checkpoint's own answers are the mean of 4 views"
    assert beside["views"]["meaning"].startswith(sentence)
    said = command("export", trained.root, "--format", "torchscript", "--checkpoint", trained.file, "--out", tmp_path)
    assert sentence in said.out
    one = save_checkpoint(dataclasses.replace(trained.checkpoint, asked_views=1), tmp_path / "one")
    assert export(one, "torchscript", pictures, out=tmp_path / "one").remark == ""


def test_the_card_says_of_how_many_views_its_figures_are(trained: Trained, tmp_path: Path) -> None:
    mine = tmp_path / trained.file.name
    mine.write_bytes(trained.file.read_bytes())
    assert "On valid each answer is the mean of 4 views of the picture" in model_card(mine)
    evaluate(mine, trained.root, split="test", device="cpu", views=2)
    assert "On test each answer was the mean of 2 views of the picture." in model_card(mine)
    one = save_checkpoint(dataclasses.replace(trained.checkpoint, asked_views=1), tmp_path)
    assert "On valid each answer is that of one view of the picture" in model_card(one)


# ---- where they do not pay, and where nothing tells


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("plain"), {"train": 8, "valid": 3})


def train(root: Path, models: Path, **changes: Any) -> TrainingReport:
    told = {"head": FitSettings(head="ridge"), "views": 2, "asked_views": VIEWS, **changes}
    return train_head(root, TrainOptions(backbone=TINY, weights="none", models=models, device="cpu", **told))


def test_where_they_do_not_pay_answers_come_from_one_view(plain: Path, tmp_path: Path) -> None:
    from commands import training_reports
    from commands.console import onto
    from pages.report.said import SaidByCommand

    report = train(plain, tmp_path)
    assert report.views_gain is not None
    assert not report.views_gain.pays
    assert (report.asked_views, report.answer_seconds) == (1, None)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.asked_views == 1
    assert Predictor(checkpoint, "cpu").views.count == 1
    said = SaidByCommand()
    with onto(said):
        training_reports.training(report)
    assert any(line.endswith("no more than chance gives, so answers come from one.") for line in said.lines)
    assert not any("mean of" in line and line.startswith("Valid") for line in said.lines)


@pytest.mark.parametrize(
    ("changes", "pictures"), [({"head": FitSettings(epochs=2)}, 8), ({}, 1)], ids=["in steps", "nothing to hold out"]
)
def test_what_was_not_tried_is_said(changes: dict[str, Any], pictures: int, tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": pictures, "valid": 2})
    report = train(root, tmp_path / "models", **changes)
    assert report.views_gain is None
    assert any(note.startswith("Answers from 4 views were not tried") for note in report.notes)
    assert load_checkpoint(report.checkpoint).asked_views == 1


def test_one_view_is_tried_unless_asked_for(plain: Path, tmp_path: Path) -> None:
    report = train(plain, tmp_path, asked_views=1)
    assert report.views_gain is None
    assert not any("were not tried" in note for note in report.notes)
    assert set(report.seconds) == {"load", "features", "head", "save"}


# ---- the file


def test_older_checkpoints_answer_from_one_view(tmp_path: Path) -> None:
    small = small_checkpoint()
    path = save_checkpoint(small, tmp_path)
    content = torch.load(path, weights_only=True)
    assert content["version"] == 2  # whoever reads 2 answers as it does
    del content["asked_views"]
    torch.save(content, tmp_path / "older.pth")
    assert load_checkpoint(tmp_path / "older.pth").asked_views == 1
    several = save_checkpoint(dataclasses.replace(small, asked_views=3), tmp_path)
    assert torch.load(several, weights_only=True)["version"] == 4  # a reader of 3 would answer from one
    assert load_checkpoint(several).asked_views == 3


# ---- time


def test_only_the_wait_for_answers_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def answers() -> Any:
        for number in range(3):
            clock[0] += 2.0
            yield number

    waited = []
    for answer, seconds in timed(answers()):
        waited.append((answer, seconds))
        clock[0] += 100.0  # what the one who asked did with it
    assert waited == [(0, 2.0), (1, 2.0), (2, 2.0)]


def test_an_answer_is_timed_from_its_file(trained: Trained) -> None:
    files = sorted((trained.root / "valid").rglob("*.png"))[:3]
    assert 0 < seconds_of_answer(trained.checkpoint, files, 1, "cpu") < 10
