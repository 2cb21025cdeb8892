"""A stranger's checkpoint and a stranger's weights: refused in one sentence, without a network and without memory."""

import io
import os
import pickle
import resource
import socket
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from curate.errors import UserError
from curate.image import BrokenImage
from tests.forking import Forks
from tests.training_ground import TINY, picture
from tests.without_rights import needs_rights, without_privileges
from train.backbones import Backbone, empty_network, load_backbone, weights_digest
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.features.weights import read_state
from train.metrics import measure_accuracy
from train.predict import Predictor

REPOSITORY = Path(__file__).resolve().parent.parent
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return load_backbone(TINY, "none")


@pytest.fixture(scope="module")
def whole(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = np.zeros((10, 3))
    scores[:, 0] = 1
    torch.manual_seed(4)
    checkpoint = Checkpoint(
        backbones=[tiny], head=nn.Linear(96, 3).eval(), labels=["1", "2", "3"], names=["rose", "iris", "lily"],
        recipe={"views": 1}, metrics={"valid": measure_accuracy(scores, np.array([0] * 9 + [1]), 3)},
        history=[{"number": 1, "loss": 0.5}], dataset={"fingerprint": "ab" * 32, "pictures": {"train": {"1": 3}}},
        versions={"torch": "2"}, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("models"))


def changed(whole: Path, change: Change, to: Path) -> Path:
    content = torch.load(whole, weights_only=True)
    change(content)
    torch.save(content, to)
    return to


def resigned(content: dict[str, Any]) -> None:
    """The head's digest as its tensors have it: whoever writes a file can do that, too."""
    head = nn.Linear(1, 1)
    head._parameters = {key: nn.Parameter(value) for key, value in content["head"]["state"].items()}
    content["head"]["sha256"] = weights_digest(head)


def put(content: dict[str, Any], *keys: Any, value: Any) -> None:
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


def billions_of_classes(content: dict[str, Any]) -> None:
    """Strides of 0: a tensor of 10^9 rows that takes 400 bytes in the file."""
    content["head"]["layers"] = [{"kind": "linear", "in": 96, "out": 10**9}]
    content["head"]["state"] = {"weight": torch.zeros(1, 96).expand(10**9, 96), "bias": torch.zeros(1).expand(10**9)}


def a_thousand_layers_of_one(content: dict[str, Any]) -> None:
    shared = torch.zeros(96, 96)
    content["head"]["layers"] = [{"kind": "linear", "in": 96, "out": 96}] * 90
    content["head"]["state"] = {
        f"{number}.{name}": value for number in range(90) for name, value in (("weight", shared), ("bias", shared[0]))
    }


def an_odd_weight(value: float) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["head"]["state"]["weight"][0, 0] = value
        resigned(content)

    return change


def an_odd_weight_in_the_network(content: dict[str, Any]) -> None:
    state = content["backbones"][0]["state"]
    next(value for value in state.values() if value.is_floating_point()).view(-1)[0] = float("nan")


def lists_of_lists(content: dict[str, Any]) -> None:
    """Each level holds the one below ten times: 10^12 values in a few hundred bytes."""
    inner: list[Any] = [1.0]
    for _ in range(12):
        inner = [inner] * 10
    content["recipe"] = {"x": inner}


def deep(content: dict[str, Any]) -> None:
    inner: list[Any] = []
    for _ in range(400):
        inner = [inner]
    content["recipe"] = {"x": inner}


def features_that_it_does_not_give(content: dict[str, Any]) -> None:
    head = nn.Linear(95, 3)
    state = {key: value.detach().clone() for key, value in head.state_dict().items()}
    content["backbones"][0]["dim"] = 95
    content["head"] = {
        "layers": [{"kind": "linear", "in": 95, "out": 3}],
        "state": state,
        "sha256": weights_digest(head),
    }


ODD: dict[str, Change] = {
    "10^9 classes": lambda c: put(c, "head", "layers", value=[{"kind": "linear", "in": 96, "out": 10**9}]),
    "10^9 classes, and as many rows": billions_of_classes,
    "layers that share their weights": a_thousand_layers_of_one,
    "NaN in the head": an_odd_weight(float("nan")),
    "an infinite head": an_odd_weight(float("inf")),
    "NaN in the network": an_odd_weight_in_the_network,
    "names that are no text": lambda c: put(c, "names", value=[1, 2, 3]),
    "names that are one text": lambda c: put(c, "names", value="abc"),
    "a class twice": lambda c: put(c, "labels", value=["1", "1", "3"]),
    "no class": lambda c: c.update(labels=[], names=[]),
    "a crop of 10^6 pixels": lambda c: c["backbones"][0]["preprocessing"].update(crop=10**6, resize=10**6),
    "a short side of 10^9 pixels": lambda c: c["backbones"][0]["preprocessing"].update(resize=10**9),
    "a standard deviation of 0": lambda c: c["backbones"][0]["preprocessing"].update(std=[0.0, 1.0, 1.0]),
    "one that is 0 in float32": lambda c: c["backbones"][0]["preprocessing"].update(std=[1e-60, 1.0, 1.0]),
    "one that is NaN": lambda c: c["backbones"][0]["preprocessing"].update(std=[1.0, float("nan"), 1.0]),
    "an infinite mean": lambda c: c["backbones"][0]["preprocessing"].update(mean=[float("inf"), 0.0, 0.0]),
    "an infinite crop": lambda c: c["backbones"][0]["preprocessing"].update(crop=float("inf")),
    "features that it does not give": features_that_it_does_not_give,
    "no network": lambda c: put(c, "backbones", value=[]),
    "another network": lambda c: put(c, "backbones", 0, "architecture", value="resnet18"),
    "an enormous network": lambda c: put(c, "backbones", 0, "architecture", value="vit_gigantic_patch14_clip_224"),
    "figures of no picture": lambda c: put(c, "metrics", "valid", "n", value=0),
    "more right than there are": lambda c: put(c, "metrics", "valid", "correct", value=11),
    "a confusion of other classes": lambda c: put(c, "metrics", "valid", "confusion", value=[[10]]),
    "a split that there is not": lambda c: put(c, "metrics", value={"a\n| b": c["metrics"]["valid"]}),
    "a count of 400 digits": lambda c: put(c, "history", value=[{"loss": 10**400}]),
    "a fingerprint of other signs": lambda c: put(c, "dataset", "fingerprint", value="`; rm"),
    "lists in lists without end": lists_of_lists,
    "400 lists in each other": deep,
    "no view to answer from": lambda c: put(c, "asked_views", value=0),
    "more views than may be": lambda c: put(c, "asked_views", value=65),
    "half a view": lambda c: put(c, "asked_views", value=1.5),
    "views that are true": lambda c: put(c, "asked_views", value=True),
    "views that are a text": lambda c: put(c, "asked_views", value="4"),
    "a version that is no number": lambda c: put(c, "version", value="1"),
    "a temperature of 0": lambda c: put(
        c, "calibration", value={"temperature": 0.0, "confidence": torch.zeros(1), "right": torch.zeros(1) > 1,
                                 "error_before": 0.0, "error_after": 0.0},
    ),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("odd", ODD)
def test_what_no_training_wrote_is_refused_in_one_sentence(odd: str, whole: Path, tmp_path: Path) -> None:
    file = changed(whole, ODD[odd], tmp_path / "model_90.00.pth")
    with limited_memory(8 << 30), pytest.raises(UserError) as refused:
        load_checkpoint(file)
    assert "model_90.00.pth" in str(refused.value)
    assert "\n" not in str(refused.value)


class limited_memory:  # noqa: N801  it reads as a function
    """An allocation beyond this fails, where the kernel would promise it and kill whoever uses it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + self.size, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)


def test_the_one_that_was_not_changed_loads(whole: Path, tmp_path: Path) -> None:
    """So that none of the above is refused for the way in which it was written."""
    file = changed(whole, lambda _: None, tmp_path / "model_90.00.pth")
    assert load_checkpoint(file).labels == ["1", "2", "3"]
    (answer,) = Predictor.from_checkpoint(file, "cpu").predict_files([drawn(tmp_path)])
    assert not isinstance(answer, BrokenImage)


def drawn(folder: Path) -> Path:
    picture((200, 40, 90), 1).save(folder / "rose.jpg")
    return folder / "rose.jpg"


def test_weights_that_overflow_give_an_answer_that_says_so(whole: Path, tmp_path: Path) -> None:
    """Each is a number; what they give is none."""

    def change(content: dict[str, Any]) -> None:
        content["head"]["state"]["weight"].fill_(3e38)
        resigned(content)

    file = changed(whole, change, tmp_path / "model_90.00.pth")
    (answer,) = Predictor.from_checkpoint(file, "cpu").predict_files([drawn(tmp_path)])
    assert isinstance(answer, BrokenImage)
    assert "no finite numbers" in answer.reason


def test_a_file_that_would_unpack_to_a_thousand_times_its_size_is_refused(tmp_path: Path) -> None:
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(50_000_000)}, plain)
    packed = tmp_path / "model_99.00.pth"
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in archive.infolist():
            bomb.writestr(member.filename, archive.read(member))
    assert packed.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="cut off, damaged, or not one of ours"):
        load_checkpoint(packed)
    with pytest.raises(UserError, match="unpack to more than it is large"):
        read_state(packed)


def test_weights_that_claim_more_than_they_hold_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="claim more numbers than the file holds"):
        read_state(tmp_path / "w.pth")
    shared = torch.zeros(1000, dtype=torch.float16)
    torch.save({str(number): shared for number in range(1000)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="claim more numbers than the file holds"):
        read_state(tmp_path / "w.pth")


def test_weights_with_numbers_that_are_none_are_refused(tiny: Backbone, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in tiny.network.state_dict().items()}
    next(value for value in state.values() if value.is_floating_point()).view(-1)[0] = float("inf")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match="not finite"):
        load_backbone(TINY, tmp_path / "w.pth")


@pytest.mark.thorough
def test_only_classification_networks_are_built_and_none_goes_to_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A detection network's builder downloads the weights of what it is built around, unless it is told not to."""
    from torchvision import models

    asked = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    every, classifiers = models.list_models(), set(models.list_models(module=models))
    others = [name for name in every if name not in classifiers]
    assert {"fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "quantized_resnet18"} <= set(others)
    for name in others:
        with pytest.raises(UserError, match="no classification network"):
            empty_network("torchvision", name)
    strangers = ("hf-hub:timm/resnet18.a1_in1k", "hf_hub:a/b", "local-dir:/etc", "resnet18.hf-hub:a/b", "resnet18/../x",
                 "a\nb", "")  # fmt: skip
    for name in strangers:
        with pytest.raises(UserError, match="no classification network"):
            empty_network("timm", name)
    # On the device that holds no values: what a builder fetches it would fetch there, too
    with torch.device("meta"):
        for name in sorted(classifiers):
            if not name.startswith("regnet"):  # these compute their first values
                empty_network("torchvision", name)
    empty_network("torchvision", "regnet_x_400mf")
    assert asked == []


@pytest.mark.thorough
def test_a_checkpoint_that_names_a_detection_network_is_refused_without_a_network(
    whole: Path, tmp_path: Path, forks: Forks
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["backbones"][0].update(library="torchvision", architecture="fasterrcnn_resnet50_fpn")

    file = changed(whole, change, tmp_path / "model_90.00.pth")
    code = """
        import socket, sys
        def refuse(*_):
            print("ASKED THE NETWORK", flush=True)
            raise OSError("no network here")
        socket.socket.connect = socket.getaddrinfo = refuse
        sys.argv = ["cli.py", "predict", "--checkpoint", sys.argv[1], sys.argv[2]]
        import runpy
        runpy.run_path("cli.py", run_name="__main__")
    """
    places = {"TORCH_HOME": tmp_path / "nothing", "HOME": tmp_path}
    done = forks.start(textwrap.dedent(code), file, drawn(tmp_path), **places).wait()
    assert done.returncode == 2
    assert "no classification network called 'fasterrcnn_resnet50_fpn'" in done.stderr.replace("\n", " ")
    assert "ASKED" not in done.stdout
    assert not (tmp_path / "nothing").exists()


@pytest.mark.thorough
@needs_rights
def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "model_90.00.pth"
    file.write_bytes(whole.read_bytes())
    file.chmod(0)
    command = [sys.executable, "cli.py", "model-card", "--models", str(tmp_path)]
    done = subprocess.run(without_privileges(command), cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "can't be read (Permission denied)" in done.stderr
    assert "damaged" not in done.stderr


def test_what_is_no_file_is_not_called_damaged(tmp_path: Path) -> None:
    folder, pipe, ring = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"
    folder.mkdir()
    os.mkfifo(pipe)
    ring.symlink_to(ring)
    for odd in (folder, pipe, ring, Path("/dev/zero")):
        with pytest.raises(UserError, match=r"The checkpoint .* can't be read \("):
            load_checkpoint(odd)
        with pytest.raises(UserError, match=r"The weights file .* can't be read \("):
            load_backbone(TINY, odd)
    with pytest.raises(UserError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="can't be read"):
        load_checkpoint(tmp_path / ("x" * 300 + ".pth"))
    with pytest.raises(UserError, match="can't be read"):
        load_checkpoint(Path("a\0b.pth"))


def zipped(file: Path, *names: str) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


def cut_in_half(file: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


class Foreign:
    """Not of torch's kinds."""


ODD_WEIGHTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a text": ("a.pth", lambda file: file.write_text("roses are red\n" * 20), "it is no file of torch's"),
    "nothing": ("a.pth", lambda file: file.write_bytes(b""), "it is empty"),
    "a photograph": ("a.pth", lambda file: file.write_bytes(b"\xff\xd8\xff" + bytes(900)), "it is no file of torch's"),
    "an empty zip": ("a.pth", zipped, "its archive is damaged, or not torch's"),
    "another zip": ("a.pth", lambda file: zipped(file, "roses.txt"), "its archive is damaged, or not torch's"),
    "half an archive": ("a.pth", cut_in_half, "its archive is cut off"),
    "a folder": ("a.pth", lambda file: file.mkdir(), "not a file but"),
    "a pipe": ("a.pth", os.mkfifo, "not a file but"),
    "a tensor": ("a.pth", lambda file: torch.save(torch.zeros(3), file), "holds no state dict"),
    "a list": ("a.pth", lambda file: torch.save([1, 2], file), "holds no state dict"),
    "a whole network": ("a.pth", lambda file: torch.save(nn.Linear(2, 2), file), r"torch\.nn\.modules\.linear\.Linear"),
    "a foreign object": ("a.pth", lambda file: torch.save({"a": Foreign()}, file), "an object of another program"),
    "an array": ("a.pth", lambda file: torch.save({"a": np.zeros(3)}, file), "numpy|more than tensors"),
    "a bare pickle": ("a.pkl", lambda file: file.write_bytes(pickle.dumps({"a": Foreign()})), "it is damaged, or no"),
    "a program": (
        "a.pt",
        lambda file: torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file),
        "a TorchScript program",
    ),
    "no safetensors": ("a.safetensors", lambda file: file.write_text("roses"), "it is no whole safetensors file"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of writing a TorchScript program
@pytest.mark.parametrize("kind", ODD_WEIGHTS)
def test_odd_weights_are_refused_in_our_words(
    kind: str, tmp_path: Path, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    """Torch's own tell how to load a file without any safety."""
    name, write, says = ODD_WEIGHTS[kind]
    write(tmp_path / name)
    recwarn.clear()
    with pytest.raises(UserError, match=says) as caught:
        read_state(tmp_path / name)
    for words in ("weights_only", "PyTorch", "torch.load", "miniz", "enforce", "\x1b", "\n"):
        assert words not in str(caught.value)
    assert not list(recwarn)
    assert capfd.readouterr().err == ""
