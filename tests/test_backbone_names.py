"""What a --backbone means: one network, several side by side, and the set that needs no download."""

from pathlib import Path

import pytest
import torch

from curate.errors import UserError
from tests.training_ground import TINY, grow
from train.backbone_names import OFFLINE_SET, networks_named
from train.checkpoint import load_checkpoint
from train.features import packaged_weights
from train.features.packaged_weights import PACKAGED
from train.optimising.settings import FitSettings
from train.options import LearningOptions
from train.predict import Prediction, Predictor
from train.summary import summarise
from train.training import TrainOptions, load_backbones, train_head

pytestmark = pytest.mark.usefixtures("one_thread")


def test_names_are_split_and_offline_stands_for_its_set() -> None:
    assert networks_named("resnet50") == ["resnet50"]
    assert networks_named(" resnet50 + vgg16") == ["resnet50", "vgg16"]
    assert networks_named("offline") == networks_named("Offline") == list(OFFLINE_SET)
    assert networks_named("offline+resnet50") == [*OFFLINE_SET, "resnet50"]
    assert set(OFFLINE_SET) <= set(PACKAGED)
    for twice in ("vgg16+vgg16", "offline+efficientnet_lite0", "offline+offline"):
        with pytest.raises(UserError, match=r"names \w+ twice: its features would say nothing new"):
            networks_named(twice)


def test_each_network_of_the_set_may_have_weights_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(load_backbones(TINY, "none", seed=4)[0].network.state_dict(), file)
    both = f"offline+{TINY}"
    *offline, mine = load_backbones(both, f"{TINY}={file},efficientnet_lite1=none", seed=3)
    assert [one.weights for one in offline] == [
        PACKAGED["efficientnet_lite0"].file, "none (seed 3)", PACKAGED["efficientnet_lite2"].file,
    ]  # fmt: skip
    assert mine.weights == "mine.pth"
    facts = LearningOptions(backbone=both, weights=f"{TINY}={file}").facts()
    assert facts["backbone"] == both
    assert facts["weights"].endswith(f"{TINY}=mine.pth")


@pytest.mark.thorough
def test_offline_trains_each_at_its_own_size_and_its_checkpoint_needs_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = grow(tmp_path / "garden", {"train": 2, "valid": 1})
    told = TrainOptions(
        backbone="offline", views=1, models=tmp_path / "models", device="cpu", head=FitSettings(epochs=2)
    )
    report = train_head(root, told)
    assert report.backbones == list(OFFLINE_SET)
    assert summarise(told, 3).crop == [224, 240, 260]
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)
    backbones = load_checkpoint(report.checkpoint).backbones
    assert [one.preprocessing.crop for one in backbones] == [224, 240, 260]
    pictures = sorted((root / "valid").rglob("*.jpg"))
    answered = list(Predictor(load_checkpoint(report.checkpoint), device="cpu").predict_files(pictures))
    assert [type(one) for one in answered] == [Prediction] * 3
