"""The predictor on a checkpoint in memory: how many answers, which views, two networks, and what is no answer."""

import dataclasses
import math
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from curate.errors import UserError
from curate.image import BrokenImage, load_pixels
from tests.training_ground import picture, small_checkpoint
from train.backbone_names import OFFLINE_SET
from train.backbones import load_backbone
from train.calibration import Abstention, Calibration, abstention, answered_right
from train.checkpoint import Checkpoint, save_checkpoint
from train.features.freeze import FrozenNetwork
from train.features.preprocessing import Preprocessing
from train.features.views import Views
from train.limits import MOST_VIEWS
from train.metrics import measure_accuracy
from train.predict import Guess, Prediction, Predictor, mean_probabilities, require_abstention

# Of 4 answers the 3 surest are right: 3 of 3 show a precision of 36.8%, from half way between 0.6 and 0.4 on
KNOWN = Calibration(
    1.0, np.array([0.9, 0.8, 0.6, 0.4], np.float32), np.array([True, True, True, False]), error_before=0, error_after=0
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """Seven classes, more than are answered unless told."""
    small = small_checkpoint()
    torch.manual_seed(1)
    return dataclasses.replace(
        small,
        head=nn.Linear(96, 7).eval(),
        labels=list("abcdefg"),
        names=list("ABCDEFG"),
        metrics={"valid": measure_accuracy(np.eye(7), np.arange(7), 7)},
        calibration=KNOWN,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        picture((40 * number, 200, 90), number).save(path)
    return paths


def expected(checkpoint: Checkpoint, images: list[Image.Image]) -> NDArray[np.float32]:
    """Softmax of the head on what the networks say side by side of the clean views."""
    sides = []
    for backbone in checkpoint.backbones:
        shape = backbone.preprocessing
        sides.append(
            backbone.network(shape.normalise(torch.from_numpy(np.stack([shape.clean(one) for one in images]))))
        )
    with torch.no_grad():
        rows: NDArray[np.float32] = torch.softmax(checkpoint.head(torch.cat(sides, dim=1)), dim=1).numpy()
    return rows


def test_views_are_averaged_as_probabilities() -> None:
    """A view that is sure of nothing has one vote, as has one whose logits are large: by hand, for two classes."""
    head = nn.Linear(2, 2)
    head.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    views = torch.tensor([[[math.log(9), 0.0], [0.0, math.log(3)], [0.0, math.log(3)]]])  # 90%, 25% and 25%
    assert mean_probabilities(head, views)[0] == pytest.approx([1.4 / 3, 1.6 / 3], abs=1e-6)
    # At another temperature each view's softmax is another; the mean is still theirs
    halved = [3 / 4, 1 / (1 + math.sqrt(3)), 1 / (1 + math.sqrt(3))]
    assert mean_probabilities(head, views, 2.0)[0][0] == pytest.approx(sum(halved) / 3, abs=1e-6)


def test_an_answer_at_the_threshold_is_given(checkpoint: Checkpoint, files: list[Path]) -> None:
    """The threshold is from where on an answer is given: reached is enough, a hair below is not."""
    predictor = Predictor(checkpoint, "cpu")

    def sure(threshold: float) -> bool:
        predictor.abstention = Abstention(0.9, threshold, 10, 5, 5)
        (answer,) = predictor.predict_files(files[:1])
        assert isinstance(answer, Prediction)
        return answer.sure

    (answer,) = predictor.predict_files(files[:1])
    assert isinstance(answer, Prediction)
    reached = answer.guesses[0].probability
    assert sure(reached)
    assert not sure(math.nextafter(reached, 1))
    rows, truth = np.array([[reached, 1 - reached]]), np.array([0])
    assert answered_right(rows, truth, float(rows.max()))[0] == 1
    assert answered_right(rows, truth, math.nextafter(float(rows.max()), 1))[0] == 0


def test_rows_sum_to_one_and_no_pictures_have_none(checkpoint: Checkpoint, files: list[Path]) -> None:
    predictor, images = Predictor(checkpoint, "cpu"), [load_pixels(path) for path in files]
    rows, none = predictor.probabilities(images), predictor.probabilities([])
    np.testing.assert_allclose(rows, expected(checkpoint, images), atol=1e-5)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert rows.dtype == none.dtype == np.float32
    assert (rows.shape, none.shape) == ((3, 7), (0, 7))


@pytest.mark.parametrize(("asked", "given"), [({}, 5), ({"top_k": 1}, 1), ({"top_k": 7}, 7), ({"top_k": 8}, 7)])
def test_the_five_likeliest_unless_told(
    asked: dict[str, int], given: int, checkpoint: Checkpoint, files: list[Path]
) -> None:
    rows = expected(checkpoint, [load_pixels(path) for path in files])
    for answer, path, row in zip(Predictor(checkpoint, "cpu").predict_files(files, **asked), files, rows, strict=True):
        assert isinstance(answer, Prediction)
        best = np.argsort(-row)[:given]
        assert [guess.label for guess in answer.guesses] == ["abcdefg"[index] for index in best]
        assert [guess.name for guess in answer.guesses] == ["ABCDEFG"[index] for index in best]
        assert [guess.probability for guess in answer.guesses] == pytest.approx(row[best], abs=1e-5)
        assert (answer.path, answer.sure) == (str(path), True)


@pytest.mark.parametrize("top_k", [0, -1])
def test_no_class_at_all_is_refused(top_k: int, checkpoint: Checkpoint, files: list[Path]) -> None:
    with pytest.raises(UserError, match=f"--top-k {top_k} asks for no class at all"):
        next(Predictor(checkpoint, "cpu").predict_files(files, top_k=top_k))


def test_two_networks_stand_side_by_side(checkpoint: Checkpoint, files: list[Path]) -> None:
    torch.manual_seed(2)
    both = dataclasses.replace(
        checkpoint,
        backbones=[*checkpoint.backbones, load_backbone("timm:test_efficientnet", "none")],
        head=nn.Linear(352, 7).eval(),
    )
    images = [load_pixels(path) for path in files]
    found = Predictor(both, "cpu").probabilities(images)
    np.testing.assert_allclose(found, expected(both, images), atol=1e-4)


class Noting(Views):
    """Views that keep a list of the content each picture is said to have."""

    contents: list[str]

    def draw(self, picture: Image.Image, sha256: str, numbers: range, to: Preprocessing) -> NDArray[np.uint8]:  # type: ignore[override]
        self.contents.append(sha256)
        return super().draw(picture, sha256, numbers, to)


@pytest.fixture(scope="module")
def usual() -> Checkpoint:
    """With the network that is used unless told, whose sums come out otherwise in batches of another size."""
    torch.manual_seed(3)
    small = small_checkpoint()
    return dataclasses.replace(
        small, backbones=[load_backbone(OFFLINE_SET[0])], head=nn.Linear(1280, 7).eval(), labels=list("abcdefg"),
        names=list("ABCDEFG"), metrics={"valid": measure_accuracy(np.eye(7), np.arange(7), 7)}, familiarity=None,
    )  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("views", [1, 5])
def test_an_answer_does_not_depend_on_its_company(usual: Checkpoint, tmp_path: Path, views: int) -> None:
    """To the bit: alone, among few and among many, from memory and from files, whatever threads PyTorch has."""
    paths = [tmp_path / f"{number}.png" for number in range(17 if views == 1 else 3)]
    for number, path in enumerate(paths):
        picture((13 * number, 200 - 7 * number, 90), number).save(path)
    predictor = Predictor(usual, "cpu", views=views)
    prepared = [predictor.prepare(path.read_bytes(), str(path)) for path in paths]
    expected = [predictor.answer([one], top_k=7) for one in prepared]

    def said() -> Iterator[list[Prediction | BrokenImage]]:
        yield list(predictor.predict_files(paths, top_k=7))
        yield predictor.answer(prepared, top_k=7)
        yield [*predictor.answer(prepared[:2], top_k=7), *predictor.answer(prepared[2:], top_k=7)]

    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            for answers in said():
                assert answers == [one for (one,) in expected]
            assert torch.get_num_threads() == count, "left as it was"
    finally:
        torch.set_num_threads(threads)
    if views == 1:
        rows = predictor.probabilities([load_pixels(path) for path in paths])
        for row, (answer,) in zip(rows, expected, strict=True):
            assert isinstance(answer, Prediction)
            assert {guess.label: guess.probability for guess in answer.guesses} == dict(
                zip("abcdefg", map(float, row), strict=True)
            )


def test_elsewhere_than_on_processors_batches_are_filled(
    checkpoint: Checkpoint, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU's kernels are chosen by the size of a batch: it is the same for one picture and for many."""
    expected = list(Predictor(checkpoint, "cpu").predict_files(files * 7))
    predictor = Predictor(checkpoint, "cpu")
    monkeypatch.setattr(predictor, "_alone", False)
    monkeypatch.setattr(predictor, "_batch", 16)
    monkeypatch.setattr(predictor, "together", 16)
    (network,) = predictor._networks
    sizes: list[int] = []
    monkeypatch.setattr(predictor, "_networks", [Counting(network, sizes)])
    answers = list(predictor.predict_files(files * 7))
    assert sizes == [16, 16]
    sizes.clear()
    alone = [answer for file in files for answer in predictor.predict_files([file])]
    assert sizes == [16, 16, 16]
    for answer, other, known in zip(answers, alone * 7, expected, strict=True):
        assert isinstance(answer, Prediction)
        assert isinstance(other, Prediction)
        assert isinstance(known, Prediction)
        assert answer.path == other.path == known.path
        assert answer == other
        shares = [guess.probability for guess in known.guesses]
        assert [guess.probability for guess in answer.guesses] == pytest.approx(shares, abs=1e-5)


class Counting:
    """A network that notes how many pictures it is given."""

    def __init__(self, network: FrozenNetwork, sizes: list[int]) -> None:
        self.network, self.sizes = network, sizes
        self.preprocessing, self.device = network.preprocessing, network.device

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        return self.network(pixels)


@pytest.mark.parametrize("count", [2, 3])
def test_pictures_in_memory_have_views_of_their_own(count: int, checkpoint: Checkpoint, files: list[Path]) -> None:
    """The same pixels are drawn alike, and others otherwise: what they are drawn from names the content."""
    predictor = Predictor(checkpoint, "cpu", views=count)
    predictor.views = noting = Noting(count, predictor.views.seed, predictor.views.augmentation)
    object.__setattr__(noting, "contents", [])
    one, other = load_pixels(files[0]), load_pixels(files[1])
    rows = predictor.probabilities([one, other, one.copy()])
    assert len(noting.contents) == 3
    assert noting.contents[0] == noting.contents[2] != noting.contents[1]
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    assert np.abs(rows[0] - expected(checkpoint, [one])[0]).max() > 1e-6


def test_as_many_views_as_may_be_asked_for(checkpoint: Checkpoint, files: list[Path]) -> None:
    answers = list(Predictor(checkpoint, "cpu", views=MOST_VIEWS).predict_files(files[:1]))
    assert [type(answer) for answer in answers] == [Prediction]
    with pytest.raises(UserError, match="--views 0"):
        Predictor(checkpoint, "cpu", views=0)


def test_files_are_read_as_answers_are_asked_for(checkpoint: Checkpoint, files: list[Path]) -> None:
    """A list without end has a first answer."""
    answers = Predictor(checkpoint, "cpu").predict_files(repeat(files[0]))
    assert all(isinstance(answer, Prediction) for answer in islice(answers, 33))
    answers.close()  # type: ignore[attr-defined]


def test_what_gives_no_answer_says_which_and_why(checkpoint: Checkpoint, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    known = BrokenImage("elsewhere", "a folder without pictures")
    asked: list[Path | BrokenImage] = [tmp_path / "absent.jpg", files[0], tmp_path / "text.jpg", known]
    absent, whole, text, passed = Predictor(checkpoint, "cpu").predict_files(asked)
    assert isinstance(absent, BrokenImage)
    assert (absent.path, absent.reason) == (str(asked[0]), "cannot be read (No such file or directory)")
    assert isinstance(whole, Prediction)
    assert isinstance(text, BrokenImage)
    assert text.path == str(asked[2])
    assert passed is known


def test_what_is_no_number_is_no_answer(checkpoint: Checkpoint, files: list[Path]) -> None:
    head = nn.Linear(96, 7).eval()
    nn.init.constant_(head.bias, float("nan"))
    (answer,) = Predictor(dataclasses.replace(checkpoint, head=head), "cpu").predict_files(files[:1])
    assert isinstance(answer, BrokenImage)
    assert str(answer) == f"{files[0]}: the checkpoint gives no finite numbers for it"


def test_a_threshold_is_had_with_one_view_and_what_valid_taught(checkpoint: Checkpoint) -> None:
    assert require_abstention(checkpoint, None) is None
    assert require_abstention(checkpoint, None, 4) is None
    for found in (require_abstention(checkpoint, 0.36), require_abstention(checkpoint, 0.36, 1)):
        assert found == abstention(KNOWN, 0.36)
        assert found.threshold == pytest.approx(0.5)
        assert found.answered == 3
    bare = dataclasses.replace(checkpoint, calibration=None)
    assert require_abstention(bare, None) is None
    with pytest.raises(UserError, match="knows nothing of its answers on valid"):
        require_abstention(bare, 0.9)
    with pytest.raises(UserError, match="found with one view and says nothing of 2: use --views 1"):
        Predictor(checkpoint, "cpu", views=2, abstain=0.9)


def test_a_predictor_from_a_file_is_as_asked_for(checkpoint: Checkpoint, files: list[Path], tmp_path: Path) -> None:
    """One view and no threshold unless told."""
    path = save_checkpoint(checkpoint, tmp_path)
    plain = Predictor.from_checkpoint(path, "cpu")
    assert (plain.views.count, plain.abstention) == (1, None)
    assert Predictor.from_checkpoint(path, "cpu", views=3).views.count == 3
    careful = Predictor.from_checkpoint(path, "cpu", abstain=0.36)
    assert careful.abstention == abstention(KNOWN, 0.36)
    # Seven classes that random weights hardly tell apart: none is as sure as the threshold
    for answer in careful.predict_files(files):
        assert isinstance(answer, Prediction)
        assert not answer.sure
        assert answer.guesses[0].probability < 0.5


def test_an_answer_is_not_changed_afterwards() -> None:
    guess = Guess("1", "rose", 0.5)
    for answer, name in ((guess, "probability"), (Prediction("file", [guess]), "sure")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(answer, name, 1)
    assert Prediction("file", [guess]).sure  # without a threshold every answer is given
