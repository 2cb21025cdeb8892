"""What older systems did can be asked for: bent squares, 0.5, hue, upside down, dropout before the first layer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from curate.names import names_for
from tests.commanding import command
from tests.training_ground import TINY, grow, picture
from train.checkpoint import load_checkpoint
from train.checkpoint_choice import best_checkpoint
from train.export import exported_input
from train.exporting.classifier import Geometry
from train.features.augmentation import Augmentation
from train.features.preprocessing import Preprocessing
from train.optimising.layers import build_head

PLAIN = Preprocessing(64, 56, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_bent_square_is_the_whole_picture() -> None:
    """As Resize([224, 224]) does it: both halves are there, and the ends of a wide picture too."""
    wide = Image.new("RGB", (400, 100), "red")
    wide.paste("blue", (200, 0, 400, 100))
    bent = PLAIN.as_asked("weights", squash=True)
    pixels = bent.clean(wide)
    assert pixels.shape == (56, 56, 3)
    np.testing.assert_array_equal(pixels, np.asarray(wide.resize((56, 56), Image.Resampling.BILINEAR)))
    view = Augmentation(rotation=0, smallest=1, flip=0).view(wide, bent, 1)
    assert view[28, 2].tolist() == [255, 0, 0]
    assert view[28, 53].tolist() == [0, 0, 255]
    np.testing.assert_allclose(exported_input(wide, Geometry.of(bent)).transpose(1, 2, 0) * 255, pixels, atol=1e-3)
    # What is not bent says nothing of it: the banks of before are those of today
    assert "squash" not in PLAIN.to_dict()
    for one in (PLAIN, bent):
        assert Preprocessing.from_dict(one.to_dict()) == one


def test_mean_and_deviation_have_names() -> None:
    pixels = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    half = PLAIN.as_asked("half", squash=False)
    assert set(half.normalise(pixels).flatten().tolist()) == {1.0}
    assert half.as_asked("imagenet", squash=False) == PLAIN
    assert half.as_asked("weights", squash=False) == half


def test_pictures_are_turned_upside_down_and_other_colours() -> None:
    above = Image.new("RGB", (80, 80), "white")
    above.paste("black", (0, 0, 80, 40))
    still = {"rotation": 0, "smallest": 1, "flip": 0}
    view = Augmentation(**still, flip_vertical=1).view(above, PLAIN, 3)
    assert view[5, 5].tolist() == [255, 255, 255]
    assert view[50, 5].tolist() == [0, 0, 0]
    red = Image.new("RGB", (80, 80), (255, 0, 0))
    seen = {tuple(Augmentation(**still, hue=0.5).view(red, PLAIN, draw)[20, 20].tolist()) for draw in range(12)}
    assert len(seen) > 8
    assert all(max(colour) == 255 and min(colour) == 0 for colour in seen)  # as strong and as bright as it was
    grey = Image.new("RGB", (80, 80), (90, 90, 90))
    assert Augmentation(**still, hue=0.5).view(grey, PLAIN, 1)[20, 20].tolist() == [90, 90, 90]


def test_views_of_before_keep_their_names_and_pixels() -> None:
    assert Augmentation().digest() == Augmentation(flip_vertical=0.0, hue=0.0).digest()
    assert Augmentation().digest() != Augmentation(flip_vertical=0.5).digest() != Augmentation(hue=0.1).digest()


def test_dropout_comes_before_the_first_layer() -> None:
    kinds = [type(layer) for layer in build_head(8, 3, hidden=(4,), dropout=0.2, input_dropout=0.5)]  # type: ignore[union-attr]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert isinstance(build_head(8, 3), nn.Linear)


@pytest.mark.thorough
@pytest.mark.parametrize("unfreeze", ["none", "all"])
def test_all_of_it_trains_predicts_and_leaves(unfreeze: str, tmp_path: Path) -> None:
    root = grow(tmp_path / "garden", {"train": 4, "valid": 2})
    picture((20, 200, 90), 5, (333, 1000)).save(root / "valid" / "rose" / "tall.png")
    asked = [
        f"--set={one}"
        for one in ("squash=true", "normalise=half", "hue=0.1", "flip_vertical=0.5", "input_dropout=0.3", "epochs=2")
    ]
    models = ("--models", tmp_path / "models")
    trained = command(
        "train", root, "--backbone", TINY, "--weights", "none", "--unfreeze", unfreeze, *asked, *models,
        "--runs", tmp_path / "runs", "--views", "2", "--set=weight_decay=0.01",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    checkpoint = best_checkpoint(tmp_path / "models")
    shape = load_checkpoint(checkpoint).backbones[0].preprocessing
    assert (shape.squash, shape.mean, shape.std) == (True, (0.5,) * 3, (0.5,) * 3)
    # Two programs give one answer; a file is a file when it is named like one
    out = tmp_path / "named.safetensors"
    exported = command("export", root, "--format", "safetensors", "--out", out, *models)
    assert exported.code == 0, exported.err
    assert out.is_file()
    (entry,) = json.loads((tmp_path / "named.safetensors.json").read_text())["inputs"]
    assert entry["resize_both_sides"] == entry["crop"]
    assert "resize_short_side" not in entry
    card = command("model-card", *models, "--out", tmp_path / "card.md")
    assert card.code == 0, card.err
    assert "never bent" not in (tmp_path / "card.md").read_text()


def test_numbered_folders_are_read_as_names(tmp_path: Path) -> None:
    labels = ["09.Golden_Gate_Bridge", "001.Black_footed_Albatross", "7", "3.14", "a.b_c", "12."]
    found, missing = names_for(tmp_path, labels)
    assert list(found.values()) == ["Golden Gate Bridge", "Black footed Albatross", "7", "3.14", "a.b_c", "12."]
    assert missing == []
