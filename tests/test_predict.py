"""Prediction from the checkpoint alone: the evaluation's own probabilities, in a process that has no network."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.image import BrokenImage, load_pixels
from tests.commanding import command
from tests.forking import Forks
from tests.training_ground import LFS_POINTER, TINY, grow
from train.checkpoint import load_checkpoint
from train.checkpoint_choice import best_checkpoint
from train.evaluate import evaluate, evaluate_pictures
from train.optimising.settings import FitSettings
from train.pictures import LabelledPicture, labelled_pictures
from train.predict import Prediction, Predictor
from train.training import TrainingReport, TrainOptions, train_head

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    """Labels chosen so that their order as text, "10" before "2", is not the order of indices."""
    root = tmp_path_factory.mktemp("flowers")
    grow(root, {"train": 14, "valid": 5, "test": 6})
    for split in ("train", "valid", "test"):
        for old, new in (("rose", "10"), ("iris", "2"), ("sun flower", "1")):
            (root / split / old).rename(root / split / new)
    options = TrainOptions(
        backbone=TINY, weights="none", views=2, models=root / "models", names={"10": "rose", "1": "sun flower"},
        head=FitSettings(epochs=20), device="cpu",
    )  # fmt: skip
    return root, train_head(root, options)


@pytest.mark.thorough
def test_it_gives_the_evaluations_own_probabilities_without_a_network(
    trained: tuple[Path, TrainingReport], forks: Forks
) -> None:
    """Traps: a backbone downloaded again for every prediction; a class index guessed from the order of JSON keys."""
    root, report = trained
    found = evaluate(report.checkpoint, root, split="test", device="cpu", bank=root / "models" / "bank")
    code = """
import json, socket, sys
def refuse(*_): raise OSError("no network here")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from pathlib import Path
from train.predict import Predictor
predictor = Predictor.from_checkpoint(Path(sys.argv[1]), "cpu")
answers = predictor.predict_files([Path(path) for path in sys.argv[2:]], top_k=3)
print(json.dumps([{guess.label: guess.probability for guess in answer.guesses} for answer in answers]))
"""
    done = forks.start(code, report.checkpoint, *found.paths, HOME=root / "no home", TORCH_HOME="nowhere").wait()
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == 18
    for answer, row, truth in zip(answers, found.probabilities, found.truth, strict=True):
        assert [answer[label] for label in found.labels] == pytest.approx(row.tolist(), abs=1e-4)
        assert sum(answer.values()) == pytest.approx(1, abs=1e-5)
        assert found.labels[truth] in answer
    assert found.accuracy.top1 > 0.8


def test_a_phone_s_picture_that_nothing_here_reads_is_named(
    trained: tuple[Path, TrainingReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEIC without its package: in a folder it is no answer, and no silence either."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    shutil.copy(next((trained[0] / "test").rglob("*.jpg")), tmp_path / "a.jpg")
    done = command("predict", tmp_path, "--checkpoint", trained[1].checkpoint, "--device", "cpu")
    assert done.code == 2
    assert "1 of 2 files could not be predicted" in done.err
    assert "IMG_1.HEIC" in done.err
    assert "a.jpg" in done.out


def test_the_figures_of_training_are_those_of_evaluation(trained: tuple[Path, TrainingReport]) -> None:
    """Trap: random rotation applied to validation; validation shuffled; no eval() in the test function."""
    root, report = trained
    for bank in (None, root / "models" / "bank"):
        found = evaluate(report.checkpoint, root, split="valid", device="cpu", bank=bank)
        assert found.accuracy.to_dict() == report.valid.to_dict()
    assert load_checkpoint(report.checkpoint).metrics["valid"].to_dict() == report.valid.to_dict()


def test_classes_are_looked_up_by_folder_never_by_number(trained: tuple[Path, TrainingReport]) -> None:
    root, report = trained
    predictor = Predictor.from_checkpoint(report.checkpoint, "cpu")
    assert predictor.checkpoint.labels == ["1", "2", "10"]
    assert predictor.checkpoint.names == ["sun flower", "2", "rose"]
    right = 0
    for label, name in (("1", "sun flower"), ("2", "2"), ("10", "rose")):
        for answer in predictor.predict_files(sorted((root / "test" / label).iterdir()), top_k=1):
            assert isinstance(answer, Prediction)
            best = answer.guesses[0]
            right += (best.label, best.name) == (label, name)
    assert right >= 15


def test_probabilities_not_logits(trained: tuple[Path, TrainingReport]) -> None:
    """Traps: logits reported as probabilities; normalisation forgotten; the model left in train mode."""
    root, report = trained
    checkpoint = load_checkpoint(report.checkpoint)
    predictor = Predictor(checkpoint, "cpu")
    images = [load_pixels(path) for path in sorted((root / "test" / "10").iterdir())]
    rows = predictor.probabilities(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert ((rows > 0) & (rows < 1)).all()
    network, shape = checkpoint.backbones[0].network, checkpoint.backbones[0].preprocessing
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack([shape.clean(image) for image in images]))
        logits = checkpoint.head(network(shape.normalise(pixels)))
        expected = torch.softmax(logits / checkpoint.temperature, dim=1)
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-4)
    # Alone or in company, first time or second: nothing is left in training mode
    np.testing.assert_allclose(predictor.probabilities(images[2:3])[0], rows[2], atol=1e-5)
    assert predictor.probabilities([]).shape == (0, 3)


def test_a_picture_that_lies_on_its_side_is_set_upright(trained: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    """Trap: EXIF orientation ignored by a predictor costs three points of accuracy."""
    root, report = trained
    image = Image.open(next((root / "test" / "10").iterdir()))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(tmp_path / "side.png", exif=exif)
    image.save(tmp_path / "upright.png")
    assert ImageOps.exif_transpose(Image.open(tmp_path / "side.png")).size == image.size
    predictor = Predictor.from_checkpoint(report.checkpoint, "cpu")
    one, other = predictor.predict_files([tmp_path / "side.png", tmp_path / "upright.png"])
    assert isinstance(one, Prediction)
    assert isinstance(other, Prediction)
    assert [g.probability for g in one.guesses] == pytest.approx([g.probability for g in other.guesses], abs=1e-5)


def test_broken_files_stand_in_their_place(trained: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    root, report = trained
    whole = sorted((root / "test" / "1").iterdir())
    half = tmp_path / "half äöü 花.jpg"
    half.write_bytes(whole[0].read_bytes()[:1500])
    asked = [half, *whole * 12, tmp_path / "absent.jpg"]  # more than one batch
    answers = list(Predictor.from_checkpoint(report.checkpoint, "cpu").predict_files(asked, top_k=99))
    assert len(answers) == len(asked)
    assert isinstance(answers[0], BrokenImage)
    assert isinstance(answers[-1], BrokenImage)
    assert "half äöü 花.jpg" in str(answers[0])
    for path, answer in zip(asked[1:-1], answers[1:-1], strict=True):
        assert isinstance(answer, Prediction)
        assert answer.path == str(path)
        assert len(answer.guesses) == 3  # --top-k beyond the number of classes is all of them
        probabilities = [guess.probability for guess in answer.guesses]
        assert probabilities == sorted(probabilities, reverse=True)
    with pytest.raises(UserError, match="top-k 0"):
        next(Predictor.from_checkpoint(report.checkpoint, "cpu").predict_files(asked, top_k=0))


def test_of_a_folder_it_says_what_is_not_readable_here(trained: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    """Such files may be whole: each is named with what to do about it, and the others are predicted."""
    root, report = trained
    folder = tmp_path / "mine"
    shutil.copytree(root / "test" / "1", folder / "phone")
    whole = sorted((folder / "phone").iterdir())
    (folder / "absent.jpg").write_bytes(LFS_POINTER)
    (folder / "camera.raf").write_bytes(b"FUJIFILMCCD-RAW 0201FF" + bytes(200))
    (folder / "caption.txt").write_text("a caption")
    asked = ("predict", folder, "--checkpoint", report.checkpoint, "--device", "cpu")
    done = command(*asked)
    assert f"2 of {len(whole) + 2} files could not be predicted" in done.sentence
    pointer = "not readable here: an LFS pointer in the picture's place: run `git lfs pull`"
    raw = "not readable here: a camera's raw file, whose sensor data have to be developed: convert it"
    assert f"{folder / 'absent.jpg'}: {pointer}" in done.sentence
    assert f"{folder / 'camera.raf'}: {raw}" in done.sentence
    assert "Give pictures." not in done.sentence
    assert all(str(path) in done.out for path in whole)
    (folder / "half.jpg").write_bytes(whole[0].read_bytes()[:900])
    sentence = command(*asked).sentence
    assert f"3 of {len(whole) + 3} files" in sentence
    assert sentence.count("not readable here") == 2
    assert sentence.endswith("Give pictures.")


def test_classes_that_the_checkpoint_lacks_are_named(trained: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    root, report = trained
    grow(tmp_path, {"test": 1}, classes=4)
    with pytest.raises(UserError, match=r"4 classes that the checkpoint .* lacks \('iris'"):
        evaluate(report.checkpoint, tmp_path, split="test", device="cpu")
    with pytest.raises(UserError, match="has no train pictures"):
        evaluate(report.checkpoint, tmp_path, split="train", device="cpu")
    pictures = labelled_pictures(open_dataset(root), "test")
    one_class = [picture for picture in pictures if picture.label == "2"]
    broken = LabelledPicture(tmp_path / "absent.jpg", "1")
    found = evaluate_pictures(load_checkpoint(report.checkpoint), [*one_class, broken], device="cpu")
    assert (found.accuracy.n, len(found.broken)) == (6, 1)
    with pytest.raises(UserError, match="None of the pictures"):
        evaluate_pictures(load_checkpoint(report.checkpoint), [broken], device="cpu")


def test_the_best_checkpoint_is_found(trained: tuple[Path, TrainingReport]) -> None:
    root, report = trained
    assert best_checkpoint(root / "models") == report.checkpoint


@pytest.mark.parametrize("device", ["tpu", "gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(device: str, trained: tuple[Path, TrainingReport]) -> None:
    with pytest.raises(UserError, match="evice"):
        Predictor.from_checkpoint(trained[1].checkpoint, device)
