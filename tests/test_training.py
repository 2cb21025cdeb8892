"""The whole way to a checkpoint: frozen means frozen, faults in words, and a kill at any instant costs time alone."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.files.reading import read_file
from curate.scan import scan
from tests.commanding import command
from tests.forking import Forks
from tests.training_ground import LFS_POINTER, TINY, grow, picture
from train.backbones import Backbone, load_backbone
from train.checkpoint import load_checkpoint
from train.features import prepare
from train.features.freeze import FrozenNetwork
from train.optimising.layers import linears
from train.optimising.settings import FitSettings
from train.options import OPTIONS
from train.predict import Prediction, Predictor
from train.recipe import load_recipe
from train.run import options_of
from train.training import TrainingReport, TrainOptions, recipe_facts, train_head


def train(root: Path, models: Path, **changes: object) -> TrainingReport:
    settings: dict[str, object] = {
        "backbone": TINY, "weights": "none", "models": models, "device": "cpu", "views": 1,
        "head": FitSettings(epochs=15),
    }  # fmt: skip
    return train_head(root, TrainOptions(**{**settings, **changes}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 8, "valid": 4})


def test_from_a_folder_to_a_checkpoint(garden: Path, tmp_path: Path) -> None:
    report = train(garden, tmp_path, views=2, names={"rose": "Rosa"})
    assert report.checkpoint.name == f"model_{report.valid.percent()}.pth"
    assert (report.classes, report.train_pictures, report.valid_pictures, report.views) == (3, 24, 12, 2)
    assert report.computed == 24 * 2 + 12
    assert report.valid.top1 > 0.7
    assert report.balanced
    assert "balanced sampling changes no class's share; it draws with replacement" in report.notes[0]
    assert 0.5 < report.coverage < 0.75
    assert set(report.seconds) == {"load", "features", "head", "save"}
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.labels == ["iris", "rose", "sun flower"]
    assert checkpoint.names == ["iris", "Rosa", "sun flower"]
    assert len(checkpoint.history) == 15
    assert checkpoint.recipe["views"] == 2
    assert checkpoint.recipe["head"]["epochs"] == 15
    assert checkpoint.dataset["pictures"]["train"] == {"iris": 8, "rose": 8, "sun flower": 8}


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_checkpoint_and_the_bank_spares_the_work(garden: Path, tmp_path: Path) -> None:
    one, two = train(garden, tmp_path, views=2), train(garden, tmp_path, views=2)
    assert two.computed == 0
    assert two.checkpoint.name == one.checkpoint.name.replace(".pth", "_2.pth")
    first, second = load_checkpoint(one.checkpoint), load_checkpoint(two.checkpoint)
    assert torch.equal(linears(first.head)[0].weight, linears(second.head)[0].weight)
    assert first.history == second.history
    assert first.dataset == second.dataset
    other = load_checkpoint(train(garden, tmp_path, views=2, seed=1).checkpoint)
    assert not torch.equal(linears(first.head)[0].weight, linears(other.head)[0].weight)


@pytest.mark.thorough
def test_the_head_is_fitted_from_the_seed(garden: Path, tmp_path: Path) -> None:
    """Given weights and clean views leave nothing to draw but the head: its first values and what an epoch shows."""
    torch.save(load_backbone(TINY, "none", seed=5).network.state_dict(), tmp_path / "weights.pth")

    def fitted(seed: int) -> list[torch.Tensor]:
        report = train(garden, tmp_path, weights=tmp_path / "weights.pth", seed=seed)
        return list(load_checkpoint(report.checkpoint).head.state_dict().values())

    one, again, other = fitted(1), fitted(1), fitted(2)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_there_is_one_seed() -> None:
    """Flag, recipe, head and checkpoint's facts: whoever changes one has changed it for all."""
    asked = options_of(load_recipe(), seed=11)
    assert asked.seed == 11
    assert recipe_facts(asked, "float32")["seed"] == 11
    named = [one.name for one in OPTIONS if "seed" in one.name]
    assert named == ["seed"]
    assert not hasattr(asked.head, "seed")


def test_several_backbones_stand_side_by_side(garden: Path, tmp_path: Path) -> None:
    report = train(garden, tmp_path, backbone=f"{TINY}+timm:test_efficientnet")
    checkpoint = load_checkpoint(report.checkpoint)
    assert [backbone.dim for backbone in checkpoint.backbones] == [96, 256]
    assert checkpoint.head.in_features == 352
    predictor = Predictor(checkpoint, "cpu")
    right = 0
    for path in sorted(garden.glob("valid/*/*.jpg")):
        (answer,) = predictor.predict_files([path])
        assert isinstance(answer, Prediction)
        right += answer.guesses[0].label == path.parent.name
    assert right == report.valid.correct
    with pytest.raises(UserError, match="2 backbones at once"):
        train(garden, tmp_path, backbone="resnet18+resnet34", weights="IMAGENET1K_V1")
    with pytest.raises(UserError, match="twice"):
        train(garden, tmp_path, backbone=f"{TINY}+{TINY}")


@pytest.mark.thorough
def test_resnet152_trains_its_last_layer_and_no_buffer_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: `model.train()` on a frozen backbone lets 155 batch-norm layers drift."""
    grow(tmp_path / "data", {"train": 16, "valid": 1}, classes=4)
    loaded: list[Backbone] = []

    def remember(*args: object, **options: object) -> Backbone:
        loaded.append(load_backbone(*args, **options))  # type: ignore[arg-type]
        return loaded[-1]

    monkeypatch.setattr("train.training.load_backbone", remember)
    report = train(tmp_path / "data", tmp_path / "models", backbone="resnet152", crop=64)
    assert report.train_pictures == 64
    fresh = load_backbone("resnet152", "none", seed=1337, crop=64)
    checkpoint = load_checkpoint(report.checkpoint)
    for network in (loaded[0].network, checkpoint.backbones[0].network):
        state = network.state_dict()
        assert list(state) == list(fresh.network.state_dict())
        assert sum(key.endswith("running_var") for key in state) == 155
        for key, value in fresh.network.state_dict().items():
            assert torch.equal(value, state[key]), key
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    answers = list(Predictor(checkpoint, "cpu").predict_files(sorted((tmp_path / "data/valid").rglob("*.jpg"))))
    assert len(answers) == 4
    assert all(isinstance(answer, Prediction) and len(answer.guesses) == 4 for answer in answers)


def test_a_corrupt_picture_is_left_out_and_counted(garden: Path, tmp_path: Path) -> None:
    shutil.copytree(garden, tmp_path / "data")
    victim = tmp_path / "data/train/rose/picture 3.jpg"
    victim.write_bytes(victim.read_bytes()[:900])
    (tmp_path / "data/valid/iris/notes.jpg").write_text("not a picture")
    report = train(tmp_path / "data", tmp_path / "models")
    assert [Path(broken.path).name for broken in report.broken] == ["picture 3.jpg", "notes.jpg"]
    assert (report.train_pictures, report.valid_pictures) == (23, 12)
    assert not report.balanced


@pytest.mark.thorough
def test_the_catalogs_hashes_are_used_while_they_are_true(
    garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(garden, tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
    first = train(tmp_path / "data", tmp_path / "models")
    reads: list[Path] = []
    monkeypatch.setattr(prepare, "read_file", lambda path: reads.append(path) or read_file(path))  # type: ignore[func-returns-value]
    assert train(tmp_path / "data", tmp_path / "models").computed == 0
    assert not [path for path in reads if path.suffix == ".jpg"]
    changed = tmp_path / "data/train/iris/picture 0.jpg"
    picture((1, 250, 1), 5).save(changed)
    again = train(tmp_path / "data", tmp_path / "models")
    assert [path for path in reads if path.suffix == ".jpg"] == [changed]
    assert again.computed == 1
    fingerprints = {load_checkpoint(one.checkpoint).dataset["fingerprint"] for one in (first, again)}
    assert len(fingerprints) == 2
    dataset.catalog_path.write_bytes(b"damaged" * 1000)
    assert train(tmp_path / "data", tmp_path / "models").computed == 0


def folders(root: Path, *paths: str) -> Path:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            picture((200, 40, 90), index).save(root / path)
    return root


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["raw/a/1.jpg", "raw/b/1.jpg"], "has no train pictures: run `cli.py split"),
        (["a/1.jpg", "b/1.jpg"], "has no train pictures"),
        (["train/a/1.jpg", "train/b/1.jpg"], "has no valid pictures"),
        (["train/a/1.jpg", "train/a/2.jpg", "valid/a/1.jpg"], "one class alone"),
        (["train/a/1.jpg", "train/b/1.jpg", "train/c/", "valid/a/1.jpg"], "train/c holds no picture"),
        (["train/a/1.jpg", "train/b/1.jpg", "valid/z y/1.jpg"], "1 class that train lacks ('z y')"),
    ],
)
def test_data_that_cannot_be_trained_on_is_a_sentence(paths: list[str], sentence: str, tmp_path: Path) -> None:
    root = folders(tmp_path / "data", *paths)
    with pytest.raises(UserError, match=re.escape(sentence)):
        train(root, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_class_whose_pictures_are_all_broken_is_named(garden: Path, tmp_path: Path) -> None:
    shutil.copytree(garden, tmp_path / "data")
    for path in (tmp_path / "data/train/iris").iterdir():
        path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match="All training pictures of class 'iris' are broken"):
        train(tmp_path / "data", tmp_path / "models")


@pytest.mark.thorough
def test_what_is_not_readable_here_is_not_called_broken(garden: Path, tmp_path: Path) -> None:
    """An LFS pointer is a whole picture elsewhere: `train` says so, and what brings it."""
    data = tmp_path / "data"
    shutil.copytree(garden, data)
    absent, lost = data / "train/rose/picture 3.jpg", data / "train/rose/picture 4.jpg"
    absent.write_bytes(LFS_POINTER)
    lost.write_bytes(lost.read_bytes()[:900])
    network = ("--backbone", TINY, "--weights", "none", "--set", "epochs=1", "--device", "cpu")
    asked = ("train", data, *network, "--models", tmp_path / "models", "--runs", tmp_path / "runs")
    done = command(*asked)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    (said,) = (line for line in lines if absent.name in line)
    assert "1 not readable here: an LFS pointer in the picture's place: run `git lfs pull`: such as" in said
    (said,) = (line for line in lines if lost.name in line)
    assert said.startswith("Left out: ")
    assert "not readable here" not in said
    for path in (data / "train/iris").iterdir():
        path.write_bytes(LFS_POINTER)
    shutil.copy(garden / "train/rose" / lost.name, lost)
    sentence = command(*asked).sentence
    assert "All training pictures of class 'iris' are left out" in sentence
    assert "not readable here: an LFS pointer in the picture's place: run `git lfs pull`" in sentence
    assert "run `clean`" not in sentence


def test_one_picture_is_enough_for_a_class_and_aliases_are_understood(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", "train/a/1.jpg", "train/b c/1.jpg", "train/b c/2.jpg", "val/a/1.jpg")
    report = train(root, tmp_path / "models")
    assert (report.classes, report.valid_pictures) == (2, 1)
    assert any("1 of 2 classes have no valid picture" in note for note in report.notes)


def test_memory_that_runs_out_is_said(garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = FrozenNetwork.__call__

    def hungry(network: FrozenNetwork, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(network, pixels)

    monkeypatch.setattr(FrozenNetwork, "__call__", hungry)
    notes = train(garden, tmp_path, batch=16).notes
    assert "Memory ran out at 16 pictures a batch; 3 fit." in notes  # the 12 valid pictures, halved twice


@pytest.mark.parametrize(
    "fault", [{"views": 0}, {"views": 65}, {"batch": 0}, {"batch": 10**9}, {"seed": -1}, {"seed": 1 << 63}]
)
def test_impossible_options_are_refused(fault: dict[str, int], garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^(views|seed|A batch)[^\n]*: give [^\n]*\.$"):
        train(garden, tmp_path, **fault)


# Each run is a fork, killed after its delay in milliseconds. The first is not, and has a folder of its own.
KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
from train.features import bank
from train.features.freeze import FrozenNetwork
from train.optimising.settings import FitSettings
from train.options import OPTIONS
from train.training import TrainOptions, train_head
torch.set_num_threads(1)  # a pool of threads does not survive a fork
root, folder, delays = Path(sys.argv[1]), Path(sys.argv[2]), ["never", *sys.argv[3:], "never"]
from train.features import extract
extract._COMMIT_SECONDS = 0.02
for number, delay in enumerate(delays):
    models = folder / ("killed" if number else "undisturbed")
    options = TrainOptions(backbone="timm:test_resnet", weights="none", views=3, models=models, device="cpu",
                           head=FitSettings(epochs=15), batch=6)
    child = os.fork()
    if child == 0:
        try:
            train_head(root, options)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    if delay != "never":
        time.sleep(int(delay) / 1000)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(delay, status, sum(path.stat().st_size for path in models.rglob("*.sqlite*")), flush=True)
"""


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed run is a fork of one that has imported PyTorch")
def test_killed_at_any_instant_the_same_command_finishes(garden: Path, tmp_path: Path, forks: Forks) -> None:
    delays = [str(delay) for delay in (60, 150, 220, 300, 400, 500, 650, 800, 1000)]
    done = forks.start(KILLED, garden, tmp_path, *delays).wait()
    assert done.returncode == 0, done.stderr
    undisturbed, *lines = [line.split() for line in done.stdout.splitlines()]
    assert undisturbed[1] == "0"
    (whole,) = (tmp_path / "undisturbed").glob("*.pth")
    statuses = [int(status) for _, status, _ in lines]
    assert set(statuses[:-1]) <= {-signal.SIGKILL, 0}
    assert -signal.SIGKILL in statuses
    assert statuses[-1] == 0
    checkpoints = sorted((tmp_path / "killed").glob("*.pth"))
    assert checkpoints
    expected = load_checkpoint(whole)
    for path in checkpoints:  # whole, and the same as if nothing had happened
        found = load_checkpoint(path)
        assert torch.allclose(linears(found.head)[0].weight, linears(expected.head)[0].weight, atol=1e-3)
        assert found.metrics["valid"].correct == expected.metrics["valid"].correct
        assert found.dataset == expected.dataset
    assert not list((tmp_path / "killed").glob(".florilegium-*.partial"))
