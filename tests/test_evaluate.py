"""Evaluation and prediction say the same at one temperature; test is counted before it is opened; files hold it all."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from curate.errors import UserError
from curate.image import BrokenImage
from tests.forking import Forks
from tests.training_ground import COLOURS, TINY, grow, picture
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.evaluate import evaluate
from train.evaluation_files import evaluation_figures, write_evaluation
from train.features.extract import extract
from train.features.prepare import PictureRef
from train.inputs import expand
from train.optimising.settings import FitSettings
from train.predict import Prediction, Predictor
from train.test_log import openings_file, read_openings
from train.training import TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colours alone tell the classes apart, and a part of each class has another's: errors on every split."""
    root = grow(tmp_path_factory.mktemp("garden"), {"train": 18, "valid": 8, "test": 8})
    labels = list(COLOURS)[:3]
    for split in ("train", "valid", "test"):
        for number, label in enumerate(labels):
            other = COLOURS[labels[(number + 1) % 3]]
            for index in range(2):
                picture(other, 7_000_000 + len(split) * 100 + number * 10 + index).save(
                    root / split / label / f"sport {index}.jpg"
                )
    return root


@pytest.fixture(scope="module")
def checkpoint(garden: Path) -> Path:
    options = TrainOptions(
        backbone=TINY, weights="none", views=1, models=garden / "models", device="cpu", head=FitSettings(epochs=12)
    )
    return train_head(garden, options).checkpoint


def test_the_temperature_is_fitted_on_valid_and_kept(garden: Path, checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.calibration is not None
    found = evaluate(checkpoint, garden, split="valid", device="cpu", bank=garden / "models" / "bank")
    assert found.reliance.temperature == loaded.temperature == loaded.calibration.temperature != 1
    assert found.reliance.error == pytest.approx(loaded.calibration.error_after, abs=1e-6)
    assert found.reliance.error_at_one == pytest.approx(loaded.calibration.error_before, abs=1e-6)
    assert found.reliance.cross_entropy < found.reliance.cross_entropy_at_one
    assert loaded.calibration.right.sum() == found.accuracy.correct
    np.testing.assert_allclose(np.sort(found.probabilities.max(axis=1))[::-1], loaded.calibration.confidence, atol=1e-5)
    # Against the features themselves
    paths = [PictureRef(Path(path)) for path in found.paths]
    features = extract(
        loaded.backbones[0], paths, bank=garden / "another", device=torch.device("cpu"), precision="float32"
    ).features[:, 0]
    logits = loaded.head(features).detach().numpy().astype(np.float64)
    np.testing.assert_allclose(found.probabilities, softmax(logits / loaded.temperature, axis=1), atol=1e-5)


def test_accuracy_does_not_depend_on_the_temperature(garden: Path, checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    bare = dataclasses.replace(loaded, calibration=None)
    assert bare.temperature == 1
    path = save_checkpoint(bare, garden / "models")
    with_it, without = (
        evaluate(file, garden, split="valid", device="cpu", bank=garden / "models" / "bank")
        for file in (checkpoint, path)
    )
    assert with_it.accuracy.to_dict() == without.accuracy.to_dict()
    assert without.reliance.error == without.reliance.error_at_one
    with pytest.raises(UserError, match="no threshold"):
        Predictor(bare, "cpu", abstain=0.9)


def test_a_checkpoint_without_calibration_loads(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["calibration"]
    torch.save(content, tmp_path / "bare.pth")
    assert load_checkpoint(tmp_path / "bare.pth").temperature == 1


@pytest.mark.thorough
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("backbone", [TINY, f"{TINY}+timm:test_efficientnet"])
def test_prediction_gives_the_evaluations_probabilities(
    views: int, backbone: str, garden: Path, tmp_path: Path
) -> None:
    options = TrainOptions(
        backbone=backbone, weights="none", views=1, models=tmp_path, device="cpu", head=FitSettings(epochs=3)
    )
    # One large JPEG, which networks of different size would decode at different scales
    root = grow(tmp_path / "data", {"train": 4, "valid": 2})
    picture((20, 200, 90), 5, (900, 1300)).save(root / "valid" / "rose" / "large.jpg")
    file = train_head(root, options).checkpoint
    found = evaluate(file, root, split="valid", device="cpu", bank=tmp_path / "bank", views=views)
    again = evaluate(file, root, split="valid", device="cpu", views=views)
    np.testing.assert_allclose(found.probabilities, again.probabilities, atol=1e-6)
    predictor = Predictor.from_checkpoint(file, "cpu", views=views)
    answers = list(predictor.predict_files([Path(path) for path in found.paths], top_k=3))
    for answer, row in zip(answers, found.probabilities, strict=True):
        assert isinstance(answer, Prediction)
        given = {guess.label: guess.probability for guess in answer.guesses}
        np.testing.assert_allclose([given[label] for label in found.labels], row, atol=1e-4)
    if views == 3:
        one = evaluate(file, root, split="valid", device="cpu", bank=tmp_path / "bank")
        assert np.abs(one.probabilities - found.probabilities).max() > 1e-3
        with pytest.raises(UserError, match="--views 1"):
            Predictor.from_checkpoint(file, "cpu", views=2, abstain=0.5)


def test_views_of_pictures_in_memory_are_the_same_each_time(garden: Path, checkpoint: Path) -> None:
    predictor = Predictor.from_checkpoint(checkpoint, "cpu", views=4)
    image = Image.open(next((garden / "test").rglob("*.jpg"))).convert("RGB")
    one, other = (predictor.probabilities([image, image]) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one[0], one[1], atol=1e-6)
    np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(UserError, match="--views 0"):
        Predictor.from_checkpoint(checkpoint, "cpu", views=0)


@pytest.mark.thorough
def test_below_the_threshold_it_is_not_sure(garden: Path, checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.calibration is not None
    # As if each picture of valid had been there twenty times: thirty are too few to show much
    often = dataclasses.replace(
        loaded.calibration,
        confidence=np.repeat(loaded.calibration.confidence, 20),
        right=np.repeat(loaded.calibration.right, 20),
    )
    loaded = dataclasses.replace(loaded, calibration=often)
    file, wanted = save_checkpoint(loaded, tmp_path), 0.85
    evaluation = evaluate(file, garden, split="valid", device="cpu", abstain=wanted)
    found, strangers = evaluation.abstaining, evaluation.strangers
    assert found is not None
    assert strangers is not None
    assert found.found.answered / 20 - strangers <= found.answered <= found.found.answered / 20 < 30
    predictor = Predictor(loaded, "cpu", abstain=wanted)
    paths = sorted((garden / "valid").rglob("*.jpg"))
    answers = [answer for answer in predictor.predict_files(paths) if isinstance(answer, Prediction)]
    sure = [answer for answer in answers if answer.sure]
    assert len(sure) == found.answered > 0
    assert sum(answer.guesses[0].label == Path(answer.path).parent.name for answer in sure) == found.right
    assert sum(answer.is_stranger for answer in answers) == strangers
    on_test = evaluate(file, garden, split="test", device="cpu", abstain=wanted)
    assert on_test.abstaining is not None
    assert on_test.abstaining.found == found.found  # test has no say in it


@pytest.mark.thorough
def test_test_is_counted_before_it_is_opened(garden: Path, checkpoint: Path, tmp_path: Path, forks: Forks) -> None:
    mine = tmp_path / checkpoint.name
    mine.write_bytes(checkpoint.read_bytes())
    assert evaluate(mine, garden, split="valid", device="cpu").openings == 0
    assert not openings_file(mine).exists()
    first = evaluate(mine, garden, split="test", device="cpu")
    assert (first.openings, evaluate(mine, garden, split="test", device="cpu").openings) == (1, 2)
    with pytest.raises(UserError, match="no share"):
        evaluate(mine, garden, split="test", device="cpu", abstain=7)  # a slip that opened nothing
    code = """
import os, signal, sys
from pathlib import Path
from train import evaluate
evaluate.side_by_side = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
evaluate.evaluate(Path(sys.argv[1]), Path(sys.argv[2]), split="test", device="cpu")
"""
    killed = forks.start(code, mine, garden).wait()
    assert killed.returncode == -9
    assert evaluate(mine, garden, split="test", device="cpu").openings == 4
    entries = [json.loads(openings_file(mine).read_text())["test"][number] for number in (0, 1)]
    assert [entry["correct"] for entry in entries] == [first.accuracy.correct] * 2
    assert entries[0]["fingerprint"] == first.fingerprint
    assert mine.read_bytes() == checkpoint.read_bytes()
    # Another checkpoint that takes the same name later has its own count
    head = torch.nn.Linear(96, 3).eval().requires_grad_(False)
    mine.unlink()
    other = save_checkpoint(dataclasses.replace(load_checkpoint(checkpoint), head=head), tmp_path)
    other.rename(mine)
    assert evaluate(mine, garden, split="test", device="cpu").openings == 1


def test_a_record_that_cannot_be_kept_keeps_test_closed(garden: Path, checkpoint: Path, tmp_path: Path) -> None:
    mine = tmp_path / checkpoint.name
    mine.write_bytes(checkpoint.read_bytes())
    openings_file(mine).write_text("{ no json")
    with pytest.raises(UserError, match=r"opened\.json is damaged"):
        evaluate(mine, garden, split="test", device="cpu")
    openings_file(mine).unlink()
    openings_file(mine).mkdir()
    with pytest.raises(UserError, match="can't be"):
        evaluate(mine, garden, split="test", device="cpu")
    assert read_openings(checkpoint, "another") == []


def test_the_files_hold_what_was_found(garden: Path, checkpoint: Path, tmp_path: Path) -> None:
    found = evaluate(checkpoint, garden, split="valid", device="cpu", abstain=0.5)
    files = write_evaluation(found, tmp_path / "figures")
    assert sorted(path.name for path in tmp_path.joinpath("figures").iterdir()) == sorted(path.name for path in files)
    figures = json.loads((tmp_path / "figures" / "evaluation.json").read_text())
    signature, beside = figures.pop("florilegium_sha256"), figures.pop("files_sha256")
    assert len(signature) == 64
    assert {name: [hashlib.sha256((tmp_path / "figures" / name).read_bytes()).hexdigest()] for name in beside} == beside
    assert figures == json.loads(json.dumps(evaluation_figures(found)))
    assert figures["top1"] == found.accuracy.top1
    assert figures["calibration"]["temperature"] == found.reliance.temperature
    tables = {
        name: list(csv.reader(io.StringIO((tmp_path / "figures" / f"{name}.csv").read_text(encoding="utf-8"))))
        for name in ("classes", "confusion", "confused", "pictures")
    }
    assert tables["confusion"][0][1:] == found.labels
    counts = np.array([[int(cell) for cell in row[1:]] for row in tables["confusion"][1:]])
    np.testing.assert_array_equal(counts, found.accuracy.confusion)
    assert sum(int(row[4]) for row in tables["confused"][1:]) == found.accuracy.n - found.accuracy.correct
    assert sum(int(row[3]) for row in tables["classes"][1:]) == found.accuracy.correct
    assert sum(int(row[5]) for row in tables["pictures"][1:]) == found.accuracy.correct
    for row, probabilities in zip(tables["pictures"][1:], found.probabilities, strict=True):
        assert Path(row[0]).parent.name == row[1]
        assert float(row[3]) == pytest.approx(probabilities.max(), abs=1e-6)
    write_evaluation(found, tmp_path / "figures")  # a second time takes the first one's place
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, and the figures are several"):
        write_evaluation(found, tmp_path / "file")


def files(found: Iterator[Path | BrokenImage]) -> Iterator[Path]:
    for file in found:
        assert isinstance(file, Path)
        yield file


def test_folders_and_lines_become_files(tmp_path: Path) -> None:
    names = ["b/10.jpg", "b/2.JPEG", "a.png", "b/deep/er/x.webp", "b/.hidden.jpg", "b/notes.txt", ".git/y.jpg", "z.pdf"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "ring").symlink_to(tmp_path, target_is_directory=True)
    whole = [path.relative_to(tmp_path).as_posix() for path in files(expand([tmp_path]))]
    assert whole == ["a.png", "b/2.JPEG", "b/10.jpg", "b/deep/er/x.webp"]
    lines = io.StringIO(f"{tmp_path / 'a.png'}\r\n\n{tmp_path / 'b'}\nabsent with a space.jpg \n")
    listed = [path.name for path in files(expand(["-", tmp_path / "z.pdf"], lines))]
    assert listed == ["a.png", "2.JPEG", "10.jpg", "x.webp", "absent with a space.jpg ", "z.pdf"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        list(expand([tmp_path / "empty"]))


def test_lines_are_read_as_they_are_needed() -> None:
    """A list of any length streams: what is not asked for is not read."""
    given: list[int] = []

    def endless() -> Iterator[str]:
        for number in count(1):
            given.append(number)
            yield f"{number}.jpg\n"

    paths = files(expand(["-"], endless()))
    assert [next(paths).name for _ in range(3)] == ["1.jpg", "2.jpg", "3.jpg"]
    assert given == [1, 2, 3]


def test_a_missing_file_and_a_picture_with_no_temperature_to_spare(checkpoint: Path, garden: Path) -> None:
    predictor = Predictor.from_checkpoint(checkpoint, "cpu", views=2)
    answers = list(predictor.predict_files([garden / "absent.jpg", next((garden / "test").rglob("*.jpg"))]))
    assert isinstance(answers[0], BrokenImage)
    assert isinstance(answers[1], Prediction)
    assert isinstance(predictor.checkpoint, Checkpoint)
