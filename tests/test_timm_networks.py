"""Networks that the field uses, by timm's names: right at once, equal to timm's own, whole in a checkpoint."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from curate.errors import UserError
from tests.training_ground import COLOURS, grow, picture, small_checkpoint
from train.backbones import Backbone, load_backbone
from train.checkpoint import load_checkpoint, save_checkpoint
from train.explaining import heat_map
from train.export import export
from train.features.freeze import FrozenNetwork
from train.optimising.layers import build_head
from train.timm_networks import preprocessing_of
from train.training import TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")

DINOV2, DINOV3 = "vit_small_patch14_dinov2.lvd142m", "vit_small_patch16_dinov3.lvd1689m"
REGISTERS = "vit_small_patch14_reg4_dinov2.lvd142m"
SIGLIP = "vit_base_patch32_siglip_256.v2_webli"
SHALLOW = {"convnextv2_atto": {"depths": (1, 1, 1, 1)}}
CREATE = timm.create_model


def shallow(name: str, **options: Any) -> nn.Module:
    """A network of timm's with one block where it has a dozen: the same code, and ready at once."""
    short = {} if name.startswith("test_") else SHALLOW.get(name.partition(".")[0], {"depth": 1})
    network: nn.Module = CREATE(name, **{**short, **options})
    return network


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", shallow)


def loaded(name: str, weights: str | Path = "none", **options: Any) -> Backbone:
    return load_backbone(f"timm:{name}", weights, **options)


def published(name: str) -> dict[str, Any]:
    """What timm publishes of the weights of this name."""
    found = timm.get_pretrained_cfg(name)
    assert found is not None
    return dict(found.to_dict())  # type: ignore[no-untyped-call]


def data_config(name: str) -> dict[str, Any]:
    """The pictures that timm gives to a network with these weights."""
    return dict(resolve_data_config(pretrained_cfg=published(name)))  # type: ignore[no-untyped-call]


def tokens(network: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """What DINOv2's and DINOv3's own linear classifiers see."""
    found = network.forward_features(pixels)  # type: ignore[operator]
    return torch.cat([found[:, 0], found[:, network.num_prefix_tokens :].mean(dim=1)], dim=1)


def own(network: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = network(pixels)
    return found


@pytest.mark.parametrize(
    ("name", "dim", "pooled", "size"),
    [
        (DINOV2, 768, tokens, (256, 224)),
        (REGISTERS, 768, tokens, (256, 224)),
        (DINOV3, 768, tokens, (256, 256)),
        (SIGLIP, 768, own, (284, 256)),
        ("eva02_tiny_patch14_224.mim_in22k", 192, own, (248, 224)),
        ("eva02_tiny_patch14_336.mim_in22k_ft_in1k", 192, own, (336, 336)),
        ("convnextv2_atto.fcmae_ft_in1k", 320, own, (256, 224)),
    ],
)
def test_each_family_is_as_timm_has_it(
    name: str, dim: int, pooled: Callable[[nn.Module, torch.Tensor], torch.Tensor], size: tuple[int, int]
) -> None:
    """Shape, preprocessing and features are those of timm's own `data_config`, transform and network."""
    backbone = loaded(name)
    shape = backbone.preprocessing
    assert (backbone.dim, (shape.resize, shape.crop)) == (dim, size)
    settings = data_config(name)
    # Where the weights say 518 the size is the family's own, and all else still the weights'
    settings.update({"input_size": (3, size[1], size[1]), "crop_pct": size[1] / size[0]} if "dinov2" in name else {})
    image = picture((200, 40, 90), 7, (700, 531))
    theirs = create_transform(**settings)(image).unsqueeze(0)
    pixels = shape.normalise(torch.from_numpy(shape.clean(image).copy()).unsqueeze(0))
    assert torch.allclose(pixels, theirs, atol=1e-6)
    reference = shallow(name, num_classes=0, **({"img_size": 224} if "dinov2" in name else {})).eval()
    reference.load_state_dict(backbone.network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.allclose(backbone.network(pixels), pooled(reference, theirs), atol=1e-5)


def test_all_weights_of_timm_are_given_the_pictures_that_they_were_made_for() -> None:
    squashed = 0
    for name in timm.list_pretrained():
        config = published(name)
        if config.get("custom_load") or config["crop_mode"] not in {"center", "squash"} or "dinov2" in name:
            continue
        settings, shape = data_config(name), preprocessing_of(name, config)
        height = settings["input_size"][1]
        assert (shape.mean, shape.std) == (tuple(settings["mean"]), tuple(settings["std"])), name
        assert (shape.crop, shape.interpolation) == (height, settings["interpolation"]), name
        assert shape.squash == (settings["crop_mode"] == "squash"), name
        squashed += shape.squash
        if not shape.squash:
            assert shape.resize == max(height, math.floor(height / settings["crop_pct"])), name
    assert squashed > 50


@pytest.mark.parametrize("name", [DINOV2, REGISTERS])
def test_positions_are_interpolated_as_timm_does(name: str, tmp_path: Path) -> None:
    """The weights say 518 pixels; they are used at 224, or at what --crop says, from any file of theirs."""
    made_for_518 = shallow(name, num_classes=0).state_dict()
    file = tmp_path / "dinov2.pth"
    # As its authors publish it, with what it was trained with beside it
    torch.save({**made_for_518, "mask_token": torch.zeros(1, 384)}, file)
    ours = loaded(name, file)
    theirs = shallow(name, num_classes=0, img_size=224)
    convert = timm.models.vision_transformer.checkpoint_filter_fn
    theirs.load_state_dict(convert(dict(made_for_518), theirs), strict=True)  # type: ignore[arg-type]
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.network.state_dict()[key], value), key
    assert ours.preprocessing.crop == 224
    smaller = loaded(name, file, crop=98)
    assert smaller.network(torch.zeros(1, 3, 98, 98)).shape == (1, 768)
    assert smaller.preprocessing.resize == 112
    assert loaded(name, file, crop=518).network(torch.zeros(1, 3, 518, 518)).shape == (1, 768)


@pytest.mark.parametrize(("name", "crop", "near"), [(DINOV2, 100, "98 or 112"), (DINOV3, 200, "192 or 208")])
def test_a_crop_that_fits_no_patches_names_those_that_do(name: str, crop: int, near: str) -> None:
    with pytest.raises(UserError, match=f"can't take that --crop: {crop} pixels .* such as {near}"):
        loaded(name, crop=crop)


def checkpoint_of(backbone: Backbone, folder: Path) -> Path:
    checkpoint = small_checkpoint()
    head = build_head(backbone.dim, len(checkpoint.labels), seed=0).eval().requires_grad_(False)
    return save_checkpoint(replace(checkpoint, backbones=[backbone], head=head, familiarity=None), folder)


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "crop"), [(DINOV2, 0), (DINOV2, 98), (DINOV3, 0), ("test_vit", 96)])
def test_a_checkpoint_has_the_tokens_and_the_size(name: str, crop: int, tmp_path: Path) -> None:
    backbone = loaded(name, crop=crop)
    path = checkpoint_of(backbone, tmp_path)
    (again,) = load_checkpoint(path).backbones
    side = backbone.preprocessing.crop
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(again.network(pixels), backbone.network(pixels))
    assert (again.pooling, again.dim) == (backbone.pooling, backbone.dim)
    # It is the beginning of the next one, whose pictures are cut as it had them
    further = loaded(name, path)
    assert further.weights_sha256 == backbone.weights_sha256
    assert further.preprocessing == backbone.preprocessing
    image = tmp_path / "rose.jpg"
    Image.fromarray(np.full((240, 240, 3), 90, np.uint8)).save(image)
    assert export(path, "safetensors", [image]).file.is_file()


def test_a_checkpoint_of_another_pooling_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    """Older versions would read other features of it, so they are told that it is newer; the others stay theirs."""
    path = checkpoint_of(loaded(DINOV2), tmp_path)
    content = torch.load(path, weights_only=True)
    assert content["version"] == 3
    assert torch.load(checkpoint_of(loaded("test_vit"), tmp_path), weights_only=True)["version"] == 2
    for pooling in ("own", "max"):
        content["backbones"][0]["pooling"] = pooling
        torch.save(content, tmp_path / "bad.pth")
        with pytest.raises(UserError, match="is damaged"):
            load_checkpoint(tmp_path / "bad.pth")
    # One that was written before poolings had names has its network's own
    content = torch.load(checkpoint_of(loaded("test_vit"), tmp_path / "old"), weights_only=True)
    del content["backbones"][0]["pooling"]
    torch.save(content, tmp_path / "old.pth")
    assert load_checkpoint(tmp_path / "old.pth").backbones[0].pooling == "own"


@pytest.mark.parametrize("name", [DINOV2, REGISTERS, DINOV3])
def test_a_heat_map_reaches_the_patches(name: str) -> None:
    backbone = loaded(name)
    head = build_head(backbone.dim, 3, seed=0).eval().requires_grad_(False)
    network = FrozenNetwork(backbone.network, backbone.preprocessing, torch.device("cpu"), "float32")
    image = picture((90, 60, 190), 3, (300, 260))
    values = heat_map([network], head, [backbone.preprocessing.clean(image)[None]], image.size, "iris", 1).values
    assert values.sum() == pytest.approx(1, abs=1e-4)
    assert len(np.unique(values)) > 100  # places differ


def test_a_vision_transformer_trains_at_a_size_of_its_own(tmp_path: Path) -> None:
    root = grow(tmp_path / "garden", {"train": 4, "valid": 2})
    told = TrainOptions(
        backbone="timm:test_vit", weights="none", crop=96, views=2, models=tmp_path / "models", device="cpu"
    )
    report = train_head(root, told)
    assert load_checkpoint(report.checkpoint).backbones[0].preprocessing.crop == 96
    assert report.classes == len(list(COLOURS)[:3])


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        (DINOV3, "the DINOv3 License, Meta's own, whose terms you accept by using them: https://ai.meta.com"),
        (DINOV2, "Their licence is Apache-2.0"),
        ("convnextv2_atto", "CC BY-NC 4.0: no commercial use"),
        ("eva02_tiny_patch14_224", "Their licence is MIT"),
    ],
)
def test_the_licence_is_said_before_a_download(
    name: str, licence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = ""

    def fetch(*_args: object, **_options: object) -> nn.Module:
        nonlocal said
        said = capsys.readouterr().err
        raise ConnectionError("no way there")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(timm, "create_model", fetch)
    with pytest.raises(UserError, match="could not be downloaded"):
        loaded(name, "default")
    assert said.startswith(f"Downloading the weights of {name}. ")
    assert licence in said
    # What lies here already is not downloaded, and nothing is said
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path))
    with pytest.raises(UserError):
        loaded(name, "default")
    assert said == ""
