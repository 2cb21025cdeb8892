"""Exported files answer as the checkpoint does, fed by the words beside them alone; one that does not is not left."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.progress import silent
from tests.training_ground import TINY, grow, picture, small_checkpoint
from train.backbones import load_backbone
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.export import _compare, export
from train.exporting import export_formats
from train.exporting.classifier import Classifier
from train.exporting.export_formats import FORMATS, Versions
from train.optimising.layers import SignedSqrt
from train.optimising.settings import FitSettings
from train.predict import Predictor
from train.training import TrainOptions, train_head

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = grow(tmp_path_factory.mktemp("garden"), {"train": 6, "valid": 7})
    picture((20, 200, 90), 5, (333, 1000)).save(root / "valid" / "rose" / "tall.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(garden: Path) -> Path:
    options = TrainOptions(
        backbone=TINY, weights="none", views=1, models=garden / "models", device="cpu", head=FitSettings(epochs=8)
    )
    return train_head(garden, options).checkpoint


def pictures(garden: Path) -> list[Path]:
    return sorted((garden / "valid").rglob("*.*"))


@pytest.mark.thorough
@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_comes_back_with_the_same_probabilities(
    format_: str, checkpoint: Path, garden: Path, tmp_path: Path
) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    report = export(checkpoint, format_, pictures(garden), out=tmp_path / "out")
    assert report.pictures == report.same_answers == 22
    assert 0 <= report.largest_difference <= 1e-4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {report.file.name, f"{report.file.name}.json"}
    assert report.file.stem == checkpoint.stem
    assert report.size == report.file.stat().st_size > 100_000
    beside = json.loads(report.beside.read_text(encoding="utf-8"))
    assert beside["parity"]["largest_difference"] == report.largest_difference
    assert beside["labels"] == load_checkpoint(checkpoint).labels


@pytest.mark.thorough
def test_a_root_before_the_layer_goes_with_it(garden: Path, tmp_path: Path) -> None:
    """As `--head auto` may choose it, in the format whose operators are fewest."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    rooted = torch.nn.Sequential(SignedSqrt(0.01), torch.nn.Linear(96, 3)).eval().requires_grad_(False)
    path = save_checkpoint(replace(small_checkpoint(), head=rooted), tmp_path)
    report = export(path, "onnx", pictures(garden)[:4], out=tmp_path / "out")
    assert report.same_answers == 4
    assert report.largest_difference <= 1e-4


def fed_by_the_words(beside: dict[str, Any], path: Path) -> NDArray[np.float32]:
    """Another program's way: nothing but the JSON, Pillow and numpy."""
    (entry,) = beside["inputs"]
    image = Image.open(path).convert("RGB")
    short, side, crop = min(image.size), entry["resize_short_side"], entry["crop"]
    size = side * image.width // short, side * image.height // short
    image = image.resize(size, Image.Resampling[entry["interpolation"].upper()])
    left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float32) / 255
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.thorough
def test_onnx_explains_itself_to_a_stranger(checkpoint: Path, garden: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    report = export(checkpoint, "onnx", pictures(garden), out=tmp_path)
    session = onnxruntime.InferenceSession(report.file, providers=["CPUExecutionProvider"])
    beside = json.loads(report.beside.read_text(encoding="utf-8"))
    inside = json.loads(session.get_modelmeta().custom_metadata_map["florilegium"])
    # What only the file beside it can say: how far the two differ, the digests of both, and what PyTorch wrote.
    of_both = {name: beside[name] for name in ("parity", "files_sha256", "florilegium_sha256", "versions")}
    assert {**inside, **of_both} == beside
    assert inside["versions"].items() < beside["versions"].items()
    opset, *_ = (one.version for one in onnx.load(report.file).opset_import if not one.domain)
    assert beside["versions"]["onnx_opset"] == opset
    assert any("Pillow" in line for line in beside["preprocessing"])  # with torchvision's resize answers differ by 0.02
    paths = pictures(garden)
    batch = np.concatenate([fed_by_the_words(beside, path) for path in paths])
    (given,) = session.run(None, {beside["inputs"][0]["name"]: batch})
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    expected = predictor.probabilities([Image.open(path).convert("RGB") for path in paths])
    np.testing.assert_allclose(given, expected, atol=1e-4)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)  # probabilities, not logits


@pytest.mark.thorough
def test_every_file_holds_its_description(checkpoint: Path, garden: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    file = export(checkpoint, "safetensors", pictures(garden), out=tmp_path).file
    with safetensors.safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["florilegium"])["labels"] == ["iris", "rose", "sun flower"]
        assert "head.weight" in set(opened.keys())
    for format_ in ("torchscript", "pt2"):
        file = export(checkpoint, format_, pictures(garden), out=tmp_path).file
        with zipfile.ZipFile(file) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("florilegium.json")]
            assert json.loads(archive.read(name))["format"] == format_


def two_backbones() -> Checkpoint:
    torch.manual_seed(3)
    names = (TINY, "shufflenet_v2_x0_5", TINY)
    backbones = [load_backbone(name, "none", seed=seed) for seed, name in enumerate(names)]
    head = torch.nn.Sequential(torch.nn.Linear(96 + 1024 + 96, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    return Checkpoint(
        backbones=backbones, head=head.eval().requires_grad_(False),
        labels=["a", "b", "c"], names=["a", "b", "c"], recipe={}, metrics={}, history=[], dataset={}, versions={},
        created="",
    )  # fmt: skip


def test_several_backbones_and_deeper_heads_have_an_input_for_each_geometry(garden: Path) -> None:
    checkpoint = two_backbones()
    classifier = Classifier(checkpoint)
    assert classifier.input_names() == ["pixels_1", "pixels_2"]
    assert [geometry.crop for geometry in classifier.geometries] == [160, 224]
    images = [Image.open(path).convert("RGB") for path in pictures(garden)[:4]]
    run = export_formats._torch_runner(classifier)
    difference, same = _compare(run, classifier.geometries, Predictor(checkpoint, "cpu"), images, silent)
    assert difference < 1e-4
    assert same == 4


@pytest.mark.parametrize("spoil", [lambda rows: rows + 2e-4, lambda rows: rows * np.nan, lambda rows: rows[:, :2]])
def test_a_file_that_answers_otherwise_is_not_left(
    spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    checkpoint: Path, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ending, write, read = FORMATS["safetensors"]

    def read_badly(file: Path, loaded: Checkpoint) -> export_formats.Runner:
        run = read(file, loaded)
        return lambda arrays: spoil(run(arrays))

    monkeypatch.setitem(FORMATS, "safetensors", (ending, write, read_badly))
    with pytest.raises(UserError, match="was not kept"):
        export(checkpoint, "safetensors", pictures(garden), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_that_went_wrong_on_the_way_is_noticed(
    checkpoint: Path, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, write, read = FORMATS["safetensors"]

    def write_badly(classifier: Classifier, file: BinaryIO, description: str, asked: Versions) -> dict[str, int]:
        next(classifier.backbones.parameters()).mul_(1.05)
        return write(classifier, file, description, asked)

    monkeypatch.setitem(FORMATS, "safetensors", (ending, write_badly, read))
    with pytest.raises(UserError, match="off by"):
        export(checkpoint, "safetensors", pictures(garden), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_sentence(
    checkpoint: Path, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, not_installed: Callable[..., None]
) -> None:
    with pytest.raises(UserError, match="use onnx, torchscript, safetensors, pt2"):
        export(checkpoint, "tflite", pictures(garden))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match="there are none"):
        export(checkpoint, "pt2", [broken])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        export(checkpoint, "safetensors", [broken, *pictures(garden)], out=tmp_path / "file")
    not_installed("onnx", "onnxruntime", "onnxscript")
    monkeypatch.setitem(FORMATS, "onnx", (".onnx", lambda *_: None, FORMATS["onnx"][2]))
    with pytest.raises(UserError, match="uv sync --extra onnx"):
        export(checkpoint, "onnx", pictures(garden), out=tmp_path)


def test_a_broken_picture_has_a_stand_in(checkpoint: Path, garden: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    paths = [broken, *pictures(garden) * 5]
    assert export(checkpoint, "safetensors", paths, out=tmp_path / "out").pictures == 64


def test_an_export_of_another_checkpoint_is_replaced_whole(checkpoint: Path, garden: Path, tmp_path: Path) -> None:
    first = export(checkpoint, "safetensors", pictures(garden), out=tmp_path)
    before = first.file.read_bytes()
    loaded = load_checkpoint(checkpoint)
    path = save_checkpoint(loaded, tmp_path / "models")
    again = export(path, "safetensors", pictures(garden), out=tmp_path)
    assert (again.file == first.file) == (path.stem == checkpoint.stem)
    assert len(again.file.read_bytes()) == len(before)
